//! A secret in a header of the caller's choice.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderName, HeaderValue};
use keyswap_core::{MakerId, Secret};

use super::wiped::Wiped;
use super::{Applied, Credential, Unsuitable};

/// The secret as the value of a header, with or without a word before it: an API key, or a secret that
/// two services share.
///
/// The header is set in place of those of the same name, marked as sensitive, and its buffer is wiped
/// when its last clone goes. No other part of the request is looked at: an API that takes a key in a
/// header of its own often takes the token of a user in `Authorization` beside it.
///
/// A secret that ends with a space, begins with one where there is no prefix, or holds a character that
/// a header cannot, would not arrive as it is: it is not sent, and the request goes out as it was made.
///
/// ```
/// use http::HeaderName;
/// use http::header::AUTHORIZATION;
/// use keyswap_core::{MakerId, Secret};
/// use keyswap_tower::credential::{Credential, HeaderSecret};
///
/// let secret = Secret::new("a".parse()?, "gX1fBat3bV")?;
/// let (mut head, ()) = http::Request::new(()).into_parts();
/// HeaderSecret::new(HeaderName::from_static("x-api-key")).apply(&secret, &mut head, None)?;
/// HeaderSecret::new(AUTHORIZATION).prefix("ApiKey ").apply(&secret, &mut head, None)?;
/// assert_eq!(head.headers["x-api-key"], "gX1fBat3bV");
/// assert_eq!(head.headers["authorization"], "ApiKey gX1fBat3bV");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// What a refusal looks like is up to the API: give the layer a
/// [`ReadVerdict`](crate::ReadVerdict) that knows it.
#[derive(Clone)]
pub struct HeaderSecret {
    name: HeaderName,
    prefix: Arc<str>,
    /// Under this name the value is kept beside its secret.
    maker: MakerId,
}

impl HeaderSecret {
    /// In the header of this name.
    #[must_use]
    pub fn new(name: HeaderName) -> Self {
        Self { name, prefix: "".into(), maker: MakerId::new() }
    }

    /// With this text before the secret, for instance `"Bearer "` or `"ApiKey "`: the space belongs to it.
    #[must_use]
    pub fn prefix(mut self, prefix: impl Into<Arc<str>>) -> Self {
        self.prefix = prefix.into();
        self.maker = MakerId::new();
        self
    }

    fn value(&self, secret: &str) -> Result<HeaderValue, Unsuitable> {
        let mut value = Wiped::with_capacity(self.prefix.len() + secret.len());
        value.extend_from_slice(self.prefix.as_bytes());
        value.extend_from_slice(secret.as_bytes());
        // Whoever reads the header takes them off (RFC 9110 section 5.5).
        if value.starts_with(b" ") || value.ends_with(b" ") {
            return Err(Unsuitable::new("a space at an end of a header does not arrive"));
        }
        let mut value = HeaderValue::from_maybe_shared(value.into_bytes())
            .map_err(|_| Unsuitable::new("a character of the secret cannot stand in a header"))?;
        value.set_sensitive(true);
        Ok(value)
    }
}

impl Credential for HeaderSecret {
    fn apply(
        &self,
        secret: &Secret,
        head: &mut Parts,
        _body: Option<&Bytes>,
    ) -> Result<Applied, Unsuitable> {
        let make = || self.value(secret.expose());
        let value = match secret.kept(self.maker, make) {
            Some(kept) => kept.clone()?,
            // Another credential with the same secret came first.
            None => make()?,
        };
        head.headers.insert(self.name.clone(), value);
        Ok(Applied::ToHead)
    }
}

impl fmt::Debug for HeaderSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the prefix: somebody may have put half of a key there.
        f.debug_struct("HeaderSecret").field("name", &self.name).finish_non_exhaustive()
    }
}
