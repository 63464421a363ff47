//! `keyswap init`: a commented configuration, and the present secret in the store.

use std::io::ErrorKind;
use std::path::PathBuf;

use clap::Args;
use keyswap_core::SecretList;
use keyswap_store::SecretStore;

use super::write_private;
use crate::arguments::Configured;
use crate::authority::{AuthorityTable, registration_token};
use crate::configuration::{CLIENT_PLACEHOLDER, Configuration, OfClient, template};
use crate::exit::Failure;
use crate::secret_source::SecretSource;
use crate::store::{ConfiguredStore, Missing};

#[derive(Args, Debug)]
pub(crate) struct Init {
    #[command(flatten)]
    configured: Configured,
    /// The client whose secret is rotated
    #[arg(long, value_name = "ID")]
    client_id: Option<String>,
    /// Read the present secret from this file; one line end behind it is left out
    #[arg(long, value_name = "FILE", group = "secret")]
    secret_file: Option<PathBuf>,
    /// Read the present secret from standard input
    #[arg(long, group = "secret")]
    secret_stdin: bool,
    /// Read the present secret from this environment variable
    #[arg(long, value_name = "NAME", group = "secret")]
    secret_env: Option<String>,
    /// Put the client's registration access token from this file into the store, in place of the one that is
    /// there (kind = "registration")
    #[arg(long, value_name = "FILE", conflicts_with = "secret")]
    registration_token_file: Option<PathBuf>,
}

pub(crate) async fn run(options: Init) -> Result<(), Failure> {
    let path = &options.configured.config;
    if let Some(file) = &options.registration_token_file {
        return store_registration_token(&options, SecretSource::File(file.clone())).await;
    }
    // Read before anything is written, so that a mistaken source leaves nothing behind.
    let secret = source(&options).map(|source| source.read()).transpose()?;
    match std::fs::metadata(path) {
        Ok(_) if secret.is_none() => {
            return Err(Failure::usage(format!(
                "{} is there already and stays as it is. To put the client's present secret into the \
                 store, name its source: --secret-file, --secret-stdin or --secret-env",
                path.display()
            )));
        }
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => {
            if secret.is_some() && options.client_id.is_none() {
                return Err(Failure::usage(format!(
                    "{} is not there, so it is not known whose secret this is: name the client with \
                     --client-id, or an existing configuration with --config",
                    path.display()
                )));
            }
            write_private(path, template(options.client_id.as_deref()).as_bytes())?;
            println!("wrote {}: fill in what is specific to you", path.display());
        }
        Err(error) => {
            return Err(Failure::failed(format!("{} cannot be read: {error}", path.display())));
        }
    }
    let Some(secret) = secret else { return Ok(()) };
    let configuration = Configuration::load(path)?;
    let client = client_of(&configuration, &options)?;
    if client.id() == CLIENT_PLACEHOLDER {
        configuration.check_filled_in()?;
    }
    let store = ConfiguredStore::open(&client, Missing::Made)?;
    let list = SecretList::new([secret]).map_err(|error| Failure::usage(error.to_string()))?;
    let revision = store.import(&list).await?;
    // A store that had it already, and was to put it into AWS as well, keeps its id.
    let published = store.published().await?.map(|document| document.list).unwrap_or(list);
    let id = published.preferred().id();
    println!(
        "{}: the present secret of client {} is {id} (revision {revision})",
        store.describe(),
        store.client()
    );
    Ok(())
}

/// Whose secret it is.
fn client_of<'a>(
    configuration: &'a Configuration,
    options: &Init,
) -> Result<OfClient<'a>, Failure> {
    match (configuration.only(), &options.client_id) {
        (Ok(only), Some(client_id)) if client_id != only.id() => Err(Failure::usage(format!(
            "{} names the client {}, and --client-id says {client_id}: correct one of them",
            options.configured.config.display(),
            only.id()
        ))),
        (Ok(only), _) => Ok(only),
        (Err(_), Some(client_id)) => configuration.client(client_id),
        (Err(error), None) => Err(error.followed_by(": say with --client-id whose secret this is")),
    }
}

/// The token with which the client's registration is changed (RFC 7592), also in place of one that got lost.
async fn store_registration_token(options: &Init, source: SecretSource) -> Result<(), Failure> {
    let configuration = Configuration::load(&options.configured.config)?;
    let client = client_of(&configuration, options)?;
    if !matches!(configuration.authority, AuthorityTable::Registration(_)) {
        return Err(Failure::usage(
            "--registration-token-file is for an authority of kind = \"registration\", and the configuration \
             names another one",
        ));
    }
    let token = source.read()?;
    registration_token(&client, Missing::Made)?.put(token.expose()).await?;
    println!("the registration access token of client {} is in the store", client.id());
    Ok(())
}

fn source(options: &Init) -> Option<SecretSource> {
    if options.secret_stdin {
        return Some(SecretSource::StandardInput);
    }
    let file = options.secret_file.clone().map(SecretSource::File);
    file.or_else(|| options.secret_env.clone().map(SecretSource::Environment))
}
