//! `POST /realms/shop/protocol/openid-connect/token`.
//!
//! The grant type is looked at before the client, and the client before the grant (`TokenEndpoint`).

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Extension, Path, State};
use axum::response::{IntoResponse, Response};
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, StatusCode};
use serde_json::json;

use super::representation::{has_service_account, is_enabled, only_method};
use super::{REALM, VENDOR, error};
use crate::client::{ClientAuthentication, Resource};
use crate::client_authentication::{Proof, presented};
use crate::core::{Core, unix_now};
use crate::parameters::Parameters;
use crate::serve::Node;
use crate::state::Registered;
use crate::token_endpoint;
use crate::tokens::Claims;

pub(crate) async fn token(
    State(core): State<Arc<Core>>,
    Extension(Node(node)): Extension<Node>,
    Path(realm): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let answer = || match realm == REALM {
        true => answer(&core, node, &headers, &body),
        false => error::admin(StatusCode::NOT_FOUND, "Realm does not exist"),
    };
    token_endpoint::respond(&core, &VENDOR, answer).await
}

fn answer(core: &Core, node: usize, headers: &HeaderMap, body: &[u8]) -> Response {
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    // A body of another type is passed over.
    let form = match content_type.unwrap_or("").starts_with("application/x-www-form-urlencoded") {
        true => body,
        false => b"",
    };
    let Ok(parameters) = Parameters::from_form(form) else { return error::internal() };
    let bad = |error, description| error::described(StatusCode::BAD_REQUEST, error, description);
    let grant_type = match parameters.value("grant_type") {
        Some(known @ ("authorization_code" | "refresh_token" | "client_credentials")) => known,
        // The vendor knows more of them, with which nobody gets a token here either.
        Some(_) => return bad("unsupported_grant_type", "Unsupported grant_type"),
        None => return bad("invalid_request", "Missing form parameter: grant_type"),
    };
    // A secret in the form wins, and the other one is not looked at.
    let in_form = parameters.value("client_secret").is_some();
    let authorization = headers.get(AUTHORIZATION).filter(|_| !in_form);
    let Ok(presented) = presented(authorization, &parameters) else {
        return error::no_such_client_to_authenticate();
    };
    core.with_state(|state, now| {
        let known = state.client(&presented.client_id).filter(|client| is_enabled(client));
        let Some(client) = known else { return error::no_such_client_to_authenticate() };
        match client.authentication {
            ClientAuthentication::None => {}
            ClientAuthentication::PrivateKeyJwt | ClientAuthentication::SecretJwt => {
                return bad("invalid_client", "Parameter client_assertion_type is missing");
            }
            ClientAuthentication::SecretBasic | ClientAuthentication::SecretPost => {
                let Proof::Secret(secret) = &presented.proof else { return error::wrong_secret() };
                let used = if in_form { "client_secret_post" } else { "client_secret_basic" };
                if let Some(only) = only_method(client).filter(|only| *only != used) {
                    return error::other_method(only);
                }
                if state.authenticate(&presented.client_id, secret, node, now).is_none() {
                    return error::wrong_secret();
                }
            }
        }
        grant(core, client, grant_type, &parameters)
    })
}

fn grant(core: &Core, client: &Registered, grant_type: &str, parameters: &Parameters) -> Response {
    let bad =
        |error, description: &str| error::described(StatusCode::BAD_REQUEST, error, description);
    let unauthorized = |description| {
        error::described(StatusCode::UNAUTHORIZED, "unauthorized_client", description)
    };
    match grant_type {
        "refresh_token" => match parameters.value("refresh_token") {
            None => bad("invalid_request", "No refresh token"),
            Some(_) => bad("invalid_grant", "Invalid refresh token"),
        },
        "authorization_code" => match parameters.value("code") {
            None => bad("invalid_request", "Missing parameter: code"),
            Some(_) => bad("invalid_grant", "Code not valid"),
        },
        _ if client.authentication == ClientAuthentication::None => {
            unauthorized("Public client not allowed to retrieve service account")
        }
        _ if !has_service_account(client) => {
            unauthorized("Client not enabled to retrieve service account")
        }
        _ => match parameters.value("scope").filter(|scope| *scope != "profile email") {
            Some(scope) => bad("invalid_scope", &format!("Invalid scopes: {scope}")),
            None => tokens(core, client),
        },
    }
}

fn tokens(core: &Core, client: &Registered) -> Response {
    let lifetime = core.token_lifetime.as_secs();
    let iat = unix_now();
    let roles = client.grants.iter().find(|grant| grant.resource == Resource::Management);
    let claims = Claims {
        iss: format!("{}/realms/{REALM}", core.url()),
        sub: format!("service-account-{}", client.id),
        aud: core.management_audience(),
        iat,
        exp: iat.saturating_add(lifetime),
        azp: client.id.clone(),
        scope: roles.map(|grant| grant.scopes.join(" ")).unwrap_or_default(),
    };
    let body = json!({
        "access_token": core.issuer.issue(&claims),
        "expires_in": lifetime,
        "refresh_expires_in": 0,
        "token_type": "Bearer",
        "not-before-policy": 0,
        "scope": "profile email",
    });
    Json(body).into_response()
}
