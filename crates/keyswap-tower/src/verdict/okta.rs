//! Okta.

use super::{Answer, Finding};

/// Texts of `invalid_client` that are about something else: the examples `OAuthError401InvalidClient_*`
/// of the OpenAPI description (okta/okta-management-openapi-spec, `oauth-minimal.yaml`).
const OTHER_CAUSES: &[&str] =
    &["No client credentials found", "`client_id` parameter", "'client_id' parameter"];

/// `invalid_client` with "The client secret supplied for a confidential client is invalid." (developer
/// guide "Rotate and manage client secrets"): 401, and 400 in reports of third parties.
///
/// Two authentication methods at once are `invalid_request`. The rate limit answers in the shape of the
/// management API (`errorCode`), with no `error` at all.
pub(super) fn judge(answer: &Answer<'_>) -> Finding {
    if !answer.is_invalid_client() {
        Finding::Nothing
    } else if answer.describes(OTHER_CAUSES) {
        Finding::OtherCause
    } else {
        Finding::Refused
    }
}
