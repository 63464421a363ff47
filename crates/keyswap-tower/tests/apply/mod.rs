//! A credential on its own: what it makes of one request.
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]

use bytes::Bytes;
use http::request::Parts;
use keyswap_core::Secret;
use keyswap_tower::credential::{Applied, Credential};

pub const JSON: &str = "application/json";

pub fn secret(value: &str) -> Secret {
    Secret::new("s".parse().unwrap(), value).unwrap()
}

pub fn head(content_type: &str) -> Parts {
    let request = http::Request::post("/token").header("content-type", content_type);
    request.body(()).unwrap().into_parts().0
}

pub const FORM: &str = "application/x-www-form-urlencoded";

/// What a credential makes of a request: its body afterwards, or the reason why there is none.
pub fn applied(
    credential: &dyn Credential,
    head: &mut Parts,
    body: &str,
) -> Result<String, String> {
    let body = Bytes::copy_from_slice(body.as_bytes());
    let after = match credential.apply(&secret("Vq3hCc0Z"), head, Some(&body)) {
        Ok(Applied::ToHead) => body,
        Ok(Applied::ToBody(body) | Applied::ToBodyInstead(body)) => body,
        Ok(other) => panic!("{other:?}"),
        Err(reason) => return Err(reason.to_string()),
    };
    Ok(String::from_utf8(after.to_vec()).unwrap())
}
