//! `GET` and `PATCH /api/application/{applicationId}`.
//!
//! The API shows a change at once; only the nodes of the OAuth endpoints lag behind.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::HeaderMap;
use http::header::AUTHORIZATION;
use serde_json::{Value, json};

use super::{VENDOR, error};
use crate::client::{ClientAuthentication, Resource};
use crate::core::Core;
use crate::fault::{Endpoint, change_after};
use crate::fault_answer::{after_change, fault_on_arrival};
use crate::propagation::Origin;
use crate::state::Registered;

const TENANT: &str = "x-fusionauth-tenantid";

pub(crate) async fn read(
    State(core): State<Arc<Core>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Response {
    match on_arrival(&core, Endpoint::ReadClient, &headers).await {
        Some(instead) => instead,
        None => show(&core, &id, &headers),
    }
}

pub(crate) async fn update(
    State(core): State<Arc<Core>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let endpoint = Endpoint::UpdateClient;
    if let Some(instead) = on_arrival(&core, endpoint, &headers).await {
        return instead;
    }
    let Ok(body) = serde_json::from_slice::<Value>(&body) else {
        return error::bad_body("The request body is not JSON.");
    };
    let secret = &body["application"]["oauthConfiguration"]["clientSecret"];
    let secret = match secret {
        Value::String(secret) if !secret.is_empty() => secret,
        // Other members may be changed at the vendor; nobody needs that here.
        _ => return error::bad_body("application.oauthConfiguration.clientSecret is no text."),
    };
    let done = core.with_state(|state, now| {
        let client = state.application(&id).filter(|client| is_of_tenant(client, &headers));
        let client = client.ok_or_else(|| Box::new(error::not_found()))?.id.clone();
        let fault = core.faults.on_change();
        let Some(after) = change_after(fault.as_ref()) else { return Ok(fault) };
        state.change_secret(&client, secret, Origin::Api, after, now);
        Ok::<_, Box<Response>>(fault)
    });
    match after_change(endpoint, done, &VENDOR).await {
        Some(instead) => instead,
        None => show(&core, &id, &headers),
    }
}

/// The whole application, with its secret, as far as the description at hand goes.
fn show(core: &Core, id: &str, headers: &HeaderMap) -> Response {
    core.with_state(|state, now| {
        let client = state.application(id).filter(|client| is_of_tenant(client, headers));
        let Some(client) = client else { return error::not_found() };
        let policy = match client.authentication {
            ClientAuthentication::None => "NotRequired",
            _ => "Required",
        };
        let mut application = json!({
            "active": true,
            "id": id,
            "name": client.name,
            "oauthConfiguration": {
                "clientAuthenticationPolicy": policy,
                "clientId": client.id,
                "clientSecret": client.target(now),
                "enabledGrants": client.grant_types,
                "requireClientAuthentication": policy == "Required",
            },
            "state": "Active",
        });
        if let Some(tenant) = tenant_of(client) {
            application["tenantId"] = tenant.into();
        }
        Json(json!({ "application": application })).into_response()
    })
}

fn tenant_of(client: &Registered) -> Option<&str> {
    client.grants.iter().find_map(|grant| match &grant.resource {
        Resource::Audience(tenant) => Some(tenant.as_str()),
        Resource::Management => None,
    })
}

/// Whether the request names the tenant of the application, or none.
fn is_of_tenant(client: &Registered, headers: &HeaderMap) -> bool {
    let named = headers.get(TENANT).and_then(|value| value.to_str().ok());
    named.is_none_or(|named| tenant_of(client) == Some(named))
}

/// Counts the request, lets its faults happen, and looks at its key and its tenant; what comes back is the answer in
/// place of the real one.
async fn on_arrival(core: &Core, endpoint: Endpoint, headers: &HeaderMap) -> Option<Response> {
    core.counters.management_requests.add_one();
    if let Some(instead) = fault_on_arrival(core, endpoint, &VENDOR).await {
        return Some(instead);
    }
    // The key alone, without the name of a scheme.
    let given = headers.get(AUTHORIZATION).map_or(&b""[..], |value| value.as_bytes());
    let may = core.api_token(given).is_some_and(|key| !key.reads_only || endpoint.reads());
    let tenant = headers.get(TENANT);
    match () {
        () if !may => Some(error::unauthorized()),
        () if tenant.is_some_and(|tenant| !is_uuid(tenant.as_bytes())) => Some(error::bad_tenant()),
        () => None,
    }
}

fn is_uuid(text: &[u8]) -> bool {
    text.len() == 36
        && text.iter().enumerate().all(|(position, byte)| match position {
            8 | 13 | 18 | 23 => *byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}
