//! What the token endpoints of all vendors share.

use axum::response::Response;
use http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, PRAGMA};
use http::{HeaderMap, HeaderValue, StatusCode};

use crate::client_authentication::{Presented, presented};
use crate::core::Core;
use crate::fault::Endpoint;
use crate::fault_answer::{Vendor, fault_on_arrival};
use crate::parameters::{Malformed, Parameters};

/// The answer to a token request, counted, or that of a fault.
pub(crate) async fn respond(
    core: &Core,
    vendor: &Vendor,
    answer: impl FnOnce() -> Response,
) -> Response {
    let mut response = match fault_on_arrival(core, Endpoint::Token, vendor).await {
        Some(instead) => instead,
        None => {
            let response = answer();
            let counters = &core.counters;
            let counter = match response.status() {
                StatusCode::OK => &counters.token_accepted,
                StatusCode::UNAUTHORIZED => &counters.token_refused,
                _ => &counters.token_failed,
            };
            counter.add_one();
            response
        }
    };
    // RFC 6749 section 5.1.
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response.headers_mut().insert(PRAGMA, HeaderValue::from_static("no-cache"));
    response
}

/// Who asks, and for what.
pub(crate) fn read(headers: &HeaderMap, body: &[u8]) -> Result<(Presented, Parameters), Malformed> {
    let parameters = parameters(headers, body)?;
    Ok((presented(headers.get(AUTHORIZATION), &parameters)?, parameters))
}

pub(crate) fn parameters(headers: &HeaderMap, body: &[u8]) -> Result<Parameters, Malformed> {
    let content_type = headers.get(CONTENT_TYPE).map_or("", |value| value.to_str().unwrap_or(""));
    let media_type = content_type.split(';').next().unwrap_or("").trim().to_ascii_lowercase();
    match media_type.as_str() {
        "application/json" => Parameters::from_json(body),
        "application/x-www-form-urlencoded" => Parameters::from_form(body),
        _ if body.is_empty() => Ok(Parameters::default()),
        _ => Err(Malformed("The request body is neither a form nor JSON.")),
    }
}
