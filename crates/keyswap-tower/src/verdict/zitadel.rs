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

/// `verifyClientSecret` in Zitadel's `internal/api/oidc/client.go`.
const BEFORE_GRANT: &str = "invalid secret";

/// Status 401 with `invalid_client`, with no `WWW-Authenticate`: `RequestError` in zitadel/oidc maps
/// `invalid_client`, and nothing else, to 401. The description is "invalid secret", and in older versions
/// "invalid client_id / client_secret".
///
/// The former is said before the grant is looked at: `withClient` in zitadel/oidc, `pkg/op/server_http.go`,
/// has the client verified before it calls what handles the grant type. The latter also comes from
/// `AuthorizeCodeClient` in `pkg/op/token_code.go`, which looks for the code first.
pub(super) fn judge(answer: &Answer<'_>) -> Finding {
    if !answer.is_invalid_client() {
        Finding::Nothing
    } else if answer.describes(OTHER_CAUSES) {
        Finding::OtherCause
    } else if answer.status == StatusCode::UNAUTHORIZED {
        match answer.description() {
            BEFORE_GRANT => Finding::RefusedBeforeGrant,
            _ => Finding::Refused,
        }
    } else {
        Finding::Nothing
    }
}
