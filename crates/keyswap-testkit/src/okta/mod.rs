//! The server as Okta shows it: the token endpoint of custom authorization servers, and the client secrets of the
//! management API under `/api/v1/apps/`.
//!
//! Paths, bodies and error texts are those of the vendor's OpenAPI description (okta-management-openapi-spec,
//! `management-minimal.yaml` and `oauth-minimal.yaml`). Where it has none, the comment at the place says so.

mod application;
mod error;
mod secrets;
mod service_app;
mod token;

use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post};

use crate::core::Core;
use crate::fault_answer::Vendor;
use crate::several::Rules;
use crate::state::random_slot_id;

/// Two, of which an inactive one counts.
pub(crate) const RULES: Rules =
    Rules { most: 2, deactivation: true, stays: None, id: random_slot_id };

const VENDOR: Vendor = Vendor {
    throttled: error::throttled,
    limit_headers: ["x-rate-limit-limit", "x-rate-limit-remaining", "x-rate-limit-reset"],
    server_error: error::server_error,
};

pub(crate) fn router(core: Arc<Core>) -> Router {
    let secrets = "/api/v1/apps/{app}/credentials/secrets";
    Router::new()
        .route("/oauth2/v1/token", post(token::of_the_org))
        .route("/oauth2/{server}/v1/token", post(token::of_a_custom_server))
        .route("/api/v1/apps/{app}", get(application::read))
        .route(secrets, get(secrets::list).post(secrets::add))
        .route(&format!("{secrets}/{{id}}"), get(secrets::read).delete(secrets::remove))
        .route(&format!("{secrets}/{{id}}/lifecycle/activate"), post(secrets::activate))
        .route(&format!("{secrets}/{{id}}/lifecycle/deactivate"), post(secrets::deactivate))
        .fallback(error::no_such_path)
        .method_not_allowed_fallback(error::no_such_method)
        .with_state(core)
}
