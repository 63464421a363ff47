//! oidc-provider, the npm package (panva/node-oidc-provider).

use http::StatusCode;

use super::{Answer, Finding};

/// `checkClientSecretExpiration` of `lib/shared/client_auth.js`: "could not authenticate the client - its
/// client secret is expired", and "its client secret used for the client_assertion is expired".
const EXPIRED: &str = "could not authenticate the client - its client secret";

/// Status 401 with `invalid_client` and "client authentication failed", whatever the cause: the wire does
/// not tell a wrong secret from an unknown client (measured with 9.13.3; `InvalidClientAuth` in
/// `lib/helpers/errors.js`). A secret that has expired is 400.
///
/// Other answers with `invalid_client` and 400 are about the request or the client.
///
/// The client comes before the grant: `lib/actions/token.js` runs `shared/client_auth.js` before it looks
/// for the handler of the grant type, and a code or a refresh token that came with a wrong secret works
/// afterwards (measured with 9.13.3).
pub(super) fn judge(answer: &Answer<'_>) -> Finding {
    let refused = answer.is_invalid_client()
        && (answer.status == StatusCode::UNAUTHORIZED || answer.description().starts_with(EXPIRED));
    if refused { Finding::RefusedBeforeGrant } else { Finding::Nothing }
}
