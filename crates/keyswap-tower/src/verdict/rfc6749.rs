//! Servers that keep to RFC 6749 section 5.2.

use super::{Answer, Finding};

/// `invalid_client`: "Client authentication failed (e.g., unknown client, no client authentication
/// included, or unsupported authentication method)." The server MUST answer 401 when the client used the
/// `Authorization` header, and MAY otherwise; 400 is the status of all other errors.
///
/// All other error codes come after the client was authenticated, so that no other secret helps. The
/// description is for people ("human-readable ASCII text"), so it is not looked at.
pub(super) fn judge(answer: &Answer<'_>) -> Finding {
    if answer.is_invalid_client() { Finding::Refused } else { Finding::Nothing }
}
