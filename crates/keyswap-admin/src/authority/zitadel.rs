//! Zitadel: one secret an application, whose value Zitadel chooses. So a gap cannot be avoided.
//!
//! Sources: zitadel/zitadel, `proto/zitadel/application/v2` (`GetApplication`, `GenerateClientSecret`, the
//! permissions `project.app.read` and `project.app.write`), called in the Connect protocol with JSON; the
//! statuses of its errors are those of that protocol. zitadel/oidc, `pkg/op/server_http.go`: `withClient` has
//! the client verified before it looks whether it may use the grant, and before a code is missed.
//!
//! Read and not tried: no such server was at hand. Not known are what it does to an application whose secret
//! is sent in another way than it is registered for, how long its nodes may disagree after a change, and which
//! answers of its cloud come from a gateway before it. Older versions, which look for the code before the
//! client, answer a proof in words that say nothing here, so a rotation does not begin there.
//!
//! Not covered: service accounts (their secrets are changed by the user service, and a wrong one is refused with
//! `invalid_request`, which is no refusal of a client) and API applications (theirs are shown at the
//! introspection endpoint alone).

use std::fmt;
use std::time::Duration;

use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, StatusCode};
use keyswap_core::{Secret, SecretId};
use keyswap_tower::Profile;
use serde::Deserialize;
use serde_json::json;
use url::Url;
use zeroize::Zeroizing;

use super::described::{Asked, Request, written_down};
use super::endpoint::TokenEndpoint;
use super::http::{
    Answer, ask, authorization, client_for, error_code, leased_body, lost, send, unreachable,
    with_segments,
};
use super::pace::{Pace, Turns};
use super::probe::{ClientAuthentication, ProbeRequest};
use super::{AddAnswer, Authority, AuthorityError, AuthorityErrorKind, Capabilities, Probe};

/// One web application of a Zitadel instance.
///
/// Management requests carry a token of a service account that may write the application: a project owner,
/// for instance with a personal access token.
///
/// A rotation has to [accept](crate::Rotator::accept_gap) that token requests fail for a while. A secret is
/// proved by a request for a token that brings no authorization code: whoever shows the right secret is told
/// that the code is missing.
///
/// ```no_run
/// use keyswap_admin::Zitadel;
/// use keyswap_core::Secret;
///
/// # fn example(token: Secret) -> Result<Zitadel, keyswap_admin::AuthorityError> {
/// let instance = "https://shop.zitadel.cloud".parse().expect("an address");
/// Zitadel::builder(instance, "69629023906488334@shop")
///     .application("69629023906488300", "69629023906488334")
///     .token(token)
///     .build()
/// # }
/// ```
pub struct Zitadel {
    http: reqwest::Client,
    instance: Url,
    read_url: Url,
    generate_url: Url,
    client: String,
    project: String,
    application: String,
    token: HeaderValue,
    probe: ProbeRequest,
    authentication: ClientAuthentication,
    propagation_window: Duration,
    turns: Turns,
}

/// Makes a [`Zitadel`].
#[derive(Debug)]
#[must_use]
pub struct ZitadelBuilder {
    instance: Url,
    client: String,
    ids: Option<(String, String)>,
    token: Option<Secret>,
    authentication: ClientAuthentication,
    propagation_window: Duration,
    pace: Pace,
}

impl Zitadel {
    /// What a Zitadel can do, unless the builder says otherwise.
    #[must_use]
    pub fn usual() -> Capabilities {
        Capabilities::new("zitadel")
            .chosen_by_caller(false)
            // Zitadel does not say how long its nodes may disagree.
            .propagation_window(Duration::from_secs(30))
            .needs("a token of a service account with project.app.read and project.app.write")
    }

    /// The client `client_id` of the instance at `instance`, for instance `https://shop.zitadel.cloud`.
    pub fn builder(instance: Url, client_id: impl Into<String>) -> ZitadelBuilder {
        ZitadelBuilder {
            instance,
            client: client_id.into(),
            ids: None,
            token: None,
            authentication: ClientAuthentication::Basic,
            propagation_window: Self::usual().propagation_window,
            pace: Pace::default(),
        }
    }
}

