//! Slack.

use http::StatusCode;

use super::{Answer, Finding};

/// Status **200** with `{"ok":false,"error":"bad_client_secret"}` (docs.slack.dev, method
/// `oauth.v2.access`, "Errors").
///
/// All its errors but the rate limit (429) come with 200. `invalid_client_id` is the id, `invalid_code`
/// the code.
pub(super) fn judge(answer: &Answer<'_>) -> Finding {
    let refused = answer.status == StatusCode::OK
        && answer.ok == Some(false)
        && answer.error() == Some("bad_client_secret");
    if refused { Finding::Refused } else { Finding::Nothing }
}
