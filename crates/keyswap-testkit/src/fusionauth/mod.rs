//! The server as FusionAuth shows it: the token endpoint and the introspection as applications use them, and the part of
//! the Application API that reads an application and sets its secret.
//!
//! Paths, bodies and codes are those of FusionAuth/fusionauth-openapi, `openapi.yaml`, and of the vendor's documentation
//! ("Applications", "OAuth endpoints", "Authentication"). Where these have none, the comment at the place says so.

mod application;
mod error;
mod oauth;

use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post};

use crate::core::Core;
use crate::fault_answer::Vendor;

const VENDOR: Vendor = Vendor {
    throttled: error::throttled,
    // The vendor documents none of these.
    limit_headers: ["x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"],
    server_error: error::server_error,
};

pub(crate) fn router(core: Arc<Core>) -> Router {
    Router::new()
        .route("/oauth2/token", post(oauth::token))
        .route("/oauth2/introspect", post(oauth::introspect))
        .route("/api/application/{id}", get(application::read).patch(application::update))
        .fallback(error::no_such_path)
        .method_not_allowed_fallback(error::no_such_method)
        .with_state(core)
}
