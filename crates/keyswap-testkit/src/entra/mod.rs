//! The server as Microsoft Entra ID shows it: the token endpoint of one tenant, and the part of Microsoft Graph that
//! reads an application, and adds and removes its passwords.
//!
//! Paths and bodies are those of the Graph reference (`application: addPassword`, `removePassword`, `get`, the resource
//! `passwordCredential`; of the beta: `appCredentialSignInActivity`) and of the metadata of Graph. Codes that the reference
//! does not have are from reports, which the comment at the place names. Both Graph and the token endpoint are at the one address of this server.

mod activity;
mod application;
mod error;
mod select;
mod time;
mod token;

use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post};
use rand::RngExt;

use crate::core::Core;
use crate::fault_answer::Vendor;
use crate::several::Rules;

/// The tenant that the server is.
const TENANT: &str = "contoso.onmicrosoft.com";
pub(crate) const TOKEN_PATH: &str = "/contoso.onmicrosoft.com/oauth2/v2.0/token";

/// "There's a global limit of about 1000 items across all the collection properties on the app object" (Validation
/// differences by supported account types).
pub(crate) const RULES: Rules =
    Rules { most: 1000, deactivation: false, stays: None, id: random_key_id };

const VENDOR: Vendor = Vendor {
    throttled: error::throttled,
    // Graph tells a limit by `Retry-After` alone; these are of some of its services.
    limit_headers: ["ratelimit-limit", "ratelimit-remaining", "ratelimit-reset"],
    server_error: error::server_error,
};

pub(crate) fn router(core: Arc<Core>) -> Router {
    Router::new()
        .route("/{tenant}/oauth2/v2.0/token", post(token::token))
        // `applications(appId='...')` is one segment.
        .route("/v1.0/{resource}", get(application::read_by_key))
        .route("/v1.0/{resource}/addPassword", post(application::add_by_key))
        .route("/v1.0/{resource}/removePassword", post(application::remove_by_key))
        .route("/v1.0/applications/{id}", get(application::read_by_id))
        .route("/v1.0/applications/{id}/addPassword", post(application::add_by_id))
        .route("/v1.0/applications/{id}/removePassword", post(application::remove_by_id))
        .route("/beta/reports/appCredentialSignInActivities", get(activity::read))
        .fallback(error::no_such_path)
        .method_not_allowed_fallback(error::no_such_path)
        .with_state(core)
}

/// A `keyId`: a UUID of random bits (RFC 9562 section 5.4).
pub(crate) fn random_key_id() -> String {
    let bits: u128 = rand::rng().random();
    let bits = bits & !(0xf << 76) | 0x4 << 76;
    let hex = format!("{:032x}", bits & !(0x3 << 62) | 0x2 << 62);
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_id_is_a_uuid() {
        let id = random_key_id();
        let lengths: Vec<_> = id.split('-').map(str::len).collect();
        assert_eq!(lengths, [8, 4, 4, 4, 12], "{id}");
        assert_eq!(&id[14..15], "4", "{id}");
        assert!("89ab".contains(&id[19..20]), "{id}");
        assert!(id.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit()));
    }
}
