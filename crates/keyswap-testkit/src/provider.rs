//! The vendor as which a server answers.

use std::fmt;
use std::sync::Arc;

use axum::Router;

use crate::core::Core;
use crate::{auth0, okta, zitadel};

/// The vendor as which a server answers.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum Provider {
    /// Auth0: one secret a client. Management requests carry a token of a client.
    #[default]
    Auth0,
    /// Okta: up to two secrets a client, each active or not. Management requests carry an API token; clients get tokens
    /// at custom authorization servers, for scopes that they ask for.
    Okta,
    /// Zitadel: one secret an application, whose value the server chooses. Management requests carry a token as with
    /// Okta, and name the project, which is what the client is [granted](crate::Client::grant). Applications get tokens
    /// by the refresh token `refresh-token-of-CLIENT`, which a user left them.
    Zitadel,
}

impl Provider {
    pub(crate) fn router(self, core: Arc<Core>) -> Router {
        match self {
            Self::Auth0 => auth0::router(core),
            Self::Okta => okta::router(core),
            Self::Zitadel => zitadel::router(core),
        }
    }

    /// Where programs get tokens.
    pub(crate) fn token_path(self) -> &'static str {
        match self {
            Self::Auth0 => "/oauth/token",
            Self::Okta => "/oauth2/default/v1/token",
            Self::Zitadel => "/oauth/v2/token",
        }
    }

    pub(crate) fn holds_several(self) -> bool {
        self == Self::Okta
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
