//! A client as the management API shows it.

use serde_json::{Map, Value, json};

use crate::client::ClientAuthentication;
use crate::parameters::Parameters;
use crate::state::Registered;

/// The names that `fields` may hold: those of the vendor's own pattern, without the parts after a dot.
const FIELDS: [&str; 64] = [
    "addons",
    "allowed_clients",
    "allowed_logout_urls",
    "allowed_origins",
    "api_type",
    "app_type",
    "async_approval_notification_channels",
    "callback_url_template",
    "callbacks",
    "client_authentication_methods",
    "client_id",
    "client_metadata",
    "client_secret",
    "compliance_level",
    "config_route",
    "custom_login_page",
    "custom_login_page_on",
    "custom_login_page_preview",
    "default_organization",
    "description",
    "encryption_key",
    "express_configuration",
    "external_client_id",
    "external_metadata_created_by",
    "external_metadata_type",
    "form_template",
    "global",
    "grant_types",
    "id_token",
    "identity_assertion_authorization_grant",
    "initiate_login_uri",
    "is_first_party",
    "is_token_endpoint_ip_header_trusted",
    "jwt_configuration",
    "logo_uri",
    "mobile",
    "my_organization_configuration",
    "name",
    "oidc_backchannel_logout",
    "oidc_conformant",
    "oidc_logout",
    "organization_discovery_methods",
    "organization_require_behavior",
    "organization_usage",
    "owners",
    "redirection_policy",
    "refresh_token",
    "registration_type",
    "require_proof_of_possession",
    "require_pushed_authorization_requests",
    "resource_server_identifier",
    "session_transfer",
    "signed_request_object",
    "signing_keys",
    "skip_non_verifiable_callback_uri_confirmation_prompt",
    "sso",
    "subject_type_authorization",
    "tenant",
    "third_party_security_mode",
    "token_endpoint_auth_method",
    "token_exchange",
    "token_quota",
    "token_vault_privileged_access",
    "web_origins",
];

/// Those of them that an update cannot set.
const READ_ONLY: [&str; 12] = [
    "api_type",
    "client_id",
    "config_route",
    "custom_login_page_preview",
    "external_client_id",
    "external_metadata_created_by",
    "external_metadata_type",
    "global",
    "owners",
    "registration_type",
    "resource_server_identifier",
    "signing_keys",
];

pub(crate) fn is_field(name: &str) -> bool {
    FIELDS.binary_search(&name).is_ok()
}

/// Whether an update may name it (the request is `additionalProperties: false`).
pub(crate) fn is_updatable(name: &str) -> bool {
    is_field(name) && name != "tenant" && !READ_ONLY.contains(&name)
}

/// The whole client; its secret only where the caller may see it.
pub(crate) fn whole(client: &Registered, secret: Option<&str>) -> Map<String, Value> {
    let fixed = json!({
        "tenant": "keyswap-testkit",
        "global": false,
        "is_token_endpoint_ip_header_trusted": false,
        "name": client.name,
        "is_first_party": true,
        "oidc_conformant": true,
        "sso_disabled": false,
        "cross_origin_auth": false,
        "client_id": client.id,
        "callback_url_template": false,
        "jwt_configuration": {"alg": "RS256", "lifetime_in_seconds": 36000, "secret_encoded": false},
        "app_type": "non_interactive",
        "grant_types": client.grant_types,
        "custom_login_page_on": true,
    });
    let Value::Object(mut shown) = fixed else { return Map::new() };
    shown.extend(client.attributes.iter().map(|(name, value)| (name.clone(), value.clone())));
    match client.authentication {
        ClientAuthentication::SecretPost => set_method(&mut shown, "client_secret_post"),
        ClientAuthentication::SecretBasic => set_method(&mut shown, "client_secret_basic"),
        ClientAuthentication::SecretJwt => set_method(&mut shown, "client_secret_jwt"),
        ClientAuthentication::None => set_method(&mut shown, "none"),
        // The two exclude each other.
        ClientAuthentication::PrivateKeyJwt => {
            let methods =
                json!({"private_key_jwt": {"credentials": [{"id": "cred_keyswap_testkit"}]}});
            shown.entry("client_authentication_methods").or_insert(methods);
        }
    }
    if let Some(secret) = secret {
        shown.insert("client_secret".to_owned(), secret.into());
    }
    shown
}

fn set_method(shown: &mut Map<String, Value>, method: &str) {
    shown.insert("token_endpoint_auth_method".to_owned(), method.into());
}

/// Which fields a caller asked for with `fields` and `include_fields`.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Selection {
    All,
    Only(Vec<String>),
    AllBut(Vec<String>),
}

impl Selection {
    /// Reads the query; the error is the reason, in the vendor's way of naming it.
    pub(crate) fn from_query(query: &str) -> Result<Self, String> {
        let bad = |_| "'Malformed query string'.".to_owned();
        let parameters = Parameters::from_form(query.as_bytes()).map_err(bad)?;
        let include = match parameters.value("include_fields") {
            None | Some("true") => true,
            Some("false") => false,
            Some(_) => {
                return Err("'Expected type boolean but found type string' on property \
                            include_fields."
                    .to_owned());
            }
        };
        let Some(fields) = parameters.value("fields").filter(|fields| !fields.is_empty()) else {
            return Ok(Self::All);
        };
        // A part such as `jwt_configuration.alg` is answered with the whole of it.
        let fields: Vec<String> = fields
            .split(',')
            .map(|field| field.split('.').next().unwrap_or(field).to_owned())
            .collect();
        if let Some(unknown) = fields.iter().find(|field| !is_field(field)) {
            return Err(format!(
                "'String does not match pattern' on property fields: `{unknown}` is no field of a client."
            ));
        }
        Ok(if include { Self::Only(fields) } else { Self::AllBut(fields) })
    }

    pub(crate) fn apply(&self, mut shown: Map<String, Value>) -> Map<String, Value> {
        match self {
            Self::All => {}
            Self::Only(fields) => shown.retain(|name, _| fields.contains(name)),
            Self::AllBut(fields) => shown.retain(|name, _| !fields.contains(name)),
        }
        shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_query_selects_fields() {
        let only = Selection::from_query("fields=client_id%2Cname&include_fields=true");
        assert_eq!(only, Ok(Selection::Only(vec!["client_id".to_owned(), "name".to_owned()])));
        let all_but = Selection::from_query("fields=client_secret&include_fields=false");
        assert_eq!(all_but, Ok(Selection::AllBut(vec!["client_secret".to_owned()])));
        assert_eq!(Selection::from_query(""), Ok(Selection::All));
        for bad in ["fields=secret", "fields=name,,", "include_fields=perhaps", "fields=%zz"] {
            assert!(Selection::from_query(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_fields_are_in_the_order_that_the_search_needs() {
        assert!(FIELDS.is_sorted());
        assert!(READ_ONLY.iter().all(|name| is_field(name)));
    }

    #[test]
    fn what_identifies_a_client_cannot_be_updated() {
        assert!(is_updatable("client_secret") && is_updatable("name"));
        for name in ["client_id", "tenant", "global", "no_such_field"] {
            assert!(!is_updatable(name), "{name}");
        }
    }
}
