//! Reading a client, and `PATCH` of its secret.
//!
//! The administration API shows a change at once; only the nodes of the token endpoint lag behind.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{VENDOR, error};
use crate::client::ClientAuthentication;
use crate::core::Core;
use crate::fault::{Endpoint, change_after};
use crate::fault_answer::{after_change, fault_on_arrival};
use crate::propagation::Origin;
use crate::several::Act;
use crate::state::{Registered, random_slot_id};

pub(crate) async fn read(State(core): State<Arc<Core>>, Path(id): Path<String>) -> Response {
    if let Some(instead) = on_arrival(&core, Endpoint::ReadClient).await {
        return instead;
    }
    core.with_state(|state, _| match state.client(&id) {
        Some(client) => Json(show(client, None)).into_response(),
        None => error::no_such_client(),
    })
}

/// One operation of a JSON Patch (RFC 6902). Of the others than `replace` of the secret, Hydra takes many.
#[derive(Deserialize)]
struct Operation {
    op: String,
    path: String,
    value: Value,
}

pub(crate) async fn patch(
    State(core): State<Arc<Core>>,
    Path(id): Path<String>,
    body: Bytes,
) -> Response {
    if let Some(instead) = on_arrival(&core, Endpoint::UpdateClient).await {
        return instead;
    }
    let operations: Vec<Operation> = match serde_json::from_slice(&body) {
        Ok(operations) => operations,
        Err(_) => return error::unrecognizable(),
    };
    let [Operation { op, path, value: Value::String(secret) }] = operations.as_slice() else {
        return error::unrecognizable();
    };
    if (op.as_str(), path.as_str()) != ("replace", "/client_secret") {
        return error::unrecognizable();
    }
    if secret.len() < 6 {
        return error::too_short();
    }
    let act = Act::Only { id: random_slot_id(), secret: secret.clone() };
    match carry_out(&core, Endpoint::UpdateClient, &id, act).await {
        Some(instead) => instead,
        None => answer(&core, &id, Some(secret)),
    }
}

/// Counts the request, and lets its faults happen; what comes back is the answer in place of the real one. The
/// administration API asks for no credentials.
pub(super) async fn on_arrival(core: &Core, endpoint: Endpoint) -> Option<Response> {
    core.counters.management_requests.add_one();
    fault_on_arrival(core, endpoint, &VENDOR).await
}

/// Makes the change, and lets the faults of a change happen; what comes back is the answer in place of the client.
pub(super) async fn carry_out(
    core: &Core,
    endpoint: Endpoint,
    id: &str,
    act: Act,
) -> Option<Response> {
    let done: Result<_, Box<Response>> = core.with_state(|state, now| {
        let client = state.client(id).ok_or_else(|| Box::new(error::no_such_client()))?;
        let one = client.several().is_none();
        let fault = core.faults.on_change();
        let Some(after) = change_after(fault.as_ref()) else { return Ok(fault) };
        match act {
            Act::Only { secret, .. } if one => {
                state.change_secret(id, &secret, Origin::Api, after, now);
            }
            act => {
                let acted = state.act(id, act, Origin::Api, after, now);
                acted.map_err(|_| Box::new(error::no_such_client()))?;
            }
        }
        Ok(fault)
    });
    after_change(endpoint, done, &VENDOR).await
}

/// The client, with the secret that was set just now.
pub(super) fn answer(core: &Core, id: &str, secret: Option<&str>) -> Response {
    core.with_state(|state, _| match state.client(id) {
        Some(client) => Json(show(client, secret)).into_response(),
        None => error::no_such_client(),
    })
}

fn show(client: &Registered, secret: Option<&str>) -> Value {
    let scopes = client.grants.iter().flat_map(|grant| grant.scopes.iter().map(String::as_str));
    let mut shown = json!({
        "client_id": client.id,
        "client_name": client.name,
        "grant_types": client.grant_types,
        "scope": scopes.collect::<Vec<_>>().join(" "),
        "client_secret_expires_at": 0,
        "token_endpoint_auth_method": method(client.authentication),
        "metadata": {},
    });
    if let Some(secret) = secret {
        shown["client_secret"] = json!(secret);
    }
    shown
}

/// As `token_endpoint_auth_method` names it.
pub(super) fn method(authentication: ClientAuthentication) -> &'static str {
    match authentication {
        ClientAuthentication::SecretBasic => "client_secret_basic",
        ClientAuthentication::SecretPost => "client_secret_post",
        // Hydra has no such method.
        ClientAuthentication::SecretJwt | ClientAuthentication::PrivateKeyJwt => "private_key_jwt",
        ClientAuthentication::None => "none",
    }
}
