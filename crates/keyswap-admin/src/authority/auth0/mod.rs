//! Auth0: one secret a client, chosen by the caller, with up to 30 s of propagation.
//!
//! Sources: "Rotate Client Secrets" (docs.auth0.com, get-started/applications/rotate-client-secret),
//! the Management API v2 description of `GET` and `PATCH /clients/{id}`, "Rate Limit Policy" and "Custom Rate
//! Limit Policies". Management requests tell the tenant's limit by `X-RateLimit-*`. A token request that comes
//! too often for its application is told by `Retry-After` when to come back; `X-RateLimit-*` is still the
//! tenant's there, and `Auth0-RateLimit` says no more (`t` is an interval).

mod address;
mod look;

use std::fmt;
use std::time::Duration;

use http::StatusCode;
use keyswap_core::{Secret, SecretRing};
use keyswap_oauth::{TokenError, TokenErrorKind};
use keyswap_tower::Profile;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use url::Url;
use zeroize::Zeroizing;

use super::described::{Asked, Request, written_down};
use super::endpoint::TokenEndpoint;
use super::http::{Answer, ask, body_with_secret, client_for, error_code, with_segments};
use super::management::{ManagementTokens, no_token};
use super::pace::Turns;
use super::probe::{ClientAuthentication, ProbeRequest};
use super::{
    Authority, AuthorityError, AuthorityErrorKind, Capabilities, ChangeAnswer, Pace, Probe,
    ReadBack,
};
use crate::finding::Finding;

const SCOPES: &str = "read:clients, read:client_keys and update:client_keys";
/// Where a person grants them.
const CONSOLE: &str =
    "in the dashboard, Applications > APIs > Auth0 Management API, at the management client";
const NEEDS: &str =
    "a client of the Management API with read:clients, read:client_keys and update:client_keys";
const FIELDS: &str =
    "client_id,client_secret,token_endpoint_auth_method,client_authentication_methods";

/// One client of an Auth0 tenant.
///
/// The management client is a machine-to-machine application that is authorized for the Management API
/// with `read:clients`, `read:client_keys` and `update:client_keys`.
///
/// ```no_run
/// use keyswap_admin::Auth0;
/// use keyswap_core::SecretRing;
///
/// # fn example(management: SecretRing) -> Result<Auth0, keyswap_admin::AuthorityError> {
/// let tenant = "https://tenant.eu.auth0.com".parse().expect("an address");
/// Auth0::builder(tenant, "AaiyAPdpYdesoKnqjj8HJqRn4T5titww")
///     .management("hYt9wPZ3dc8G3mVbLs6gTq0nRk5eXuJa", management)
///     .audience("https://api.example/")
///     .build()
/// # }
/// ```
pub struct Auth0 {
    http: reqwest::Client,
    turns: Turns,
    base: Url,
    client_url: Url,
    client: String,
    tokens: ManagementTokens,
    management_audience: String,
    probe: ProbeRequest,
    authentication: ClientAuthentication,
    propagation_window: Duration,
}

/// Makes an [`Auth0`].
#[derive(Debug)]
#[must_use]
pub struct Auth0Builder {
    base: Url,
    client: String,
    management: Option<(String, SecretRing)>,
    management_audience: Option<String>,
    audience: Option<String>,
    authentication: ClientAuthentication,
    propagation_window: Duration,
    pace: Pace,
    beside: Option<(reqwest::Client, ManagementTokens)>,
}

impl Auth0 {
    /// What an Auth0 can do, unless the builder says otherwise.
    #[must_use]
    pub fn usual() -> Capabilities {
        Capabilities::new("auth0")
            .read_back(true)
            // "New secrets may be delayed up to thirty seconds while rotating."
            .propagation_window(Duration::from_secs(30))
            .needs(NEEDS)
    }

    /// The client `client_id` of the tenant at `base`, for instance `https://tenant.eu.auth0.com`.
    pub fn builder(base: Url, client_id: impl Into<String>) -> Auth0Builder {
        Auth0Builder {
            base,
            client: client_id.into(),
            management: None,
            management_audience: None,
            audience: None,
            authentication: ClientAuthentication::Post,
            propagation_window: Self::usual().propagation_window,
            pace: Pace::new(),
            beside: None,
        }
    }

    /// The identifier of the Management API.
    #[must_use]
    pub fn management_audience(&self) -> &str {
        &self.management_audience
    }

