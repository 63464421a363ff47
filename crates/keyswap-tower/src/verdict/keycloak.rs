//! Keycloak.

use http::StatusCode;

use super::{Answer, Finding};

/// How `unauthorized_client` speaks of the secret: "Invalid client or Invalid client credentials" (status
/// 401, measured with 26.7.3), "Invalid client credentials" and "Invalid client secret" (400 in older
/// versions).
const SECRET: &[&str] = &["Invalid client credentials", "Invalid client secret"];

/// An assertion (`client_secret_jwt`) that was signed with a wrong secret, status 400: "Client
/// authentication with client secret signed JWT failed: Signature on JWT token by client secret  failed
/// validation" (measured with 26.7.3, two spaces).
const SIGNATURE: &str = "signed JWT failed: Signature on JWT token by client secret";

/// Texts that are Keycloak's own and about something else, measured with 26.7.3 but for "Could not find
/// client" and "Client secret not provided" (older versions) and "Client credentials setup required"
/// (messages of its source).
const OTHER_CAUSES: &[&str] = &[
    "Bearer-only not allowed",
    "Client authentication with client secret signed JWT failed",
    "Client credentials setup required",
    "Client not enabled to retrieve service account",
    "Client secret not provided",
    "Could not find client",
    "Invalid method used to get client secret",
    "Invalid token audience",
    "Missing client_id parameter",
    "Parameter client_assertion_type is missing",
    "Public client not allowed",
    "Token is not active",
    "Token reuse detected",
    "Unexpected error when authenticating client",
];

/// A wrong secret is `unauthorized_client` (`ClientIdAndSecretAuthenticator`), and so is a service account
/// that is off: only the description differs.
///
/// `invalid_client` with 401 is an unknown or disabled client today, and a wrong secret at the
/// introspection endpoint ("Client authentication failed."), and may become one everywhere
/// (keycloak/keycloak#49626). It counts: at a client that is unknown the price is one more attempt a
/// secret. With 400 it is about the request.
///
/// The client comes before the grant: `TokenEndpoint` calls `checkClient`, which runs the authenticators,
/// before it calls what handles the grant type.
pub(super) fn judge(answer: &Answer<'_>) -> Finding {
    let refused = match answer.error() {
        Some("unauthorized_client") if answer.is_error_status() => {
            answer.describes(SECRET) || answer.describes(&[SIGNATURE])
        }
        Some("invalid_client") => {
            answer.status == StatusCode::UNAUTHORIZED && !answer.describes(OTHER_CAUSES)
        }
        _ => false,
    };
    if refused {
        Finding::RefusedBeforeGrant
    } else if answer.describes(OTHER_CAUSES) {
        Finding::OtherCause
    } else {
        Finding::Nothing
    }
}
