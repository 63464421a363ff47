//! How a secret is put on a request.
//!
//! | credential | where the secret goes |
//! | --- | --- |
//! | [`ClientSecretBasic`] | id and secret in the `Authorization` header (RFC 6749 section 2.3.1) |
//! | [`ClientSecretPost`] | id and secret in the body, a form or JSON (the same section) |
//! | [`ClientSecretJwt`] | nowhere: it signs an assertion in the body (RFC 7523 section 2.2) |
//! | [`HeaderSecret`] | in a header of your choice, for API keys and shared secrets |
//!
//! Where the client id changes together with the secret, the first three take pairs: [`ClientIds`].
//!
//! # One method a request
//!
//! RFC 6749 section 2.3: "The client MUST NOT use more than one authentication method in each request."
//! What the same method left on a request is taken for an older secret of the same client, and replaced.
//! What another method left there is the caller's own sign-in: the request is then
//! [`Unsuitable`] and goes out once, as it was made, with a warning that names what was found.
//!
//! | the request has | `ClientSecretBasic` | `ClientSecretPost` | `ClientSecretJwt` |
//! | --- | --- | --- | --- |
//! | an `Authorization` header | replaced | goes out as it is | goes out as it is |
//! | `client_id` in its body | stays; with pairs replaced | replaced | replaced |
//! | `client_secret` in its body | goes out as it is | replaced | goes out as it is |
//! | `client_assertion` in its body | goes out as it is | goes out as it is | replaced |
//! | either of these two in its query | goes out as it is | goes out as it is | goes out as it is |
//!
//! [`HeaderSecret`] replaces its own header and looks at nothing else. Headers that an HTTP client adds
//! below the layer, and bodies that it compresses there, are out of sight.
//!
//! # Your own
//!
//! Anything else is a few lines, for instance a signature over the body:
//!
//! ```
//! use bytes::Bytes;
//! use hmac::{Hmac, KeyInit, Mac};
//! use http::{HeaderValue, request::Parts};
//! use keyswap_core::Secret;
//! use keyswap_tower::credential::{Applied, Credential, Unsuitable};
//! use sha2::Sha256;
//!
//! struct SignedBody;
//!
//! impl Credential for SignedBody {
//!     fn apply(
//!         &self,
//!         secret: &Secret,
//!         head: &mut Parts,
//!         body: Option<&Bytes>,
//!     ) -> Result<Applied, Unsuitable> {
//!         let body = body.ok_or(Unsuitable::new("the body is not here to be signed"))?;
//!         let mut mac = Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes())
//!             .map_err(|_| Unsuitable::new("the secret is no key"))?;
//!         mac.update(body);
//!         let signature: String =
//!             mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
//!         let mut value = HeaderValue::try_from(signature)
//!             .map_err(|_| Unsuitable::new("the signature does not fit into a header"))?;
//!         value.set_sensitive(true);
//!         head.headers.insert("x-signature", value);
//!         Ok(Applied::ToHead)
//!     }
//! }
//! # let secret = Secret::new("a".parse()?, "key")?;
//! # let (mut head, ()) = http::Request::new(()).into_parts();
//! # let body = Bytes::from("The quick brown fox jumps over the lazy dog");
//! # SignedBody.apply(&secret, &mut head, Some(&body))?;
//! # let expected = "f7bc83f430538424b13298e6aa6fb143ef4d59a14946175997479dbc2d1a3cd8";
//! # assert_eq!(head.headers["x-signature"], expected);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! One that puts the secret itself on the request builds it in a `Zeroizing<Vec<u8>>` whose size is known
//! first, and hands it on by `Bytes::from_owner` and [`HeaderValue::from_maybe_shared`], so that no
//! unwiped copy is left behind.
//!
//! [`HeaderValue::from_maybe_shared`]: http::HeaderValue::from_maybe_shared

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::HeaderValue;
use http::header::CONTENT_TYPE;
use http::request::Parts;
use keyswap_core::Secret;

mod basic;
mod client_ids;
mod grant;
mod header;
mod jwt;
mod parameters;
mod post;
mod wiped;

pub use basic::ClientSecretBasic;
pub use client_ids::ClientIds;
pub use grant::is_single_use;
pub(crate) use grant::may_be_single_use;
pub use header::HeaderSecret;
pub use jwt::{ClientSecretJwt, HmacAlgorithm};
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
    /// it passes the secret over and asks for the next one of the list; if none fits, the request goes out
    /// once as the caller made it. Either way there is one warning in the log, with the reason. Find out
    /// before you change `head`: without a body there is no copy of it.
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
    /// As [`ToBody`](Self::ToBody), where the caller's body held such a secret already and this one took its
    /// place. A layer above, whose secret that was, then leaves the fallback to the layer that asks.
    ToBodyInstead(Bytes),
}

impl fmt::Debug for Applied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ToHead => "ToHead",
            Self::ToBody(_) => "ToBody(..)",
            Self::ToBodyInstead(_) => "ToBodyInstead(..)",
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

/// For credentials that need the body.
const NO_BODY: Unsuitable =
    Unsuitable::new("the body is larger than the layer may hold or could not be read");

/// The media type of the head, without parameters.
pub(crate) fn media_type(headers: &http::HeaderMap) -> Option<&str> {
    essence(headers.get(CONTENT_TYPE)?)
}

/// A media type without its parameters.
pub(crate) fn essence(value: &HeaderValue) -> Option<&str> {
    // Most are one of these two, and one look tells.
    for known in ["application/json", "application/x-www-form-urlencoded"] {
        if value == known {
            return Some(known);
        }
    }
    let value = value.to_str().ok()?;
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
    text.bytes().map(|byte| usize::from(ENCODED_LENGTHS[usize::from(byte)])).sum()
}

/// How many characters each byte becomes in the form encoding. Looked up, since each attempt encodes a
/// secret, and most secrets hold nothing that changes.
const ENCODED_LENGTHS: [u8; 256] = {
    let mut lengths = [3; 256];
    let mut byte = 0;
    while byte < 128 {
        if (byte as u8).is_ascii_alphanumeric()
            || matches!(byte as u8, b' ' | b'*' | b'-' | b'.' | b'_')
        {
            lengths[byte] = 1;
        }
        byte += 1;
    }
    lengths
};

/// Appends `text` in the form encoding (the `application/x-www-form-urlencoded` of RFC 6749 appendix B).
fn encode_into(text: &str, into: &mut Vec<u8>) {
    // A space alone changes without growing.
    if encoded_length(text) == text.len() && !text.contains(' ') {
        into.extend_from_slice(text.as_bytes());
        return;
    }
    for piece in form_urlencoded::byte_serialize(text.as_bytes()) {
        into.extend_from_slice(piece.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_character_is_encoded_as_the_form_encoding_has_it_and_as_long_as_was_said() {
        for character in ('\0'..='\u{7ff}').chain(['\u{fffd}', '\u{1f511}']) {
            let text = format!("a{character}b");
            let mut encoded = Vec::new();
            encode_into(&text, &mut encoded);
            let expected: String = form_urlencoded::byte_serialize(text.as_bytes()).collect();
            assert_eq!(String::from_utf8(encoded).unwrap(), expected);
            assert_eq!(encoded_length(&text), expected.len(), "{character:?}");
        }
    }
}
