//! What an update of a client may say, and what it does to everything but the secret.

use serde_json::{Map, Value};

use super::representation::is_updatable;
use crate::client::ClientAuthentication;
use crate::state::Registered;

/// Refuses what the vendor's schema refuses; the reason is in its words.
pub(crate) fn validate(update: &Map<String, Value>) -> Result<(), String> {
    if update.is_empty() {
        return Err("'Too few properties defined (0), minimum 1'.".to_owned());
    }
    if let Some(unknown) = update.keys().find(|name| !is_updatable(name)) {
        return Err(format!("'Additional properties not allowed: {unknown}'."));
    }
    for (name, value) in update {
        validate_type(name, value)?;
    }
    match update.get("client_secret") {
        Some(Value::String(secret)) if secret.is_empty() => {
            return Err(
                "'String is too short (0 chars), minimum 1' on property client_secret.".to_owned()
            );
        }
        _ => {}
    }
    if let Some(Value::String(method)) = update.get("token_endpoint_auth_method")
        && secret_method(method).is_none()
    {
        return Err(format!(
            "'No enum match for: {method}' on property token_endpoint_auth_method."
        ));
    }
    Ok(())
}

fn validate_type(name: &str, value: &Value) -> Result<(), String> {
    let (expected, right) = match name {
        "client_secret" | "name" | "description" | "app_type" => ("string", value.is_string()),
        "token_endpoint_auth_method" => ("string", value.is_string() || value.is_null()),
        "client_authentication_methods" => ("object", value.is_object() || value.is_null()),
        "client_metadata" => ("object", value.is_object()),
        "grant_types" => {
            ("array", value.as_array().is_some_and(|types| types.iter().all(Value::is_string)))
        }
        "is_first_party" | "oidc_conformant" | "is_token_endpoint_ip_header_trusted" => {
            ("boolean", value.is_boolean())
        }
        // The vendor's description of the others is not at hand: whatever comes is kept and shown again.
        _ => return Ok(()),
    };
    if right {
        Ok(())
    } else {
        let found = type_name(value);
        Err(format!("'Expected type {expected} but found type {found}' on property {name}."))
    }
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn secret_method(method: &str) -> Option<ClientAuthentication> {
    match method {
        "client_secret_post" => Some(ClientAuthentication::SecretPost),
        "client_secret_basic" => Some(ClientAuthentication::SecretBasic),
        "none" => Some(ClientAuthentication::None),
        _ => None,
    }
}

/// How the client authenticates after the update: `token_endpoint_auth_method` and `client_authentication_methods`
/// exclude each other, so one has to be `null` where the other is set.
pub(crate) fn authentication_after(
    client: &Registered,
    update: &Map<String, Value>,
) -> Result<ClientAuthentication, String> {
    let asserts = match update.get("client_authentication_methods") {
        None => client.authentication == ClientAuthentication::PrivateKeyJwt,
        Some(methods) => methods.is_object(),
    };
    let by_secret = match update.get("token_endpoint_auth_method") {
        None => (client.authentication != ClientAuthentication::PrivateKeyJwt)
            .then_some(client.authentication),
        Some(method) => method.as_str().and_then(secret_method),
    };
    match (asserts, by_secret) {
        (true, None) => Ok(ClientAuthentication::PrivateKeyJwt),
        (false, method) => Ok(method.unwrap_or_default()),
        // The vendor documents the rule, not the words.
        (true, Some(_)) => Err("client_authentication_methods and token_endpoint_auth_method \
                                exclude each other: set one of them to null."
            .to_owned()),
    }
}

/// Applies a validated update, all but its `client_secret`, which spreads over the nodes.
pub(crate) fn apply(
    client: &mut Registered,
    authentication: ClientAuthentication,
    update: Map<String, Value>,
) {
    client.authentication = authentication;
    if authentication != ClientAuthentication::PrivateKeyJwt {
        client.attributes.remove("client_authentication_methods");
    }
    for (name, value) in update {
        match (name.as_str(), value) {
            ("client_secret" | "token_endpoint_auth_method", _) => {}
            ("name", Value::String(name)) => client.name = name,
            ("grant_types", Value::Array(types)) => {
                client.grant_types =
                    types.iter().filter_map(Value::as_str).map(str::to_owned).collect();
            }
            ("client_metadata", Value::Object(entries)) => merge_metadata(client, entries),
            (_, Value::Null) => {
                client.attributes.remove(&name);
            }
            (_, value) => {
                client.attributes.insert(name, value);
            }
        }
    }
}

/// Metadata is merged key by key; `null` removes a key.
fn merge_metadata(client: &mut Registered, entries: Map<String, Value>) {
    let metadata = client.attributes.entry("client_metadata").or_insert_with(|| Map::new().into());
    let Value::Object(metadata) = metadata else { return };
    for (key, value) in entries {
        if value.is_null() {
            metadata.remove(&key);
        } else {
            metadata.insert(key, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn reason(update: Value) -> String {
        let Value::Object(update) = update else { panic!("an update is an object") };
        validate(&update).expect_err("this update must be refused")
    }

    #[test]
    fn an_update_that_the_schema_does_not_allow_is_refused_with_its_reason() {
        assert!(reason(json!({})).contains("Too few properties"));
        assert!(reason(json!({"client_secret": ""})).contains("minimum 1"));
        assert!(reason(json!({"client_secret": 1})).contains("found type integer"));
        assert!(reason(json!({"secret": "x"})).contains("not allowed: secret"));
        assert!(reason(json!({"client_id": "x"})).contains("not allowed: client_id"));
        assert!(reason(json!({"token_endpoint_auth_method": "tls"})).contains("No enum match"));
        assert!(reason(json!({"grant_types": ["a", 1]})).contains("Expected type array"));
    }

    #[test]
    fn no_reason_repeats_a_secret() {
        let reason = reason(json!({"client_secret": ["a-very-secret-value"]}));
        assert!(!reason.contains("a-very-secret-value"), "{reason}");
    }
}
