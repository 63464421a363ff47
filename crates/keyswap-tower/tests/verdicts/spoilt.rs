//! Refusals that lack something, and so are none.

use http::response::Parts;
use keyswap_core::Verdict;
use keyswap_tower::Profile;
use serde_json::Value;

use crate::cases::{Case, read, refusals};

/// Errors that come after client authentication, or have nothing to do with it.
pub(crate) const OTHER_ERRORS: &[&str] = &[
    "invalid_request",
    "invalid_grant",
    "unauthorized_client",
    "unsupported_grant_type",
    "invalid_scope",
    "slow_down",
    "authorization_pending",
    "mfa_required",
    "too_many_requests",
    "Invalid_client",
    "invalid_client ",
    "",
];

/// Everything that may be done to a refusal so that it is none any more.
fn spoilt(case: &Case) -> Vec<(String, Parts, Vec<u8>)> {
    let mut spoilt = Vec::new();
    for status in
        [201, 202, 204, 301, 302, 307, 308, 402, 403, 404, 409, 421, 429, 500, 502, 503, 504]
    {
        let mut head = case.head.clone();
        head.status = http::StatusCode::from_u16(status).unwrap();
        spoilt.push((format!("status {status}"), head, case.body.clone()));
    }
    for encoding in ["gzip", "br", "deflate", "zstd", "identity, gzip", ""] {
        let mut head = case.head.clone();
        head.headers.insert("content-encoding", encoding.parse().unwrap());
        spoilt.push((format!("encoding {encoding}"), head, case.body.clone()));
    }
    for media in
        ["text/html", "text/plain", "application/xml", "application/octet-stream", "xml", ""]
    {
        let mut head = case.head.clone();
        head.headers.insert("content-type", media.parse().unwrap());
        spoilt.push((format!("type {media}"), head, case.body.clone()));
    }
    let mut head = case.head.clone();
    head.headers.append("content-type", "text/html".parse().unwrap());
    spoilt.push(("two types".to_owned(), head, case.body.clone()));
    head = case.head.clone();
    head.headers.remove("content-type");
    spoilt.push(("no type".to_owned(), head, case.body.clone()));

    let mut body = |what: &str, body: Vec<u8>| {
        spoilt.push((what.to_owned(), case.head.clone(), body));
    };
    body("nothing", Vec::new());
    body("a page", b"<html><body>invalid_client</body></html>".to_vec());
    body("compressed", b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\xabVJ-*\xca/R\xb2R".to_vec());
    if let Ok(Value::Object(members)) = serde_json::from_slice(&case.body) {
        for cut in 0..case.body.len() {
            body(&format!("cut at {cut}"), case.body[..cut].to_vec());
        }
        body("trailing", [&case.body[..], b"{}"].concat());
        body("in an array", [b"[", &case.body[..], b"]"].concat());
        body("twice", [b"{\"error\":\"invalid_grant\",", &case.body[1..]].concat());
        for error in OTHER_ERRORS {
            // Keycloak's `unauthorized_client` is its refusal.
            if members["error"] != *error && *error != "unauthorized_client" {
                let mut members = members.clone();
                members.insert("error".to_owned(), (*error).into());
                body(&format!("error {error}"), Value::from(members).to_string().into());
            }
        }
        for value in [Value::Null, Value::from(7), vec![members["error"].clone()].into()] {
            let mut members = members.clone();
            members.insert("error".to_owned(), value.clone());
            body(&format!("error {value}"), Value::from(members).to_string().into());
        }
        let mut inner = members.clone();
        inner.insert("access_token".to_owned(), "t".into());
        body("with a token", Value::from(inner).to_string().into());
        body("one deeper", format!(r#"{{"detail":{}}}"#, Value::from(members)).into());
    } else {
        body("with a token", [&case.body[..], b"&access_token=t"].concat());
        body("twice", [&case.body[..], b"&error=slow_down"].concat());
        body("twice, refused last", [b"error=slow_down&", &case.body[..]].concat());
    }
    spoilt
}

#[test]
fn a_refusal_that_lacks_anything_is_none() {
    for case in refusals() {
        for (what, head, body) in spoilt(&case) {
            for profile in [case.profile, Profile::Auto] {
                let verdict = read(profile, &head, &body);
                assert_ne!(verdict, Verdict::Refused, "{profile}, {}: {what}", case.name);
            }
        }
    }
}
