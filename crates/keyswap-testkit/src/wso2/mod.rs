//! The server as WSO2 Identity Server shows it: the token endpoint of the organization `shop`, and the part of the
//! Application Management API that reads an application, and lists, adds and removes its secrets.
//!
//! Paths, bodies and codes are those of `applications.yaml`, `OAuthInboundFunctions` (wso2/identity-api-server, c2446d9c)
//! and `OAuthAdminServiceImpl`, `OAuthAppDAO`, `AccessTokenIssuer` (wso2-extensions/identity-inbound-auth-oauth,
//! c4c32bb3). What an unknown organization is answered with is not known. All of it is at the one address of this server.

mod application;
mod error;
mod secrets;
mod token;

use std::sync::Arc;

use axum::Router;
use axum::response::Response;
use axum::routing::{delete, get, post};
use http::HeaderMap;
use http::header::AUTHORIZATION;

use crate::core::{Core, unix_now};
use crate::entra::random_key_id;
use crate::fault::Endpoint;
use crate::fault_answer::{Vendor, fault_on_arrival};
use crate::several::{Rules, Stays};

/// The organization that the server has.
const ORGANIZATION: &str = "shop";
pub(crate) const TOKEN_PATH: &str = "/t/shop/oauth2/token";

/// "Clients cannot have more than %d secrets": two, unless `MaxSecretCount` says otherwise.
pub(crate) const RULES: Rules =
    Rules { most: 2, deactivation: false, stays: Some(Stays::Newest), id: random_key_id };

const VENDOR: Vendor = Vendor {
    throttled: error::throttled,
    // It has no limit of its own; Asgardeo and gateways do.
    limit_headers: ["x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"],
    server_error: error::server_error,
};

pub(crate) fn router(core: Arc<Core>, hashes: bool) -> Router {
    let oidc = "/t/{organization}/api/server/v1/applications/{application}/inbound-protocols/oidc";
    let list = move |core, path, headers| secrets::list(core, path, headers, hashes);
    Router::new()
        .route("/t/{organization}/oauth2/token", post(token::token))
        .route(oidc, get(application::read))
        .route(&format!("{oidc}/secrets"), get(list).post(secrets::add))
        .route(&format!("{oidc}/secrets/{{secret}}"), delete(secrets::remove))
        .fallback(error::no_such_path)
        .method_not_allowed_fallback(error::no_such_path)
        .with_state(core)
}

/// Counts the request, lets its faults happen, and looks at its token; what comes back is the answer in place of the real
/// one.
async fn on_arrival(
    core: &Core,
    endpoint: Endpoint,
    (organization, scope): (&str, &str),
    headers: &HeaderMap,
) -> Option<Response> {
    core.counters.management_requests.add_one();
    if let Some(instead) = fault_on_arrival(core, endpoint, &VENDOR).await {
        return Some(instead);
    }
    if organization != ORGANIZATION {
        return Some(error::no_such_path().await);
    }
    let given = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let given = given.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default();
    let Ok(claims) = core.issuer.verify(given, unix_now()) else {
        return Some(error::unauthorized());
    };
    (!claims.has_any_scope(&[scope])).then(error::forbidden)
}
