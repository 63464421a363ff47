//! `POST /oauth2/token` and `POST /oauth2/introspect`, for applications.
//!
//! The vendor says that a secret which is given is always validated, and not in which order it looks at the rest: here the
//! client comes first. Nobody signs in here: a user has done so before, and left the application the refresh token
//! `refresh-token-of-CLIENT`, which stays what it is.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Extension, State};
use axum::response::{IntoResponse, Response};
use http::HeaderMap;
use serde_json::json;

use super::{VENDOR, error};
use crate::client::ClientAuthentication;
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
    let answer = || verified(&core, node, &headers, &body, grant);
    token_endpoint::respond(&core, &VENDOR, answer).await
}

pub(crate) async fn introspect(
    State(core): State<Arc<Core>>,
    Extension(Node(node)): Extension<Node>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let answer = || verified(&core, node, &headers, &body, introspection);
    token_endpoint::respond(&core, &VENDOR, answer).await
}

/// What `then` answers to a client that is verified. The words of descriptions are not the vendor's.
fn verified(
    core: &Core,
    node: usize,
    headers: &HeaderMap,
    body: &[u8],
    then: fn(&Core, &Registered, &Parameters) -> Response,
) -> Response {
    let (presented, parameters) = match token_endpoint::read(headers, body) {
        Ok(read) => read,
        Err(Malformed(reason)) => return error::oauth("invalid_request", "unknown", reason),
    };
    let Presented { client_id, proof } = &presented;
    core.with_state(|state, now| {
        let Some(client) = state.client(client_id) else {
            return error::oauth("invalid_client", "invalid_client_id", "Invalid client_id");
        };
        let Proof::Secret(secret) = proof else {
            return match client.authentication {
                ClientAuthentication::None => then(core, client, &parameters),
                _ => {
                    let description = "Missing client_secret";
                    error::oauth("invalid_client", "missing_client_secret", description)
                }
            };
        };
        match state.authenticate(client_id, secret, node, now) {
            Some(client) => then(core, client, &parameters),
            None => {
                let description = "Invalid client authentication credentials.";
                error::oauth("invalid_client", "invalid_client_authentication", description)
            }
        }
    })
}

fn introspection(core: &Core, client: &Registered, parameters: &Parameters) -> Response {
    let Some(token) = parameters.value("token") else {
        return error::oauth("invalid_request", "missing_token", "Missing token");
    };
    match core.issuer.verify(token, unix_now()) {
        Ok(claims) if claims.aud == client.id => {
            Json(json!({ "active": true, "aud": claims.aud, "sub": claims.sub })).into_response()
        }
        Ok(_) => error::oauth("invalid_client", "client_id_mismatch", "Another client's token"),
        Err(_) => Json(json!({ "active": false })).into_response(),
    }
}

fn grant(core: &Core, client: &Registered, parameters: &Parameters) -> Response {
    let given = |name| parameters.value(name).filter(|value| !value.is_empty());
    let Some(grant_type) = given("grant_type") else {
        return error::oauth("invalid_request", "missing_grant_type", "Missing grant_type");
    };
    match grant_type {
        // That is for entities, and there is none here.
        "client_credentials" => {
            error::oauth("invalid_client", "invalid_client_id", "Invalid client_id")
        }
        "authorization_code" | "refresh_token"
            if !client.grant_types.iter().any(|allowed| allowed == grant_type) =>
        {
            let description = "The grant is not enabled for this application.";
            error::oauth("unauthorized_client", "grant_type_disabled", description)
        }
        "authorization_code" => match given("code") {
            None => error::oauth("invalid_request", "missing_code", "Missing code"),
            Some(_) => error::oauth("invalid_grant", "auth_code_not_found", "Invalid code"),
        },
        "refresh_token" => match given("refresh_token") {
            None => error::oauth("invalid_request", "missing_refresh_token", "Missing token"),
            Some(token) if token == format!("refresh-token-of-{}", client.id) => {
                tokens(core, client)
            }
            Some(_) => error::oauth("invalid_grant", "refresh_token_not_found", "Invalid token"),
        },
        _ => error::oauth("unsupported_grant_type", "invalid_grant_type", "Unsupported grant_type"),
    }
}

fn tokens(core: &Core, client: &Registered) -> Response {
    let lifetime = core.token_lifetime.as_secs();
    let iat = unix_now();
    let claims = Claims {
        iss: core.url(),
        sub: "user".to_owned(),
        aud: client.id.clone(),
        iat,
        exp: iat.saturating_add(lifetime),
        azp: client.id.clone(),
        scope: "openid offline_access".to_owned(),
    };
    let body = json!({
        "access_token": core.issuer.issue(&claims),
        "expires_in": lifetime,
        "refresh_token": format!("refresh-token-of-{}", client.id),
        "token_type": "Bearer",
        "userId": "00000000-0000-0001-0000-000000000000",
    });
    Json(body).into_response()
}
