//! `POST /oauth/token`.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Extension, State};
use axum::response::{IntoResponse, Response};
use axum::{Json, http::HeaderMap};
use http::StatusCode;
use serde_json::json;

use super::{VENDOR, error};
use crate::assertion::Unacceptable;
use crate::client::{ClientAuthentication, Grant};
use crate::client_authentication::Proof;
use crate::core::{Core, unix_now};
use crate::parameters::{Malformed, Parameters};
use crate::serve::Node;
use crate::state::Registered;
use crate::token_endpoint;
use crate::tokens::Claims;

/// Grant types that Auth0 knows. Here a client may be allowed to use them, and still gets no token by them.
const OTHER_GRANT_TYPES: [&str; 9] = [
    "authorization_code",
    "implicit",
    "password",
    "refresh_token",
    "http://auth0.com/oauth/grant-type/password-realm",
    "http://auth0.com/oauth/grant-type/mfa-otp",
    "http://auth0.com/oauth/grant-type/passwordless/otp",
    "urn:ietf:params:oauth:grant-type:device_code",
    "urn:ietf:params:oauth:grant-type:token-exchange",
];

pub(crate) async fn token(
    State(core): State<Arc<Core>>,
    Extension(Node(node)): Extension<Node>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    token_endpoint::respond(&core, &VENDOR, || answer(&core, node, &headers, &body)).await
}

/// The answer, which is recorded.
fn answer(core: &Core, node: usize, headers: &HeaderMap, body: &[u8]) -> Response {
    let (presented, parameters) = match token_endpoint::read(headers, body) {
        Ok(read) => read,
        Err(Malformed(reason)) => {
            return error::token(StatusCode::BAD_REQUEST, "invalid_request", reason);
        }
    };
    let response = core.with_state(|state, now| {
        let authenticated = match &presented.proof {
            Proof::Missing => None,
            Proof::Secret(secret) => state.authenticate(&presented.client_id, secret, node, now),
            Proof::Assertion(assertion) => {
                let audiences = core.assertion_audiences();
                let unix_now = unix_now();
                match state.authenticate_by_assertion(assertion, &audiences, node, now, unix_now) {
                    Ok(client) => return grant(core, client, &parameters),
                    Err(Unacceptable(reason)) => {
                        return error::token(StatusCode::UNAUTHORIZED, "invalid_client", reason);
                    }
                }
            }
        };
        // A public client has nothing to prove; that it may not use this grant is said below.
        let public = state
            .client(&presented.client_id)
            .filter(|client| client.authentication == ClientAuthentication::None);
        match authenticated.or(public) {
            Some(client) => grant(core, client, &parameters),
            // The same words for a wrong secret and an unknown client.
            None => error::token(StatusCode::UNAUTHORIZED, "access_denied", "Unauthorized"),
        }
    });
    core.log.token_request(&presented.client_id, headers, response.status());
    response
}

fn grant(core: &Core, client: &Registered, parameters: &Parameters) -> Response {
    let Some(grant_type) = parameters.value("grant_type") else {
        let description = "Missing required parameter: grant_type";
        return error::token(StatusCode::BAD_REQUEST, "invalid_request", description);
    };
    let client_credentials = grant_type == "client_credentials";
    if !client_credentials && !OTHER_GRANT_TYPES.contains(&grant_type) {
        let description = format!("Unsupported grant type: {grant_type}");
        return error::token(StatusCode::BAD_REQUEST, "unsupported_grant_type", &description);
    }
    let public = client.authentication == ClientAuthentication::None;
    if !client.grant_types.iter().any(|allowed| allowed == grant_type)
        || (client_credentials && public)
    {
        return grant_type_not_allowed(grant_type);
    }
    if !client_credentials {
        return invalid_grant(grant_type);
    }
    let Some(audience) = parameters.value("audience") else {
        let description =
            "No audience parameter was provided, and no default audience has been configured";
        return error::token(StatusCode::FORBIDDEN, "access_denied", description);
    };
    let resource = core.resource(audience);
    match client.grants.iter().find(|grant| grant.resource == resource) {
        Some(grant) => mint(core, client, grant, audience, parameters.value("scope")),
        None => not_authorized(audience),
    }
}

fn mint(
    core: &Core,
    client: &Registered,
    grant: &Grant,
    audience: &str,
    asked: Option<&str>,
) -> Response {
    let asked: Option<Vec<&str>> = asked
        .map(|asked| asked.split_ascii_whitespace().collect())
        .filter(|asked: &Vec<_>| !asked.is_empty());
    let granted = |scope: &&str| asked.as_ref().is_none_or(|asked| asked.contains(scope));
    let scopes: Vec<&str> = grant.scopes.iter().map(String::as_str).filter(granted).collect();
    let lifetime = core.token_lifetime.as_secs();
    let iat = unix_now();
    let claims = Claims {
        iss: format!("{}/", core.url()),
        sub: format!("{}@clients", client.id),
        aud: audience.to_owned(),
        iat,
        exp: iat.saturating_add(lifetime),
        azp: client.id.clone(),
        scope: scopes.join(" "),
    };
    let mut body = json!({
        "access_token": core.issuer.issue(&claims),
        "expires_in": lifetime,
        "token_type": "Bearer",
    });
    if !claims.scope.is_empty() {
        body["scope"] = claims.scope.into();
    }
    Json(body).into_response()
}

fn grant_type_not_allowed(grant_type: &str) -> Response {
    let body = json!({
        "error": "unauthorized_client",
        "error_description": format!("Grant type '{grant_type}' not allowed for the client."),
        "error_uri": "https://auth0.com/docs/clients/client-grant-types",
    });
    (StatusCode::FORBIDDEN, Json(body)).into_response()
}

/// This server never hands out a code, a refresh token or a user, so none that is shown to it can be right.
fn invalid_grant(grant_type: &str) -> Response {
    let description = match grant_type {
        "authorization_code" => "Invalid authorization code",
        "refresh_token" => "Unknown or invalid refresh token.",
        "password" | "http://auth0.com/oauth/grant-type/password-realm" => {
            "Wrong email or password."
        }
        _ => "Invalid grant",
    };
    error::token(StatusCode::FORBIDDEN, "invalid_grant", description)
}

fn not_authorized(audience: &str) -> Response {
    let description = format!(
        "Client is not authorized to access \"{audience}\". You need to create a \"client-grant\" \
         associated to this API. See: \
         https://auth0.com/docs/api/v2#!/Client_Grants/post_client_grants"
    );
    error::token(StatusCode::FORBIDDEN, "access_denied", &description)
}
