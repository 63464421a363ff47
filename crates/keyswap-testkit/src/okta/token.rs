//! `POST /oauth2/{authorizationServerId}/v1/token`, and that of the org.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Extension, Path, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode};
use serde_json::json;

use super::{VENDOR, error, service_app};
use crate::assertion::Unacceptable;
use crate::client::Resource;
use crate::client_authentication::{Presented, Proof};
use crate::core::{Core, unix_now};
use crate::parameters::{Malformed, Parameters};
use crate::serve::Node;
use crate::state::Registered;
use crate::token_endpoint;
use crate::tokens::Claims;

pub(crate) async fn of_a_custom_server(
    State(core): State<Arc<Core>>,
    Extension(Node(node)): Extension<Node>,
    Path(server): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let answer = || answer(&core, node, Some(&server), &headers, &body);
    token_endpoint::respond(&core, &VENDOR, answer).await
}

pub(crate) async fn of_the_org(
    State(core): State<Arc<Core>>,
    Extension(Node(node)): Extension<Node>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    token_endpoint::respond(&core, &VENDOR, || answer(&core, node, None, &headers, &body)).await
}

fn answer(
    core: &Core,
    node: usize,
    server: Option<&str>,
    headers: &HeaderMap,
    body: &[u8],
) -> Response {
    if server.is_none()
        && let Ok(parameters) = token_endpoint::parameters(headers, body)
        && let Some(response) = service_app::token(core, &parameters)
    {
        return response;
    }
    let (presented, parameters) = match token_endpoint::read(headers, body) {
        Ok(read) => read,
        Err(Malformed(reason)) => {
            return error::token(StatusCode::BAD_REQUEST, "invalid_request", reason);
        }
    };
    let Presented { client_id, proof } = &presented;
    core.with_state(|state, now| {
        let unauthorized = |description: &str| {
            error::token(StatusCode::UNAUTHORIZED, "invalid_client", description)
        };
        if state.client(client_id).is_none() {
            return unauthorized("Invalid value for the `client_id` parameter");
        }
        match proof {
            Proof::Missing => unauthorized("No client credentials found."),
            Proof::Secret(secret) => match state.authenticate(client_id, secret, node, now) {
                Some(client) => grant(core, client, server, &parameters),
                None => {
                    unauthorized("The client secret supplied for a confidential client is invalid.")
                }
            },
            Proof::Assertion(assertion) => {
                let audiences = core.assertion_audiences();
                let unix_now = unix_now();
                match state.authenticate_by_assertion(assertion, &audiences, node, now, unix_now) {
                    Ok(client) => grant(core, client, server, &parameters),
                    Err(Unacceptable(reason)) => unauthorized(reason),
                }
            }
        }
    })
}

fn grant(
    core: &Core,
    client: &Registered,
    server: Option<&str>,
    parameters: &Parameters,
) -> Response {
    let bad = |error, description| error::token(StatusCode::BAD_REQUEST, error, description);
    match parameters.value("grant_type") {
        Some("client_credentials") => {}
        None => return bad("invalid_request", "The request is missing 'grant_type'."),
        Some(_) => {
            let description = "The authorization grant type is not supported by the authorization \
                               server. Configured grant types: [client_credentials].";
            return bad("unsupported_grant_type", description);
        }
    }
    let Some(server) = server else {
        // The org's own server gives tokens for Okta's APIs alone, and to clients with a key.
        let description = "Client Credentials requests to the Org Authorization Server must use the \
                           private_key_jwt token_endpoint_auth_method.";
        return bad("invalid_client", description);
    };
    let resource = Resource::Audience(server.to_owned());
    let Some(granted) = client.grants.iter().find(|grant| grant.resource == resource) else {
        let description = "Policy evaluation failed for this request, please check the policy \
                           configurations.";
        return bad("access_denied", description);
    };
    let Some(scope) = parameters.value("scope") else {
        let description = "The authorization server resource does not have any configured default \
                           scopes, 'scope' must be provided.";
        return bad("invalid_scope", description);
    };
    if !scope.split_ascii_whitespace().all(|asked| granted.scopes.iter().any(|one| one == asked)) {
        let description =
            "One or more scopes are not configured for the authorization server resource.";
        return bad("invalid_scope", description);
    }
    let lifetime = core.token_lifetime.as_secs();
    let iat = unix_now();
    let claims = Claims {
        iss: format!("{}/oauth2/{server}", core.url()),
        sub: client.id.clone(),
        aud: server.to_owned(),
        iat,
        exp: iat.saturating_add(lifetime),
        azp: client.id.clone(),
        scope: scope.to_owned(),
    };
    let body = json!({
        "token_type": "Bearer",
        "expires_in": lifetime,
        "access_token": core.issuer.issue(&claims),
        "scope": scope,
    });
    Json(body).into_response()
}
