//! Starting the server, and the handle to it.

use std::collections::BTreeSet;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tokio::sync::{Mutex, watch};
use tokio::task::{AbortHandle, JoinHandle};

use crate::client::Client;
use crate::core::{Core, unix_now};
use crate::counts::Counts;
use crate::exchange::{Exchange, Exchanges};
use crate::fault::{Fault, Times};
use crate::limit::Limit;
use crate::propagation::Origin;
use crate::provider::{ApiToken, Provider};
use crate::registration;
use crate::serve;
use crate::several::{Act, Details};
use crate::start_error::{Kind, StartError};
use crate::state::State;
use crate::state::random_slot_id;

/// Which node of the server answers.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum Balancing {
    /// Every request reaches a node at random: the harder case for a client, since two attempts of one call may see two
    /// states of the server.
    #[default]
    PerRequest,
    /// A connection reaches one node, chosen at random when it is opened, for as long as it lives.
    PerConnection,
}

/// What a server is started with. See [`AuthorizationServer::builder`].
#[derive(Clone)]
#[must_use]
pub struct Builder {
    nodes: usize,
    window: Duration,
    balancing: Balancing,
    seed: u64,
    token_lifetime: Duration,
    address: String,
    management_limit: Option<u64>,
    clients: Vec<Client>,
    provider: Provider,
    api_tokens: Vec<ApiToken>,
    secrets_expire_at: u64,
    records: bool,
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("nodes", &self.nodes)
            .field("propagation_window", &self.window)
            .field("balancing", &self.balancing)
            .field("seed", &self.seed)
            .field("token_lifetime", &self.token_lifetime)
            .field("address", &self.address)
            .field("management_limit", &self.management_limit)
            .field("clients", &self.clients)
            .field("provider", &self.provider)
            .field("api_tokens", &self.api_tokens)
            .field("secrets_expire_at", &self.secrets_expire_at)
            .field("records", &self.records)
            .finish()
    }
}

impl Builder {
    /// How many nodes answer at the token endpoint, each with its own idea of the secret; 1 unless set.
    pub fn nodes(mut self, nodes: usize) -> Self {
        self.nodes = nodes;
        self
    }

    /// The longest time that a node takes to follow a change of a secret; zero unless set (Auth0 states 30 s).
    ///
    /// Each node's lag is drawn anew for every change. With two nodes or more, one follows nearly at once and one
    /// nearly at the end of the window.
    pub fn propagation_window(mut self, window: Duration) -> Self {
        self.window = window;
        self
    }

    /// Which node answers; [`Balancing::PerRequest`] unless set.
    pub fn balancing(mut self, balancing: Balancing) -> Self {
        self.balancing = balancing;
        self
    }

    /// What lags and balancing are drawn from, so that a run can be repeated; 0 unless set.
    ///
    /// Tokens, and secrets that the server chooses, do not depend on it.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// How long a token lives, in whole seconds; 24 hours unless set, as at Auth0. Zero: every token has expired when it
    /// arrives.
    pub fn token_lifetime(mut self, lifetime: Duration) -> Self {
        self.token_lifetime = lifetime;
        self
    }

    /// How many requests to the management API any second may hold, for all callers together; no limit unless set.
    ///
    /// Whatever comes beyond that gets 429 in the vendor's shape, with `Retry-After`. Every answer of the management
    /// API then tells by `X-RateLimit-Limit`, `X-RateLimit-Remaining` and `X-RateLimit-Reset` how many are left.
    pub fn management_limit(mut self, requests_a_second: u64) -> Self {
        self.management_limit = Some(requests_a_second);
        self
    }

    /// Registers a client.
    pub fn client(mut self, client: Client) -> Self {
        self.clients.push(client);
        self
    }

    /// Registers a client that may use the management API, with [`Client::MANAGEMENT_SCOPES`] if it has no grant for it.
    pub fn management_client(self, client: Client) -> Self {
        self.client(client.management_grant())
    }

