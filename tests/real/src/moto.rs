//! The Python package `moto`: AWS Secrets Manager as a server on this machine.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::process::Command;

use crate::ports::free_ports;
use crate::process::PATIENCE;
use crate::{Process, installed};

/// The only region that is asked here.
const REGION: &str = "eu-west-1";
/// A version that no label is at is listed as well, and has none.
type Labels = BTreeMap<String, Vec<String>>;

/// A running moto, without a secret.
#[derive(Debug)]
pub struct Moto {
    endpoint: String,
    http: reqwest::Client,
    _process: Process,
}

impl Moto {
    /// Starts it, and waits until it answers.
    ///
    /// # Panics
    ///
    /// When it cannot be started.
    pub async fn start() -> Self {
        let patience = Instant::now() + PATIENCE;
        let http = reqwest::Client::new();
        loop {
            let (port, mut process) = Self::process();
            let endpoint = format!("http://127.0.0.1:{port}/");
            while !process.has_ended() {
                assert!(Instant::now() < patience, "moto does not serve");
                let answer = http.get(format!("{endpoint}moto-api/data.json")).send().await;
                if answer.is_ok_and(|answer| answer.status().is_success()) {
                    return Self { endpoint, http, _process: process };
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            // Somebody else had the port by then.
            assert!(Instant::now() < patience, "moto does not start");
        }
    }

    fn process() -> (u16, Process) {
        let port = free_ports(1);
        let mut command = Command::new(installed("KEYSWAP_MOTO").join("bin/moto_server"));
        command.args(["-H", "127.0.0.1", "-p", &port.to_string()]);
        // A line for each request.
        command.stderr(Stdio::null());
        (port, Process::start("moto", &mut command))
    }

    /// Where it answers.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The region that it is asked as.
    #[must_use]
    pub fn region(&self) -> &'static str {
        REGION
    }

    /// Calls Secrets Manager as another tool does, without our SDK: `PutSecretValue` with these parameters.
    ///
    /// # Panics
    ///
    /// When it refuses that.
    pub async fn call(&self, action: &str, parameters: Value) -> Value {
        let (status, answer) = self.ask(action, parameters).await;
        assert_eq!(status, 200, "{action}: {answer}");
        answer
    }

    async fn ask(&self, action: &str, parameters: Value) -> (u16, Value) {
        let scope = format!("Credential=test/20260101/{REGION}/secretsmanager/aws4_request");
        let request = self
            .http
            .post(&self.endpoint)
            .header("x-amz-target", format!("secretsmanager.{action}"))
            .header("content-type", "application/x-amz-json-1.1")
            // Only the region is read.
            .header(
                "authorization",
                format!("AWS4-HMAC-SHA256 {scope}, SignedHeaders=host, Signature=0"),
            )
            .body(parameters.to_string());
        let answer = request.send().await.expect("moto answers");
        let status = answer.status().as_u16();
        let text = answer.text().await.expect("an answer with a body");
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    /// What a program gets that asks for this label; `None` when nothing has it.
    ///
    /// # Panics
    ///
    /// When it does not answer that.
    pub async fn labelled(&self, secret: &str, label: &str) -> Option<String> {
        let asked = json!({ "SecretId": secret, "VersionStage": label });
        let (status, answer) = self.ask("GetSecretValue", asked).await;
        match answer["SecretString"].as_str() {
            Some(value) => Some(value.to_owned()),
            None => {
                assert_eq!(answer["__type"], "ResourceNotFoundException", "{status} {answer}");
                None
            }
        }
    }

    /// The version that has each label.
    ///
    /// # Panics
    ///
    /// When the secret is not there, or two versions have one label.
    pub async fn labels(&self, secret: &str) -> BTreeMap<String, String> {
        let described = self.call("DescribeSecret", json!({ "SecretId": secret })).await;
        let versions: Labels = serde_json::from_value(described["VersionIdsToStages"].clone())
            .expect("labels of each version");
        let mut labels = BTreeMap::new();
        for (version, of_version) in versions {
            for label in of_version {
                let before = labels.insert(label.clone(), version.clone());
                assert!(
                    before.is_none_or(|before| before == version),
                    "{label} is at two versions"
                );
            }
        }
        labels
    }
}
