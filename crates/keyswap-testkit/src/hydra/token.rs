//! `POST /oauth2/token`, for the client credentials grant.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Extension, State};
use axum::response::{IntoResponse, Response};
use http::header::AUTHORIZATION;
use http::{HeaderMap, StatusCode};
use serde_json::json;

use super::client::method;
use super::{VENDOR, error};
use crate::client_authentication::{Presented, Proof};
use crate::core::{Core, unix_now};
use crate::parameters::{Malformed, Parameters};
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

fn answer(core: &Core, node: usize, headers: &HeaderMap, body: &[u8]) -> Response {
    let bad = |error, description: &str| error::oauth(StatusCode::BAD_REQUEST, error, description);
    let (presented, parameters) = match token_endpoint::read(headers, body) {
        Ok(read) => read,
        Err(Malformed(reason)) => return bad("invalid_request", reason),
    };
    // The grant comes first: with another one, nothing is said of the secret.
    if parameters.value("grant_type") != Some("client_credentials") {
        let description = "The request is missing a required parameter, includes an invalid parameter value, includes \
                           a parameter more than once, or is otherwise malformed.";
        return bad("invalid_request", description);
    }
    let Presented { client_id, proof } = &presented;
    let used = match headers.contains_key(AUTHORIZATION) {
        true => "client_secret_basic",
        false => "client_secret_post",
    };
    core.with_state(|state, now| {
        let Proof::Secret(secret) = proof else { return error::authentication_failed() };
        let Some(client) = state.client(client_id) else { return error::authentication_failed() };
        let registered = method(client.authentication);
        if registered != used {
            return error::another_method(registered, used);
        }
        match state.authenticate(client_id, secret, node, now) {
            Some(client) => grant(core, client, &parameters),
            None => error::authentication_failed(),
        }
    })
}

fn grant(core: &Core, client: &Registered, parameters: &Parameters) -> Response {
    let scope = parameters.value("scope").unwrap_or_default();
    let allowed = |asked: &str| {
        client.grants.iter().any(|grant| grant.scopes.iter().any(|scope| scope == asked))
    };
    if let Some(unknown) = scope.split_ascii_whitespace().find(|asked| !allowed(asked)) {
        let description = format!(
            "The requested scope is invalid, unknown, or malformed. The OAuth 2.0 Client is not allowed to request scope \
             '{unknown}'."
        );
        return error::oauth(StatusCode::BAD_REQUEST, "invalid_scope", &description);
    }
    let lifetime = core.token_lifetime.as_secs();
    let iat = unix_now();
    let claims = Claims {
        iss: core.url(),
        sub: client.id.clone(),
        aud: client.id.clone(),
        iat,
        exp: iat.saturating_add(lifetime),
        azp: client.id.clone(),
        scope: scope.to_owned(),
    };
    let body = json!({
        "access_token": core.issuer.issue(&claims),
        "expires_in": lifetime,
        "scope": scope,
        "token_type": "bearer",
    });
    Json(body).into_response()
}
