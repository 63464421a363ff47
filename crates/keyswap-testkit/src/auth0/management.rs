//! The clients of the management API: read, update, rotate-secret.
//!
//! The management plane shows a change at once; only the nodes of the token endpoint lag behind.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State};
use axum::response::{IntoResponse, Response};
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, StatusCode};
use rand::RngExt;
use rand::distr::Alphanumeric;
use serde_json::{Map, Value};

use super::representation::{Selection, whole};
use super::{VENDOR, error, update};
use crate::client::{ClientAuthentication, Resource};
use crate::core::{Core, unix_now};
use crate::fault::{Endpoint, Fault, change_after};
use crate::fault_answer::{after_change, fault_on_arrival};
use crate::propagation::Origin;
use crate::tokens::{Claims, Unacceptable};

const READ: [&str; 3] = ["read:clients", "read:client_keys", "read:client_credentials"];
const SEE_SECRET: [&str; 2] = ["read:client_keys", "read:client_credentials"];
const UPDATE: [&str; 2] = ["update:clients", "update:client_keys"];
const UPDATE_ATTRIBUTES: [&str; 1] = ["update:clients"];
const UPDATE_SECRET: [&str; 1] = ["update:client_keys"];

pub(crate) async fn read(
    State(core): State<Arc<Core>>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    core.counters.management_requests.add_one();
    if let Some(instead) = fault_on_arrival(&core, Endpoint::ReadClient, &VENDOR).await {
        return instead;
    }
    let claims = match authorize(&core, &headers, &READ) {
        Ok(claims) => claims,
        Err(response) => return *response,
    };
    let selection = match Selection::from_query(query.as_deref().unwrap_or("")) {
        Ok(selection) => selection,
        Err(reason) => return error::invalid_query(&reason),
    };
    let sees_secret = claims.has_any_scope(&SEE_SECRET);
    show(&core, &id, sees_secret, &selection)
}

pub(crate) async fn update(
    State(core): State<Arc<Core>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    core.counters.management_requests.add_one();
    if let Some(instead) = fault_on_arrival(&core, Endpoint::UpdateClient, &VENDOR).await {
        return instead;
    }
    let claims = match authorize(&core, &headers, &UPDATE) {
        Ok(claims) => claims,
        Err(response) => return *response,
    };
    let wanted = match update_body(&headers, &body) {
        Ok(wanted) => wanted,
        Err(response) => return *response,
    };
    let secret = wanted.get("client_secret").and_then(Value::as_str).map(str::to_owned);
    if secret.is_some() && !claims.has_any_scope(&UPDATE_SECRET) {
        return error::insufficient_scope(&UPDATE_SECRET);
    }
    if wanted.len() > usize::from(secret.is_some()) && !claims.has_any_scope(&UPDATE_ATTRIBUTES) {
        return error::insufficient_scope(&UPDATE_ATTRIBUTES);
    }
    let change =
        Change { secret: secret.as_deref(), attributes: wanted, origin: Endpoint::UpdateClient };
    if let Some(instead) = carry_out(&core, &id, change).await {
        return instead;
    }
    show(&core, &id, claims.has_any_scope(&SEE_SECRET), &Selection::All)
}

pub(crate) async fn rotate_secret(
    State(core): State<Arc<Core>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Response {
    core.counters.management_requests.add_one();
    if let Some(instead) = fault_on_arrival(&core, Endpoint::RotateSecret, &VENDOR).await {
        return instead;
    }
    if let Err(response) = authorize(&core, &headers, &UPDATE_SECRET) {
        return *response;
    }
    let asserts = core.with_state(|state, _| {
        let client = state.client(&id);
        client.is_some_and(|client| client.authentication == ClientAuthentication::PrivateKeyJwt)
    });
    if asserts {
        // The vendor documents that it refuses, not in which words.
        let message = "This endpoint cannot be used with clients configured with Private Key JWT \
                       authentication method";
        return error::management(StatusCode::BAD_REQUEST, message, None);
    }
    // 64 characters; the vendor says that the value is not base64 encoded.
    let chosen: String = rand::rng().sample_iter(Alphanumeric).take(64).map(char::from).collect();
    let change =
        Change { secret: Some(&chosen), attributes: Map::new(), origin: Endpoint::RotateSecret };
    if let Some(instead) = carry_out(&core, &id, change).await {
        return instead;
    }
    // Whoever asked for a secret is shown it, whatever else the token permits.
    show(&core, &id, true, &Selection::All)
}

struct Change<'a> {
    secret: Option<&'a str>,
    attributes: Map<String, Value>,
    origin: Endpoint,
}

