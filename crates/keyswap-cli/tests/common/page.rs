//! What a page of docs/ shows, run as it stands there, and what a command that only looks must leave as it is.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::command::keyswap;
use super::{CLIENT, Embedded, Output, Site, Vault, contents};

/// A fenced block: the heading that it stands under, its language, and its text without what indents all of it.
#[derive(Debug)]
pub struct Block {
    pub heading: String,
    pub language: String,
    pub text: String,
}

/// The fenced blocks of a page, in order.
pub fn blocks(page: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut heading = String::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        if let Some(title) = line.strip_prefix("## ") {
            heading = title.to_owned();
        }
        let Some((indent, language)) = line.split_once("```") else { continue };
        if !indent.trim().is_empty() {
            continue;
        }
        let inside = lines.by_ref().take_while(|line| line.trim() != "```");
        let text = inside.map(|line| format!("{}\n", line.strip_prefix(indent).unwrap_or(line)));
        let text = text.collect();
        blocks.push(Block { heading: heading.clone(), language: language.to_owned(), text });
    }
    blocks
}

/// What a shell printed, on either stream, and its exit code.
#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub said: String,
}

/// Runs this text with `sh -e`, where `keyswap` is the one that was built. What it says is searched for secrets.
pub fn shell(vault: &Vault, directory: &Path, text: &str, environment: &[(&str, &str)]) -> Ran {
    let built = keyswap();
    let built = built.parent().unwrap();
    let path = format!("{}:{}", built.display(), std::env::var("PATH").unwrap());
    let output = Command::new("sh")
        .args(["-e", "-c", text])
        .current_dir(directory)
        .env_remove("KEYSWAP_CONFIG")
        .env("PATH", path)
        .envs(environment.iter().copied())
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8(said).unwrap();
    vault.look();
    vault.search(text, &said);
    Ran { code: output.status.code(), said }
}

/// An example of a page: the heading that it stands under, the command, and what it prints.
pub struct Example {
    pub heading: String,
    pub command: String,
    pub printed: String,
}

/// Those of a page, one a section at most: a command and, next to it, what it prints.
pub fn examples(page: &str) -> Vec<Example> {
    let blocks = blocks(page);
    let pairs = blocks.windows(2).filter_map(|pair| match pair {
        [command, printed]
            if (command.language.as_str(), printed.language.as_str()) == ("sh", "text")
                && command.heading == printed.heading =>
        {
            Some(Example {
                heading: command.heading.clone(),
                command: command.text.trim_end().to_owned(),
                printed: printed.text.clone(),
            })
        }
        _ => None,
    });
    pairs.collect()
}

/// Every file of the site with what it holds. Instances that are there write their own reports, so of these only that
/// they are there.
fn trace(site: &Site) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = contents(&site.path(""));
    let is_report = |path: &Path| path.parent().is_some_and(|parent| parent.ends_with("instances"));
    found.retain(|path, _| !is_report(path) || path.extension().is_some_and(|end| end == "json"));
    found.iter_mut().filter(|(path, _)| is_report(path)).for_each(|(_, text)| text.clear());
    found
}

impl Embedded {
    /// Runs a command, and sees that it changed nothing.
    pub fn looks(&self, arguments: &[&str]) -> Output {
        let before = (trace(&self.site), self.server().counts());
        let output = self.site.command(arguments).run();
        let after = (trace(&self.site), self.server().counts());
        for (path, text) in &after.0 {
            assert!(before.0.get(path) == Some(text), "{} was changed", path.display());
        }
        assert_eq!(after.0.len(), before.0.len(), "nothing was removed");
        assert_eq!(after.1.management_writes, before.1.management_writes);
        output
    }

    /// What a command printed, without what differs from run to run.
    pub fn printed(&self, output: &Output) -> String {
        let site = &self.site;
        let mut text = format!("{}{}", output.stdout, output.stderr);
        text = text.replace(&site.path("").display().to_string(), "");
        let document: serde_json::Value = std::fs::read(site.client_directory().join("ring.json"))
            .map(|text| serde_json::from_slice(&text).unwrap())
            .unwrap_or_default();
        for (number, secret) in document["secrets"].as_array().into_iter().flatten().enumerate() {
            text = text.replace(secret["id"].as_str().unwrap(), ["PRESENT", "OTHER"][number]);
        }
        let provider = std::fs::read_to_string(site.configuration()).unwrap();
        if provider.contains("\"okta\"") {
            for (number, (id, _)) in self.server().secrets(CLIENT).iter().enumerate() {
                text = text.replace(id, ["ocs1", "ocs2"][number]);
            }
        }
        text
    }
}
