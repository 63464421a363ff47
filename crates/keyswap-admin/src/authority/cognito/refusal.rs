//! What the API of user pools refuses, in words.

use std::time::Duration;

use http::StatusCode;
use serde::Deserialize;
use serde_json::json;
use zeroize::Zeroizing;

use super::super::http::{Answer, DEFAULT_PAUSE, error_code};
use super::super::{AuthorityError, AuthorityErrorKind};
use super::builder::{Partition, region_of};
use super::pool::Cognito;
use super::requests::Action;

#[derive(Deserialize)]
struct Exception {
    #[serde(rename = "__type")]
    name: String,
    /// Compared, and never shown: it may repeat what was sent.
    #[serde(default, alias = "Message")]
    message: Zeroizing<String>,
}

/// The name of the exception, without the namespace that may stand before it, and its message.
fn exception(answer: &Answer) -> Option<(String, Zeroizing<String>)> {
    let Exception { name, message } = answer.json()?;
    let name = name.rsplit('#').next()?.split(':').next()?.to_owned();
    let name = error_code(name).filter(|name| !name.is_empty())?;
    Some((name, message))
}

/// How long to wait, if there were too many requests: that is said with status 400, and not for how long.
pub(super) fn turned_away(answer: &Answer) -> Option<Duration> {
    let busy = ["TooManyRequestsException", "ThrottlingException", "Throttling"];
    let is_busy = |(name, _): (String, _)| busy.contains(&name.as_str());
    match answer.status == StatusCode::BAD_REQUEST && exception(answer).is_some_and(is_busy) {
        true => Some(DEFAULT_PAUSE),
        false => answer.turned_away(),
    }
}

/// Whether what was to be deleted is not there, in a user pool and at an app client that are.
pub(super) fn knows_no_such_secret(answer: &Answer) -> bool {
    exception(answer).is_some_and(|(name, message)| {
        name == "ResourceNotFoundException" && !message.starts_with("User pool")
    })
}

/// Whether AWS does not take the credentials, whatever they may do.
pub(super) fn refuses_credentials(answer: &Answer) -> bool {
    exception(answer).is_some_and(|(name, _)| is_about_credentials(&name))
}

fn is_about_credentials(name: &str) -> bool {
    matches!(
        name,
        "ExpiredToken"
            | "ExpiredTokenException"
            | "IncompleteSignatureException"
            | "InvalidClientTokenId"
            | "InvalidSignatureException"
            | "MissingAuthenticationTokenException"
            | "UnrecognizedClientException"
    )
}

impl Cognito {
    pub(super) fn no_credentials(&self, reason: &str) -> AuthorityError {
        AuthorityError::new(
            AuthorityErrorKind::Credentials,
            format!(
                "no AWS credentials for user pool {}: {reason}; give it those that AWS's own tools use: AWS_PROFILE, \
                 AWS_ACCESS_KEY_ID, or the role of this machine",
                self.pool
            ),
        )
    }

    pub(super) fn not_cognito(&self, answer: &Answer) -> AuthorityError {
        AuthorityError::new(
            AuthorityErrorKind::Unexpected,
            format!(
                "{} at {} with something that is not an answer of Cognito's API: check the endpoint, and that no \
                 proxy answers for it",
                answer.said(),
                self.host()
            ),
        )
    }

    /// What a policy of the credentials has to say.
    fn statement(&self) -> String {
        let region = region_of(&self.pool).unwrap_or("*");
        let partition = Partition::of(region).name;
        let actions = Action::ALL.map(|action| format!("cognito-idp:{}", action.name()));
        json!({
            "Effect": "Allow",
            "Action": actions,
            "Resource": format!("arn:{partition}:cognito-idp:{region}:*:userpool/{}", self.pool),
        })
        .to_string()
    }

    /// The refusal in words.
    pub(super) fn refused(&self, answer: &Answer, action: Action) -> AuthorityError {
        let (client, pool) = (&self.client, &self.pool);
        if turned_away(answer).is_some() {
            return AuthorityError::new(
                AuthorityErrorKind::Throttled,
                format!("too many requests of the account for user pool {pool}: come back later"),
            );
        }
        if let Some(error) = answer.as_transient() {
            return error;
        }
        let Some((name, message)) = exception(answer) else { return self.not_cognito(answer) };
        let (kind, message) = match name.as_str() {
            "ExpiredToken" | "ExpiredTokenException" => (
                AuthorityErrorKind::Credentials,
                format!(
                    "the AWS credentials have expired ({name}): renew them, for instance by assuming the role again"
                ),
            ),
            name if is_about_credentials(name) => (
                AuthorityErrorKind::Credentials,
                format!(
                    "AWS does not take the credentials ({name}): check which ones are used, and the clock of this \
                     machine"
                ),
            ),
            "AccessDeniedException" | "NotAuthorizedException" => (
                AuthorityErrorKind::Permissions,
                format!(
                    "the AWS credentials may not {} of app client {client}: they lack cognito-idp:{} ({name}). A \
                     policy of theirs in IAM has to hold the statement {}",
                    action.doing(),
                    action.name(),
                    self.statement()
                ),
            ),
            "ResourceNotFoundException" if message.starts_with("User pool client") => (
                AuthorityErrorKind::NoSuchClient,
                format!(
                    "user pool {pool} has no app client {client}: check the client id, and that it is this pool's"
                ),
            ),
            "ResourceNotFoundException" if message.starts_with("User pool") => (
                AuthorityErrorKind::NoSuchClient,
                format!(
                    "there is no user pool {pool} in the account of these AWS credentials: check its id, the region \
                     in that, and which account the credentials are of"
                ),
            ),
            "ResourceNotFoundException" => (
                AuthorityErrorKind::NoSuchClient,
                format!(
                    "user pool {pool} or its app client {client} is not there ({name}): check both ids, the region \
                     in the former, and the account of the AWS credentials"
                ),
            ),
            "LimitExceededException" => (
                AuthorityErrorKind::Refused,
                format!(
                    "app client {client} has two secrets, as many as Cognito keeps ({name}): remove the one that \
                     nobody uses"
                ),
            ),
            "UnknownOperationException" => (
                AuthorityErrorKind::Unsupported,
                format!(
                    "the endpoint at {} does not know {} ({name}): the calls for client secrets are newer than the \
                     others (February 2026), and a stand-in for AWS may lack them",
                    self.host(),
                    action.name()
                ),
            ),
            "InvalidParameterException" if action == Action::Add => (
                AuthorityErrorKind::Refused,
                format!(
                    "Cognito refuses to add a secret of app client {client} ({name}): it takes values of 24 to 64 \
                     letters, digits, \"_\" and \"+\", and none for a public client"
                ),
            ),
            "InvalidParameterException" if action == Action::Delete => (
                AuthorityErrorKind::Refused,
                format!(
                    "Cognito refuses to delete a secret of app client {client} ({name}): it keeps the last one"
                ),
            ),
            _ => (
                AuthorityErrorKind::Refused,
                format!(
                    "Cognito refuses to {} of app client {client} with status {} ({name})",
                    action.doing(),
                    answer.status.as_u16()
                ),
            ),
        };
        AuthorityError::new(kind, message)
    }
}
