//! The one task of the server: it takes connections and answers on them until it is told to stop.
//!
//! hyper is driven by hand here, rather than through `axum::serve`, for two things: a connection must be closed without
//! an answer where a fault asks for it, and a balancer may choose the node when a connection is opened.

use std::convert::Infallible;
use std::error::Error;
use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::{HeaderName, HeaderValue, Request};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tower::ServiceExt;

use crate::core::Core;
use crate::exchange::{Exchange, whole};
use crate::server::Balancing;

/// How long the head of a request may take, and a connection wait for the next one: longer than programs keep theirs, or one
/// would be ended that is used just then.
const HEAD_WITHIN: Duration = Duration::from_secs(120);
/// How long answers that are on their way may take once the server was told to stop.
const GRACE: Duration = Duration::from_secs(5);

/// Which node answered: for a person who looks at the traffic.
const NODE_HEADER: HeaderName = HeaderName::from_static("x-testkit-node");

/// The node that answers a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Node(pub(crate) usize);

/// Marks a response that must not be written: the connection is closed instead.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AnswerLost;

impl AnswerLost {
    pub(crate) fn response() -> Response {
        let mut response = ().into_response();
        response.extensions_mut().insert(Self);
        response
    }
}

impl fmt::Display for AnswerLost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the answer was lost on demand")
    }
}

impl Error for AnswerLost {}

/// Serves until `stop` turns true or its sender is gone. Dropping the future closes every connection.
pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    core: Arc<Core>,
    balancing: Balancing,
    mut stop: watch::Receiver<bool>,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = told_to_stop(&mut stop) => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    let connection =
                        connection(stream, router.clone(), Arc::clone(&core), balancing, stop.clone());
                    connections.spawn(connection);
                }
                // Out of file descriptors, mostly: wait for some to be given back instead of spinning.
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            },
        }
    }
    // A new connection must be refused from here on, not queued.
    drop(listener);
    let finished = async { while connections.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(GRACE, finished).await;
}

async fn connection(
    stream: TcpStream,
    router: Router,
    core: Arc<Core>,
    balancing: Balancing,
    mut stop: watch::Receiver<bool>,
) {
    let _ = stream.set_nodelay(true);
    let chosen = match balancing {
        Balancing::PerConnection => Some(core.with_state(|state, _| state.pick_node())),
        Balancing::PerRequest => None,
    };
    let service = service_fn(|request: Request<Incoming>| {
        let node = chosen.unwrap_or_else(|| core.with_state(|state, _| state.pick_node()));
        answer(router.clone(), Arc::clone(&core), request, node)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    // A connection that breaks, by a fault or because the client went away, is nobody's concern here.
    tokio::select! {
        _ = connection.as_mut() => return,
        () = told_to_stop(&mut stop) => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}

/// What `wait_for` returns holds the channel's lock, so it must not outlive this.
async fn told_to_stop(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

async fn answer(
    router: Router,
    core: Arc<Core>,
    request: Request<Incoming>,
    node: usize,
) -> Result<Response, AnswerLost> {
    let mut request = request.map(Body::new);
    request.extensions_mut().insert(Node(node));
    match &core.exchanges {
        None => routed(router, request, node).await,
        Some(exchanges) => {
            let (head, body) = request.into_parts();
            let body = whole(body).await;
            let seen = Request::from_parts(head.clone(), body.clone());
            let answer = routed(router, Request::from_parts(head, body.into()), node).await;
            let (answer, given) = match answer {
                Ok(answer) => {
                    let (head, body) = answer.into_parts();
                    let body = whole(body).await;
                    let given = http::Response::from_parts(head.clone(), body.clone());
                    (Ok(Response::from_parts(head, body.into())), Some(given))
                }
                Err(lost) => (Err(lost), None),
            };
            exchanges.add(Exchange::new(seen, given));
            answer
        }
    }
}

async fn routed(
    router: Router,
    request: Request<Body>,
    node: usize,
) -> Result<Response, AnswerLost> {
    let answered: Result<Response, Infallible> = router.oneshot(request).await;
    let Ok(mut response) = answered;
    if response.extensions().get::<AnswerLost>().is_some() {
        return Err(AnswerLost);
    }
    response.headers_mut().insert(NODE_HEADER, HeaderValue::from(node));
    Ok(response)
}
