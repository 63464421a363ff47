//! `client_secret_jwt`: an assertion that the secret signs.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use http::Uri;
use http::request::Parts;
use keyswap_core::Secret;
use rand::TryRng as _;
use rand::rngs::SysRng;
use serde::Serialize;
use sha2::{Sha256, Sha384, Sha512};

use super::parameters::{
    CLIENT_ASSERTION, CLIENT_ASSERTION_TYPE, CLIENT_ID, Format, SECRET_IN_BODY, refuse_header,
    refuse_query,
};
use super::wiped::Wiped;
use super::{Applied, ClientIds, Credential, NO_BODY, Unsuitable};

const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
const DEFAULT_LIFETIME: Duration = Duration::from_secs(60);
const LONGEST_LIFETIME: Duration = Duration::from_secs(3600);

/// An assertion that the secret signs (RFC 7523 section 2.2; `client_secret_jwt` in OpenID Connect Core
/// section 9): the server learns that the client has the secret, and the secret itself is not sent.
///
/// The parameters `client_assertion`, `client_assertion_type` and `client_id` go into the body, a form or
/// JSON as the `Content-Type` says. Those of the same names are replaced, all others stay. Each attempt
/// has an assertion of its own, with a random `jti` of 128 bits: a server may refuse one that it saw
/// before. The claims are `iss` and `sub` (the client id), `aud`, `jti`, `iat` and `exp`.
///
/// A request that the assertion cannot or must not be put on goes out once, unchanged, as with
/// [`ClientSecretPost`](super::ClientSecretPost): here also one with a `client_secret` in its body.
///
/// The key is the secret's UTF-8 text (OpenID Connect Core section 10.1). RFC 7518 section 3.2 wants it
/// at least as long as the hash: 32, 48 or 64 bytes. Whether a shorter one is taken is up to the server;
/// the secrets that [`Generator`](keyswap_core::Generator) makes have 64 characters, enough for all
/// three. The clock of the machine is used, and must be right to within the assertion's lifetime.
///
/// ```
/// use keyswap_core::{Secret, SecretList, SecretRing};
/// use keyswap_tower::credential::{ClientSecretJwt, HmacAlgorithm};
/// use keyswap_tower::FallbackLayer;
///
/// let secret = Secret::new("a".parse()?, "v8Zq0dHf3Kp7Xc2Wn5Rt9Ym4Ls6Gb1Ju")?;
/// let ring = SecretRing::new(SecretList::new([secret])?);
/// let credential = ClientSecretJwt::new("s6BhdRkqt3")
///     .audience("https://auth.example")
///     .algorithm(HmacAlgorithm::Hs256);
/// let layer = FallbackLayer::new(ring, credential);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct ClientSecretJwt {
    client_ids: ClientIds,
    audience: Option<Arc<str>>,
    algorithm: HmacAlgorithm,
    lifetime: Duration,
}

impl ClientSecretJwt {
    /// For the client with this id, or with these [`ClientIds`]; signed with HS256, valid for 60 s, and
    /// meant for the URL that the request goes to.
    #[must_use]
    pub fn new(client: impl Into<ClientIds>) -> Self {
        Self {
            client_ids: client.into(),
            audience: None,
            algorithm: HmacAlgorithm::default(),
            lifetime: DEFAULT_LIFETIME,
        }
    }

    /// Whom the assertion is meant for (`aud`): what the server calls itself.
    ///
    /// The default is the URL of the request without its query, since "the Audience SHOULD be the URL of
    /// the Authorization Server's Token Endpoint" (OpenID Connect Core section 9); it needs a request
    /// with an absolute URI. Give it where the server is known by another URL than the one it is reached
    /// by, and where it wants its issuer identifier, as the revision of RFC 7523 that is being drafted
    /// (`draft-ietf-oauth-rfc7523bis`) asks for.
    #[must_use]
    pub fn audience(mut self, audience: impl Into<Arc<str>>) -> Self {
        self.audience = Some(audience.into());
        self
    }

    /// How the assertion is signed. Default HS256.
    #[must_use]
    pub fn algorithm(mut self, algorithm: HmacAlgorithm) -> Self {
        self.algorithm = algorithm;
        self
    }

    /// How long an assertion is valid: 1 s to 1 h, in whole seconds, default 60 s. What is outside of
    /// these bounds is brought to the nearer one.
    ///
    /// Many servers take no assertion that is valid for more than a minute, or for more than an hour.
    #[must_use]
    pub fn lifetime(mut self, lifetime: Duration) -> Self {
        self.lifetime = lifetime.clamp(Duration::from_secs(1), LONGEST_LIFETIME);
        self
    }

