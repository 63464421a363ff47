//! Errors in the shapes that WSO2 gives them.

use axum::Json;
use axum::response::{Html, IntoResponse, Response};
use http::header::WWW_AUTHENTICATE;
use http::{HeaderValue, StatusCode};
use serde_json::json;

use crate::fault::Endpoint;
use crate::several::Refusal;

/// An error of the API.
fn api(status: StatusCode, code: &str, message: &str, description: &str) -> Response {
    let body = json!({
        "code": code,
        "message": message,
        "description": description,
        "traceId": "00000000-0000-0000-0000-000000000000",
    });
    (status, Json(body)).into_response()
}

/// What stands before the API answers for it: with a status alone.
pub(crate) fn unauthorized() -> Response {
    StatusCode::UNAUTHORIZED.into_response()
}

pub(crate) fn forbidden() -> Response {
    StatusCode::FORBIDDEN.into_response()
}

pub(crate) fn no_such_application(id: &str) -> Response {
    let description =
        format!("Application cannot be found for the provided id: {id} in the tenantDomain: shop.");
    api(StatusCode::BAD_REQUEST, "APP-60006", "Application not found.", &description)
}

pub(crate) fn no_oauth(id: &str) -> Response {
    let description = format!("Inbound protocol: oauth2 not configured for application id: {id}.");
    api(StatusCode::BAD_REQUEST, "APP-60502", "Inbound protocol not configured.", &description)
}

pub(crate) fn bad_body() -> Response {
    let description = "The provided expiry time for the client secret is invalid.";
    let message = "Unable to create the client secret.";
    api(StatusCode::BAD_REQUEST, "OAUTH-60001", message, description)
}

/// What cannot be done to the secrets.
pub(crate) fn refused(refusal: Refusal) -> Response {
    let unable = "Unable to delete the client secret.";
    match refusal {
        Refusal::TooMany => api(
            StatusCode::CONFLICT,
            "OAUTH-60011",
            "Unable to create the client secret.",
            "Maximum number of client secrets reached. Clients cannot have more than 2 secrets.",
        ),
        Refusal::Newest => api(
            StatusCode::CONFLICT,
            "OAUTH-60006",
            unable,
            "The requested client secret cannot be deleted as it is the latest secret.",
        ),
        _ => api(
            StatusCode::NOT_FOUND,
            "OAUTH-60010",
            unable,
            "The requested client secret does not exist for this application.",
        ),
    }
}

/// An error of the token endpoint.
pub(crate) fn token(status: StatusCode, error: &str, description: &str) -> Response {
    let body = json!({ "error": error, "error_description": description });
    let mut response = (status, Json(body)).into_response();
    if status == StatusCode::UNAUTHORIZED {
        let realm = HeaderValue::from_static("Basic realm=localhost");
        response.headers_mut().insert(WWW_AUTHENTICATE, realm);
    }
    response
}

pub(crate) async fn no_such_path() -> Response {
    let page = "<html><head><title>404</title></head><body><h1>Not Found</h1></body></html>\n";
    (StatusCode::NOT_FOUND, Html(page)).into_response()
}

/// Too many requests, as a gateway in front of it says so.
pub(crate) fn throttled(endpoint: Endpoint) -> Response {
    by_status(endpoint, StatusCode::TOO_MANY_REQUESTS, "Too many requests.")
}

/// An error of the server's own.
pub(crate) fn server_error(endpoint: Endpoint, status: StatusCode) -> Response {
    by_status(endpoint, status, "Unexpected server error.")
}

fn by_status(endpoint: Endpoint, status: StatusCode, text: &str) -> Response {
    match endpoint {
        Endpoint::Token => token(status, "server_error", text),
        _ => api(status, "APP-65001", text, text),
    }
}
