//! Exit codes: one meaning each, documented and tested, so that a script can act on them.

use std::fmt;
use std::process::ExitCode;

use keyswap_admin::{AuthorityError, AuthorityErrorKind, RotateError, RotateErrorKind};
use keyswap_store::StoreError;

/// What an exit code says. 0 is success.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub(crate) enum Code {
    /// It failed, and nothing was changed at the server.
    Failed = 1,
    /// The command line or the configuration is wrong.
    Usage = 2,
    /// It waits for something; safe to run again.
    Waiting = 3,
    /// Credentials or permissions are missing.
    Credentials = 4,
    /// Whether the server took a change is not known; run `resume`.
    OutcomeUnknown = 5,
    /// A person has to look: the server or the store is not as it should be, or another rotator took
    /// over.
    Person = 6,
    /// It was interrupted at once; a rotation goes on with `resume`.
    Interrupted = 130,
}

impl Code {
    /// How bad it is. Of several clients, the worst decides about the exit code: what may run again by
    /// itself is the least, and what only a person can mend the greatest.
    pub(crate) fn severity(self) -> u8 {
        match self {
            Self::Waiting => 1,
            Self::Failed => 2,
            Self::Usage => 3,
            Self::Credentials => 4,
            Self::OutcomeUnknown => 5,
            Self::Person => 6,
            Self::Interrupted => 7,
        }
    }
}

/// Why a command ends without success: one paragraph for a person, and a code for a script.
#[derive(Debug)]
pub(crate) struct Failure {
    code: Code,
    message: String,
}

impl Failure {
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    pub(crate) fn code(&self) -> Code {
        self.code
    }

    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self::new(Code::Failed, message)
    }

    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Code::Usage, message)
    }

    /// With what is left of what was interrupted.
    pub(crate) fn interrupted(left: &str) -> Self {
        Self::new(Code::Interrupted, format!("interrupted. {left}"))
    }

    /// With this text behind the paragraph.
    pub(crate) fn followed_by(mut self, text: &str) -> Self {
        self.message.push_str(text);
        self
    }

    /// Prints the paragraph, and gives the code.
    pub(crate) fn report(self) -> ExitCode {
        eprintln!("keyswap: {self}");
        ExitCode::from(self.code as u8)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

fn code_of(error: &AuthorityError) -> Code {
    match error.kind() {
        AuthorityErrorKind::Credentials | AuthorityErrorKind::Permissions => Code::Credentials,
        AuthorityErrorKind::Throttled => Code::Waiting,
        AuthorityErrorKind::Configuration | AuthorityErrorKind::Unsupported => Code::Usage,
        _ => Code::Failed,
    }
}

impl From<AuthorityError> for Failure {
    fn from(error: AuthorityError) -> Self {
        Self::new(code_of(&error), error.to_string())
    }
}

impl From<&RotateErrorKind> for Code {
    fn from(kind: &RotateErrorKind) -> Self {
        match kind {
            RotateErrorKind::Authority(error) => code_of(error),
            RotateErrorKind::Waiting(_)
            | RotateErrorKind::AwaitsConfirmation(_)
            | RotateErrorKind::AwaitsRetirement
            | RotateErrorKind::Held(_)
            | RotateErrorKind::Interrupted(_)
            | RotateErrorKind::Busy => Self::Waiting,
            RotateErrorKind::OutcomeUnknown => Self::OutcomeUnknown,
            RotateErrorKind::Stuck(_)
            | RotateErrorKind::LeaseLost
            | RotateErrorKind::HistoryChanged
            | RotateErrorKind::JournalUnreadable => Self::Person,
            _ => Self::Failed,
        }
    }
}

impl From<RotateError> for Failure {
    fn from(error: RotateError) -> Self {
        Self::new(Code::from(error.kind()), error.to_string())
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let code = if error.is_held() {
            Code::Waiting
        } else if error.is_lease_lost() {
            Code::Person
        } else {
            Code::Failed
        };
        Self::new(code, error.to_string())
    }
}
