//! A token endpoint and an API in memory.
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]

use std::error::Error;
use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{Request, Response};
use http_body::{Body, Frame};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use keyswap_oauth::{BearerBody, TokenSource};
use reqwest_middleware::{ClientBuilder, Middleware, Next};
use tower::Service;

pub type BoxError = Box<dyn Error + Send + Sync>;

/// What the token endpoint does.
pub enum Grant {
    /// `token-N` at the N-th request, with this `expires_in`.
    Token(Option<u64>),
    /// The same, so much later.
    Late(Duration, Option<u64>),
    Status(u16),
    Hang,
}

/// A token endpoint under a client, which never asks the network.
#[derive(Clone)]
pub struct Endpoint {
    grant: Arc<dyn Fn(usize) -> Grant + Send + Sync>,
    requests: Arc<AtomicUsize>,
    under_way: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
}

impl Endpoint {
    pub fn new(grant: impl Fn(usize) -> Grant + Send + Sync + 'static) -> Self {
        Self {
            grant: Arc::new(grant),
            requests: Arc::default(),
            under_way: Arc::default(),
            most: Arc::default(),
        }
    }

    pub fn source(&self) -> TokenSource {
        let client = ClientBuilder::new(reqwest::Client::new()).with(self.clone()).build();
        TokenSource::new(client, "https://auth.example/token?x=hunter2".parse().unwrap())
    }

    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }

    /// How many requests there were at the same time at most.
    pub fn most_at_once(&self) -> usize {
        self.most.load(Ordering::SeqCst)
    }
}

struct UnderWay(Arc<AtomicUsize>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[async_trait::async_trait]
impl Middleware for Endpoint {
    async fn handle(
        &self,
        request: reqwest::Request,
        _: &mut http::Extensions,
        _: Next<'_>,
    ) -> reqwest_middleware::Result<reqwest::Response> {
        let form = request.body().and_then(reqwest::Body::as_bytes).unwrap();
        assert!(form.starts_with(b"grant_type=client_credentials"));
        let number = self.requests.fetch_add(1, Ordering::SeqCst) + 1;
        let under_way = self.under_way.fetch_add(1, Ordering::SeqCst) + 1;
        let _under_way = UnderWay(self.under_way.clone());
        self.most.fetch_max(under_way, Ordering::SeqCst);
        let life = match (self.grant)(number) {
            Grant::Token(life) => {
                // The others have time to come.
                tokio::task::yield_now().await;
                life
            }
            Grant::Late(delay, life) => {
                tokio::time::sleep(delay).await;
                life
            }
            Grant::Status(status) => {
                tokio::task::yield_now().await;
                let body = r#"{"error":"temporarily_unavailable"}"#;
                return Ok(Response::builder().status(status).body(body).unwrap().into());
            }
            Grant::Hang => pending().await,
        };
        let life = life.map(|life| format!(r#","expires_in":{life}"#)).unwrap_or_default();
        let body = format!(r#"{{"access_token":"token-{number}","token_type":"Bearer"{life}}}"#);
        Ok(Response::new(body).into())
    }
}

pub fn tokens() -> Endpoint {
    Endpoint::new(|_| Grant::Token(Some(3600)))
}

pub const INVALID: &str =
    r#"Bearer realm="api", error="invalid_token", error_description="expired""#;

pub fn answer(status: u16, challenge: Option<&str>) -> Response<ApiBody> {
    let body = Full::from(format!("answer {status}")).map_err(|never| match never {}).boxed();
    let mut answer = Response::builder().status(status).body(body).unwrap();
    if let Some(challenge) = challenge {
        answer.headers_mut().insert("www-authenticate", challenge.parse().unwrap());
    }
    answer
}

pub type ApiBody = BoxBody<Bytes, BoxError>;

pub enum Reply {
    Answer(Response<ApiBody>),
    Error(&'static str),
    /// The answer comes while the request's body is not read.
    Early(Response<ApiBody>),
    Hang,
}

/// One request as the API got it.
#[derive(Clone, Debug)]
pub struct Seen {
    pub head: Parts,
    pub body: Bytes,
    pub trailers: Option<http::HeaderMap>,
}

impl Seen {
    pub fn token(&self) -> Option<&str> {
        self.head.headers.get("authorization")?.to_str().ok()?.strip_prefix("Bearer ")
    }
}

/// An API that notes what it got and panics when it is called unready.
pub struct Api {
    handler: Arc<dyn Fn(&Seen) -> Reply + Send + Sync>,
    seen: Arc<Mutex<Vec<Seen>>>,
    ready: bool,
}

impl Api {
    pub fn new(handler: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        Self { handler: Arc::new(handler), seen: Arc::default(), ready: false }
    }

    /// Takes this token and says `invalid_token` to others.
    pub fn accepting(token: &'static str) -> Self {
        Self::new(move |seen| {
            let accepted = seen.token() == Some(token);
            Reply::Answer(if accepted { answer(200, None) } else { answer(401, Some(INVALID)) })
        })
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    pub fn tokens(&self) -> Vec<String> {
        self.seen().iter().map(|seen| seen.token().unwrap_or("none").to_owned()).collect()
    }
}

impl Clone for Api {
    fn clone(&self) -> Self {
        Self { handler: self.handler.clone(), seen: self.seen.clone(), ready: false }
    }
}

impl<B> Service<Request<BearerBody<B>>> for Api
where
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError> + Send,
{
    type Response = Response<ApiBody>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<ApiBody>, BoxError>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<BearerBody<B>>) -> Self::Future {
        assert!(std::mem::take(&mut self.ready), "called without readiness");
        let (handler, seen) = (self.handler.clone(), self.seen.clone());
        Box::pin(async move {
            let (head, body) = request.into_parts();
            let mut request = Seen { head, body: Bytes::new(), trailers: None };
            if let Reply::Early(answer) = handler(&request) {
                seen.lock().unwrap().push(request);
                return Ok(answer);
            }
            let mut body = Box::pin(body);
            let mut bytes = Vec::new();
            while let Some(frame) = body.frame().await {
                match frame.map_err(Into::into)?.into_data() {
                    Ok(data) => bytes.extend(data),
                    Err(frame) => request.trailers = frame.into_trailers().ok(),
                }
            }
            tokio::task::yield_now().await;
            request.body = bytes.into();
            seen.lock().unwrap().push(request.clone());
            match handler(&request) {
                Reply::Answer(answer) | Reply::Early(answer) => Ok(answer),
                Reply::Error(error) => Err(error.into()),
                Reply::Hang => pending().await,
            }
        })
    }
}

pub async fn text(answer: Response<ApiBody>) -> String {
    String::from_utf8(answer.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

/// A body of these pieces, whose length is not known in advance.
pub struct Pieces {
    frames: std::collections::VecDeque<Result<Frame<Bytes>, BoxError>>,
    hang: bool,
}

pub fn pieces(pieces: &[&'static str]) -> Pieces {
    let frame = |piece: &&'static str| Ok(Frame::data(Bytes::from(*piece)));
    Pieces { frames: pieces.iter().map(frame).collect(), hang: false }
}

impl Pieces {
    pub fn then(mut self, frame: Result<Frame<Bytes>, BoxError>) -> Self {
        self.frames.push_back(frame);
        self
    }

    pub fn then_hang(mut self) -> Self {
        self.hang = true;
        self
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.frames.pop_front() {
            Some(frame) => Poll::Ready(Some(frame)),
            None if self.hang => Poll::Pending,
            None => Poll::Ready(None),
        }
    }
}

pub fn poll_once<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}
