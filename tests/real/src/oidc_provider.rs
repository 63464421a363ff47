//! The npm package `oidc-provider`: a genuine OAuth 2.0 authorization server.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tokio::process::Command;

use crate::{Process, installed};

/// A running `oidc-provider`.
#[derive(Debug)]
pub struct OidcProvider {
    process: Process,
    issuer: String,
    token_endpoint: String,
    http: reqwest::Client,
}

impl OidcProvider {
    /// Starts it with clients of the form `ID:SECRET:METHOD`.
    ///
    /// # Panics
    ///
    /// When it cannot be started.
    pub async fn start(clients: &[&str]) -> Self {
        Self::start_with(clients, &[]).await
    }

    /// The same, with further arguments of `server.mjs`.
    ///
    /// # Panics
    ///
    /// When it cannot be started.
    pub async fn start_with(clients: &[&str], arguments: &[&str]) -> Self {
        let directory = installed("KEYSWAP_OIDC_PROVIDER");
        let mut command = Command::new("node");
        command.arg(directory.join("server.mjs"));
        for client in clients {
            command.args(["--client", client]);
        }
        command.args(arguments);
        let mut process = Process::start("oidc-provider", &mut command);
        let ready = process
            .line(|line| {
                let line: Value = serde_json::from_str(line).ok()?;
                (line["event"] == "ready").then_some(line)
            })
            .await;
        let text = |name: &str| ready[name].as_str().expect("it names its endpoints").to_owned();
        Self {
            process,
            issuer: text("issuer"),
            token_endpoint: text("token_endpoint"),
            http: reqwest::Client::new(),
        }
    }

    /// Which one it is.
    ///
    /// # Panics
    ///
    /// When it is not installed.
    #[must_use]
    pub fn version() -> String {
        let package =
            installed("KEYSWAP_OIDC_PROVIDER").join("node_modules/oidc-provider/package.json");
        let text = std::fs::read_to_string(package).expect("it is installed");
        let package: Value = serde_json::from_str(&text).expect("a package");
        package["version"].as_str().expect("a version").to_owned()
    }

    /// The token endpoint.
    #[must_use]
    pub fn token_endpoint(&self) -> &str {
        &self.token_endpoint
    }

    /// From the next request on, the client's secret is the first of `secrets`; the others work as well.
    ///
    /// # Panics
    ///
    /// When the server does not do it.
    pub async fn set_secrets(&self, client_id: &str, secrets: &[&str]) {
        let address = format!("{}/_control/secrets", self.issuer);
        let body = json!({"client_id": client_id, "secrets": secrets});
        let answer = self.http.post(address).json(&body).send().await.expect("it answers");
        assert_eq!(answer.status(), 204, "secrets of {client_id} not set: {:?}", self.process);
    }

    /// An authorization code, as the client gets it after somebody signed in.
    ///
    /// # Panics
    ///
    /// When the server gives none.
    pub async fn code(&self, client_id: &str, redirect_uri: &str) -> String {
        let address = format!("{}/_control/code", self.issuer);
        let body = json!({"client_id": client_id, "redirect_uri": redirect_uri});
        let answer = self.http.post(address).json(&body).send().await.expect("it answers");
        let answer: Value = answer.json().await.expect("an answer in JSON");
        answer["code"].as_str().expect("a code").to_owned()
    }

    /// The address of the client's registration, and another registration access token for it, as an administrator would
    /// issue one.
    ///
    /// # Panics
    ///
    /// When the server gives none.
    pub async fn registration(&self, client_id: &str) -> (String, String) {
        let address = format!("{}/_control/registration", self.issuer);
        let body = json!({"client_id": client_id});
        let answer = self.http.post(address).json(&body).send().await.expect("it answers");
        let answer: Value = answer.json().await.expect("an answer in JSON");
        let text = |name: &str| answer[name].as_str().expect("an address and a token").to_owned();
        (text("uri"), text("token"))
    }

    /// From the next request on, none but the client's registered secret works, after an update that let the one before
    /// it work as well.
    ///
    /// # Panics
    ///
    /// When the server does not do it, or no other secret worked.
    pub async fn forget_others(&self, client_id: &str) {
        let address = format!("{}/_control/forget", self.issuer);
        let body = json!({"client_id": client_id});
        let answer = self.http.post(address).json(&body).send().await.expect("it answers");
        assert_eq!(answer.status(), 204, "nothing of {client_id} forgotten: {:?}", self.process);
    }

    /// The next update of a registration is made, and its answer is lost.
    ///
    /// # Panics
    ///
    /// When the server does not do it.
    pub async fn lose_next_update(&self) {
        let address = format!("{}/_control/lose", self.issuer);
        let answer = self.http.post(address).send().await.expect("it answers");
        assert_eq!(answer.status(), 204);
    }

    /// How often each outcome was seen at the server, `success` or an error with its reason.
    ///
    /// # Panics
    ///
    /// When the server does not say it.
    pub async fn counts(&self) -> BTreeMap<String, u64> {
        let address = format!("{}/_control/counts", self.issuer);
        let answer = self.http.get(address).send().await.expect("it answers");
        answer.json().await.expect("counts are JSON")
    }
}
