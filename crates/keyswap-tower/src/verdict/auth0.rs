//! Auth0.

use http::StatusCode;

use super::{Answer, Finding, rfc6749};

/// The token endpoint answers a wrong secret, and an unknown client, with status 401 and
/// `{"error":"access_denied","error_description":"Unauthorized"}` (seen in auth0/node-auth0#682); its
/// OpenAPI description (auth0/docs-v2, `authentication-api-oas.json`) has `invalid_client` with 401
/// instead. Both count.
///
/// `access_denied` has other meanings too: 403 for a client grant that is missing
/// (auth0/ruby-auth0#610), for a blocked user and for an Action that denied. So status and description
/// have to match exactly. The bare text `Unauthorized` of 2016 (auth0/laravel-auth0#42) does not count:
/// anything in front of the server may say that.
pub(super) fn judge(answer: &Answer<'_>) -> Finding {
    let unauthorized = answer.status == StatusCode::UNAUTHORIZED
        && answer.error() == Some("access_denied")
        && answer.description() == "Unauthorized";
    if unauthorized { Finding::Refused } else { rfc6749::judge(answer) }
}
