//! Ory Hydra: a genuine authorization server that holds one secret a client.

use std::time::{Duration, Instant};

use reqwest::Url;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Command;

use crate::ports::free_ports;
use crate::{Process, installed};

/// How long it may take until it serves. First it makes its database, in many migrations that are each on the disk before
/// the next one begins, which takes minutes where others write as well.
const PATIENCE: Duration = Duration::from_secs(300);

/// A running Hydra with an empty database of its own.
#[derive(Debug)]
pub struct Hydra {
    process: Process,
    port: u16,
    http: reqwest::Client,
    /// Removed after the process was killed: fields are dropped in their order.
    state: TempDir,
}

impl Hydra {
    /// Starts it. `rounds` is the cost of its password hash (25,000 at a Hydra that is not told otherwise): each sign-in
    /// pays it.
    ///
    /// # Panics
    ///
    /// When it cannot be started.
    pub async fn start(rounds: u32) -> Self {
        let mut log = String::new();
        // Between finding a free port and the server's own bind, another program may take it.
        for _ in 0..5 {
            // It serves its administration API at the next one.
            match Self::start_at(free_ports(2), rounds).await {
                Ok(hydra) => return hydra,
                Err(said) => log = said,
            }
        }
        panic!("Hydra ended five times before it served; its last words:\n{log}");
    }

    async fn start_at(port: u16, rounds: u32) -> Result<Self, String> {
        let state = tempfile::tempdir().expect("a temporary directory");
        let mut command = Command::new(installed("KEYSWAP_HYDRA"));
        command
            .arg("serve")
            .env("HYDRA_PORT", port.to_string())
            .env("HYDRA_ITERATIONS", rounds.to_string())
            .env("HYDRA_STATE", state.path());
        let process = Process::start("Hydra", &mut command);
        let mut hydra = Self { process, port, http: reqwest::Client::new(), state };
        let ready = format!("http://127.0.0.1:{}/health/ready", port + 1);
        let patience = Instant::now() + PATIENCE;
        loop {
            if hydra.process.has_ended() {
                let log = std::fs::read_to_string(hydra.state.path().join("log"));
                return Err(log.unwrap_or_else(|error| error.to_string()));
            }
            // A refused connection is the usual answer until it serves.
            if let Ok(answer) = hydra.http.get(&ready).send().await
                && answer.status() == 200
            {
                return Ok(hydra);
            }
            assert!(Instant::now() < patience, "Hydra did not serve in {PATIENCE:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Which one it is.
    ///
    /// # Panics
    ///
    /// When its script cannot be started.
    #[must_use]
    pub fn version() -> String {
        let said = std::process::Command::new(installed("KEYSWAP_HYDRA")).arg("version").output();
        let said = said.expect("the script of Hydra can be started").stdout;
        String::from_utf8_lossy(&said).trim().to_owned()
    }

    /// The token endpoint.
    #[must_use]
    pub fn token_endpoint(&self) -> String {
        format!("{}/oauth2/token", self.public())
    }

    /// The root of the public API, without a slash at the end.
    #[must_use]
    pub fn public(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The root of the administration API, without a slash at the end.
    #[must_use]
    pub fn admin(&self) -> String {
        format!("http://127.0.0.1:{}", self.port + 1)
    }

    /// Registers a client with more than a client credentials grant, so that a careless change has something to lose.
    ///
    /// # Panics
    ///
    /// When the server does not do it.
    pub async fn register(&self, client_id: &str, secret: &str, method: &str) {
        let client = json!({
            "client_id": client_id,
            "client_name": "A client of the tests",
            "client_secret": secret,
            "grant_types": ["client_credentials", "authorization_code", "refresh_token"],
            "response_types": ["code"],
            "redirect_uris": ["http://127.0.0.1/callback"],
            "scope": "read write offline_access",
            "token_endpoint_auth_method": method,
        });
        let address = format!("{}/admin/clients", self.admin());
        let answer = self.http.post(address).json(&client).send().await.expect("Hydra answers");
        assert_eq!(answer.status(), 201, "client {client_id} not registered");
    }

    /// An authorization code of a client that was [registered](Self::register), for its redirect URI: what it gets
    /// after somebody signed in and allowed it to stay signed in.
    ///
    /// The administration API says that they did; all else goes the way of a browser.
    ///
    /// # Panics
    ///
    /// When the server gives none.
    pub async fn code(&self, client_id: &str) -> String {
        let browser = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none());
        let browser = browser.build().expect("a client");
        let mut cookies = Vec::new();
        let start = format!(
            "{}/oauth2/auth?response_type=code&client_id={client_id}&redirect_uri={REDIRECT}&scope=offline_access\
             &state=unguessable",
            self.public()
        );
        let login = follow(&browser, &mut cookies, &start).await;
        let who = json!({"subject": "somebody"});
        let next = self.accept("login", &parameter(&login, "login_challenge"), who).await;
        let consent = follow(&browser, &mut cookies, &next).await;
        let what = json!({"grant_scope": ["offline_access"]});
        let next = self.accept("consent", &parameter(&consent, "consent_challenge"), what).await;
        parameter(&follow(&browser, &mut cookies, &next).await, "code")
    }

    async fn accept(&self, what: &str, challenge: &str, answer: Value) -> String {
        let address = format!("{}/admin/oauth2/auth/requests/{what}/accept", self.admin());
        let address = Url::parse_with_params(&address, [(format!("{what}_challenge"), challenge)]);
        let request = self.http.put(address.expect("an address"));
        let answer = request.json(&answer).send().await.expect("Hydra answers");
        let answer: Value = answer.json().await.expect("an answer in JSON");
        answer["redirect_to"].as_str().unwrap_or_else(|| panic!("{what}: {answer}")).to_owned()
    }

    /// The client as the administration API shows it, which is without its secret; and without the time of its last
    /// update.
    ///
    /// # Panics
    ///
    /// When the server does not show it.
    pub async fn client(&self, client_id: &str) -> Value {
        let address = format!("{}/admin/clients/{client_id}", self.admin());
        let answer = self.http.get(address).send().await.expect("Hydra answers");
        assert_eq!(answer.status(), 200, "client {client_id} not shown");
        let mut client: Value = answer.json().await.expect("a client is JSON");
        let shown = client.as_object_mut().expect("a client is an object");
        shown.remove("updated_at");
        client
    }
}

/// The redirect URI of every client, form-encoded.
const REDIRECT: &str = "http%3A%2F%2F127.0.0.1%2Fcallback";

/// Where the server sends a browser that has these cookies.
async fn follow(browser: &reqwest::Client, cookies: &mut Vec<String>, address: &str) -> Url {
    let answer = browser.get(address).header("cookie", cookies.join("; ")).send().await;
    let answer = answer.expect("Hydra answers");
    let header = |value: &reqwest::header::HeaderValue| {
        value.to_str().expect("a header in ASCII").to_owned()
    };
    for cookie in answer.headers().get_all("set-cookie") {
        let cookie = header(cookie);
        cookies.push(cookie.split(';').next().unwrap_or_default().to_owned());
    }
    let location = answer.headers().get("location").map(header);
    let location = location.unwrap_or_else(|| panic!("{} at {address}", answer.status()));
    location.parse().expect("an absolute URL")
}

fn parameter(url: &Url, name: &str) -> String {
    let found = url.query_pairs().find(|(found, _)| found == name);
    found.unwrap_or_else(|| panic!("no {name} in {url}")).1.into_owned()
}
