//! Why there is no token.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

/// What kind of failure it is.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum TokenErrorKind {
    /// The token endpoint cannot be reached, or did not answer in time.
    Unreachable,
    /// The token endpoint refused the client or the grant with this status.
    Refused {
        /// The HTTP status.
        status: u16,
    },
    /// The answer is not a token (RFC 6749 section 5.1).
    Unexpected {
        /// The HTTP status.
        status: u16,
    },
}

/// Why there is no token. The text names the endpoint's host and the OAuth error code; of the answer it
/// holds no more.
#[derive(Clone, Debug)]
pub struct TokenError {
    kind: TokenErrorKind,
    message: String,
    source: Option<Arc<dyn Error + Send + Sync>>,
}

impl TokenError {
    pub(crate) fn new(kind: TokenErrorKind, message: String) -> Self {
        Self { kind, message, source: None }
    }

    pub(crate) fn unreachable(host: &str, error: reqwest_middleware::Error) -> Self {
        // An address may carry what it should not; the host says enough.
        let error = error.without_url();
        Self {
            kind: TokenErrorKind::Unreachable,
            message: format!("the token endpoint at {host} cannot be reached"),
            source: Some(Arc::new(error)),
        }
    }

    /// What kind of failure it is.
    #[must_use]
    pub fn kind(&self) -> TokenErrorKind {
        self.kind
    }

    /// Whether the same request may succeed later with nothing changed.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self.kind {
            TokenErrorKind::Unreachable => true,
            TokenErrorKind::Refused { status } | TokenErrorKind::Unexpected { status } => {
                status == 429 || status >= 500
            }
        }
    }
}

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for TokenError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
