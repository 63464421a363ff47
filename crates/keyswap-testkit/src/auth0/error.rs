//! Errors in the shapes that Auth0 gives them.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde_json::json;

use crate::fault::Endpoint;

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

/// Too many requests.
pub(crate) fn throttled(endpoint: Endpoint) -> Response {
    let status = StatusCode::TOO_MANY_REQUESTS;
    match endpoint {
        Endpoint::Token => token(status, "too_many_requests", "Rate limit exceeded."),
        _ => management(status, "Global limit has been reached", Some("too_many_requests")),
    }
}

/// An error of the server's own.
pub(crate) fn server_error(endpoint: Endpoint, status: StatusCode) -> Response {
    match endpoint {
        Endpoint::Token => token(status, "server_error", "An internal server error occurred"),
        _ => management(status, "An internal server error occurred", None),
    }
}
