//! `POST /t/{organization}/oauth2/token`, for clients in their own name.
//!
//! The client is looked at before what it may do (`AccessTokenIssuer.issue`).

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Extension, Path, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode};
use serde_json::json;

use super::{ORGANIZATION, VENDOR, error};
use crate::client::Resource;
use crate::client_authentication::Proof;
use crate::core::{Core, unix_now};
use crate::parameters::{Malformed, Parameters};
use crate::serve::Node;
use crate::state::Registered;
use crate::token_endpoint;
use crate::tokens::Claims;

pub(crate) async fn token(
    State(core): State<Arc<Core>>,
    Extension(Node(node)): Extension<Node>,
    Path(organization): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if organization != ORGANIZATION {
        return error::no_such_path().await;
    }
    let answer = || answer(&core, node, &headers, &body);
    token_endpoint::respond(&core, &VENDOR, answer).await
}

fn answer(core: &Core, node: usize, headers: &HeaderMap, body: &[u8]) -> Response {
    let bad = |error, description| error::token(StatusCode::BAD_REQUEST, error, description);
    let refused =
        |description: &str| error::token(StatusCode::UNAUTHORIZED, "invalid_client", description);
    let (presented, parameters) = match token_endpoint::read(headers, body) {
        Ok(read) => read,
        Err(Malformed(reason)) => return bad("invalid_request", reason),
    };
    match parameters.value("grant_type") {
        Some("client_credentials") => {}
        Some(_) => return bad("unsupported_grant_type", "Unsupported grant type, is used."),
        None => return bad("invalid_request", "Missing grant_type parameter value"),
    }
    core.with_state(|state, now| {
        let id = &presented.client_id;
        if state.client(id).is_none() {
            let begins = "A valid OAuth client could not be found for client_id: ";
            return refused(&format!("{begins}{id}"));
        }
        let Proof::Secret(secret) = &presented.proof else {
            return refused("Unsupported Client Authentication Method!");
        };
        match state.authenticate(id, secret, node, now) {
            Some(client) => grant(core, client, &parameters),
            None => refused("Client credentials are invalid."),
        }
    })
}

fn grant(core: &Core, client: &Registered, parameters: &Parameters) -> Response {
    if !client.grant_types.iter().any(|one| one == "client_credentials") {
        let description =
            "The authenticated client is not authorized to use this authorization grant type";
        return error::token(StatusCode::BAD_REQUEST, "unauthorized_client", description);
    }
    let authorized = client.grants.iter().find(|grant| grant.resource == Resource::Management);
    let authorized = authorized.map(|grant| grant.scopes.as_slice()).unwrap_or_default();
    // Scopes that the client is not authorized for are left out.
    let wanted = parameters.value("scope").unwrap_or_default().split(' ');
    let given: Vec<&str> =
        wanted.filter(|scope| authorized.iter().any(|one| one == scope)).collect();
    let scope = if given.is_empty() { "default".to_owned() } else { given.join(" ") };
    let lifetime = core.token_lifetime.as_secs();
    let iat = unix_now();
    let claims = Claims {
        iss: core.token_endpoint(),
        sub: client.id.clone(),
        aud: client.id.clone(),
        iat,
        exp: iat.saturating_add(lifetime),
        azp: client.id.clone(),
        scope: scope.clone(),
    };
    let body = json!({
        "access_token": core.issuer.issue(&claims),
        "scope": scope,
        "token_type": "Bearer",
        "expires_in": lifetime,
    });
    Json(body).into_response()
}
