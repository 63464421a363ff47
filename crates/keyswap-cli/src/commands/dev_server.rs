//! `keyswap dev-server`: an authorization server on loopback, with everything that is needed to
//! rotate a secret at it.

use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use keyswap_core::Generator;
use keyswap_store::{FileStore, SecretStore};
use keyswap_testkit::{AuthorizationServer, Client, ClientAuthentication, Provider};
use zeroize::Zeroizing;

use super::write_private;
use crate::arguments::{DevServer, Vendor};
use crate::exit::{Code, Failure};

pub(crate) const CLIENT: &str = "billing";
const MANAGEMENT_CLIENT: &str = "keyswap-rotator";
/// Where the configuration that is written puts the store.
const STORE: &str = "keyswap-store";
const FIRST_LINE: &str = "# Written by `keyswap dev-server`, for that server.";
/// What a server like Zitadel calls the application, and its project.
const APPLICATION: &str = "billing-application";
const PROJECT: &str = "billing-project";
/// What a client of an Okta-compatible server may ask for.
const SCOPE: &str = "read";
/// The tenant that a server like Entra is, and what its management client may do.
const TENANT: &str = "contoso.onmicrosoft.com";
const PERMISSION: &str = "Application.ReadWrite.OwnedBy";
pub(crate) const AUDIENCE: &str = "https://api.example/";

pub(crate) async fn run(options: DevServer) -> Result<(), Failure> {
    let directory = &options.directory;
    let configuration = directory.join("keyswap.toml");
    check_ours(&configuration)?;
    let rotated = secret_in_store(directory).await?;
    let in_store = rotated.is_some();
    let (secret, new_secret) = match rotated {
        Some(secret) => (secret, false),
        None => secret_in(directory, "client-secret")?,
    };
    let management = match options.provider {
        Vendor::Auth0 | Vendor::Entra => "management-secret",
        Vendor::Okta => "api-token",
        Vendor::Zitadel => "token",
    };
    let (management_secret, new_management_secret) = secret_in(directory, management)?;
    let builder = AuthorizationServer::builder()
        .nodes(options.nodes as usize)
        .propagation_window(options.window)
        .bind(options.listen);
    let client = Client::new(CLIENT, secret.as_str());
    let builder = match options.provider {
        Vendor::Auth0 => builder
            .client(client.grant(AUDIENCE))
            .management_client(Client::management(MANAGEMENT_CLIENT, management_secret.as_str())),
        Vendor::Entra => builder.provider(Provider::Entra).client(client).management_client(
            Client::management(MANAGEMENT_CLIENT, management_secret.as_str()).scopes([PERMISSION]),
        ),
        Vendor::Okta => builder
            .provider(Provider::Okta)
            .client(
                client
                    .authentication(ClientAuthentication::SecretBasic)
                    .grant("default")
                    .scopes([SCOPE]),
            )
            .api_token(management_secret.as_str()),
        Vendor::Zitadel => builder
            .provider(Provider::Zitadel)
            .client(
                client
                    .authentication(ClientAuthentication::SecretBasic)
                    .application(APPLICATION)
                    .grant(PROJECT)
                    .grant_types(["authorization_code", "refresh_token"]),
            )
            .api_token(management_secret.as_str()),
    };
    let server = builder.start().await.map_err(|error| match error.is_not_loopback() {
        true => Failure::usage(error.to_string()),
        false => Failure::failed(error.to_string()),
    })?;
    // Only now, so that a server that does not start leaves nothing behind.
    std::fs::create_dir_all(directory).map_err(|error| {
        Failure::failed(format!("the directory {} cannot be made: {error}", directory.display()))
    })?;
    for (name, secret, is_new) in [
        ("client-secret", &secret, new_secret),
        (management, &management_secret, new_management_secret),
    ] {
        if is_new {
            write_private(&directory.join(name), secret.as_bytes())?;
        }
    }
    let authority = authority_for(options.provider, &server.url());
    replace(&configuration, &configuration_for(&authority, options.window))?;
    let shown = directory.display();
    let like = match options.provider {
        Vendor::Auth0 => "an Auth0-compatible server",
        Vendor::Entra => "a server like Microsoft Entra ID",
        Vendor::Okta => "a server like Okta",
        Vendor::Zitadel => "a server like Zitadel",
    };
    println!("{like} with {} nodes at {}", options.nodes, server.url());
    let place = if in_store { STORE } else { "client-secret" };
    println!("  client            {CLIENT}, its secret in {shown}/{place}");
    match options.provider {
        Vendor::Auth0 | Vendor::Entra => {
            println!("  management client {MANAGEMENT_CLIENT}, its secret in {shown}/{management}");
        }
        Vendor::Okta => println!("  API token         in {shown}/{management}"),
        Vendor::Zitadel => {
            println!("  refresh token     refresh-token-of-{CLIENT}, which gets a program tokens");
            println!("  management token  in {shown}/{management}");
        }
    }
    println!("  configuration     {shown}/keyswap.toml");
    if in_store {
        println!("start programs that follow the store, then rotate:");
    } else {
        println!(
            "put the present secret into the store, start programs that follow it, then rotate:"
        );
        println!(
            "  keyswap init --config {shown}/keyswap.toml --secret-file {shown}/client-secret"
        );
    }
    let gap = match options.provider {
        Vendor::Zitadel => " --accept-gap --reason TEXT",
        Vendor::Auth0 | Vendor::Entra | Vendor::Okta => "",
    };
    println!("  keyswap rotate --config {shown}/keyswap.toml{gap}");
    println!("ready; Ctrl-C ends it");
    crate::interruption().await;
    server.shutdown().await;
    Ok(())
}

