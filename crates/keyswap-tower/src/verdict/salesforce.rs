//! Salesforce.

use super::{Answer, Finding, rfc6749};

/// Status 400 with `invalid_client` and "invalid client credentials" (tests of third parties). The list of
/// errors in the REST API Developer Guide has `invalid_client_credentials` for the same, so both count. An
/// unknown consumer key is `invalid_client_id`.
///
/// A staged secret comes with a consumer key of its own: sent with the key of another pair it is refused
/// like a wrong one.
pub(super) fn judge(answer: &Answer<'_>) -> Finding {
    if answer.is_error_status() && answer.error() == Some("invalid_client_credentials") {
        return Finding::Refused;
    }
    rfc6749::judge(answer)
}
