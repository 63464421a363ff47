//! Why Secrets Manager did not do what it was asked to, and what a person can do about it.

use std::error::Error;

use aws_sdk_secretsmanager::error::{ProvideErrorMetadata, SdkError};

use crate::{StoreError, StoreErrorKind};

/// What a call came to, if not to success.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) kind: FailureKind,
    reason: String,
    way_out: &'static str,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum FailureKind {
    /// The secret, or this version of it, is not there.
    NotFound,
    /// It does not fit what is there: something has changed meanwhile, or is not as it was thought to be.
    Refused,
    /// Nobody knows whether it was done.
    Unanswered,
    /// These credentials may not do it, or there are none.
    Denied,
    /// The request could not even be made.
    Unusable,
    Other,
}

impl Failure {
    pub(super) fn into_error(self, doing: &str, place: &str) -> StoreError {
        let kind = match self.kind {
            FailureKind::NotFound => StoreErrorKind::NotFound,
            FailureKind::Denied => StoreErrorKind::Permissions,
            FailureKind::Unusable => StoreErrorKind::Invalid,
            FailureKind::Refused | FailureKind::Unanswered | FailureKind::Other => {
                StoreErrorKind::Io
            }
        };
        let error = StoreError::new(kind, doing).at(place).because(self.reason);
        if self.way_out.is_empty() { error } else { error.way_out(self.way_out) }
    }

    pub(super) fn timed_out() -> Self {
        Self {
            kind: FailureKind::Unanswered,
            reason: "AWS did not answer in time".to_owned(),
            way_out: "see that it can be reached from here, then go on",
        }
    }

    /// Reads the answer. The words of AWS are shown only where no value was sent (`shown`): it repeats what it does
    /// not take.
    pub(super) fn of<E, R>(error: &SdkError<E, R>, shown: bool) -> Self
    where
        E: ProvideErrorMetadata + Error + 'static,
        R: std::fmt::Debug,
    {
        match error {
            SdkError::ServiceError(answer) => {
                let answer = answer.err().meta();
                let words = answer.message().filter(|_| shown);
                Self::of_code(answer.code().unwrap_or("no code"), words)
            }
            SdkError::ConstructionFailure(_) => Self {
                kind: FailureKind::Unusable,
                reason: format!("the request cannot be made: {}", innermost(error)),
                way_out: "name the region (AWS_REGION, or `region` in [store.aws]) and the credentials that AWS's \
                          own tools use",
            },
            SdkError::DispatchFailure(failure) if failure.is_io() || failure.is_timeout() => Self {
                kind: FailureKind::Unanswered,
                reason: format!("AWS cannot be reached: {}", innermost(error)),
                way_out: "see that its endpoint can be reached from here, then go on",
            },
            SdkError::DispatchFailure(_) => Self {
                kind: FailureKind::Denied,
                reason: format!("there are no credentials to use: {}", innermost(error)),
                way_out: "give it those that AWS's own tools use: AWS_PROFILE, AWS_ACCESS_KEY_ID, or the role of \
                          this machine",
            },
            _ => Self::timed_out(),
        }
    }

    fn of_code(code: &str, words: Option<&str>) -> Self {
        let (kind, way_out) = match code {
            "ResourceNotFoundException" => (FailureKind::NotFound, ""),
            "InvalidParameterException" | "InvalidRequestException" | "ResourceExistsException" => {
                (FailureKind::Refused, "")
            }
            "AccessDeniedException" | "AccessDenied" => {
                (FailureKind::Denied, "allow it: docs/stores/aws.md has the policies")
            }
            "DecryptionFailure" | "EncryptionFailure" => (
                FailureKind::Denied,
                "allow kms:Decrypt and kms:GenerateDataKey with the key of the secret",
            ),
            "ExpiredTokenException"
            | "UnrecognizedClientException"
            | "InvalidSignatureException"
            | "InvalidClientTokenId" => {
                (FailureKind::Denied, "renew the credentials, and set the clock")
            }
            "ThrottlingException"
            | "Throttling"
            | "RequestLimitExceeded"
            | "TooManyRequestsException" => {
                (FailureKind::Other, "others use up what AWS allows a second: go on a little later")
            }
            "LimitExceededException" => (
                FailureKind::Other,
                "a secret has room for 20 labels in all, and for 100 versions of which AWS removes those without a \
                 label after a day",
            ),
            _ => (FailureKind::Other, ""),
        };
        let words = words.map(|words| format!(": {words}")).unwrap_or_default();
        Self { kind, reason: format!("AWS answers {code}{words}"), way_out }
    }
}

/// What is behind it all: the layers around it say less.
fn innermost(error: &dyn Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}
