//! What came in over the wire and what went out, for tests that look at it.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use axum::body::{Body, Bytes};
use http::{Request, Response};

/// A request as the server got it, and the answer as it was given.
///
/// It holds secrets and tokens, as they are sent; `Debug` shows the method, the path and the status alone.
#[derive(Clone)]
#[non_exhaustive]
pub struct Exchange {
    /// The request, with its whole body.
    pub request: Request<Bytes>,
    /// The answer, with its whole body; `None` if the connection was closed without one.
    pub answer: Option<Response<Bytes>>,
}

impl Exchange {
    /// An exchange that was seen elsewhere, for instance between a program and a server of another kind.
    #[must_use]
    pub fn new(request: Request<Bytes>, answer: Option<Response<Bytes>>) -> Self {
        Self { request, answer }
    }
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchange")
            .field("method", self.request.method())
            .field("path", &self.request.uri().path())
            .field("status", &self.answer.as_ref().map(|answer| answer.status().as_u16()))
            .finish_non_exhaustive()
    }
}

/// The exchanges so far, in the order in which they ended.
#[derive(Debug, Default)]
pub(crate) struct Exchanges {
    /// Held for one push or one copy, and never over an await.
    seen: Mutex<Vec<Exchange>>,
}

impl Exchanges {
    pub(crate) fn add(&self, exchange: Exchange) {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).push(exchange);
    }

    pub(crate) fn so_far(&self) -> Vec<Exchange> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The whole body; empty if it broke off.
pub(crate) async fn whole(body: Body) -> Bytes {
    axum::body::to_bytes(body, usize::MAX).await.unwrap_or_default()
}