    /// Another client of the same tenant, which shares the connections, the management token and the
    /// [`Pace`] with this one.
    pub fn another(&self, client_id: impl Into<String>) -> Auth0Builder {
        let mut builder = Self::builder(self.base.clone(), client_id)
            .propagation_window(self.propagation_window)
            .pace(self.turns.pace.clone());
        builder.management_audience = Some(self.management_audience.clone());
        builder.beside = Some((self.http.clone(), self.tokens.clone()));
        builder
    }
}

impl Auth0 {
    /// Where the programs of a tenant get their tokens.
    ///
    /// # Errors
    ///
    /// When the address is none of a tenant.
    pub fn token_endpoint(base: &Url) -> Result<TokenEndpoint, AuthorityError> {
        address::check_tenant(base)?;
        let url = with_segments(base, &["oauth", "token"])?;
        let endpoint = TokenEndpoint::new(url, Profile::Auth0, ClientAuthentication::Post);
        Ok(endpoint.issuer(base.clone()))
    }
}

impl Auth0Builder {
    /// The client that makes the management requests, with its secrets. Required.
    pub fn management(mut self, client_id: impl Into<String>, secrets: SecretRing) -> Self {
        self.management = Some((client_id.into(), secrets));
        self
    }

    /// The identifier of the Management API. By default `BASE/api/v2/`; with a custom domain it is
    /// still that of the tenant's own domain.
    pub fn management_audience(mut self, audience: impl Into<String>) -> Self {
        self.management_audience = Some(audience.into());
        self
    }

    /// The identifier of an API that the client may call: what a secret is proved with.
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.audience = Some(audience.into());
        self
    }

    /// How the client authenticates (its `token_endpoint_auth_method`). Post by default, as in Auth0.
    pub fn authentication(mut self, authentication: ClientAuthentication) -> Self {
        self.authentication = authentication;
        self
    }

    /// How long nodes may disagree after a change. 30 s by default, as Auth0 says.
    pub fn propagation_window(mut self, window: Duration) -> Self {
        self.propagation_window = window;
        self
    }

    /// The pace of the management requests, which others at the same tenant may share. The pace of
    /// [`Pace::new`] by default.
    pub fn pace(mut self, pace: Pace) -> Self {
        self.pace = pace;
        self
    }

    /// The authority. Nothing is sent yet.
    ///
    /// # Errors
    ///
    /// [`AuthorityErrorKind::Configuration`] if the management client is missing, or an address cannot be that
    /// of a tenant or of its Management API, or is neither https nor loopback.
    pub fn build(self) -> Result<Auth0, AuthorityError> {
        let token_endpoint = Auth0::token_endpoint(&self.base)?.url;
        if let Some(audience) = &self.management_audience {
            address::check_audience(audience)?;
        }
        let management_audience = match self.management_audience {
            Some(audience) => audience,
            None => format!("{}/", with_segments(&self.base, &["api", "v2"])?),
        };
        let (http, tokens) = match self.beside {
            Some(shared) => shared,
            None => {
                let management = self.management.ok_or_else(|| {
                    AuthorityError::new(
                        AuthorityErrorKind::Configuration,
                        "auth0: no management client is given",
                    )
                })?;
                let http = client_for("auth0", &[&self.base])?;
                let endpoint = (&http, token_endpoint.clone());
                let tokens = ManagementTokens::of_client(management, endpoint, Profile::Auth0)
                    .parameter("audience", management_audience.as_str());
                (http, tokens)
            }
        };
        let mut probe = ProbeRequest::new(http.clone(), token_endpoint, self.client.clone())
            .profile(Profile::Auth0)
            .authentication(self.authentication);
        if let Some(audience) = self.audience {
            probe = probe.parameter("audience", audience);
        }
        Ok(Auth0 {
            client_url: with_segments(&self.base, &["api", "v2", "clients", &self.client])?,
            http,
            turns: Turns::new(self.pace),
            base: self.base,
            client: self.client,
            tokens,
            management_audience,
            probe,
            authentication: self.authentication,
            propagation_window: self.propagation_window,
        })
    }
}

/// The parts of a client that matter here. The secret is in it: no `Debug`.
#[derive(Deserialize)]
struct Client {
    client_id: Option<String>,
    client_secret: Option<Zeroizing<String>>,
    token_endpoint_auth_method: Option<String>,
    #[serde(default)]
    client_authentication_methods: serde_json::Value,
}

impl Client {
    /// The methods with a key or a certificate by which it authenticates, in place of a secret
    /// (`client_authentication_methods`). That and `token_endpoint_auth_method` exclude each other.
    fn methods_with_a_key(&self) -> Option<String> {
        match &self.client_authentication_methods {
            serde_json::Value::Null => None,
            serde_json::Value::Object(methods) if methods.is_empty() => None,
            serde_json::Value::Object(methods) => {
                let names: Option<Vec<_>> = methods.keys().cloned().map(error_code).collect();
                Some(names.map_or_else(|| "a key".to_owned(), |names| names.join(" and ")))
            }
            _ => Some("a key".to_owned()),
        }
    }
}

