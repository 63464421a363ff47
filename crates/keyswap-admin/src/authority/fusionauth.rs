//! FusionAuth: one secret an application, chosen by the caller.
//!
//! Sources: FusionAuth/fusionauth-openapi, `openapi.yaml` 1.69.0 (`retrieveApplicationWithId`,
//! `patchApplicationWithId`, `OAuthErrorReason`); FusionAuth/fusionauth-site, "Applications", "Authentication" and
//! "OAuth endpoints": a client secret that is given is always validated, a client that cannot be verified is
//! answered 401, and an introspection (since 1.46 with the secret) says of an unknown token that it is not
//! active. Only entities may use the client credentials grant, so an application proves its secret by such an
//! introspection.
//!
//! Read and not tried: no such server was at hand. Not known is how it refuses a wrong secret there, so
//! [`check`](Authority::check) shows one that nobody has, and a rotation does not begin unless that is refused.
//! Not known are also which values it takes, and how long its nodes may disagree.
//!
//! Not covered: entities, whose secrets the Entity API changes.

use std::fmt;
use std::time::Duration;

use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, Method, StatusCode};
use keyswap_core::{Generator, Secret};
use keyswap_tower::Profile;
use serde::Deserialize;
use serde::de::IgnoredAny;
use url::Url;
use zeroize::Zeroizing;

use super::described::{Asked, Request, written_down};
use super::endpoint::TokenEndpoint;
use super::http::{
    Answer, ask, authorization, body_with_secret, client_for, lost, send, unreachable,
    with_segments,
};
use super::pace::{Pace, Turns};
use super::probe::{ClientAuthentication, ProbeRequest};
use super::{
    Authority, AuthorityError, AuthorityErrorKind, Capabilities, ChangeAnswer, Probe, ReadBack,
};

const TENANT: HeaderName = HeaderName::from_static("x-fusionauth-tenantid");

/// One application of a FusionAuth.
///
/// Management requests carry an API key that may `GET` and `PATCH` on `/api/application`.
///
/// ```no_run
/// use keyswap_admin::FusionAuth;
/// use keyswap_core::Secret;
///
/// # fn example(key: Secret) -> Result<FusionAuth, keyswap_admin::AuthorityError> {
/// let server = "https://shop.fusionauth.io".parse().expect("an address");
/// FusionAuth::builder(server, "3c219e58-ed0e-4b18-ad48-f4f92793ae32").api_key(key).build()
/// # }
/// ```
pub struct FusionAuth {
    http: reqwest::Client,
    server: Url,
    application_url: Url,
    client: String,
    key: HeaderValue,
    tenant: Option<HeaderValue>,
    probe: ProbeRequest,
    propagation_window: Duration,
    turns: Turns,
}

/// Makes a [`FusionAuth`].
#[derive(Debug)]
#[must_use]
pub struct FusionAuthBuilder {
    server: Url,
    client: String,
    application: Option<String>,
    tenant: Option<String>,
    key: Option<Secret>,
    authentication: ClientAuthentication,
    propagation_window: Duration,
    pace: Pace,
}

impl FusionAuth {
    /// What a FusionAuth can do, unless the builder says otherwise.
    #[must_use]
    pub fn usual() -> Capabilities {
        Capabilities::new("fusionauth")
            .read_back(true)
            // FusionAuth does not say how long its nodes may disagree.
            .propagation_window(Duration::from_secs(30))
            .needs("an API key with GET and PATCH on /api/application")
    }

    /// The client `client_id` of the FusionAuth at `server`, for instance `https://shop.fusionauth.io`.
    pub fn builder(server: Url, client_id: impl Into<String>) -> FusionAuthBuilder {
        FusionAuthBuilder {
            server,
            client: client_id.into(),
            application: None,
            tenant: None,
            key: None,
            authentication: ClientAuthentication::Post,
            propagation_window: Self::usual().propagation_window,
            pace: Pace::default(),
        }
    }
}

