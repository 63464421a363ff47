//! `POST /oauth/v2/token`, for web applications.
//!
//! The client is authenticated before the grant is looked at, as in `withClient` of zitadel/oidc. Nobody signs in
//! here: a user has done so before, and left the application the refresh token `refresh-token-of-CLIENT`, which stays
//! what it is.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Extension, State};
use axum::response::{IntoResponse, Response};
use http::HeaderMap;
use serde_json::json;

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
    let (presented, parameters) = match token_endpoint::read(headers, body) {
        Ok(read) => read,
        Err(Malformed(reason)) => return error::token("invalid_request", reason),
    };
    let grant_type = match parameters.value("grant_type") {
        Some(known @ ("authorization_code" | "refresh_token" | "client_credentials")) => known,
        Some(_) => return error::token("unsupported_grant_type", "unsupported grant_type"),
        None => return error::token("invalid_request", "grant_type missing"),
    };
    let Presented { client_id, proof } = &presented;
    core.with_state(|state, now| {
        // For that grant, it is a service account that is looked for, and there is none here.
        if grant_type == "client_credentials" || state.client(client_id).is_none() {
            return error::token("invalid_client", "client not found");
        }
        let secret = match proof {
            Proof::Secret(secret) => secret,
            Proof::Missing => return error::token("invalid_client", "empty client secret"),
            Proof::Assertion(_) => {
                return error::token("invalid_client", "private_key_jwt not supported");
            }
        };
        match state.authenticate(client_id, secret, node, now) {
            Some(client) => grant(core, client, grant_type, &parameters),
            None => error::token("invalid_client", "invalid secret"),
        }
    })
}

fn grant(core: &Core, client: &Registered, grant_type: &str, parameters: &Parameters) -> Response {
    if !client.grant_types.iter().any(|allowed| allowed == grant_type) {
        let description = format!("grant_type \"{grant_type}\" not allowed");
        return error::token("unauthorized_client", &description);
    }
    let given = |name| parameters.value(name).filter(|value| !value.is_empty());
    match (grant_type, given("code"), given("refresh_token")) {
        ("authorization_code", None, _) => error::token("invalid_request", "code missing"),
        // The vendor's words for a code that it does not know are not at hand.
        ("authorization_code", Some(_), _) => error::token("invalid_grant", "invalid code"),
        (_, _, None) => error::token("invalid_request", "refresh_token missing"),
        (_, _, Some(token)) if token == format!("refresh-token-of-{}", client.id) => {
            tokens(core, client)
        }
        _ => error::token("invalid_request", "Errors.User.RefreshToken.Invalid"),
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
        "token_type": "Bearer",
        "expires_in": lifetime,
        "refresh_token": format!("refresh-token-of-{}", client.id),
    });
    Json(body).into_response()
}
