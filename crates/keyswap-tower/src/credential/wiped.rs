//! Buffers for what holds a credential.

use std::ops::{Deref, DerefMut};

use bytes::Bytes;
use zeroize::Zeroizing;

/// A buffer that is wiped when its last handle goes.
///
/// Its size is given first and kept: a buffer that grows leaves a copy behind that nobody wipes.
pub(super) struct Wiped {
    bytes: Zeroizing<Vec<u8>>,
    most: usize,
    #[cfg(test)]
    _alive: alive::Alive,
}

impl Wiped {
    pub(super) fn with_capacity(most: usize) -> Self {
        Self {
            bytes: Zeroizing::new(Vec::with_capacity(most)),
            most,
            #[cfg(test)]
            _alive: alive::Alive::new(),
        }
    }

    /// Without a copy: the buffer lives as long as the last handle.
    pub(super) fn into_bytes(self) -> Bytes {
        debug_assert!(self.bytes.len() <= self.most, "{} > {}", self.bytes.len(), self.most);
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Wiped {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Deref for Wiped {
    type Target = Vec<u8>;

    fn deref(&self) -> &Vec<u8> {
        &self.bytes
    }
}

impl DerefMut for Wiped {
    fn deref_mut(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }
}

/// How many buffers there are, on each thread: for the tests below alone.
#[cfg(test)]
mod alive {
    use std::cell::Cell;

    thread_local! {
        static COUNT: Cell<usize> = const { Cell::new(0) };
    }

    pub(super) struct Alive(());

    impl Alive {
        pub(super) fn new() -> Self {
            COUNT.set(COUNT.get() + 1);
            Self(())
        }
    }

    impl Drop for Alive {
        fn drop(&mut self) {
            COUNT.set(COUNT.get() - 1);
        }
    }

    pub(super) fn count() -> usize {
        COUNT.get()
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::pin::pin;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::task::{Context, Poll, Waker};

    use http::header::HeaderName;
    use http::{Request, Response};
    use http_body_util::{BodyExt, Full};
    use keyswap_core::{Secret, SecretList, SecretRing};
    use tower::{Layer, Service, ServiceExt, service_fn};

    use super::alive;
    use crate::credential::{
        ClientIds, ClientSecretBasic, ClientSecretJwt, ClientSecretPost, Credential, HeaderSecret,
    };
    use crate::{FallbackLayer, RequestBody};

    fn ring() -> SecretRing {
        let secret = |id: &str| Secret::new(id.parse().unwrap(), format!("{id}+c0Zc1Jx")).unwrap();
        SecretRing::new(SecretList::new(["a", "b"].map(secret)).unwrap())
    }

    /// Each with whether it keeps what it encoded beside the secret: always, or where the body is a form that
    /// names no client.
    fn credentials() -> Vec<(Arc<dyn Credential + Send + Sync>, Keeps)> {
        use Keeps::{Always, InPlainForms, Never};
        let paired = ClientIds::paired([("a".parse().unwrap(), "A"), ("b".parse().unwrap(), "B")]);
        vec![
            (Arc::new(ClientSecretBasic::new("billing")), Always),
            (Arc::new(ClientSecretBasic::new("billing").raw()), Always),
            (Arc::new(ClientSecretBasic::new(paired)), Always),
            (Arc::new(ClientSecretBasic::new(ClientIds::by(|_| Some("A".into())))), Never),
            (Arc::new(ClientSecretPost::new("billing")), InPlainForms),
            (Arc::new(ClientSecretJwt::new("billing")), Never),
            (
                Arc::new(HeaderSecret::new(HeaderName::from_static("x-api-key")).prefix("Key ")),
                Always,
            ),
        ]
    }

    #[derive(Clone, Copy, PartialEq)]
    enum Keeps {
        Always,
        InPlainForms,
        Never,
    }

    /// Each with whether it is a form that names no client.
    fn requests() -> Vec<(Request<Full<bytes::Bytes>>, bool)> {
        let request = |kind: &str, body: &'static str| {
            let request = Request::post("https://auth.example/token").header("content-type", kind);
            request.body(Full::from(body)).unwrap()
        };
        vec![
            (request("application/x-www-form-urlencoded", "grant_type=x&client_id=old"), false),
            (request("application/json", r#"{"grant_type":"x","client_id":"old"}"#), false),
            (request("application/x-www-form-urlencoded", "grant_type=x"), true),
        ]
    }

    fn answer(status: u16) -> Result<Response<Full<bytes::Bytes>>, std::io::Error> {
        let answer = Response::builder().status(status).header("content-type", "application/json");
        Ok(answer.body(Full::from(r#"{"error":"invalid_client"}"#)).unwrap())
    }

    #[tokio::test]
    async fn no_buffer_of_an_attempt_outlives_it_but_what_is_kept_as_long_as_its_secret() {
        for (credential, keeps) in credentials() {
            for (request, plain) in requests() {
                let keeps = keeps == Keeps::Always || plain && keeps == Keeps::InPlainForms;
                let attempts = AtomicU32::new(0);
                // As a client that has written the whole request before it reads the answer.
                let server = service_fn(|request: Request<RequestBody<Full<bytes::Bytes>>>| {
                    let (alive, attempt) =
                        (alive::count(), attempts.fetch_add(1, Ordering::Relaxed));
                    // One for each secret that was tried, where it is kept.
                    let kept = if keeps { attempt as usize + 1 } else { 0 };
                    async move {
                        // The head may have one of its own and the body another; those of earlier
                        // attempts are gone.
                        assert!((kept.max(1)..=kept.max(1) + 1).contains(&alive), "{alive}");
                        let (head, body) = request.into_parts();
                        drop(head);
                        drop(body.collect().await);
                        assert_eq!(alive::count(), kept);
                        answer(if attempt == 0 { 401 } else { 200 })
                    }
                });
                let layer = FallbackLayer::new(ring(), credential.clone());
                let answer = layer.layer(server).oneshot(request).await.unwrap();
                assert_eq!(answer.body().authenticated().unwrap().attempts, 2);
                assert_eq!(alive::count(), if keeps { 2 } else { 0 });
                // The last handle on the ring, and with it on the secrets.
                drop(layer);
                assert_eq!(alive::count(), 0);
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn no_buffer_outlives_a_request_that_is_dropped() {
        for (refused, last) in [(0, "called"), (4, "pausing")] {
            for (credential, keeps) in credentials() {
                for (request, plain) in requests() {
                    let keeps = keeps == Keeps::Always || plain && keeps == Keeps::InPlainForms;
                    let attempts = AtomicU32::new(0);
                    let server = service_fn(|request: Request<RequestBody<Full<bytes::Bytes>>>| {
                        let attempt = attempts.fetch_add(1, Ordering::Relaxed);
                        async move {
                            if attempt >= refused {
                                pending::<()>().await;
                            }
                            drop(request);
                            answer(401)
                        }
                    });
                    let mut service = FallbackLayer::new(ring(), credential.clone()).layer(server);
                    let ready = service.ready().await.unwrap();
                    {
                        let mut future = pin!(ready.call(request));
                        let mut context = Context::from_waker(Waker::noop());
                        let poll = future.as_mut().poll(&mut context);
                        assert!(matches!(poll, Poll::Pending));
                        let shown = format!("{future:?}");
                        assert!(shown.contains(last), "{shown}");
                        // A request that waits for its turn is not made yet.
                        assert_eq!(alive::count() > 0, keeps || refused == 0);
                    }
                    let tried = if refused == 0 { 1 } else { 2 };
                    assert_eq!(alive::count(), if keeps { tried } else { 0 });
                    drop(service);
                    assert_eq!(alive::count(), 0);
                }
            }
        }
    }
}
