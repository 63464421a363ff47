//! `keyswap dev-server`: an Auth0-compatible server on loopback, with everything that is needed to
//! rotate a secret at it.

use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use keyswap_core::Generator;
use keyswap_testkit::{AuthorizationServer, Client};
use zeroize::Zeroizing;

use super::write_private;
use crate::arguments::DevServer;
use crate::exit::{Code, Failure};

pub(crate) const CLIENT: &str = "billing";
const MANAGEMENT_CLIENT: &str = "keyswap-rotator";
pub(crate) const AUDIENCE: &str = "https://api.example/";

pub(crate) async fn run(options: DevServer) -> Result<(), Failure> {
    let directory = &options.directory;
    let (secret, new_secret) = secret_in(directory, "client-secret")?;
    let (management_secret, new_management_secret) = secret_in(directory, "management-secret")?;
    let server = AuthorizationServer::builder()
        .nodes(options.nodes as usize)
        .propagation_window(options.window)
        .client(Client::new(CLIENT, secret.as_str()).grant(AUDIENCE))
        .management_client(Client::management(MANAGEMENT_CLIENT, management_secret.as_str()))
        .bind(options.listen)
        .start()
        .await
        .map_err(|error| match error.is_not_loopback() {
            true => Failure::usage(error.to_string()),
            false => Failure::failed(error.to_string()),
        })?;
    // Only now, so that a server that does not start leaves nothing behind.
    std::fs::create_dir_all(directory).map_err(|error| {
        Failure::failed(format!("the directory {} cannot be made: {error}", directory.display()))
    })?;
    for (name, secret, is_new) in [
        ("client-secret", &secret, new_secret),
        ("management-secret", &management_secret, new_management_secret),
    ] {
        if is_new {
            write_private(&directory.join(name), secret.as_bytes())?;
        }
    }
    let configuration = directory.join("keyswap.toml");
    replace(&configuration, &configuration_for(server.url().as_ref(), options.window))?;
    let shown = directory.display();
    println!("an Auth0-compatible server with {} nodes at {}", options.nodes, server.url());
    println!("  client            {CLIENT}, its secret in {shown}/client-secret");
    println!("  management client {MANAGEMENT_CLIENT}, its secret in {shown}/management-secret");
    println!("  configuration     {shown}/keyswap.toml");
    println!("put the present secret into the store, then start programs and rotate:");
    println!("  keyswap init --config {shown}/keyswap.toml --secret-file {shown}/client-secret");
    println!("  keyswap rotate --config {shown}/keyswap.toml");
    println!("ready; Ctrl-C ends it");
    crate::interruption().await;
    server.shutdown().await;
    Ok(())
}

/// The secret in this file, or one that is new. A server that is started again keeps the one that it
/// began with: what a rotation set in between is gone with the earlier process.
fn secret_in(directory: &Path, name: &str) -> Result<(Zeroizing<String>, bool), Failure> {
    let path = directory.join(name);
    match std::fs::read_to_string(&path).map(Zeroizing::new) {
        Ok(text) => Ok((Zeroizing::new(text.trim_end().to_owned()), false)),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let secret = Generator::default()
                .generate()
                .map_err(|error| Failure::failed(error.to_string()))?;
            Ok((Zeroizing::new(secret.expose().to_owned()), true))
        }
        Err(error) => Err(Failure::failed(format!("{} cannot be read: {error}", path.display()))),
    }
}

fn replace(path: &Path, text: &str) -> Result<(), Failure> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(Failure::new(
            Code::Failed,
            format!("{} cannot be replaced: {error}", path.display()),
        )),
        _ => write_private(path, text.as_bytes()),
    }
}

fn configuration_for(url: &str, window: Duration) -> String {
    let window = jiff::fmt::friendly::SpanPrinter::new().unsigned_duration_to_string(&window);
    format!(
        r#"# Written by `keyswap dev-server`, for that server.
[client]
id = "{CLIENT}"

[authority]
kind = "auth0"
url = "{url}"
audience = "{AUDIENCE}"
management_client_id = "{MANAGEMENT_CLIENT}"
management_secret = {{ file = "management-secret" }}

[store]
directory = "keyswap-store"

[[application]]
name = "{CLIENT}"
instances = 1
uses_every = "1s"

[policy]
propagation_window = "{window}"
"#
    )
}
