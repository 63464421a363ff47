//! The service.

use std::fmt;
use std::mem;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

use super::layer::Shared;
use super::{BearerBody, BearerError, BearerFuture};

/// Puts an access token on each request, and another one if the API refuses it.
///
/// Made by [`BearerLayer`](crate::BearerLayer). It is ready when the inner service is.
///
/// - A request that has an `Authorization` header already is the caller's own affair, and goes through
///   untouched.
/// - If the answer is 401 with a `Bearer` challenge that says `invalid_token` (RFC 6750 section 3.1), the
///   token is renewed, unless another caller has done so meanwhile, and the request is sent once more:
///   with method, URI, headers, extensions and body as they were. The answer to that is the caller's,
///   whatever it is, and so is every other answer to the first.
/// - A body that is larger than [`max_body`](crate::BearerLayer::max_body), or has not been sent to its
///   end when the answer comes, cannot be sent once more: the answer is the caller's when the token was
///   renewed.
/// - An API that refuses every token gets each request once, not twice, for ten seconds after a new token
///   was refused as well: see [`TokenSource::renew`](crate::TokenSource::renew).
/// - The body of a refused answer is read before the request is sent once more, up to 64 KiB, so that its
///   connection can be used again.
/// - Before the request is sent once more, it waits until the inner service is ready again.
/// - Dropping the response future at any point ends the request; if it was fetching a token for others
///   as well, one of them goes on.
#[derive(Clone)]
pub struct Bearer<S> {
    inner: S,
    shared: Arc<Shared>,
}

impl<S> Bearer<S> {
    pub(crate) fn new(inner: S, shared: Arc<Shared>) -> Self {
        Self { inner, shared }
    }

    /// The inner service.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The inner service.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// The inner service.
    #[must_use]
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S, B, A> Service<Request<B>> for Bearer<S>
where
    S: Service<Request<BearerBody<B>>, Response = Response<A>> + Clone,
    B: Body,
    A: Body,
{
    type Response = Response<A>;
    type Error = BearerError<S::Error>;
    type Future = BearerFuture<S, B, A>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(ready!(self.inner.poll_ready(cx)).map_err(BearerError::Inner))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        // The instance that was polled ready goes into the future; its clone may not be ready.
        let clone = self.inner.clone();
        let ready = mem::replace(&mut self.inner, clone);
        BearerFuture::new(ready, Arc::clone(&self.shared), request)
    }
}

impl<S> fmt::Debug for Bearer<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Bearer");
        // An HTTP client may print default headers, and with them credentials.
        debug.field("inner", &format_args!("{}", std::any::type_name::<S>()));
        self.shared.describe(&mut debug).finish()
    }
}
