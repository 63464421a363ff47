//! FusionAuth.

use http::StatusCode;

use super::{Answer, Finding};

/// `invalid_client` with the `error_reason` `invalid_client_authentication` (the enumeration
/// `OAuthErrorReason` of FusionAuth/fusionauth-openapi). Other reasons of the same error are
/// `missing_client_secret`, `invalid_client_id` and `client_id_mismatch`.
///
/// The status is 401 ("The client could not be verified", its documentation of the token endpoint); with the reason,
/// 400 counts too.
pub(super) fn judge(answer: &Answer<'_>) -> Finding {
    if !answer.is_invalid_client() {
        return Finding::Nothing;
    }
    match answer.reason() {
        Some("invalid_client_authentication") => Finding::Refused,
        Some(_) => Finding::OtherCause,
        None if answer.status == StatusCode::UNAUTHORIZED => Finding::Refused,
        None => Finding::Nothing,
    }
}
