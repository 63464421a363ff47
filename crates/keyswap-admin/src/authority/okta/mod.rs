//! Okta: up to two secrets a client, each active or not, chosen by the caller or by Okta.
//!
//! Sources: okta-management-openapi-spec, `management-minimal.yaml` (`listOAuth2ClientSecrets`,
//! `createOAuth2ClientSecret` and those beside them); "Rotate and manage client secrets" and "Rate limits"
//! (developer.okta.com); the Applications API for the client id and the authentication method of an
//! application; "Implement OAuth for Okta with a service app" for management requests without an API token. That
//! credentials of an application with an administrator role cannot be changed is from
//! AWS ("Okta OAuth Client Secret", Secrets Manager user guide).

mod management;

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, StatusCode};
use keyswap_core::Secret;
use keyswap_tower::Profile;
use serde::Deserialize;
use url::Url;
use zeroize::Zeroizing;

use self::management::{Management, SCOPE, ServiceApp, no_token};
use super::described::{Asked, Request, written_down};
use super::endpoint::TokenEndpoint;
use super::http::{
    Answer, ask, authorization, body_with_secret, client_for, error_code, leased_body,
    with_segments,
};
use super::management::Failure;
use super::pace::{Pace, Turns};
use super::private_key::PrivateKey;
use super::probe::{ClientAuthentication, ProbeRequest};
use super::{
    AddAnswer, Authority, AuthorityError, AuthorityErrorKind, Capabilities, ChangeAnswer, Listed,
    NewSecret, Probe, Slot, SlotId, ValueRules,
};

const NEEDS: &str = "an API token that may manage the application, or a service app that may, with okta.apps.manage";

/// One client of an Okta org.
///
/// Management requests carry an API token of a user or service account that may manage the application:
/// an application administrator, or a custom role with the permission to manage it. Or a
/// [service app](OktaBuilder::service_app) with such a role makes them, which signs in by a private key.
///
/// A secret is proved by a client-credentials request at a custom authorization server, with a
/// [scope](OktaBuilder::scope) that the client may ask for. The org's own server gives no tokens to clients
/// with a secret in this way.
///
/// ```no_run
/// use keyswap_admin::Okta;
/// use keyswap_core::Secret;
///
/// # fn example(token: Secret) -> Result<Okta, keyswap_admin::AuthorityError> {
/// let org = "https://org.okta.com".parse().expect("an address");
/// Okta::builder(org, "0oa1nkheCuDn82XVI0g4").api_token(token).scope("invoices.read").build()
/// # }
/// ```
pub struct Okta {
    http: reqwest::Client,
    org: Url,
    application_url: Url,
    secrets_url: Url,
    client: String,
    management: Management,
    probe: ProbeRequest,
    authentication: ClientAuthentication,
    server_chooses: bool,
    propagation_window: Duration,
    turns: Turns,
}

/// Makes an [`Okta`].
#[derive(Debug)]
#[must_use]
pub struct OktaBuilder {
    org: Url,
    client: String,
    application: Option<String>,
    token: Option<Secret>,
    service_app: Option<ServiceApp>,
    authorization_server: String,
    scope: Option<String>,
    authentication: ClientAuthentication,
    server_chooses: bool,
    propagation_window: Duration,
    pace: Pace,
}

impl Okta {
    /// What an Okta can do, unless the builder says otherwise.
    #[must_use]
    pub fn usual() -> Capabilities {
        Capabilities::new("okta")
            .slots(2)
            .deactivation(true)
            // Okta does not say how long its nodes may disagree.
            .propagation_window(Duration::from_secs(30))
            // What `createOAuth2ClientSecret` refuses, in the examples of its OpenAPI description.
            .value(ValueRules::default().length(14, 100))
            .needs(NEEDS)
    }

    /// The client `client_id` of the org at `org`, for instance `https://org.okta.com`.
    pub fn builder(org: Url, client_id: impl Into<String>) -> OktaBuilder {
        OktaBuilder {
            org,
            client: client_id.into(),
            application: None,
            token: None,
            service_app: None,
            authorization_server: "default".to_owned(),
            scope: None,
            authentication: ClientAuthentication::Basic,
            server_chooses: false,
            propagation_window: Self::usual().propagation_window,
            pace: Pace::default(),
        }
    }
}

