//! One client that the proxy signs in for: it joins the store like any program, and signs requests by the layer.

use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use http::{Request, Response};
use keyswap_admin::ClientAuthentication;
use keyswap_admin::authority::TokenEndpoint;
use keyswap_core::{FallbackPolicy, SecretRing, Verdict};
use keyswap_reqwest::{ReqwestService, ServiceError};
use keyswap_store::join;
use keyswap_tower::credential::Credential;
use keyswap_tower::verdict::{ClientFirst, ReadVerdict};
use keyswap_tower::{
    AnswerBody, ClientSecretBasic, ClientSecretPost, Fallback, FallbackLayer, Origin, Profile,
};
use tokio::sync::oneshot;
use tower::{Layer, ServiceExt};

use crate::configuration::{Configuration, OfClient};
use crate::exit::{Code, Failure};
use crate::store::{ConfiguredStore, Missing};

/// Between two tries to join a store that is away.
const AGAIN: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(250)..=Duration::from_secs(15);

type Method = Arc<dyn Credential + Send + Sync>;
/// Sends token requests with the secrets of a ring.
pub(crate) type Signing = Fallback<ReqwestService, Method, Reader>;

/// A client of the configuration, as the proxy serves it.
pub(super) struct Served {
    pub(super) id: String,
    pub(super) application: String,
    joined: OnceLock<Joined>,
    /// Why it has no secrets yet.
    waits_for: RwLock<String>,
}

struct Joined {
    ring: SecretRing,
    service: Signing,
}

/// How the client signs in at the server.
pub(crate) struct SignsIn {
    http: reqwest::Client,
    method: Method,
    reader: Reader,
    origin: Origin,
    policy: FallbackPolicy,
}

impl SignsIn {
    pub(crate) fn new(
        client: &OfClient<'_>,
        endpoint: &TokenEndpoint,
        http: reqwest::Client,
    ) -> Result<Self, Failure> {
        let method: Method = match client.authentication().unwrap_or(endpoint.authentication) {
            ClientAuthentication::Basic => Arc::new(ClientSecretBasic::new(client.id())),
            _ => Arc::new(ClientSecretPost::new(client.id())),
        };
        let origin = endpoint.url.as_str().parse();
        let origin =
            origin.map_err(|error| Failure::usage(format!("the token endpoint: {error}")))?;
        let mut policy = FallbackPolicy::default();
        if let Some(window) = client.propagation_window() {
            policy = policy.propagation_window(window);
        }
        let client_first = client.configuration.proxy.client_first;
        let reader = Reader { profile: endpoint.profile, client_first };
        Ok(Self { http, method, reader, origin, policy })
    }

    /// How long a fallback reckons with nodes that do not agree, and the like.
    pub(crate) fn policy(&self) -> FallbackPolicy {
        self.policy.clone()
    }

    /// What signs in with the secrets of this ring.
    pub(crate) fn over(&self, ring: SecretRing) -> Signing {
        FallbackLayer::new(ring, Arc::clone(&self.method))
            .profile(self.reader)
            .origin(self.origin.clone())
            .layer(ReqwestService::new(self.http.clone()))
    }
}

/// A profile, with or without the user's word on codes and refresh tokens.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader {
    profile: Profile,
    client_first: bool,
}

impl ReadVerdict for Reader {
    fn read_head(&self, head: &http::response::Parts) -> Option<Verdict> {
        match self.client_first {
            true => ClientFirst(self.profile).read_head(head),
            false => self.profile.read_head(head),
        }
    }

    fn read_body(&self, head: &http::response::Parts, body: &[u8]) -> Verdict {
        match self.client_first {
            true => ClientFirst(self.profile).read_body(head, body),
            false => self.profile.read_body(head, body),
        }
    }
}

impl Served {
    pub(super) fn new(id: &str, application: String) -> Self {
        let waits_for = RwLock::new("it has only just started".to_owned());
        Self { id: id.to_owned(), application, joined: OnceLock::new(), waits_for }
    }

    /// The secrets that it has, or why it has none yet.
    pub(super) fn ring(&self) -> Result<&SecretRing, String> {
        match self.joined.get() {
            Some(joined) => Ok(&joined.ring),
            None => Err(self.waits_for.read().unwrap_or_else(PoisonError::into_inner).clone()),
        }
    }

    /// Sends a request, which carries nothing of the client yet, with its secrets. `None` while there are none.
    pub(super) async fn send(
        &self,
        request: Request<reqwest::Body>,
    ) -> Option<Result<Response<AnswerBody<reqwest::Body>>, ServiceError>> {
        let service = self.joined.get()?.service.clone();
        Some(service.oneshot(request).await)
    }

    /// Joins the store as an instance of the application, and stays one until this future is dropped. A store that is away is
    /// tried again. What came of the first try is told.
    pub(super) async fn stay(
        self: Arc<Self>,
        configuration: Arc<Configuration>,
        signs_in: SignsIn,
        first: oneshot::Sender<Result<(), Failure>>,
    ) {
        let mut first = Some(first);
        let mut pause = *AGAIN.start();
        loop {
            let failure = match self.join(&configuration, &signs_in).await {
                Ok(member) => {
                    if let Some(first) = first.take() {
                        let _ = first.send(Ok(()));
                    } else {
                        tracing::info!(client = %self.id, "it has secrets now");
                    }
                    return member.await;
                }
                Err(failure) => failure,
            };
            // What is wrong in the configuration stays so.
            let hopeless = failure.code() == Code::Usage;
            self.note(failure.to_string());
            if let Some(first) = first.take() {
                let _ = first.send(if hopeless { Err(failure) } else { Ok(()) });
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(*AGAIN.end());
        }
    }

    /// Says in the log why there are no secrets, if that is not the reason of before.
    fn note(&self, reason: String) {
        let mut waits_for = self.waits_for.write().unwrap_or_else(PoisonError::into_inner);
        if *waits_for != reason {
            tracing::warn!(client = %self.id, reason, "no secrets yet; the store is asked again");
            *waits_for = reason;
        }
    }

    async fn join(
        &self,
        configuration: &Configuration,
        signs_in: &SignsIn,
    ) -> Result<impl Future<Output = ()> + use<>, Failure> {
        let store = ConfiguredStore::open(&configuration.client(&self.id)?, Missing::AnError)?;
        let (ring, member) = join(store, &self.application, signs_in.policy.clone()).await?;
        let service = signs_in.over(ring.clone());
        let _ = self.joined.set(Joined { ring, service });
        Ok(member)
    }
}
