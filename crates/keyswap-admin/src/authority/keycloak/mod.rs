//! Keycloak: one secret a client, chosen by the caller, in force at the next request.
//!
//! Sources: keycloak/keycloak, `ClientResource` and `ClientsResource` (`services/resources/admin`),
//! `ClientSecretRotationExecutor`, `SecureClientAuthenticatorExecutor`; and what 26.7.3 answers, where the
//! tests in `tests/real` have all of this done.

mod client;
mod refusal;

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use http::StatusCode;
use http::header::CONTENT_TYPE;
use keyswap_core::{Secret, SecretRing};
use keyswap_tower::Profile;
use url::Url;

use self::client::{Change, Client, unix_now};
use super::described::{Asked, Request, written_down};
use super::endpoint::TokenEndpoint;
use super::http::{DEFAULT_PAUSE, ask, body_with_secret, client_for, with_segments};
use super::management::ManagementTokens;
use super::pace::Turns;
use super::probe::{ClientAuthentication, ProbeRequest};
use super::{
    Authority, AuthorityError, AuthorityErrorKind, Capabilities, ChangeAnswer, Pace, Probe,
    ReadBack, ValueRules,
};

/// One client of a Keycloak realm.
///
/// Management requests are made by a confidential client whose service account has the role `manage-clients` of
/// the realm. A secret is proved by a request for a token that brings no refresh token: whoever shows the right
/// secret is told that it is missing, whatever else the client may do.
///
/// ```no_run
/// use keyswap_admin::Keycloak;
/// use keyswap_core::SecretRing;
///
/// # fn example(management: SecretRing) -> Result<Keycloak, keyswap_admin::AuthorityError> {
/// // With a relative path, for instance `/auth`, where the server has one.
/// let server = "https://login.example".parse().expect("an address");
/// Keycloak::builder(server, "shop", "billing").management("keyswap", management).build()
/// # }
/// ```
pub struct Keycloak {
    http: reqwest::Client,
    turns: Turns,
    base: Url,
    realm: String,
    /// Who makes the management requests, and the realm that it is in.
    management: (String, String),
    clients_url: Url,
    client: String,
    tokens: ManagementTokens,
    probe: ProbeRequest,
    authentication: ClientAuthentication,
    propagation_window: Duration,
    /// What the next change has to say of the client, as of the last look at it.
    change: Mutex<Option<Change>>,
    remarks: Mutex<Vec<String>>,
}

/// Makes a [`Keycloak`].
#[derive(Debug)]
#[must_use]
pub struct KeycloakBuilder {
    base: Url,
    realm: String,
    client: String,
    management: Option<(String, SecretRing)>,
    management_realm: Option<String>,
    authentication: ClientAuthentication,
    propagation_window: Duration,
    pace: Pace,
    beside: Option<Shared>,
}

/// What several clients of a realm share.
#[derive(Clone)]
struct Shared {
    http: reqwest::Client,
    tokens: ManagementTokens,
    management: (String, String),
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("management", &self.management).finish_non_exhaustive()
    }
}

impl Keycloak {
    /// What a Keycloak can do, unless the builder says otherwise.
    #[must_use]
    pub fn usual() -> Capabilities {
        Capabilities::new("keycloak")
            .read_back(true)
            // All nodes read one database, and tell each other what to read again; the window covers a
            // request that is on its way.
            .propagation_window(Duration::from_secs(5))
            // The column; 256 characters are answered with 500.
            .value(ValueRules::default().length(1, 255))
            .needs("a client of the realm whose service account has the role manage-clients")
    }

