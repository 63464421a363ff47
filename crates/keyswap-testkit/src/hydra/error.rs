//! Errors in the shapes that Hydra gives them.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde_json::json;

use crate::fault::Endpoint;

/// An error of the token endpoint and of the administration API: both write them in the shape of OAuth 2.0.
pub(crate) fn oauth(status: StatusCode, error: &str, description: &str) -> Response {
    (status, Json(json!({"error": error, "error_description": description}))).into_response()
}

const AUTHENTICATION_FAILED: &str = "Client authentication failed (e.g., unknown client, no client \
                                     authentication included, or unsupported authentication method).";

pub(crate) fn authentication_failed() -> Response {
    oauth(StatusCode::UNAUTHORIZED, "invalid_client", AUTHENTICATION_FAILED)
}

pub(crate) fn another_method(registered: &str, used: &str) -> Response {
    let description = format!(
        "{AUTHENTICATION_FAILED} The OAuth 2.0 Client supports client authentication method '{registered}', but method \
         '{used}' was requested. You must configure the OAuth 2.0 client's 'token_endpoint_auth_method' value to accept \
         '{used}'."
    );
    oauth(StatusCode::UNAUTHORIZED, "invalid_client", &description)
}

pub(crate) fn no_such_client() -> Response {
    oauth(StatusCode::NOT_FOUND, "Unable to locate the resource", "")
}

pub(crate) fn too_short() -> Response {
    let description = "The value of one of the Client Metadata fields is invalid and the server has rejected this \
                       request. Note that an Authorization Server MAY choose to substitute a valid value for any \
                       requested parameter of a Client's Metadata. Field client_secret must contain a secret that is \
                       at least 6 characters long.";
    oauth(StatusCode::BAD_REQUEST, "invalid_client_metadata", description)
}

pub(crate) fn no_secret(method: &str) -> Response {
    let description = format!(
        "The client is configured to use the \"{method}\" authentication method, which does not support client secret \
         rotation."
    );
    oauth(
        StatusCode::BAD_REQUEST,
        "The request was malformed or contained invalid parameters",
        &description,
    )
}

/// What it makes of a body that is no JSON.
pub(crate) fn unrecognizable() -> Response {
    oauth(StatusCode::INTERNAL_SERVER_ERROR, "error", "The error is unrecognizable")
}

pub(crate) async fn no_such_path() -> Response {
    let reason = "The requested route does not exist. Make sure you are using the right path, domain, and port.";
    let error = json!({"code": 404, "message": "Not Found", "reason": reason});
    (StatusCode::NOT_FOUND, Json(json!({ "error": error }))).into_response()
}

/// Too many requests, in the words of a gateway.
pub(crate) fn throttled(_: Endpoint) -> Response {
    oauth(StatusCode::TOO_MANY_REQUESTS, "too_many_requests", "Too many requests.")
}

/// An error of the server's own.
pub(crate) fn server_error(_: Endpoint, status: StatusCode) -> Response {
    oauth(status, "error", "The error is unrecognizable")
}