#[derive(Deserialize)]
struct Refusal {
    #[serde(rename = "errorCode")]
    code: Option<String>,
}

impl Authority for Auth0 {
    fn capabilities(&self) -> Capabilities {
        Self::usual().propagation_window(self.propagation_window)
    }

    async fn check(&self) -> Result<(), AuthorityError> {
        let token = self.tokens.to_ask().await.map_err(|error| self.no_token(&error))?;
        // Where the server says what was granted, a scope that would be missing only at the change is
        // missed now.
        if let Some(granted) = token.scope()
            && !granted.split(' ').any(|scope| scope == "update:client_keys")
        {
            return Err(self.missing_scope("change its secret"));
        }
        let client = self.client_now().await?;
        if let Some(methods) = client.methods_with_a_key() {
            return Err(AuthorityError::new(
                AuthorityErrorKind::UnsupportedClient,
                format!(
                    "client {} authenticates with {methods} (client_authentication_methods): there is no \
                     client secret to rotate",
                    self.client
                ),
            ));
        }
        self.authentication.check(&self.client, client.token_endpoint_auth_method.as_deref())
    }

    async fn look(&self) -> Vec<Finding> {
        look::look(self).await
    }

    async fn ready(&self) {
        self.tokens.ready().await;
        self.turns.take_ahead().await;
    }

    async fn set_secret(&self, secret: &Secret) -> ChangeAnswer {
        let request = || {
            // The same bytes each time: a request that is repeated sets the same value.
            let body = body_with_secret("{\"client_secret\":", secret, "}");
            self.http
                .patch(self.client_url.clone())
                .header(http::header::CONTENT_TYPE, "application/json")
                .body(body)
        };
        let answer = match self.tokens.send(&self.turns, request).await {
            Ok(answer) => answer,
            Err(failure) => return failure.into_change(|error| self.no_token(error)),
        };
        if let Some(change) = answer.as_change(|| self.refused(&answer, "change its secret")) {
            return change;
        }
        match answer.json::<Client>() {
            Some(client) => match client.client_secret {
                Some(value) if !secret.matches(&value) => {
                    ChangeAnswer::Unknown("the answer names another secret".to_owned())
                }
                // Without read:client_keys the answer leaves the secret out.
                None if client.client_id.as_deref() != Some(&self.client) => {
                    ChangeAnswer::Unknown("the answer is of another client".to_owned())
                }
                _ => ChangeAnswer::Applied,
            },
            None => ChangeAnswer::Unknown(format!("{} with something else", answer.said())),
        }
    }

    async fn read_back(&self, known: &[Secret]) -> ReadBack {
        match self.client_now().await {
            Ok(Client { client_secret: Some(value), .. }) => {
                match known.iter().find(|secret| secret.matches(&value)) {
                    Some(secret) => ReadBack::Holds(secret.id().clone()),
                    None => ReadBack::Other,
                }
            }
            Ok(_) => ReadBack::Unavailable(
                "the management client may not read the secret (read:client_keys)".to_owned(),
            ),
            Err(error) => ReadBack::Unavailable(error.to_string()),
        }
    }

    async fn describe(&self, asked: &Asked<'_>) -> Vec<Request> {
        written_down(self, asked).await
    }

    async fn probe(&self, secret: &Secret) -> Probe {
        self.probe.send(secret).await
    }
}

impl Auth0 {
    async fn client_now(&self) -> Result<Client, AuthorityError> {
        self.read_client(FIELDS).await
    }

    /// These fields of the client.
    async fn read_client<T: DeserializeOwned>(&self, fields: &str) -> Result<T, AuthorityError> {
        let mut url = self.client_url.clone();
        url.query_pairs_mut().append_pair("fields", fields).append_pair("include_fields", "true");
        let answer = self.get(&url).await?;
        if !answer.status.is_success() {
            return Err(self.refused(&answer, "read it"));
        }
        answer.json().ok_or_else(|| self.not_auth0(&answer))
    }

    async fn get(&self, url: &Url) -> Result<Answer, AuthorityError> {
        let request = || self.http.get(url.clone());
        let answer = ask(|| self.tokens.send(&self.turns, request)).await;
        answer.map_err(|failure| failure.into_error(&self.base, |error| self.no_token(error)))
    }

    fn host(&self) -> &str {
        self.base.host_str().unwrap_or("an unnamed host")
    }

