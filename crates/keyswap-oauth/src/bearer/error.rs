//! Why a call to an API has no answer.

use std::error::Error;
use std::fmt;

use crate::TokenError;

/// Why [`Bearer`](crate::Bearer) has no answer. `E` is the error of the service under it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum BearerError<E> {
    /// There is no token, and none can be had: before the request was sent, or after the API refused
    /// the token that there was.
    Token(TokenError),
    /// The token would go out in clear text. Nothing was sent.
    ClearText(ClearTextError),
    /// The error of the service under the layer, unchanged.
    Inner(E),
}

impl<E: fmt::Display> fmt::Display for BearerError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Token(error) => write!(f, "there is no access token for this request: {error}"),
            Self::ClearText(error) => error.fmt(f),
            Self::Inner(error) => error.fmt(f),
        }
    }
}

impl<E: Error + 'static> Error for BearerError<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Token(error) => error.source(),
            Self::ClearText(error) => error.source(),
            Self::Inner(error) => error.source(),
        }
    }
}

/// An access token would have gone over the network in clear text (RFC 6750 section 5.3). Nothing was
/// sent.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ClearTextError {
    host: String,
}

impl ClearTextError {
    pub(crate) fn new(host: impl Into<String>) -> Self {
        Self { host: host.into() }
    }
}

impl fmt::Display for ClearTextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "no access token is sent to http://{} in clear text: use https or a loopback address, or \
             allow_clear_text where something else protects the connection",
            self.host
        )
    }
}

impl Error for ClearTextError {}
