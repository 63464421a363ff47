//! `POST /{tenant}/oauth2/v2.0/token`, for clients in their own name.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Extension, Path, State};
use axum::response::{IntoResponse, Response};
use http::HeaderMap;
use serde::Serialize;
use serde_json::json;

use super::{TENANT, VENDOR, error};
use crate::client::Resource;
use crate::client_authentication::{Presented, Proof};
use crate::core::{Core, unix_now};
use crate::parameters::{Malformed, Parameters};
use crate::serve::Node;
use crate::state::Registered;
use crate::token_endpoint;
use crate::tokens::Claims;

/// A token for an application in its own name has what it may do as `roles`.
#[derive(Serialize)]
struct WithRoles {
    #[serde(flatten)]
    claims: Claims,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    roles: Vec<String>,
}

pub(crate) async fn token(
    State(core): State<Arc<Core>>,
    Extension(Node(node)): Extension<Node>,
    Path(tenant): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let answer = || answer(&core, node, &tenant, &headers, &body);
    token_endpoint::respond(&core, &VENDOR, answer).await
}

fn answer(core: &Core, node: usize, tenant: &str, headers: &HeaderMap, body: &[u8]) -> Response {
    if tenant != TENANT {
        let description = format!("Tenant '{tenant}' not found.");
        return error::token(400, "invalid_request", 90002, &description);
    }
    let (presented, parameters) = match token_endpoint::read(headers, body) {
        Ok(read) => read,
        Err(Malformed(reason)) => return error::token(400, "invalid_request", 900_144, reason),
    };
    match parameters.value("grant_type") {
        Some("client_credentials") => {}
        Some(_) => {
            let description = "The app requested an unsupported grant type.";
            return error::token(400, "unsupported_grant_type", 70003, description);
        }
        None => {
            let description =
                "The request body must contain the following parameter: 'grant_type'.";
            return error::token(400, "invalid_request", 900_144, description);
        }
    }
    let Presented { client_id, proof } = &presented;
    core.with_state(|state, now| {
        if state.client(client_id).is_none() {
            let description = format!(
                "Application with identifier '{client_id}' was not found in the directory '{tenant}'."
            );
            return error::token(400, "unauthorized_client", 700_016, &description);
        }
        match proof {
            Proof::Missing | Proof::Assertion(_) => {
                let description = "'client_assertion' or 'client_secret' is required for the \
                                   'client_credentials' grant type.";
                error::token(401, "invalid_client", 7_000_216, description)
            }
            Proof::Secret(secret) => match state.sign_in(client_id, secret, node, now) {
                Some(client) => grant(core, client, &parameters),
                None => {
                    let description = "Invalid client secret provided. Ensure the secret being sent in the \
                                       request is the client secret value, not the client secret ID.";
                    error::token(401, "invalid_client", 7_000_215, description)
                }
            },
        }
    })
}

fn grant(core: &Core, client: &Registered, parameters: &Parameters) -> Response {
    let scope = parameters.value("scope").unwrap_or_default();
    let Some(resource) = scope.strip_suffix("/.default") else {
        let description = "The provided value for scope is not valid. Client credential flows must have a scope \
                           value with /.default suffixed to the resource identifier (application ID URI).";
        return error::token(400, "invalid_scope", 1_002_012, description);
    };
    let is_graph = resource == core.url();
    let wanted = match is_graph {
        true => Resource::Management,
        false => Resource::Audience(resource.to_owned()),
    };
    let granted = client.grants.iter().find(|grant| grant.resource == wanted);
    if granted.is_none() && !is_graph {
        let description =
            format!("The resource principal named {resource} was not found in the tenant.");
        return error::token(400, "invalid_resource", 500_011, &description);
    }
    // Any application gets a token for Graph, and may do there what it was granted.
    let roles = granted.map(|granted| granted.scopes.clone()).unwrap_or_default();
    let lifetime = core.token_lifetime.as_secs();
    let iat = unix_now();
    let claims = Claims {
        iss: format!("{}/{TENANT}/v2.0", core.url()),
        sub: client.id.clone(),
        aud: resource.to_owned(),
        iat,
        exp: iat.saturating_add(lifetime),
        azp: client.id.clone(),
        scope: roles.join(" "),
    };
    let body = json!({
        "token_type": "Bearer",
        "expires_in": lifetime,
        "ext_expires_in": lifetime,
        "access_token": core.issuer.issue(&WithRoles { claims, roles }),
    });
    Json(body).into_response()
}
