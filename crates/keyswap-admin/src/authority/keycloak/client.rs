//! A client as the admin API shows it, and what a change of its secret has to say of it.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

/// The parts of a client that matter here. The secret is in it: no `Debug`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Client {
    id: String,
    pub(super) client_id: String,
    secret: Option<Zeroizing<String>>,
    protocol: Option<String>,
    enabled: Option<bool>,
    public_client: Option<bool>,
    bearer_only: Option<bool>,
    client_authenticator_type: Option<String>,
    authorization_services_enabled: Option<bool>,
    attributes: Option<Attributes>,
    access: Option<Access>,
}

/// What there is of the secret besides. The policy `client-secret-rotation` keeps times, in Unix seconds as text.
#[derive(Default, Deserialize)]
struct Attributes {
    #[serde(rename = "client.secret.authentication.allowed.method")]
    only_method: Option<String>,
    #[serde(rename = "client.secret.expiration.time")]
    expires: Option<String>,
    #[serde(rename = "client.secret.rotated")]
    rotated: Option<IgnoredAny>,
    #[serde(rename = "client.secret.rotated.expiration.time")]
    rotated_expires: Option<String>,
}

/// What the token that asked may do with the client.
#[derive(Deserialize)]
struct Access {
    configure: Option<bool>,
}

/// What a change of the secret has to say of the client besides.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Change {
    /// How the admin API names the client.
    pub(super) id: String,
    authenticator: Option<String>,
    has_authorization_services: bool,
}

impl Client {
    /// Why its secret cannot be rotated: what kind of client it is, in words that follow its name.
    pub(super) fn is_unsuitable(&self) -> Option<String> {
        let no_secret = "there is no client secret to rotate";
        if self.protocol.as_deref().is_some_and(|protocol| protocol != "openid-connect") {
            return Some(format!("is not one of OpenID Connect: {no_secret}"));
        }
        if self.public_client == Some(true) {
            return Some(format!("is public (Client authentication is off): {no_secret}"));
        }
        if self.bearer_only == Some(true) {
            return Some(format!("is bearer-only, and gets no tokens: {no_secret}"));
        }
        match self.client_authenticator_type.as_deref() {
            None | Some("client-secret") => {}
            Some("client-secret-jwt") => {
                return Some(
                    "signs assertions with its secret (client-secret-jwt), and keyswap proves a secret by \
                     showing it: let it be \"Client Id and Secret\" (Clients > the client > Credentials > Client \
                     Authenticator)"
                        .to_owned(),
                );
            }
            Some(kind @ ("client-jwt" | "client-x509" | "federated-jwt")) => {
                return Some(format!("authenticates with {kind}: {no_secret}"));
            }
            Some(_) => {
                return Some(format!(
                    "has an authenticator of another kind than \"Client Id and Secret\": {no_secret}"
                ));
            }
        }
        if self.enabled == Some(false) {
            return Some(
                "is disabled, so that every token request is refused, whatever its secret: enable it"
                    .to_owned(),
            );
        }
        if self.secret.as_deref().is_some_and(|secret| secret.starts_with("${vault.")) {
            return Some(
                "has its secret in the vault of Keycloak, where keyswap cannot change it, and a change here \
                 would take it out of there"
                    .to_owned(),
            );
        }
        None
    }

    /// The one method by which it may show its secret, as RFC 7591 names it, if not by either.
    pub(super) fn only_method(&self) -> Option<&str> {
        let method = self.attributes.as_ref()?.only_method.as_deref()?;
        match method {
            "" => None,
            "client_secret_basic" | "client_secret_post" => Some(method),
            _ => Some("another method"),
        }
    }

    /// Whether the server says that the token may not change it.
    pub(super) fn may_not_be_changed(&self) -> bool {
        self.access.as_ref().is_some_and(|access| access.configure == Some(false))
    }

    /// The secret, unless the server masks it.
    pub(super) fn shown_secret(&self) -> Option<&str> {
        self.secret.as_ref().map(|secret| secret.as_str()).filter(|secret| *secret != "**********")
    }

    pub(super) fn change(&self) -> Change {
        Change {
            id: self.id.clone(),
            authenticator: self.client_authenticator_type.clone(),
            has_authorization_services: self.authorization_services_enabled == Some(true),
        }
    }

    /// What a person should know of its secrets before they are changed.
    pub(super) fn remarks(&self, unix_now: u64) -> Vec<String> {
        let Some(attributes) = &self.attributes else { return Vec::new() };
        let left = |time: &Option<String>| {
            let time: Option<u64> = time.as_deref()?.parse().ok();
            time.map(|time| time.saturating_sub(unix_now))
        };
        let mut remarks = Vec::new();
        if left(&attributes.expires) == Some(0) {
            remarks.push(
                "its secret has expired by the policy client-secret-rotation: where that is in force, Keycloak \
                 refuses it as if it were wrong. Let it choose another one (Clients > the client > Credentials > \
                 Regenerate), and put that into the store"
                    .to_owned(),
            );
        }
        let rotated = attributes.rotated.is_some().then(|| left(&attributes.rotated_expires));
        if let Some(left) = rotated.flatten().filter(|left| *left > 0) {
            remarks.push(format!(
                "it has a second secret besides, which was rotated by the policy client-secret-rotation and is in \
                 force for another {}: a rotation leaves that alone. Clients > the client > Credentials > \
                 Invalidate ends it at once",
                in_words(left)
            ));
        }
        remarks
    }
}

