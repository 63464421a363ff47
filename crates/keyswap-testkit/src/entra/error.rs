//! Errors in the shapes that Microsoft gives them.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde_json::json;

use crate::fault::Endpoint;
use crate::several::Refusal;

/// An error of the token endpoint, with the number that says more than the name.
pub(crate) fn token(status: u16, error: &str, code: u32, description: &str) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
    let description = format!(
        "AADSTS{code}: {description} Trace ID: 00000000-0000-0000-0000-000000000000 Correlation ID: \
         00000000-0000-0000-0000-000000000001 Timestamp: 2026-11-27 10:00:00Z"
    );
    let body = json!({
        "error": error,
        "error_description": description,
        "error_codes": [code],
        "timestamp": "2026-11-27 10:00:00Z",
        "trace_id": "00000000-0000-0000-0000-000000000000",
        "correlation_id": "00000000-0000-0000-0000-000000000001",
        "error_uri": format!("https://login.microsoftonline.com/error?code={code}"),
    });
    (status, Json(body)).into_response()
}

/// An error of Graph.
fn graph(status: StatusCode, code: &str, message: &str) -> Response {
    let inner = json!({
        "date": "2026-11-27T10:00:00",
        "request-id": "00000000-0000-0000-0000-000000000002",
        "client-request-id": "00000000-0000-0000-0000-000000000002",
    });
    let body = json!({"error": {"code": code, "message": message, "innerError": inner}});
    (status, Json(body)).into_response()
}

pub(crate) fn invalid_token() -> Response {
    let message = "Access token validation failure. Invalid audience.";
    graph(StatusCode::UNAUTHORIZED, "InvalidAuthenticationToken", message)
}

pub(crate) fn access_denied() -> Response {
    let message = "Insufficient privileges to complete the operation.";
    graph(StatusCode::FORBIDDEN, "Authorization_RequestDenied", message)
}

pub(crate) fn not_found(what: &str) -> Response {
    let message = format!(
        "Resource '{what}' does not exist or one of its queried reference-property objects are not present."
    );
    graph(StatusCode::NOT_FOUND, "Request_ResourceNotFound", &message)
}

/// As azure-cli and others report it.
pub(crate) fn lifetime_too_long() -> Response {
    let message = "Credential lifetime exceeds the max value allowed as per assigned policy \
                   '00000000-0000-0000-0000-000000000003'.";
    graph(StatusCode::BAD_REQUEST, "CredentialInvalidLifetimeAsPerAppPolicy", message)
}

/// What cannot be done to the password of this id. The vendor's words for one too many are not at hand.
pub(crate) fn refused(refusal: Refusal, id: &str) -> Response {
    let message = match refusal {
        Refusal::TooMany => "The number of password credentials exceeds the limit.".to_owned(),
        _ => format!("No password credential found with keyId '{id}'."),
    };
    graph(StatusCode::BAD_REQUEST, "Request_BadRequest", &message)
}

pub(crate) fn bad_body() -> Response {
    let message = "Unable to read JSON request payload. Please ensure Content-Type header is set and payload is of \
                   valid JSON format.";
    graph(StatusCode::BAD_REQUEST, "BadRequest", message)
}

pub(crate) fn bad_filter() -> Response {
    graph(StatusCode::BAD_REQUEST, "BadRequest", "A filter here selects an appId.")
}

pub(crate) async fn no_such_path() -> Response {
    graph(StatusCode::BAD_REQUEST, "BadRequest", "Resource not found for the segment.")
}

/// Too many requests: the token endpoint has no words of its own for that.
pub(crate) fn throttled(endpoint: Endpoint) -> Response {
    match endpoint {
        Endpoint::Token => {
            token(429, "temporarily_unavailable", 90055, "The tenant is being throttled.")
        }
        _ => graph(StatusCode::TOO_MANY_REQUESTS, "TooManyRequests", "Too many requests."),
    }
}

/// An error of the server's own.
pub(crate) fn server_error(endpoint: Endpoint, status: StatusCode) -> Response {
    match endpoint {
        Endpoint::Token => {
            token(status.as_u16(), "server_error", 90033, "A transient error has occurred.")
        }
        _ => graph(status, "ServiceUnavailable", "The service is not available for the moment."),
    }
}
