//! Amazon Cognito.

use super::{Answer, Finding, rfc6749};

/// Status 400 with `invalid_client`, and often no description (AWS, "Token endpoint";
/// amazon-archives/amazon-cognito-auth-js#206). `invalid_client_secret`, where it is there, is a
/// description and not an error code. Whether Basic changes the status is not known, so 401 counts too.
///
/// `unauthorized_client` is about the grant type or an app client that does not exist any more.
pub(super) fn judge(answer: &Answer<'_>) -> Finding {
    rfc6749::judge(answer)
}
