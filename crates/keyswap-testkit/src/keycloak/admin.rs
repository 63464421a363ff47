//! `/admin/realms/shop/clients`: the list, one client, and the update of one.
//!
//! The admin API shows a change at once; only the nodes of the token endpoint lag behind, where the test wants them to.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State};
use axum::response::{IntoResponse, Response};
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, StatusCode};
use serde_json::{Map, Value};

use super::representation::{apply, shown, unknown_field};
use super::{REALM, VENDOR, error};
use crate::core::{Core, unix_now};
use crate::fault::{Endpoint, change_after};
use crate::fault_answer::{after_change, fault_on_arrival};
use crate::parameters::Parameters;
use crate::propagation::Origin;

/// The longest secret that its database takes.
const LONGEST_SECRET: usize = 255;

/// What the service account of the caller may do, by its roles of `realm-management`.
#[derive(Clone, Copy)]
enum May {
    View,
    Manage,
}

pub(crate) async fn list(
    State(core): State<Arc<Core>>,
    Path(realm): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let may = match on_arrival(&core, Endpoint::ReadClient, &realm, &headers).await {
        Ok(may) => may,
        Err(instead) => return *instead,
    };
    let query = query.unwrap_or_default();
    let sought = Parameters::from_form(query.as_bytes()).unwrap_or_default();
    let sought = sought.value("clientId");
    core.with_state(|state, now| {
        let found =
            state.clients().filter(|client| sought.is_none_or(|wanted| *wanted == client.id));
        let listed: Vec<Value> = found
            .map(|client| {
                let secret = client.target(now).unwrap_or_default();
                shown(client, secret, matches!(may, May::Manage))
            })
            .collect();
        Json(listed).into_response()
    })
}

pub(crate) async fn read(
    State(core): State<Arc<Core>>,
    Path((realm, uuid)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    let may = match on_arrival(&core, Endpoint::ReadClient, &realm, &headers).await {
        Ok(may) => may,
        Err(instead) => return *instead,
    };
    core.with_state(|state, now| match state.application(&uuid) {
        Some(client) => {
            let secret = client.target(now).unwrap_or_default();
            Json(shown(client, secret, matches!(may, May::Manage))).into_response()
        }
        None => error::admin(StatusCode::NOT_FOUND, "Could not find client"),
    })
}

pub(crate) async fn update(
    State(core): State<Arc<Core>>,
    Path((realm, uuid)): Path<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let endpoint = Endpoint::UpdateClient;
    let may = match on_arrival(&core, endpoint, &realm, &headers).await {
        Ok(may) => may,
        Err(instead) => return *instead,
    };
    let update = match update_body(&headers, &body) {
        Ok(update) => update,
        Err(instead) => return *instead,
    };
    let done = core.with_state(|state, now| {
        let id = state.application(&uuid).map(|client| client.id.clone());
        let id = id.ok_or_else(|| error::admin(StatusCode::NOT_FOUND, "Could not find client"))?;
        if matches!(may, May::View) {
            return Err(error::admin(StatusCode::FORBIDDEN, "HTTP 403 Forbidden").into());
        }
        let secret = update.get("secret").and_then(Value::as_str).map(str::to_owned);
        if secret.as_ref().is_some_and(|secret| secret.len() > LONGEST_SECRET) {
            return Err(error::internal().into());
        }
        let fault = secret.as_ref().and_then(|_| core.faults.on_change());
        let Some(after) = change_after(fault.as_ref()) else { return Ok(fault) };
        if let Some(client) = state.client_mut(&id) {
            apply(client, update);
        }
        if let Some(secret) = secret {
            state.change_secret(&id, &secret, Origin::Api, after, now);
        }
        Ok::<_, Box<Response>>(fault)
    });
    if let Some(instead) = after_change(endpoint, done, &VENDOR).await {
        return instead;
    }
    StatusCode::NO_CONTENT.into_response()
}

/// Counts the request, lets its faults happen, and looks at its token; an error is the answer in place of the real one.
async fn on_arrival(
    core: &Core,
    endpoint: Endpoint,
    realm: &str,
    headers: &HeaderMap,
) -> Result<May, Box<Response>> {
    core.counters.management_requests.add_one();
    if let Some(instead) = fault_on_arrival(core, endpoint, &VENDOR).await {
        return Err(instead.into());
    }
    let given = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let given = given.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default();
    let Ok(claims) = core.issuer.verify(given, unix_now()) else {
        return Err(error::admin(StatusCode::UNAUTHORIZED, "HTTP 401 Unauthorized").into());
    };
    if realm != REALM {
        return Err(error::admin(StatusCode::NOT_FOUND, "Realm not found.").into());
    }
    if claims.has_any_scope(&["manage-clients"]) {
        Ok(May::Manage)
    } else if claims.has_any_scope(&["view-clients"]) {
        Ok(May::View)
    } else {
        Err(error::admin(StatusCode::FORBIDDEN, "HTTP 403 Forbidden").into())
    }
}

fn update_body(headers: &HeaderMap, body: &[u8]) -> Result<Map<String, Value>, Box<Response>> {
    let content_type = headers.get(CONTENT_TYPE).map_or("", |value| value.to_str().unwrap_or(""));
    if !content_type.starts_with("application/json") {
        let message = "The content-type header value did not match the value in @Consumes";
        return Err(error::admin(StatusCode::UNSUPPORTED_MEDIA_TYPE, message).into());
    }
    let bad = |error: &str| {
        let description = "Cannot parse the JSON";
        Box::new(error::described(StatusCode::BAD_REQUEST, error, description))
    };
    let update = match serde_json::from_slice(body) {
        Ok(Value::Object(update)) => update,
        Ok(_) => return Err(bad("unknown_error")),
        Err(_) => return Err(bad("invalid_request")),
    };
    if let Some(unknown) = unknown_field(&update) {
        // The vendor says at which line and column.
        let message = format!(
            "Invalid json representation for ClientRepresentation. Unrecognized field \"{unknown}\""
        );
        return Err(error::admin(StatusCode::BAD_REQUEST, &message).into());
    }
    match update.get("secret") {
        None | Some(Value::Null | Value::String(_)) => Ok(update),
        Some(_) => Err(bad("unknown_error")),
    }
}
