//! In place of an HTTP client: services that answer at once.

use std::convert::Infallible;
use std::fmt;
use std::future::{Ready, ready};
use std::hint::black_box;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::Full;
use tower::Service;

use crate::call;

type Answer = Response<Full<Bytes>>;

fn accepted() -> Answer {
    Response::new(Full::new(Bytes::from_static(br#"{"access_token":"t","token_type":"Bearer"}"#)))
}

fn refused() -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from_static(br#"{"error":"invalid_client"}"#)));
    *answer.status_mut() = StatusCode::UNAUTHORIZED;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}

/// Answers 200. `K` makes it a type of its own for each variant.
pub(crate) struct Noop<K>(PhantomData<fn() -> K>);

impl<K> Noop<K> {
    pub(crate) fn new() -> Self {
        Self(PhantomData)
    }
}

impl<K> Clone for Noop<K> {
    fn clone(&self) -> Self {
        Self::new()
    }
}

impl<K, B> Service<Request<B>> for Noop<K> {
    type Response = Answer;
    type Error = Infallible;
    type Future = Ready<Result<Answer, Infallible>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        black_box(&request);
        ready(Ok(accepted()))
    }
}

/// Answers 401 `invalid_client` and 200 in turn, whatever the secret: so that every call falls back, also
/// after a layer has learnt which secret was accepted last.
pub(crate) struct Alternating<K> {
    refused: Arc<AtomicBool>,
    kind: PhantomData<fn() -> K>,
}

impl<K> Alternating<K> {
    pub(crate) fn new() -> Self {
        Self { refused: Arc::default(), kind: PhantomData }
    }
}

impl<K> Clone for Alternating<K> {
    fn clone(&self) -> Self {
        Self { refused: Arc::clone(&self.refused), kind: PhantomData }
    }
}

impl<K, B> Service<Request<B>> for Alternating<K> {
    type Response = Answer;
    type Error = Infallible;
    type Future = Ready<Result<Answer, Infallible>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        black_box(&request);
        let refused_before = self.refused.fetch_xor(true, Ordering::Relaxed);
        ready(Ok(if refused_before { accepted() } else { refused() }))
    }
}

/// Two calls of the inner service for one: the request is made anew for the second.
pub(crate) struct Twice<S> {
    inner: S,
}

impl<S> Twice<S> {
    pub(crate) fn new(inner: S) -> Self {
        Self { inner }
    }
}

impl<S, A> Service<Request<Full<Bytes>>> for Twice<S>
where
    S: Service<Request<Full<Bytes>>, Response = Response<A>>,
    S::Error: fmt::Debug,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Full<Bytes>>) -> S::Future {
        call(&mut self.inner);
        self.inner.call(request)
    }
}

/// Answers with these statuses, and keeps the `Authorization` headers that it was sent.
#[cfg(test)]
#[derive(Clone)]
pub(crate) struct Recorder(Arc<std::sync::Mutex<(Vec<u16>, Vec<HeaderValue>)>>);

#[cfg(test)]
impl Recorder {
    pub(crate) fn answering(statuses: &[u16]) -> Self {
        Self(Arc::new(std::sync::Mutex::new((statuses.to_vec(), Vec::new()))))
    }

    pub(crate) fn authorizations(&self) -> Vec<HeaderValue> {
        self.0.lock().expect("no test panicked under it").1.clone()
    }
}

#[cfg(test)]
impl<B> Service<Request<B>> for Recorder {
    type Response = Answer;
    type Error = Infallible;
    type Future = Ready<Result<Answer, Infallible>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (statuses, headers) = &mut *self.0.lock().expect("no test panicked under it");
        headers.extend(request.headers().get("authorization").cloned());
        let status = statuses.remove(0);
        ready(Ok(if status == 401 { refused() } else { accepted() }))
    }
}