impl Okta {
    /// Where programs get their tokens at an authorization server of an org, which is `default` unless another is
    /// named.
    ///
    /// # Errors
    ///
    /// When the address has no path.
    pub fn token_endpoint(
        org: &Url,
        authorization_server: Option<&str>,
    ) -> Result<TokenEndpoint, AuthorityError> {
        let issuer = with_segments(org, &["oauth2", authorization_server.unwrap_or("default")])?;
        let url = with_segments(&issuer, &["v1", "token"])?;
        let endpoint = TokenEndpoint::new(url, Profile::Okta, ClientAuthentication::Basic);
        Ok(endpoint.issuer(issuer))
    }
}

impl OktaBuilder {
    /// The API token that the management requests carry. This or a [service app](Self::service_app) is required.
    pub fn api_token(mut self, token: Secret) -> Self {
        self.token = Some(token);
        self
    }

    /// The service app that makes the management requests, with the scope `okta.apps.manage`: it signs in by this
    /// private key, of which it may have several (`key_id`, the `kid` that Okta shows).
    pub fn service_app(
        mut self,
        client_id: impl Into<String>,
        key: PrivateKey,
        key_id: Option<String>,
    ) -> Self {
        self.service_app = Some(ServiceApp { client: client_id.into(), key, key_id });
        self
    }

    /// The id of the application (`appId`), where it is not the client id.
    pub fn application(mut self, id: impl Into<String>) -> Self {
        self.application = Some(id.into());
        self
    }

    /// The id of the custom authorization server at which a secret is proved; `default` by default.
    pub fn authorization_server(mut self, id: impl Into<String>) -> Self {
        self.authorization_server = id.into();
        self
    }

    /// The scope of the token requests that prove a secret. Servers without a default scope want one.
    pub fn scope(mut self, scope: impl Into<String>) -> Self {
        self.scope = Some(scope.into());
        self
    }

    /// How the client authenticates (its `token_endpoint_auth_method`). Basic by default, as in Okta.
    pub fn authentication(mut self, authentication: ClientAuthentication) -> Self {
        self.authentication = authentication;
        self
    }

    /// Lets Okta choose the new value, for instance where a rule wants that. The caller does by default.
    pub fn server_chooses(mut self, server_chooses: bool) -> Self {
        self.server_chooses = server_chooses;
        self
    }

    /// How long nodes may disagree after a change. 30 s by default: Okta does not say.
    pub fn propagation_window(mut self, window: Duration) -> Self {
        self.propagation_window = window;
        self
    }

    /// The pace of the management requests, which other clients of the same org may share.
    pub fn pace(mut self, pace: Pace) -> Self {
        self.pace = pace;
        self
    }

    /// The authority. Nothing is sent yet.
    ///
    /// # Errors
    ///
    /// [`AuthorityErrorKind::Configuration`] if there is neither an API token nor a service app, or both, if the
    /// token cannot be one, or the address is neither https nor loopback.
    pub fn build(self) -> Result<Okta, AuthorityError> {
        let configuration =
            |message| AuthorityError::new(AuthorityErrorKind::Configuration, message);
        let http = client_for("okta", &[&self.org])?;
        let management = match (self.token, self.service_app) {
            (Some(token), None) => {
                Management::ApiToken(authorization("SSWS", &token).ok_or_else(|| {
                    configuration(
                        "okta: the API token cannot be one: it holds more than printable ASCII",
                    )
                })?)
            }
            (None, Some(app)) => Management::service_app(&self.org, app)?,
            (None, None) => {
                return Err(configuration("okta: no API token is given, and no service app"));
            }
            (Some(_), Some(_)) => {
                let message = "okta: an API token and a service app are given: name one of them";
                return Err(configuration(message));
            }
        };
        let server = self.authorization_server.as_str();
        let token_endpoint = Okta::token_endpoint(&self.org, Some(server))?.url;
        let mut probe = ProbeRequest::new(http.clone(), token_endpoint, self.client.clone())
            .profile(Profile::Okta)
            .authentication(self.authentication);
        if let Some(scope) = self.scope {
            probe = probe.parameter("scope", scope);
        }
        let application = self.application.as_ref().unwrap_or(&self.client);
        let application_url = with_segments(&self.org, &["api", "v1", "apps", application])?;
        Ok(Okta {
            secrets_url: with_segments(&application_url, &["credentials", "secrets"])?,
            application_url,
            http,
            org: self.org,
            client: self.client,
            management,
            probe,
            authentication: self.authentication,
            server_chooses: self.server_chooses,
            propagation_window: self.propagation_window,
            turns: Turns::new(self.pace),
        })
    }
}

