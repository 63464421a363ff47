//! The server as Ory Hydra shows it: the token endpoint, and the part of the administration API that reads a client and
//! changes its secret; with the rotated secrets that Hydra has since 2026-07-16 (ory/hydra, cdb582a8), or without.
//!
//! Public and administration API have one address here. Names and shapes are those of `spec/api.json` in ory/hydra;
//! what v2.3.0 answers was measured, and the rest is read from `client/handler.go`, `fosite/client_authentication.go`
//! and `oryx/serverx/404.go`.

mod client;
mod error;
mod rotated;
mod token;

use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post};

use crate::core::Core;
use crate::fault_answer::Vendor;
use crate::several::{MOST_ROTATED, Rules};
use crate::state::random_slot_id;

/// Of a version with rotated secrets.
pub(crate) const RULES: Rules =
    Rules { most: MOST_ROTATED + 1, deactivation: false, stays: None, id: random_slot_id };

const VENDOR: Vendor = Vendor {
    throttled: error::throttled,
    // Hydra has no limit of its own; a gateway before it may.
    limit_headers: ["x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"],
    server_error: error::server_error,
};

pub(crate) fn router(core: Arc<Core>, rotated_secrets: bool) -> Router {
    let mut router = Router::new()
        .route("/oauth2/token", post(token::token))
        .route("/admin/clients/{id}", get(client::read).patch(client::patch));
    if rotated_secrets {
        let calls = post(rotated::rotate).delete(rotated::clear);
        router = router.route("/admin/clients/{id}/secrets/rotate", calls);
    }
    router
        .fallback(error::no_such_path)
        .method_not_allowed_fallback(error::no_such_path)
        .with_state(core)
}
