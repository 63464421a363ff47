//! Every secret that a test has seen, and the search for them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use serde_json::Value;

/// The files in which a server or a test writes down a secret.
const SECRETS: [&str; 6] =
    ["client-secret", "management-secret", "api-key", "api-token", "registration-token", "token"];

/// Every secret that ever stood in a directory. It grows at each look, so that one that a rotation has
/// made and retired meanwhile is known as well.
#[derive(Clone)]
pub struct Vault {
    directory: PathBuf,
    known: Arc<Mutex<BTreeSet<String>>>,
}

impl Vault {
    pub fn new(directory: &Path) -> Self {
        let vault = Self { directory: directory.to_owned(), known: Arc::default() };
        vault.look();
        vault
    }

    pub fn add(&self, secret: &str) {
        assert!(secret.len() >= 16, "too short to be searched for");
        self.known.lock().unwrap().insert(secret.to_owned());
    }

    /// Takes up every secret that stands in the directory now.
    pub fn look(&self) {
        for (path, text) in super::contents(&self.directory) {
            let name = path.file_name().unwrap().to_string_lossy();
            match &*name {
                name if SECRETS.contains(&name) => {
                    // Empty while it is being written.
                    let text = String::from_utf8(text).unwrap();
                    if !text.trim_end().is_empty() {
                        self.add(text.trim_end());
                    }
                }
                _ if name.contains("ring.json") || name.contains("rotation.json") => {
                    // What a process that was killed left may be the beginning of a file.
                    if let Ok(document) = serde_json::from_slice(&text) {
                        self.take_values(&document);
                    }
                }
                _ => {}
            }
        }
    }

    fn take_values(&self, document: &Value) {
        match document {
            Value::Object(fields) => {
                for (name, value) in fields {
                    match value {
                        Value::String(secret) if name == "value" => self.add(secret),
                        other => self.take_values(other),
                    }
                }
            }
            Value::Array(values) => values.iter().for_each(|value| self.take_values(value)),
            _ => {}
        }
    }

    pub fn len(&self) -> usize {
        self.known.lock().unwrap().len()
    }

    /// Fails if the text holds a secret.
    pub fn search(&self, what: &str, text: &str) {
        let known = self.known.lock().unwrap();
        for (number, secret) in known.iter().enumerate() {
            assert!(
                !text.contains(secret.as_str()),
                "{what} holds secret number {number} of {}: {}",
                known.len(),
                text.replace(secret.as_str(), "[HERE]")
            );
        }
    }

    /// Fails if a file other than those that are there to hold secrets holds one.
    pub fn search_files(&self) {
        self.look();
        for (path, text) in super::contents(&self.directory) {
            let name = path.file_name().unwrap().to_string_lossy();
            let holds_secrets =
                SECRETS.contains(&&*name) || ["ring.json", "rotation.json"].contains(&&*name);
            if !holds_secrets {
                self.search(&path.display().to_string(), &String::from_utf8_lossy(&text));
            }
        }
    }
}
