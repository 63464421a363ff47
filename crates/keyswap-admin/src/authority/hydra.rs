//! Ory Hydra: one secret a client, chosen by the caller, in force at the next request; or, where the version
//! has [rotated secrets](overlap), several, of which Hydra chooses the new one.
//!
//! Sources: Hydra's `spec/api.json` (`patchOAuth2Client`), and what v2.3.0 answers: a `PUT` with a
//! part of the client empties the rest, so the change is a JSON Patch; the answer echoes the secret; no
//! call shows it later.

mod overlap;

use std::fmt;
use std::sync::OnceLock;
use std::time::Duration;

use http::StatusCode;
use keyswap_core::Secret;
use keyswap_tower::Profile;
use serde::Deserialize;
use url::Url;
use zeroize::Zeroizing;

use super::described::{Asked, Request, written_down};
use super::endpoint::TokenEndpoint;
use super::http::{
    Answer, ask, body_with_secret, client_for, lost, send, unreachable, with_segments,
};
use super::pace::Turns;
use super::probe::{ClientAuthentication, ProbeRequest};
use super::{
    AddAnswer, Authority, AuthorityError, AuthorityErrorKind, Capabilities, ChangeAnswer, Listed,
    NewSecret, Pace, Probe, ReadBack, SlotId, ValueRules,
};

/// One client of an Ory Hydra.
///
/// Hydra's admin port has no authentication of its own: whoever reaches it is the administrator.
///
/// ```no_run
/// use keyswap_admin::Hydra;
///
/// # fn example() -> Result<Hydra, keyswap_admin::AuthorityError> {
/// let public = "https://auth.example".parse().expect("an address");
/// let admin = "http://127.0.0.1:4445".parse().expect("an address");
/// Hydra::builder(public, admin, "billing").scope("read").build()
/// # }
/// ```
pub struct Hydra {
    turns: Turns,
    http: reqwest::Client,
    admin: Url,
    client_url: Url,
    client: String,
    probe: ProbeRequest,
    authentication: ClientAuthentication,
    propagation_window: Duration,
    /// Whether rotated secrets are demanded, or not to be used; `None`: as the version can.
    overlap: Option<bool>,
    /// What the server said.
    overlaps: OnceLock<bool>,
}

/// Makes a [`Hydra`].
#[derive(Debug)]
#[must_use]
pub struct HydraBuilder {
    public: Url,
    admin: Url,
    client: String,
    scope: Option<String>,
    authentication: ClientAuthentication,
    propagation_window: Duration,
    overlap: Option<bool>,
    pace: Pace,
}

impl Hydra {
    /// What a Hydra can do in any version, unless the builder says otherwise.
    #[must_use]
    pub fn usual() -> Capabilities {
        Capabilities::new("hydra")
            // All nodes read one database; the window covers a request that is on its way.
            .propagation_window(Duration::from_secs(5))
            // `client/validator.go`; with the bcrypt option bytes after the 72nd do not count.
            .value(ValueRules::default().length(6, 72))
            .needs("a way to the admin port, which asks for no credentials")
    }

    /// What a Hydra with rotated secrets can do: the client's own secret and five of before.
    #[must_use]
    pub fn with_rotated_secrets() -> Capabilities {
        Self::usual()
            .slots(6)
            .chosen_by_caller(false)
            .needs("the same, at a version with rotated secrets (no release up to v26.2.0)")
    }

    /// The client `client_id` of the Hydra whose public port is at `public` and whose admin port is at
    /// `admin`.
    pub fn builder(public: Url, admin: Url, client_id: impl Into<String>) -> HydraBuilder {
        HydraBuilder {
            public,
            admin,
            client: client_id.into(),
            scope: None,
            authentication: ClientAuthentication::Basic,
            propagation_window: Self::usual().propagation_window,
            overlap: None,
            pace: Pace::new(),
        }
    }
}

