//! Chromium without a window, which looks at a page as `clients/browser/look.mjs` says.

use std::path::Path;
use std::process::Stdio;

use serde_json::Value;
use tokio::process::Command;

use crate::installed;

/// Looks at a page of this machine in several widths and lights; its pictures are put into `shots`. Gives what the
/// browser said of each, the first of which is its version.
///
/// # Panics
///
/// When the browser does not end well.
pub async fn look(page: &Path, shots: &Path) -> Vec<Value> {
    let output = Command::new("node")
        .arg(installed("KEYSWAP_BROWSER").join("look.mjs"))
        .arg("--browser")
        .arg(installed("KEYSWAP_CHROMIUM"))
        .arg("--page")
        .arg(page)
        .arg("--shots")
        .arg(shots)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .kill_on_drop(true)
        .output()
        .await
        .expect("node can be started");
    assert!(output.status.success(), "the look at {} ended with {}", page.display(), output.status);
    let text = String::from_utf8(output.stdout).expect("JSON is UTF-8");
    let parse = |line| serde_json::from_str(line).expect("one JSON value a line");
    text.lines().map(parse).collect()
}
