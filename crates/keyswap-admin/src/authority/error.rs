//! What an authorization server refused, and what a person can do about it.

use std::error::Error;
use std::fmt;

/// What kind of refusal it is; a command derives its exit code from it.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum AuthorityErrorKind {
    /// The server cannot be reached, or did not answer in time.
    Unreachable,
    /// The server does not take the management credentials.
    Credentials,
    /// The management credentials lack a permission.
    Permissions,
    /// The server does not know the client.
    NoSuchClient,
    /// The client does not authenticate with a secret that can be changed.
    UnsupportedClient,
    /// The server asks to come back later.
    Throttled,
    /// The server refuses the request for another reason.
    Refused,
    /// The answer is not one that this server gives: a proxy's page, another product.
    Unexpected,
    /// This version of the server lacks a call that the configuration demands.
    Unsupported,
    /// The configuration of the authority does not hold together.
    Configuration,
}

/// Why an authorization server does not do what was asked.
///
/// The text names what was being done, to which client, the reason and the next step. It holds no
/// secret, no token, and of the answer no more than error codes.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct AuthorityError {
    kind: AuthorityErrorKind,
    message: String,
}

impl AuthorityError {
    /// An error with this text: for authorities of your own.
    #[must_use]
    pub fn new(kind: AuthorityErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    /// What kind of refusal it is.
    #[must_use]
    pub fn kind(&self) -> AuthorityErrorKind {
        self.kind
    }

    /// Whether the same request may succeed later with nothing changed.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self.kind, AuthorityErrorKind::Unreachable | AuthorityErrorKind::Throttled)
    }

    /// Whether it is about the management credentials or their permissions.
    #[must_use]
    pub fn is_permission(&self) -> bool {
        matches!(self.kind, AuthorityErrorKind::Credentials | AuthorityErrorKind::Permissions)
    }
}

impl fmt::Display for AuthorityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for AuthorityError {}