/// The parts of an application that matter here.
#[derive(Deserialize)]
struct Application {
    credentials: Option<Credentials>,
}

#[derive(Deserialize)]
struct Credentials {
    #[serde(rename = "oauthClient")]
    client: Option<OauthClient>,
}

#[derive(Deserialize)]
struct OauthClient {
    client_id: Option<String>,
    token_endpoint_auth_method: Option<String>,
}

/// The parts of a secret that matter here. The value is among them: no `Debug`.
#[derive(Deserialize)]
struct Shown {
    id: SlotId,
    status: String,
    client_secret: Option<Zeroizing<String>>,
}

impl Shown {
    fn is_active(&self) -> bool {
        self.status == "ACTIVE"
    }
}

#[derive(Deserialize)]
struct Refusal {
    #[serde(rename = "errorCode")]
    code: Option<String>,
    #[serde(default, rename = "errorCauses")]
    causes: Vec<Cause>,
}

/// Compared, and never shown: it may repeat a value.
#[derive(Deserialize)]
struct Cause {
    #[serde(default, rename = "errorSummary")]
    summary: Zeroizing<String>,
}

impl Authority for Okta {
    fn capabilities(&self) -> Capabilities {
        Self::usual()
            .chosen_by_caller(!self.server_chooses)
            .propagation_window(self.propagation_window)
    }

    async fn ready(&self) {
        self.management.ready().await;
        self.turns.take_ahead().await;
    }

    async fn check(&self) -> Result<(), AuthorityError> {
        let answer = ask(|| self.get(&self.application_url)).await;
        let answer = answer.map_err(|failure| failure.into_error(&self.org, no_token))?;
        if !answer.status.is_success() {
            return Err(self.refused(&answer, "read it"));
        }
        let application: Application = answer.json().ok_or_else(|| self.not_okta(&answer))?;
        let client = application.credentials.and_then(|credentials| credentials.client);
        let Some(client) = client else {
            return Err(AuthorityError::new(
                AuthorityErrorKind::UnsupportedClient,
                format!(
                    "the application of client {} has no OAuth client (credentials.oauthClient): check \
                     the id of the application",
                    self.client
                ),
            ));
        };
        if client.client_id.as_deref() != Some(&self.client) {
            return Err(AuthorityError::new(
                AuthorityErrorKind::Configuration,
                format!(
                    "the application has another client id than {}: check which application it is",
                    self.client
                ),
            ));
        }
        let method = client.token_endpoint_auth_method;
        self.authentication.check(&self.client, method.as_deref())
    }

    async fn describe(&self, asked: &Asked<'_>) -> Vec<Request> {
        written_down(self, asked).await
    }

    async fn probe(&self, secret: &Secret) -> Probe {
        self.probe.send(secret).await
    }

    async fn slots(&self, known: &[Secret]) -> Listed {
        let answer = match ask(|| self.get(&self.secrets_url)).await {
            Ok(answer) => answer,
            Err(failure) => {
                return Listed::Unavailable(failure.into_error(&self.org, no_token).to_string());
            }
        };
        if !answer.status.is_success() {
            return Listed::Unavailable(self.refused(&answer, "list its secrets").to_string());
        }
        let Some(shown) = answer.json::<Vec<Shown>>() else {
            return Listed::Unavailable(self.not_okta(&answer).to_string());
        };
        let slot = |shown: Shown| {
            let value = shown.client_secret.as_ref();
            let held = value.and_then(|value| known.iter().find(|secret| secret.matches(value)));
            let active = shown.is_active();
            Slot::new(shown.id).holding(held.map(|secret| secret.id().clone())).active(active)
        };
        Listed::Slots(shown.into_iter().map(slot).collect())
    }

