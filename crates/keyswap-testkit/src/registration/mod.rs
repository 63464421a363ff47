//! A server at which a client manages its own registration (RFC 7591, RFC 7592): a token endpoint as RFC 6749 has it, and
//! the client configuration endpoint `/register/{client_id}`.
//!
//! An update (RFC 7592 section 2.2) replaces all metadata, must hold no member that the server alone writes, and must
//! not name another secret than the present one; what it does to the secret is up to the server.

mod configuration;
mod token;

use std::sync::Arc;

use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use http::StatusCode;
use serde_json::{Map, Value, json};

use crate::client::Client;
use crate::core::Core;
use crate::fault::Endpoint;
use crate::fault_answer::Vendor;

const VENDOR: Vendor = Vendor {
    throttled: |_| {
        oauth(StatusCode::TOO_MANY_REQUESTS, "temporarily_unavailable", "too many requests")
    },
    limit_headers: ["x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"],
    server_error: |_: Endpoint, status| {
        oauth(status, "server_error", "an error of the server's own")
    },
};

/// What such a server does with a client's secret when the client updates its registration.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum AtUpdate {
    /// It stays, and another one is refused: what RFC 7592 asks for, and no more.
    KeepsSecret,
    /// The server issues another one.
    IssuesSecret,
    /// The client may bring another one, which RFC 7592 forbids.
    TakesSecret,
}

pub(crate) fn router(core: Arc<Core>) -> Router {
    Router::new()
        .route("/token", post(token::token))
        .route("/register/{id}", get(configuration::read).put(configuration::update))
        .with_state(core)
}

/// What a client has registered of itself before anybody updates it: more than a rotation needs.
pub(crate) fn first_metadata(client: &Client) -> Map<String, Value> {
    [
        ("client_name", json!(client.name)),
        ("grant_types", json!(client.grant_types)),
        ("redirect_uris", json!([format!("https://{}.example/callback", client.id)])),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into_iter()
    .collect()
}

/// An error in the shape of RFC 6749 section 5.2 and RFC 7591 section 3.2.2.
fn oauth(status: StatusCode, error: &str, description: &str) -> Response {
    (status, Json(json!({"error": error, "error_description": description}))).into_response()
}