    /// The vendor as which the server answers; [`Provider::Auth0`] unless set.
    pub fn provider(mut self, provider: Provider) -> Self {
        self.provider = provider;
        self
    }

    /// Registers an API token for the management API of [`Provider::Okta`], an API key for that of [`Provider::FusionAuth`],
    /// a token of a service account for that of [`Provider::Zitadel`], the registration access token of the client at
    /// [`Provider::Registration`], or an access key at [`Provider::Cognito`], as `ID:KEY`.
    pub fn api_token(mut self, token: impl Into<String>) -> Self {
        self.api_tokens.push(ApiToken { token: token.into(), reads_only: false });
        self
    }

    /// Registers such a token that may read and change nothing.
    pub fn read_only_api_token(mut self, token: impl Into<String>) -> Self {
        self.api_tokens.push(ApiToken { token: token.into(), reads_only: true });
        self
    }

    /// When secrets end, as [`Provider::Registration`] tells clients (`client_secret_expires_at`), in Unix seconds; 0, which
    /// is never, unless set. Nothing is refused for it.
    pub fn secrets_expire_at(mut self, seconds: u64) -> Self {
        self.secrets_expire_at = seconds;
        self
    }

    /// Keeps every request and its answer for [`AuthorizationServer::exchanges`]; not done unless set.
    pub fn record_exchanges(mut self) -> Self {
        self.records = true;
        self
    }

    /// Where to listen: a [`SocketAddr`] or its text, also `localhost:PORT`; `127.0.0.1:0`, a free port, unless set.
    pub fn bind(mut self, address: impl ToString) -> Self {
        self.address = address.to_string();
        self
    }

    /// Starts the server: one task on the current tokio runtime, which owns every connection.
    ///
    /// It ends with [`AuthorizationServer::shutdown`], or when the last handle is dropped.
    ///
    /// # Errors
    ///
    /// When the address is not one of loopback, is in use or cannot be listened on; when a client id is registered
    /// twice; when a client has no id or an empty secret; when there is no node.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime with IO and time enabled.
    pub async fn start(self) -> Result<AuthorizationServer, StartError> {
        let address = loopback_address(&self.address)?;
        let state = self.state()?;
        let listen = |error| StartError::from(Kind::Listen(address, error));
        let listener = TcpListener::bind(address).await.map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        let management = (self.provider, self.api_tokens, self.secrets_expire_at);
        let limit = Limit::new(self.management_limit);
        let core = Core::new(state, address, self.token_lifetime, limit, management);
        let core = Arc::new(core.recording(self.records));
        let (stop, stopped) = watch::channel(false);
        let router = self.provider.router(Arc::clone(&core));
        let serve = serve::serve(listener, router, Arc::clone(&core), self.balancing, stopped);
        let task = tokio::spawn(serve);
        let inner = Inner { core, stop, abort: task.abort_handle(), task: Mutex::new(Some(task)) };
        Ok(AuthorizationServer { inner: Arc::new(inner) })
    }

    fn state(&self) -> Result<State, StartError> {
        if self.nodes == 0 {
            return Err(Kind::NoNodes.into());
        }
        let mut ids = BTreeSet::new();
        let state = State::new(self.nodes, self.window, self.seed);
        let mut state = state.with_several_secrets(self.provider.several());
        if let Some(first) = self.api_tokens.first() {
            state.registration_token.clone_from(&first.token);
        }
        let now = Instant::now();
        for client in &self.clients {
            if client.id.is_empty() {
                return Err(Kind::Nameless.into());
            }
            if client.secret.is_empty() {
                return Err(Kind::EmptySecret(client.id.clone()).into());
            }
            if !ids.insert(&client.id) {
                return Err(Kind::RegisteredTwice(client.id.clone()).into());
            }
            state.register(client.clone(), now);
            if let (Provider::Registration { .. }, Some(registered)) =
                (self.provider, state.client_mut(&client.id))
            {
                registered.attributes = registration::first_metadata(client);
            }
        }
        Ok(state)
    }
}

