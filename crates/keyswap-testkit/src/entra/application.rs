//! Applications in Graph: `GET`, `addPassword` and `removePassword`, and what is said of a service principal.
//!
//! What is listed lags behind what was changed, as the nodes of the token endpoint do: Graph "reads 0, 1 and 2 in a row"
//! after two passwords were added, reports say.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Extension, Path, RawQuery, State};
use axum::response::{IntoResponse, Response};
use http::header::AUTHORIZATION;
use http::{HeaderMap, StatusCode};
use rand::RngExt;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::select::Selected;
use super::{VENDOR, error, time};
use crate::client::ClientAuthentication;
use crate::core::{Core, unix_now};
use crate::fault::{Endpoint, change_after};
use crate::fault_answer::{after_change, fault_on_arrival};
use crate::propagation::Origin;
use crate::serve::Node;
use crate::several::{Act, Details, Entry};
use crate::state::{Registered, State as Clients};
use crate::time::timestamp;

const CHANGE: [&str; 2] = ["Application.ReadWrite.OwnedBy", "Application.ReadWrite.All"];
const READ: [&str; 3] =
    ["Application.Read.All", "Application.ReadWrite.OwnedBy", "Application.ReadWrite.All"];
const READ_REPORTS: [&str; 2] = ["AuditLog.Read.All", "Directory.Read.All"];
/// Unless a caller says so, a password is valid for two years; a policy of this tenant allows no more.
const LONGEST: Duration = Duration::from_secs(731 * 24 * 60 * 60);

/// How a request names an application.
#[derive(Clone, Debug)]
enum Named {
    /// `applications/{id}`
    Id(String),
    /// `applications(appId='{id}')`
    Client(String),
}

impl Named {
    fn text(&self) -> &str {
        match self {
            Self::Id(text) | Self::Client(text) => text,
        }
    }

    /// The application, which a managed identity does not have.
    fn of<'a>(&self, clients: &'a Clients) -> Option<&'a Registered> {
        let found = match self {
            Self::Id(id) => clients.application(id),
            Self::Client(id) => clients.client(id),
        };
        found.filter(|client| client.authentication != ClientAuthentication::None)
    }
}

/// The kind and the app id of `KIND(appId='ID')`.
fn key(resource: &str) -> Option<(&str, &str)> {
    let (kind, rest) = resource.split_once("(appId='")?;
    Some((kind, rest.strip_suffix("')")?))
}

fn application_of(resource: &str) -> Result<Named, Box<Response>> {
    match key(resource) {
        Some(("applications", id)) => Ok(Named::Client(id.to_owned())),
        _ => Err(error::not_found(resource).into()),
    }
}

pub(crate) async fn read_by_key(
    State(core): State<Arc<Core>>,
    Extension(Node(node)): Extension<Node>,
    Path(resource): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let selected = Selected::by(query);
    match key(&resource) {
        Some(("servicePrincipals", id)) => read_principal(&core, id, &headers, &selected).await,
        Some(("applications", id)) => {
            read(&core, node, &Named::Client(id.to_owned()), &headers, &selected).await
        }
        _ => error::no_such_path().await,
    }
}

pub(crate) async fn read_by_id(
    State(core): State<Arc<Core>>,
    Extension(Node(node)): Extension<Node>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    read(&core, node, &Named::Id(id), &headers, &Selected::by(query)).await
}

pub(crate) async fn add_by_key(
    State(core): State<Arc<Core>>,
    Path(resource): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    match application_of(&resource) {
        Ok(named) => add(&core, &named, &headers, &body).await,
        Err(instead) => *instead,
    }
}

pub(crate) async fn add_by_id(
    State(core): State<Arc<Core>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    add(&core, &Named::Id(id), &headers, &body).await
}

pub(crate) async fn remove_by_key(
    State(core): State<Arc<Core>>,
    Path(resource): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    match application_of(&resource) {
        Ok(named) => remove(&core, &named, &headers, &body).await,
        Err(instead) => *instead,
    }
}

pub(crate) async fn remove_by_id(
    State(core): State<Arc<Core>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    remove(&core, &Named::Id(id), &headers, &body).await
}

async fn read(
    core: &Core,
    node: usize,
    named: &Named,
    headers: &HeaderMap,
    selected: &Selected,
) -> Response {
    if let Some(instead) = on_arrival(core, Endpoint::ListSecrets, headers).await {
        return instead;
    }
    core.with_state(|state, now| {
        let Some(client) = named.of(state) else { return error::not_found(named.text()) };
        let with_key = client.authentication == ClientAuthentication::PrivateKeyJwt;
        let listed = client.several().filter(|_| !with_key);
        let shown: Vec<Value> = listed
            .into_iter()
            .flat_map(|secrets| secrets.listed_at(node, now))
            .map(|entry| show(entry, false))
            .collect();
        let keys = match with_key {
            true => vec![json!({"keyId": "00000000-0000-0000-0000-000000000009", "type": "AsymmetricX509Cert"})],
            false => Vec::new(),
        };
        let audience = match client.takes_personal_accounts {
            true => "AzureADandPersonalMicrosoftAccount",
            false => "AzureADMyOrg",
        };
        let application = [
            ("id", json!(client.application)),
            ("appId", json!(client.id)),
            ("displayName", json!(client.name)),
            ("signInAudience", json!(audience)),
            ("passwordCredentials", json!(shown)),
            ("keyCredentials", json!(keys)),
        ];
        let application = application.map(|(name, value)| (name.to_owned(), value));
        selected.of(core, "applications", Map::from_iter(application))
    })
}

