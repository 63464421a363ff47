//! The layer around hyper-util's client, at servers on loopback: redirects, and answers that come before
//! the request is through.

mod common;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use common::{FORM, GRANT, Pieces, REFUSED, TOKEN, pieces, settled_ring};
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Client, Error};
use hyper_util::rt::{TokioExecutor, TokioIo};
use keyswap_core::SecretRing;
use keyswap_tower::{ClientSecretBasic, ClientSecretPost, Credential, FallbackLayer, RequestBody};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tower::{Layer, ServiceBuilder, ServiceExt};
use tower_http::follow_redirect::FollowRedirectLayer;
use tower_http::follow_redirect::policy::{self, PolicyExt};

type Seen = Arc<Mutex<Vec<(HeaderMap, Bytes)>>>;

/// A server that notes what it gets and answers with what `answer` makes of it.
async fn server(
    answer: impl Fn(&HeaderMap, &Bytes) -> Response<Full<Bytes>> + Clone + Send + Sync + 'static,
) -> (String, Seen, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let seen = Seen::default();
    let connections = Arc::new(AtomicUsize::new(0));
    let (noted, counted) = (seen.clone(), connections.clone());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::SeqCst);
            let (noted, answer) = (noted.clone(), answer.clone());
            let service =
                hyper::service::service_fn(move |request: Request<hyper::body::Incoming>| {
                    let (noted, answer) = (noted.clone(), answer.clone());
                    async move {
                        let (head, body) = request.into_parts();
                        let body = body.collect().await?.to_bytes();
                        let made = answer(&head.headers, &body);
                        noted.lock().unwrap().push((head.headers, body));
                        Ok::<_, hyper::Error>(made)
                    }
                });
            let http = hyper::server::conn::http1::Builder::new();
            tokio::spawn(http.serve_connection(TokioIo::new(stream), service));
        }
    });
    (url, seen, connections)
}

fn client<B>() -> Client<HttpConnector, RequestBody<B>>
where
    B: http_body::Body + Send + Unpin,
    B::Data: Send,
    B::Error: Send,
{
    Client::builder(TokioExecutor::new()).build_http()
}

fn post<B>(url: &str, body: B) -> Request<B> {
    Request::post(format!("{url}/token")).header("content-type", FORM).body(body).unwrap()
}

fn redirect(status: u16, to: &str) -> Response<Full<Bytes>> {
    let answer = Response::builder().status(status).header("location", format!("{to}/token"));
    answer.body(Full::default()).unwrap()
}

fn json(status: u16, body: &'static str) -> Response<Full<Bytes>> {
    let answer = Response::builder().status(status).header("content-type", "application/json");
    answer.body(Full::from(body)).unwrap()
}

fn holds_secret((headers, body): &(HeaderMap, Bytes)) -> bool {
    headers.contains_key("authorization") || String::from_utf8_lossy(body).contains("client_secret")
}

fn credentials() -> [Arc<dyn Credential + Send + Sync>; 2] {
    [Arc::new(ClientSecretBasic::new("billing")), Arc::new(ClientSecretPost::new("billing"))]
}

#[tokio::test]
async fn a_redirect_is_the_callers_answer_and_its_target_hears_nothing() {
    for status in [301, 302, 303, 307, 308] {
        for credential in credentials() {
            let (other, heard, _) = server(|_, _| json(200, TOKEN)).await;
            let (url, seen, _) = server(move |_, _| redirect(status, &other)).await;
            let layer = FallbackLayer::new(settled_ring(&["a", "b"]), credential);
            let answer = layer.layer(client()).oneshot(post(&url, Full::<Bytes>::from(GRANT)));
            let answer = answer.await.unwrap();
            assert_eq!(answer.status(), status);
            assert!(answer.body().authenticated().is_none());
            assert_eq!(seen.lock().unwrap().iter().filter(|seen| holds_secret(seen)).count(), 1);
            assert!(heard.lock().unwrap().is_empty(), "{status}");
        }
    }
}

/// The statuses on which the body goes to another origin again, by something above the layer that follows
/// redirects. Without the pin the layer signs that request too: the first line of each pair shows that
/// the test would see it.
#[tokio::test]
async fn a_redirect_that_is_followed_above_a_pinned_layer_takes_no_secret_elsewhere() {
    for status in [307, 308] {
        for credential in credentials() {
            for pinned in [false, true] {
                let (other, heard, _) = server(|_, _| json(200, TOKEN)).await;
                let (url, seen, _) = server(move |_, _| redirect(status, &other)).await;
                let mut layer = FallbackLayer::new(settled_ring(&["a", "b"]), credential.clone());
                if pinned {
                    layer = layer.origin(url.parse().unwrap());
                }
                let keep_body = policy::clone_body_fn(|body: &Full<Bytes>| Some(body.clone()));
                let follow = policy::Limited::new(5).and::<_, Full<Bytes>, Error>(keep_body);
                let service = ServiceBuilder::new()
                    .layer(FollowRedirectLayer::with_policy(follow))
                    .layer(layer)
                    .service(client());
                let answer = service.oneshot(post(&url, Full::from(GRANT))).await.unwrap();
                assert_eq!(answer.status(), 200);
                assert!(holds_secret(&seen.lock().unwrap()[0]));
                let heard = heard.lock().unwrap();
                assert!(String::from_utf8_lossy(&heard[0].1).starts_with(GRANT));
                assert_eq!((heard.len(), holds_secret(&heard[0])), (1, !pinned), "{status}");
            }
        }
    }
}

