//! Servers that keep to RFC 6749 section 5.2.

use http::StatusCode;

use super::OAuthError;

/// `invalid_client`: "Client authentication failed (e.g., unknown client, no client authentication
/// included, or unsupported authentication method)." The server MUST answer 401 when the client used the
/// `Authorization` header, and MAY otherwise; 400 is the status of all other errors.
///
/// All other error codes come after the client was authenticated, so that no other secret helps.
pub(super) fn refuses(status: StatusCode, answer: &OAuthError<'_>) -> bool {
    matches!(status, StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED)
        && answer.error == "invalid_client"
}