    /// The assertion that is made at `now`, with the identifier `jti`.
    fn assertion(
        &self,
        client_id: &str,
        audience: &str,
        secret: &Secret,
        now: SystemTime,
        jti: [u8; 16],
    ) -> Result<Wiped, Unsuitable> {
        let issued = now
            .duration_since(UNIX_EPOCH)
            .map_err(|_| Unsuitable::new("the clock of this machine stands before 1970"))?
            .as_secs();
        let mut identifier = [0; 22];
        let unsuitable = Unsuitable::new("the assertion cannot be written");
        URL_SAFE_NO_PAD.encode_slice(jti, &mut identifier).map_err(|_| unsuitable)?;
        let claims = Claims {
            iss: client_id,
            sub: client_id,
            aud: audience,
            jti: std::str::from_utf8(&identifier).map_err(|_| unsuitable)?,
            iat: issued,
            exp: issued + self.lifetime.as_secs(),
        };
        let claims = serde_json::to_vec(&claims).map_err(|_| unsuitable)?;
        let header = self.algorithm.header();
        let signature_length = encoded_length(self.algorithm.output_length());
        let signed_length = encoded_length(header.len()) + 1 + encoded_length(claims.len());
        let mut assertion = Wiped::with_capacity(signed_length + 1 + signature_length);
        append(&mut assertion, header.as_bytes())?;
        assertion.push(b'.');
        append(&mut assertion, &claims)?;
        let key = secret.expose().as_bytes();
        match self.algorithm {
            HmacAlgorithm::Hs256 => append_signature::<Hmac<Sha256>>(&mut assertion, key)?,
            HmacAlgorithm::Hs384 => append_signature::<Hmac<Sha384>>(&mut assertion, key)?,
            HmacAlgorithm::Hs512 => append_signature::<Hmac<Sha512>>(&mut assertion, key)?,
        }
        Ok(assertion)
    }
}

#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    sub: &'a str,
    aud: &'a str,
    jti: &'a str,
    iat: u64,
    exp: u64,
}

fn append_signature<M: Mac + KeyInit>(signed: &mut Vec<u8>, key: &[u8]) -> Result<(), Unsuitable> {
    let mut mac = <M as KeyInit>::new_from_slice(key)
        .map_err(|_| Unsuitable::new("the secret cannot be the key of an HMAC"))?;
    mac.update(signed);
    signed.push(b'.');
    append(signed, &mac.finalize().into_bytes())
}

/// The length of this many bytes in base64url without padding.
fn encoded_length(length: usize) -> usize {
    (length * 4).div_ceil(3)
}

fn append(to: &mut Vec<u8>, bytes: &[u8]) -> Result<(), Unsuitable> {
    let start = to.len();
    to.resize(start + encoded_length(bytes.len()), 0);
    URL_SAFE_NO_PAD
        .encode_slice(bytes, &mut to[start..])
        .map(drop)
        .map_err(|_| Unsuitable::new("the assertion cannot be written"))
}

/// The URL that a request goes to: without a query, and without the user information, which may hold a
/// password.
fn endpoint(uri: &Uri) -> Result<String, Unsuitable> {
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return Err(Unsuitable::new(
            "the request has no absolute URI, so that the assertion's audience is not known: give it \
             with ClientSecretJwt::audience",
        ));
    };
    let (host, path) = (authority.host(), uri.path());
    Ok(match authority.port_u16() {
        Some(port) => format!("{scheme}://{host}:{port}{path}"),
        None => format!("{scheme}://{host}{path}"),
    })
}

impl Credential for ClientSecretJwt {
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
        if carried.secret {
            return Err(SECRET_IN_BODY);
        }
        let id = self.client_ids.of(secret.id())?;
        let derived;
        let audience = match &self.audience {
            Some(audience) => audience,
            None => {
                derived = endpoint(&head.uri)?;
                derived.as_str()
            }
        };
        let mut jti = [0; 16];
        SysRng
            .try_fill_bytes(&mut jti)
            .map_err(|_| Unsuitable::new("the operating system's random source failed"))?;
        let assertion = self.assertion(&id, audience, secret, SystemTime::now(), jti)?;
        let assertion = std::str::from_utf8(&assertion)
            .map_err(|_| Unsuitable::new("the assertion cannot be written"))?;
        let ours =
            [(CLIENT_ID, &*id), (CLIENT_ASSERTION_TYPE, JWT_BEARER), (CLIENT_ASSERTION, assertion)];
        let body = format.replace(body, &ours)?;
        Ok(if carried.assertion { Applied::ToBodyInstead(body) } else { Applied::ToBody(body) })
    }
}