fn loopback_address(given: &str) -> Result<SocketAddr, StartError> {
    // Resolving a name could give an address that is not loopback; this one means loopback everywhere.
    let numeric = match given.strip_prefix("localhost:") {
        Some(port) => format!("127.0.0.1:{port}"),
        None => given.to_owned(),
    };
    let address: SocketAddr = numeric.parse().map_err(|_| Kind::Address(given.to_owned()))?;
    if address.ip().is_loopback() { Ok(address) } else { Err(Kind::NotLoopback(address).into()) }
}

/// A running authorization server.
///
/// Clones are handles to the same server. See the [crate](crate) for an example.
#[derive(Clone)]
pub struct AuthorizationServer {
    inner: Arc<Inner>,
}

struct Inner {
    core: Arc<Core>,
    stop: watch::Sender<bool>,
    abort: AbortHandle,
    /// Taken once the task has ended, so that every caller of `shutdown` waits for the end.
    task: Mutex<Option<JoinHandle<()>>>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.abort.abort();
    }
}

impl fmt::Debug for AuthorizationServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthorizationServer").field("core", &self.inner.core).finish()
    }
}

impl AuthorizationServer {
    /// What to start a server with: one node, no propagation window and no client until said otherwise.
    pub fn builder() -> Builder {
        Builder {
            nodes: 1,
            window: Duration::ZERO,
            balancing: Balancing::default(),
            seed: 0,
            token_lifetime: Duration::from_secs(24 * 60 * 60),
            address: "127.0.0.1:0".to_owned(),
            management_limit: None,
            clients: Vec::new(),
            provider: Provider::default(),
            api_tokens: Vec::new(),
            secrets_expire_at: 0,
            records: false,
        }
    }

