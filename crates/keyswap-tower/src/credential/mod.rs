//! How a secret is put on a request.
//!
//! [`ClientSecretBasic`] and [`ClientSecretPost`] are the two methods of RFC 6749 section 2.3.1.
//! Anything else is a few lines, for instance a secret in a header of its own:
//!
//! ```
//! use bytes::Bytes;
//! use http::{HeaderValue, request::Parts};
//! use keyswap_core::Secret;
//! use keyswap_tower::credential::{Applied, Credential, Unsuitable};
//! use zeroize::Zeroizing;
//!
//! struct ApiKey;
//!
//! impl Credential for ApiKey {
//!     fn apply(
//!         &self,
//!         secret: &Secret,
//!         head: &mut Parts,
//!         _body: Option<&Bytes>,
//!     ) -> Result<Applied, Unsuitable> {
//!         let key = Zeroizing::new(secret.expose().as_bytes().to_vec());
//!         let mut value = HeaderValue::from_maybe_shared(Bytes::from_owner(key))
//!             .map_err(|_| Unsuitable::new("a character of the secret cannot stand in a header"))?;
//!         value.set_sensitive(true);
//!         head.headers.insert("x-api-key", value);
//!         Ok(Applied::ToHead)
//!     }
//! }
//! ```

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::request::Parts;
use keyswap_core::Secret;

mod basic;
mod post;

pub use basic::ClientSecretBasic;
pub use post::ClientSecretPost;

/// A client authentication method: puts a secret on a request.
///
/// It is asked once for each attempt, each time with the caller's own head and body, never with those
/// of an earlier attempt. It decides nothing and sends nothing.
pub trait Credential {
    /// Puts `secret` on the request with this head and this body.
    ///
    /// `body` is the caller's whole body, or `None` when it is too large to be held in memory
    /// ([`FallbackLayer::max_body`](crate::FallbackLayer::max_body)) or could not be read to its end.
    /// A `Content-Length` that the head holds is set right afterwards, where the body changed.
    ///
    /// Overwrite a header rather than appending to it: the caller may have set one.
    ///
    /// # Errors
    ///
    /// [`Unsuitable`] when the secret cannot be put on this request. A layer adds no failure of its own:
    /// the request then goes out once as the caller made it, with a warning in the log that gives the
    /// reason; what was changed in `head` is dropped.
    fn apply(
        &self,
        secret: &Secret,
        head: &mut Parts,
        body: Option<&Bytes>,
    ) -> Result<Applied, Unsuitable>;
}

impl<C: Credential + ?Sized> Credential for Arc<C> {
    fn apply(
        &self,
        secret: &Secret,
        head: &mut Parts,
        body: Option<&Bytes>,
    ) -> Result<Applied, Unsuitable> {
        (**self).apply(secret, head, body)
    }
}

/// Where a [`Credential`] put the secret.
#[derive(Clone)]
#[non_exhaustive]
pub enum Applied {
    /// On the head; the caller's body goes with it as it is.
    ToHead,
    /// In this body, which goes in place of the caller's. Make it with
    /// `Bytes::from_owner(Zeroizing<Vec<u8>>)`, so that it is wiped when its last handle goes.
    ToBody(Bytes),
}

impl fmt::Debug for Applied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ToHead => "ToHead",
            Self::ToBody(_) => "ToBody(..)",
        })
    }
}

/// Why a secret cannot be put on a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Unsuitable {
    reason: &'static str,
}

impl Unsuitable {
    /// With this reason, which goes into the log. It is constant, so that it cannot hold a secret.
    #[must_use]
    pub const fn new(reason: &'static str) -> Self {
        Self { reason }
    }
}

impl fmt::Display for Unsuitable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason)
    }
}

impl std::error::Error for Unsuitable {}

/// The media type of the head, without parameters.
pub(crate) fn media_type(headers: &http::HeaderMap) -> Option<&str> {
    let value = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    Some(value.split_once(';').map_or(value, |(essence, _)| essence).trim())
}

/// Whether a media type is JSON (RFC 8259) or has its syntax (`+json`, RFC 6839).
pub(crate) fn is_json(media_type: &str) -> bool {
    let suffix = media_type.len().checked_sub(5).and_then(|start| media_type.get(start..));
    media_type.eq_ignore_ascii_case("application/json")
        || suffix.is_some_and(|suffix| suffix.eq_ignore_ascii_case("+json"))
}

/// The length of `text` in the form encoding.
fn encoded_length(text: &str) -> usize {
    form_urlencoded::byte_serialize(text.as_bytes()).map(str::len).sum()
}

/// Appends `text` in the form encoding (the `application/x-www-form-urlencoded` of RFC 6749 appendix B).
fn encode_into(text: &str, into: &mut Vec<u8>) {
    for piece in form_urlencoded::byte_serialize(text.as_bytes()) {
        into.extend_from_slice(piece.as_bytes());
    }
}