    async fn add_secret(&self, new: &NewSecret) -> AddAnswer {
        // The same bytes each time: a request that is repeated adds the same value.
        let body = || {
            Some(match new {
                NewSecret::Known(secret) => {
                    body_with_secret("{\"client_secret\":", secret, ",\"status\":\"ACTIVE\"}")
                }
                NewSecret::Awaited(_) => leased_body(Bytes::from_static(b"{}")),
            })
        };
        let answer = match self.call((Method::POST, &self.secrets_url), body).await {
            Ok(answer) => answer,
            Err(failure) => return AddAnswer::without_a_secret(failure.into_change(no_token)),
        };
        if let Some(change) = answer.as_change(|| self.refused(&answer, "add a secret")) {
            return AddAnswer::without_a_secret(change);
        }
        let (id, value) = match answer.json() {
            Some(Shown { id, client_secret: Some(value), .. }) => (id, value),
            _ => return AddAnswer::Unknown(format!("{} with something else", answer.said())),
        };
        match new {
            NewSecret::Known(secret) if secret.matches(&value) => {
                AddAnswer::Added(id, secret.clone())
            }
            NewSecret::Known(_) => AddAnswer::Unknown("the answer names another secret".to_owned()),
            NewSecret::Awaited(name) => match Secret::new(name.clone(), value.as_str()) {
                Ok(secret) => AddAnswer::Added(id, secret),
                Err(_) => AddAnswer::Unknown("the answer holds no secret".to_owned()),
            },
        }
    }

    async fn set_active(&self, slot: &SlotId, active: bool) -> ChangeAnswer {
        let (verb, doing) = match active {
            true => ("activate", "activate one of its secrets"),
            false => ("deactivate", "deactivate one of its secrets"),
        };
        let url = match with_segments(&self.secrets_url, &[slot.as_str(), "lifecycle", verb]) {
            Ok(url) => url,
            Err(error) => return ChangeAnswer::Refused(error),
        };
        let answer = match self.call((Method::POST, &url), || None).await {
            Ok(answer) => answer,
            Err(failure) => return failure.into_change(no_token),
        };
        // What is gone is out of force as well.
        if !active && self.is_gone(&answer) {
            return ChangeAnswer::Applied;
        }
        if let Some(change) = answer.as_change(|| self.refused(&answer, doing)) {
            return change;
        }
        match answer.json::<Shown>() {
            Some(shown) if shown.id == *slot && shown.is_active() == active => {
                ChangeAnswer::Applied
            }
            _ => ChangeAnswer::Unknown(format!("{} with something else", answer.said())),
        }
    }

    async fn remove_secret(&self, slot: &SlotId) -> ChangeAnswer {
        let url = match with_segments(&self.secrets_url, &[slot.as_str()]) {
            Ok(url) => url,
            Err(error) => return ChangeAnswer::Refused(error),
        };
        let answer = match self.call((Method::DELETE, &url), || None).await {
            Ok(answer) => answer,
            Err(failure) => return failure.into_change(no_token),
        };
        if answer.status == StatusCode::NO_CONTENT || self.is_gone(&answer) {
            return ChangeAnswer::Applied;
        }
        answer
            .as_change(|| self.refused(&answer, "remove one of its secrets"))
            .unwrap_or_else(|| ChangeAnswer::Unknown(format!("{} to a removal", answer.said())))
    }
}

impl Okta {
    async fn call(
        &self,
        what: (Method, &Url),
        body: impl Fn() -> Option<reqwest::Body> + Send + Sync,
    ) -> Result<Answer, Failure> {
        self.management.call((&self.http, &self.turns), what, body).await
    }

    async fn get(&self, url: &Url) -> Result<Answer, Failure> {
        self.call((Method::GET, url), || None).await
    }

    /// Whether Okta itself says that there is no such thing, and not a proxy before it.
    fn is_gone(&self, answer: &Answer) -> bool {
        let refusal = || answer.json::<Refusal>().and_then(|refusal| refusal.code);
        answer.status == StatusCode::NOT_FOUND && refusal().as_deref() == Some("E0000007")
    }

    fn host(&self) -> &str {
        self.org.host_str().unwrap_or("an unnamed host")
    }

