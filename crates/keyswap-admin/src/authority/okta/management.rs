//! What management requests carry: an API token, or the access token of a service app.

use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Method};
use keyswap_oauth::{TokenError, TokenErrorKind, TokenSource};
use url::Url;

use crate::authority::http::{Answer, client_for, send, with_segments};
use crate::authority::management::{Failure, ManagementTokens, no_token as told};
use crate::authority::pace::Turns;
use crate::authority::private_key::{Asserting, PrivateKey};
use crate::authority::{AuthorityError, AuthorityErrorKind};

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
    ServiceApp(ManagementTokens),
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
        let tokens = TokenSource::new(http, endpoint).parameter("scope", SCOPE);
        Ok(Self::ServiceApp(ManagementTokens::new(tokens)))
    }

    pub(super) fn is_service_app(&self) -> bool {
        matches!(self, Self::ServiceApp(_))
    }

    /// Has what the next request carries.
    pub(super) async fn ready(&self) {
        if let Self::ServiceApp(tokens) = self {
            tokens.ready().await;
        }
    }

    /// Sends a request.
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
        match self {
            Self::ApiToken(token) => {
                let request = request().header(AUTHORIZATION, token.clone());
                send(turns, request).await.map_err(Failure::Lost)
            }
            Self::ServiceApp(tokens) => tokens.send(turns, request).await,
        }
    }
}

/// Why there is no access token of the service app.
pub(super) fn no_token(error: &TokenError) -> AuthorityError {
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
    told(error, kind, &way_out)
}