impl FusionAuth {
    /// Where programs get their tokens.
    ///
    /// # Errors
    ///
    /// When the address has no path.
    pub fn token_endpoint(server: &Url) -> Result<TokenEndpoint, AuthorityError> {
        let url = with_segments(server, &["oauth2", "token"])?;
        let endpoint = TokenEndpoint::new(url, Profile::FusionAuth, ClientAuthentication::Post);
        Ok(endpoint.issuer(server.clone()))
    }
}

impl FusionAuthBuilder {
    /// The API key that the management requests carry. Required.
    pub fn api_key(mut self, key: Secret) -> Self {
        self.key = Some(key);
        self
    }

    /// The id of the application, where it is not the client id.
    pub fn application(mut self, id: impl Into<String>) -> Self {
        self.application = Some(id.into());
        self
    }

    /// The id of the tenant, where there are several and the API key is not limited to one.
    pub fn tenant(mut self, id: impl Into<String>) -> Self {
        self.tenant = Some(id.into());
        self
    }

    /// How a secret is shown when it is proved; FusionAuth takes it either way. Post by default: the secrets
    /// that it makes itself hold characters that Basic encodes, and whether it decodes them is not known.
    pub fn authentication(mut self, authentication: ClientAuthentication) -> Self {
        self.authentication = authentication;
        self
    }

    /// How long nodes may disagree after a change. 30 s by default: FusionAuth does not say.
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
    /// [`AuthorityErrorKind::Configuration`] if the API key is missing, it or the tenant cannot be one, or the
    /// address is neither https nor loopback.
    pub fn build(self) -> Result<FusionAuth, AuthorityError> {
        let configuration =
            |message| AuthorityError::new(AuthorityErrorKind::Configuration, message);
        let key = self.key.ok_or_else(|| configuration("fusionauth: no API key is given"))?;
        let key = authorization(None, &key).ok_or_else(|| {
            configuration(
                "fusionauth: the API key cannot be one: it holds more than printable ASCII",
            )
        })?;
        let tenant = self.tenant.map(|tenant| HeaderValue::from_str(&tenant)).transpose();
        let tenant = tenant.map_err(|_| {
            configuration("fusionauth: the id of the tenant cannot be one: it is a UUID")
        })?;
        let http = client_for("fusionauth", &[&self.server])?;
        let introspect = with_segments(&self.server, &["oauth2", "introspect"])?;
        let probe = ProbeRequest::new(http.clone(), introspect, self.client.clone())
            .profile(Profile::FusionAuth)
            .authentication(self.authentication)
            .introspecting("none");
        let application = self.application.as_ref().unwrap_or(&self.client);
        Ok(FusionAuth {
            application_url: with_segments(&self.server, &["api", "application", application])?,
            http,
            server: self.server,
            client: self.client,
            key,
            tenant,
            probe,
            propagation_window: self.propagation_window,
            turns: Turns::new(self.pace),
        })
    }
}

/// What the API answers.
#[derive(Deserialize)]
struct Message {
    application: Application,
}

/// The parts of an application that matter here. The secret is in it: no `Debug`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Application {
    active: Option<bool>,
    oauth_configuration: Option<Configuration>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Configuration {
    client_id: Option<String>,
    client_secret: Option<Zeroizing<String>>,
    client_authentication_policy: Option<String>,
}

impl Authority for FusionAuth {
    fn capabilities(&self) -> Capabilities {
        Self::usual().propagation_window(self.propagation_window)
    }

    async fn ready(&self) {
        self.turns.take_ahead().await;
    }

