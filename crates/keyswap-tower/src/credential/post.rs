//! `client_secret_post`: id and secret in the body.

use std::fmt;

use bytes::Bytes;
use http::request::Parts;
use keyswap_core::{MakerId, Secret};

use super::parameters::{
    ASSERTION_IN_BODY, CLIENT_ID, CLIENT_SECRET, Format, append, form, refuse_header, refuse_query,
};
use super::{Applied, ClientIds, Credential, NO_BODY, Unsuitable};

/// The parameters `client_id` and `client_secret` in the request body (RFC 6749 section 2.3.1).
///
/// The `Content-Type` says how the body is written: `application/x-www-form-urlencoded`, as the RFC has
/// it, or `application/json`, which Auth0 and others take too. Parameters of these two names that the
/// caller set are replaced; all others stay byte for byte and in their order. The new body is wiped when
/// its last handle goes. What is put into a form is encoded once and kept beside the secret, unless client ids
/// are [looked up](ClientIds::by).
///
/// A request of another type, with a compressed or an oversized body, or whose JSON is not an object
/// cannot hold the secret. One that signs in by other means (an `Authorization` header, a
/// `client_assertion`, a secret in the query) must not hold it. Both go out once, unchanged.
///
/// ```
/// use bytes::Bytes;
/// use keyswap_core::{MakerId, Secret};
/// use keyswap_tower::credential::{Applied, ClientSecretPost, Credential};
///
/// let secret = Secret::new("a".parse()?, "gX1f+Bat3bV")?;
/// let (mut head, ()) = http::Request::post("/token")
///     .header("content-type", "application/x-www-form-urlencoded")
///     .body(())?
///     .into_parts();
/// let body = Bytes::from("grant_type=client_credentials");
/// let applied = ClientSecretPost::new("s6BhdRkqt3").apply(&secret, &mut head, Some(&body))?;
/// let Applied::ToBody(body) = applied else { panic!("expected a body") };
/// assert_eq!(
///     body,
///     "grant_type=client_credentials&client_id=s6BhdRkqt3&client_secret=gX1f%2BBat3bV",
/// );
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct ClientSecretPost {
    client_ids: ClientIds,
    /// Under this name the encoded parameters are kept beside their secret.
    maker: MakerId,
}

impl ClientSecretPost {
    /// For the client with this id, or with these [`ClientIds`].
    #[must_use]
    pub fn new(client: impl Into<ClientIds>) -> Self {
        Self { client_ids: client.into(), maker: MakerId::new() }
    }
}

impl Credential for ClientSecretPost {
    fn apply(
        &self,
        secret: &Secret,
        head: &mut Parts,
        body: Option<&Bytes>,
    ) -> Result<Applied, Unsuitable> {
        refuse_header(head)?;
        refuse_query(head)?;
        let body = body.ok_or(NO_BODY)?;
        let format = Format::of(&head.headers)?;
        let carried = format.carried(body);
        if carried.assertion {
            return Err(ASSERTION_IN_BODY);
        }
        let id = self.client_ids.of(secret.id())?;
        let ours = [(CLIENT_ID, &*id), (CLIENT_SECRET, secret.expose())];
        if format == Format::Form && carried.nothing() && self.client_ids.are_constant() {
            let kept = secret.kept(self.maker, || form(&[], &ours));
            if let Some(kept) = kept {
                return Ok(Applied::ToBody(append(body, kept).into_bytes()));
            }
        }
        let body = format.replace(body, &ours)?;
        Ok(if carried.secret { Applied::ToBodyInstead(body) } else { Applied::ToBody(body) })
    }
}

impl fmt::Debug for ClientSecretPost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientSecretPost").field("client_id", &self.client_ids).finish()
    }
}
