//! What WSO2 refuses, in words.

use http::StatusCode;
use keyswap_oauth::{TokenError, TokenErrorKind};
use serde::Deserialize;

use super::super::http::Answer;
use super::super::management::no_token;
use super::super::{AuthorityError, AuthorityErrorKind, SlotId};
use super::{SCOPES, Wso2};

/// An error of the API. Its texts may repeat what was sent, and are not read.
#[derive(Deserialize)]
struct Refusal {
    code: String,
}

/// The code of an error, for instance `OAUTH-60011`, if it is one: a short name, and nothing that could be a value.
fn code(answer: &Answer) -> Option<String> {
    let code = answer.json::<Refusal>()?.code;
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    (code.len() <= 32 && code.bytes().all(is_part)).then_some(code)
}

fn says(answer: &Answer, status: StatusCode, number: &str) -> bool {
    answer.status == status && code(answer).is_some_and(|code| code.ends_with(number))
}

/// `CLIENT_SECRET_LIMIT_REACHED`.
pub(super) fn has_no_room(answer: &Answer) -> bool {
    says(answer, StatusCode::CONFLICT, "60011")
}

/// `INVALID_DELETE`.
pub(super) fn is_the_newest(answer: &Answer) -> bool {
    says(answer, StatusCode::CONFLICT, "60006")
}

/// `INVALID_SECRET_ID`.
pub(super) fn knows_no_such_secret(answer: &Answer) -> bool {
    says(answer, StatusCode::NOT_FOUND, "60010")
}

/// Whether it is the answer of a server to an address that it does not know.
pub(super) fn has_no_such_call(answer: &Answer) -> bool {
    let unknown = matches!(answer.status, StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED);
    unknown && code(answer).is_none()
}

impl Wso2 {
    fn host(&self) -> &str {
        self.base.host_str().unwrap_or("an unnamed host")
    }

    pub(super) fn no_token(&self, error: &TokenError) -> AuthorityError {
        let (kind, way_out) = match error.kind() {
            TokenErrorKind::Unreachable => {
                (AuthorityErrorKind::Unreachable, "check the address and the network")
            }
            TokenErrorKind::Refused { status: 400 | 401 } => (
                AuthorityErrorKind::Credentials,
                "check the management client's id and secret, that it may use the client credentials grant, and the \
                 tenant or organization in the address",
            ),
            TokenErrorKind::Refused { status: 429 } => {
                (AuthorityErrorKind::Throttled, "come back later")
            }
            _ => (
                AuthorityErrorKind::Unexpected,
                "check the address with the tenant or organization in it, and that no proxy answers for it",
            ),
        };
        no_token(error, kind, &format!("WSO2 at {}: {way_out}", self.host()))
    }

    pub(super) fn missing_scope(&self, scope: &str) -> AuthorityError {
        AuthorityError::new(
            AuthorityErrorKind::Permissions,
            format!(
                "the management client {} lacks the scope {scope} (client {}): in the console, under Applications > \
                 the management client > API Authorization, authorize the Application Management API with the scopes \
                 {}",
                self.management,
                self.client,
                SCOPES.join(", ")
            ),
        )
    }

    pub(super) fn lacks_the_call(&self) -> AuthorityError {
        AuthorityError::new(
            AuthorityErrorKind::Unsupported,
            format!(
                "the WSO2 at {} has no call for several secrets of a client (inbound-protocols/oidc/secrets): update \
                 it. All that earlier versions can do is to regenerate the secret, which ends every token of the client \
                 at once, and keyswap does not do that",
                self.host()
            ),
        )
    }

    pub(super) fn not_wso2(&self, answer: &Answer) -> AuthorityError {
        AuthorityError::new(
            AuthorityErrorKind::Unexpected,
            format!(
                "{} at {} with something that is not an answer of WSO2's Application Management API: check the \
                 address with the tenant or organization in it, and that no proxy answers for it",
                answer.said(),
                self.host()
            ),
        )
    }

    pub(super) fn no_room(&self) -> AuthorityError {
        AuthorityError::new(
            AuthorityErrorKind::Refused,
            format!(
                "WSO2 at {} lets client {} have no further secret: remove one that nobody uses, which cannot be the \
                 newest, or have the administrator raise the limit ({LIMIT})",
                self.host(),
                self.client
            ),
        )
    }

    /// That one was added, that its value is lost, and what remains to be done.
    pub(super) fn value_is_lost(&self, slot: &SlotId) -> AuthorityError {
        AuthorityError::new(
            AuthorityErrorKind::Refused,
            format!(
                "WSO2 at {} has added the secret {slot} to client {}, and its value is lost with the answer: the \
                 server keeps hashes alone. It cannot be removed while it is the newest, and there is no room for \
                 another one. Have the administrator raise the limit ({LIMIT}), and then `keyswap resume`; or leave it \
                 with `keyswap rollback`",
                self.host(),
                self.client
            ),
        )
    }

    pub(super) fn stays(&self, slot: &SlotId) -> AuthorityError {
        AuthorityError::new(
            AuthorityErrorKind::Refused,
            format!(
                "WSO2 at {} does not remove {slot}, the newest secret of client {}: it can go when another one was \
                 added after it",
                self.host(),
                self.client
            ),
        )
    }

    /// What a person should know where the server keeps no values.
    pub(super) fn values_are_not_kept(&self) -> String {
        format!(
            "the server keeps secrets as hashes, so a new one whose answer is lost cannot be read, nor removed while it \
             is the newest. The rotation stops then, with the old one in force, and goes on when the limit is raised \
             ({LIMIT})"
        )
    }

    /// The refusal in words. Of the body only the code is used: texts may repeat what was sent.
    pub(super) fn refused(&self, answer: &Answer, doing: &str, scope: &str) -> AuthorityError {
        if let Some(error) = answer.as_transient() {
            return error;
        }
        let (client, host, status) = (&self.client, self.host(), answer.status.as_u16());
        let code = code(answer);
        let said = code.as_ref().map(|code| format!(" ({code})")).unwrap_or_default();
        let is = |wanted: &str| code.as_deref() == Some(wanted);
        let (kind, message) = match answer.status {
            StatusCode::UNAUTHORIZED => (
                AuthorityErrorKind::Credentials,
                format!(
                    "WSO2 at {host} does not take the token of the management client {}{said}: check that it is of \
                     the tenant or organization in the address",
                    self.management
                ),
            ),
            StatusCode::FORBIDDEN => return self.missing_scope(scope),
            _ if code.is_none() => return self.not_wso2(answer),
            _ if is("APP-60502") => (
                AuthorityErrorKind::UnsupportedClient,
                format!(
                    "the application {} signs in by another protocol than OAuth{said}, so there is no client secret \
                     to rotate: check `application_id`",
                    self.application
                ),
            ),
            status if status == StatusCode::NOT_FOUND || is("APP-60006") => (
                AuthorityErrorKind::NoSuchClient,
                format!(
                    "WSO2 at {host} has no application {} with client {client}{said}: check `application_id`, which \
                     stands in the address of the application's page in the console, and the tenant or organization \
                     in the address",
                    self.application
                ),
            ),
            _ => (
                AuthorityErrorKind::Refused,
                format!(
                    "WSO2 at {host} refuses to {doing} for client {client} with status {status}{said}"
                ),
            ),
        };
        AuthorityError::new(kind, message)
    }
}

/// Where the limit is set.
const LIMIT: &str =
    "MaxSecretCount of MultipleClientSecrets, oauth.multiple_client_secrets in deployment.toml";
