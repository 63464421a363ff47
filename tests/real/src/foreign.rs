//! Programs in other languages that sign in, with a library that knows nothing of keyswap.

use std::process::Stdio;

use serde_json::Value;
use tokio::process::Command;

use crate::{Process, Tally, installed};

/// In which language, and with which library.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Library {
    /// The Python package `Authlib`.
    Authlib,
    /// The npm package `openid-client`.
    OpenidClient,
}

impl Library {
    /// Its name, and the version that is installed.
    ///
    /// # Panics
    ///
    /// When it is not installed.
    #[must_use]
    pub fn version(self) -> (&'static str, String) {
        match self {
            Self::Authlib => {
                let python = installed("KEYSWAP_AUTHLIB").join("bin/python");
                let said = std::process::Command::new(python)
                    .args(["-c", "import authlib; print(authlib.__version__)"])
                    .output()
                    .expect("its Python can be started");
                ("Authlib", String::from_utf8_lossy(&said.stdout).trim().to_owned())
            }
            Self::OpenidClient => {
                let package = "node_modules/openid-client/package.json";
                let package = installed("KEYSWAP_OPENID_CLIENT").join(package);
                let text = std::fs::read_to_string(package).expect("it is installed");
                let package: Value = serde_json::from_str(&text).expect("a package");
                ("openid-client", package["version"].as_str().expect("a version").to_owned())
            }
        }
    }

    fn command(self) -> Command {
        match self {
            Self::Authlib => {
                let mut command = Command::new(installed("KEYSWAP_AUTHLIB").join("bin/python"));
                command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/clients/authlib/sign_in.py"));
                command
            }
            Self::OpenidClient => {
                let mut command = Command::new("node");
                command.arg(installed("KEYSWAP_OPENID_CLIENT").join("sign_in.mjs"));
                command
            }
        }
    }

    /// Starts a program that signs in as `client` every 20 ms, with this secret and in this way
    /// (`client_secret_basic`, `client_secret_post`).
    ///
    /// # Panics
    ///
    /// When it cannot be started.
    #[must_use]
    pub fn sign_in(
        self,
        token_endpoint: &str,
        (client, secret): (&str, &str),
        method: &str,
        parameter: &str,
    ) -> Foreign {
        let mut command = self.command();
        command.args([token_endpoint, client, method, "20", parameter]);
        command.env("CLIENT_SECRET", secret).stderr(Stdio::inherit());
        Foreign { process: Process::start(self.version().0, &mut command), requests: 0 }
    }
}

/// A running program in another language.
#[derive(Debug)]
pub struct Foreign {
    process: Process,
    requests: u64,
}

impl Foreign {
    /// Waits until it has made so many further requests.
    ///
    /// # Panics
    ///
    /// When it does not.
    pub async fn progress(&mut self, more: u64) {
        let wanted = self.requests + more;
        let so_far = |line: &str| serde_json::from_str::<Value>(line).ok()?["requests"].as_u64();
        self.requests = self.process.line(|line| so_far(line).filter(|made| *made >= wanted)).await;
    }

    /// Ends it, and says what became of its requests.
    ///
    /// # Panics
    ///
    /// When it does not say it.
    pub async fn stop(mut self) -> Tally {
        self.process.terminate();
        let last = |line: &str| {
            let told: Value = serde_json::from_str(line).ok()?;
            (told["ended"] == true).then_some(told)
        };
        let told = self.process.line(last).await;
        let failed = told["failed"].as_u64().expect("a number");
        let mut failures: Vec<String> =
            serde_json::from_value(told["failures"].clone()).expect("texts");
        failures.resize(failed.try_into().expect("few"), "like these".to_owned());
        let requests = told["requests"].as_u64().expect("a number");
        Tally { requests, saved_by_fallback: 0, failures }
    }
}