    async fn check(&self) -> Result<(), AuthorityError> {
        let application = self.application_now().await?;
        let unsupported = |message: String| {
            Err(AuthorityError::new(AuthorityErrorKind::UnsupportedClient, message))
        };
        let configuration = application.oauth_configuration;
        if configuration.as_ref().and_then(|own| own.client_id.as_deref()) != Some(&self.client) {
            return Err(AuthorityError::new(
                AuthorityErrorKind::Configuration,
                format!(
                    "the application has another client id than {}: check which application it is",
                    self.client
                ),
            ));
        }
        if application.active == Some(false) {
            return unsupported(format!(
                "the application of client {} is not active, so no secret of it can be proved: activate it",
                self.client
            ));
        }
        let policy = configuration.and_then(|own| own.client_authentication_policy);
        if policy.as_deref() == Some("NotRequired") {
            return unsupported(format!(
                "client {} need not show its secret (clientAuthenticationPolicy is NotRequired): require \
                 client authentication first",
                self.client
            ));
        }
        self.check_proof().await
    }

    async fn describe(&self, asked: &Asked<'_>) -> Vec<Request> {
        written_down(self, asked).await
    }

    async fn probe(&self, secret: &Secret) -> Probe {
        self.probe.send(secret).await
    }

    async fn set_secret(&self, secret: &Secret) -> ChangeAnswer {
        // The same bytes each time: a request that is repeated sets the same value.
        let before = r#"{"application":{"oauthConfiguration":{"clientSecret":"#;
        let body = body_with_secret(before, secret, "}}}");
        let answer = match self.call(Method::PATCH, Some(body)).await {
            Ok(answer) => answer,
            Err(error) => return ChangeAnswer::Unknown(lost(&error)),
        };
        if let Some(change) = answer.as_change(|| self.refused(&answer, "change its secret")) {
            return change;
        }
        let Some(Message { application }) = answer.json() else {
            return ChangeAnswer::Unknown(format!("{} with something else", answer.said()));
        };
        let value = application.oauth_configuration.and_then(|own| own.client_secret);
        match value {
            Some(value) if secret.matches(&value) => ChangeAnswer::Applied,
            _ => ChangeAnswer::Unknown("the answer does not name the new secret".to_owned()),
        }
    }

    async fn read_back(&self, known: &[Secret]) -> ReadBack {
        let value = match self.application_now().await {
            Ok(application) => application.oauth_configuration.and_then(|own| own.client_secret),
            Err(error) => return ReadBack::Unavailable(error.to_string()),
        };
        let Some(value) = value else {
            return ReadBack::Unavailable("FusionAuth does not show the secret".to_owned());
        };
        match known.iter().find(|secret| secret.matches(&value)) {
            Some(secret) => ReadBack::Holds(secret.id().clone()),
            None => ReadBack::Other,
        }
    }
}

impl FusionAuth {
    async fn call(
        &self,
        method: Method,
        body: Option<reqwest::Body>,
    ) -> Result<Answer, reqwest::Error> {
        let mut request = self
            .http
            .request(method, self.application_url.clone())
            .header(AUTHORIZATION, self.key.clone());
        if let Some(tenant) = &self.tenant {
            request = request.header(TENANT, tenant.clone());
        }
        if let Some(body) = body {
            request = request.header(CONTENT_TYPE, "application/json").body(body);
        }
        send(&self.turns, request).await
    }

    async fn application_now(&self) -> Result<Application, AuthorityError> {
        let answer = ask(|| self.call(Method::GET, None)).await;
        let answer = answer.map_err(|error| unreachable(&self.server, &error))?;
        if !answer.status.is_success() {
            return Err(self.refused(&answer, "read it"));
        }
        let message: Message = answer.json().ok_or_else(|| self.not_fusionauth(&answer))?;
        Ok(message.application)
    }

    /// Whether a secret that nobody has is refused: else an acceptance would be no proof.
    async fn check_proof(&self) -> Result<(), AuthorityError> {
        let unexpected = |message| AuthorityError::new(AuthorityErrorKind::Unexpected, message);
        let nobodys = Generator::default().generate();
        let nobodys = nobodys.map_err(|error| unexpected(error.to_string()))?;
        match self.probe.send(&nobodys).await {
            Probe::Refused => Ok(()),
            Probe::Accepted => Err(unexpected(format!(
                "FusionAuth at {} takes any secret of client {} at an introspection, so none can be proved: \
                 versions before 1.46 do not look at it there",
                self.host(),
                self.client
            ))),
            Probe::Inconclusive(reason) => Err(unexpected(format!(
                "whether FusionAuth at {} refuses a wrong secret cannot be told ({reason}), so none can be \
                 proved: check that the address is that of the server itself",
                self.host()
            ))),
        }
    }

