//! In place of an HTTP client: services that answer at once.

use std::convert::Infallible;
use std::fmt;
use std::future::{Ready, ready};
use std::hint::black_box;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{self, Context, Poll};

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body::Body;
use http_body_util::Full;
use pin_project_lite::pin_project;
use tower::Service;

use crate::request::{call, small};

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

/// Reads the body to its end, as a client that sends it does, and answers 200. `K` as in [`Noop`].
pub(crate) struct Reading<K>(PhantomData<fn() -> K>);

impl<K> Reading<K> {
    pub(crate) fn new() -> Self {
        Self(PhantomData)
    }
}

impl<K> Clone for Reading<K> {
    fn clone(&self) -> Self {
        Self::new()
    }
}

impl<K, B> Service<Request<B>> for Reading<K>
where
    B: Body<Data = Bytes>,
    B::Error: fmt::Debug,
{
    type Response = Answer;
    type Error = Infallible;
    type Future = ReadToEnd<K, B>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (head, body) = request.into_parts();
        ReadToEnd { head, body, kind: PhantomData }
    }
}

pin_project! {
    pub(crate) struct ReadToEnd<K, B> {
        // Lives as long as a client would need it.
        head: http::request::Parts,
        #[pin]
        body: B,
        kind: PhantomData<fn() -> K>,
    }
}

impl<K, B> Future for ReadToEnd<K, B>
where
    B: Body<Data = Bytes>,
    B::Error: fmt::Debug,
{
    type Output = Result<Answer, Infallible>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        black_box(&*this.head);
        while let Some(frame) = task::ready!(this.body.as_mut().poll_frame(context)) {
            black_box(frame.expect("the bodies here do not fail"));
        }
        Poll::Ready(Ok(accepted()))
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
#[derive(Clone)]
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
        call(&mut self.inner, small());
        self.inner.call(request)
    }
}

/// Answers with these statuses, and keeps the `Authorization` header and the body of each request.
#[cfg(test)]
#[derive(Clone)]
pub(crate) struct Recorder(Arc<std::sync::Mutex<Record>>);

#[cfg(test)]
struct Record {
    statuses: Vec<u16>,
    seen: Vec<(Option<HeaderValue>, Bytes)>,
}

#[cfg(test)]
impl Recorder {
    pub(crate) fn answering(statuses: &[u16]) -> Self {
        let record = Record { statuses: statuses.to_vec(), seen: Vec::new() };
        Self(Arc::new(std::sync::Mutex::new(record)))
    }

    pub(crate) fn seen(&self) -> Vec<(Option<HeaderValue>, Bytes)> {
        self.0.lock().expect("no test panicked under it").seen.clone()
    }
}

#[cfg(test)]
impl<B> Service<Request<B>> for Recorder
where
    B: Body<Data = Bytes>,
    B::Error: fmt::Debug,
{
    type Response = Answer;
    type Error = Infallible;
    type Future = Ready<Result<Answer, Infallible>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        use http_body_util::BodyExt as _;
        let header = request.headers().get("authorization").cloned();
        let body = crate::request::at_once(request.into_body().collect());
        let body = body.expect("the bodies here do not fail").to_bytes();
        let record = &mut *self.0.lock().expect("no test panicked under it");
        record.seen.push((header, body));
        let status = record.statuses.remove(0);
        ready(Ok(if status == 401 { refused() } else { accepted() }))
    }
}
