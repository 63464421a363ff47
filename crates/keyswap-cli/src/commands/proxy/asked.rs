//! What a program's request says about the client, and the request without that.

use std::borrow::Cow;
use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, StatusCode};
use serde_json::value::RawValue;
use url::form_urlencoded;
use zeroize::Zeroizing;

use super::refusal::Refusal;

/// What a program asks for.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Asked {
    /// The client that it names, if it names one.
    pub(super) client: Option<String>,
    /// Its parameters, without the client's id and without whatever it holds for a secret.
    pub(super) body: Bytes,
}

/// Parameters about the client that the proxy puts in itself.
const OF_THE_CLIENT: [&str; 2] = ["client_id", "client_secret"];
/// Parameters that sign in by a key, which is no secret to be put in.
const OF_A_KEY: [&str; 2] = ["client_assertion", "client_assertion_type"];

impl Asked {
    /// Reads a request: a form or a JSON object, with the client in the `Authorization` header, in the body or nowhere.
    pub(super) fn read(headers: &HeaderMap, body: &[u8]) -> Result<Self, Refusal> {
        let in_header = basic(headers)?;
        let (in_body, body) = match media_type(headers)? {
            Media::Form => form(body)?,
            Media::Json => json(body)?,
        };
        let client = match (in_header, in_body) {
            (Some(header), Some(body)) if !header.names(&body) => {
                return Err(Refusal::request(
                    "the Authorization header and the body name two clients: name one",
                ));
            }
            (_, Some(body)) => Some(body),
            (Some(header), None) => Some(header.decoded),
            (None, None) => None,
        };
        Ok(Self { client, body })
    }
}

enum Media {
    Form,
    Json,
}

fn media_type(headers: &HeaderMap) -> Result<Media, Refusal> {
    let unsupported = |reason| Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, reason));
    if headers.contains_key(CONTENT_ENCODING) {
        return unsupported(
            "the body is compressed, and a secret cannot be put into it: send it plain",
        );
    }
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = value.map(|value| value.split(';').next().unwrap_or_default().trim());
    match essence {
        Some(form) if form.eq_ignore_ascii_case("application/x-www-form-urlencoded") => {
            Ok(Media::Form)
        }
        Some(json) if json.eq_ignore_ascii_case("application/json") => Ok(Media::Json),
        _ => unsupported(
            "a token request has a Content-Type of application/x-www-form-urlencoded (RFC 6749 section 4) or, where \
             the server takes it, application/json",
        ),
    }
}

/// A client id of a Basic header: form-encoded as RFC 6749 section 2.3.1 has it, or as RFC 7617 alone has it.
struct InHeader {
    decoded: String,
    as_it_is: String,
}

impl InHeader {
    fn names(&self, client: &str) -> bool {
        self.decoded == client || self.as_it_is == client
    }
}

fn basic(headers: &HeaderMap) -> Result<Option<InHeader>, Refusal> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Refusal::request("the request has several Authorization headers"));
    }
    let wrong = || {
        Refusal::request(
            "the Authorization header is not Basic with client id and secret: leave it out, or write any secret into it",
        )
    };
    let value = value.as_bytes();
    let (scheme, encoded) = value.split_at_checked("basic ".len()).ok_or_else(wrong)?;
    if !scheme.eq_ignore_ascii_case(b"basic ") {
        return Err(wrong());
    }
    let pair = Zeroizing::new(STANDARD.decode(encoded.trim_ascii()).map_err(|_| wrong())?);
    let pair = std::str::from_utf8(&pair).map_err(|_| wrong())?;
    let (id, _) = pair.split_once(':').ok_or_else(wrong)?;
    // As the value of a parameter, so that `+` and escapes are read.
    let decoded = form_urlencoded::parse(id.replace('&', "%26").replace('=', "%3D").as_bytes())
        .next()
        .map(|(id, _)| id.into_owned());
    Ok(Some(InHeader { decoded: decoded.unwrap_or_default(), as_it_is: id.to_owned() }))
}

/// The client of a form, and the form without it; what stays does so byte for byte.
fn form(body: &[u8]) -> Result<(Option<String>, Bytes), Refusal> {
    let mut client = None;
    let mut kept: Vec<u8> = Vec::with_capacity(body.len());
    for segment in body.split(|byte| *byte == b'&').filter(|segment| !segment.is_empty()) {
        let (name, value) = form_urlencoded::parse(segment).next().unwrap_or_default();
        check_not_signed(&name)?;
        if name == "client_id" && client.replace(value.into_owned()).is_some() {
            return Err(named_twice());
        }
        if !OF_THE_CLIENT.contains(&&*name) {
            if !kept.is_empty() {
                kept.push(b'&');
            }
            kept.extend_from_slice(segment);
        }
    }
    Ok((client, kept.into()))
}

/// The client of a JSON object, and the object without it; values stay as they are written.
fn json(body: &[u8]) -> Result<(Option<String>, Bytes), Refusal> {
    let wrong = || Refusal::request("the body has a JSON type and is no JSON object");
    let mut members: BTreeMap<Cow<'_, str>, Box<RawValue>> =
        serde_json::from_slice(body).map_err(|_| wrong())?;
    for name in members.keys() {
        check_not_signed(name)?;
    }
    let client = members.get("client_id").map(|id| serde_json::from_str::<String>(id.get()));
    let client = client.transpose().map_err(|_| Refusal::request("`client_id` is no text"))?;
    members.retain(|name, _| !OF_THE_CLIENT.contains(&&**name));
    let kept = serde_json::to_vec(&members).map_err(|_| wrong())?;
    Ok((client, kept.into()))
}

