//! The server as Auth0 shows it: `POST /oauth/token`, the clients of the management API under `/api/v2/`, and the log.
//!
//! Paths, bodies and error texts are the vendor's. Where it documents none, the comment at the place says so.

mod error;
pub(crate) mod log;
mod management;
mod representation;
mod token;
mod update;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::routing::{get, post};

use crate::core::Core;
use crate::fault::Endpoint;
use crate::fault_answer::{Vendor, over_the_limit, tell_limit};

pub(crate) fn router(core: Arc<Core>) -> Router {
    let management = Router::new()
        .route("/api/v2/clients/{id}", get(management::read).patch(management::update))
        .route("/api/v2/clients/{id}/rotate-secret", post(management::rotate_secret))
        .route("/api/v2/logs", get(log::read))
        .route_layer(from_fn_with_state(Arc::clone(&core), limited));
    Router::new()
        .route("/oauth/token", post(token::token))
        .merge(management)
        .fallback(error::no_such_path)
        .method_not_allowed_fallback(error::no_such_path)
        .with_state(core)
}

/// Counts a request of the management API, and turns it away if there were too many.
async fn limited(State(core): State<Arc<Core>>, request: Request, next: Next) -> Response {
    let Some(admission) = core.management_request() else { return next.run(request).await };
    let mut response = match admission.admitted {
        true => next.run(request).await,
        false => {
            core.counters.management_requests.add_one();
            over_the_limit(Endpoint::Management, admission.reset, &VENDOR)
        }
    };
    tell_limit(response.headers_mut(), &admission, &VENDOR);
    response
}

const VENDOR: Vendor = Vendor {
    throttled: error::throttled,
    limit_headers: ["x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"],
    server_error: error::server_error,
};
