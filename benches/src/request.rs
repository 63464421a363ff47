//! The caller's requests, and one call.

use std::convert::Infallible;
use std::fmt;
use std::hint::black_box;
use std::pin::{Pin, pin};
use std::sync::LazyLock;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body::{Body, Frame};
use http_body_util::Full;
use tower::Service;

/// 44 bytes.
pub(crate) const FORM: &str = "grant_type=client_credentials&scope=invoices";

/// With the method, the address and the headers of a token request. The address is parsed once, as a
/// program would keep it.
fn token_request<B>(body: B) -> Request<B> {
    static ENDPOINT: LazyLock<Uri> =
        LazyLock::new(|| Uri::from_static("https://auth.example/token"));
    let mut request = Request::new(body);
    *request.method_mut() = Method::POST;
    *request.uri_mut() = ENDPOINT.clone();
    let headers = request.headers_mut();
    let form = HeaderValue::from_static("application/x-www-form-urlencoded");
    headers.insert(CONTENT_TYPE, form);
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    request
}

/// A token request.
pub(crate) fn small() -> Request<Full<Bytes>> {
    token_request(Full::new(Bytes::from_static(FORM.as_bytes())))
}

static LARGE: [u8; 128 * 1024] = [b'a'; 128 * 1024];

/// A body of 128 KiB that states its length: over the layer's cap.
pub(crate) fn large() -> Request<Full<Bytes>> {
    token_request(Full::new(Bytes::from_static(&LARGE)))
}

/// The same in pieces of 32 KiB, without a stated length.
pub(crate) fn stream() -> Request<Pieces> {
    token_request(Pieces { sent: 0 })
}

/// A body of four pieces that says nothing about its length.
pub(crate) struct Pieces {
    sent: usize,
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let Some(piece) = LARGE.chunks(32 * 1024).nth(self.sent) else { return Poll::Ready(None) };
        self.sent += 1;
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(piece)))))
    }
}

/// One call. No inner service here ever makes it wait, so there is no runtime to measure.
pub(crate) fn call<S, B, A>(service: &mut S, request: Request<B>) -> StatusCode
where
    S: Service<Request<B>, Response = Response<A>>,
    S::Error: fmt::Debug,
{
    let mut context = Context::from_waker(Waker::noop());
    assert!(matches!(service.poll_ready(&mut context), Poll::Ready(Ok(()))), "always ready");
    match at_once(service.call(black_box(request))) {
        Ok(answer) => black_box(answer).status(),
        Err(error) => panic!("the inner services do not fail: {error:?}"),
    }
}

/// What a future gives that does not have to wait.
pub(crate) fn at_once<F: Future>(future: F) -> F::Output {
    let mut context = Context::from_waker(Waker::noop());
    match pin!(future).poll(&mut context) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("nothing here has to wait"),
    }
}
