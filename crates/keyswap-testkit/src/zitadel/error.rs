//! Errors in the shapes that Zitadel gives them.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde_json::json;

use crate::fault::Endpoint;

/// An error of the token endpoint (RFC 6749 section 5.2). `RequestError` in zitadel/oidc maps `invalid_client`, and
/// nothing else, to 401.
pub(crate) fn token(error: &str, description: &str) -> Response {
    let status = match error {
        "invalid_client" => StatusCode::UNAUTHORIZED,
        "server_error" => StatusCode::INTERNAL_SERVER_ERROR,
        _ => StatusCode::BAD_REQUEST,
    };
    (status, Json(json!({"error": error, "error_description": description}))).into_response()
}

/// An error of the application service: the code and its status are those of the Connect protocol, the words are not
/// the vendor's.
fn service(status: StatusCode, code: &str, message: &str) -> Response {
    (status, Json(json!({"code": code, "message": message}))).into_response()
}

pub(crate) fn unauthenticated() -> Response {
    service(StatusCode::UNAUTHORIZED, "unauthenticated", "Errors.Token.Invalid (AUTH-7fs1e)")
}

pub(crate) fn permission_denied() -> Response {
    service(StatusCode::FORBIDDEN, "permission_denied", "No matching permissions found")
}

pub(crate) fn no_such_application() -> Response {
    service(StatusCode::NOT_FOUND, "not_found", "Errors.Project.App.NotFound")
}

pub(crate) fn no_secret() -> Response {
    let message = "Errors.Project.App.OIDCAuthMethodNoSecret";
    service(StatusCode::BAD_REQUEST, "failed_precondition", message)
}

pub(crate) fn bad_body() -> Response {
    service(StatusCode::BAD_REQUEST, "invalid_argument", "the message cannot be read")
}

pub(crate) async fn no_such_path() -> Response {
    service(StatusCode::NOT_FOUND, "unimplemented", "Not Found")
}

/// Too many requests: the token endpoint answers in the shape of the services as well.
pub(crate) fn throttled(_: Endpoint) -> Response {
    service(StatusCode::TOO_MANY_REQUESTS, "resource_exhausted", "too many requests")
}

/// An error of the server's own.
pub(crate) fn server_error(endpoint: Endpoint, status: StatusCode) -> Response {
    match endpoint {
        Endpoint::Token => {
            let mut response = token("server_error", "Errors.Internal");
            *response.status_mut() = status;
            response
        }
        _ => service(status, "internal", "Errors.Internal"),
    }
}
