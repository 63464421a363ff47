//! The calls of the API: all are a `POST` to `/`, and a header says which one it is.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::body::Bytes;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use rand::RngExt;
use rand::distr::Alphanumeric;
use serde::Deserialize;
use serde_json::{Value, json};

use super::access_key::{AccessKey, Session};
use super::signature::Signature;
use super::{MEDIA_TYPE, USER_POOL, VENDOR, error};
use crate::client::Grant;
use crate::core::Core;
use crate::fault::{Endpoint, change_after};
use crate::fault_answer::{after_change, fault_on_arrival};
use crate::propagation::Origin;
use crate::several::{Act, Details, Entry};
use crate::state::Registered;

const TARGET: &str = "AWSCognitoIdentityProviderService.";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Asked {
    user_pool_id: String,
    client_id: String,
    client_secret: Option<String>,
    client_secret_id: Option<String>,
}

pub(crate) async fn call(
    State(core): State<Arc<Core>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let value = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let target = value("x-amz-target").and_then(|target| target.strip_prefix(TARGET));
    let action = target.unwrap_or_default();
    let endpoint = match action {
        "AddUserPoolClientSecret" => Endpoint::AddSecret,
        "DeleteUserPoolClientSecret" => Endpoint::RemoveSecret,
        "DescribeUserPoolClient" => Endpoint::ReadClient,
        "ListUserPoolClientSecrets" => Endpoint::ListSecrets,
        _ => return error::unknown_operation(),
    };
    core.counters.management_requests.add_one();
    if let Some(instead) = fault_on_arrival(&core, endpoint, &VENDOR).await {
        return instead;
    }
    if let Some(instead) = refused_credentials(&core, endpoint, action, &headers, &body) {
        return instead;
    }
    let asked = serde_json::from_slice::<Asked>(&body).ok();
    let Some(asked) = asked.filter(|_| value(CONTENT_TYPE.as_str()) == Some(MEDIA_TYPE)) else {
        return error::serialization();
    };
    if asked.user_pool_id != USER_POOL {
        return error::no_such_pool(&asked.user_pool_id);
    }
    match endpoint {
        Endpoint::AddSecret => add(&core, asked).await,
        Endpoint::RemoveSecret => remove(&core, asked).await,
        Endpoint::ReadClient => describe(&core, &asked),
        _ => list(&core, &asked),
    }
}

fn refused_credentials(
    core: &Core,
    endpoint: Endpoint,
    action: &str,
    headers: &HeaderMap,
    body: &[u8],
) -> Option<Response> {
    let Some(signature) = Signature::of(headers) else {
        return Some(error::not_signed());
    };
    let Some(access) = AccessKey::among(core.api_tokens(), signature.access_key) else {
        return Some(error::unknown_access_key());
    };
    match access.session(headers) {
        Session::Valid => {}
        Session::Invalid => return Some(error::unknown_access_key()),
        Session::Expired => return Some(error::expired_token()),
    }
    if !signature.is_right(access.key, headers, body) {
        return Some(error::wrong_signature());
    }
    (!access.may(action, endpoint)).then(|| error::access_denied(action))
}

fn answer(body: &Value) -> Response {
    ([(CONTENT_TYPE, MEDIA_TYPE)], body.to_string()).into_response()
}

/// Seconds, with a part: as AWS JSON has times.
fn time(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

fn describe(core: &Core, asked: &Asked) -> Response {
    core.with_state(|state, now| {
        let Some(client) = state.client(&asked.client_id) else {
            return error::no_such_client(&asked.client_id);
        };
        let flows = flows(client);
        let scopes: Vec<&String> = client.grants.iter().flat_map(scopes).collect();
        let mut shown = json!({
            "UserPoolId": USER_POOL,
            "ClientName": client.name,
            "ClientId": client.id,
            "AllowedOAuthFlowsUserPoolClient": !flows.is_empty(),
            "AllowedOAuthFlows": flows,
            "AllowedOAuthScopes": scopes,
            "RefreshTokenValidity": 30,
            "EnableTokenRevocation": true,
        });
        for (name, value) in &client.attributes {
            shown[name] = value.clone();
        }
        // Others report: it is shown for as long as it is there, and no other one takes its place
        // (floci-io/floci#345).
        let original = client.several().and_then(|secrets| secrets.original(now));
        if let Some(original) = original.filter(|_| client.authentication.uses_secret()) {
            shown["ClientSecret"] = original.secret.as_str().into();
            shown["CreationDate"] = time(original.created).into();
        }
        answer(&json!({"UserPoolClient": shown}))
    })
}

fn scopes(grant: &Grant) -> &[String] {
    &grant.scopes
}

fn flows(client: &Registered) -> Vec<&'static str> {
    let flow = |grant_type: &String| match grant_type.as_str() {
        "client_credentials" => Some("client_credentials"),
        "authorization_code" => Some("code"),
        "implicit" => Some("implicit"),
        _ => None,
    };
    client.grant_types.iter().filter_map(flow).collect()
}