impl Hydra {
    /// Where programs get their tokens, at the public address.
    ///
    /// # Errors
    ///
    /// When the address has no path.
    pub fn token_endpoint(public: &Url) -> Result<TokenEndpoint, AuthorityError> {
        let url = with_segments(public, &["oauth2", "token"])?;
        let endpoint = TokenEndpoint::new(url, Profile::Hydra, ClientAuthentication::Basic);
        Ok(endpoint.issuer(public.clone()))
    }
}

impl HydraBuilder {
    /// The scope of the token requests that prove a secret.
    pub fn scope(mut self, scope: impl Into<String>) -> Self {
        self.scope = Some(scope.into());
        self
    }

    /// How the client authenticates (its `token_endpoint_auth_method`). Basic by default, as in Hydra.
    pub fn authentication(mut self, authentication: ClientAuthentication) -> Self {
        self.authentication = authentication;
        self
    }

    /// How long nodes may disagree after a change. 5 s by default; longer with a replicated database.
    pub fn propagation_window(mut self, window: Duration) -> Self {
        self.propagation_window = window;
        self
    }

    /// Whether the old secret stays in force beside the new one until the end of a rotation, which Hydra
    /// chooses then. `true` demands a version that can do that, `false` does without it. Unless set, it is
    /// done where the version can.
    ///
    /// With either, the end of a rotation leaves the new secret as the only one: Hydra does not say which
    /// others a client has.
    pub fn overlap(mut self, overlap: bool) -> Self {
        self.overlap = Some(overlap);
        self
    }

    /// The pace of the admin requests, which other clients of the same server may share.
    pub fn pace(mut self, pace: Pace) -> Self {
        self.pace = pace;
        self
    }

    /// The authority. Nothing is sent yet.
    ///
    /// # Errors
    ///
    /// [`AuthorityErrorKind::Configuration`] if an address is neither https nor loopback.
    pub fn build(self) -> Result<Hydra, AuthorityError> {
        let http = client_for("hydra", &[&self.public, &self.admin])?;
        let token_endpoint = Hydra::token_endpoint(&self.public)?.url;
        let mut probe = ProbeRequest::new(http.clone(), token_endpoint, self.client.clone())
            .profile(Profile::Hydra)
            .authentication(self.authentication);
        if let Some(scope) = self.scope {
            probe = probe.parameter("scope", scope);
        }
        Ok(Hydra {
            turns: Turns::new(self.pace),
            client_url: with_segments(&self.admin, &["admin", "clients", &self.client])?,
            http,
            admin: self.admin,
            client: self.client,
            probe,
            authentication: self.authentication,
            propagation_window: self.propagation_window,
            overlap: self.overlap,
            overlaps: OnceLock::new(),
        })
    }
}

/// The parts of a client that matter here. The secret may be in it: no `Debug`.
#[derive(Deserialize)]
struct Client {
    client_id: Option<String>,
    client_secret: Option<Zeroizing<String>>,
    token_endpoint_auth_method: Option<String>,
}

impl Authority for Hydra {
    fn capabilities(&self) -> Capabilities {
        let known = self.overlaps.get().copied();
        let capabilities = match known.or(self.overlap) {
            Some(true) => Self::with_rotated_secrets(),
            _ => Self::usual(),
        };
        capabilities.propagation_window(self.propagation_window)
    }

    async fn check(&self) -> Result<(), AuthorityError> {
        let answer = ask(|| send(&self.turns, self.http.get(self.client_url.clone()))).await;
        let answer = answer.map_err(|error| unreachable(&self.admin, &error))?;
        if !answer.status.is_success() {
            return Err(self.refused(&answer, "read"));
        }
        let client: Client = answer.json().ok_or_else(|| self.not_hydra(&answer))?;
        if client.client_id.as_deref() != Some(&self.client) {
            return Err(self.not_hydra(&answer));
        }
        self.authentication.check(&self.client, client.token_endpoint_auth_method.as_deref())?;
        let overlaps = self.overlap != Some(false) && self.has_rotated_secrets().await?;
        if self.overlap == Some(true) && !overlaps {
            return Err(self.lacks_the_call());
        }
        // It is the same server each time.
        let _ = self.overlaps.set(overlaps);
        Ok(())
    }