    /// The client `client_id` of this realm of the Keycloak at `base`, for instance `https://login.example`, or
    /// `https://login.example/auth` where it serves under a path.
    pub fn builder(
        base: Url,
        realm: impl Into<String>,
        client_id: impl Into<String>,
    ) -> KeycloakBuilder {
        KeycloakBuilder {
            base,
            realm: realm.into(),
            client: client_id.into(),
            management: None,
            management_realm: None,
            // Versions that do not form-decode Basic read the form.
            authentication: ClientAuthentication::Post,
            propagation_window: Self::usual().propagation_window,
            pace: Pace::new(),
            beside: None,
        }
    }

    /// Another client of the same realm, which shares the connections, the management token and the [`Pace`]
    /// with this one.
    pub fn another(&self, client_id: impl Into<String>) -> KeycloakBuilder {
        let mut builder = Self::builder(self.base.clone(), self.realm.clone(), client_id)
            .propagation_window(self.propagation_window)
            .pace(self.turns.pace.clone());
        builder.beside = Some(Shared {
            http: self.http.clone(),
            tokens: self.tokens.clone(),
            management: self.management.clone(),
        });
        builder
    }
}

impl Keycloak {
    /// Where the programs of a realm get their tokens.
    ///
    /// # Errors
    ///
    /// When the address has no path.
    pub fn token_endpoint(base: &Url, realm: &str) -> Result<TokenEndpoint, AuthorityError> {
        let issuer = with_segments(base, &["realms", realm])?;
        let url = with_segments(&issuer, &["protocol", "openid-connect", "token"])?;
        let endpoint = TokenEndpoint::new(url, Profile::Keycloak, ClientAuthentication::Post);
        Ok(endpoint.issuer(issuer))
    }
}

impl KeycloakBuilder {
    /// The client that makes the management requests, with its secrets. Required.
    pub fn management(mut self, client_id: impl Into<String>, secrets: SecretRing) -> Self {
        self.management = Some((client_id.into(), secrets));
        self
    }

    /// The realm of that client, where it is another one: `master`, for instance.
    pub fn management_realm(mut self, realm: impl Into<String>) -> Self {
        self.management_realm = Some(realm.into());
        self
    }

    /// How the client authenticates. Post by default; Keycloak takes either, unless the client is set to one.
    pub fn authentication(mut self, authentication: ClientAuthentication) -> Self {
        self.authentication = authentication;
        self
    }

    /// How long nodes may disagree after a change. 5 s by default; longer with several sites.
    pub fn propagation_window(mut self, window: Duration) -> Self {
        self.propagation_window = window;
        self
    }

    /// The pace of the management requests, which other clients of the same server may share.
    pub fn pace(mut self, pace: Pace) -> Self {
        self.pace = pace;
        self
    }

    /// The authority. Nothing is sent yet.
    ///
    /// # Errors
    ///
    /// [`AuthorityErrorKind::Configuration`] if the realm or the management client is missing, or the address is
    /// neither https nor loopback.
    pub fn build(self) -> Result<Keycloak, AuthorityError> {
        let configuration =
            |message| AuthorityError::new(AuthorityErrorKind::Configuration, message);
        if self.realm.is_empty() {
            return Err(configuration("keycloak: no realm is given"));
        }
        let shared = match self.beside {
            Some(shared) => shared,
            None => {
                let management = self
                    .management
                    .ok_or_else(|| configuration("keycloak: no management client is given"))?;
                let realm = self.management_realm.unwrap_or_else(|| self.realm.clone());
                let http = client_for("keycloak", &[&self.base])?;
                let id = management.0.clone();
                let endpoint = (&http, Keycloak::token_endpoint(&self.base, &realm)?.url);
                let tokens = ManagementTokens::of_client(management, endpoint, Profile::Keycloak);
                Shared { http, tokens, management: (id, realm) }
            }
        };
        let Shared { http, tokens, management } = shared;
        let endpoint = Keycloak::token_endpoint(&self.base, &self.realm)?.url;
        let probe = ProbeRequest::new(http.clone(), endpoint, self.client.clone())
            .profile(Profile::Keycloak)
            .authentication(self.authentication)
            .incomplete("refresh_token", &PAST_AUTHENTICATION);
        Ok(Keycloak {
            clients_url: with_segments(&self.base, &["admin", "realms", &self.realm, "clients"])?,
            http,
            turns: Turns::new(self.pace),
            base: self.base,
            realm: self.realm,
            management,
            client: self.client,
            tokens,
            probe,
            authentication: self.authentication,
            propagation_window: self.propagation_window,
            change: Mutex::default(),
            remarks: Mutex::default(),
        })
    }
}