    fn not_okta(&self, answer: &Answer) -> AuthorityError {
        AuthorityError::new(
            AuthorityErrorKind::Unexpected,
            format!(
                "{} at {} with something that is not an answer of Okta's management API: check that the \
                 address is that of an org (not its -admin address), and that no proxy answers for it",
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
        let Some(refusal) = answer.json::<Refusal>() else { return self.not_okta(answer) };
        let full = refusal.causes.iter().any(|cause| cause.summary.contains("maximum number"));
        let code = refusal.code.and_then(error_code);
        let code = code.map(|code| format!(" ({code})")).unwrap_or_default();
        let (client, host, status) = (&self.client, self.host(), answer.status.as_u16());
        let (kind, message) = match answer.status {
            StatusCode::UNAUTHORIZED if self.management.is_service_app() => (
                AuthorityErrorKind::Credentials,
                format!(
                    "Okta at {host} does not take the access token of the service app{code}: check that the \
                     address is that of the org, and not a custom domain that another one answers for"
                ),
            ),
            StatusCode::UNAUTHORIZED => (
                AuthorityErrorKind::Credentials,
                format!(
                    "Okta at {host} does not take the API token{code}: check that it is of this org, and \
                     was neither revoked nor left unused for 30 days"
                ),
            ),
            StatusCode::FORBIDDEN if self.management.is_service_app() => (
                AuthorityErrorKind::Permissions,
                format!(
                    "the service app may not {doing} (client {client}){code}{}. It needs the scope {SCOPE} (in \
                     the admin console: Applications > Applications > the service app > Okta API Scopes) and an \
                     administrator role that may manage the application (there: Admin roles). Okta also refuses \
                     this for an application that holds an administrator role",
                    if answer.lacks_scope() { ", since its token lacks the scope" } else { "" }
                ),
            ),
            StatusCode::FORBIDDEN => (
                AuthorityErrorKind::Permissions,
                format!(
                    "the API token may not {doing} (client {client}){code}: let its owner manage the \
                     application, for instance as an application administrator. Okta also refuses this \
                     for an application that holds an administrator role"
                ),
            ),
            StatusCode::NOT_FOUND => (
                AuthorityErrorKind::NoSuchClient,
                format!(
                    "the org at {host} does not know the application of client {client}, or the secret of \
                     it that was asked for{code}: check the id of the application, which may differ from \
                     the client id"
                ),
            ),
            StatusCode::BAD_REQUEST if full => (
                AuthorityErrorKind::Refused,
                format!(
                    "client {client} has two secrets, as many as Okta keeps{code}: remove the one that \
                     nobody uses"
                ),
            ),
            StatusCode::BAD_REQUEST => (
                AuthorityErrorKind::Refused,
                format!(
                    "Okta refuses to {doing} for client {client} with status {status}{code}: it takes \
                     secrets of 14 to 100 printable ASCII characters, keeps one active, and removes those \
                     alone that are inactive"
                ),
            ),
            _ => (
                AuthorityErrorKind::Refused,
                format!("Okta refuses to {doing} for client {client} with status {status}{code}"),
            ),
        };
        AuthorityError::new(kind, message)
    }
}

impl fmt::Debug for Okta {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Okta")
            .field("host", &self.host())
            .field("client", &self.client)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn builder(token: &str) -> OktaBuilder {
        let org = "https://org.okta.com".parse().unwrap();
        let token = Secret::new("token".parse().unwrap(), token).unwrap();
        Okta::builder(org, "billing").api_token(token)
    }

    #[test]
    fn the_addresses_are_those_of_the_application_and_of_the_authorization_server() {
        let okta = builder("token-value").application("0oa/1").build().unwrap();
        let url = "https://org.okta.com/api/v1/apps/0oa%2F1/credentials/secrets";
        assert_eq!(okta.secrets_url.as_str(), url);
        let Management::ApiToken(token) = &okta.management else { panic!() };
        assert_eq!(token, "SSWS token-value");
        let okta = builder("token-value").build().unwrap();
        assert_eq!(okta.application_url.as_str(), "https://org.okta.com/api/v1/apps/billing");
    }

    #[test]
    fn neither_the_authority_nor_what_makes_it_shows_the_token() {
        let builder = builder("token-value");
        let shown = format!("{builder:?}");
        let okta = builder.build().unwrap();
        let Management::ApiToken(token) = &okta.management else { panic!() };
        let shown = format!("{shown} {okta:?} {token:?}");
        assert!(shown.contains("billing") && !shown.contains("token-value"), "{shown}");
    }

    #[test]
    fn a_missing_and_an_impossible_token_and_an_address_without_tls_are_named() {
        let refused = |builder: OktaBuilder| {
            let error = builder.build().unwrap_err();
            assert_eq!(error.kind(), AuthorityErrorKind::Configuration);
            error.to_string()
        };
        let missing = OktaBuilder { token: None, ..builder("x") };
        assert!(refused(missing).contains("no API token"));
        let error = refused(builder("a tökén"));
        assert!(error.contains("printable ASCII") && !error.contains("tök"), "{error}");
        let plain = OktaBuilder { org: "http://org.okta.com".parse().unwrap(), ..builder("x") };
        assert!(refused(plain).contains("okta: "));
    }
}
