//! Serves what the watching sees, as the proxy serves its own.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::header::{ALLOW, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::metrics::{Look, text};
use crate::commands::proxy::serve::serve;
use crate::commands::proxy::{Body, listen, whole};
use crate::exit::Failure;

/// The last look at each client, by its id.
type Looks = Arc<Mutex<Vec<(String, Look)>>>;

/// Where Prometheus asks.
pub(super) struct Monitoring {
    listener: TcpListener,
    address: SocketAddr,
    looks: Looks,
}

/// Where the looks at one client are put.
pub(super) struct Place {
    looks: Looks,
    position: usize,
}

fn lock(looks: &Looks) -> MutexGuard<'_, Vec<(String, Look)>> {
    looks.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Place {
    pub(super) fn put(&self, look: Look) {
        lock(&self.looks)[self.position].1 = look;
    }

    pub(super) fn failed(&self) {
        lock(&self.looks)[self.position].1.failed();
    }
}

impl Monitoring {
    pub(super) async fn listen<'a>(
        address: SocketAddr,
        clients: impl Iterator<Item = &'a str>,
    ) -> Result<Self, Failure> {
        let (listener, address) = listen(address, "--monitoring").await?;
        let looks = clients.map(|client| (client.to_owned(), Look::default())).collect();
        Ok(Self { listener, address, looks: Arc::new(Mutex::new(looks)) })
    }

    /// One for each client, in their order.
    pub(super) fn places(&self) -> Vec<Place> {
        let clients = 0..lock(&self.looks).len();
        clients.map(|position| Place { looks: Arc::clone(&self.looks), position }).collect()
    }

    /// Says where that is. Nobody may listen, which is no reason to end.
    pub(super) fn say(&self, json: bool) {
        use std::io::Write;
        let url = format!("http://{}/metrics", self.address);
        let line = match json {
            true => json!({ "event": "ready", "monitoring": url }).to_string(),
            false => format!("monitoring {url}; Ctrl-C ends it"),
        };
        let mut out = std::io::stdout().lock();
        let _ = writeln!(out, "{line}").and_then(|()| out.flush());
    }

    /// Serves until that comes, and then until each request has its answer.
    pub(super) async fn serve(self, end: impl Future<Output = ()>) {
        let (stop, stopped) = watch::channel(false);
        let looks = self.looks;
        let answer = move |request: Request<hyper::body::Incoming>| {
            let looks = Arc::clone(&looks);
            async move { answered(&looks, request.method(), request.uri().path()) }
        };
        let serving = serve(self.listener, None, answer, stopped);
        tokio::pin!(serving);
        tokio::select! {
            () = &mut serving => {}
            () = end => {
                stop.send_replace(true);
                serving.await;
            }
        }
    }
}

fn answered(looks: &Looks, method: &Method, path: &str) -> Response<Body> {
    let read = [Method::GET, Method::HEAD].contains(method);
    let (status, kind, body) = match path {
        "/metrics" | "/healthz" if !read => {
            (StatusCode::METHOD_NOT_ALLOWED, "text/plain", "this is only read\n".to_owned())
        }
        "/metrics" => {
            let looks = lock(looks);
            let looks = looks.iter().map(|(client, look)| (client.as_str(), look));
            (StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", text(looks))
        }
        "/healthz" => {
            let looks = lock(looks);
            let clients = looks.iter().map(|(client, look)| (client.clone(), look.is_up().into()));
            let clients: serde_json::Map<_, _> = clients.collect();
            let all = looks.iter().all(|(_, look)| look.is_up());
            let status = if all { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
            (status, "application/json", json!({ "stores_read": clients }).to_string())
        }
        _ => {
            let text = "keyswap watch serves GET /healthz, GET /metrics, and nothing else\n";
            (StatusCode::NOT_FOUND, "text/plain", text.to_owned())
        }
    };
    let mut response = Response::new(whole(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    if status == StatusCode::METHOD_NOT_ALLOWED {
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    response
}
