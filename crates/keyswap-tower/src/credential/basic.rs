//! `client_secret_basic`: id and secret in the `Authorization` header.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::HeaderValue;
use http::header::AUTHORIZATION;
use http::request::Parts;
use keyswap_core::{MakerId, Secret};

use super::parameters::{
    ASSERTION_IN_BODY, CLIENT_ID, Format, SECRET_IN_BODY, may_name_client, refuse_query,
};
use super::wiped::Wiped;
use super::{Applied, ClientIds, Credential, Unsuitable, encode_into, encoded_length};

/// HTTP Basic authentication with client id and client secret (RFC 6749 section 2.3.1).
///
/// Id and secret are form-encoded first, as the RFC asks. Servers that do not decode them need
/// [`raw`](Self::raw); for secrets of `[A-Za-z0-9*._-]` both come to the same.
///
/// An `Authorization` header of the caller is replaced. A request that signs in by other means (a
/// `client_secret` or a `client_assertion` in a form, in a JSON body or in the query) gets no second
/// secret and goes out once, as it was made: RFC 6749 section 2.3 has "The client MUST NOT use more than
/// one authentication method in each request". Bodies that are too large to be held, compressed, or of
/// another type are not looked at.
///
/// With [pairs](ClientIds) of secret and client id, a `client_id` in the body becomes the one of the
/// header; otherwise the body stays as it is.
///
/// The header is marked as sensitive. It is encoded once and kept beside the secret, unless client ids are
/// [looked up](ClientIds::by); its buffer is wiped when the secret and the last request with it are gone.
///
/// ```
/// use keyswap_core::{MakerId, Secret};
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
    client_ids: ClientIds,
    raw: bool,
    /// Under this name the header is kept beside its secret; another encoding is another header.
    maker: MakerId,
}

impl ClientSecretBasic {
    /// For the client with this id, or with these [`ClientIds`].
    #[must_use]
    pub fn new(client: impl Into<ClientIds>) -> Self {
        Self { client_ids: client.into(), raw: false, maker: MakerId::new() }
    }

    /// Leaves out the form encoding, for servers that do not decode it (RFC 7617 alone).
    ///
    /// An id with a colon cannot be sent in this way: the server would split at it.
    #[must_use]
    pub fn raw(mut self) -> Self {
        self.raw = true;
        self.maker = MakerId::new();
        self
    }

    /// The header for this secret, which is encoded once and kept beside it: a clone shares its buffer,
    /// which is wiped when the secret and the last request with it are gone.
    fn header(&self, id: &str, secret: &Secret) -> Result<HeaderValue, Unsuitable> {
        let encode = || self.encode(id, secret.expose());
        if !self.client_ids.are_constant() {
            return encode();
        }
        match secret.kept(self.maker, encode) {
            Some(kept) => kept.clone(),
            // Another credential with the same secret came first.
            None => encode(),
        }
    }

    fn encode(&self, id: &str, secret: &str) -> Result<HeaderValue, Unsuitable> {
        const SCHEME: &[u8] = b"Basic ";
        let pair = if self.raw {
            if id.contains(':') {
                return Err(Unsuitable::new(
                    "a client id with a colon cannot stand in a Basic header without encoding",
                ));
            }
            let mut pair = Wiped::with_capacity(id.len() + 1 + secret.len());
            pair.extend_from_slice(id.as_bytes());
            pair.push(b':');
            pair.extend_from_slice(secret.as_bytes());
            pair
        } else {
            let mut pair = Wiped::with_capacity(encoded_length(id) + 1 + encoded_length(secret));
            encode_into(id, &mut pair);
            pair.push(b':');
            encode_into(secret, &mut pair);
            pair
        };
        let length = SCHEME.len() + pair.len().div_ceil(3) * 4;
        let mut value = Wiped::with_capacity(length);
        value.extend_from_slice(SCHEME);
        value.resize(length, 0);
        let unsuitable = Unsuitable::new("client id and secret do not fit into a header");
        STANDARD.encode_slice(&**pair, &mut value[SCHEME.len()..]).map_err(|_| unsuitable)?;
        let mut value =
            HeaderValue::from_maybe_shared(value.into_bytes()).map_err(|_| unsuitable)?;
        value.set_sensitive(true);
        Ok(value)
    }

    /// What becomes of the body, once it is known that nobody signed in there.
    fn body(&self, id: &str, head: &Parts, body: &[u8]) -> Result<Applied, Unsuitable> {
        if !may_name_client(body) {
            return Ok(Applied::ToHead);
        }
        let Ok(format) = Format::of(&head.headers) else { return Ok(Applied::ToHead) };
        let carried = format.carried(body);
        if carried.secret {
            Err(SECRET_IN_BODY)
        } else if carried.assertion {
            Err(ASSERTION_IN_BODY)
        } else if carried.id && self.client_ids.are_pairs() {
            // A server that finds two ids in one request refuses it (RFC 6749 section 5.2).
            format.replace(body, &[(CLIENT_ID, id)]).map(Applied::ToBody)
        } else {
            Ok(Applied::ToHead)
        }
    }
}

impl Credential for ClientSecretBasic {
    fn apply(
        &self,
        secret: &Secret,
        head: &mut Parts,
        body: Option<&Bytes>,
    ) -> Result<Applied, Unsuitable> {
        refuse_query(head)?;
        let id = self.client_ids.of(secret.id())?;
        let applied = match body {
            Some(body) => self.body(&id, head, body)?,
            None => Applied::ToHead,
        };
        let before = head.headers.insert(AUTHORIZATION, self.header(&id, secret)?);
        Ok(match applied {
            Applied::ToBody(body) if before.is_some() => Applied::ToBodyInstead(body),
            applied => applied,
        })
    }
}

impl fmt::Debug for ClientSecretBasic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientSecretBasic")
            .field("client_id", &self.client_ids)
            .field("raw", &self.raw)
            .finish()
    }
}
