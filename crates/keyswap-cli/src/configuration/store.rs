//! `[store]`: where it is, how long a lease lasts, and what it is sealed with.

use std::path::{Path, PathBuf};
use std::time::Duration;

use keyswap_store::FileStore;
use serde::Deserialize;

use super::aws::{self, AwsTable};
use super::etcd::{self, EtcdTable};
use crate::exit::Failure;
use crate::secret_source::SecretSource;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StoreTable {
    /// For the processes of one host; or else there is `etcd`.
    pub(crate) directory: Option<PathBuf>,
    pub(crate) etcd: Option<EtcdTable>,
    /// Beside one of the two.
    pub(crate) aws: Option<AwsTable>,
    #[serde(default, with = "jiff::fmt::serde::unsigned_duration::friendly::compact::optional")]
    pub(crate) lease: Option<Duration>,
    identity: Option<PathBuf>,
    identity_passphrase: Option<SecretSource>,
    #[cfg(feature = "age")]
    #[serde(skip)]
    seal: std::sync::OnceLock<keyswap_store::Seal>,
}

impl StoreTable {
    pub(super) fn relative_to(&mut self, directory: &Path) {
        self.directory = self.directory.take().map(|store| directory.join(store));
        if let Some(etcd) = &mut self.etcd {
            etcd.relative_to(directory);
        }
        self.identity = self.identity.take().map(|identity| directory.join(identity));
        let passphrase = self.identity_passphrase.take();
        self.identity_passphrase = passphrase.map(|source| source.relative_to(directory));
    }

    pub(super) fn check(&self, of_clients: bool, several: bool) -> Result<(), &'static str> {
        etcd::check(self, of_clients)?;
        if let Some(aws) = &self.aws {
            aws::check(aws, several)?;
        }
        if self.etcd.is_some() && self.identity.is_some() {
            return Err(
                "an `identity` seals a `directory`, and [store.etcd] is none: leave it out",
            );
        }
        match (&self.identity, &self.identity_passphrase) {
            (Some(_), _) if !cfg!(feature = "age") => {
                Err("an `identity` in [store] needs a keyswap with the feature `age`: \
                 cargo install --path crates/keyswap-cli --features age")
            }
            (Some(_), Some(SecretSource::Store(_) | SecretSource::OwnStore)) => {
                Err("an `identity_passphrase` is { file = \"PATH\" } or { env = \"NAME\" }")
            }
            (None, Some(_)) => {
                Err("an `identity_passphrase` is that of an `identity`, which is missing")
            }
            _ => Ok(()),
        }
    }

    /// The file that the directory is sealed with.
    pub(crate) fn identity(&self) -> Option<&Path> {
        self.identity.as_deref()
    }

    /// The same store, sealed with the identity that is configured.
    #[cfg(not(feature = "age"))]
    pub(crate) fn sealed(&self, store: FileStore) -> Result<FileStore, Failure> {
        Ok(store)
    }

    /// The same store, sealed with the identity that is configured, which is read once.
    #[cfg(feature = "age")]
    pub(crate) fn sealed(&self, store: FileStore) -> Result<FileStore, Failure> {
        use keyswap_store::Seal;
        let Some(identity) = &self.identity else { return Ok(store) };
        if let Some(seal) = self.seal.get() {
            return Ok(store.sealed(seal.clone()));
        }
        let seal = match &self.identity_passphrase {
            Some(passphrase) => {
                Seal::protected_identity_file(identity, passphrase.read()?.expose())?
            }
            None => Seal::identity_file(identity)?,
        };
        Ok(store.sealed(self.seal.get_or_init(|| seal).clone()))
    }
}
