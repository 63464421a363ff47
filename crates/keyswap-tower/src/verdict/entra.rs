//! Microsoft Entra ID.

use super::{Answer, Finding};

/// 7000215: the secret is wrong, or the id of the secret was sent in its place. 7000222: it has expired.
const REFUSED: &[u64] = &[7_000_215, 7_000_222];

/// The codes of both before 2020. They were given for assertions too, so the text has to speak of the
/// secret ("AADSTS70002: Error validating credentials. AADSTS50012: Invalid client secret is provided.").
const LEGACY: &[u64] = &[50_012, 70_002];

/// Status 401 with `invalid_client`, which says little: the same stands in an answer to a request without
/// a secret (7000216, 7000218) or from a client that is disabled (7000112). The numbers in `error_codes`
/// tell them apart (body and status in keycloak/keycloak#31294; the numbers in Microsoft's page
/// "Microsoft Entra authentication and authorization error codes").
///
/// Without the numbers, the one that the description begins with counts: `AADSTS7000215: ...`.
pub(super) fn judge(answer: &Answer<'_>) -> Finding {
    let described = leading_code(answer.description());
    let codes = match answer.codes() {
        Some(codes) => codes,
        None => described.as_slice(),
    };
    let about_secret = answer.describes(&["client secret", "client_secret"]);
    let refused =
        codes.iter().any(|code| REFUSED.contains(code) || (LEGACY.contains(code) && about_secret));
    if answer.is_invalid_client() && refused {
        Finding::Refused
    } else if answer.codes().is_some() || described.is_some() {
        Finding::OtherCause
    } else {
        Finding::Nothing
    }
}

fn leading_code(description: &str) -> Option<u64> {
    let (code, _) = description.strip_prefix("AADSTS")?.split_once(':')?;
    code.parse().ok()
}
