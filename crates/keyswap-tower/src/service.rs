//! The service.

use std::fmt;
use std::mem;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

use crate::body::RequestBody;
use crate::layer::Shared;
use crate::{Credential, ReadVerdict, ResponseFuture};

/// Signs each request with the preferred secret, and falls back to the next when it is refused.
///
/// Made by [`FallbackLayer`](crate::FallbackLayer). It is ready when the inner service is, and its errors
/// are those of the inner service alone.
///
/// - Each attempt is the caller's request with method, URI, headers, extensions and body as they were;
///   only the secret differs, and `Content-Length` where the body did.
/// - Before each further attempt it waits until the inner service is ready once more.
/// - Dropping the response future at any point ends the request. An attempt that was under way counts as
///   inconclusive, since the server may have seen the secret.
pub struct Fallback<S, C, V> {
    inner: S,
    shared: Arc<Shared<C, V>>,
}

impl<S, C, V> Fallback<S, C, V> {
    pub(crate) fn new(inner: S, shared: Arc<Shared<C, V>>) -> Self {
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

impl<S, C, V, B, A> Service<Request<B>> for Fallback<S, C, V>
where
    S: Service<Request<RequestBody<B>>, Response = Response<A>> + Clone,
    C: Credential,
    V: ReadVerdict,
    B: Body,
    A: Body,
{
    type Response = Response<crate::AnswerBody<A>>;
    type Error = S::Error;
    type Future = ResponseFuture<S, C, V, B, A>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        // The instance that was polled ready goes into the future; its clone may not be ready.
        let clone = self.inner.clone();
        let ready = mem::replace(&mut self.inner, clone);
        ResponseFuture::new(ready, Arc::clone(&self.shared), request)
    }
}

impl<S: Clone, C, V> Clone for Fallback<S, C, V> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), shared: Arc::clone(&self.shared) }
    }
}

impl<S, C, V> fmt::Debug for Fallback<S, C, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Fallback");
        // An HTTP client may print default headers, and with them credentials.
        debug.field("inner", &format_args!("{}", std::any::type_name::<S>()));
        self.shared.describe(&mut debug).finish()
    }
}