#[tokio::test]
async fn refused_answers_leave_the_connection_to_the_next_attempt() {
    let (url, seen, connections) = server(|_, _| json(401, REFUSED)).await;
    let ids = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"];
    let layer = FallbackLayer::new(settled_ring(&ids), ClientSecretPost::new("billing"));
    let answer = layer.layer(client()).oneshot(post(&url, Full::<Bytes>::from(GRANT))).await;
    let body = answer.unwrap().into_body().collect().await.unwrap().to_bytes();
    assert_eq!((&body[..], seen.lock().unwrap().len()), (REFUSED.as_bytes(), 10));
    assert_eq!(connections.load(Ordering::SeqCst), 1);
}

/// Reads up to the end of a request's head; gives what came behind it.
async fn read_head(stream: &mut TcpStream) -> (String, Vec<u8>) {
    let mut bytes = Vec::new();
    loop {
        assert_ne!(stream.read_buf(&mut bytes).await.unwrap(), 0, "closed in the head");
        if let Some(end) = bytes.windows(4).position(|end| end == b"\r\n\r\n") {
            let rest = bytes.split_off(end + 4);
            return (String::from_utf8(bytes).unwrap(), rest);
        }
    }
}

async fn answer_now(stream: &mut TcpStream, status: &str, body: &str) {
    let answer = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(answer.as_bytes()).await.unwrap();
}

/// More than the buffers of a loopback connection take, so that the body cannot be through.
const LARGE: usize = 24 << 20;

#[tokio::test]
async fn a_refusal_that_comes_while_the_body_is_being_sent_leads_to_the_next_secret() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let serving = tokio::spawn(async move {
        let (mut first, _) = listener.accept().await.unwrap();
        let (_, came) = read_head(&mut first).await;
        answer_now(&mut first, "401 Unauthorized", REFUSED).await;
        // The rest of the first one is never read, and its connection stays.
        let (mut second, _) = listener.accept().await.unwrap();
        let (head, mut body) = read_head(&mut second).await;
        while body.len() < LARGE {
            assert_ne!(second.read_buf(&mut body).await.unwrap(), 0, "closed in the body");
        }
        answer_now(&mut second, "200 OK", TOKEN).await;
        (came.len(), head, body, first, second)
    });
    let ring = settled_ring(&["a", "b"]);
    let layer = FallbackLayer::new(ring.clone(), ClientSecretBasic::new("billing"));
    let layer = layer.max_body(LARGE);
    let body: Bytes = (0..LARGE).map(|byte| byte as u8).collect();
    let request = Request::post(&url).body(Full::<Bytes>::from(body.clone())).unwrap();
    let answer = within(layer.layer(client()).oneshot(request)).await.unwrap();
    assert_eq!(answer.body().authenticated().unwrap().attempts, 2);
    let (came, head, received, ..) = within(serving).await.unwrap();
    assert!(came < LARGE);
    assert!(head.contains(&format!("content-length: {LARGE}\r\n")), "{head}");
    assert!(received == body);
    assert_eq!(refusals(&ring), 1);
}

#[tokio::test]
async fn an_answer_that_comes_before_a_stream_has_ended_is_the_callers_at_once() {
    for (status, body) in [("413 Content Too Large", "{}"), ("401 Unauthorized", REFUSED)] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let serving = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let (head, _) = read_head(&mut stream).await;
            answer_now(&mut stream, status, body).await;
            (head, stream)
        });
        // A body over the limit that never ends.
        let stream: Pieces = pieces(vec![Ok(vec![b'x'; 70_000].into())], true);
        let ring = settled_ring(&["a", "b"]);
        let layer = FallbackLayer::new(ring.clone(), ClientSecretBasic::new("billing"));
        let request = Request::post(&url).body(stream).unwrap();
        let answer = within(layer.layer(client()).oneshot(request)).await.unwrap();
        assert_eq!(answer.status().as_str(), &status[..3]);
        let read = within(answer.into_body().collect()).await.unwrap().to_bytes();
        assert_eq!(read, body);
        let (head, _stream) = within(serving).await.unwrap();
        assert!(head.to_lowercase().contains("authorization: basic"), "{head}");
        assert_eq!(refusals(&ring), 0, "an answer to a stream is not read");
    }
}

fn refusals(ring: &SecretRing) -> u64 {
    ring.usage().secrets.iter().map(|usage| usage.refused).sum()
}

async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(60), future).await.expect("it hangs")
}
