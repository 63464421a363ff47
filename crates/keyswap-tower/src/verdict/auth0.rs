//! Auth0.

use http::StatusCode;

use super::{OAuthError, rfc6749};

/// The token endpoint answers a wrong secret, and an unknown client, with status 401 and
/// `{"error":"access_denied","error_description":"Unauthorized"}` (seen in auth0/node-auth0#682); its
/// OpenAPI description has `invalid_client` with 401 instead. Both count.
///
/// `access_denied` has other meanings too: 403 for a client grant that is missing, for a blocked user and
/// for an Action that denied. So status and description have to match exactly.
pub(super) fn refuses(status: StatusCode, answer: &OAuthError<'_>) -> bool {
    rfc6749::refuses(status, answer)
        || (status == StatusCode::UNAUTHORIZED
            && answer.error == "access_denied"
            && answer.description() == "Unauthorized")
}
