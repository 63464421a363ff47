//! `client_secret_basic`: id and secret in the `Authorization` header.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::HeaderValue;
use http::header::AUTHORIZATION;
use http::request::Parts;
use keyswap_core::Secret;
use zeroize::Zeroizing;

use super::{Applied, Credential, Unsuitable, encode_into, encoded_length};

/// HTTP Basic authentication with client id and client secret (RFC 6749 section 2.3.1).
///
/// Id and secret are form-encoded first, as the RFC asks. Servers that do not decode them need
/// [`raw`](Self::raw); for secrets of `[A-Za-z0-9*._-]` both come to the same.
///
/// An `Authorization` header of the caller is replaced. A `client_secret` that the caller left in the
/// body stays there, and many servers refuse a request with both (RFC 6749 section 2.3: "The client
/// MUST NOT use more than one authentication method in each request").
///
/// The header is marked as sensitive and its buffer is wiped when its last clone goes.
///
/// ```
/// use keyswap_core::Secret;
/// use keyswap_tower::credential::{ClientSecretBasic, Credential};
///
/// let secret = Secret::new("a".parse()?, "gX1fBat3bV")?;
/// let (mut head, ()) = http::Request::new(()).into_parts();
/// ClientSecretBasic::new("s6BhdRkqt3").apply(&secret, &mut head, None)?;
/// // The example of RFC 6749 section 2.3.1.
/// assert_eq!(head.headers["authorization"], "Basic czZCaGRSa3F0MzpnWDFmQmF0M2JW");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct ClientSecretBasic {
    client_id: Arc<str>,
    raw: bool,
}

impl ClientSecretBasic {
    /// For the client with this id.
    #[must_use]
    pub fn new(client_id: impl Into<Arc<str>>) -> Self {
        Self { client_id: client_id.into(), raw: false }
    }

    /// Leaves out the form encoding, for servers that do not decode it (RFC 7617 alone).
    ///
    /// An id with a colon cannot be sent in this way: the server would split at it.
    #[must_use]
    pub fn raw(mut self) -> Self {
        self.raw = true;
        self
    }

    fn header(&self, secret: &str) -> Result<HeaderValue, Unsuitable> {
        const SCHEME: &[u8] = b"Basic ";
        let id = &*self.client_id;
        // Both buffers are sized first: one that grows leaves a copy behind.
        let mut pair = Zeroizing::new(Vec::new());
        if self.raw {
            if id.contains(':') {
                return Err(Unsuitable::new(
                    "a client id with a colon cannot stand in a Basic header without encoding",
                ));
            }
            pair.reserve_exact(id.len() + 1 + secret.len());
            pair.extend_from_slice(id.as_bytes());
            pair.push(b':');
            pair.extend_from_slice(secret.as_bytes());
        } else {
            pair.reserve_exact(encoded_length(id) + 1 + encoded_length(secret));
            encode_into(id, &mut pair);
            pair.push(b':');
            encode_into(secret, &mut pair);
        }
        let mut value = Zeroizing::new(vec![0; SCHEME.len() + pair.len().div_ceil(3) * 4]);
        value[..SCHEME.len()].copy_from_slice(SCHEME);
        let unsuitable = Unsuitable::new("client id and secret do not fit into a header");
        STANDARD.encode_slice(&*pair, &mut value[SCHEME.len()..]).map_err(|_| unsuitable)?;
        let mut value =
            HeaderValue::from_maybe_shared(Bytes::from_owner(value)).map_err(|_| unsuitable)?;
        value.set_sensitive(true);
        Ok(value)
    }
}

impl Credential for ClientSecretBasic {
    fn apply(
        &self,
        secret: &Secret,
        head: &mut Parts,
        _body: Option<&Bytes>,
    ) -> Result<Applied, Unsuitable> {
        head.headers.insert(AUTHORIZATION, self.header(secret.expose())?);
        Ok(Applied::ToHead)
    }
}

impl fmt::Debug for ClientSecretBasic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientSecretBasic")
            .field("client_id", &self.client_id)
            .field("raw", &self.raw)
            .finish()
    }
}
