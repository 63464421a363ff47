//! A ring, and a server in memory that notes what it got and panics when it is called unready.
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]

pub mod log;

use std::error::Error;
use std::future::{Future, pending};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use base64::Engine as _;
use bytes::Bytes;
use http::request::Parts;
use http::{Request, Response};
use http_body::Body;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use keyswap_core::{FallbackPolicy, Revision, Secret, SecretList, SecretRing};
use keyswap_tower::{AnswerBody, ClientSecretBasic, FallbackLayer, RequestBody};
use tower::Service;

pub type BoxError = Box<dyn Error + Send + Sync>;
pub type ServerBody = BoxBody<Bytes, BoxError>;

/// Ids and values that no output may hold.
pub fn value_of(id: &str) -> String {
    format!("value+of/{id}==")
}

pub fn list(ids: &[&str]) -> SecretList {
    let secret = |id: &&str| Secret::new(id.parse().unwrap(), value_of(id)).unwrap();
    SecretList::new(ids.iter().map(secret)).unwrap()
}

/// A ring whose server has no nodes that disagree: one pass.
pub fn settled_ring(ids: &[&str]) -> SecretRing {
    let policy = FallbackPolicy::default()
        .propagation_window(Duration::ZERO)
        .cool_down(Duration::ZERO)
        .revision_wait(Duration::from_secs(1));
    SecretRing::with_policy(list(ids), Revision::INITIAL, policy)
}

pub fn layer(ring: &SecretRing) -> FallbackLayer<ClientSecretBasic> {
    FallbackLayer::new(ring.clone(), ClientSecretBasic::new("billing"))
}

pub const FORM: &str = "application/x-www-form-urlencoded";
pub const REFUSED: &str = r#"{"error":"invalid_client","error_description":"no"}"#;
pub const TOKEN: &str = r#"{"access_token":"t"}"#;
pub const GRANT: &str = "grant_type=client_credentials&scope=a+b";

pub fn request() -> Request<Full<Bytes>> {
    request_with(Full::from(GRANT))
}

pub fn request_with<B>(body: B) -> Request<B> {
    let request = Request::post("https://auth.example/token?x=1").header("content-type", FORM);
    request.header("x-trace", "7").body(body).unwrap()
}

pub fn answer(status: u16, body: &str) -> Response<ServerBody> {
    let body = Full::from(body.to_owned()).map_err(|never| match never {}).boxed();
    answer_with(status, body)
}

pub fn answer_with(status: u16, body: ServerBody) -> Response<ServerBody> {
    let answer = Response::builder().status(status).header("content-type", "application/json");
    answer.body(body).unwrap()
}

pub fn accept(yes: bool) -> Reply {
    Reply::Answer(if yes { answer(200, TOKEN) } else { answer(401, REFUSED) })
}

/// A body of these pieces, whose length is not known in advance.
pub fn pieces(pieces: Vec<Result<Bytes, BoxError>>, hang: bool) -> Pieces {
    Pieces { pieces: pieces.into(), hang }
}

pub struct Pieces {
    pieces: std::collections::VecDeque<Result<Bytes, BoxError>>,
    hang: bool,
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, BoxError>>> {
        match self.pieces.pop_front() {
            Some(piece) => Poll::Ready(Some(piece.map(http_body::Frame::data))),
            None if self.hang => Poll::Pending,
            None => Poll::Ready(None),
        }
    }
}

pub enum Reply {
    Answer(Response<ServerBody>),
    Error(&'static str),
    Hang,
}

/// One request as the server got it.
#[derive(Clone, Debug)]
pub struct Seen {
    pub head: Parts,
    pub body: Bytes,
    /// How its body failed, if it did.
    pub failure: Option<String>,
}

impl Seen {
    /// The id of the secret in its Basic header.
    pub fn id(&self) -> Option<String> {
        let value = self.head.headers.get("authorization")?.to_str().ok()?;
        let pair = base64::engine::general_purpose::STANDARD.decode(&value[6..]).ok()?;
        let pair = String::from_utf8(pair).ok()?;
        let (_, secret) = pair.split_once(':')?;
        let secret = form_urlencoded::parse(secret.as_bytes()).next()?.0.into_owned();
        let id = secret.strip_prefix("value+of/")?.strip_suffix("==")?;
        Some(id.to_owned())
    }
}

type Handler = dyn Fn(&Seen) -> Reply + Send + Sync;

pub struct Server {
    handler: Arc<Handler>,
    seen: Arc<Mutex<Vec<Seen>>>,
    ready: bool,
}

impl Server {
    pub fn new(handler: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        Self { handler: Arc::new(handler), seen: Arc::default(), ready: false }
    }

    pub fn accepting(id: &'static str) -> Self {
        Self::new(move |seen| accept(seen.id().as_deref() == Some(id)))
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    pub fn ids(&self) -> Vec<String> {
        self.seen().iter().map(|seen| seen.id().unwrap_or_default()).collect()
    }
}

impl Clone for Server {
    fn clone(&self) -> Self {
        Self { handler: self.handler.clone(), seen: self.seen.clone(), ready: false }
    }
}

impl<B> Service<Request<RequestBody<B>>> for Server
where
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError> + Send,
{
    type Response = Response<ServerBody>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<ServerBody>, BoxError>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<RequestBody<B>>) -> Self::Future {
        assert!(std::mem::take(&mut self.ready), "called without readiness");
        let (handler, seen) = (self.handler.clone(), self.seen.clone());
        Box::pin(async move {
            let (head, body) = request.into_parts();
            let mut body = Box::pin(body);
            let mut bytes = Vec::new();
            let mut failure = None;
            while let Some(frame) = body.frame().await {
                match frame {
                    Ok(frame) => bytes.extend(frame.into_data().unwrap_or_default()),
                    Err(error) => {
                        failure = Some(error.into().to_string());
                        break;
                    }
                }
            }
            tokio::task::yield_now().await;
            let request = Seen { head, body: bytes.into(), failure };
            seen.lock().unwrap().push(request.clone());
            match handler(&request) {
                Reply::Answer(answer) => Ok(answer),
                Reply::Error(error) => Err(error.into()),
                Reply::Hang => pending().await,
            }
        })
    }
}

pub async fn text<A>(answer: Response<AnswerBody<A>>) -> String
where
    A: Body,
    A::Error: std::fmt::Debug,
{
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(body.to_vec()).unwrap()
}

pub fn poll_once<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// Polls until a future says in its `Debug` that it is in this state.
pub async fn reach<F: Future + std::fmt::Debug>(mut future: Pin<&mut F>, state: &str) {
    for _ in 0..1000 {
        assert!(poll_once(future.as_mut()).is_pending(), "ended before {state}");
        if format!("{future:?}").contains(&format!("state: {state}")) {
            return;
        }
        let yielded = pin!(tokio::task::yield_now());
        yielded.await;
    }
    panic!("never {state}: {future:?}");
}
