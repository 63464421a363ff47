//! `keyswap seal`: writes what holds secrets anew, sealed with the identity that is configured, at once.

use clap::Args;

use crate::arguments::{Chosen, Configured};
use crate::configuration::Configuration;
use crate::exit::Failure;

#[derive(Args, Debug)]
pub(crate) struct Seal {
    #[command(flatten)]
    configured: Configured,
    #[command(flatten)]
    chosen: Chosen,
    /// The way back: write the list and the journal so that they can be read without the identity
    #[arg(long)]
    open: bool,
}

#[cfg(not(feature = "age"))]
pub(crate) async fn run(options: Seal) -> Result<(), Failure> {
    Configuration::load(&options.configured.config)?;
    Err(Failure::usage(
        "this keyswap was built without the feature `age`, and can seal nothing: install it with \
         `cargo install --path crates/keyswap-cli --features age`",
    ))
}

#[cfg(feature = "age")]
pub(crate) async fn run(options: Seal) -> Result<(), Failure> {
    let configuration = Configuration::load(&options.configured.config)?;
    let clients = configuration.chosen(&options.chosen)?;
    let Some(identity) = configuration.store.identity() else {
        return Err(Failure::usage(format!(
            "the configuration {} names no `identity` in [store], which a directory is sealed with: make one \
             (age-keygen -o FILE), give it to all programs, and name it there",
            options.configured.config.display()
        )));
    };
    let identity = identity.display().to_string();
    let one = async |client: &crate::configuration::OfClient<'_>| {
        sealed::one(client, &identity, options.open).await.map(|told| told + "\n")
    };
    let outcomes = keyswap_admin::several(1, &clients, one, |_| false).await;
    crate::outcomes::tell_each(&clients, outcomes, "", "are not done")
}

#[cfg(feature = "age")]
mod sealed {
    use std::path::{Path, PathBuf};

    use keyswap_admin::Status;
    use keyswap_core::Secret;
    use keyswap_store::{FileStore, SecretStore};
    use zeroize::Zeroizing;

    use crate::configuration::OfClient;
    use crate::exit::{Code, Failure};
    use crate::store::open_store;

    /// A file of ours is never larger.
    const LARGEST: u64 = 64 << 20;

    /// Says what was done.
    pub(super) async fn one(
        client: &OfClient<'_>,
        identity: &str,
        open: bool,
    ) -> Result<String, Failure> {
        let store = open_store(client)?;
        let Some(store) = store.file() else {
            return Err(Failure::usage("an `identity` seals a directory, and etcd is none"));
        };
        let (id, place) = (store.client().to_owned(), store.describe());
        let lease = store.acquire("keyswap seal").await?;
        let written = match open {
            true => store.unseal(&lease).await?,
            false => store.reseal(&lease).await?,
        };
        store.release(lease).await?;
        let names = |paths: &[PathBuf]| {
            let names = paths.iter().filter_map(|path| path.file_name());
            names.map(|name| name.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" and ")
        };
        let names = names(&written);
        if open {
            return Ok(match written.is_empty() {
                true => format!("client {id}, {place}: holds no secret yet"),
                false => format!(
                    "client {id}, {place}: {names} can be read without the identity now. Take `identity` out \
                     of [store], or the next write seals again"
                ),
            });
        }
        if written.is_empty() {
            return Ok(format!(
                "client {id}, {place}: holds no secret yet; what is written from now on is sealed"
            ));
        }
        let shown = still_shown(store).await?;
        if !shown.is_empty() {
            let paths: Vec<_> = shown.iter().map(|path| path.display().to_string()).collect();
            return Err(Failure::new(
                Code::Person,
                format!(
                    "client {id}, {place}: {names} are sealed, and a secret is shown still by {}, which keyswap \
                     does not write: remove it, wherever it came from",
                    paths.join(", ")
                ),
            ));
        }
        Ok(format!(
            "client {id}, {place}: {names} are sealed with {identity}. A program that lacks it keeps the list that \
             it has, and cannot start anew"
        ))
    }

    /// The files in and beside the client's directory that show one of its secrets.
    async fn still_shown(store: &FileStore) -> Result<Vec<PathBuf>, Failure> {
        let Status { record, published, .. } = Status::read(store).await?;
        let mut secrets: Vec<Secret> =
            published.iter().flat_map(|document| document.list.iter().cloned()).collect();
        if let Some(record) = record {
            secrets.push(record.old.clone());
            secrets.extend(record.new.secret().cloned());
            secrets.extend(record.retired.iter().map(|retired| retired.secret.clone()));
        }
        // As it is, and as it stands in JSON.
        let written = |secret: &Secret| {
            let escaped = serde_json::to_string(secret.expose()).unwrap_or_default();
            let escaped = Zeroizing::new(escaped);
            let inner = escaped.trim_matches('"').to_owned();
            [Zeroizing::new(secret.expose().to_owned()), Zeroizing::new(inner)]
        };
        let values: Vec<_> = secrets.iter().flat_map(written).collect();
        let directory = store.client_directory();
        let mut files = Vec::new();
        if let Some(root) = directory.parent() {
            add_files(root, false, &mut files);
        }
        add_files(directory, true, &mut files);
        files.retain(|path| shows(path, &values));
        Ok(files)
    }

    fn add_files(directory: &Path, below: bool, files: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
            match entry.file_type() {
                Ok(kind) if kind.is_file() => files.push(entry.path()),
                Ok(kind) if kind.is_dir() && below => add_files(&entry.path(), true, files),
                _ => {}
            }
        }
    }

    fn shows(path: &Path, values: &[Zeroizing<String>]) -> bool {
        let small = std::fs::metadata(path).is_ok_and(|metadata| metadata.len() <= LARGEST);
        let text = if small { std::fs::read(path) } else { Ok(Vec::new()) };
        let text = Zeroizing::new(text.unwrap_or_default());
        values.iter().any(|value| {
            !value.is_empty() && text.windows(value.len()).any(|part| part == value.as_bytes())
        })
    }
}
