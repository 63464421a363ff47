//! keyswap, and what one would use instead of it.

use std::fmt::Write as _;
use std::future::{Ready, ready};
use std::sync::{Arc, RwLock};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{HeaderValue, Request, Response};
use http_body_util::Full;
use keyswap_core::{Secret, SecretList, SecretRing};
use keyswap_tower::{ClientSecretBasic, Fallback, FallbackLayer, Profile};
use tower::retry::{Policy, Retry};
use tower::util::MapRequest;
use tower::{Layer, Service};
use tower_http::auth::{AddAuthorization, AddAuthorizationLayer};
use tower_http::set_header::{SetRequestHeader, SetRequestHeaderLayer};

pub(crate) const CLIENT_ID: &str = "3f0a9c1e-5b7d-4e2a-9c41-8d2f6b7a1e90";
// Letters and digits alone: form encoding leaves them as they are, so that all variants send the same.
pub(crate) const FIRST: &str = "Vq3hCc0Zc1JxR8tLwQm5Yd7KfBn2Hs4GpXa6Eu9T";
pub(crate) const SECOND: &str = "yT7mXo2LrWq8Bd5NkJc3Vf9ZhGs1Pt6QaEi4Ru0M";

/// The header that each variant sends with this secret.
pub(crate) fn header(secret: &str) -> HeaderValue {
    let mut value = "Basic ".to_owned();
    STANDARD.encode_string(format!("{CLIENT_ID}:{secret}"), &mut value);
    let mut value = HeaderValue::try_from(value).expect("base64 is a header value");
    value.set_sensitive(true);
    value
}

/// tower-http, with a value made once: one secret, and no way to another.
pub(crate) fn set_header<S>(inner: S) -> SetRequestHeader<S, HeaderValue> {
    SetRequestHeaderLayer::overriding(AUTHORIZATION, header(FIRST)).layer(inner)
}

/// tower-http's own layer for this.
pub(crate) fn add_authorization<S>(inner: S) -> AddAuthorization<S> {
    AddAuthorizationLayer::basic(CLIENT_ID, FIRST).as_sensitive(true).layer(inner)
}

/// What programs write themselves: a lock around the secret, and the header made for each request.
pub(crate) fn format_each<S>(
    inner: S,
) -> impl Service<Request<Full<Bytes>>, Response = S::Response, Error = S::Error>
where
    S: Service<Request<Full<Bytes>>>,
{
    let secret = Arc::new(RwLock::new(FIRST.to_owned()));
    MapRequest::new(inner, move |mut request: Request<Full<Bytes>>| {
        let secret = secret.read().expect("no writer panicked").clone();
        let mut value = String::new();
        let pair = STANDARD.encode(format!("{CLIENT_ID}:{secret}"));
        write!(value, "Basic {pair}").expect("a string takes all");
        let mut value = HeaderValue::try_from(value).expect("base64 is a header value");
        value.set_sensitive(true);
        request.headers_mut().insert(AUTHORIZATION, value);
        request
    })
}

/// A fallback made of tower's own retry: it looks at the status alone, and each request begins with the
/// first secret again.
pub(crate) fn retry<S, A>(
    inner: S,
) -> impl Service<Request<Full<Bytes>>, Response = Response<A>, Error = S::Error>
where
    S: Service<Request<Full<Bytes>>, Response = Response<A>> + Clone,
{
    let headers = Arc::new(RwLock::new(vec![header(FIRST), header(SECOND)]));
    let policy = NextSecret { headers: Arc::clone(&headers), position: 0 };
    let signed = MapRequest::new(inner, move |mut request: Request<Full<Bytes>>| {
        if !request.headers().contains_key(AUTHORIZATION) {
            let first = headers.read().expect("no writer panicked")[0].clone();
            request.headers_mut().insert(AUTHORIZATION, first);
        }
        request
    });
    Retry::new(policy, signed)
}

/// The policy of [`retry`].
#[derive(Clone)]
struct NextSecret {
    headers: Arc<RwLock<Vec<HeaderValue>>>,
    position: usize,
}

impl<B: Clone, A, E> Policy<Request<B>, Response<A>, E> for NextSecret {
    type Future = Ready<()>;

    fn retry(
        &mut self,
        request: &mut Request<B>,
        answer: &mut Result<Response<A>, E>,
    ) -> Option<Ready<()>> {
        if !matches!(answer, Ok(answer) if answer.status() == 401) {
            return None;
        }
        self.position += 1;
        let next = self.headers.read().expect("no writer panicked").get(self.position).cloned()?;
        request.headers_mut().insert(AUTHORIZATION, next);
        Some(ready(()))
    }

    fn clone_request(&mut self, request: &Request<B>) -> Option<Request<B>> {
        Some(request.clone())
    }
}

/// keyswap with the first secret, or both.
pub(crate) fn keyswap<S>(secrets: usize, inner: S) -> Fallback<S, ClientSecretBasic, Profile> {
    let all = [("first", FIRST), ("second", SECOND)].map(|(id, value)| {
        Secret::new(id.parse().expect("a valid id"), value).expect("a valid secret")
    });
    let list = SecretList::new(all.into_iter().take(secrets)).expect("one secret or two");
    FallbackLayer::new(SecretRing::new(list), ClientSecretBasic::new(CLIENT_ID))
        .profile(Profile::Rfc6749)
        .layer(inner)
}