impl Zitadel {
    /// Where the programs of an instance get their tokens.
    ///
    /// # Errors
    ///
    /// When the address has no path.
    pub fn token_endpoint(instance: &Url) -> Result<TokenEndpoint, AuthorityError> {
        let url = with_segments(instance, &["oauth", "v2", "token"])?;
        let endpoint = TokenEndpoint::new(url, Profile::Zitadel, ClientAuthentication::Basic);
        Ok(endpoint.issuer(instance.clone()))
    }
}

impl ZitadelBuilder {
    /// The ids of the project and of the application in it, as the console shows them. Required: neither is
    /// the client id.
    pub fn application(
        mut self,
        project_id: impl Into<String>,
        application_id: impl Into<String>,
    ) -> Self {
        self.ids = Some((project_id.into(), application_id.into()));
        self
    }

    /// The token that the management requests carry. Required.
    pub fn token(mut self, token: Secret) -> Self {
        self.token = Some(token);
        self
    }

    /// How the client authenticates (its authentication method). Basic by default, as in Zitadel.
    pub fn authentication(mut self, authentication: ClientAuthentication) -> Self {
        self.authentication = authentication;
        self
    }

    /// How long nodes may disagree after a change. 30 s by default: Zitadel does not say.
    pub fn propagation_window(mut self, window: Duration) -> Self {
        self.propagation_window = window;
        self
    }

    /// The pace of the management requests, which other clients of the same instance may share.
    pub fn pace(mut self, pace: Pace) -> Self {
        self.pace = pace;
        self
    }

    /// The authority. Nothing is sent yet.
    ///
    /// # Errors
    ///
    /// [`AuthorityErrorKind::Configuration`] if the token or the ids are missing, the token cannot be one, or
    /// the address is neither https nor loopback.
    pub fn build(self) -> Result<Zitadel, AuthorityError> {
        let configuration =
            |message| AuthorityError::new(AuthorityErrorKind::Configuration, message);
        let (project, application) = self.ids.ok_or_else(|| {
            configuration("zitadel: the ids of the project and the application are not given")
        })?;
        let token = self.token.ok_or_else(|| configuration("zitadel: no token is given"))?;
        let token = authorization("Bearer", &token).ok_or_else(|| {
            configuration("zitadel: the token cannot be one: it holds more than printable ASCII")
        })?;
        let http = client_for("zitadel", &[&self.instance])?;
        let token_endpoint = Zitadel::token_endpoint(&self.instance)?.url;
        let probe = ProbeRequest::new(http.clone(), token_endpoint, self.client.clone())
            .profile(Profile::Zitadel)
            .authentication(self.authentication)
            .incomplete("authorization_code", &PAST_AUTHENTICATION);
        let service = ["zitadel.application.v2.ApplicationService"];
        let service = with_segments(&self.instance, &service)?;
        Ok(Zitadel {
            read_url: with_segments(&service, &["GetApplication"])?,
            generate_url: with_segments(&service, &["GenerateClientSecret"])?,
            http,
            instance: self.instance,
            client: self.client,
            project,
            application,
            token,
            probe,
            authentication: self.authentication,
            propagation_window: self.propagation_window,
            turns: Turns::new(self.pace),
        })
    }
}

/// What is answered to a request for a token without a code, once the client is verified (`withClient` and
/// `codeExchangeHandler` in zitadel/oidc). The latter comes if the application may not use that grant.
const PAST_AUTHENTICATION: [(&str, &str); 2] = [
    ("invalid_request", "code missing"),
    ("unauthorized_client", "grant_type \"authorization_code\""),
];

#[derive(Deserialize)]
struct Read {
    application: Application,
}

/// The parts of an application that matter here.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Application {
    oidc_configuration: Option<Configuration>,
}