/// A length of time for people, in its two largest units.
fn in_words(seconds: u64) -> String {
    let (days, hours) = (seconds / 86_400, seconds / 3600 % 24);
    let (minutes, rest) = (seconds / 60 % 60, seconds % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{rest} s"),
        (0, 0, _) => format!("{minutes} min {rest} s"),
        (0, ..) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

impl Change {
    /// The body of the change up to the secret. What a representation leaves out stays as it is, so that edits
    /// that others make meanwhile are not undone, with these exceptions:
    ///
    /// - authorization services are switched off, and all that is in them is deleted, unless it says that
    ///   they are on (`updateAuthorizationSettings`);
    /// - a policy with `secure-client-authenticator` refuses one that names no authenticator;
    /// - under the policy `client-secret-rotation` one without attributes fails with 500, a new value would
    ///   expire when the old one did, and after that time Keycloak would at once put a value of its own in its
    ///   place (`ClientSecretRotationExecutor`). Without an expiration it gets a whole period of the policy.
    ///   Where there is no such policy, there is no such attribute.
    pub(super) fn before_secret(&self) -> String {
        let mut said = Map::new();
        said.insert("attributes".into(), json!({ "client.secret.expiration.time": "" }));
        if let Some(authenticator) = &self.authenticator {
            said.insert("clientAuthenticatorType".into(), Value::from(authenticator.as_str()));
        }
        if self.has_authorization_services {
            said.insert("authorizationServicesEnabled".into(), Value::Bool(true));
        }
        let mut said = Value::Object(said).to_string();
        said.pop();
        said.push_str(",\"secret\":");
        said
    }
}

pub(super) fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(more: &Value) -> Client {
        let mut client = json!({
            "id": "5c1e", "clientId": "billing", "secret": "value", "enabled": true, "protocol": "openid-connect",
            "publicClient": false, "bearerOnly": false, "clientAuthenticatorType": "client-secret",
            "access": {"view": true, "configure": true, "manage": true},
        });
        for (name, value) in more.as_object().unwrap() {
            client[name] = value.clone();
        }
        serde_json::from_value(client).unwrap()
    }

    #[test]
    fn a_client_whose_secret_cannot_be_rotated_is_named_for_what_it_is() {
        assert_eq!(client(&json!({})).is_unsuitable(), None);
        for (more, says) in [
            (json!({"protocol": "saml"}), "not one of OpenID Connect"),
            (json!({"publicClient": true}), "is public"),
            (json!({"bearerOnly": true}), "is bearer-only"),
            (json!({"clientAuthenticatorType": "client-jwt"}), "authenticates with client-jwt"),
            (json!({"clientAuthenticatorType": "client-x509"}), "authenticates with client-x509"),
            (json!({"clientAuthenticatorType": "client-secret-jwt"}), "signs assertions"),
            (json!({"clientAuthenticatorType": "of our own"}), "of another kind"),
            (json!({"enabled": false}), "is disabled"),
            (json!({"secret": "${vault.billing}"}), "vault of Keycloak"),
        ] {
            let reason = client(&more).is_unsuitable().unwrap();
            assert!(reason.contains(says) && !reason.contains("vault.billing"), "{reason}");
        }
    }

    #[test]
    fn a_change_says_what_would_be_lost_and_nothing_else() {
        let said = |more: &Value| -> Value {
            let before = client(more).change().before_secret();
            serde_json::from_str(&format!("{before}\"new\"}}")).unwrap()
        };
        let attributes = json!({"client.secret.expiration.time": ""});
        let least = json!({
            "clientAuthenticatorType": "client-secret", "attributes": attributes, "secret": "new",
        });
        assert_eq!(said(&json!({"description": "left alone"})), least);
        let mut more = least;
        more["authorizationServicesEnabled"] = true.into();
        assert_eq!(said(&json!({"authorizationServicesEnabled": true})), more);
    }

    #[test]
    fn a_masked_secret_is_none_and_a_lacking_role_or_a_method_is_seen() {
        let method = |method: &str| {
            let attributes = json!({"client.secret.authentication.allowed.method": method});
            client(&json!({ "attributes": attributes })).only_method().map(str::to_owned)
        };
        assert_eq!(client(&json!({})).only_method(), None);
        assert_eq!(method(""), None);
        assert_eq!(method("client_secret_basic").as_deref(), Some("client_secret_basic"));
        assert_eq!(method("x").as_deref(), Some("another method"));
        assert_eq!(client(&json!({})).shown_secret(), Some("value"));
        assert_eq!(client(&json!({"secret": "**********"})).shown_secret(), None);
        assert!(!client(&json!({})).may_not_be_changed());
        assert!(!client(&json!({"access": null})).may_not_be_changed());
        assert!(
            client(&json!({"access": {"view": true, "configure": false}})).may_not_be_changed()
        );
    }

    #[test]
    fn a_second_secret_and_an_expired_one_are_told() {
        let remarks = |expires: &str, rotated: &str| {
            let attributes = json!({
                "client.secret.expiration.time": expires, "client.secret.rotated": "old-value",
                "client.secret.rotated.expiration.time": rotated,
            });
            client(&json!({ "attributes": attributes })).remarks(1_800_000_000)
        };
        let told = remarks("1800000001", "1800090061");
        assert_eq!(told.len(), 1);
        assert!(told[0].contains("1 d 1 h") && !told[0].contains("old-value"), "{told:?}");
        let told = remarks("1800000000", "1800000000");
        assert!(told.len() == 1 && told[0].contains("has expired"), "{told:?}");
        assert!(remarks("soon", "").is_empty());
        assert!(client(&json!({})).remarks(0).is_empty());
        let lengths = [59, 60, 3700, 90_000].map(in_words);
        assert_eq!(lengths, ["59 s", "1 min 0 s", "1 h 1 min", "1 d 1 h"]);
    }
}
