//! How a token request says which client it comes from (RFC 6749 section 2.3.1).

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;

use crate::assertion::Assertion;
use crate::parameters::{Malformed, Parameters, decode_component};

/// The client that a request names, and how it proves that it is that client.
#[derive(Eq, PartialEq)]
pub(crate) struct Presented {
    pub(crate) client_id: String,
    pub(crate) proof: Proof,
}

#[derive(Eq, PartialEq)]
pub(crate) enum Proof {
    Missing,
    Secret(String),
    Assertion(Assertion),
}

impl fmt::Debug for Presented {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Presented").field("client_id", &self.client_id).finish_non_exhaustive()
    }
}

/// Reads `client_secret_basic`, `client_secret_post` or `client_secret_jwt`; two at once is an error (RFC 6749 section
/// 2.3).
pub(crate) fn presented(
    authorization: Option<&HeaderValue>,
    parameters: &Parameters,
) -> Result<Presented, Malformed> {
    let in_body = parameters.value("client_id");
    let secret_in_body = parameters.value("client_secret");
    let basic = authorization.and_then(basic_credentials);
    let assertion = Assertion::among(parameters)?;
    let methods = [basic.is_some(), secret_in_body.is_some(), assertion.is_some()];
    if methods.iter().filter(|used| **used).count() > 1 {
        return Err(Malformed("Client authentication must use one method only, not two."));
    }
    if let Some(assertion) = assertion {
        let client_id = assertion.client_id().to_owned();
        // RFC 7523 section 2.2: it is unnecessary, and must name the same client.
        if in_body.is_some_and(|in_body| in_body != client_id) {
            return Err(Malformed("The client_id differs from that of the client_assertion."));
        }
        return Ok(Presented { client_id, proof: Proof::Assertion(assertion) });
    }
    let Some(credentials) = basic else {
        let client_id = in_body.ok_or(Malformed("Missing required parameter: client_id"))?;
        let proof =
            secret_in_body.map_or(Proof::Missing, |secret| Proof::Secret(secret.to_owned()));
        return Ok(Presented { client_id: client_id.to_owned(), proof });
    };
    let basic = decode_basic(&credentials)?;
    if in_body.is_some_and(|client_id| client_id != basic.client_id) {
        return Err(Malformed("The client_id differs from that of the Authorization header."));
    }
    Ok(basic)
}

fn basic_credentials(authorization: &HeaderValue) -> Option<Vec<u8>> {
    let bytes = authorization.as_bytes();
    let (scheme, credentials) = bytes.split_at_checked("Basic ".len())?;
    scheme.eq_ignore_ascii_case(b"Basic ").then(|| credentials.to_vec())
}

fn decode_basic(credentials: &[u8]) -> Result<Presented, Malformed> {
    const BAD: Malformed =
        Malformed("The client credentials in the Authorization header are not properly encoded.");
    let decoded = STANDARD.decode(credentials.trim_ascii()).map_err(|_| BAD)?;
    let decoded = String::from_utf8(decoded).map_err(|_| BAD)?;
    let (client_id, secret) = decoded.split_once(':').ok_or(BAD)?;
    let client_id = decode_component(client_id).ok_or(BAD)?;
    let secret = decode_component(secret).ok_or(BAD)?;
    Ok(Presented { client_id, proof: Proof::Secret(secret) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn basic(credentials: &str) -> HeaderValue {
        HeaderValue::try_from(format!("Basic {}", STANDARD.encode(credentials))).unwrap()
    }

    fn form(form: &str) -> Parameters {
        Parameters::from_form(form.as_bytes()).unwrap()
    }

    #[test]
    fn basic_credentials_are_form_decoded() {
        let presented = presented(Some(&basic("bil%3Aling:p%2Bq+r%2F%3D:")), &form("")).unwrap();
        assert_eq!(presented.client_id, "bil:ling");
        assert!(presented.proof == Proof::Secret("p+q r/=:".to_owned()));
    }

    #[test]
    fn the_scheme_is_read_in_any_case_and_others_are_passed_over() {
        let lower = HeaderValue::from_str(
            basic("a:b").to_str().unwrap().replace("Basic", "basic").as_str(),
        );
        assert_eq!(presented(Some(&lower.unwrap()), &form("")).unwrap().client_id, "a");
        let bearer = HeaderValue::from_static("Bearer x");
        let post = form("client_id=a&client_secret=b");
        let presented = presented(Some(&bearer), &post).unwrap();
        assert!(presented.proof == Proof::Secret("b".to_owned()));
    }

    #[test]
    fn two_methods_at_once_are_refused_and_the_same_client_id_twice_is_not() {
        let header = basic("a:b");
        assert!(presented(Some(&header), &form("client_id=a&client_secret=b")).is_err());
        assert!(presented(Some(&header), &form("client_id=other")).is_err());
        assert!(presented(Some(&header), &form("client_id=a")).is_ok());
        let assertion = format!("client_assertion={}&{TYPE}", assertion("a"));
        assert!(presented(Some(&header), &form(&assertion)).is_err());
        assert!(presented(None, &form(&format!("{assertion}&client_secret=b"))).is_err());
        assert!(presented(None, &form(&format!("{assertion}&client_id=b"))).is_err());
        for id in ["", "&client_id=a"] {
            let presented = presented(None, &form(&format!("{assertion}{id}"))).unwrap();
            assert_eq!(presented.client_id, "a");
            assert!(matches!(presented.proof, Proof::Assertion(_)));
        }
    }

    const TYPE: &str =
        "client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer";

    /// One that says it comes from this client, with a wrong signature.
    fn assertion(client: &str) -> String {
        let claims =
            format!(r#"{{"iss":"{client}","sub":"{client}","aud":"x","jti":"y","exp":1}}"#);
        let encode = |text: &str| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text);
        format!("{}.{}.AAAA", encode(r#"{"alg":"HS256"}"#), encode(&claims))
    }

    #[test]
    fn an_assertion_without_its_type_or_that_cannot_be_read_is_malformed() {
        for bad in [
            format!("client_assertion={}", assertion("a")),
            format!("client_assertion={}&client_assertion_type=saml", assertion("a")),
            format!("client_assertion=abc&{TYPE}&client_id=a"),
        ] {
            assert!(presented(None, &form(&bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_cannot_be_decoded_is_malformed() {
        for bad in ["no-colon", "a:%zz"] {
            assert!(presented(Some(&basic(bad)), &form("")).is_err(), "{bad}");
        }
        assert!(presented(Some(&HeaderValue::from_static("Basic !")), &form("")).is_err());
        assert!(presented(None, &form("client_secret=b")).is_err());
    }

    #[test]
    fn debug_shows_no_secret() {
        let presented = presented(None, &form("client_id=a&client_secret=a-very-secret-value"));
        assert!(!format!("{presented:?}").contains("a-very-secret-value"));
    }
}
