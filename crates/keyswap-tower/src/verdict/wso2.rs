//! WSO2 Identity Server and API Manager.

use http::StatusCode;

use super::{Answer, Finding};

/// An unknown client id (`EndpointUtil` of wso2-extensions/identity-inbound-auth-oauth), followed by that
/// id.
const OTHER_CAUSES: &[&str] = &["A valid OAuth client could not be found for client_id"];

/// Status 401 with `invalid_client` and `WWW-Authenticate: Basic realm=HOST`: "Client credentials are
/// invalid." (`handleBasicAuthFailure` in `OAuth2TokenEndpoint`; scenario tests of wso2/product-apim).
///
/// Today `AccessTokenIssuer` authenticates the client before it validates the grant. Early versions did
/// both, then looked at the outcomes, and answered in the same words, with the grant gone: so this is no
/// proof that it is not.
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