/// What is answered to a request for a token without a refresh token, once the client is authenticated:
/// `TokenEndpoint` calls `checkClient`, then `RefreshTokenGrantType`, whose first look this is. It needs no
/// service account and mints nothing. A client that is bound to DPoP is missed its proof before that.
const PAST_AUTHENTICATION: [(&str, &str); 2] =
    [("invalid_request", "No refresh token"), ("invalid_request", "DPoP proof is missing")];

impl Authority for Keycloak {
    fn capabilities(&self) -> Capabilities {
        Self::usual().propagation_window(self.propagation_window)
    }

    async fn check(&self) -> Result<(), AuthorityError> {
        let client = self.client_now().await?;
        self.change_of(&client)?;
        *self.remarks.lock().unwrap_or_else(PoisonError::into_inner) = client.remarks(unix_now());
        Ok(())
    }

    fn remarks(&self) -> Vec<String> {
        self.remarks.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Looks at the client once more: what the change has to repeat of it must be as it is now.
    async fn ready(&self) {
        let looked = self.client_now().await.and_then(|client| self.change_of(&client));
        // Without that nothing is sent, and the change says why.
        *self.change.lock().unwrap_or_else(PoisonError::into_inner) = looked.ok();
        self.turns.take_ahead().await;
    }

    async fn set_secret(&self, secret: &Secret) -> ChangeAnswer {
        let seen = self.change.lock().unwrap_or_else(PoisonError::into_inner).take();
        let change = match seen {
            Some(change) => change,
            None => match self.client_now().await.and_then(|client| self.change_of(&client)) {
                Ok(change) => change,
                Err(error) if error.is_transient() => {
                    return ChangeAnswer::RetryAfter(DEFAULT_PAUSE);
                }
                Err(error) => return ChangeAnswer::Refused(error),
            },
        };
        let mut url = self.clients_url.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.push(&change.id);
        }
        let request = || {
            // The same bytes each time: a request that is repeated sets the same value.
            let body = body_with_secret(&change.before_secret(), secret, "}");
            self.http.put(url.clone()).header(CONTENT_TYPE, "application/json").body(body)
        };
        let answer = match self.tokens.send(&self.turns, request).await {
            Ok(answer) => answer,
            Err(failure) => return failure.into_change(|error| self.no_token(error)),
        };
        let refused = || self.refused(&answer, "change its secret", "manage-clients");
        match answer.as_change(refused) {
            Some(change) => change,
            None if answer.status == StatusCode::NO_CONTENT => ChangeAnswer::Applied,
            None => ChangeAnswer::Unknown(format!("{} with something else", answer.said())),
        }
    }

    async fn read_back(&self, known: &[Secret]) -> ReadBack {
        let client = match self.client_now().await {
            Ok(client) => client,
            Err(error) => return ReadBack::Unavailable(error.to_string()),
        };
        match client.shown_secret() {
            Some(value) => match known.iter().find(|secret| secret.matches(value)) {
                Some(secret) => ReadBack::Holds(secret.id().clone()),
                None => ReadBack::Other,
            },
            None => ReadBack::Unavailable(
                "the management client may not read the secret (role manage-clients)".to_owned(),
            ),
        }
    }

    async fn describe(&self, asked: &Asked<'_>) -> Vec<Request> {
        written_down(self, asked).await
    }

    async fn probe(&self, secret: &Secret) -> Probe {
        self.probe.send(secret).await
    }
}

