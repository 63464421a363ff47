//! What a client configuration endpoint answers, and what is sent back to it.

use keyswap_core::{Secret, SecretId};
use serde::Deserialize;
use serde_json::{Map, Value};
use url::Url;
use zeroize::Zeroizing;

use super::super::http::{body_with_secret, leased_body};

/// A client information response (RFC 7591 section 3.2.1). The secret and the token are in it: no `Debug`.
#[derive(Deserialize)]
pub(super) struct Registered {
    pub(super) client_id: String,
    pub(super) client_secret: Option<Zeroizing<String>>,
    pub(super) registration_access_token: Option<Zeroizing<String>>,
    registration_client_uri: Option<Value>,
    /// Seconds since 1970; 0: never.
    client_secret_expires_at: Option<Value>,
    #[serde(rename = "client_id_issued_at")]
    _issued: Option<Value>,
    /// The client's metadata.
    #[serde(flatten)]
    metadata: Map<String, Value>,
}

impl Registered {
    /// How the client authenticates; Basic where it does not say (RFC 7591 section 2).
    pub(super) fn method(&self) -> Option<&str> {
        let method = self.metadata.get("token_endpoint_auth_method").and_then(Value::as_str);
        Some(method.unwrap_or("client_secret_basic"))
    }

    /// When the secret ends, in milliseconds since 1970, if it does.
    pub(super) fn expires(&self) -> Option<u64> {
        let seconds = self.client_secret_expires_at.as_ref()?.as_u64().filter(|at| *at > 0)?;
        Some(seconds.saturating_mul(1000))
    }

    /// Where the server says that it is registered.
    pub(super) fn uri(&self) -> Option<Url> {
        self.registration_client_uri.as_ref()?.as_str()?.parse().ok()
    }

    /// The secret under this id, if it is shown and can be one.
    pub(super) fn secret(&self, id: &SecretId) -> Option<Secret> {
        let value = self.client_secret.as_ref()?;
        Secret::new(id.clone(), value.as_str()).ok()
    }

    /// An update that changes nothing but the secret: all metadata as it was read, since what is left out
    /// is forgotten, and none of the four members that the server alone writes (RFC 7592 section 2.2).
    pub(super) fn update(&self, secret: Option<&Secret>) -> reqwest::Body {
        let mut members = self.metadata.clone();
        members.insert("client_id".to_owned(), Value::String(self.client_id.clone()));
        let text = Value::Object(members).to_string();
        match (secret, text.strip_suffix('}')) {
            (Some(secret), Some(open)) => {
                body_with_secret(&format!("{open},\"client_secret\":"), secret, "}")
            }
            _ => leased_body(text.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;
    use serde_json::json;

    use super::*;

    #[tokio::test]
    async fn an_update_sends_all_metadata_back_and_nothing_that_the_server_alone_writes() {
        let answer = json!({
            "client_id": "billing",
            "client_secret": "first",
            "client_secret_expires_at": 17,
            "client_id_issued_at": 1,
            "registration_access_token": "token",
            "registration_client_uri": "https://auth.example/reg/billing",
            "redirect_uris": ["https://billing.example/callback"],
            "contacts": null,
            "x-own": {"a": [1]},
        });
        let registered: Registered = serde_json::from_value(answer).unwrap();
        assert_eq!(registered.method(), Some("client_secret_basic"));
        assert_eq!(registered.expires(), Some(17_000));
        let secret = registered.secret(&"a".parse().unwrap());
        let sent = async |secret: Option<&Secret>| {
            let body = registered.update(secret).collect().await.unwrap().to_bytes();
            serde_json::from_slice::<Value>(&body).unwrap()
        };
        let mut expected = json!({
            "client_id": "billing",
            "redirect_uris": ["https://billing.example/callback"],
            "contacts": null,
            "x-own": {"a": [1]},
        });
        assert_eq!(sent(None).await, expected);
        expected["client_secret"] = json!("first");
        assert_eq!(sent(secret.as_ref()).await, expected);
    }
}