    /// Where the server listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.inner.core.address
    }

    /// `http://127.0.0.1:PORT`, without a slash at the end.
    #[must_use]
    pub fn url(&self) -> String {
        self.inner.core.url()
    }

    /// Where programs get tokens: `http://127.0.0.1:PORT/oauth/token`, and at [`Provider::Okta`] that of its custom
    /// authorization server `default`, `http://127.0.0.1:PORT/oauth2/default/v1/token`; at [`Provider::Zitadel`]
    /// `http://127.0.0.1:PORT/oauth/v2/token`; at [`Provider::Entra`] that of the tenant `contoso.onmicrosoft.com`; at
    /// [`Provider::Wso2`] that of the organization `shop`; at [`Provider::Cognito`], [`Provider::FusionAuth`] and that of
    /// Hydra `http://127.0.0.1:PORT/oauth2/token`; at [`Provider::Registration`] `http://127.0.0.1:PORT/token`; at
    /// [`Provider::Keycloak`] that of the realm `shop`.
    #[must_use]
    pub fn token_endpoint(&self) -> String {
        self.inner.core.token_endpoint()
    }

    /// The audience of tokens for the management API: `http://127.0.0.1:PORT/api/v2/`.
    ///
    /// The same with `https` or with `localhost` is accepted as well.
    #[must_use]
    pub fn management_audience(&self) -> String {
        self.inner.core.management_audience()
    }

    /// Whether every node accepts `secret` for the client now.
    #[must_use]
    pub fn accepts(&self, client_id: &str, secret: &str) -> bool {
        self.inner
            .core
            .with_state(|state, now| state.nodes_accepting(client_id, secret, now) == state.nodes())
    }

    /// Whether at least one node accepts `secret` for the client now.
    #[must_use]
    pub fn accepts_anywhere(&self, client_id: &str, secret: &str) -> bool {
        self.inner.core.with_state(|state, now| state.nodes_accepting(client_id, secret, now) > 0)
    }

    /// How many different secrets the nodes accept for the client between them now; 0 for an unknown client and for one
    /// that does not authenticate with a secret.
    #[must_use]
    pub fn accepted_secrets(&self, client_id: &str) -> usize {
        self.inner.core.with_state(|state, now| state.accepted_secrets(client_id, now))
    }

    /// Whether every node holds what the management API shows, and no change is on its way; false for an unknown client.
    #[must_use]
    pub fn settled(&self, client_id: &str) -> bool {
        let settles =
            |state: &mut State, now| state.settles_at(client_id).is_some_and(|at| at <= now);
        self.inner.core.with_state(settles)
    }

    /// Waits until [`settled`](Self::settled). At once for an unknown client, which has nothing to wait for.
    pub async fn until_settled(&self, client_id: &str) {
        loop {
            let settles_at = self
                .inner
                .core
                .with_state(|state, now| state.settles_at(client_id).filter(|at| *at > now));
            // Asked again afterwards: another change may have been made meanwhile.
            let Some(at) = settles_at else { return };
            tokio::time::sleep_until(at.into()).await;
        }
    }

    /// Changes a secret behind everybody's back, as a person at the dashboard would; the nodes follow within the
    /// propagation window.
    ///
    /// # Panics
    ///
    /// When there is no such client, the secret is empty, or the server holds several secrets a client.
    #[track_caller]
    pub fn set_secret(&self, client_id: &str, secret: &str) {
        assert!(!secret.is_empty(), "the secret of client `{client_id}` cannot be set to nothing");
        let known = self.inner.core.with_state(|state, now| {
            state.change_secret(client_id, secret, Origin::Foreign, Duration::ZERO, now)
        });
        assert!(
            known,
            "there is no client `{client_id}` at this server that has one secret: register it first"
        );
    }

    /// Adds a secret behind everybody's back, as a person at the dashboard would, and gives the id that it gets; the
    /// nodes follow within the propagation window.
    ///
    /// # Panics
    ///
    /// When there is no such client, it has no room for another secret, or the server holds one secret a client.
    #[track_caller]
    #[must_use]
    pub fn add_secret(&self, client_id: &str, secret: &str) -> String {
        let new_id = |state: &mut State, _| {
            let several = state.client(client_id).and_then(|client| client.several());
            several.map(|secrets| secrets.new_id()).unwrap_or_default()
        };
        let (id, secret) = (self.inner.core.with_state(new_id), secret.to_owned());
        let details = Details::default();
        self.act(client_id, Act::Add { id: id.clone(), secret, details, active: true });
        id
    }

    /// Deactivates a secret behind everybody's back.
    ///
    /// # Panics
    ///
    /// When there is no such client with such a secret, or it is the only active one.
    #[track_caller]
    pub fn deactivate_secret(&self, client_id: &str, secret_id: &str) {
        self.act(client_id, Act::Deactivate(secret_id.to_owned()));
    }

    /// Activates a secret behind everybody's back.
    ///
    /// # Panics
    ///
    /// When there is no such client with such a secret.
    #[track_caller]
    pub fn activate_secret(&self, client_id: &str, secret_id: &str) {
        self.act(client_id, Act::Activate(secret_id.to_owned()));
    }

    /// Removes an inactive secret behind everybody's back.
    ///
    /// # Panics
    ///
    /// When there is no such client with such a secret, or it is active.
    #[track_caller]
    pub fn remove_secret(&self, client_id: &str, secret_id: &str) {
        self.act(client_id, Act::Remove(secret_id.to_owned()));
    }

    #[track_caller]
    fn act(&self, client_id: &str, act: Act) {
        let done = self.inner.core.with_state(|state, now| {
            state.act(client_id, act, Origin::Foreign, Duration::ZERO, now)
        });
        if let Err(refusal) = done {
            panic!("nothing is changed for client `{client_id}`: {refusal:?}");
        }
    }

    /// The ids of the secrets that the management API shows for a client, and whether each is active, where there may be
    /// several; empty for an unknown client.
    #[must_use]
    pub fn secrets(&self, client_id: &str) -> Vec<(String, bool)> {
        self.inner.core.with_state(|state, now| {
            let several = state.client(client_id).and_then(|client| client.several());
            let listed = several.into_iter().flat_map(|secrets| secrets.listed(now));
            listed.map(|entry| (entry.id.clone(), entry.is_active(now))).collect()
        })
    }

    /// Issues another registration access token, as an administrator would for a client that has lost its own, and which
    /// is worth nothing from then on. For [`Provider::Registration`].
    #[must_use]
    pub fn issue_registration_token(&self) -> String {
        let token = random_slot_id();
        self.inner.core.with_state(|state, _| state.registration_token.clone_from(&token));
        token
    }

    /// The metadata that a client has in its registration, as it was updated last. For [`Provider::Registration`].
    #[must_use]
    pub fn metadata(&self, client_id: &str) -> serde_json::Map<String, serde_json::Value> {
        let of =
            |state: &mut State, _| state.client(client_id).map(|client| client.attributes.clone());
        self.inner.core.with_state(of).unwrap_or_default()
    }

    /// Whether `token` was issued by this server for `audience`, has not expired and was not revoked: what an API that
    /// takes such tokens would check.
    #[must_use]
    pub fn accepts_token(&self, token: &str, audience: &str) -> bool {
        let core = &self.inner.core;
        core.issuer
            .verify(token, unix_now())
            .is_ok_and(|claims| core.resource(&claims.aud) == core.resource(audience))
    }

    /// Makes every token issued so far invalid, as if the tenant's signing key had been changed.
    pub fn revoke_tokens(&self) {
        self.inner.core.issuer.revoke_all();
    }

    /// Lets `fault` happen to the next requests that it concerns. Faults happen in the order in which they were injected.
    ///
    /// # Panics
    ///
    /// When the fault has a status that no such answer can have; see [`Fault`].
    #[track_caller]
    pub fn inject(&self, fault: Fault, times: Times) {
        if let Some(mistake) = fault.mistake() {
            panic!("{mistake}");
        }
        self.inner.core.faults.inject(fault, times);
    }

    /// Forgets the faults that have not happened yet. A late change that was already taken up stays on its way.
    pub fn clear_faults(&self) {
        self.inner.core.faults.clear();
    }

    /// The faults that happened so far, and how often each, in the order in which they happened first.
    #[must_use]
    pub fn faults(&self) -> Vec<(Fault, u64)> {
        self.inner.core.faults.happened()
    }

    /// How often what happened so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.inner.core.counts()
    }

    /// The requests so far and their answers, in the order in which they ended; none unless
    /// [`record_exchanges`](Builder::record_exchanges) was set.
    ///
    /// ```
    /// use keyswap_testkit::{AuthorizationServer, Client};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let server = AuthorizationServer::builder().record_exchanges().start().await?;
    /// reqwest::Client::new().post(server.token_endpoint()).body("not a form").send().await?;
    /// let exchanges = server.exchanges();
    /// assert_eq!(exchanges[0].request.body().as_ref(), b"not a form");
    /// assert_eq!(exchanges[0].answer.as_ref().map(|answer| answer.status().as_u16()), Some(400));
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn exchanges(&self) -> Vec<Exchange> {
        self.inner.core.exchanges.as_ref().map(Exchanges::so_far).unwrap_or_default()
    }

    /// Stops the server: no new connection is taken, answers that are on their way are finished (for 5 s at most),
    /// then the port is free. Further calls, also on clones, wait for the same end.
    ///
    /// # Cancel safety
    ///
    /// The server stops even if this is not awaited to its end.
    pub async fn shutdown(&self) {
        self.inner.stop.send_replace(true);
        let mut task = self.inner.task.lock().await;
        if let Some(running) = task.as_mut() {
            // An error would mean that the task was aborted with its runtime: it has ended either way.
            let _ = running.await;
            *task = None;
        }
    }
}
