//! Keycloak: a genuine authorization server that holds one secret a client, and two under a policy.

use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use reqwest::{Method, Response};
use serde_json::{Value, json};
use tempfile::NamedTempFile;

use crate::installed;
use crate::ports::free_ports;

/// How long it may take until it serves: 12 s on an idle machine, and minutes on one that compiles.
const PATIENCE: Duration = Duration::from_secs(300);

/// The one server of this program, which all tests share: it takes seconds to start, and each test has a realm of its
/// own. It ends when its standard input does, which is at the latest when this program ends.
static SERVER: Mutex<Option<Server>> = Mutex::new(None);

struct Server {
    port: u16,
    child: Child,
    log: NamedTempFile,
    /// How often one was started, with this one.
    starts: u32,
    /// Whether it served: then there are realms that would be lost with it.
    served: bool,
}

const PASSWORD: &str = "a-password-of-this-test-server-alone";

/// A realm of the running Keycloak, which no other test uses.
#[derive(Debug)]
pub struct Keycloak {
    base: String,
    realm: &'static str,
    http: reqwest::Client,
}

impl Keycloak {
    /// A new realm of this name, at the server, which is started if it does not run yet.
    ///
    /// # Panics
    ///
    /// When it cannot be started, or has such a realm.
    pub async fn realm(name: &'static str) -> Self {
        let http = reqwest::Client::new();
        let base = served(&http).await;
        let realm = Self { base, realm: name, http };
        let address = format!("{}/admin/realms", realm.base);
        let new = json!({"realm": name, "enabled": true, "sslRequired": "none"});
        realm.send(Method::POST, &address, Some(&new)).await;
        realm
    }

    /// The version of the server.
    #[must_use]
    pub fn version() -> String {
        let said = Command::new(installed("KEYSWAP_KEYCLOAK")).arg("version").output();
        let said = said.expect("the script of Keycloak can be started").stdout;
        String::from_utf8_lossy(&said).trim().to_owned()
    }

    /// The address, with the path that it serves under and without a slash at the end.
    #[must_use]
    pub fn base(&self) -> &str {
        &self.base
    }

    /// The token endpoint of the realm.
    #[must_use]
    pub fn token_endpoint(&self) -> String {
        format!("{}/realms/{}/protocol/openid-connect/token", self.base, self.realm)
    }

    fn of_realm(&self, path: &str) -> String {
        format!("{}/admin/realms/{}/{path}", self.base, self.realm)
    }

    /// Asks the admin API as its administrator, about something of the realm.
    ///
    /// # Panics
    ///
    /// When the server does not do it.
    pub async fn ask(&self, method: Method, path: &str, body: Option<&Value>) -> Value {
        let answer = self.send(method, &self.of_realm(path), body).await;
        let text = answer.text().await.expect("the answer ends well");
        serde_json::from_str(&text).unwrap_or_default()
    }

    async fn send(&self, method: Method, address: &str, body: Option<&Value>) -> Response {
        let form =
            format!("grant_type=password&client_id=admin-cli&username=admin&password={PASSWORD}");
        let token = format!("{}/realms/master/protocol/openid-connect/token", self.base);
        let token = self.http.post(token).body(form);
        let token = token.header("content-type", "application/x-www-form-urlencoded");
        // It lives for a minute: a new one each time is never too old.
        let token: Value =
            token.send().await.expect("Keycloak answers").json().await.expect("a token is JSON");
        let token = token["access_token"].as_str().expect("a token");
        let mut request = self.http.request(method.clone(), address).bearer_auth(token);
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request.send().await.expect("Keycloak answers");
        let status = answer.status();
        if !status.is_success() {
            panic!("{method} {address}: {status} {}", answer.text().await.unwrap_or_default());
        }
        answer
    }

