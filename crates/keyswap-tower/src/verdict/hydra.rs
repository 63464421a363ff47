//! Ory Hydra.

use http::StatusCode;

use super::OAuthError;

/// Status 401 with `invalid_client`, and never a `WWW-Authenticate`.
///
/// The same status and code stand in an answer about the method, with or without a right secret: "The
/// OAuth 2.0 Client supports client authentication method 'client_secret_basic', but method
/// 'client_secret_post' was requested." Assertions are turned down with "does not support client
/// authentication method". No other secret helps there (measured with Hydra v2.3.0).
pub(super) fn refuses(status: StatusCode, answer: &OAuthError<'_>) -> bool {
    status == StatusCode::UNAUTHORIZED
        && answer.error == "invalid_client"
        && !answer.description().contains("client authentication method '")
}
