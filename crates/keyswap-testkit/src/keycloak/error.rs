//! Errors in the shapes that Keycloak gives them.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde_json::json;

use crate::fault::Endpoint;

/// An error with a description: those of the token endpoint, and some of the admin API.
pub(crate) fn described(status: StatusCode, error: &str, description: &str) -> Response {
    (status, Json(json!({"error": error, "error_description": description}))).into_response()
}

/// An error of the admin API.
pub(crate) fn admin(status: StatusCode, error: &str) -> Response {
    (status, Json(json!({ "error": error }))).into_response()
}

pub(crate) fn wrong_secret() -> Response {
    let description = "Invalid client or Invalid client credentials";
    described(StatusCode::UNAUTHORIZED, "unauthorized_client", description)
}

pub(crate) fn other_method(only: &str) -> Response {
    let description = format!(
        "Invalid method used to get client secret. Client requires method '{only}' to obtain client secret from the \
         request"
    );
    described(StatusCode::UNAUTHORIZED, "unauthorized_client", &description)
}

pub(crate) fn no_such_client_to_authenticate() -> Response {
    let description = "Invalid client or Invalid client credentials";
    described(StatusCode::UNAUTHORIZED, "invalid_client", description)
}

pub(crate) fn internal() -> Response {
    let description = "For more on this error consult the server log.";
    described(StatusCode::INTERNAL_SERVER_ERROR, "unknown_error", description)
}

pub(crate) async fn no_such_path() -> Response {
    admin(StatusCode::NOT_FOUND, "Unable to find matching target resource method")
}

pub(crate) async fn no_such_method() -> Response {
    admin(StatusCode::METHOD_NOT_ALLOWED, "HTTP 405 Method Not Allowed")
}

/// Too many requests, as a gateway before it says.
pub(crate) fn throttled(_: Endpoint) -> Response {
    admin(StatusCode::TOO_MANY_REQUESTS, "too_many_requests")
}

/// An error of the server's own.
pub(crate) fn server_error(_: Endpoint, status: StatusCode) -> Response {
    let mut response = internal();
    *response.status_mut() = status;
    response
}
