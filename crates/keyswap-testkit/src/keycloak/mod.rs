//! The server as Keycloak shows it: the token endpoint of the realm `shop`, and the part of the admin API that reads
//! and changes its clients.
//!
//! Statuses, bodies and texts are those of Keycloak 26.7.3: `tests/it/keycloak/answers.rs` is asked of this server and
//! of that one. Not modelled: client policies, of which the secret rotation is one, and other realms.

mod admin;
mod error;
mod representation;
mod token;

use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post};

use crate::core::Core;
use crate::fault_answer::Vendor;

pub(crate) const REALM: &str = "shop";
pub(crate) const TOKEN_PATH: &str = "/realms/shop/protocol/openid-connect/token";

const VENDOR: Vendor = Vendor {
    throttled: error::throttled,
    // It has no limit of its own: what turns a request away stands before it.
    limit_headers: ["x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"],
    server_error: error::server_error,
};

pub(crate) fn router(core: Arc<Core>) -> Router {
    Router::new()
        .route("/realms/{realm}/protocol/openid-connect/token", post(token::token))
        .route("/admin/realms/{realm}/clients", get(admin::list))
        .route("/admin/realms/{realm}/clients/{uuid}", get(admin::read).put(admin::update))
        .fallback(error::no_such_path)
        .method_not_allowed_fallback(error::no_such_method)
        .with_state(core)
}
