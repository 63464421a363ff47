//! HTTP clients, with and without keyswap.

use std::fmt;
use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Instant;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body::Body;
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use keyswap_reqwest::FallbackMiddleware;
use oauth2::basic::BasicClient;
use oauth2::{ClientId, ClientSecret, TokenResponse as _, TokenUrl};
use tower::{Layer as _, Service, ServiceExt as _};

use super::server::OPEN;
use crate::layers::{CLIENT_ID, FIRST, by_hand, keyswap, tower_http};
use crate::request::FORM;

/// Requests one after the other, and the microseconds that each took.
type Sending = Pin<Box<dyn Future<Output = Vec<f64>>>>;

/// A client, whatever its type.
pub(super) trait SendRequests {
    fn send(&mut self, requests: usize) -> Sending;
}

impl<C, F> SendRequests for C
where
    C: FnMut() -> F + Clone + 'static,
    F: Future<Output = ()>,
{
    fn send(&mut self, requests: usize) -> Sending {
        let mut request = self.clone();
        Box::pin(async move {
            let mut times = Vec::with_capacity(requests);
            for _ in 0..requests {
                let start = Instant::now();
                request().await;
                times.push(start.elapsed().as_secs_f64() * 1e6);
            }
            times
        })
    }
}

/// What is measured; the first one is what the others are compared with.
pub(super) struct Clients {
    all: Vec<(&'static str, &'static str, Box<dyn SendRequests>)>,
}

impl Clients {
    pub(super) fn all(server: SocketAddr) -> Self {
        let url = format!("http://{server}/token");
        let open: Uri = format!("http://{server}{OPEN}").parse().expect("a URI");
        let uri: Uri = url.parse().expect("a URI");
        let all: Vec<(_, _, Box<dyn SendRequests>)> = vec![
            ("hyper", "hyper-util's client, no secret", Box::new(service(hyper(), open))),
            (
                "hyper_set_header",
                "the same with tower-http's `SetRequestHeader`",
                Box::new(service(tower_http::set_header(hyper()), uri.clone())),
            ),
            (
                "hyper_format_each",
                "with a lock, the header made for each request",
                Box::new(service(by_hand::format_each(hyper()), uri.clone())),
            ),
            (
                "hyper_keyswap",
                "with `FallbackLayer`, Basic, two secrets",
                Box::new(service(keyswap::layer(2).layer(hyper()), uri)),
            ),
            ("reqwest", "reqwest, `basic_auth`", Box::new(reqwest(url.clone()))),
            (
                "reqwest_keyswap",
                "reqwest-middleware with `FallbackMiddleware`, Basic, two secrets",
                Box::new(reqwest_keyswap(url.clone())),
            ),
            ("oauth2", "the `oauth2` crate with its own reqwest", Box::new(oauth2(url))),
        ];
        Self { all }
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn at(&mut self, number: usize) -> &mut dyn SendRequests {
        &mut *self.all[number].2
    }

    pub(super) fn names(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        self.all.iter().map(|(name, what, _)| (*name, *what))
    }
}

#[cfg(test)]
pub(super) fn without_secret(server: SocketAddr) -> impl SendRequests {
    service(hyper(), format!("http://{server}/token").parse().expect("a URI"))
}

fn hyper<B>() -> Client<HttpConnector, B>
where
    B: Body<Data = Bytes> + Send,
{
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    Client::builder(TokioExecutor::new()).build(connector)
}

/// Each request goes through a clone of the service, as it does in programs that share one.
fn service<S, A>(service: S, uri: Uri) -> impl FnMut() -> Pin<Box<dyn Future<Output = ()>>> + Clone
where
    S: Service<Request<Full<Bytes>>, Response = Response<A>> + Clone + 'static,
    S::Error: fmt::Debug,
    A: Body,
    A::Error: fmt::Debug,
{
    move || {
        let mut request = Request::new(Full::new(Bytes::from_static(FORM.as_bytes())));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = uri.clone();
        let form = HeaderValue::from_static("application/x-www-form-urlencoded");
        request.headers_mut().insert(CONTENT_TYPE, form);
        let answer = service.clone().oneshot(request);
        Box::pin(async move {
            let answer = answer.await.expect("the server answers");
            assert_eq!(answer.status(), StatusCode::OK);
            answer.into_body().collect().await.expect("the answer is whole");
        })
    }
}

const PARAMETERS: [(&str, &str); 2] = [("grant_type", "client_credentials"), ("scope", "invoices")];

fn reqwest(url: String) -> impl FnMut() -> Pin<Box<dyn Future<Output = ()>>> + Clone {
    let client = reqwest::Client::new();
    move || {
        let request = client.post(&url).basic_auth(CLIENT_ID, Some(FIRST)).form(&PARAMETERS);
        Box::pin(async move {
            let answer = request.send().await.expect("the server answers");
            assert_eq!(answer.status(), StatusCode::OK);
            answer.bytes().await.expect("the answer is whole");
        })
    }
}

fn reqwest_keyswap(url: String) -> impl FnMut() -> Pin<Box<dyn Future<Output = ()>>> + Clone {
    let client = reqwest_middleware::ClientBuilder::new(reqwest::Client::new())
        .with(FallbackMiddleware::from(keyswap::layer(2)))
        .build();
    move || {
        let request = client.post(&url).form(&PARAMETERS);
        Box::pin(async move {
            let answer = request.send().await.expect("the server answers");
            assert_eq!(answer.status(), StatusCode::OK);
            answer.bytes().await.expect("the answer is whole");
        })
    }
}

fn oauth2(url: String) -> impl FnMut() -> Pin<Box<dyn Future<Output = ()>>> + Clone {
    let http = oauth2::reqwest::Client::new();
    let client = BasicClient::new(ClientId::new(CLIENT_ID.to_owned()))
        .set_client_secret(ClientSecret::new(FIRST.to_owned()))
        .set_token_uri(TokenUrl::new(url).expect("a URL"));
    move || {
        let (http, client) = (http.clone(), client.clone());
        Box::pin(async move {
            let request = client
                .exchange_client_credentials()
                .add_scope(oauth2::Scope::new("invoices".to_owned()));
            let token = request.request_async(&http).await.expect("the server grants a token");
            assert_eq!(token.access_token().secret(), "t");
        })
    }
}
