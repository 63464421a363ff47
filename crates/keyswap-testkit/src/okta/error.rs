//! Errors in the shapes that Okta gives them.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde_json::json;

use crate::fault::Endpoint;
use crate::several::Refusal;

/// An error of the token endpoint (RFC 6749 section 5.2).
pub(crate) fn token(status: StatusCode, error: &str, description: &str) -> Response {
    (status, Json(json!({"error": error, "error_description": description}))).into_response()
}

/// An error of the management API, with its causes.
fn management(status: StatusCode, code: &str, summary: &str, causes: &[&str]) -> Response {
    let causes: Vec<_> = causes.iter().map(|cause| json!({"errorSummary": cause})).collect();
    let body = json!({
        "errorCode": code,
        "errorSummary": summary,
        "errorLink": code,
        "errorId": "oaeKeyswapTestkit",
        "errorCauses": causes,
    });
    (status, Json(body)).into_response()
}

pub(crate) fn invalid_token() -> Response {
    management(StatusCode::UNAUTHORIZED, "E0000011", "Invalid token provided", &[])
}

pub(crate) fn access_denied() -> Response {
    let summary = "You do not have permission to perform the requested action";
    management(StatusCode::FORBIDDEN, "E0000006", summary, &[])
}

pub(crate) fn not_found(what: &str, kind: &str) -> Response {
    let summary = format!("Not found: Resource not found: {what} ({kind})");
    management(StatusCode::NOT_FOUND, "E0000007", &summary, &[])
}

pub(crate) fn invalid_secret(cause: &str) -> Response {
    let summary = "Api validation failed: client_secret";
    management(StatusCode::BAD_REQUEST, "E0000001", summary, &[cause])
}

/// What cannot be done to the secret of this id.
pub(crate) fn refused(refusal: Refusal, id: &str) -> Response {
    let cause = match refusal {
        // The newest goes here as any other.
        Refusal::NoSuchSecret | Refusal::Newest => {
            return not_found(id, "OAuth2ClientSecretMediated");
        }
        Refusal::TooMany => "You've reached the maximum number of client secrets per client.",
        Refusal::OnlyActive => "You can't deactivate the only active client secret.",
        Refusal::StillActive | Refusal::OnlyOne => {
            "You can't delete an active client secret. Deactivate the secret before deleting it."
        }
    };
    let summary = "Api validation failed: OAuth2ClientSecretMediated";
    management(StatusCode::BAD_REQUEST, "E0000001", summary, &[cause])
}

/// The vendor's list of errors has this for a body that cannot be read.
pub(crate) fn bad_body() -> Response {
    let summary = "The request body was not well-formed.";
    management(StatusCode::BAD_REQUEST, "E0000003", summary, &[])
}

pub(crate) async fn no_such_path() -> Response {
    not_found("unknown", "Endpoint")
}

pub(crate) async fn no_such_method() -> Response {
    let summary = "The endpoint does not support the provided HTTP method";
    management(StatusCode::METHOD_NOT_ALLOWED, "E0000022", summary, &[])
}

/// Too many requests: the token endpoint answers in the shape of the management API as well.
pub(crate) fn throttled(_: Endpoint) -> Response {
    let summary = "API call exceeded rate limit due to too many requests.";
    management(StatusCode::TOO_MANY_REQUESTS, "E0000047", summary, &[])
}

/// An error of the server's own.
pub(crate) fn server_error(endpoint: Endpoint, status: StatusCode) -> Response {
    match endpoint {
        Endpoint::Token => token(status, "server_error", "Internal Server Error"),
        _ => management(status, "E0000009", "Internal Server Error", &[]),
    }
}