/// The secret that programs prefer, if there is a store: a server that is started again goes on where
/// an earlier one ended.
async fn secret_in_store(directory: &Path) -> Result<Option<Zeroizing<String>>, Failure> {
    let store = match FileStore::open(directory.join(STORE), CLIENT) {
        Err(error) if error.is_not_found() => return Ok(None),
        opened => opened?,
    };
    let published = store.published().await?;
    Ok(published.map(|document| Zeroizing::new(document.list.preferred().expose().to_owned())))
}

/// The secret in this file, or one that is new.
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

/// Refuses to take the place of a configuration that somebody else wrote.
fn check_ours(configuration: &Path) -> Result<(), Failure> {
    match std::fs::read_to_string(configuration) {
        Ok(text) if !text.starts_with(FIRST_LINE) => Err(Failure::failed(format!(
            "{} was not written by `keyswap dev-server`, which would replace it: name another \
             --directory",
            configuration.display()
        ))),
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Failure::failed(format!(
            "{} cannot be read: {error}; name another --directory",
            configuration.display()
        ))),
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

fn authority_for(provider: Vendor, url: &str) -> String {
    match provider {
        Vendor::Auth0 => format!(
            r#"kind = "auth0"
url = "{url}"
audience = "{AUDIENCE}"
management_client_id = "{MANAGEMENT_CLIENT}"
management_secret = {{ file = "management-secret" }}"#
        ),
        Vendor::Entra => format!(
            r#"kind = "entra"
tenant = "{TENANT}"
login_url = "{url}"
graph_url = "{url}"
management_client_id = "{MANAGEMENT_CLIENT}"
management_secret = {{ file = "management-secret" }}"#
        ),
        Vendor::Okta => format!(
            r#"kind = "okta"
url = "{url}"
scope = "{SCOPE}"
api_token = {{ file = "api-token" }}"#
        ),
        Vendor::Zitadel => format!(
            r#"kind = "zitadel"
url = "{url}"
project_id = "{PROJECT}"
application_id = "{APPLICATION}"
token = {{ file = "token" }}"#
        ),
    }
}

fn configuration_for(authority: &str, window: Duration) -> String {
    let window = jiff::fmt::friendly::SpanPrinter::new().unsigned_duration_to_string(&window);
    format!(
        r#"{FIRST_LINE}
[client]
id = "{CLIENT}"

[authority]
{authority}

[store]
directory = "{STORE}"

[[application]]
name = "{CLIENT}"
instances = 1
uses_every = "1s"

[policy]
propagation_window = "{window}"
"#
    )
}
