//! Access tokens: signed, so that the server knows its own without keeping any.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use rand::RngExt;
use serde::{Deserialize, Serialize};
use sha2::Sha256;

/// What a token says, with the claims that Auth0 puts in those of the client credentials grant.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct Claims {
    pub(crate) iss: String,
    pub(crate) sub: String,
    pub(crate) aud: String,
    /// Unix seconds.
    pub(crate) iat: u64,
    /// Unix seconds; from then on the token is no longer accepted.
    pub(crate) exp: u64,
    pub(crate) azp: String,
    /// Separated by spaces.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) scope: String,
}

impl Claims {
    pub(crate) fn has_any_scope(&self, scopes: &[&str]) -> bool {
        self.scope.split(' ').any(|scope| scopes.contains(&scope))
    }
}

/// Why a token is not accepted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Unacceptable {
    /// Not issued by this server, or revoked since.
    Unknown,
    Expired,
}

/// Signs tokens with a key that lives as long as the server, or until its tokens are revoked.
pub(crate) struct Issuer {
    key: Mutex<[u8; 32]>,
}

impl fmt::Debug for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issuer").finish_non_exhaustive()
    }
}

impl Issuer {
    pub(crate) fn new() -> Self {
        Self { key: Mutex::new(rand::rng().random()) }
    }

    /// Makes every token issued so far unknown.
    pub(crate) fn revoke_all(&self) {
        *self.key.lock().unwrap_or_else(PoisonError::into_inner) = rand::rng().random();
    }

    /// A token with these claims, which are [`Claims`] and what a vendor has besides.
    pub(crate) fn issue(&self, claims: &impl Serialize) -> String {
        let head = URL_SAFE_NO_PAD.encode(br#"{"alg":"HS256","typ":"JWT"}"#);
        let claims = serde_json::to_vec(claims).expect("claims are strings and numbers");
        let signed = format!("{head}.{}", URL_SAFE_NO_PAD.encode(claims));
        let signature = self.mac(&signed).finalize().into_bytes();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// The claims of a token that this server issued and that has not expired at `now`, in Unix seconds.
    pub(crate) fn verify(&self, token: &str, now: u64) -> Result<Claims, Unacceptable> {
        let claims = self.claims(token).ok_or(Unacceptable::Unknown)?;
        if now < claims.exp { Ok(claims) } else { Err(Unacceptable::Expired) }
    }

    fn claims(&self, token: &str) -> Option<Claims> {
        let (signed, signature) = token.rsplit_once('.')?;
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        self.mac(signed).verify_slice(&signature).ok()?;
        let (_, claims) = signed.split_once('.')?;
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()
    }

    fn mac(&self, signed: &str) -> Hmac<Sha256> {
        let key = self.key.lock().unwrap_or_else(PoisonError::into_inner);
        let mut mac =
            Hmac::<Sha256>::new_from_slice(&*key).expect("HMAC takes a key of any length");
        mac.update(signed.as_bytes());
        mac
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims() -> Claims {
        Claims {
            iss: "http://127.0.0.1:1/".to_owned(),
            sub: "billing@clients".to_owned(),
            aud: "https://api.example/".to_owned(),
            iat: 100,
            exp: 200,
            azp: "billing".to_owned(),
            scope: "read:clients update:clients".to_owned(),
        }
    }

    #[test]
    fn a_token_is_accepted_until_it_expires() {
        let issuer = Issuer::new();
        let token = issuer.issue(&claims());
        assert_eq!(issuer.verify(&token, 199), Ok(claims()));
        assert_eq!(issuer.verify(&token, 200), Err(Unacceptable::Expired));
    }

    #[test]
    fn a_token_of_another_server_or_a_changed_or_revoked_one_is_unknown() {
        let issuer = Issuer::new();
        let token = issuer.issue(&claims());
        assert_eq!(Issuer::new().verify(&token, 100), Err(Unacceptable::Unknown));
        let (head, rest) = token.split_once('.').unwrap();
        let (_, signature) = rest.split_once('.').unwrap();
        let mut more = claims();
        more.scope.push_str(" update:client_keys");
        let more = URL_SAFE_NO_PAD.encode(serde_json::to_vec(&more).unwrap());
        for forged in [format!("{head}.{more}.{signature}"), format!("{head}.{more}."), "".into()] {
            assert_eq!(issuer.verify(&forged, 100), Err(Unacceptable::Unknown), "{forged}");
        }
        issuer.revoke_all();
        assert_eq!(issuer.verify(&token, 100), Err(Unacceptable::Unknown));
    }

    #[test]
    fn a_scope_is_matched_whole() {
        assert!(claims().has_any_scope(&["update:clients"]));
        assert!(!claims().has_any_scope(&["update:client", "read"]));
    }
}
