//! What is measured: one token request through keyswap, and through what one would use instead.
//!
//! A *call* is one turn of a loop: make the request (POST, two headers, a body of 44 bytes), send it
//! through the layer to a service that answers at once, and drop the answer. No socket, no TLS: what
//! remains is what a layer adds.
//!
//! Each variant has an inner service of a type of its own. A layer that two variants shared would be
//! compiled once, and called where the others are inlined: that alone moved figures by 190 instructions.
#![forbid(unsafe_code)]

mod inner;
mod layers;

use std::fmt;
use std::hint::black_box;
use std::pin::pin;
use std::sync::LazyLock;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body_util::Full;
use tower::Service;

use inner::{Alternating, Noop, Twice};

/// One way to send a token request.
pub struct Variant {
    name: &'static str,
    run: Box<dyn FnMut(u64)>,
}

impl Variant {
    fn new<S, A>(name: &'static str, mut service: S) -> Self
    where
        S: Service<Request<Full<Bytes>>, Response = Response<A>> + 'static,
        S::Error: fmt::Debug,
    {
        let run = move |calls| {
            for _ in 0..calls {
                assert_eq!(call(&mut service), StatusCode::OK, "{name}");
            }
        };
        Self { name, run: Box::new(run) }
    }

    /// The name: what is measured.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Makes this many calls. The first few may warm up what is kept between calls.
    ///
    /// # Panics
    ///
    /// When a call does not end with 200, or not at once.
    pub fn run(&mut self, calls: u64) {
        (self.run)(calls);
    }
}

impl fmt::Debug for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Variant").field("name", &self.name).finish_non_exhaustive()
    }
}

/// The first attempt is accepted: what every request pays. The first variant is the bare service, which
/// is what the others are compared with.
#[must_use]
pub fn warm_path() -> Vec<Variant> {
    enum SetHeader {}
    enum AddAuthorization {}
    enum FormatEach {}
    enum RetryTwo {}
    enum OneSecret {}
    enum TwoSecrets {}
    vec![
        Variant::new("bare", Noop::<()>::new()),
        Variant::new("set_header", layers::set_header(Noop::<SetHeader>::new())),
        Variant::new(
            "add_authorization",
            layers::add_authorization(Noop::<AddAuthorization>::new()),
        ),
        Variant::new("format_each", layers::format_each(Noop::<FormatEach>::new())),
        Variant::new("retry_two", layers::retry(Noop::<RetryTwo>::new())),
        Variant::new("keyswap_one", layers::keyswap(1, Noop::<OneSecret>::new())),
        Variant::new("keyswap_two", layers::keyswap(2, Noop::<TwoSecrets>::new())),
    ]
}

/// Every call is refused once (401, `invalid_client`) and then accepted. The first variant is two calls
/// of the bare service: the floor.
#[must_use]
pub fn fallback() -> Vec<Variant> {
    enum Floor {}
    enum Retry {}
    enum Keyswap {}
    vec![
        Variant::new("fallback_bare_twice", Twice::new(Alternating::<Floor>::new())),
        Variant::new("fallback_retry", layers::retry(Alternating::<Retry>::new())),
        Variant::new("fallback_keyswap", layers::keyswap(2, Alternating::<Keyswap>::new())),
    ]
}

/// The caller's request. The address is parsed once, as a program would keep it.
fn request() -> Request<Full<Bytes>> {
    static ENDPOINT: LazyLock<Uri> =
        LazyLock::new(|| Uri::from_static("https://auth.example/token"));
    let body = Bytes::from_static(b"grant_type=client_credentials&scope=invoices");
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = ENDPOINT.clone();
    let headers = request.headers_mut();
    let form = HeaderValue::from_static("application/x-www-form-urlencoded");
    headers.insert(CONTENT_TYPE, form);
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    request
}

/// One call. No inner service here ever makes it wait, so there is no runtime to measure.
fn call<S, A>(service: &mut S) -> StatusCode
where
    S: Service<Request<Full<Bytes>>, Response = Response<A>>,
    S::Error: fmt::Debug,
{
    let mut context = Context::from_waker(Waker::noop());
    assert!(matches!(service.poll_ready(&mut context), Poll::Ready(Ok(()))), "always ready");
    let future = pin!(service.call(black_box(request())));
    match future.poll(&mut context) {
        Poll::Ready(Ok(answer)) => black_box(answer).status(),
        Poll::Ready(Err(error)) => panic!("the inner services do not fail: {error:?}"),
        Poll::Pending => panic!("the inner services answer at once"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use inner::Recorder;

    /// The status, and the `Authorization` header of each attempt.
    fn sent<S, A>(wrap: impl FnOnce(Recorder) -> S, answers: &[u16]) -> (u16, Vec<HeaderValue>)
    where
        S: Service<Request<Full<Bytes>>, Response = Response<A>>,
        S::Error: fmt::Debug,
    {
        let recorder = Recorder::answering(answers);
        let status = call(&mut wrap(recorder.clone()));
        (status.as_u16(), recorder.authorizations())
    }

    #[test]
    fn every_variant_sends_the_same_sensitive_header() {
        let all = [
            ("set_header", sent(layers::set_header, &[200])),
            ("add_authorization", sent(layers::add_authorization, &[200])),
            ("format_each", sent(layers::format_each, &[200])),
            ("retry_two", sent(layers::retry, &[200])),
            ("keyswap_one", sent(|inner| layers::keyswap(1, inner), &[200])),
            ("keyswap_two", sent(|inner| layers::keyswap(2, inner), &[200])),
        ];
        for (name, (status, headers)) in all {
            assert_eq!(status, 200, "{name}");
            assert_eq!(headers, [layers::header(layers::FIRST)], "{name}");
            assert!(headers[0].is_sensitive(), "{name}");
        }
    }

    #[test]
    fn a_refused_call_is_made_again_with_the_second_secret() {
        let expected = [layers::header(layers::FIRST), layers::header(layers::SECOND)];
        assert_eq!(sent(layers::retry, &[401, 200]), (200, expected.to_vec()));
        let keyswap = sent(|inner| layers::keyswap(2, inner), &[401, 200]);
        assert_eq!(keyswap, (200, expected.to_vec()));
    }

    #[test]
    fn the_request_and_the_secrets_have_the_stated_sizes() {
        use http_body::Body as _;
        let request = request();
        assert_eq!((request.headers().len(), request.body().size_hint().exact()), (2, Some(44)));
        assert_eq!((layers::CLIENT_ID.len(), layers::FIRST.len()), (36, 40));
        assert_eq!(layers::SECOND.len(), 40);
    }

    #[test]
    fn every_variant_runs() {
        for mut variant in warm_path().into_iter().chain(fallback()) {
            variant.run(100);
        }
    }
}