async fn read_principal(
    core: &Core,
    id: &str,
    headers: &HeaderMap,
    selected: &Selected,
) -> Response {
    if let Some(instead) = on_arrival(core, Endpoint::ReadClient, headers).await {
        return instead;
    }
    core.with_state(|state, _| {
        let Some(client) = state.client(id) else { return error::not_found(id) };
        let kind = match client.authentication {
            ClientAuthentication::None => "ManagedIdentity",
            _ => "Application",
        };
        let principal = [("appId", json!(client.id)), ("servicePrincipalType", json!(kind))];
        let principal = principal.map(|(name, value)| (name.to_owned(), value));
        selected.of(core, "servicePrincipals", Map::from_iter(principal))
    })
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Wanted {
    #[serde(default)]
    password_credential: NewPassword,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
struct NewPassword {
    display_name: Option<String>,
    end_date_time: Option<String>,
}

async fn add(core: &Core, named: &Named, headers: &HeaderMap, body: &[u8]) -> Response {
    let endpoint = Endpoint::AddSecret;
    if let Some(instead) = on_arrival(core, endpoint, headers).await {
        return instead;
    }
    let Ok(Wanted { password_credential: wanted }) = serde_json::from_slice(body) else {
        return error::bad_body();
    };
    let ends = match wanted.end_date_time.as_deref().map(time::parse) {
        Some(None) => return error::bad_body(),
        Some(Some(ends)) => ends,
        None => SystemTime::now() + LONGEST,
    };
    if ends > SystemTime::now() + LONGEST {
        return error::lifetime_too_long();
    }
    let id = super::random_key_id();
    let details = Details { label: wanted.display_name, ends: Some(ends) };
    let act = Act::Add { id: id.clone(), secret: chosen(), details, active: true };
    match carry_out(core, endpoint, (named, &id), act).await {
        Some(instead) => instead,
        None => core.with_state(|state, now| {
            let several = named.of(state).and_then(|client| client.several());
            match several.and_then(|secrets| secrets.entry(&id, now)) {
                Some(entry) => Json(show(entry, true)).into_response(),
                None => error::not_found(&id),
            }
        }),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Unwanted {
    key_id: String,
}

async fn remove(core: &Core, named: &Named, headers: &HeaderMap, body: &[u8]) -> Response {
    let endpoint = Endpoint::RemoveSecret;
    if let Some(instead) = on_arrival(core, endpoint, headers).await {
        return instead;
    }
    let Ok(Unwanted { key_id }) = serde_json::from_slice(body) else { return error::bad_body() };
    let act = Act::Remove(key_id.clone());
    let instead = carry_out(core, endpoint, (named, &key_id), act).await;
    instead.unwrap_or_else(|| StatusCode::NO_CONTENT.into_response())
}

/// 40 characters, some of which have to be escaped in a form and in a header: the reference shows
/// `[6gyXA5S20@MN+WRXAJ]I-TO7g1:h2P8`.
fn chosen() -> String {
    const CHARACTERS: &[u8] =
        b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789[]@+:-~.";
    let mut random = rand::rng();
    let one = |_| char::from(CHARACTERS[random.random_range(0..CHARACTERS.len())]);
    (0..40).map(one).collect()
}

fn show(entry: &Entry, with_value: bool) -> Value {
    let Entry { id, secret, details, created, .. } = entry;
    let hint: String = secret.chars().take(3).collect();
    json!({
        "customKeyIdentifier": null,
        "displayName": details.label,
        "endDateTime": details.ends.map(timestamp),
        "hint": hint,
        "keyId": id,
        "secretText": with_value.then_some(secret),
        "startDateTime": timestamp(*created),
    })
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
    let given = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let given = given.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default();
    let claims = core.issuer.verify(given, unix_now()).ok();
    let Some(claims) = claims.filter(|claims| claims.aud == core.url()) else {
        return Some(error::invalid_token());
    };
    let may = match endpoint {
        Endpoint::ReadLog => &READ_REPORTS[..],
        reads if reads.reads() => &READ[..],
        _ => &CHANGE[..],
    };
    (!claims.has_any_scope(may)).then(error::access_denied)
}

/// Makes the change, and lets the faults of a change happen; what comes back is the answer in place of the real one.
async fn carry_out(
    core: &Core,
    endpoint: Endpoint,
    (named, id): (&Named, &str),
    act: Act,
) -> Option<Response> {
    let done = core.with_state(|state, now: Instant| {
        let found = named.of(state);
        let client = found.ok_or_else(|| Box::new(error::not_found(named.text())))?;
        let refusal = client.several().and_then(|secrets| secrets.refusal(&act, now));
        if let Some(refusal) = refusal {
            return Err(Box::new(error::refused(refusal, id)));
        }
        let client = client.id.clone();
        let fault = core.faults.on_change();
        let Some(after) = change_after(fault.as_ref()) else { return Ok(fault) };
        state
            .act(&client, act, Origin::Api, after, now)
            .map_err(|refusal| Box::new(error::refused(refusal, id)))?;
        Ok(fault)
    });
    after_change(endpoint, done, &VENDOR).await
}
