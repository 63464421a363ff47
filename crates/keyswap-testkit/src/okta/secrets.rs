//! The client secrets of the management API: list, read, add, activate, deactivate, remove.
//!
//! The management plane shows a change at once; only the nodes of the token endpoint lag behind.

use std::sync::Arc;
use std::time::Instant;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::AUTHORIZATION;
use http::{HeaderMap, StatusCode};
use rand::RngExt;
use rand::distr::Alphanumeric;
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{VENDOR, error, service_app};
use crate::client::ClientAuthentication;
use crate::core::Core;
use crate::fault::{Endpoint, change_after};
use crate::fault_answer::{after_change, fault_on_arrival};
use crate::propagation::Origin;
use crate::several::{Act, Details, Entry};
use crate::state::random_slot_id;
use crate::time::timestamp;

pub(crate) async fn list(
    State(core): State<Arc<Core>>,
    Path(app): Path<String>,
    headers: HeaderMap,
) -> Response {
    if let Some(instead) = on_arrival(&core, Endpoint::ListSecrets, &headers).await {
        return instead;
    }
    core.with_state(|state, now| {
        let Some(secrets) = state.application(&app).and_then(|client| client.several()) else {
            return error::not_found(&app, "AppInstance");
        };
        let shown: Vec<Value> =
            secrets.listed(now).map(|entry| show(&core, &app, entry, now)).collect();
        Json(shown).into_response()
    })
}

