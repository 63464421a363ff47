//! The server as Amazon Cognito shows it: the token endpoint of a user pool's domain, and the calls of the user pools API
//! that describe an app client and add, list and delete its secrets, in AWS JSON 1.1 with Signature Version 4.
//!
//! Fields, lengths and exceptions are those of the API reference (`AddUserPoolClientSecret` and those beside it). Both the API
//! and the domain are at the one address of this server.

mod access_key;
mod api;
mod error;
mod signature;
mod token;

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::routing::post;
use rand::RngExt;

use crate::core::Core;
use crate::fault_answer::Vendor;
use crate::several::{Rules, Stays};

/// The user pool that there is, in the region `eu-west-1`.
const USER_POOL: &str = "eu-west-1_keyswap";
/// Of AWS JSON 1.1.
const MEDIA_TYPE: &str = "application/x-amz-json-1.1";
pub(crate) const TOKEN_PATH: &str = "/oauth2/token";

/// "Supports up to 2 active secrets per app client"; "you cannot delete the last remaining secret".
pub(crate) const RULES: Rules =
    Rules { most: 2, deactivation: false, stays: Some(Stays::Last), id: secret_id };

const VENDOR: Vendor = Vendor {
    throttled: error::throttled,
    // The vendor has none of these.
    limit_headers: ["x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"],
    server_error: error::server_error,
};

pub(crate) fn router(core: Arc<Core>) -> Router {
    Router::new()
        .route("/", post(api::call))
        .route(TOKEN_PATH, post(token::token))
        .fallback(error::no_such_path)
        .method_not_allowed_fallback(error::no_such_path)
        .with_state(core)
}

/// A `ClientSecretId`, of which the reference says `<client-id>--<epoch-create-time>`. Here some digits stand for the
/// client, so that two of one second differ.
fn secret_id() -> String {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let bits: u64 = rand::rng().random();
    format!("{bits:016x}--{seconds}")
}