/// A message in JSON leaves out a field with the first value of its type.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Configuration {
    client_id: String,
    auth_method_type: String,
}

impl Default for Configuration {
    fn default() -> Self {
        Self { client_id: String::new(), auth_method_type: BASIC.to_owned() }
    }
}

const BASIC: &str = "OIDC_AUTH_METHOD_TYPE_BASIC";

impl Configuration {
    /// The method as RFC 7591 names it.
    fn method(&self) -> &str {
        match self.auth_method_type.as_str() {
            BASIC => "client_secret_basic",
            "OIDC_AUTH_METHOD_TYPE_POST" => "client_secret_post",
            "OIDC_AUTH_METHOD_TYPE_NONE" => "none",
            "OIDC_AUTH_METHOD_TYPE_PRIVATE_KEY_JWT" => "private_key_jwt",
            _ => "another method",
        }
    }
}

/// The value is in it: no `Debug`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Generated {
    client_secret: Zeroizing<String>,
}

/// An error of the Connect protocol. Its message is left alone: it may repeat what was sent.
#[derive(Deserialize)]
struct Refusal {
    code: Option<String>,
}

impl Authority for Zitadel {
    fn capabilities(&self) -> Capabilities {
        Self::usual().propagation_window(self.propagation_window)
    }

    async fn ready(&self) {
        self.turns.take_ahead().await;
    }

    async fn check(&self) -> Result<(), AuthorityError> {
        let message = json!({ "applicationId": self.application });
        let answer = ask(|| self.call(self.read_url.clone(), &message)).await;
        let answer = answer.map_err(|error| unreachable(&self.instance, &error))?;
        if !answer.status.is_success() {
            return Err(self.refused(&answer, "read it", "project.app.read"));
        }
        let read: Read = answer.json().ok_or_else(|| self.not_zitadel(&answer))?;
        let Some(configuration) = read.application.oidc_configuration else {
            return Err(AuthorityError::new(
                AuthorityErrorKind::UnsupportedClient,
                format!(
                    "the application {} is no web application (it has no oidcConfiguration), so its secret \
                     cannot be proved at the token endpoint: check the id of the application",
                    self.application
                ),
            ));
        };
        if configuration.client_id != self.client {
            return Err(AuthorityError::new(
                AuthorityErrorKind::Configuration,
                format!(
                    "the application {} has another client id than {}: check which application it is",
                    self.application, self.client
                ),
            ));
        }
        self.authentication.check(&self.client, Some(configuration.method()))
    }

    async fn describe(&self, asked: &Asked<'_>) -> Vec<Request> {
        written_down(self, asked).await
    }

    async fn probe(&self, secret: &Secret) -> Probe {
        self.probe.send(secret).await
    }

    async fn regenerate_secret(&self, id: &SecretId) -> AddAnswer {
        let message = json!({ "applicationId": self.application, "projectId": self.project });
        let answer = match self.call(self.generate_url.clone(), &message).await {
            Ok(answer) => answer,
            Err(error) => return AddAnswer::Unknown(lost(&error)),
        };
        // "canceled" in the Connect protocol: somebody gave up, and nobody says what was done by then.
        if answer.status.as_u16() == 499 {
            return AddAnswer::Unknown(answer.said());
        }
        let refused = || self.refused(&answer, "have a secret chosen for it", "project.app.write");
        if let Some(change) = answer.as_change(refused) {
            return AddAnswer::without_a_secret(change);
        }
        let Some(Generated { client_secret }) = answer.json() else {
            return AddAnswer::Unknown(format!("{} with something else", answer.said()));
        };
        match Secret::new(id.clone(), client_secret.as_str()) {
            Ok(secret) => AddAnswer::Replaced(secret),
            Err(_) => AddAnswer::Unknown("the answer holds no secret".to_owned()),
        }
    }
}