    fn has_a_custom_domain(&self) -> bool {
        !self.host().ends_with(".auth0.com")
    }

    fn no_token(&self, error: &TokenError) -> AuthorityError {
        let (kind, way_out) = match error.kind() {
            TokenErrorKind::Unreachable => {
                (AuthorityErrorKind::Unreachable, "check the tenant's address and the network")
            }
            TokenErrorKind::Refused { status: 401 } => {
                (AuthorityErrorKind::Credentials, "check the management client's id and secret")
            }
            TokenErrorKind::Refused { status: 403 } if self.has_a_custom_domain() => (
                AuthorityErrorKind::Permissions,
                "authorize the management client for the Management API. With a custom domain that is named \
                 by the tenant's own: let `management_audience` be https://TENANT.REGION.auth0.com/api/v2/",
            ),
            TokenErrorKind::Refused { status: 403 } => (
                AuthorityErrorKind::Permissions,
                "authorize the management client for the Management API, and check its audience",
            ),
            TokenErrorKind::Refused { status: 429 } => (
                AuthorityErrorKind::Throttled,
                "come back later; a quota of the management client's own is raised in the dashboard",
            ),
            _ => (
                AuthorityErrorKind::Unexpected,
                "check that the address is that of an Auth0 tenant, its region included: \
                 https://TENANT.REGION.auth0.com, or https://TENANT.auth0.com where it has none",
            ),
        };
        no_token(error, kind, way_out)
    }

    fn missing_scope(&self, doing: &str) -> AuthorityError {
        AuthorityError::new(
            AuthorityErrorKind::Permissions,
            format!(
                "the management client may not {doing} (client {}): grant it the scopes {SCOPES} of the \
                 Management API ({CONSOLE})",
                self.client
            ),
        )
    }

    fn not_auth0(&self, answer: &Answer) -> AuthorityError {
        AuthorityError::new(
            AuthorityErrorKind::Unexpected,
            format!(
                "{} at {} with something that is not an answer of Auth0's Management API: check that the \
                 address is that of a tenant, its region included, and that no proxy answers for it",
                answer.said(),
                self.host()
            ),
        )
    }

    /// The refusal in words. Of the body only the error code is used: messages may repeat a value.
    fn refused(&self, answer: &Answer, doing: &str) -> AuthorityError {
        if let Some(error) = answer.as_transient() {
            return error;
        }
        let Some(refusal) = answer.json::<Refusal>() else { return self.not_auth0(answer) };
        let code = refusal.code.and_then(error_code);
        let code = code.map(|code| format!(" ({code})")).unwrap_or_default();
        let status = answer.status.as_u16();
        let client = &self.client;
        match answer.status {
            StatusCode::UNAUTHORIZED => AuthorityError::new(
                AuthorityErrorKind::Credentials,
                format!(
                    "Auth0 does not take the management token{code}: check the management client and \
                     the audience, which names the tenant's own domain also where `url` is a custom one"
                ),
            ),
            StatusCode::FORBIDDEN => self.missing_scope(doing),
            StatusCode::NOT_FOUND => AuthorityError::new(
                AuthorityErrorKind::NoSuchClient,
                format!(
                    "the tenant at {} has no client {client}{code}: check the client id",
                    self.host()
                ),
            ),
            _ => AuthorityError::new(
                AuthorityErrorKind::Refused,
                format!("Auth0 refuses to {doing} for client {client} with status {status}{code}"),
            ),
        }
    }
}

impl fmt::Debug for Auth0 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Auth0")
            .field("host", &self.host())
            .field("client", &self.client)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_has_a_key_where_a_method_is_named_and_not_where_there_is_none() {
        let methods = |json: &str| {
            let client: Client = serde_json::from_str(json).unwrap();
            client.methods_with_a_key()
        };
        assert_eq!(methods("{}"), None);
        assert_eq!(methods(r#"{"client_authentication_methods":null}"#), None);
        assert_eq!(methods(r#"{"client_authentication_methods":{}}"#), None);
        let key = r#"{"client_authentication_methods":{"private_key_jwt":{"credentials":[]}}}"#;
        assert_eq!(methods(key).as_deref(), Some("private_key_jwt"));
        let certificates = r#"{"client_authentication_methods":
            {"tls_client_auth":{},"self_signed_tls_client_auth":{}}}"#;
        let named = methods(certificates).unwrap();
        assert!(named.contains("tls_client_auth and ") || named.contains(" and tls_client_auth"));
        assert_eq!(methods(r#"{"client_authentication_methods":"?"}"#).as_deref(), Some("a key"));
    }
}
