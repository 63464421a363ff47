//! The vendor as which a server answers.

use std::fmt;
use std::sync::Arc;

use axum::Router;

use crate::core::Core;
use crate::registration::AtUpdate;
use crate::several::Rules;
use crate::{
    auth0, cognito, entra, fusionauth, hydra, keycloak, okta, registration, wso2, zitadel,
};

/// The vendor as which a server answers.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum Provider {
    /// Auth0: one secret a client. Management requests carry a token of a client.
    #[default]
    Auth0,
    /// Amazon Cognito: up to two secrets an app client, of the user pool `eu-west-1_keyswap`. Management requests are signed
    /// with an AWS access key, registered as the API token `ID:KEY`, or `ID:KEY:ACTION,ACTION` where it may do these alone.
    /// One whose id begins with `ASIA` is temporary: requests carry the session token `until-SECONDS` with it, and are
    /// refused after that second of Unix time. A client whose [authentication](crate::ClientAuthentication) is `None` has
    /// no secret. What else the API shows of a client is what it was given as [attribute](crate::Client::attribute). Users
    /// left clients with the grant type `refresh_token` the refresh token `refresh-token-of-CLIENT`.
    Cognito,
    /// Microsoft Entra ID: several secrets an application, whose values the server chooses. Management requests carry a
    /// token of a client, whose scopes are its application permissions, and what they list lags behind as the nodes do.
    /// A client whose [authentication](crate::ClientAuthentication) is `None` is a managed identity, which has no
    /// application; one with a key has no secret.
    Entra,
    /// Ory Hydra up to v26.2.0: one secret a client. Management requests carry nothing; clients get tokens for scopes
    /// that they are [granted](crate::Client::grant), and authenticate in the way that they are registered for.
    Hydra,
    /// A later Ory Hydra: the client's secret and up to five of before, all of which it takes and none of which it shows.
    /// The server chooses the value of one that comes beside the others.
    HydraWithRotatedSecrets,
    /// Keycloak, with the realm `shop`: one secret a client. Management requests carry a token of a client whose service
    /// account has the role `manage-clients` or `view-clients`, which are the [scopes](crate::Client::scopes) of its
    /// [management grant](crate::Client::management). Clients with the grant type `client_credentials` have a service
    /// account.
    Keycloak,
    /// FusionAuth: one secret an application. Management requests carry an API key as with Okta, and may name the tenant,
    /// which is what the client is [granted](crate::Client::grant). Applications get tokens by the refresh token
    /// `refresh-token-of-CLIENT`, which a user left them.
    FusionAuth,
    /// Okta: up to two secrets a client, each active or not. Management requests carry an API token; clients get tokens
    /// at custom authorization servers, for scopes that they ask for.
    Okta,
    /// A server at which a client manages its own registration (RFC 7592), at `/register/CLIENT`, with the registration
    /// access token that the server was given as [API token](crate::Builder::api_token).
    Registration {
        /// What an update does to the client's secret.
        at_update: AtUpdate,
        /// Whether each update brings another registration access token, in its answer alone.
        rotates_token: bool,
    },
    /// WSO2 Identity Server, with the organization `shop` in the path: two secrets an application, whose values the server
    /// chooses, and of which the newest is never removed. Management requests carry a token of a client with the scopes
    /// of the API. A client that signs in without a secret is a public one, and an application is as an earlier version
    /// made it: the name of its first secret changes when another one is added.
    Wso2 {
        /// Whether the server keeps hashes of secrets in place of their values.
        hashes: bool,
    },
    /// Zitadel: one secret an application, whose value the server chooses. Management requests carry a token as with
    /// Okta, and name the project, which is what the client is [granted](crate::Client::grant). Applications get tokens
    /// by the refresh token `refresh-token-of-CLIENT`, which a user left them.
    Zitadel,
}

impl Provider {
    pub(crate) fn router(self, core: Arc<Core>) -> Router {
        match self {
            Self::Auth0 => auth0::router(core),
            Self::Cognito => cognito::router(core),
            Self::Entra => entra::router(core),
            Self::Hydra => hydra::router(core, false),
            Self::HydraWithRotatedSecrets => hydra::router(core, true),
            Self::Keycloak => keycloak::router(core),
            Self::FusionAuth => fusionauth::router(core),
            Self::Okta => okta::router(core),
            Self::Registration { .. } => registration::router(core),
            Self::Wso2 { hashes } => wso2::router(core, hashes),
            Self::Zitadel => zitadel::router(core),
        }
    }

    /// Where programs get tokens.
    pub(crate) fn token_path(self) -> &'static str {
        match self {
            Self::Auth0 => "/oauth/token",
            Self::Cognito => cognito::TOKEN_PATH,
            Self::Entra => entra::TOKEN_PATH,
            Self::Hydra | Self::HydraWithRotatedSecrets => "/oauth2/token",
            Self::Keycloak => keycloak::TOKEN_PATH,
            Self::FusionAuth => "/oauth2/token",
            Self::Okta => "/oauth2/default/v1/token",
            Self::Registration { .. } => "/token",
            Self::Wso2 { .. } => wso2::TOKEN_PATH,
            Self::Zitadel => "/oauth/v2/token",
        }
    }

    /// What is done with the secrets of a client, where it has several at once.
    pub(crate) fn several(self) -> Option<Rules> {
        match self {
            Self::Auth0
            | Self::FusionAuth
            | Self::Hydra
            | Self::Keycloak
            | Self::Registration { .. }
            | Self::Zitadel => None,
            Self::Cognito => Some(cognito::RULES),
            Self::Entra => Some(entra::RULES),
            Self::HydraWithRotatedSecrets => Some(hydra::RULES),
            Self::Okta => Some(okta::RULES),
            Self::Wso2 { .. } => Some(wso2::RULES),
        }
    }
}

/// A token of a management API that somebody made by hand and that does not expire.
#[derive(Clone)]
pub(crate) struct ApiToken {
    pub(crate) token: String,
    pub(crate) reads_only: bool,
}

impl fmt::Debug for ApiToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiToken").field("reads_only", &self.reads_only).finish_non_exhaustive()
    }
}