impl Zitadel {
    /// Calls a method of the application service.
    async fn call(&self, url: Url, message: &serde_json::Value) -> Result<Answer, reqwest::Error> {
        let body = leased_body(message.to_string().into());
        let request = self
            .http
            .post(url)
            .header(AUTHORIZATION, self.token.clone())
            .header(CONTENT_TYPE, "application/json")
            .header("connect-protocol-version", "1")
            .body(body);
        send(&self.turns, request).await
    }

    fn host(&self) -> &str {
        self.instance.host_str().unwrap_or("an unnamed host")
    }

    fn not_zitadel(&self, answer: &Answer) -> AuthorityError {
        AuthorityError::new(
            AuthorityErrorKind::Unexpected,
            format!(
                "{} at {} with something that is not an answer of Zitadel's application service: check that \
                 the address is that of an instance which has the v2 services, and that no proxy answers for it",
                answer.said(),
                self.host()
            ),
        )
    }

    fn refused(&self, answer: &Answer, doing: &str, permission: &str) -> AuthorityError {
        if let Some(error) = answer.as_transient() {
            return error;
        }
        let code = answer.json::<Refusal>().and_then(|refusal| refusal.code).and_then(error_code);
        let Some(code) = code else { return self.not_zitadel(answer) };
        let (client, host, status) = (&self.client, self.host(), answer.status.as_u16());
        let (kind, message) = match answer.status {
            StatusCode::UNAUTHORIZED => (
                AuthorityErrorKind::Credentials,
                format!(
                    "Zitadel at {host} does not take the token ({code}): check that it is of this instance, \
                     and has not expired"
                ),
            ),
            StatusCode::FORBIDDEN => (
                AuthorityErrorKind::Permissions,
                format!(
                    "the token may not {doing} (client {client}; {code}): give its service account the \
                     permission {permission}, for instance as an owner of the project"
                ),
            ),
            StatusCode::NOT_FOUND => (
                AuthorityErrorKind::NoSuchClient,
                format!(
                    "the instance at {host} does not know the application {} in the project {} ({code}): \
                     check both ids, which are not the client id, and that the token may see them",
                    self.application, self.project
                ),
            ),
            _ => (
                AuthorityErrorKind::Refused,
                format!(
                    "Zitadel refuses to {doing} for client {client} with status {status} ({code}): check \
                     that the application authenticates with a secret"
                ),
            ),
        };
        AuthorityError::new(kind, message)
    }
}

impl fmt::Debug for Zitadel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Zitadel")
            .field("host", &self.host())
            .field("client", &self.client)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn builder(token: &str) -> ZitadelBuilder {
        let instance = "https://shop.zitadel.cloud".parse().unwrap();
        let token = Secret::new("token".parse().unwrap(), token).unwrap();
        Zitadel::builder(instance, "billing@shop").application("project-1", "app-1").token(token)
    }

    #[test]
    fn neither_the_authority_nor_what_makes_it_shows_the_token() {
        let builder = builder("token-value");
        let shown = format!("{builder:?}");
        let zitadel = builder.build().unwrap();
        assert_eq!(zitadel.token, "Bearer token-value");
        let shown = format!("{shown} {zitadel:?} {:?}", zitadel.token);
        assert!(shown.contains("billing@shop") && !shown.contains("token-value"), "{shown}");
    }

    #[test]
    fn what_is_missing_and_an_address_without_tls_are_named() {
        let refused = |builder: ZitadelBuilder| {
            let error = builder.build().unwrap_err();
            assert_eq!(error.kind(), AuthorityErrorKind::Configuration);
            error.to_string()
        };
        assert!(refused(ZitadelBuilder { token: None, ..builder("x") }).contains("no token"));
        assert!(
            refused(ZitadelBuilder { ids: None, ..builder("x") }).contains("ids of the project")
        );
        let error = refused(builder("a tökén"));
        assert!(error.contains("printable ASCII") && !error.contains("tök"), "{error}");
        let plain = "http://shop.zitadel.cloud".parse().unwrap();
        assert!(refused(ZitadelBuilder { instance: plain, ..builder("x") }).contains("zitadel: "));
    }
}
