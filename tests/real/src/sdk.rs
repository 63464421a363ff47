//! The vendors' SDKs for Node, walked through the life of a client by `clients/*/oracle.mjs`.

use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::process::Command;

use crate::installed;

/// What an SDK said, step by step.
#[derive(Debug)]
pub struct Sdk {
    lines: Vec<Value>,
}

impl Sdk {
    /// Lets the `auth0` SDK read, update and rotate `client` at `base`, as a management client, and sign in as `client`.
    ///
    /// `more` are further arguments of the program.
    ///
    /// # Panics
    ///
    /// When the program does not end well; errors that the SDK reports are answers, and no reason.
    pub async fn auth0(base: &str, management: (&str, &str), client: &str, more: &[&str]) -> Self {
        let (id, secret) = management;
        let arguments =
            ["--base", base, "--id", id, "--secret", secret, "--client", client, "--trace"];
        Self::walk("KEYSWAP_AUTH0_SDK", &[&arguments, more].concat()).await
    }

    /// Lets the Okta SDK list, read, add, activate, deactivate and remove secrets of `application` at `base`, with an API
    /// token and one that may read alone; `secret` is the value of the first that it adds.
    ///
    /// # Panics
    ///
    /// When the program does not end well; errors that the SDK reports are answers, and no reason.
    pub async fn okta(
        base: &str,
        (token, reader): (&str, &str),
        application: &str,
        secret: &str,
    ) -> Self {
        let tokens = ["--token", token, "--reader", reader];
        let rest = ["--base", base, "--app", application, "--secret", secret];
        Self::walk("KEYSWAP_OKTA_SDK", &[&tokens[..], &rest].concat()).await
    }

    /// Lets the SDK of Microsoft Graph list, add and remove secrets of an application at `base`, as a client that may change
    /// them and one that may read alone, which have the same secret. The application is named by its client id and by its
    /// object id.
    ///
    /// # Panics
    ///
    /// When the program does not end well; errors that the SDK reports are answers, and no reason.
    pub async fn graph(
        base: &str,
        (rotator, reader, secret): (&str, &str, &str),
        (client, object): (&str, &str),
    ) -> Self {
        let management = ["--rotator", rotator, "--reader", reader, "--secret", secret];
        let application = ["--app", client, "--object", object];
        let rest = ["--base", base, "--tenant", "contoso.onmicrosoft.com"];
        Self::walk("KEYSWAP_GRAPH_SDK", &[&management[..], &application, &rest].concat()).await
    }

    /// Lets the AWS SDK describe an app client of a user pool at `base`, and list, add and delete its secrets, with three
    /// access keys (`ID:KEY`): one that may all that, one that may read alone, and a temporary one; `secret` is the value
    /// of the first that it adds.
    ///
    /// # Panics
    ///
    /// When the program does not end well; errors that the SDK reports are answers, and no reason.
    pub async fn cognito(
        base: &str,
        [key, reader, session]: &[String; 3],
        (pool, client): (&str, &str),
        secret: &str,
    ) -> Self {
        let keys = ["--key", key, "--reader", reader, "--session", session];
        let rest = ["--base", base, "--pool", pool, "--client", client, "--secret", secret];
        Self::walk("KEYSWAP_COGNITO_SDK", &[&keys[..], &rest].concat()).await
    }

    async fn walk(installed_at: &str, arguments: &[&str]) -> Self {
        let output = Command::new("node")
            .arg(installed(installed_at).join("oracle.mjs"))
            .args(arguments)
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .kill_on_drop(true)
            .output()
            .await
            .expect("node can be started");
        assert!(output.status.success(), "the SDK's program ended with {}", output.status);
        let text = String::from_utf8(output.stdout).expect("JSON is UTF-8");
        let parse = |line| serde_json::from_str(line).expect("one JSON value a line");
        Self { lines: text.lines().map(parse).collect() }
    }

    /// The names of the steps, in order.
    #[must_use]
    pub fn steps(&self) -> Vec<&str> {
        self.lines.iter().filter_map(|line| line["step"].as_str()).collect()
    }

    /// What the SDK returned at each step of this name.
    ///
    /// # Panics
    ///
    /// When it returned an error at one of them, or when there is no such step.
    #[must_use]
    #[track_caller]
    pub fn returned(&self, step: &str) -> Vec<&Value> {
        let mut returned = Vec::new();
        for line in self.lines.iter().filter(|line| line["step"] == step) {
            assert!(!line["ok"].is_null(), "an error in place of an answer: {line}");
            returned.push(&line["ok"]);
        }
        assert!(!returned.is_empty(), "no step `{step}` in {:?}", self.steps());
        returned
    }

    /// The whole line of each step of this name, which has to be an error.
    ///
    /// # Panics
    ///
    /// When the SDK returned something at one of them, or when there is no such step.
    #[must_use]
    #[track_caller]
    pub fn failed(&self, step: &str) -> Vec<&Value> {
        let failed: Vec<_> = self.lines.iter().filter(|line| line["step"] == step).collect();
        assert!(!failed.is_empty(), "no step `{step}` in {:?}", self.steps());
        for line in &failed {
            assert!(!line["error"].is_null(), "an answer in place of an error: {line}");
        }
        failed
    }

    /// The requests that the SDK sent: method and path, with the status of the answer.
    #[must_use]
    pub fn requests(&self) -> Vec<(&str, u64)> {
        let status = |line: &Value| line["status"].as_u64().unwrap_or(0);
        self.traced().map(|(sent, line)| (sent, status(line))).collect()
    }

    /// When each of the requests with this method and path was answered, on the clock of the SDK's process.
    #[must_use]
    pub fn times(&self, request: &str) -> Vec<Duration> {
        let at = |line: &Value| Duration::from_millis(line["ms"].as_u64().unwrap_or(0));
        self.traced().filter(|(sent, _)| *sent == request).map(|(_, line)| at(line)).collect()
    }

    fn traced(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.lines.iter().filter_map(|line| Some((line["trace"].as_str()?, line)))
    }
}
