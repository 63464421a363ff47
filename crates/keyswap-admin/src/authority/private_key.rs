//! A management client that signs in by its private key (`private_key_jwt`: RFC 7523 section 2.2, OpenID Connect Core
//! section 9).

use std::fmt;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::Extensions;
use reqwest_middleware::{Middleware, Next};
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject;
use serde_json::json;
use url::form_urlencoded::Serializer;

use super::{AuthorityError, AuthorityErrorKind};

const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// How long an assertion is valid, in seconds.
const LIFETIME: u64 = 300;

/// A private key that assertions are signed with: RSA (RS256) or the elliptic curve P-256 (ES256).
///
/// Its `Debug` shows which of the two it is. The key lies in the memory of the cryptography library, which wipes it
/// when the last clone is dropped.
#[derive(Clone)]
pub struct PrivateKey {
    pair: Arc<Pair>,
}

enum Pair {
    Rsa(RsaKeyPair),
    Ec(EcdsaKeyPair),
}

impl PrivateKey {
    /// Reads a key in PEM: PKCS #8 (`BEGIN PRIVATE KEY`), or PKCS #1 (`BEGIN RSA PRIVATE KEY`).
    ///
    /// # Errors
    ///
    /// [`AuthorityErrorKind::Configuration`] if it is none, and why. Nothing of the text is repeated.
    pub fn from_pem(pem: &[u8]) -> Result<Self, AuthorityError> {
        let wrong = |reason: &str| {
            AuthorityError::new(
                AuthorityErrorKind::Configuration,
                format!(
                    "the private key cannot be used: {reason}. It should be an unencrypted key in PEM, RSA of 2048 \
                     bits or more, or of the curve P-256"
                ),
            )
        };
        let der = PrivateKeyDer::from_pem_slice(pem)
            .map_err(|_| wrong("it holds no key between lines BEGIN and END"))?;
        let pair = match &der {
            PrivateKeyDer::Pkcs1(key) => {
                RsaKeyPair::from_der(key.secret_pkcs1_der()).map(Pair::Rsa).ok()
            }
            PrivateKeyDer::Pkcs8(key) => {
                let key = key.secret_pkcs8_der();
                let ec = || EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, key);
                let rsa = RsaKeyPair::from_pkcs8(key).map(Pair::Rsa).ok();
                rsa.or_else(|| ec().map(Pair::Ec).ok())
            }
            _ => {
                return Err(wrong(
                    "it is in the format SEC 1 (`BEGIN EC PRIVATE KEY`): convert it to PKCS #8",
                ));
            }
        };
        let pair =
            pair.ok_or_else(|| wrong("its kind, its curve or its length is not one of these"))?;
        Ok(Self { pair: Arc::new(pair) })
    }

    fn algorithm(&self) -> &'static str {
        match &*self.pair {
            Pair::Rsa(_) => "RS256",
            Pair::Ec(_) => "ES256",
        }
    }

    fn sign(&self, message: &[u8]) -> Option<Vec<u8>> {
        let random = SystemRandom::new();
        match &*self.pair {
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).ok()?;
                Some(signature)
            }
            Pair::Ec(pair) => Some(pair.sign(&random, message).ok()?.as_ref().to_vec()),
        }
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PrivateKey").field(&self.algorithm()).finish()
    }
}

/// Puts an assertion of its own on each token request that passes: a server may refuse one that it saw before.
pub(super) struct Asserting {
    pub(super) key: PrivateKey,
    /// Which of the client's keys it is (`kid`).
    pub(super) key_id: Option<String>,
    pub(super) client: String,
    /// Whom assertions are meant for: the address of the token endpoint.
    pub(super) audience: String,
}

