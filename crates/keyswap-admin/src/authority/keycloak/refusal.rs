//! What Keycloak refuses, in words. Of an answer only short error codes are used: others may repeat a value.

use http::StatusCode;
use keyswap_oauth::{TokenError, TokenErrorKind};
use serde::Deserialize;

use super::super::http::{Answer, error_code};
use super::super::management::no_token;
use super::super::{AuthorityError, AuthorityErrorKind};
use super::Keycloak;

/// An error of the admin API: one of both, and sometimes a description.
#[derive(Deserialize)]
struct Refusal {
    error: Option<String>,
    #[serde(rename = "errorMessage")]
    message: Option<serde::de::IgnoredAny>,
}

impl Keycloak {
    pub(super) fn no_token(&self, error: &TokenError) -> AuthorityError {
        let (id, realm) = (&self.management.0, &self.management.1);
        let (kind, way_out) = match error.kind() {
            TokenErrorKind::Unreachable => (
                AuthorityErrorKind::Unreachable,
                "check the address of the server and the network".to_owned(),
            ),
            TokenErrorKind::Refused { status: 404 } => (
                AuthorityErrorKind::Configuration,
                format!(
                    "there is no realm {realm} at this address: check the realm, and the path in `url`, which \
                     ends in /auth where the server is set up so (http-relative-path), and else has none"
                ),
            ),
            TokenErrorKind::Refused { status: 400 | 401 } => (
                AuthorityErrorKind::Credentials,
                format!(
                    "check the id and the secret of the management client {id} in realm {realm}, and that it may \
                     have tokens of its own (Clients > {id} > Settings: Client authentication and Service \
                     accounts roles are on) and send its secret in the body"
                ),
            ),
            TokenErrorKind::Refused { status: 429 } => {
                (AuthorityErrorKind::Throttled, "come back later".to_owned())
            }
            TokenErrorKind::Refused { status } if status >= 500 => {
                (AuthorityErrorKind::Unreachable, "come back later".to_owned())
            }
            _ => (
                AuthorityErrorKind::Unexpected,
                "check that the address is that of a Keycloak, and that no proxy answers for it"
                    .to_owned(),
            ),
        };
        no_token(error, kind, &way_out)
    }

    pub(super) fn missing_role(&self, doing: &str, role: &str) -> AuthorityError {
        let (id, realm) = (&self.management.0, &self.management.1);
        if *realm != self.realm && realm != "master" {
            return AuthorityError::new(
                AuthorityErrorKind::Permissions,
                format!(
                    "the management client {id} of realm {realm} may not {doing} (client {} of realm {}): take one \
                     of realm {} itself, or of realm master",
                    self.client, self.realm, self.realm
                ),
            );
        }
        // The roles for a realm are those of a client of it, and of another one in the realm `master`.
        let of = match *realm == self.realm {
            true => "realm-management".to_owned(),
            false => format!("{}-realm", self.realm),
        };
        AuthorityError::new(
            AuthorityErrorKind::Permissions,
            format!(
                "the management client {id} may not {doing} (client {} of realm {}): give its service account \
                 the role {role} of {of} (in realm {realm}: Clients > {id} > Service accounts roles > Assign role)",
                self.client, self.realm
            ),
        )
    }

    pub(super) fn no_such_client(&self) -> AuthorityError {
        AuthorityError::new(
            AuthorityErrorKind::NoSuchClient,
            format!(
                "realm {} at {} has no client {} that the management client {} may see: check the client id, as the \
                 list of clients shows it, and the realm",
                self.realm,
                self.host(),
                self.client,
                self.management.0
            ),
        )
    }

    pub(super) fn not_keycloak(&self, answer: &Answer) -> AuthorityError {
        AuthorityError::new(
            AuthorityErrorKind::Unexpected,
            format!(
                "{} at {} with something that is not an answer of Keycloak's admin API: check the address with \
                 its path, and that no proxy answers for it",
                answer.said(),
                self.host()
            ),
        )
    }

    pub(super) fn refused(&self, answer: &Answer, doing: &str, role: &str) -> AuthorityError {
        if let Some(error) = answer.as_transient() {
            return error;
        }
        let Some(refusal) = answer.json::<Refusal>() else { return self.not_keycloak(answer) };
        if refusal.error.is_none() && refusal.message.is_none() {
            return self.not_keycloak(answer);
        }
        let code = refusal.error.and_then(error_code);
        let code = code.map(|code| format!(" ({code})")).unwrap_or_default();
        let (client, realm, host) = (&self.client, &self.realm, self.host());
        let status = answer.status.as_u16();
        let (kind, message) = match answer.status {
            StatusCode::UNAUTHORIZED => (
                AuthorityErrorKind::Credentials,
                format!(
                    "Keycloak at {host} does not take the token of the management client {}{code}: check that it \
                     is of realm {}",
                    self.management.0, self.management.1
                ),
            ),
            StatusCode::FORBIDDEN => return self.missing_role(doing, role),
            StatusCode::NOT_FOUND => (
                AuthorityErrorKind::NoSuchClient,
                format!(
                    "Keycloak at {host} has no realm {realm}, or no client {client} in it any more{code}: check \
                     the realm and the client id"
                ),
            ),
            _ => (
                AuthorityErrorKind::Refused,
                format!(
                    "Keycloak refuses to {doing} for client {client} of realm {realm} with status {status}{code}: a \
                     client policy of the realm, or a setting of the client that is not valid any more, may be \
                     against it. Saving the client at the console says which"
                ),
            ),
        };
        AuthorityError::new(kind, message)
    }
}
