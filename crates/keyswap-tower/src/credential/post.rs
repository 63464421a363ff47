//! `client_secret_post`: id and secret in the body.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::header::CONTENT_ENCODING;
use http::request::Parts;
use keyswap_core::Secret;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use zeroize::Zeroizing;

use super::{Applied, Credential, Unsuitable, encode_into, encoded_length, is_json, media_type};

const CLIENT_ID: &str = "client_id";
const CLIENT_SECRET: &str = "client_secret";

/// The parameters `client_id` and `client_secret` in the request body (RFC 6749 section 2.3.1).
///
/// The `Content-Type` says how the body is written: `application/x-www-form-urlencoded`, as the RFC has
/// it, or `application/json`, which Auth0 and others take too. Parameters of these two names that the
/// caller set are replaced; all others stay byte for byte and in their order. The new body is wiped when
/// its last handle goes.
///
/// A request of another type, with a compressed or an oversized body, or whose JSON is not an object
/// cannot hold the secret: it goes out once, unchanged. An `Authorization` header of the caller stays.
///
/// ```
/// use bytes::Bytes;
/// use keyswap_core::Secret;
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
    client_id: Arc<str>,
}

impl ClientSecretPost {
    /// For the client with this id.
    #[must_use]
    pub fn new(client_id: impl Into<Arc<str>>) -> Self {
        Self { client_id: client_id.into() }
    }

    fn form(&self, body: &[u8], secret: &str) -> Zeroizing<Vec<u8>> {
        // Segment by segment, so that what is kept needs no second encoding.
        let kept = || {
            body.split(|byte| *byte == b'&').filter(|segment| {
                let name = form_urlencoded::parse(segment).next().map(|(name, _)| name);
                !segment.is_empty() && !name.is_some_and(|name| is_ours(&name))
            })
        };
        let length: usize = kept().map(|segment| segment.len() + 1).sum::<usize>()
            + CLIENT_ID.len()
            + CLIENT_SECRET.len()
            + "=&=".len()
            + encoded_length(&self.client_id)
            + encoded_length(secret);
        let mut form = Zeroizing::new(Vec::with_capacity(length));
        for segment in kept() {
            form.extend_from_slice(segment);
            form.push(b'&');
        }
        form.extend_from_slice(CLIENT_ID.as_bytes());
        form.push(b'=');
        encode_into(&self.client_id, &mut form);
        form.push(b'&');
        form.extend_from_slice(CLIENT_SECRET.as_bytes());
        form.push(b'=');
        encode_into(secret, &mut form);
        form
    }

    fn json(&self, body: &[u8], secret: &str) -> Result<Zeroizing<Vec<u8>>, Unsuitable> {
        let Members(members) = serde_json::from_slice(body)
            .map_err(|_| Unsuitable::new("the body has a JSON type but is not a JSON object"))?;
        // A character takes at most six bytes, as \u00XX. Enough for all of it: a buffer that grows
        // leaves a copy behind.
        let kept: usize =
            members.iter().map(|(name, value)| 6 * name.len() + value.get().len() + 4).sum();
        let ours = CLIENT_ID.len() + CLIENT_SECRET.len() + 16;
        let length = kept + ours + 6 * (self.client_id.len() + secret.len());
        let mut json = Zeroizing::new(Vec::with_capacity(length));
        json.push(b'{');
        for (name, value) in &members {
            member(&mut json, name, |json| {
                json.extend_from_slice(value.get().as_bytes());
                Ok(())
            })?;
            json.push(b',');
        }
        member(&mut json, CLIENT_ID, |json| string(json, &self.client_id))?;
        json.push(b',');
        member(&mut json, CLIENT_SECRET, |json| string(json, secret))?;
        json.push(b'}');
        Ok(json)
    }
}

impl Credential for ClientSecretPost {
    fn apply(
        &self,
        secret: &Secret,
        head: &mut Parts,
        body: Option<&Bytes>,
    ) -> Result<Applied, Unsuitable> {
        let Some(body) = body else {
            return Err(Unsuitable::new(
                "the body is larger than the layer may hold or could not be read",
            ));
        };
        if head.headers.contains_key(CONTENT_ENCODING) {
            return Err(Unsuitable::new("the body is compressed"));
        }
        let body = match media_type(&head.headers) {
            Some(form) if form.eq_ignore_ascii_case("application/x-www-form-urlencoded") => {
                self.form(body, secret.expose())
            }
            Some(json) if is_json(json) => self.json(body, secret.expose())?,
            _ => {
                return Err(Unsuitable::new(
                    "client_secret_post needs a Content-Type of application/x-www-form-urlencoded \
                     or application/json",
                ));
            }
        };
        Ok(Applied::ToBody(Bytes::from_owner(body)))
    }
}

impl fmt::Debug for ClientSecretPost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientSecretPost").field("client_id", &self.client_id).finish()
    }
}

fn is_ours(name: &str) -> bool {
    name == CLIENT_ID || name == CLIENT_SECRET
}

fn member(
    json: &mut Vec<u8>,
    name: &str,
    value: impl FnOnce(&mut Vec<u8>) -> Result<(), Unsuitable>,
) -> Result<(), Unsuitable> {
    string(json, name)?;
    json.push(b':');
    value(json)
}

fn string(json: &mut Vec<u8>, text: &str) -> Result<(), Unsuitable> {
    serde_json::to_writer(json, text)
        .map_err(|_| Unsuitable::new("a parameter cannot be written as JSON"))
}

/// The members of a JSON object that are not ours: values as they are written, in their order, also
/// numbers that no Rust type holds.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> serde::Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor).map(Members)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Vec<(String, &'de RawValue)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some((name, value)) = map.next_entry::<String, &'de RawValue>()? {
            if !is_ours(&name) {
                members.push((name, value));
            }
        }
        Ok(members)
    }
}
