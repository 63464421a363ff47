//! `GetApplication` and `GenerateClientSecret` of the application service.
//!
//! The service shows a change at once; only the nodes of the token endpoint lag behind.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::HeaderMap;
use http::header::AUTHORIZATION;
use rand::RngExt;
use rand::distr::Alphanumeric;
use serde::Deserialize;
use serde_json::json;

use super::{VENDOR, error};
use crate::client::{ClientAuthentication, Resource};
use crate::core::Core;
use crate::fault::{Endpoint, change_after};
use crate::fault_answer::{after_change, fault_on_arrival};
use crate::propagation::Origin;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Asked {
    application_id: String,
    project_id: Option<String>,
}

pub(crate) async fn read(
    State(core): State<Arc<Core>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let asked = match on_arrival(&core, Endpoint::ReadClient, &headers, &body).await {
        Ok(asked) => asked,
        Err(instead) => return *instead,
    };
    core.with_state(|state, _| {
        let Some(client) = state.application(&asked.application_id) else {
            return error::no_such_application();
        };
        let mut configuration = json!({ "clientId": client.id, "grantTypes": client.grant_types });
        // A message in JSON leaves out a field with the first value of its type, which is Basic here.
        if let Some(method) = match client.authentication {
            ClientAuthentication::SecretBasic => None,
            ClientAuthentication::SecretPost => Some("OIDC_AUTH_METHOD_TYPE_POST"),
            ClientAuthentication::None => Some("OIDC_AUTH_METHOD_TYPE_NONE"),
            ClientAuthentication::PrivateKeyJwt | ClientAuthentication::SecretJwt => {
                Some("OIDC_AUTH_METHOD_TYPE_PRIVATE_KEY_JWT")
            }
        } {
            configuration["authMethodType"] = json!(method);
        }
        let application = json!({
            "applicationId": asked.application_id,
            "state": "APPLICATION_STATE_ACTIVE",
            "name": client.name,
            "oidcConfiguration": configuration,
        });
        Json(json!({ "application": application })).into_response()
    })
}

pub(crate) async fn generate(
    State(core): State<Arc<Core>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let endpoint = Endpoint::RotateSecret;
    let asked = match on_arrival(&core, endpoint, &headers, &body).await {
        Ok(asked) => asked,
        Err(instead) => return *instead,
    };
    // 64 characters, as its console shows them.
    let chosen: String = rand::rng().sample_iter(Alphanumeric).take(64).map(char::from).collect();
    let done = core.with_state(|state, now| {
        let project = asked.project_id.map(Resource::Audience);
        let client = state
            .application(&asked.application_id)
            .filter(|client| {
                client.grants.iter().any(|grant| Some(&grant.resource) == project.as_ref())
            })
            .ok_or_else(|| Box::new(error::no_such_application()))?;
        if !client.authentication.sends_secret() {
            return Err(Box::new(error::no_secret()));
        }
        let id = client.id.clone();
        let fault = core.faults.on_change();
        let Some(after) = change_after(fault.as_ref()) else { return Ok(fault) };
        state.change_secret(&id, &chosen, Origin::Api, after, now);
        Ok(fault)
    });
    if let Some(instead) = after_change(endpoint, done, &VENDOR).await {
        return instead;
    }
    Json(json!({ "clientSecret": chosen, "creationDate": "2026-01-23T10:34:18.051Z" }))
        .into_response()
}

/// Counts the request, lets its faults happen, looks at its token and reads its message; an error is the answer in
/// place of the real one.
async fn on_arrival(
    core: &Core,
    endpoint: Endpoint,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Asked, Box<Response>> {
    core.counters.management_requests.add_one();
    if let Some(instead) = fault_on_arrival(core, endpoint, &VENDOR).await {
        return Err(instead.into());
    }
    let given = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let given = given.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default();
    match core.api_token(given.as_bytes()) {
        None => Err(error::unauthenticated().into()),
        Some(token) if token.reads_only && !endpoint.reads() => {
            Err(error::permission_denied().into())
        }
        Some(_) => serde_json::from_slice(body).map_err(|_| error::bad_body().into()),
    }
}