impl Asserting {
    /// The assertion that is made at `now`, in Unix seconds, with the identifier `jti`.
    fn assertion(&self, now: u64, jti: [u8; 16]) -> Option<String> {
        let mut header = json!({ "alg": self.key.algorithm(), "typ": "JWT" });
        if let Some(id) = &self.key_id {
            header["kid"] = id.as_str().into();
        }
        let claims = json!({
            "iss": self.client,
            "sub": self.client,
            "aud": self.audience,
            "jti": URL_SAFE_NO_PAD.encode(jti),
            "iat": now,
            "exp": now + LIFETIME,
        });
        let encode = |part: &serde_json::Value| URL_SAFE_NO_PAD.encode(part.to_string());
        let signed = format!("{}.{}", encode(&header), encode(&claims));
        let signature = self.key.sign(signed.as_bytes())?;
        Some(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }
}

#[async_trait::async_trait]
impl Middleware for Asserting {
    async fn handle(
        &self,
        mut request: reqwest::Request,
        extensions: &mut Extensions,
        next: Next<'_>,
    ) -> reqwest_middleware::Result<reqwest::Response> {
        let failed = |reason: &str| {
            reqwest_middleware::Error::Middleware(std::io::Error::other(reason.to_owned()).into())
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.map_err(|_| failed("the clock of this machine stands before 1970"))?;
        let assertion = self
            .assertion(now.as_secs(), rand::random())
            .ok_or_else(|| failed("the assertion could not be signed"))?;
        let form = request.body().and_then(reqwest::Body::as_bytes).unwrap_or_default();
        let form = String::from_utf8_lossy(form).into_owned();
        let form = Serializer::new(form)
            .append_pair("client_assertion_type", JWT_BEARER)
            .append_pair("client_assertion", &assertion)
            .finish();
        *request.body_mut() = Some(form.into());
        next.run(request, extensions).await
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
    use aws_lc_rs::rsa::KeySize;
    use aws_lc_rs::signature::{
        ECDSA_P256_SHA256_FIXED, KeyPair, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey,
    };
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    fn pem(der: &[u8]) -> String {
        format!(
            "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
            STANDARD.encode(der)
        )
    }

    fn assertion(key: PrivateKey) -> String {
        let asserting = Asserting {
            key,
            key_id: Some("key-1".to_owned()),
            client: "0oarotator".to_owned(),
            audience: "https://org.okta.com/oauth2/v1/token".to_owned(),
        };
        asserting.assertion(1_700_000_000, [255; 16]).unwrap()
    }

    #[test]
    fn an_assertion_is_signed_by_the_key_and_holds_the_claims_of_its_time_and_nothing_of_the_key() {
        let ec = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let text = pem(ec.to_pkcs8v1().unwrap().as_ref());
        let key = PrivateKey::from_pem(text.as_bytes()).unwrap();
        let shown = format!("{key:?}");
        assert_eq!(shown, "PrivateKey(\"ES256\")");
        let assertion = assertion(key);
        let (signed, signature) = assertion.rsplit_once('.').unwrap();
        let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, ec.public_key());
        let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
        public.verify(signed.as_bytes(), &signature).unwrap();
        let (header, claims) = signed.split_once('.').unwrap();
        let decode = |part: &str| -> serde_json::Value {
            serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
        };
        assert_eq!(decode(header), json!({"alg": "ES256", "typ": "JWT", "kid": "key-1"}));
        let expected = json!({
            "iss": "0oarotator", "sub": "0oarotator", "aud": "https://org.okta.com/oauth2/v1/token",
            "jti": "_____________________w", "iat": 1_700_000_000, "exp": 1_700_000_300,
        });
        assert_eq!(decode(claims), expected);
    }

    #[test]
    fn an_rsa_key_signs_as_well() {
        let rsa = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
        let der: Pkcs8V1Der<'_> = rsa.as_der().unwrap();
        let key = PrivateKey::from_pem(pem(der.as_ref()).as_bytes()).unwrap();
        assert_eq!(format!("{key:?}"), "PrivateKey(\"RS256\")");
        let assertion = assertion(key);
        let (signed, signature) = assertion.rsplit_once('.').unwrap();
        let public = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, rsa.public_key());
        let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
        public.verify(signed.as_bytes(), &signature).unwrap();
    }

    #[test]
    fn what_is_no_key_is_refused_without_being_repeated() {
        let refused = |text: &str| {
            let error = PrivateKey::from_pem(text.as_bytes()).unwrap_err();
            assert_eq!(error.kind(), AuthorityErrorKind::Configuration);
            let error = error.to_string();
            assert!(
                error.contains("unencrypted key in PEM") && !error.contains("aHVudGVyMg"),
                "{error}"
            );
            error
        };
        assert!(refused("aHVudGVyMg==").contains("no key between"));
        assert!(refused("").contains("no key between"));
        let begun = "-----BEGIN PRIVATE KEY-----\naHVudGVyMg==\n-----END PRIVATE KEY-----\n";
        assert!(refused(begun).contains("its kind, its curve"));
        assert!(refused(&begun.replace("PRIVATE", "EC PRIVATE")).contains("PKCS #8"));
        assert!(refused(&begun.replace("PRIVATE KEY", "CERTIFICATE")).contains("no key between"));
    }
}
