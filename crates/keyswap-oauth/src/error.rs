//! Why there is no token.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

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
///
/// A clone is another handle on the same error.
#[derive(Clone)]
pub struct TokenError {
    /// One pointer, so that a caller that gets a token does not move an error's size around.
    shared: Arc<Shared>,
}

struct Shared {
    kind: TokenErrorKind,
    message: String,
    code: Option<String>,
    retry_after: Option<Duration>,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl TokenError {
    pub(crate) fn new(kind: TokenErrorKind, message: String) -> Self {
        Self {
            shared: Arc::new(Shared { kind, message, code: None, retry_after: None, source: None }),
        }
    }

    /// A refusal, with the OAuth error code if there is one, and how long the server asks to wait.
    pub(crate) fn refused(
        host: &str,
        status: u16,
        code: Option<String>,
        retry_after: Option<Duration>,
    ) -> Self {
        let kind = TokenErrorKind::Refused { status };
        let shown = code.as_ref().map(|code| format!("`{code}`"));
        let shown = shown.as_deref().unwrap_or("no OAuth error code");
        let message = format!("the token endpoint at {host} answers {status} with {shown}");
        Self { shared: Arc::new(Shared { kind, message, code, retry_after, source: None }) }
    }

    pub(crate) fn unreachable(host: &str, error: reqwest_middleware::Error) -> Self {
        // An address may carry what it should not; the host says enough.
        let error = error.without_url();
        Self {
            shared: Arc::new(Shared {
                kind: TokenErrorKind::Unreachable,
                message: format!("the token endpoint at {host} cannot be reached"),
                code: None,
                retry_after: None,
                source: Some(Box::new(error)),
            }),
        }
    }

    /// What kind of failure it is.
    #[must_use]
    pub fn kind(&self) -> TokenErrorKind {
        self.shared.kind
    }

    /// The OAuth error code of a refusal (RFC 6749 section 5.2), for instance `invalid_scope`.
    #[must_use]
    pub fn error_code(&self) -> Option<&str> {
        self.shared.code.as_deref()
    }

    /// How long the server asks to wait (`Retry-After` in seconds, RFC 9110 section 10.2.3), where it turned the
    /// request away with 429 or 503.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.shared.retry_after
    }

    /// Whether the same request may succeed later with nothing changed.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self.shared.kind {
            TokenErrorKind::Unreachable => true,
            TokenErrorKind::Refused { status } | TokenErrorKind::Unexpected { status } => {
                status == 429 || status >= 500
            }
        }
    }
}

impl fmt::Debug for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenError")
            .field("kind", &self.shared.kind)
            .field("message", &self.shared.message)
            .field("source", &self.shared.source)
            .finish()
    }
}

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shared.message)
    }
}

impl Error for TokenError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.shared.source.as_deref().map(|source| source as _)
    }
}
