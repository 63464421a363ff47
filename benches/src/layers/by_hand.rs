//! What programs write themselves.

use std::fmt::Write as _;
use std::future::{Ready, ready};
use std::mem;
use std::pin::Pin;
use std::sync::{Arc, RwLock};
use std::task::{Context, Poll};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{HeaderValue, Request, Response};
use http_body_util::{BodyExt as _, Full};
use tower::Service;
use tower::retry::{Policy, Retry};
use tower::util::MapRequest;

use super::{CLIENT_ID, FIRST, SECOND, header};

/// A lock around the secret, and the header made for each request.
pub(crate) fn format_each<S>(
    inner: S,
) -> impl Service<Request<Full<Bytes>>, Response = S::Response, Error = S::Error> + Clone
where
    S: Service<Request<Full<Bytes>>> + Clone,
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

/// A lock around the secret, and the form read, extended and sent from a boxed future.
#[derive(Clone)]
pub(crate) struct FormEach<S> {
    inner: S,
    secret: Arc<RwLock<String>>,
}

impl<S> FormEach<S> {
    pub(crate) fn new(inner: S) -> Self {
        Self { inner, secret: Arc::new(RwLock::new(FIRST.to_owned())) }
    }
}

impl<S> Service<Request<Full<Bytes>>> for FormEach<S>
where
    S: Service<Request<Full<Bytes>>> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Full<Bytes>>) -> Self::Future {
        let clone = self.inner.clone();
        let mut inner = mem::replace(&mut self.inner, clone);
        let secret = Arc::clone(&self.secret);
        Box::pin(async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await.expect("it is here already").to_bytes();
            let form = str::from_utf8(&body).expect("a form is text");
            // What many forget: to encode both. These need none, so it is left out, to the peer's favour.
            let form = {
                let secret = secret.read().expect("no writer panicked");
                format!("{form}&client_id={CLIENT_ID}&client_secret={secret}")
            };
            inner.call(Request::from_parts(head, Full::from(form))).await
        })
    }
}

/// A fallback made of tower's own retry: headers made once, in a list behind a lock. It looks at the
/// status alone, and each request begins with the first secret again.
pub(crate) fn retry<S, A>(
    inner: S,
) -> impl Service<Request<Full<Bytes>>, Response = Response<A>, Error = S::Error> + Clone
where
    S: Service<Request<Full<Bytes>>, Response = Response<A>> + Clone,
{
    let headers = Arc::new(RwLock::new(vec![header(FIRST), header(SECOND)]));
    let policy = NextSecret { headers: Arc::clone(&headers), position: 0 };
    MapRequest::new(Retry::new(policy, inner), move |mut request: Request<Full<Bytes>>| {
        let first = headers.read().expect("no writer panicked")[0].clone();
        request.headers_mut().insert(AUTHORIZATION, first);
        request
    })
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
