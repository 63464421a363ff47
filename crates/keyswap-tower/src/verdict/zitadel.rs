//! Zitadel.

use http::StatusCode;

use super::{Answer, Finding};

/// A header that is not form-encoded, a method that is switched off, and, at the revocation endpoint, a
/// token of another client (zitadel/oidc, `pkg/op`; zitadel/zitadel, its storage).
const OTHER_CAUSES: &[&str] = &[
    "invalid basic auth header",
    "private_key_jwt not supported",
    "token was not issued for this client",
];

/// Status 401 with `invalid_client` and "invalid client_id / client_secret", with no `WWW-Authenticate`:
/// `RequestError` in zitadel/oidc maps `invalid_client`, and nothing else, to 401.
pub(super) fn judge(answer: &Answer<'_>) -> Finding {
    if !answer.is_invalid_client() {
        Finding::Nothing
    } else if answer.describes(OTHER_CAUSES) {
        Finding::OtherCause
    } else if answer.status == StatusCode::UNAUTHORIZED {
        Finding::Refused
    } else {
        Finding::Nothing
    }
}
