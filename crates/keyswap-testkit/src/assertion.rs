//! `client_secret_jwt`: an assertion that the client signs with its secret (RFC 7523 sections 2.2 and 3).

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use serde::Deserialize;
use sha2::{Sha256, Sha384, Sha512};

use crate::parameters::{Malformed, Parameters};

const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// An assertion that is valid for longer than this is not accepted, in seconds.
const LONGEST_LIFETIME: u64 = 3600;

/// An assertion as it was sent. Nothing in it is to be believed before its signature was verified.
#[derive(Clone, Eq, PartialEq)]
pub(crate) struct Assertion {
    algorithm: Algorithm,
    /// The two parts that are signed, with the dot between them.
    signed: String,
    signature: Vec<u8>,
    claims: Claims,
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
enum Algorithm {
    #[serde(rename = "HS256")]
    Hs256,
    #[serde(rename = "HS384")]
    Hs384,
    #[serde(rename = "HS512")]
    Hs512,
}

#[derive(Deserialize)]
struct Header {
    alg: Algorithm,
}

#[derive(Clone, Deserialize, Eq, PartialEq)]
struct Claims {
    iss: String,
    sub: String,
    aud: Audience,
    jti: String,
    /// Unix seconds, as a JSON number.
    exp: u64,
}

#[derive(Clone, Deserialize, Eq, PartialEq)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

impl fmt::Debug for Assertion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Assertion").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

/// Why an assertion does not sign a client in: the answer is `invalid_client` (RFC 7523 section 3.2).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Unacceptable(pub(crate) &'static str);

impl Assertion {
    /// The assertion among the parameters, if there is one; what is no JWT with an HMAC is an error.
    pub(crate) fn among(parameters: &Parameters) -> Result<Option<Self>, Malformed> {
        let Some(assertion) = parameters.value("client_assertion") else { return Ok(None) };
        if parameters.value("client_assertion_type") != Some(JWT_BEARER) {
            return Err(Malformed("The client_assertion_type is not that of a JWT."));
        }
        let read = Self::read(assertion);
        read.map(Some)
            .ok_or(Malformed("The client_assertion is not a JWT that is signed with HMAC."))
    }

    fn read(assertion: &str) -> Option<Self> {
        let (signed, signature) = assertion.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).ok();
        let header: Header = serde_json::from_slice(&decode(header)?).ok()?;
        Some(Self {
            algorithm: header.alg,
            signed: signed.to_owned(),
            signature: decode(signature)?,
            claims: serde_json::from_slice(&decode(claims)?).ok()?,
        })
    }

    /// The client that it says it comes from.
    pub(crate) fn client_id(&self) -> &str {
        &self.claims.sub
    }

    pub(crate) fn id(&self) -> &str {
        &self.claims.jti
    }

    /// Unix seconds.
    pub(crate) fn expires(&self) -> u64 {
        self.claims.exp
    }

    pub(crate) fn is_signed_with(&self, secret: &str) -> bool {
        match self.algorithm {
            Algorithm::Hs256 => self.verifies::<Hmac<Sha256>>(secret),
            Algorithm::Hs384 => self.verifies::<Hmac<Sha384>>(secret),
            Algorithm::Hs512 => self.verifies::<Hmac<Sha512>>(secret),
        }
    }

    fn verifies<M: Mac + KeyInit>(&self, secret: &str) -> bool {
        let mut mac =
            <M as KeyInit>::new_from_slice(secret.as_bytes()).expect("HMAC takes any key");
        mac.update(self.signed.as_bytes());
        mac.verify_slice(&self.signature).is_ok()
    }

    /// Checks what RFC 7523 section 3 asks of the claims, at `now` in Unix seconds; not whether its id was
    /// used before.
    pub(crate) fn check(&self, audiences: &[String], now: u64) -> Result<(), Unacceptable> {
        let claims = &self.claims;
        let audience = match &claims.aud {
            Audience::One(audience) => audiences.contains(audience),
            Audience::Several(several) => several.iter().any(|one| audiences.contains(one)),
        };
        if claims.iss != claims.sub {
            return Err(Unacceptable("The assertion's iss is not its sub."));
        }
        if !audience {
            return Err(Unacceptable("The assertion's aud is another server."));
        }
        if claims.exp <= now {
            return Err(Unacceptable("The assertion has expired."));
        }
        if claims.exp > now.saturating_add(LONGEST_LIFETIME) {
            return Err(Unacceptable("The assertion is valid for more than an hour."));
        }
        if claims.jti.is_empty() {
            return Err(Unacceptable("The assertion's jti is empty."));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_jwt_with_an_hmac_cannot_be_read() {
        let claims = URL_SAFE_NO_PAD.encode(r#"{"iss":"a","sub":"a","aud":"b","jti":"c","exp":1}"#);
        for header in [r#"{"alg":"none"}"#, r#"{"alg":"RS256"}"#, "{}"] {
            let header = URL_SAFE_NO_PAD.encode(header);
            assert_eq!(Assertion::read(&format!("{header}.{claims}.")), None);
        }
        let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256"}"#);
        assert!(Assertion::read(&format!("{header}.{claims}.")).is_some());
        for bad in ["", "..", "a.b.c", &claims] {
            assert_eq!(Assertion::read(bad), None, "{bad}");
        }
    }

    #[test]
    fn debug_shows_nothing_that_could_be_used() {
        let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256"}"#);
        let claims = URL_SAFE_NO_PAD
            .encode(r#"{"iss":"a","sub":"a","aud":"b","jti":"an-identifier","exp":1}"#);
        let assertion = Assertion::read(&format!("{header}.{claims}.AAAA")).unwrap();
        let shown = format!("{assertion:?}");
        assert!(!shown.contains(&claims) && !shown.contains("an-identifier"), "{shown}");
    }
}
