//! The server as Zitadel shows it: the token endpoint as web applications use it, and the part of the application
//! service (v2, in the Connect protocol with JSON) that reads an application and has a secret chosen for it.
//!
//! Names of methods and fields are those of `proto/zitadel/application/v2` in zitadel/zitadel; what the token endpoint
//! says first is in zitadel/oidc, `pkg/op/server_http.go`. Where the source at hand has no words, the comment at the place
//! says so.

mod application;
mod error;
mod token;

use std::sync::Arc;

use axum::Router;
use axum::routing::post;

use crate::core::Core;
use crate::fault_answer::Vendor;

const VENDOR: Vendor = Vendor {
    throttled: error::throttled,
    // The vendor documents none of these; its cloud answers 429.
    limit_headers: ["x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"],
    server_error: error::server_error,
};

pub(crate) fn router(core: Arc<Core>) -> Router {
    let service = "/zitadel.application.v2.ApplicationService";
    Router::new()
        .route("/oauth/v2/token", post(token::token))
        .route(&format!("{service}/GetApplication"), post(application::read))
        .route(&format!("{service}/GenerateClientSecret"), post(application::generate))
        .fallback(error::no_such_path)
        .method_not_allowed_fallback(error::no_such_path)
        .with_state(core)
}
