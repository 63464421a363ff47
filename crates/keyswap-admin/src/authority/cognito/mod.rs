//! Amazon Cognito: two secrets an app client, chosen by the caller or by Cognito, of which the list shows neither value nor
//! text.
//!
//! Sources: the API reference of user pools (`AddUserPoolClientSecret`, `ListUserPoolClientSecrets`,
//! `DeleteUserPoolClientSecret`, `DescribeUserPoolClient`), "The token issuer endpoint", and what others saw of real pools:
//! amazon-archives/amazon-cognito-auth-js#206 (the client is looked at before a refresh token), floci-io/floci#345 (which
//! secret `DescribeUserPoolClient` shows). Requests are signed by the signer of the AWS SDK; the SDK's client itself, which
//! is large, is not needed for four calls in JSON.
//!
//! Read and not tried: no such pool was at hand. How a wrong secret is refused together with a refresh token is not known,
//! so [`check`](super::Authority::check) shows one that nobody has where a rotation depends on that.

#[cfg(feature = "cognito")]
mod app_client;
#[cfg(feature = "cognito")]
mod builder;
#[cfg(feature = "cognito")]
mod pool;
#[cfg(feature = "cognito")]
mod refusal;
#[cfg(feature = "cognito")]
mod requests;
#[cfg(feature = "cognito")]
mod signing;

use std::time::Duration;

#[cfg(feature = "cognito")]
pub use self::builder::CognitoBuilder;
#[cfg(feature = "cognito")]
pub use self::pool::Cognito;
use super::{Capabilities, ValueRules};

/// What a Cognito can do: known in every build.
pub(super) fn usual() -> Capabilities {
    Capabilities::new("cognito")
        .slots(2)
        // Amazon does not say how long its nodes may disagree.
        .propagation_window(Duration::from_secs(30))
        // `[\w+]+`, as the reference has it.
        .value(ValueRules::default().length(24, 64).characters(CHARACTERS))
        .needs("AWS credentials that may describe the app client, and list, add and delete its secrets")
}

const CHARACTERS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_+";
