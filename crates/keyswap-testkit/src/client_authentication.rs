//! How a token request says which client it comes from (RFC 6749 section 2.3.1).

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;

use crate::parameters::{Malformed, Parameters, decode_component};

/// The client that a request names, and the secret that it shows.
#[derive(Eq, PartialEq)]
pub(crate) struct Presented {
    pub(crate) client_id: String,
    pub(crate) secret: Option<String>,
}

impl fmt::Debug for Presented {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Presented").field("client_id", &self.client_id).finish_non_exhaustive()
    }
}

/// Reads `client_secret_basic` or `client_secret_post`; both at once is an error (RFC 6749 section 2.3).
pub(crate) fn presented(
    authorization: Option<&HeaderValue>,
    parameters: &Parameters,
) -> Result<Presented, Malformed> {
    let in_body = parameters.value("client_id");
    let secret_in_body = parameters.value("client_secret");
    let Some(credentials) = authorization.and_then(basic_credentials) else {
        let client_id = in_body.ok_or(Malformed("Missing required parameter: client_id"))?;
        return Ok(Presented {
            client_id: client_id.to_owned(),
            secret: secret_in_body.map(str::to_owned),
        });
    };
    let basic = decode_basic(&credentials)?;
    if secret_in_body.is_some() {
        return Err(Malformed("Client authentication must use one method only, not two."));
    }
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
    Ok(Presented { client_id, secret: Some(secret) })
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
        assert_eq!(presented.secret.as_deref(), Some("p+q r/=:"));
    }

    #[test]
    fn the_scheme_is_read_in_any_case_and_others_are_passed_over() {
        let lower = HeaderValue::from_str(
            basic("a:b").to_str().unwrap().replace("Basic", "basic").as_str(),
        );
        assert_eq!(presented(Some(&lower.unwrap()), &form("")).unwrap().client_id, "a");
        let bearer = HeaderValue::from_static("Bearer x");
        let post = form("client_id=a&client_secret=b");
        assert_eq!(presented(Some(&bearer), &post).unwrap().secret.as_deref(), Some("b"));
    }

    #[test]
    fn two_methods_at_once_are_refused_and_the_same_client_id_twice_is_not() {
        let header = basic("a:b");
        assert!(presented(Some(&header), &form("client_id=a&client_secret=b")).is_err());
        assert!(presented(Some(&header), &form("client_id=other")).is_err());
        assert!(presented(Some(&header), &form("client_id=a")).is_ok());
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