    fn host(&self) -> &str {
        self.server.host_str().unwrap_or("an unnamed host")
    }

    fn not_fusionauth(&self, answer: &Answer) -> AuthorityError {
        AuthorityError::new(
            AuthorityErrorKind::Unexpected,
            format!(
                "{} at {} with something that is not an answer of FusionAuth's Application API: check that \
                 the address is that of a FusionAuth, and that no proxy answers for it",
                answer.said(),
                self.host()
            ),
        )
    }

    /// The refusal in words. Nothing of the body is used: messages may repeat a value.
    fn refused(&self, answer: &Answer, doing: &str) -> AuthorityError {
        if let Some(error) = answer.as_transient() {
            return error;
        }
        // Its errors are JSON, or have no body at all.
        if !answer.is_empty() && answer.json::<IgnoredAny>().is_none() {
            return self.not_fusionauth(answer);
        }
        let (client, host, status) = (&self.client, self.host(), answer.status.as_u16());
        let (kind, message) = match answer.status {
            // One answer for both.
            StatusCode::UNAUTHORIZED => (
                AuthorityErrorKind::Credentials,
                format!(
                    "FusionAuth at {host} does not let the API key {doing} (client {client}): check the key, \
                     and that it has GET and PATCH on /api/application (Settings, API Keys)"
                ),
            ),
            StatusCode::NOT_FOUND => (
                AuthorityErrorKind::NoSuchClient,
                format!(
                    "FusionAuth at {host} does not know the application of client {client}: check the id of \
                     the application, and the tenant (`tenant_id`)"
                ),
            ),
            _ => (
                AuthorityErrorKind::Refused,
                format!(
                    "FusionAuth refuses to {doing} for client {client} with status {status}: where there are \
                     several tenants it wants to know which (`tenant_id`)"
                ),
            ),
        };
        AuthorityError::new(kind, message)
    }
}

impl fmt::Debug for FusionAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FusionAuth")
            .field("host", &self.host())
            .field("client", &self.client)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn builder(key: &str) -> FusionAuthBuilder {
        let server = "https://shop.fusionauth.io/under/".parse().unwrap();
        let key = Secret::new("key".parse().unwrap(), key).unwrap();
        FusionAuth::builder(server, "billing").api_key(key)
    }

    #[test]
    fn the_key_stands_alone_in_its_header_and_is_shown_nowhere() {
        let builder = builder("key-value").tenant("30663132-6464-6665-3032-326466613934");
        let shown = format!("{builder:?}");
        let authority = builder.build().unwrap();
        assert_eq!(authority.key, "key-value");
        let url = "https://shop.fusionauth.io/under/api/application/billing";
        assert_eq!(authority.application_url.as_str(), url);
        let shown = format!("{shown} {authority:?} {:?}", authority.key);
        assert!(shown.contains("billing") && !shown.contains("key-value"), "{shown}");
    }

    #[test]
    fn what_is_missing_or_impossible_is_named() {
        let refused = |builder: FusionAuthBuilder| {
            let error = builder.build().unwrap_err();
            assert_eq!(error.kind(), AuthorityErrorKind::Configuration);
            error.to_string()
        };
        assert!(refused(FusionAuthBuilder { key: None, ..builder("x") }).contains("no API key"));
        let error = refused(builder("a kéy"));
        assert!(error.contains("printable ASCII") && !error.contains("kéy"), "{error}");
        assert!(refused(builder("x").tenant("a\nb")).contains("a UUID"));
        let plain = "http://shop.fusionauth.io".parse().unwrap();
        assert!(
            refused(FusionAuthBuilder { server: plain, ..builder("x") }).contains("fusionauth: ")
        );
    }
}
