//! Ory Hydra.

use http::StatusCode;

use super::{Answer, Finding};

/// The end of an answer about the method, with or without a right secret: "The OAuth 2.0 Client supports
/// client authentication method 'client_secret_basic', but method 'client_secret_post' was requested."
/// (measured with Hydra v2.3.0). Assertions are turned down with "does not support client authentication
/// method". No other secret helps there.
const OTHER_CAUSES: &[&str] = &["client authentication method '"];

/// Status 401 with `invalid_client`, and never a `WWW-Authenticate` (ory/hydra, `fosite/errors.go` and
/// `fosite/access_error.go`; measured with v2.3.0).
///
/// The client comes before the grant: `NewAccessRequest` of `fosite/access_request_handler.go`
/// authenticates it before any handler sees the request, and a code or a refresh token that came with a
/// wrong secret works afterwards (measured with v2.3.0).
pub(super) fn judge(answer: &Answer<'_>) -> Finding {
    if !answer.is_invalid_client() {
        Finding::Nothing
    } else if answer.describes(OTHER_CAUSES) {
        Finding::OtherCause
    } else if answer.status == StatusCode::UNAUTHORIZED {
        Finding::RefusedBeforeGrant
    } else {
        Finding::Nothing
    }
}
