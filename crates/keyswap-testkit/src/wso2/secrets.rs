//! `.../inbound-protocols/oidc/secrets`: list, add, remove.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, StatusCode};
use rand::RngExt;
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::application::with_oauth;
use super::{VENDOR, error, on_arrival};
use crate::core::Core;
use crate::fault::{Endpoint, change_after};
use crate::fault_answer::after_change;
use crate::propagation::Origin;
use crate::several::{Act, Details, Entry, Several};

const VIEW: &str = "internal_application_mgt_client_secret_view";
const CREATE: &str = "internal_application_mgt_client_secret_create";
const DELETE: &str = "internal_application_mgt_client_secret_delete";

/// How the first secret is named until another one is added (`OAuthConstants.DEFAULT_SECRET_ID`).
const DEFAULT_SECRET_ID: &str = "25399749-8916-4625-b39d-c53ccf51666b";

type Of = Path<(String, String)>;

pub(crate) async fn list(
    State(core): State<Arc<Core>>,
    Path((organization, id)): Of,
    headers: HeaderMap,
    hashes: bool,
) -> Response {
    let wanted = (organization.as_str(), VIEW);
    if let Some(instead) = on_arrival(&core, Endpoint::ListSecrets, wanted, &headers).await {
        return instead;
    }
    core.with_state(|state, now| {
        let client = match with_oauth(state, &id) {
            Ok(client) => client,
            Err(instead) => return *instead,
        };
        let mut list: Vec<Value> = client
            .several()
            .into_iter()
            .flat_map(|secrets| {
                secrets.listed(now).map(move |entry| show(entry, (secrets, now), hashes))
            })
            .collect();
        // Latest first.
        list.reverse();
        Json(json!({ "count": list.len(), "list": list })).into_response()
    })
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
struct Wanted {
    expires_at: u64,
}

pub(crate) async fn add(
    State(core): State<Arc<Core>>,
    Path((organization, application)): Of,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let endpoint = Endpoint::AddSecret;
    if let Some(instead) = on_arrival(&core, endpoint, (&organization, CREATE), &headers).await {
        return instead;
    }
    let wanted = match body.is_empty() {
        true => Ok(Wanted::default()),
        false => serde_json::from_slice(&body),
    };
    let Ok(Wanted { expires_at }) = wanted else { return error::bad_body() };
    let ends = UNIX_EPOCH.checked_add(Duration::from_secs(expires_at));
    let ends = ends.filter(|ends| *ends > SystemTime::now());
    if expires_at > 0 && ends.is_none() {
        return error::bad_body();
    }
    let id = crate::entra::random_key_id();
    let details = Details { label: None, ends };
    let act = Act::Add { id: id.clone(), secret: chosen(), details, active: true };
    if let Some(instead) = carry_out(&core, endpoint, &application, act).await {
        return instead;
    }
    core.with_state(|state, now| {
        let several = state.application(&application).and_then(|client| client.several());
        let added = several.and_then(|secrets| Some((secrets.entry(&id, now)?, secrets)));
        match added {
            // The one time that the value is shown in any case.
            Some((entry, secrets)) => {
                (StatusCode::CREATED, Json(show(entry, (secrets, now), false))).into_response()
            }
            None => error::no_such_application(&application),
        }
    })
}

pub(crate) async fn remove(
    State(core): State<Arc<Core>>,
    Path((organization, application, secret)): Path<(String, String, String)>,
    headers: HeaderMap,
) -> Response {
    let endpoint = Endpoint::RemoveSecret;
    if let Some(instead) = on_arrival(&core, endpoint, (&organization, DELETE), &headers).await {
        return instead;
    }
    let act = Act::Remove(core.with_state(|state, _| {
        // Only as long as it is named so; it is the newest then.
        let several = state.application(&application).and_then(|client| client.several());
        let first =
            several.filter(|secrets| secrets.is_as_it_began() && secret == DEFAULT_SECRET_ID);
        first.and_then(|secrets| secrets.first().map(str::to_owned)).unwrap_or(secret)
    }));
    let instead = carry_out(&core, endpoint, &application, act).await;
    instead.unwrap_or_else(|| StatusCode::NO_CONTENT.into_response())
}

/// As `OAuthUtil.getRandomNumberSecure` makes it: 20 bytes in base64, with three characters replaced.
fn chosen() -> String {
    let bytes: [u8; 20] = rand::rng().random();
    STANDARD.encode(bytes).replace('/', "_").replace('=', "a").replace('+', "f")
}

fn show(entry: &Entry, (secrets, now): (&Several, Instant), hashes: bool) -> Value {
    let seconds = |time: SystemTime| time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let ends = entry.details.ends.map_or(0, seconds);
    let is_first = secrets.is_first(&entry.id);
    let id = match is_first && secrets.is_as_it_began() {
        true => DEFAULT_SECRET_ID,
        false => entry.id.as_str(),
    };
    let value = match hashes {
        false => entry.secret.clone(),
        true => {
            let digest = Sha256::digest(entry.secret.as_bytes());
            let hash: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
            json!({ "algorithm": "SHA-256", "hash": hash }).to_string()
        }
    };
    let mut shown = json!({
        "secretId": id,
        "secretValue": value,
        "expiresAt": ends,
        "status": "ACTIVE",
        "latest": secrets.is_newest(&entry.id, now),
    });
    // Of the one that an earlier version made it is not known.
    if let Some(members) = shown.as_object_mut().filter(|_| !is_first) {
        members.insert("createdAt".to_owned(), json!(seconds(entry.created)));
    }
    shown
}

/// Makes the change, and lets the faults of a change happen; what comes back is the answer in place of the real one.
async fn carry_out(
    core: &Core,
    endpoint: Endpoint,
    application: &str,
    act: Act,
) -> Option<Response> {
    let done = core.with_state(|state, now| {
        let client = with_oauth(state, application)?;
        let refused = |refusal| Box::new(error::refused(refusal));
        if let Some(refusal) = client.several().and_then(|secrets| secrets.refusal(&act, now)) {
            return Err(refused(refusal));
        }
        let client = client.id.clone();
        let fault = core.faults.on_change();
        let Some(after) = change_after(fault.as_ref()) else { return Ok(fault) };
        state.act(&client, act, Origin::Api, after, now).map_err(refused)?;
        Ok(fault)
    });
    after_change(endpoint, done, &VENDOR).await
}
