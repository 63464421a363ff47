//! `GET` and `PUT /register/{client_id}`.

use std::sync::Arc;
use std::time::Instant;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::header::AUTHORIZATION;
use http::{HeaderMap, StatusCode};
use rand::RngExt;
use rand::distr::Alphanumeric;
use serde_json::{Map, Value, json};
use subtle::ConstantTimeEq;

use super::{AtUpdate, VENDOR, oauth};
use crate::client::ClientAuthentication;
use crate::core::Core;
use crate::fault::{Endpoint, Fault, change_after};
use crate::fault_answer::{after_change, fault_on_arrival};
use crate::propagation::Origin;
use crate::provider::Provider;
use crate::state::Registered;

/// What the server alone writes.
const ITS_OWN: [&str; 4] = [
    "registration_access_token",
    "registration_client_uri",
    "client_secret_expires_at",
    "client_id_issued_at",
];

pub(crate) async fn read(
    State(core): State<Arc<Core>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Response {
    match on_arrival(&core, Endpoint::ReadClient, &headers).await {
        Some(instead) => instead,
        None => answer(&core, &id),
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
    let Ok(sent) = serde_json::from_slice::<Map<String, Value>>(&body) else {
        return refused("the body is no JSON object");
    };
    let done = carry_out(&core, &id, sent);
    if let Some(instead) = after_change(endpoint, done, &VENDOR).await {
        return instead;
    }
    answer(&core, &id)
}

fn refused(description: &str) -> Response {
    oauth(StatusCode::BAD_REQUEST, "invalid_request", description)
}

fn invalid_token() -> Response {
    oauth(StatusCode::UNAUTHORIZED, "invalid_token", "invalid token provided")
}

fn random() -> String {
    rand::rng().sample_iter(Alphanumeric).take(43).map(char::from).collect()
}

/// Makes the update; what comes back is the fault that its answer meets.
fn carry_out(
    core: &Core,
    id: &str,
    mut sent: Map<String, Value>,
) -> Result<Option<Fault>, Box<Response>> {
    let Provider::Registration { at_update, rotates_token } = core.provider else {
        return Ok(None);
    };
    if let Some(own) = ITS_OWN.iter().find(|name| sent.contains_key(**name)) {
        let description = format!("request MUST NOT include the {own} field");
        return Err(refused(&description).into());
    }
    if sent.remove("client_id").as_ref().and_then(Value::as_str) != Some(id) {
        return Err(
            refused("provided client_id does not match the authenticated client's one").into()
        );
    }
    let chosen = sent.remove("client_secret");
    core.with_state(|state, now| {
        let client = state.client_mut(id).ok_or_else(|| Box::new(invalid_token()))?;
        let chosen = chosen.as_ref().and_then(Value::as_str);
        let another = chosen.filter(|chosen| client.target(now) != Some(*chosen));
        let secret = match at_update {
            AtUpdate::IssuesSecret => Some(random()),
            AtUpdate::TakesSecret => another.map(str::to_owned),
            AtUpdate::KeepsSecret => None,
        };
        if another.is_some() && at_update != AtUpdate::TakesSecret {
            let description =
                "provided client_secret does not match the authenticated client's one";
            return Err(refused(description).into());
        }
        let fault = core.faults.on_change();
        let Some(after) = change_after(fault.as_ref()) else { return Ok(fault) };
        client.attributes = sent;
        if let Some(secret) = secret {
            state.change_secret(id, &secret, Origin::Api, after, now);
        }
        if rotates_token {
            state.registration_token = random();
        }
        Ok(fault)
    })
}

/// Counts the request, lets its faults happen, and looks at its token; what comes back is the answer in place of the
/// real one.
async fn on_arrival(core: &Core, endpoint: Endpoint, headers: &HeaderMap) -> Option<Response> {
    core.counters.management_requests.add_one();
    if let Some(instead) = fault_on_arrival(core, endpoint, &VENDOR).await {
        return Some(instead);
    }
    let given = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let given = given.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default();
    let right = core.with_state(|state, _| {
        bool::from(state.registration_token.as_bytes().ct_eq(given.as_bytes()))
    });
    (!right).then(invalid_token)
}

fn answer(core: &Core, id: &str) -> Response {
    core.with_state(|state, now| match state.client(id) {
        Some(client) => Json(show(core, client, &state.registration_token, now)).into_response(),
        // RFC 7592 section 2.1: not 404.
        None => invalid_token(),
    })
}

fn show(core: &Core, client: &Registered, token: &str, now: Instant) -> Value {
    let mut shown = client.attributes.clone();
    let method = match client.authentication {
        ClientAuthentication::SecretBasic => "client_secret_basic",
        ClientAuthentication::SecretPost => "client_secret_post",
        ClientAuthentication::SecretJwt => "client_secret_jwt",
        ClientAuthentication::PrivateKeyJwt => "private_key_jwt",
        ClientAuthentication::None => "none",
    };
    let own = [
        ("client_id", json!(client.id)),
        ("client_secret", json!(client.target(now))),
        ("client_secret_expires_at", json!(core.secrets_expire_at)),
        ("client_id_issued_at", json!(1_700_000_000)),
        ("registration_access_token", json!(token)),
        ("registration_client_uri", json!(format!("{}/register/{}", core.url(), client.id))),
        ("token_endpoint_auth_method", json!(method)),
    ];
    shown.extend(own.map(|(name, value)| (name.to_owned(), value)));
    Value::Object(shown)
}
