//! Errors in the shapes that Amazon gives them.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::CONTENT_TYPE;
use serde_json::json;

use super::{MEDIA_TYPE, USER_POOL};
use crate::fault::Endpoint;
use crate::several::Refusal;

/// An error of the token endpoint, which has no descriptions.
pub(crate) fn token(status: StatusCode, error: &str) -> Response {
    (status, Json(json!({"error": error}))).into_response()
}

/// An exception of the API.
fn exception(status: StatusCode, name: &str, message: &str) -> Response {
    let body = json!({"__type": name, "message": message}).to_string();
    (status, [(CONTENT_TYPE, MEDIA_TYPE)], body).into_response()
}

fn bad(name: &str, message: &str) -> Response {
    exception(StatusCode::BAD_REQUEST, name, message)
}

pub(crate) fn unknown_access_key() -> Response {
    let message = "The security token included in the request is invalid.";
    bad("UnrecognizedClientException", message)
}

pub(crate) fn not_signed() -> Response {
    bad("MissingAuthenticationTokenException", "Missing Authentication Token")
}

/// Of a role that was assumed, or of another session.
pub(crate) fn expired_token() -> Response {
    bad("ExpiredTokenException", "The security token included in the request is expired")
}

/// Of a body that cannot be read.
pub(crate) fn serialization() -> Response {
    bad("SerializationException", "")
}

pub(crate) fn wrong_signature() -> Response {
    let message = "The request signature we calculated does not match the signature you provided.";
    bad("InvalidSignatureException", message)
}

pub(crate) fn access_denied(action: &str) -> Response {
    let message = format!(
        "User: arn:aws:iam::123456789012:user/reader is not authorized to perform: cognito-idp:{action} on resource: \
         arn:aws:cognito-idp:eu-west-1:123456789012:userpool/{USER_POOL} because no identity-based policy allows the \
         cognito-idp:{action} action"
    );
    bad("AccessDeniedException", &message)
}

pub(crate) fn no_such_pool(pool: &str) -> Response {
    bad("ResourceNotFoundException", &format!("User pool {pool} does not exist."))
}

pub(crate) fn no_such_client(client: &str) -> Response {
    bad("ResourceNotFoundException", &format!("User pool client {client} does not exist."))
}

pub(crate) fn invalid_parameter(message: &str) -> Response {
    bad("InvalidParameterException", message)
}

/// What cannot be done to a secret. The vendor's words are not at hand.
pub(crate) fn refused(refusal: Refusal) -> Response {
    match refusal {
        Refusal::TooMany => bad("LimitExceededException", "The app client has two secrets."),
        Refusal::OnlyOne => invalid_parameter("The last remaining secret cannot be deleted."),
        _ => bad("ResourceNotFoundException", "The client secret does not exist."),
    }
}

pub(crate) fn unknown_operation() -> Response {
    bad("UnknownOperationException", "")
}

pub(crate) async fn no_such_path() -> Response {
    exception(StatusCode::NOT_FOUND, "UnknownOperationException", "")
}

/// Too many requests: "HTTP Status Code: 400".
pub(crate) fn throttled(endpoint: Endpoint) -> Response {
    match endpoint {
        Endpoint::Token => token(StatusCode::TOO_MANY_REQUESTS, "too_many_requests"),
        _ => bad("TooManyRequestsException", "Rate exceeded"),
    }
}

/// An error of the server's own.
pub(crate) fn server_error(endpoint: Endpoint, status: StatusCode) -> Response {
    match endpoint {
        Endpoint::Token => token(status, "server_error"),
        _ => exception(status, "InternalErrorException", "Internal error"),
    }
}
