//! `GET .../applications/{application}/inbound-protocols/oidc`.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::HeaderMap;
use serde_json::{Value, json};

use super::{error, on_arrival};
use crate::client::ClientAuthentication;
use crate::core::Core;
use crate::fault::Endpoint;
use crate::state::{Registered, State as Clients};

const VIEW: &str = "internal_application_mgt_view";

/// The application with this id, if it signs in by OAuth.
pub(super) fn with_oauth<'a>(
    clients: &'a Clients,
    id: &str,
) -> Result<&'a Registered, Box<Response>> {
    let client = clients.application(id).ok_or_else(|| error::no_such_application(id))?;
    // That is what `inbound` says, if it says anything.
    match client.attributes.get("inbound") {
        None => Ok(client),
        Some(_) => Err(error::no_oauth(id).into()),
    }
}

pub(crate) async fn read(
    State(core): State<Arc<Core>>,
    Path((organization, id)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    let wanted = (organization.as_str(), VIEW);
    if let Some(instead) = on_arrival(&core, Endpoint::ReadClient, wanted, &headers).await {
        return instead;
    }
    core.with_state(|state, _| match with_oauth(state, &id) {
        Ok(client) => Json(show(client)).into_response(),
        Err(instead) => *instead,
    })
}

fn show(client: &Registered) -> Value {
    let method = match client.authentication {
        ClientAuthentication::SecretBasic => "client_secret_basic",
        ClientAuthentication::PrivateKeyJwt => "private_key_jwt",
        // Whichever the client takes.
        _ => "",
    };
    let state = client.attributes.get("state").cloned().unwrap_or_else(|| json!("ACTIVE"));
    json!({
        "clientId": client.id,
        "state": state,
        "grantTypes": client.grant_types,
        "publicClient": client.authentication == ClientAuthentication::None,
        "clientAuthentication": { "tokenEndpointAuthMethod": method },
    })
}
