//! The server as Auth0 shows it: `POST /oauth/token`, and the clients of the management API under `/api/v2/`.
//!
//! Paths, bodies and error texts are the vendor's. Where it documents none, the comment at the place says so.

mod error;
mod management;
mod representation;
mod token;
mod update;

use std::sync::Arc;

use axum::Router;
use axum::response::Response;
use axum::routing::{get, post};

use crate::core::Core;
use crate::fault::Endpoint;

pub(crate) fn router(core: Arc<Core>) -> Router {
    Router::new()
        .route("/oauth/token", post(token::token))
        .route("/api/v2/clients/{id}", get(management::read).patch(management::update))
        .route("/api/v2/clients/{id}/rotate-secret", post(management::rotate_secret))
        .fallback(error::no_such_path)
        .method_not_allowed_fallback(error::no_such_path)
        .with_state(core)
}

/// Lets the faults of an endpoint happen; what comes back is the answer in place of the real one.
async fn fault_on_arrival(core: &Core, endpoint: Endpoint) -> Option<Response> {
    let arrival = core.faults.on_arrival(endpoint);
    if !arrival.delay.is_zero() {
        tokio::time::sleep(arrival.delay).await;
    }
    arrival.instead.map(|fault| error::of_fault(endpoint, &fault))
}
