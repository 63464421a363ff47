//! Errors in the shapes that FusionAuth gives them.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde_json::json;

use crate::fault::Endpoint;

/// An error of the OAuth endpoints: 401 where the client could not be verified, 400 else.
pub(crate) fn oauth(error: &str, reason: &str, description: &str) -> Response {
    let status = match error {
        "invalid_client" => StatusCode::UNAUTHORIZED,
        _ => StatusCode::BAD_REQUEST,
    };
    let body = json!({
        "error": error,
        "error_reason": reason,
        "error_description": description,
    });
    (status, Json(body)).into_response()
}

/// An error of the Application API.
fn general(status: StatusCode, code: &str, message: &str) -> Response {
    let body = json!({ "generalErrors": [{ "code": code, "message": message }] });
    (status, Json(body)).into_response()
}

/// A key that is unknown, or that may not do this: "The response will be empty."
pub(crate) fn unauthorized() -> Response {
    StatusCode::UNAUTHORIZED.into_response()
}

/// "The object you requested doesn't exist. The response will be empty."
pub(crate) fn not_found() -> Response {
    StatusCode::NOT_FOUND.into_response()
}

/// The words are not the vendor's.
pub(crate) fn bad_body(message: &str) -> Response {
    general(StatusCode::BAD_REQUEST, "[invalidJSON]", message)
}

/// The words are not the vendor's.
pub(crate) fn bad_tenant() -> Response {
    let message = "The X-FusionAuth-TenantId header must be the Id of a tenant.";
    general(StatusCode::BAD_REQUEST, "[InvalidTenantIdException]", message)
}

pub(crate) async fn no_such_path() -> Response {
    not_found()
}

pub(crate) async fn no_such_method() -> Response {
    StatusCode::METHOD_NOT_ALLOWED.into_response()
}

/// Too many requests; the words are not the vendor's.
pub(crate) fn throttled(endpoint: Endpoint) -> Response {
    let status = StatusCode::TOO_MANY_REQUESTS;
    match endpoint {
        Endpoint::Token => of_oauth(status),
        _ => general(status, "[RateLimited]", "Too many requests."),
    }
}

/// An error of the server's own.
pub(crate) fn server_error(endpoint: Endpoint, status: StatusCode) -> Response {
    match endpoint {
        Endpoint::Token => of_oauth(status),
        _ => general(status, "[Exception]", "FusionAuth encountered an unexpected error."),
    }
}

fn of_oauth(status: StatusCode) -> Response {
    let mut response = oauth("server_error", "unknown", "An unexpected error.");
    *response.status_mut() = status;
    response
}
