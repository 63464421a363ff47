//! `keyswap dev-server`: an authorization server on loopback, with everything that is needed to
//! rotate a secret at it.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use keyswap_core::Generator;
use keyswap_store::{FileStore, SecretStore};
use keyswap_testkit::{AuthorizationServer, Client};
use zeroize::Zeroizing;

use super::write_private;
use crate::arguments::duration;
use crate::embedded::{Asks, Management, Vendor};
use crate::exit::{Code, Failure};
use crate::in_words::exactly;

const CLIENT: &str = "billing";
/// Where the configuration that is written puts the store.
const STORE: &str = "keyswap-store";
const FIRST_LINE: &str = "# Written by `keyswap dev-server`, for that server.";

const EXAMPLE: &str = "\
Example:
  keyswap dev-server --provider okta --directory keyswap-dev

It says which commands rotate the secret of its client. Ctrl-C ends it; started again in the same
directory, it goes on where it was.";

#[derive(Args, Debug)]
#[command(after_help = EXAMPLE)]
pub(crate) struct DevServer {
    /// Whose server it is like
    #[arg(long, value_parser = Vendor::parser(), default_value = "auth0", value_name = "VENDOR")]
    provider: &'static Vendor,
    /// Where to listen: loopback only; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:4400")]
    listen: SocketAddr,
    /// Where to put the client's secret, that of the management requests and a keyswap.toml to go
    /// with them
    #[arg(long, default_value = "keyswap-dev")]
    directory: PathBuf,
    /// Nodes that take up a change one after the other
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=64))]
    nodes: u32,
    /// How long the nodes take to agree after a change
    #[arg(long, default_value = "3s", value_parser = duration)]
    window: Duration,
}

/// A secret of the server, and where a reader finds it.
struct Known {
    /// Empty where the server has none.
    value: Zeroizing<String>,
    /// The file in the directory, or the store.
    place: &'static str,
    /// It is in the file only once the server runs.
    is_new: bool,
}

impl Known {
    /// In this place of the store, where a server that is started again goes on; else in this file, or new.
    async fn at(
        directory: &Path,
        place: Option<&str>,
        file: &'static str,
    ) -> Result<Self, Failure> {
        let stored = match place {
            Some(place) => secret_in_store(directory, place).await?,
            None => None,
        };
        if let Some(value) = stored {
            return Ok(Self { value, place: STORE, is_new: false });
        }
        let (value, is_new) = secret_in(directory, file)?;
        Ok(Self { value, place: file, is_new })
    }

    async fn of_management(directory: &Path, of: Option<&Management>) -> Result<Self, Failure> {
        let Some(Management { file, kept, .. }) = of else {
            return Ok(Self { value: Zeroizing::default(), place: "", is_new: false });
        };
        let place = kept.as_ref().map(|kept| (kept.place)(CLIENT));
        Self::at(directory, place.as_deref(), file).await
    }

    fn is_in_store(&self) -> bool {
        self.place == STORE
    }
}

pub(crate) async fn run(options: DevServer) -> Result<(), Failure> {
    let (directory, vendor) = (&options.directory, options.provider);
    let configuration = directory.join("keyswap.toml");
    check_ours(&configuration)?;
    let secret = Known::at(directory, Some(CLIENT), "client-secret").await?;
    let management = Known::of_management(directory, vendor.management.as_ref()).await?;
    let builder = AuthorizationServer::builder()
        .nodes(options.nodes as usize)
        .propagation_window(options.window)
        .bind(options.listen);
    let client = Client::new(CLIENT, secret.value.as_str());
    let asks = Asks { client: CLIENT.to_owned(), ..Asks::default() };
    let builder = (vendor.serve)(builder, client, &asks, &management.value);
    let server = builder.start().await.map_err(|error| match error.is_not_loopback() {
        true => Failure::usage(error.to_string()),
        false => Failure::failed(error.to_string()),
    })?;
    // Only now, so that a server that does not start leaves nothing behind.
    std::fs::create_dir_all(directory).map_err(|error| {
        Failure::failed(format!("the directory {} cannot be made: {error}", directory.display()))
    })?;
    for known in [&secret, &management].into_iter().filter(|known| known.is_new) {
        write_private(&directory.join(known.place), known.value.as_bytes())?;
    }
    let authority = (vendor.authority)(&server.url(), &asks);
    replace(&configuration, &configuration_for(&authority, options.window))?;
    println!("{} with {} nodes at {}", vendor.like, options.nodes, server.url());
    print!("{}", what_there_is(vendor, directory, (&secret, &management)));
    let interruption = crate::interruption();
    println!("ready; Ctrl-C ends it");
    interruption.await;
    server.shutdown().await;
    Ok(())
}

/// What is where, and what to do next.
fn what_there_is(
    vendor: &Vendor,
    directory: &Path,
    (secret, management): (&Known, &Known),
) -> String {
    let shown = directory.display();
    let mut lines = Vec::new();
    let mut line = |label: &str, text: String| lines.push(format!("  {label:<18}{text}"));
    line("client", format!("{CLIENT}, its secret in {shown}/{}", secret.place));
    if vendor.refresh_token {
        line("refresh token", format!("refresh-token-of-{CLIENT}, which gets a program tokens"));
    }
    let mut not_stored = vec![("--secret-file", secret)];
    if let Some(Management { label, what, kept, .. }) = &vendor.management {
        line(label, format!("{what}in {shown}/{}", management.place));
        not_stored.extend(kept.as_ref().map(|kept| (kept.option, management)));
    }
    line("configuration", format!("{shown}/keyswap.toml"));
    not_stored.retain(|(_, known)| !known.is_in_store());
    lines.push(match not_stored.is_empty() {
        true => "start programs that follow the store, then rotate:".to_owned(),
        false => {
            "put the present secret into the store, start programs that follow it, then rotate:"
                .to_owned()
        }
    });
    let mut command = |command: &str, rest: String| {
        lines.push(format!("  keyswap {command} --config {shown}/keyswap.toml{rest}"));
    };
    for (option, known) in not_stored {
        command("init", format!(" {option} {shown}/{}", known.place));
    }
    let gap = if vendor.gap { " --accept-gap --reason TEXT" } else { "" };
    command("rotate", gap.to_owned());
    lines.join("\n") + "\n"
}

/// The secret that programs prefer, or what else stands in this place of the store, if there is one.
async fn secret_in_store(
    directory: &Path,
    place: &str,
) -> Result<Option<Zeroizing<String>>, Failure> {
    let store = match FileStore::open(directory.join(STORE), place) {
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

fn configuration_for(authority: &str, window: Duration) -> String {
    let window = exactly(window);
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