/// Makes the change, and lets the faults of a change happen; what comes back is the answer in place of the client.
async fn carry_out(core: &Core, id: &str, change: Change<'_>) -> Option<Response> {
    let origin = change.origin;
    after_change(origin, apply(core, id, change), &VENDOR).await
}

/// What there is no reason to refuse is applied, unless the fault that comes back is the one that prevents it.
fn apply(core: &Core, id: &str, change: Change<'_>) -> Result<Option<Fault>, Box<Response>> {
    core.with_state(|state, now| {
        let client = state.client_mut(id).ok_or_else(error::no_such_client)?;
        let authentication = update::authentication_after(client, &change.attributes)
            .map_err(|reason| error::invalid_body(&reason))?;
        let fault = change.secret.and_then(|_| core.faults.on_change());
        let Some(after) = change_after(fault.as_ref()) else { return Ok(fault) };
        update::apply(client, authentication, change.attributes);
        if let Some(secret) = change.secret {
            state.change_secret(id, secret, Origin::Api, after, now);
        }
        Ok(fault)
    })
}

fn show(core: &Core, id: &str, sees_secret: bool, selection: &Selection) -> Response {
    core.with_state(|state, now| match state.client(id) {
        Some(client) => {
            let secret = client.target(now).filter(|_| sees_secret);
            Json(selection.apply(whole(client, secret))).into_response()
        }
        None => error::no_such_client(),
    })
}

/// The claims of the request's token, if it permits at least one of `any_of`.
pub(super) fn authorize(
    core: &Core,
    headers: &HeaderMap,
    any_of: &[&str],
) -> Result<Claims, Box<Response>> {
    let Some(authorization) = headers.get(AUTHORIZATION) else {
        let message = "Missing authentication";
        return Err(error::management(StatusCode::UNAUTHORIZED, message, None).into());
    };
    let token = authorization
        .to_str()
        .ok()
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("Bearer"))
        .map(|(_, token)| token.trim());
    let Some(token) = token else {
        let message = "Bad HTTP authentication header format";
        return Err(error::management(StatusCode::BAD_REQUEST, message, Some("Bearer")).into());
    };
    let claims = core.issuer.verify(token, unix_now()).map_err(|unacceptable| {
        error::bad_token(match unacceptable {
            Unacceptable::Unknown => "Invalid token",
            Unacceptable::Expired => "Expired token received for JSON Web Token validation",
        })
    })?;
    if core.resource(&claims.aud) != Resource::Management {
        return Err(error::bad_token(&format!("Bad audience: {}", claims.aud)).into());
    }
    if claims.has_any_scope(any_of) {
        Ok(claims)
    } else {
        Err(error::insufficient_scope(any_of).into())
    }
}

fn update_body(headers: &HeaderMap, body: &[u8]) -> Result<Map<String, Value>, Box<Response>> {
    let content_type = headers.get(CONTENT_TYPE).map_or("", |value| value.to_str().unwrap_or(""));
    let media_type = content_type.split(';').next().unwrap_or("").trim();
    if !media_type.eq_ignore_ascii_case("application/json") {
        let message = "Unsupported Media Type";
        return Err(error::management(StatusCode::UNSUPPORTED_MEDIA_TYPE, message, None).into());
    }
    let Ok(value) = serde_json::from_slice::<Value>(body) else {
        let message = "Invalid request payload JSON format";
        return Err(error::management(StatusCode::BAD_REQUEST, message, None).into());
    };
    let Value::Object(update) = value else {
        return Err(error::invalid_body("'Expected type object'.").into());
    };
    update::validate(&update).map_err(|reason| error::invalid_body(&reason))?;
    Ok(update)
}