impl fmt::Debug for ClientSecretJwt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientSecretJwt")
            .field("client_id", &self.client_ids)
            .field("audience", &self.audience)
            .field("algorithm", &self.algorithm)
            .field("lifetime", &self.lifetime)
            .finish()
    }
}

/// How a [`ClientSecretJwt`] is signed (RFC 7518 section 3.2).
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum HmacAlgorithm {
    /// HMAC with SHA-256: the default, and the one that servers know best.
    #[default]
    Hs256,
    /// HMAC with SHA-384.
    Hs384,
    /// HMAC with SHA-512.
    Hs512,
}

impl HmacAlgorithm {
    const fn header(self) -> &'static str {
        match self {
            Self::Hs256 => r#"{"alg":"HS256","typ":"JWT"}"#,
            Self::Hs384 => r#"{"alg":"HS384","typ":"JWT"}"#,
            Self::Hs512 => r#"{"alg":"HS512","typ":"JWT"}"#,
        }
    }

    const fn output_length(self) -> usize {
        match self {
            Self::Hs256 => 32,
            Self::Hs384 => 48,
            Self::Hs512 => 64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 7515 appendix A.1, and test case 2 of RFC 4231.
    #[test]
    fn signatures_are_those_of_the_rfcs() {
        let key = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";
        let signed = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
        let mut token = signed.as_bytes().to_vec();
        let key = URL_SAFE_NO_PAD.decode(key).unwrap();
        append_signature::<Hmac<Sha256>>(&mut token, &key).unwrap();
        let token = String::from_utf8(token).unwrap();
        assert_eq!(token, format!("{signed}.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"));

        fn signature<M: Mac + KeyInit>() -> String {
            let mut signed = b"what do ya want for nothing?".to_vec();
            append_signature::<M>(&mut signed, b"Jefe").unwrap();
            let signature = URL_SAFE_NO_PAD.decode(&signed[29..]).unwrap();
            signature.iter().map(|byte| format!("{byte:02x}")).collect()
        }
        assert_eq!(
            signature::<Hmac<Sha384>>(),
            "af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47e42ec3736322445e8e2240ca5e69e2c78b3239ecfab21649"
        );
        assert_eq!(
            signature::<Hmac<Sha512>>(),
            "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea2505549758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737"
        );
    }

    #[test]
    fn an_assertion_holds_exactly_the_claims_of_its_time_and_identifier() {
        let secret = Secret::new("a".parse().unwrap(), "v8Zq0dHf3Kp7Xc2Wn5Rt9Ym4Ls6Gb1Ju").unwrap();
        let now = UNIX_EPOCH + Duration::from_millis(1_700_000_000_999);
        let credential = ClientSecretJwt::new("x").lifetime(Duration::from_secs(90));
        let assertion = credential.assertion("a\"b", "https://auth/", &secret, now, [255; 16]);
        let assertion = String::from_utf8(assertion.unwrap().to_vec()).unwrap();
        let parts: Vec<_> = assertion.split('.').collect();
        let decoded =
            |part: &str| String::from_utf8(URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap();
        assert_eq!(decoded(parts[0]), r#"{"alg":"HS256","typ":"JWT"}"#);
        assert_eq!(
            decoded(parts[1]),
            r#"{"iss":"a\"b","sub":"a\"b","aud":"https://auth/","jti":"_____________________w","iat":1700000000,"exp":1700000090}"#
        );
        assert_eq!((parts.len(), parts[2].len()), (3, 43));
        let before = UNIX_EPOCH - Duration::from_secs(1);
        let error = credential.assertion("a", "b", &secret, before, [0; 16]).err().unwrap();
        assert!(error.to_string().contains("1970"), "{error}");
    }

    #[test]
    fn a_lifetime_is_between_a_second_and_an_hour() {
        for (given, taken) in
            [(0, 1), (1, 1), (60, 60), (3600, 3600), (3601, 3600), (u64::MAX, 3600)]
        {
            let credential = ClientSecretJwt::new("x").lifetime(Duration::from_secs(given));
            assert_eq!(credential.lifetime.as_secs(), taken);
        }
    }

    #[test]
    fn the_audience_is_the_endpoint_without_query_and_user_information() {
        for (uri, expected) in [
            ("https://auth.example/token?x=1", "https://auth.example/token"),
            ("https://user:hunter2@auth.example:8443/a/b", "https://auth.example:8443/a/b"),
            ("http://[::1]:8080", "http://[::1]:8080/"),
        ] {
            assert_eq!(endpoint(&uri.parse().unwrap()).unwrap(), expected);
        }
        let error = endpoint(&Uri::from_static("/token")).unwrap_err();
        assert!(error.to_string().contains("ClientSecretJwt::audience"), "{error}");
    }
}