pub(crate) async fn read(
    State(core): State<Arc<Core>>,
    Path((app, id)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    match on_arrival(&core, Endpoint::ListSecrets, &headers).await {
        Some(instead) => instead,
        None => answer(&core, &app, &id, StatusCode::OK),
    }
}

#[derive(Default, Deserialize)]
struct NewSecret {
    client_secret: Option<String>,
    status: Option<Status>,
}

#[derive(Deserialize, PartialEq)]
#[serde(rename_all = "UPPERCASE")]
enum Status {
    Active,
    Inactive,
}

pub(crate) async fn add(
    State(core): State<Arc<Core>>,
    Path(app): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if let Some(instead) = on_arrival(&core, Endpoint::AddSecret, &headers).await {
        return instead;
    }
    let new = match body.is_empty() {
        true => NewSecret::default(),
        false => match serde_json::from_slice::<NewSecret>(&body) {
            Ok(new) => new,
            Err(_) => return error::bad_body(),
        },
    };
    let authentication =
        core.with_state(|state, _| state.application(&app).map(|client| client.authentication));
    let Some(authentication) = authentication else {
        return error::not_found(&app, "AppInstance");
    };
    if let Some(cause) = unsuitable(new.client_secret.as_deref(), authentication) {
        return error::invalid_secret(&cause);
    }
    let id = random_slot_id();
    // 64 characters, as the console shows them.
    let chosen = || rand::rng().sample_iter(Alphanumeric).take(64).map(char::from).collect();
    let act = Act::Add {
        id: id.clone(),
        secret: new.client_secret.unwrap_or_else(chosen),
        details: Details::default(),
        active: new.status != Some(Status::Inactive),
    };
    match carry_out(&core, Endpoint::AddSecret, (&app, &id), act).await {
        Some(instead) => instead,
        None => answer(&core, &app, &id, StatusCode::CREATED),
    }
}

/// Why a value cannot be the secret of such a client, in the vendor's words.
fn unsuitable(secret: Option<&str>, authentication: ClientAuthentication) -> Option<String> {
    if authentication == ClientAuthentication::PrivateKeyJwt {
        let cause = "'client_secret' can't be used when 'token_endpoint_auth_method' is \
                     'private_key_jwt'.";
        return Some(cause.to_owned());
    }
    let secret = secret?;
    let printable = secret.bytes().all(|byte| (0x20..=0x7e).contains(&byte));
    let cause = match secret.len() {
        _ if !printable => "''client_secret'' must only contain printable ASCII: [x20-x7E]+",
        ..14 => "'client_secret' must be at least '14' characters long.",
        ..32 if authentication == ClientAuthentication::SecretJwt => {
            "'client_secret' must be at least '32' characters long when \
             'token_endpoint_auth_method' is 'client_secret_jwt'."
        }
        101.. => "'client_secret' can't be more than '100' characters long.",
        _ => return None,
    };
    Some(format!("client_secret: {cause}"))
}

pub(crate) async fn activate(
    State(core): State<Arc<Core>>,
    Path((app, id)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    let act = Act::Activate(id.clone());
    change(&core, Endpoint::SetActive, (&app, &id), act, &headers).await
}

pub(crate) async fn deactivate(
    State(core): State<Arc<Core>>,
    Path((app, id)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    let act = Act::Deactivate(id.clone());
    change(&core, Endpoint::SetActive, (&app, &id), act, &headers).await
}

pub(crate) async fn remove(
    State(core): State<Arc<Core>>,
    Path((app, id)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    let act = Act::Remove(id.clone());
    change(&core, Endpoint::RemoveSecret, (&app, &id), act, &headers).await
}

async fn change(
    core: &Core,
    endpoint: Endpoint,
    (app, id): (&str, &str),
    act: Act,
    headers: &HeaderMap,
) -> Response {
    if let Some(instead) = on_arrival(core, endpoint, headers).await {
        return instead;
    }
    match carry_out(core, endpoint, (app, id), act).await {
        Some(instead) => instead,
        None if endpoint == Endpoint::RemoveSecret => StatusCode::NO_CONTENT.into_response(),
        None => answer(core, app, id, StatusCode::OK),
    }
}

/// Counts the request, lets its faults happen, and looks at its token; what comes back is the answer in place of the
/// real one.
pub(super) async fn on_arrival(
    core: &Core,
    endpoint: Endpoint,
    headers: &HeaderMap,
) -> Option<Response> {
    core.counters.management_requests.add_one();
    if let Some(instead) = fault_on_arrival(core, endpoint, &VENDOR).await {
        return Some(instead);
    }
    if let Some(authorized) = service_app::authorize(core, headers, endpoint) {
        return authorized.err().map(|refused| *refused);
    }
    let given = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let given = given.and_then(|value| value.strip_prefix("SSWS ")).unwrap_or_default();
    match core.api_token(given.as_bytes()) {
        None => Some(error::invalid_token()),
        Some(token) if token.reads_only && !endpoint.reads() => Some(error::access_denied()),
        Some(_) => None,
    }
}

/// Makes the change, and lets the faults of a change happen; what comes back is the answer in place of the secret.
async fn carry_out(
    core: &Core,
    endpoint: Endpoint,
    (app, id): (&str, &str),
    act: Act,
) -> Option<Response> {
    let done = core.with_state(|state, now| {
        let client = state.application(app).map(|client| client.id.clone());
        let client = client.ok_or_else(|| Box::new(error::not_found(app, "AppInstance")))?;
        let several = state.client(&client).and_then(|client| client.several());
        if let Some(refusal) = several.and_then(|secrets| secrets.refusal(&act, now)) {
            return Err(Box::new(error::refused(refusal, id)));
        }
        let fault = core.faults.on_change();
        let Some(after) = change_after(fault.as_ref()) else { return Ok(fault) };
        state
            .act(&client, act, Origin::Api, after, now)
            .map_err(|refusal| Box::new(error::refused(refusal, id)))?;
        Ok(fault)
    });
    after_change(endpoint, done, &VENDOR).await
}

fn answer(core: &Core, app: &str, id: &str, status: StatusCode) -> Response {
    core.with_state(|state, now| {
        let several = state.application(app).and_then(|client| client.several());
        match several.and_then(|secrets| secrets.entry(id, now)) {
            Some(entry) => (status, Json(show(core, app, entry, now))).into_response(),
            None => error::not_found(id, "OAuth2ClientSecretMediated"),
        }
    })
}

fn show(core: &Core, app: &str, entry: &Entry, now: Instant) -> Value {
    let Entry { id, secret, created, updated, .. } = entry;
    let url = format!("{}/api/v1/apps/{app}/credentials/secrets/{id}", core.url());
    let link = |path: &str, method: &str| json!({"href": format!("{url}{path}"), "hints": {"allow": [method]}});
    let active = entry.is_active(now);
    let links = match active {
        true => json!({"deactivate": link("/lifecycle/deactivate", "POST")}),
        false => json!({
            "activate": link("/lifecycle/activate", "POST"),
            "delete": link("", "DELETE"),
        }),
    };
    json!({
        "id": id,
        "status": if active { "ACTIVE" } else { "INACTIVE" },
        "client_secret": secret,
        // The vendor does not say what is hashed how; 22 characters of base64url as in its examples.
        "secret_hash": URL_SAFE_NO_PAD.encode(&Sha256::digest(secret)[..16]),
        "created": timestamp(*created),
        "lastUpdated": timestamp(*updated),
        "_links": links,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_a_secret_is_told_in_the_vendors_words() {
        let of = |length, authentication| unsuitable(Some(&"x".repeat(length)), authentication);
        let post = ClientAuthentication::SecretPost;
        for (length, fits) in [(13, false), (14, true), (100, true), (101, false)] {
            assert_eq!(of(length, post).is_none(), fits, "{length}");
        }
        assert!(of(31, ClientAuthentication::SecretJwt).unwrap().contains("'32'"));
        assert!(of(48, ClientAuthentication::PrivateKeyJwt).unwrap().contains("private_key_jwt"));
        assert!(unsuitable(Some("a secret with an ü in it"), post).unwrap().contains("ASCII"));
        assert!(unsuitable(None, post).is_none());
    }
}
