//! What management requests carry: an API token, or the access token of a service app.

use std::time::Duration;

use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Method, StatusCode};
use keyswap_oauth::{Token, TokenError, TokenErrorKind, TokenSource};
use url::Url;

use crate::authority::http::{
    Answer, DEFAULT_PAUSE, cause, client_for, lost, send, unreachable, with_segments,
};
use crate::authority::pace::Turns;
use crate::authority::private_key::{Asserting, PrivateKey};
use crate::authority::{AuthorityError, AuthorityErrorKind, ChangeAnswer};

/// What a service app asks for: to read and change applications.
pub(super) const SCOPE: &str = "okta.apps.manage";

/// A service app, and the key that it signs in with.
#[derive(Clone, Debug)]
pub(super) struct ServiceApp {
    pub(super) client: String,
    pub(super) key: PrivateKey,
    pub(super) key_id: Option<String>,
}

/// What management requests carry.
pub(super) enum Management {
    ApiToken(HeaderValue),
    ServiceApp(TokenSource),
}

/// A request without an answer.
pub(super) enum Failure {
    /// It was not sent.
    NoToken(TokenError),
    Lost(reqwest::Error),
}

impl Management {
    /// The service app of this org, of which no token is fetched yet.
    pub(super) fn service_app(org: &Url, app: ServiceApp) -> Result<Self, AuthorityError> {
        // Tokens for Okta's own APIs come from the org's own server alone.
        let endpoint = with_segments(org, &["oauth2", "v1", "token"])?;
        let ServiceApp { client, key, key_id } = app;
        let asserting = Asserting { key, key_id, client, audience: endpoint.to_string() };
        let http = client_for("okta", &[org])?;
        let http = reqwest_middleware::ClientBuilder::new(http).with(asserting).build();
        Ok(Self::ServiceApp(TokenSource::new(http, endpoint).parameter("scope", SCOPE)))
    }

    pub(super) fn is_service_app(&self) -> bool {
        matches!(self, Self::ServiceApp(_))
    }

    /// Has what the next request carries.
    pub(super) async fn ready(&self) {
        if let Self::ServiceApp(tokens) = self {
            // Without a token nothing is sent, and the request says why.
            let _ = tokens.token().await;
        }
    }

    /// Sends a request. An access token that is refused is renewed once, and the same request is sent again: it was
    /// turned away before it was looked at.
    pub(super) async fn call(
        &self,
        (http, turns): (&reqwest::Client, &Turns),
        (method, url): (Method, &Url),
        body: impl Fn() -> Option<reqwest::Body> + Send + Sync,
    ) -> Result<Answer, Failure> {
        let request = || {
            let request = http.request(method.clone(), url.clone());
            match body() {
                Some(body) => request.header(CONTENT_TYPE, "application/json").body(body),
                None => request,
            }
        };
        let tokens = match self {
            Self::ApiToken(token) => {
                let request = request().header(AUTHORIZATION, token.clone());
                return send(turns, request).await.map_err(Failure::Lost);
            }
            Self::ServiceApp(tokens) => tokens,
        };
        let with = async |token: Token| {
            send(turns, request().bearer_auth(token.expose())).await.map_err(Failure::Lost)
        };
        let token = tokens.token().await.map_err(Failure::NoToken)?;
        let answer = with(token.clone()).await?;
        if answer.status != StatusCode::UNAUTHORIZED {
            return Ok(answer);
        }
        with(tokens.renew(&token).await.map_err(Failure::NoToken)?).await
    }
}

impl Failure {
    /// What it means for a question.
    pub(super) fn into_error(self, org: &Url) -> AuthorityError {
        match self {
            Self::NoToken(error) => no_token(&error),
            Self::Lost(error) => unreachable(org, &error),
        }
    }

    /// What it means for a change.
    pub(super) fn into_change(self) -> ChangeAnswer {
        match self {
            Self::NoToken(error) if error.is_transient() => {
                ChangeAnswer::RetryAfter(error.retry_after().unwrap_or(DEFAULT_PAUSE))
            }
            Self::NoToken(error) => ChangeAnswer::Refused(no_token(&error)),
            Self::Lost(error) => ChangeAnswer::Unknown(lost(&error)),
        }
    }
}

fn no_token(error: &TokenError) -> AuthorityError {
    let (kind, way_out) = match (error.kind(), error.error_code()) {
        (TokenErrorKind::Unreachable, _) => (
            AuthorityErrorKind::Unreachable,
            "check the org's address, the network and the clock".to_owned(),
        ),
        (_, Some("invalid_scope")) => (
            AuthorityErrorKind::Permissions,
            format!(
                "grant the service app the scope {SCOPE} (in the admin console: Applications > Applications > the \
                 service app > Okta API Scopes), and an administrator role that may manage the application (there: \
                 Admin roles)"
            ),
        ),
        (_, Some("invalid_dpop_proof")) => (
            AuthorityErrorKind::Configuration,
            "the service app asks for a proof of possession (DPoP), which keyswap does not send: switch that off \
             (in the admin console: Applications > Applications > the service app > General)"
                .to_owned(),
        ),
        (TokenErrorKind::Refused { status: 400 | 401 }, _) => (
            AuthorityErrorKind::Credentials,
            "check the client id of the service app, that it authenticates with a public key, that the key is one of \
             those that are registered and active there (`management_key_id` says which), and the clock"
                .to_owned(),
        ),
        (TokenErrorKind::Refused { status: 429 }, _) => {
            (AuthorityErrorKind::Throttled, "come back later".to_owned())
        }
        _ => (
            AuthorityErrorKind::Unexpected,
            "check that the address is that of an Okta org (not its -admin address)".to_owned(),
        ),
    };
    let mut message = format!("no management token: {error}");
    if let Some(source) = std::error::Error::source(error) {
        message.push_str(&format!(" ({})", cause(source)));
    }
    if let Some(pause) = error.retry_after().filter(|pause| *pause > Duration::ZERO) {
        message.push_str(&format!(", and says to wait {} s", pause.as_secs()));
    }
    AuthorityError::new(kind, format!("{message}; {way_out}"))
}