fn check_not_signed(name: &str) -> Result<(), Refusal> {
    if OF_A_KEY.contains(&name) {
        return Err(Refusal::request(
            "the request signs in with a client_assertion, and this proxy puts in a client secret: leave the assertion \
             out, or send the request to the server itself",
        ));
    }
    Ok(())
}

fn named_twice() -> Refusal {
    Refusal::request("`client_id` is named twice (RFC 6749 section 3.2)")
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    const FORM: &str = "application/x-www-form-urlencoded";

    fn headers(content_type: &str, authorization: Option<&str>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, content_type.parse().unwrap());
        if let Some(pair) = authorization {
            let value = format!("Basic {}", STANDARD.encode(pair));
            headers.insert(AUTHORIZATION, value.parse().unwrap());
        }
        headers
    }

    fn read(
        content_type: &str,
        pair: Option<&str>,
        body: &str,
    ) -> Result<(Option<String>, String), String> {
        let asked = Asked::read(&headers(content_type, pair), body.as_bytes());
        let text = |body: Bytes| String::from_utf8(body.to_vec()).unwrap();
        asked
            .map(|asked| (asked.client, text(asked.body)))
            .map_err(|refusal| refusal.reason().to_owned())
    }

    #[test]
    fn the_client_is_found_wherever_a_program_names_it_and_its_secret_is_left_out() {
        let grant = "grant_type=client_credentials&scope=a%20b";
        let cases = [
            (None, grant.to_owned(), None),
            (Some("billing:dummy"), grant.to_owned(), Some("billing")),
            (Some("billing:"), grant.to_owned(), Some("billing")),
            (Some("a%3Ab+c:x"), grant.to_owned(), Some("a:b c")),
            (Some("a&b=c:x"), grant.to_owned(), Some("a&b=c")),
            (None, format!("client_id=billing&{grant}&client_secret=dummy"), Some("billing")),
            (None, format!("client%5Fid=bill%69ng&client_secre%74=x&{grant}"), Some("billing")),
            (Some("billing:x"), format!("{grant}&&client_id=billing"), Some("billing")),
            // Not encoded in the header, and encoded in the body.
            (Some("a%41:x"), format!("client_id=a%2541&{grant}"), Some("a%41")),
        ];
        for (pair, body, client) in cases {
            let client = client.map(str::to_owned);
            assert_eq!(read(FORM, pair, &body), Ok((client, grant.to_owned())), "{pair:?} {body}");
        }
        let body = r#"{"client_id":"billing", "client_secret":"x","grant_type":"client_credentials","n":1e400}"#;
        let kept = r#"{"grant_type":"client_credentials","n":1e400}"#;
        for content_type in ["application/json", "Application/JSON; charset=utf-8"] {
            let expected = Ok((Some("billing".to_owned()), kept.to_owned()));
            assert_eq!(read(content_type, None, body), expected);
        }
    }

    #[test]
    fn what_the_proxy_cannot_put_a_secret_on_is_refused_with_the_reason() {
        let json = "application/json";
        let cases = [
            (FORM, Some("a:x"), "client_id=b", "two clients"),
            (FORM, None, "client_id=a&client_id=a", "named twice"),
            (FORM, None, "client_assertion=x", "client_assertion"),
            (json, None, r#"{"client_assertion_type":"x"}"#, "client_assertion"),
            (json, None, "[]", "no JSON object"),
            (json, None, r#"{"client_id":1}"#, "`client_id` is no text"),
            ("text/plain", None, "", "Content-Type"),
            (FORM, Some("no-colon"), "", "Basic"),
        ];
        for (content_type, pair, body, reason) in cases {
            let refused = read(content_type, pair, body).unwrap_err();
            assert!(refused.contains(reason), "{refused}");
        }
        let mut bearer = headers(FORM, None);
        bearer.insert(AUTHORIZATION, HeaderValue::from_static("Bearer hunter2hunter2"));
        let refused = Asked::read(&bearer, b"").unwrap_err();
        assert!(!refused.reason().contains("hunter2"), "{}", refused.reason());
        let mut compressed = headers(FORM, None);
        compressed.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        assert!(Asked::read(&compressed, b"").unwrap_err().reason().contains("compressed"));
    }

    proptest! {
        #[test]
        fn no_body_makes_it_panic_or_keep_a_secret(
            body in prop::collection::vec(any::<u8>(), 0..200),
            place in 0usize..3,
            is_json in any::<bool>(),
        ) {
            let content_type = if is_json { "application/json" } else { FORM };
            let _ = Asked::read(&headers(content_type, None), &body);
            let parts = ["a=b", "c=%zz", "d"];
            let mut parts: Vec<_> = parts.into();
            parts.insert(place, "client_secret=hunter2hunter2");
            let asked = Asked::read(&headers(FORM, None), parts.join("&").as_bytes()).unwrap();
            prop_assert_eq!(&asked.body[..], b"a=b&c=%zz&d");
        }
    }
}
