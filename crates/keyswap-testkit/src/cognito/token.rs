//! `POST /oauth2/token`, for clients in their own name, and for those to which users sign in.
//!
//! Nobody signs in here: a user has done so before, and left the client the refresh token `refresh-token-of-CLIENT`, which
//! stays what it is.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Extension, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode};
use serde_json::json;

use super::{USER_POOL, VENDOR, error};
use crate::client_authentication::{Presented, Proof};
use crate::core::{Core, unix_now};
use crate::parameters::Parameters;
use crate::serve::Node;
use crate::state::Registered;
use crate::token_endpoint;
use crate::tokens::Claims;

pub(crate) async fn token(
    State(core): State<Arc<Core>>,
    Extension(Node(node)): Extension<Node>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    token_endpoint::respond(&core, &VENDOR, || answer(&core, node, &headers, &body)).await
}

fn bad(error: &str) -> Response {
    error::token(StatusCode::BAD_REQUEST, error)
}

fn answer(core: &Core, node: usize, headers: &HeaderMap, body: &[u8]) -> Response {
    let Ok((presented, parameters)) = token_endpoint::read(headers, body) else {
        return bad("invalid_request");
    };
    let grant_type = match parameters.value("grant_type") {
        Some(known @ ("authorization_code" | "client_credentials" | "refresh_token")) => known,
        Some(_) => return bad("unsupported_grant_type"),
        None => return bad("invalid_request"),
    };
    let Presented { client_id, proof } = &presented;
    core.with_state(|state, now| {
        let Proof::Secret(secret) = proof else {
            // As others saw it (amazon-archives/amazon-cognito-auth-js#206).
            let body =
                json!({"error": "invalid_client", "error_description": "invalid_client_secret"});
            return (StatusCode::BAD_REQUEST, Json(body)).into_response();
        };
        match state.authenticate(client_id, secret, node, now) {
            Some(client) => grant(core, client, grant_type, &parameters),
            // The same for a wrong secret and an unknown client.
            None => bad("invalid_client"),
        }
    })
}

fn grant(core: &Core, client: &Registered, grant_type: &str, parameters: &Parameters) -> Response {
    if !client.grant_types.iter().any(|allowed| allowed == grant_type) {
        return bad("unauthorized_client");
    }
    let given = |name| parameters.value(name).filter(|value| !value.is_empty());
    match (grant_type, given("code"), given("refresh_token")) {
        ("client_credentials", ..) => for_itself(core, client, parameters),
        ("authorization_code", None, _) | ("refresh_token", _, None) => bad("invalid_request"),
        ("refresh_token", _, Some(token)) if token == format!("refresh-token-of-{}", client.id) => {
            token_for(core, client, "openid")
        }
        _ => bad("invalid_grant"),
    }
}

/// The scopes are those of resource servers, which the client was given.
fn for_itself(core: &Core, client: &Registered, parameters: &Parameters) -> Response {
    let allowed: Vec<&String> = client.grants.iter().flat_map(|grant| &grant.scopes).collect();
    let asked = parameters.value("scope").map(|scope| scope.split_ascii_whitespace());
    let scopes: Vec<&str> = match asked {
        Some(asked) => asked.collect(),
        None => allowed.iter().map(|scope| scope.as_str()).collect(),
    };
    if scopes.is_empty() || !scopes.iter().all(|one| allowed.iter().any(|scope| scope == one)) {
        return bad("invalid_scope");
    }
    token_for(core, client, &scopes.join(" "))
}

fn token_for(core: &Core, client: &Registered, scope: &str) -> Response {
    let lifetime = core.token_lifetime.as_secs();
    let iat = unix_now();
    let claims = Claims {
        iss: format!("https://cognito-idp.eu-west-1.amazonaws.com/{USER_POOL}"),
        sub: client.id.clone(),
        aud: client.id.clone(),
        iat,
        exp: iat.saturating_add(lifetime),
        azp: client.id.clone(),
        scope: scope.to_owned(),
    };
    let token = core.issuer.issue(&claims);
    let body = json!({"access_token": token, "expires_in": lifetime, "token_type": "Bearer"});
    Json(body).into_response()
}
