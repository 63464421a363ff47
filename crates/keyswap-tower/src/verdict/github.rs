//! GitHub.

use http::StatusCode;

use super::{Answer, Finding};

/// Status **200** with `incorrect_client_credentials`, "The client_id and/or client_secret passed are
/// incorrect." (GitHub Docs, "Troubleshooting OAuth app access token request errors"). The body is a form
/// unless JSON was asked for; XML, which can be asked for too, is not read.
///
/// All its errors come with 200: `bad_verification_code`, `redirect_uri_mismatch`,
/// `authorization_pending`, `slow_down`. An unknown client id was seen as 404.
pub(super) fn judge(answer: &Answer<'_>) -> Finding {
    let refused =
        answer.status == StatusCode::OK && answer.error() == Some("incorrect_client_credentials");
    if refused { Finding::Refused } else { Finding::Nothing }
}
