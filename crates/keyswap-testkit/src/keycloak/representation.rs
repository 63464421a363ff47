//! A client as the admin API shows it, and what an update makes of it.

use serde_json::{Map, Value, json};

use crate::client::ClientAuthentication;
use crate::state::Registered;

/// The fields of `ClientRepresentation` that an update may name here.
const KNOWN: [&str; 16] = [
    "access",
    "attributes",
    "authorizationServicesEnabled",
    "bearerOnly",
    "clientAuthenticatorType",
    "clientId",
    "description",
    "directAccessGrantsEnabled",
    "enabled",
    "id",
    "name",
    "protocol",
    "publicClient",
    "redirectUris",
    "secret",
    "serviceAccountsEnabled",
];

const AUTHORIZATION: &str = "authorizationServicesEnabled";

/// The client with all that is known of it, for a caller who may change it or not.
pub(crate) fn shown(client: &Registered, secret: &str, may_change: bool) -> Value {
    let authenticator = match client.authentication {
        ClientAuthentication::PrivateKeyJwt => "client-jwt",
        ClientAuthentication::SecretJwt => "client-secret-jwt",
        _ => "client-secret",
    };
    let mut shown = json!({
        "id": client.application,
        "clientId": client.id,
        "name": client.name,
        "enabled": true,
        "protocol": "openid-connect",
        "publicClient": client.authentication == ClientAuthentication::None,
        "bearerOnly": false,
        "clientAuthenticatorType": authenticator,
        "secret": secret,
        "serviceAccountsEnabled": has_service_account(client),
        "attributes": {},
        "access": {"view": true, "configure": may_change, "manage": may_change},
    });
    for (name, value) in &client.attributes {
        shown[name] = value.clone();
    }
    shown
}

pub(crate) fn is_enabled(client: &Registered) -> bool {
    client.attributes.get("enabled") != Some(&Value::Bool(false))
}

/// The one method by which it may show its secret, if not by either.
pub(crate) fn only_method(client: &Registered) -> Option<&str> {
    client
        .attributes
        .get("attributes")?
        .get("client.secret.authentication.allowed.method")?
        .as_str()
}

pub(crate) fn has_service_account(client: &Registered) -> bool {
    client.grant_types.iter().any(|grant_type| grant_type == "client_credentials")
}

/// The first field that a client does not have.
pub(crate) fn unknown_field(update: &Map<String, Value>) -> Option<&str> {
    update.keys().map(String::as_str).find(|name| !KNOWN.contains(name))
}

/// Applies all but the secret. What is left out or null stays as it is, with one exception: authorization services
/// are on only where the update says so.
pub(crate) fn apply(client: &mut Registered, update: Map<String, Value>) {
    if update.get(AUTHORIZATION) != Some(&Value::Bool(true)) {
        client.attributes.remove(AUTHORIZATION);
    }
    for (name, value) in update {
        match (name.as_str(), value) {
            ("access" | "clientId" | "id" | "secret", _) | (_, Value::Null) => {}
            (AUTHORIZATION, Value::Bool(false)) => {}
            ("name", Value::String(name)) => client.name = name,
            ("attributes", Value::Object(entries)) => merge_attributes(client, entries),
            ("publicClient", Value::Bool(true)) => {
                client.authentication = ClientAuthentication::None;
            }
            ("publicClient", Value::Bool(false)) => {
                if client.authentication == ClientAuthentication::None {
                    client.authentication = ClientAuthentication::default();
                }
            }
            ("clientAuthenticatorType", Value::String(kind)) => {
                client.authentication = match kind.as_str() {
                    "client-jwt" => ClientAuthentication::PrivateKeyJwt,
                    "client-secret-jwt" => ClientAuthentication::SecretJwt,
                    _ if client.authentication.sends_secret() => client.authentication,
                    _ if client.authentication == ClientAuthentication::None => {
                        ClientAuthentication::None
                    }
                    _ => ClientAuthentication::default(),
                };
            }
            ("serviceAccountsEnabled", Value::Bool(wanted)) => {
                client.grant_types.retain(|grant_type| grant_type != "client_credentials");
                if wanted {
                    client.grant_types.push("client_credentials".to_owned());
                }
            }
            (_, value) => {
                client.attributes.insert(name, value);
            }
        }
    }
}

/// Attributes are merged key by key; an empty one is removed.
fn merge_attributes(client: &mut Registered, entries: Map<String, Value>) {
    let held = client.attributes.entry("attributes").or_insert_with(|| Map::new().into());
    let Value::Object(held) = held else { return };
    for (key, value) in entries {
        match value.as_str() {
            None | Some("") => held.remove(&key),
            Some(_) => held.insert(key, value),
        };
    }
}
