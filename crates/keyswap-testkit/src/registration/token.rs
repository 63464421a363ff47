//! `POST /token`, for the client credentials grant.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Extension, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode};
use serde_json::json;

use super::{VENDOR, oauth};
use crate::client_authentication::{Presented, Proof};
use crate::core::{Core, unix_now};
use crate::parameters::Malformed;
use crate::serve::Node;
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

fn answer(core: &Core, node: usize, headers: &HeaderMap, body: &[u8]) -> Response {
    let bad = |error, description: &str| oauth(StatusCode::BAD_REQUEST, error, description);
    let (Presented { client_id, proof }, parameters) = match token_endpoint::read(headers, body) {
        Ok(read) => read,
        Err(Malformed(reason)) => return bad("invalid_request", reason),
    };
    let authenticated = core.with_state(|state, now| match &proof {
        Proof::Secret(secret) => state.authenticate(&client_id, secret, node, now).is_some(),
        _ => false,
    });
    if !authenticated {
        let description = "client authentication failed";
        return oauth(StatusCode::UNAUTHORIZED, "invalid_client", description);
    }
    if parameters.value("grant_type") != Some("client_credentials") {
        return bad("unsupported_grant_type", "unsupported grant_type requested");
    }
    let lifetime = core.token_lifetime.as_secs();
    let iat = unix_now();
    let claims = Claims {
        iss: core.url(),
        sub: client_id.clone(),
        aud: client_id.clone(),
        iat,
        exp: iat.saturating_add(lifetime),
        azp: client_id,
        scope: parameters.value("scope").unwrap_or_default().to_owned(),
    };
    let access_token = core.issuer.issue(&claims);
    let body =
        json!({"access_token": access_token, "token_type": "Bearer", "expires_in": lifetime});
    Json(body).into_response()
}