fn list(core: &Core, asked: &Asked) -> Response {
    core.with_state(|state, now| {
        let Some(client) = state.client(&asked.client_id) else {
            return error::no_such_client(&asked.client_id);
        };
        // A public client has none.
        let secrets = client.several().filter(|_| client.authentication.uses_secret());
        let listed = secrets.into_iter().flat_map(|secrets| secrets.listed(now));
        let shown: Vec<Value> = listed.map(|entry| show(entry, false)).collect();
        answer(&json!({"ClientSecrets": shown}))
    })
}

async fn add(core: &Core, asked: Asked) -> Response {
    let own = asked.client_secret;
    let generated = own.is_none();
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || b"_+".contains(&byte);
    let fits = |own: &String| (24..=64).contains(&own.len()) && own.bytes().all(is_word);
    if !own.as_ref().is_none_or(fits) {
        return error::invalid_parameter(
            "1 validation error detected: Value at 'clientSecret' failed to satisfy constraint: Member must \
             satisfy regular expression pattern: [\\w+]+",
        );
    }
    let chosen = || rand::rng().sample_iter(Alphanumeric).take(52).map(char::from).collect();
    let id = super::secret_id();
    let secret = own.unwrap_or_else(chosen);
    let act = Act::Add { id: id.clone(), secret, details: Details::default(), active: true };
    if let Some(instead) = carry_out(core, Endpoint::AddSecret, &asked.client_id, act).await {
        return instead;
    }
    core.with_state(|state, now| {
        let several = state.client(&asked.client_id).and_then(|client| client.several());
        match several.and_then(|secrets| secrets.entry(&id, now)) {
            Some(entry) => answer(&json!({"ClientSecretDescriptor": show(entry, generated)})),
            None => error::no_such_client(&asked.client_id),
        }
    })
}

async fn remove(core: &Core, asked: Asked) -> Response {
    let Some(id) = asked.client_secret_id else {
        return error::invalid_parameter("ClientSecretId is missing.");
    };
    let act = Act::Remove(id);
    let instead = carry_out(core, Endpoint::RemoveSecret, &asked.client_id, act).await;
    instead.unwrap_or_else(|| answer(&json!({})))
}

/// The value is shown once, and only where it was chosen here.
fn show(entry: &Entry, with_value: bool) -> Value {
    let mut shown = json!({
        "ClientSecretId": entry.id,
        "ClientSecretCreateDate": time(entry.created),
    });
    if with_value {
        shown["ClientSecretValue"] = entry.secret.as_str().into();
    }
    shown
}

/// Makes the change, and lets the faults of a change happen; what comes back is the answer in place of the real one.
async fn carry_out(core: &Core, endpoint: Endpoint, client: &str, act: Act) -> Option<Response> {
    let done = core.with_state(|state, now| {
        let found = state.client(client);
        let several = found.and_then(|client| client.several());
        let several = several.ok_or_else(|| Box::new(error::no_such_client(client)))?;
        if let Some(refusal) = several.refusal(&act, now) {
            return Err(Box::new(error::refused(refusal)));
        }
        let fault = core.faults.on_change();
        let Some(after) = change_after(fault.as_ref()) else { return Ok(fault) };
        let done = state.act(client, act, Origin::Api, after, now);
        done.map_err(|refusal| Box::new(error::refused(refusal)))?;
        Ok(fault)
    });
    after_change(endpoint, done, &VENDOR).await
}