    async fn ready(&self) {
        self.turns.take_ahead().await;
    }

    async fn set_secret(&self, secret: &Secret) -> ChangeAnswer {
        let before = r#"[{"op":"replace","path":"/client_secret","value":"#;
        let request = self
            .http
            .patch(self.client_url.clone())
            .header(http::header::CONTENT_TYPE, "application/json")
            .body(body_with_secret(before, secret, "}]"));
        let answer = match send(&self.turns, request).await {
            Ok(answer) => answer,
            Err(error) => return ChangeAnswer::Unknown(lost(&error)),
        };
        if let Some(change) = answer.as_change(|| self.refused(&answer, "change")) {
            return change;
        }
        match answer.json::<Client>() {
            Some(Client { client_secret: Some(value), .. }) if secret.matches(&value) => {
                ChangeAnswer::Applied
            }
            Some(_) => ChangeAnswer::Unknown("the answer does not name the new secret".to_owned()),
            None => ChangeAnswer::Unknown(format!("{} with something else", answer.said())),
        }
    }

    async fn slots(&self, known: &[Secret]) -> Listed {
        self.taken(known).await
    }

    async fn add_secret(&self, new: &NewSecret) -> AddAnswer {
        match new {
            NewSecret::Awaited(id) => self.rotate(id).await,
            NewSecret::Known(_) => AddAnswer::Refused(self.cannot("add a secret of your choice")),
        }
    }

    /// Each request pushes out what was rotated longest ago, also one of which no answer came. So the present
    /// secret is made the only one first, and what nobody was told goes.
    async fn add_secret_again(&self, new: &NewSecret, present: &Secret) -> AddAnswer {
        match self.set_secret(present).await {
            ChangeAnswer::Applied => self.add_secret(new).await,
            other => AddAnswer::without_a_secret(other),
        }
    }

    async fn remove_secret_beside(&self, _: &SlotId, stays: &Secret) -> ChangeAnswer {
        self.set_secret(stays).await
    }

    async fn read_back(&self, _: &[Secret]) -> ReadBack {
        ReadBack::Unavailable("Hydra does not show a client's secret".to_owned())
    }

    async fn describe(&self, asked: &Asked<'_>) -> Vec<Request> {
        written_down(self, asked).await
    }

    async fn probe(&self, secret: &Secret) -> Probe {
        self.probe.send(secret).await
    }
}

impl Hydra {
    fn host(&self) -> &str {
        self.admin.host_str().unwrap_or("an unnamed host")
    }

    fn not_hydra(&self, answer: &Answer) -> AuthorityError {
        AuthorityError::new(
            AuthorityErrorKind::Unexpected,
            format!(
                "{} at {} with something that is not an answer of Hydra's admin API: check the admin \
                 address, and that no proxy answers for it",
                answer.said(),
                self.host()
            ),
        )
    }

    fn refused(&self, answer: &Answer, doing: &str) -> AuthorityError {
        if let Some(error) = answer.as_transient() {
            return error;
        }
        let (client, status) = (&self.client, answer.status.as_u16());
        match answer.status {
            StatusCode::NOT_FOUND => AuthorityError::new(
                AuthorityErrorKind::NoSuchClient,
                format!("Hydra at {} has no client {client}: check the client id", self.host()),
            ),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => AuthorityError::new(
                AuthorityErrorKind::Permissions,
                format!(
                    "something before Hydra's admin port refuses to {doing} client {client} with status \
                     {status}: let keyswap reach the admin port"
                ),
            ),
            StatusCode::BAD_REQUEST => AuthorityError::new(
                AuthorityErrorKind::Refused,
                format!(
                    "Hydra refuses to {doing} client {client} with status {status}: it takes secrets of 6 \
                     characters or more"
                ),
            ),
            _ => AuthorityError::new(
                AuthorityErrorKind::Refused,
                format!("Hydra refuses to {doing} client {client} with status {status}"),
            ),
        }
    }
}

impl fmt::Debug for Hydra {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hydra")
            .field("host", &self.host())
            .field("client", &self.client)
            .finish_non_exhaustive()
    }
}
