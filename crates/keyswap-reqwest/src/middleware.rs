//! The middleware.

use std::fmt;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Instant;

use http::{Extensions, Request, Response};
use keyswap_core::SecretRing;
use keyswap_tower::{
    Credential, Deadline, FallbackLayer, Origin, Profile, ReadVerdict, RequestBody,
};
use reqwest::Body;
use reqwest_middleware::{Error, Middleware, Next};
use tower_layer::Layer;
use tower_service::Service;

use crate::convert;
use crate::origin::{check_answer, check_origin};

/// Signs requests with the secrets of a ring, as a middleware of [reqwest-middleware](reqwest_middleware).
///
/// It runs the same service as [`FallbackLayer`] over the rest of the chain. Put it *after* a middleware
/// that retries failed requests (`.with(retry).with(fallback)`): each retry then has its fallback. What the
/// other order does wrong, and where tracing goes, stands
/// [with the crate](crate#beside-reqwest-retry-and-reqwest-tracing).
///
/// Errors of the rest of the chain come back unchanged. Its own are [`OriginError`](crate::OriginError)s
/// in [`Error::Middleware`].
///
/// ```
/// use keyswap_core::{Secret, SecretList, SecretRing};
/// use keyswap_reqwest::{FallbackMiddleware, client_builder};
/// use keyswap_tower::{ClientSecretPost, Profile};
///
/// let secret = Secret::new("billing-2026".parse()?, "Vq3hCc0Zc1Jx")?;
/// let ring = SecretRing::new(SecretList::new([secret])?);
/// let fallback = FallbackMiddleware::new(ring, ClientSecretPost::new("billing"))
///     .profile(Profile::Auth0);
/// let client = reqwest_middleware::ClientBuilder::new(client_builder().build()?)
///     .with(fallback)
///     .build();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub struct FallbackMiddleware<C, V = Profile> {
    layer: FallbackLayer<C, V>,
}

impl<C> FallbackMiddleware<C> {
    /// For a server that keeps to RFC 6749, with limits of 64 KiB.
    pub fn new(ring: SecretRing, credential: C) -> Self {
        Self { layer: FallbackLayer::new(ring, credential) }
    }
}

impl<C: Clone, V: Clone> FallbackMiddleware<C, V> {
    /// How answers are read: a [`Profile`], or a [`ReadVerdict`] of your own.
    pub fn profile<W>(self, profile: W) -> FallbackMiddleware<C, W> {
        FallbackMiddleware { layer: self.layer.profile(profile) }
    }

    /// The largest request body, in bytes, that is held to be sent again; see
    /// [`FallbackLayer::max_body`].
    pub fn max_body(self, bytes: usize) -> Self {
        Self { layer: self.layer.max_body(bytes) }
    }

    /// The largest answer, in bytes, that is read to judge it; see [`FallbackLayer::max_answer`].
    pub fn max_answer(self, bytes: usize) -> Self {
        Self { layer: self.layer.max_answer(bytes) }
    }

    /// The only origin that the secrets are sent to; see [`FallbackLayer::origin`].
    ///
    /// Requests to another one pass through as they are, over clear text and with redirects too, if the
    /// client follows any: there is no secret of the ring in them.
    ///
    /// ```
    /// use keyswap_core::{Secret, SecretList, SecretRing};
    /// use keyswap_reqwest::FallbackMiddleware;
    /// use keyswap_tower::ClientSecretPost;
    ///
    /// let secret = Secret::new("billing-2026".parse()?, "Vq3hCc0Zc1Jx")?;
    /// let ring = SecretRing::new(SecretList::new([secret])?);
    /// let fallback = FallbackMiddleware::new(ring, ClientSecretPost::new("billing"))
    ///     .origin("https://auth.example/token".parse()?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn origin(self, origin: Origin) -> Self {
        Self { layer: self.layer.origin(origin) }
    }
}

/// With the limits that a layer was given.
impl<C, V> From<FallbackLayer<C, V>> for FallbackMiddleware<C, V> {
    fn from(layer: FallbackLayer<C, V>) -> Self {
        Self { layer }
    }
}

impl<C, V> Clone for FallbackMiddleware<C, V> {
    fn clone(&self) -> Self {
        Self { layer: self.layer.clone() }
    }
}

impl<C, V> fmt::Debug for FallbackMiddleware<C, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FallbackMiddleware").field("layer", &self.layer).finish()
    }
}

#[async_trait::async_trait]
impl<C, V> Middleware for FallbackMiddleware<C, V>
where
    C: Credential + Send + Sync + 'static,
    V: ReadVerdict + Send + Sync + 'static,
{
    async fn handle(
        &self,
        request: reqwest::Request,
        extensions: &mut Extensions,
        next: Next<'_>,
    ) -> Result<reqwest::Response, Error> {
        if let Some(origin) = self.layer.pinned_origin()
            && !request.url().as_str().parse().is_ok_and(|uri| origin.is_of(&uri))
        {
            // The host alone: path and query may hold credentials.
            tracing::warn!(
                host = request.url().host_str().unwrap_or_default(),
                %origin,
                "a request goes out as it is, since the client secrets belong to another origin"
            );
            // Not through the layer: it would make a stream of the body, which reqwest cannot repeat.
            return next.run(request, extensions).await;
        }
        check_origin(request.url()).map_err(Error::middleware)?;
        let timeout = request.timeout().copied();
        let mut request = Request::<Body>::try_from(request)?;
        if let Some(deadline) = timeout.and_then(|timeout| Instant::now().checked_add(timeout)) {
            request.extensions_mut().insert(Deadline(deadline));
        }
        let shared = Arc::new(Mutex::new(mem::take(extensions)));
        let rest = Rest { next, extensions: Arc::clone(&shared) };
        // Ready from the start, as the rest of the chain always is.
        let answer = self.layer.layer(rest).call(request).await;
        *extensions = mem::take(&mut *lock(&shared));
        answer.map(convert::response)
    }
}

/// The rest of the chain as a service.
#[derive(Clone)]
struct Rest<'a> {
    next: Next<'a>,
    /// Those of the whole request, lent to one attempt after the other.
    extensions: Arc<Mutex<Extensions>>,
}

impl<'a> Service<Request<RequestBody<Body>>> for Rest<'a> {
    type Response = Response<Body>;
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Error>> + Send + 'a>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<RequestBody<Body>>) -> Self::Future {
        let Self { next, extensions } = self.clone();
        Box::pin(async move {
            let request = convert::request(request)?;
            let url = request.url().clone();
            let mut lent = mem::take(&mut *lock(&extensions));
            let answer = next.run(request, &mut lent).await;
            *lock(&extensions) = lent;
            let answer = answer?;
            check_answer(&url, answer.url()).map_err(Error::middleware)?;
            Ok(convert::answer(answer))
        })
    }
}

fn lock(extensions: &Mutex<Extensions>) -> std::sync::MutexGuard<'_, Extensions> {
    extensions.lock().unwrap_or_else(PoisonError::into_inner)
}