impl Keycloak {
    /// The client as it is now. A list by client id tells all of it, and the id that a change needs: that is
    /// another one where somebody made the client anew.
    async fn client_now(&self) -> Result<Client, AuthorityError> {
        let mut url = self.clients_url.clone();
        url.query_pairs_mut().append_pair("clientId", &self.client);
        let request = || self.http.get(url.clone());
        let answer = ask(|| self.tokens.send(&self.turns, request)).await;
        let answer = answer
            .map_err(|failure| failure.into_error(&self.base, |error| self.no_token(error)))?;
        if !answer.status.is_success() {
            return Err(self.refused(&answer, "read it", "manage-clients"));
        }
        let listed: Vec<Client> = answer.json().ok_or_else(|| self.not_keycloak(&answer))?;
        listed
            .into_iter()
            .find(|client| client.client_id == self.client)
            .ok_or_else(|| self.no_such_client())
    }

    /// What a change has to say of the client, if its secret can be changed.
    fn change_of(&self, client: &Client) -> Result<Change, AuthorityError> {
        if let Some(reason) = client.is_unsuitable() {
            return Err(AuthorityError::new(
                AuthorityErrorKind::UnsupportedClient,
                format!("client {} of realm {} {reason}", self.client, self.realm),
            ));
        }
        self.authentication.check(&self.client, client.only_method())?;
        // What a role would lack only at the change is missed now.
        if client.may_not_be_changed() {
            return Err(self.missing_role("change its secret", "manage-clients"));
        }
        Ok(client.change())
    }

    fn host(&self) -> &str {
        self.base.host_str().unwrap_or("an unnamed host")
    }
}

impl fmt::Debug for Keycloak {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keycloak")
            .field("host", &self.host())
            .field("realm", &self.realm)
            .field("client", &self.client)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use keyswap_core::SecretList;

    use super::*;

    fn builder(base: &str) -> KeycloakBuilder {
        let secret = Secret::new("a".parse().unwrap(), "management-value").unwrap();
        let ring = SecretRing::new(SecretList::new([secret]).unwrap());
        Keycloak::builder(base.parse().unwrap(), "our shop", "billing").management("keyswap", ring)
    }

    #[test]
    fn the_path_that_the_server_serves_under_stands_before_the_realm() {
        for (base, path) in [
            ("https://login.example", "/admin/realms/our%20shop/clients"),
            ("https://login.example/", "/admin/realms/our%20shop/clients"),
            ("https://login.example/auth", "/auth/admin/realms/our%20shop/clients"),
            ("https://login.example/auth/", "/auth/admin/realms/our%20shop/clients"),
        ] {
            assert_eq!(builder(base).build().unwrap().clients_url.path(), path, "{base}");
        }
    }

    #[test]
    fn what_is_missing_and_an_address_without_tls_are_named() {
        let refused = |builder: KeycloakBuilder| {
            let error = builder.build().unwrap_err();
            assert_eq!(error.kind(), AuthorityErrorKind::Configuration);
            error.to_string()
        };
        let of = |base: &str| builder(base);
        let complete = "https://login.example";
        let nobody = KeycloakBuilder { management: None, ..of(complete) };
        assert!(refused(nobody).contains("no management client"));
        let nowhere = KeycloakBuilder { realm: String::new(), ..of(complete) };
        assert!(refused(nowhere).contains("no realm"));
        assert!(refused(of("http://login.example")).contains("keycloak: "));
    }

    #[test]
    fn neither_the_authority_nor_what_makes_it_shows_a_secret() {
        let builder = builder("https://login.example");
        let shown = format!("{builder:?}");
        let keycloak = builder.build().unwrap();
        let shown = format!("{shown} {keycloak:?} {:?}", keycloak.another("orders"));
        assert!(shown.contains("billing") && !shown.contains("management-value"), "{shown}");
    }
}
