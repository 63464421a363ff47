//! Errors in the shapes that Auth0 gives them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Json;
use axum::response::{Html, IntoResponse, Response};
use http::header::RETRY_AFTER;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde_json::json;

use crate::fault::{Endpoint, Fault};
use crate::limit::Admission;
use crate::serve::AnswerLost;

/// An error of the token endpoint (RFC 6749 section 5.2).
pub(crate) fn token(status: StatusCode, error: &str, description: &str) -> Response {
    (status, Json(json!({"error": error, "error_description": description}))).into_response()
}

/// An error of the management API. Not every one has a code.
pub(crate) fn management(status: StatusCode, message: &str, code: Option<&str>) -> Response {
    let mut body = json!({
        "statusCode": status.as_u16(),
        "error": status.canonical_reason().unwrap_or("Unknown"),
        "message": message,
    });
    if let Some(code) = code {
        body["errorCode"] = code.into();
    }
    (status, Json(body)).into_response()
}

/// A token that the management API does not take: the vendor repeats the reason in `attributes`.
pub(crate) fn bad_token(reason: &str) -> Response {
    let status = StatusCode::UNAUTHORIZED;
    let body = json!({
        "statusCode": status.as_u16(),
        "error": "Unauthorized",
        "message": reason,
        "attributes": {"error": reason},
    });
    (status, Json(body)).into_response()
}

pub(crate) fn insufficient_scope(any_of: &[&str]) -> Response {
    let message = format!("Insufficient scope, expected any of: {}", any_of.join(","));
    management(StatusCode::FORBIDDEN, &message, Some("insufficient_scope"))
}

pub(crate) fn no_such_client() -> Response {
    management(StatusCode::NOT_FOUND, "The client does not exist", Some("inexistent_client"))
}

pub(crate) fn invalid_body(reason: &str) -> Response {
    let message = format!("Payload validation error: {reason}");
    management(StatusCode::BAD_REQUEST, &message, Some("invalid_body"))
}

pub(crate) fn invalid_query(reason: &str) -> Response {
    let message = format!("Query validation error: {reason}");
    management(StatusCode::BAD_REQUEST, &message, Some("invalid_query_string"))
}

pub(crate) async fn no_such_path() -> Response {
    management(StatusCode::NOT_FOUND, "Not Found", None)
}

/// The answer that a fault gives.
pub(crate) fn of_fault(endpoint: Endpoint, fault: &Fault) -> Response {
    match fault {
        Fault::RateLimited { retry_after, reset_after, .. } => {
            rate_limited(endpoint, *retry_after, *reset_after)
        }
        Fault::ServerError { status, .. } | Fault::ServerErrorAfterChange { status } => {
            server_error(endpoint, *status)
        }
        Fault::Html { status, .. } => html(*status),
        // What is left closes the connection; a latency never comes here.
        _ => AnswerLost::response(),
    }
}

fn rate_limited(
    endpoint: Endpoint,
    retry_after: Option<Duration>,
    reset_after: Option<Duration>,
) -> Response {
    let status = StatusCode::TOO_MANY_REQUESTS;
    let mut response = match endpoint {
        Endpoint::Token => token(status, "too_many_requests", "Rate limit exceeded."),
        _ => management(status, "Global limit has been reached", Some("too_many_requests")),
    };
    let headers = response.headers_mut();
    if let Some(wait) = retry_after {
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds_rounded_up(wait)));
    }
    if let Some(reset) = reset_after {
        tell_limit(headers, &Admission { admitted: false, allowed: 10, left: 0, reset });
    }
    response
}

/// The answer to a request that is one too many.
pub(crate) fn over_the_limit(reset: Duration) -> Response {
    rate_limited(Endpoint::Management, Some(reset), None)
}

/// What an answer says of the limit.
pub(crate) fn tell_limit(headers: &mut HeaderMap, admission: &Admission) {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    for (name, value) in [
        ("x-ratelimit-limit", admission.allowed),
        ("x-ratelimit-remaining", admission.left),
        ("x-ratelimit-reset", seconds_rounded_up(since_epoch + admission.reset)),
    ] {
        headers.insert(HeaderName::from_static(name), HeaderValue::from(value));
    }
}

/// Rounded down, a client that waits exactly as long as told would come too early.
fn seconds_rounded_up(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

fn server_error(endpoint: Endpoint, status: u16) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    match endpoint {
        Endpoint::Token => token(status, "server_error", "An internal server error occurred"),
        _ => management(status, "An internal server error occurred", None),
    }
}

fn html(status: u16) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
    let title = format!("{} {}", status.as_u16(), status.canonical_reason().unwrap_or(""));
    let page =
        format!("<html><head><title>{title}</title></head><body><h1>{title}</h1></body></html>\n");
    (status, Html(page)).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_rounded_up() {
        assert_eq!(seconds_rounded_up(Duration::ZERO), 0);
        assert_eq!(seconds_rounded_up(Duration::from_millis(1)), 1);
        assert_eq!(seconds_rounded_up(Duration::from_secs(2)), 2);
    }
}