    /// Registers a client with a secret and whatever else a representation says, and gives the id that the admin API
    /// knows it by.
    ///
    /// # Panics
    ///
    /// When the server does not do it.
    pub async fn register(&self, client_id: &str, secret: &str, more: &Value) -> String {
        let mut client = json!({
            "clientId": client_id,
            "secret": secret,
            "protocol": "openid-connect",
            "publicClient": false,
            "clientAuthenticatorType": "client-secret",
            "serviceAccountsEnabled": true,
        });
        for (name, value) in more.as_object().into_iter().flatten() {
            client[name] = value.clone();
        }
        let answer = self.send(Method::POST, &self.of_realm("clients"), Some(&client)).await;
        let place = answer.headers().get("location").and_then(|place| place.to_str().ok());
        let id = place.and_then(|place| place.rsplit('/').next());
        id.expect("a new client has a place").to_owned()
    }

    /// Gives the service account of a client a role of `realm-management`.
    ///
    /// # Panics
    ///
    /// When the server does not do it.
    pub async fn grant(&self, id: &str, role: &str) {
        let account =
            self.ask(Method::GET, &format!("clients/{id}/service-account-user"), None).await;
        let account = account["id"].as_str().expect("an account has an id").to_owned();
        let owner = self.ask(Method::GET, "clients?clientId=realm-management", None).await;
        let owner = owner[0]["id"].as_str().expect("the client of the roles").to_owned();
        let role = self.ask(Method::GET, &format!("clients/{owner}/roles/{role}"), None).await;
        let path = format!("users/{account}/role-mappings/clients/{owner}");
        self.ask(Method::POST, &path, Some(&json!([role]))).await;
    }

    /// A client that makes management requests, with this role if any.
    ///
    /// # Panics
    ///
    /// When the server does not make it.
    pub async fn management(&self, client_id: &str, secret: &str, role: Option<&str>) {
        let id = self.register(client_id, secret, &json!({})).await;
        if let Some(role) = role {
            self.grant(&id, role).await;
        }
    }

    /// The client as the admin API shows it.
    ///
    /// # Panics
    ///
    /// When there is none.
    pub async fn client(&self, client_id: &str) -> Value {
        let mut found = self.ask(Method::GET, &format!("clients?clientId={client_id}"), None).await;
        assert_eq!(found.as_array().map(Vec::len), Some(1), "client {client_id}");
        found[0].take()
    }
}

/// The address of the server, once it serves.
async fn served(http: &reqwest::Client) -> String {
    let patience = Instant::now() + PATIENCE;
    loop {
        let port = {
            let mut server = SERVER.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(running) = server.as_mut()
                && !matches!(running.child.try_wait(), Ok(None))
            {
                if running.served || running.starts == 5 {
                    let log = std::fs::read_to_string(running.log.path()).unwrap_or_default();
                    let end: Vec<_> = log.lines().rev().take(20).collect();
                    panic!("Keycloak has ended; its last words, from the end: {end:#?}");
                }
                // Between finding a free port and the server's own bind, seconds later, another program may take it.
                *running = start(running.starts + 1);
            }
            server.get_or_insert_with(|| start(1)).port
        };
        let base = format!("http://127.0.0.1:{port}/auth");
        // A refused connection is the usual answer until it serves.
        if let Ok(answer) = http.get(format!("{base}/realms/master")).send().await
            && answer.status() == 200
        {
            note_served(port);
            return base;
        }
        assert!(Instant::now() < patience, "Keycloak did not serve in {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn note_served(port: u16) {
    let mut server = SERVER.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(running) = server.as_mut()
        && running.port == port
    {
        running.served = true;
    }
}

fn start(starts: u32) -> Server {
    let port = free_ports(1);
    let log = NamedTempFile::new().expect("a temporary file");
    let child = Command::new(installed("KEYSWAP_KEYCLOAK"))
        .arg("serve")
        .env("KEYCLOAK_PORT", port.to_string())
        .env("KEYCLOAK_LOG", log.path())
        .env("KEYCLOAK_ADMIN_PASSWORD", PASSWORD)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap_or_else(|error| panic!("Keycloak cannot be started: {error}"));
    Server { port, child, log, starts, served: false }
}
