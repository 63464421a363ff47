//! Google.

use super::{Answer, Finding};

/// "The OAuth client was not found." is an unknown client id, with the same status and code as a wrong
/// secret (reports of many users).
const OTHER_CAUSES: &[&str] = &["The OAuth client was not found"];

/// Status 401 with `invalid_client` and "The provided client secret is invalid.", in older reports
/// "Unauthorized". Google documents neither; both are seen in logs and tests of third parties.
///
/// A client that was switched off is `disabled_client` or `deleted_client`; a secret that is missing is
/// `invalid_request`.
pub(super) fn judge(answer: &Answer<'_>) -> Finding {
    if !answer.is_invalid_client() {
        Finding::Nothing
    } else if answer.describes(OTHER_CAUSES) {
        Finding::OtherCause
    } else {
        Finding::Refused
    }
}
