//! The middleware.

use std::fmt;

use http::header::AUTHORIZATION;
use http::{Extensions, Uri};
use keyswap_tower::Origin;
use reqwest::{Body, Request, Response};
use reqwest_middleware::{Error, Middleware, Next};

use super::body::{BearerBody, Recording};
use super::challenge::refuses_token;
use super::future::LONGEST_ANSWER;
use super::layer::Admission;
use crate::{BearerLayer, TokenSource};

/// Puts an access token on each request, and another one if the API refuses it, as a middleware of
/// [reqwest-middleware](reqwest_middleware).
///
/// It follows the rules of [`Bearer`](crate::Bearer). Put it *after* a middleware that retries failed
/// requests (`.with(retry).with(bearer)`), so that each retry has the token of its time.
///
/// The client under it may follow redirects: reqwest takes the `Authorization` header off when one leads
/// to another origin, and what that answers says nothing about the token.
///
/// Errors of the rest of the chain come back unchanged. Its own are [`TokenError`](crate::TokenError) and
/// [`ClearTextError`](crate::ClearTextError) in [`Error::Middleware`].
///
/// ```no_run
/// use keyswap_oauth::{BearerMiddleware, TokenSource};
///
/// # async fn example(tokens: TokenSource) -> Result<(), Box<dyn std::error::Error>> {
/// let bearer = BearerMiddleware::new(tokens).origin("https://api.example".parse()?);
/// let api = reqwest_middleware::ClientBuilder::new(reqwest::Client::new()).with(bearer).build();
/// let orders = api.get("https://api.example/orders").send().await?.text().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[must_use]
pub struct BearerMiddleware {
    layer: BearerLayer,
}

impl BearerMiddleware {
    /// With the tokens of this source, for any origin, and streamed bodies of up to 64 KiB that can be
    /// sent once more.
    pub fn new(tokens: TokenSource) -> Self {
        Self { layer: BearerLayer::new(tokens) }
    }

    /// The only origin that the tokens are sent to; see [`BearerLayer::origin`].
    pub fn origin(self, origin: Origin) -> Self {
        Self { layer: self.layer.origin(origin) }
    }

    /// The largest streamed body, in bytes, of which a copy is kept to be sent once more; see
    /// [`BearerLayer::max_body`]. A body that reqwest has in memory needs no copy, and no limit.
    pub fn max_body(self, bytes: usize) -> Self {
        Self { layer: self.layer.max_body(bytes) }
    }

    /// Sends tokens over `http` to other hosts than loopback as well; see
    /// [`BearerLayer::allow_clear_text`].
    pub fn allow_clear_text(self) -> Self {
        Self { layer: self.layer.allow_clear_text() }
    }
}

/// With the settings that a layer was given.
impl From<BearerLayer> for BearerMiddleware {
    fn from(layer: BearerLayer) -> Self {
        Self { layer }
    }
}

impl fmt::Debug for BearerMiddleware {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BearerMiddleware").field("layer", &self.layer).finish()
    }
}

#[async_trait::async_trait]
impl Middleware for BearerMiddleware {
    async fn handle(
        &self,
        mut request: Request,
        extensions: &mut Extensions,
        next: Next<'_>,
    ) -> Result<Response, Error> {
        let shared = &self.layer.shared;
        let signed = request.headers().contains_key(AUTHORIZATION);
        // A URL that is no URI belongs to no origin, and reqwest does not send it.
        let uri = request.url().as_str().parse::<Uri>();
        match uri.map_or(Admission::Untouched, |uri| shared.admit(&uri, signed)) {
            Admission::Signed => {}
            Admission::Untouched => return next.run(request, extensions).await,
            Admission::Refused(error) => return Err(Error::middleware(error)),
        }
        let token = shared.tokens.token().await.map_err(Error::middleware)?;
        let repeat = Repeat::of(&mut request, shared.max_body);
        let origin = request.url().origin();
        request.headers_mut().insert(AUTHORIZATION, token.header().clone());
        let answer = next.clone().run(request, extensions).await?;

        let refused = refuses_token(answer.status(), answer.headers())
            // Behind a redirect elsewhere, the token was not seen.
            && answer.url().origin() == origin;
        if !refused || !shared.tokens.may_renew(&token) {
            return Ok(answer);
        }
        let Some(mut request) = repeat.and_then(Repeat::finish) else {
            tracing::debug!(
                "an API refused an access token, and the request cannot be sent again: another token \
                 for the next one"
            );
            // Whether there is another token is not what this caller asked for.
            drop(shared.tokens.renew(&token).await);
            return Ok(answer);
        };
        tracing::debug!("an API refused an access token: another one, and once more");
        drain(answer).await;
        let token = shared.tokens.renew(&token).await.map_err(Error::middleware)?;
        request.headers_mut().insert(AUTHORIZATION, token.header().clone());
        next.run(request, extensions).await
    }
}

/// What is needed to send a request once more.
struct Repeat {
    request: Request,
    /// The copy of a body that is not in `request`.
    streamed: Option<Recording>,
}

impl Repeat {
    fn of(request: &mut Request, limit: usize) -> Option<Self> {
        // A body in memory is shared, not copied.
        if let Some(request) = request.try_clone() {
            return Some(Self { request, streamed: None });
        }
        let body = request.body_mut().take()?;
        let head = request.try_clone();
        let (body, recording) = BearerBody::recorded(body, limit);
        *request.body_mut() = Some(Body::wrap(body));
        head.map(|request| Self { request, streamed: Some(recording) })
    }

    fn finish(mut self) -> Option<Request> {
        if let Some(mut recording) = self.streamed {
            let body = if recording.finish() { recording.into_body::<Body>() } else { None };
            *self.request.body_mut() = Some(Body::wrap(body?));
        }
        Some(self.request)
    }
}

/// Reads a refused answer up to a limit, so that its connection can be used again.
async fn drain(mut answer: Response) {
    if answer.content_length().is_some_and(|length| length > LONGEST_ANSWER as u64) {
        return;
    }
    let mut read = 0;
    while let Ok(Some(chunk)) = answer.chunk().await {
        read += chunk.len();
        if read > LONGEST_ANSWER {
            return;
        }
    }
}
