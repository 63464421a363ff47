//! The store that a configuration names.

use std::time::Duration;

use keyswap_core::{Revision, SecretDocument, SecretList};
#[cfg(feature = "aws")]
use keyswap_store::{AwsSecret, AwsStore};
#[cfg(feature = "etcd")]
use keyswap_store::{EtcdStore, EtcdWatch};
use keyswap_store::{
    FileStore, FileWatch, HistoryEntry, HistoryHead, Hold, Instance, InstanceReport, Lease,
    Registration, SecretStore, StoreError, Watch,
};
use zeroize::Zeroizing;

use crate::configuration::{AwsTable, EtcdTable, OfClient, StoreTable};
use crate::exit::Failure;

/// One of the stores that a configuration can name.
#[derive(Clone, Debug)]
pub(crate) enum ConfiguredStore {
    File(FileStore),
    #[cfg(feature = "etcd")]
    Etcd(EtcdStore),
    #[cfg(feature = "aws")]
    AwsAndFile(AwsStore<FileStore>),
    #[cfg(all(feature = "aws", feature = "etcd"))]
    AwsAndEtcd(AwsStore<EtcdStore>),
}

/// Whether a directory that is missing is made.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Missing {
    Made,
    AnError,
}

/// The client's place in the store that a configuration names, which is there already.
pub(crate) fn open_store(client: &OfClient<'_>) -> Result<ConfiguredStore, Failure> {
    ConfiguredStore::open(client, Missing::AnError)
}

impl ConfiguredStore {
    /// The client's place in the store of its configuration.
    pub(crate) fn open(client: &OfClient<'_>, missing: Missing) -> Result<Self, Failure> {
        Self::at(&client.configuration.store, client.directory(), client.id(), missing)
    }

    /// The place of something of this name beside the client, which no program reads: so it is not in AWS.
    pub(crate) fn beside(
        client: &OfClient<'_>,
        name: &str,
        missing: Missing,
    ) -> Result<Self, Failure> {
        let table = &client.configuration.store;
        match &table.etcd {
            Some(etcd) => open_etcd(etcd, name, table.lease),
            None => Self::open_directory(table, client.directory(), name, missing),
        }
    }

    /// The place of a client in the store of this table; in this directory, if that is what it is.
    pub(crate) fn at(
        table: &StoreTable,
        directory: Option<&std::path::Path>,
        client: &str,
        missing: Missing,
    ) -> Result<Self, Failure> {
        let store = match &table.etcd {
            Some(etcd) => open_etcd(etcd, client, table.lease)?,
            None => Self::open_directory(table, directory, client, missing)?,
        };
        match &table.aws {
            Some(aws) => store.with_aws(aws),
            None => Ok(store),
        }
    }

    fn open_directory(
        table: &StoreTable,
        directory: Option<&std::path::Path>,
        client: &str,
        missing: Missing,
    ) -> Result<Self, Failure> {
        let directory = directory.unwrap_or(std::path::Path::new(""));
        let opened = match missing {
            Missing::Made => FileStore::create(directory, client),
            Missing::AnError => FileStore::open(directory, client),
        };
        let store = opened.map_err(|error| {
            let way_out = match error.is_not_found() && missing == Missing::AnError {
                true => {
                    ". `keyswap init` makes it when it is given the present secret (--secret-file)"
                }
                false => "",
            };
            Failure::from(error).followed_by(way_out)
        })?;
        let store = match table.lease {
            Some(lease) => store.lease(lease),
            None => store,
        };
        Ok(Self::File(table.sealed(store)?))
    }

    /// The same, with the list in AWS Secrets Manager as well.
    #[cfg(feature = "aws")]
    fn with_aws(self, table: &AwsTable) -> Result<Self, Failure> {
        let connected = table.connected.get_or_init(|| {
            let mut secret = AwsSecret::named(&table.secret);
            if let Some(region) = &table.region {
                secret = secret.region(region);
            }
            if let Some(endpoint) = &table.endpoint {
                secret = secret.endpoint(endpoint.as_str());
            }
            secret
        });
        let secret = connected.clone();
        Ok(match self {
            Self::File(store) => Self::AwsAndFile(AwsStore::new(store, secret)),
            #[cfg(feature = "etcd")]
            Self::Etcd(store) => Self::AwsAndEtcd(AwsStore::new(store, secret)),
            other => other,
        })
    }

    #[cfg(not(feature = "aws"))]
    fn with_aws(self, _: &AwsTable) -> Result<Self, Failure> {
        Err(Failure::usage(
            "the configuration names AWS Secrets Manager, and this keyswap was built without: install it with \
             `cargo install --path crates/keyswap-cli --features aws`",
        ))
    }

    /// The directory in which it is, or of which it keeps the list in step.
    pub(crate) fn file(&self) -> Option<&FileStore> {
        match self {
            Self::File(store) => Some(store),
            #[cfg(feature = "aws")]
            Self::AwsAndFile(store) => Some(store.store()),
            #[cfg(feature = "etcd")]
            Self::Etcd(_) => None,
            #[cfg(all(feature = "aws", feature = "etcd"))]
            Self::AwsAndEtcd(_) => None,
        }
    }

    /// The files with secrets that are not sealed, where a store can be.
    pub(crate) async fn in_the_open(&self) -> Result<Vec<std::path::PathBuf>, StoreError> {
        match self.file() {
            Some(store) => store.in_the_open().await,
            None => Ok(Vec::new()),
        }
    }

    /// Whether the list is in AWS as it is published; `None` where it is not kept there.
    pub(crate) async fn is_in_step(&self) -> Option<Result<bool, StoreError>> {
        match self {
            #[cfg(feature = "aws")]
            Self::AwsAndFile(store) => Some(store.is_in_step().await),
            #[cfg(all(feature = "aws", feature = "etcd"))]
            Self::AwsAndEtcd(store) => Some(store.is_in_step().await),
            _ => None,
        }
    }
}

#[cfg(feature = "etcd")]
fn open_etcd(
    table: &EtcdTable,
    client: &str,
    lease: Option<Duration>,
) -> Result<ConfiguredStore, Failure> {
    let read = |field: &str, path: &std::path::PathBuf| {
        std::fs::read(path).map_err(|error| {
            Failure::usage(format!(
                "`{field}` of [store.etcd], {}, cannot be read: {error}; correct the path, or let this user read it",
                path.display()
            ))
        })
    };
    let mut builder = EtcdStore::builder(table.endpoints.iter().cloned(), client);
    if let (Some(user), Some(password)) = (&table.user, &table.password) {
        builder = builder.user(user, password.read()?.expose().to_owned());
    }
    if let Some(path) = &table.certificate_authority {
        builder = builder.certificate_authority(read("certificate_authority", path)?);
    }
    if let (Some(certificate), Some(key)) = (&table.certificate, &table.key) {
        builder = builder.client_certificate(read("certificate", certificate)?, read("key", key)?);
    }
    if let Some(prefix) = &table.prefix {
        builder = builder.prefix(prefix);
    }
    if let Some(lease) = lease {
        builder = builder.lease(lease);
    }
    Ok(ConfiguredStore::Etcd(builder.build()?))
}

#[cfg(not(feature = "etcd"))]
fn open_etcd(_: &EtcdTable, _: &str, _: Option<Duration>) -> Result<ConfiguredStore, Failure> {
    Err(Failure::usage(
        "the configuration names an etcd, and this keyswap was built without: install it with \
         `cargo install --path crates/keyswap-cli --features etcd`, which needs protoc",
    ))
}

/// Watches the list in one of them.
#[derive(Debug)]
pub(crate) enum ConfiguredWatch {
    File(FileWatch),
    #[cfg(feature = "etcd")]
    Etcd(EtcdWatch),
}

impl Watch for ConfiguredWatch {
    async fn changed(&mut self) {
        match self {
            Self::File(watch) => watch.changed().await,
            #[cfg(feature = "etcd")]
            Self::Etcd(watch) => watch.changed().await,
        }
    }

    fn list(&mut self) -> Option<SecretDocument> {
        match self {
            Self::File(watch) => watch.list(),
            #[cfg(feature = "etcd")]
            Self::Etcd(watch) => watch.list(),
        }
    }
}

/// The same of whichever it is.
macro_rules! of_each {
    ($self:ident, $store:ident => $act:expr) => {
        match $self {
            Self::File($store) => $act,
            #[cfg(feature = "etcd")]
            Self::Etcd($store) => $act,
            #[cfg(feature = "aws")]
            Self::AwsAndFile($store) => $act,
            #[cfg(all(feature = "aws", feature = "etcd"))]
            Self::AwsAndEtcd($store) => $act,
        }
    };
}

impl SecretStore for ConfiguredStore {
    type Watch = ConfiguredWatch;

    fn client(&self) -> &str {
        of_each!(self, store => store.client())
    }

    fn describe(&self) -> String {
        of_each!(self, store => store.describe())
    }

    async fn published(&self) -> Result<Option<SecretDocument>, StoreError> {
        of_each!(self, store => store.published().await)
    }

    async fn import(&self, list: &SecretList) -> Result<Revision, StoreError> {
        of_each!(self, store => store.import(list).await)
    }

    async fn publish(
        &self,
        lease: &Lease,
        expected: Revision,
        list: &SecretList,
        attest_every: Option<Duration>,
    ) -> Result<Revision, StoreError> {
        of_each!(self, store => store.publish(lease, expected, list, attest_every).await)
    }

    async fn watch(&self) -> Result<ConfiguredWatch, StoreError> {
        Ok(match self {
            Self::File(store) => ConfiguredWatch::File(store.watch().await?),
            #[cfg(feature = "etcd")]
            Self::Etcd(store) => ConfiguredWatch::Etcd(store.watch().await?),
            #[cfg(feature = "aws")]
            Self::AwsAndFile(store) => ConfiguredWatch::File(store.watch().await?),
            #[cfg(all(feature = "aws", feature = "etcd"))]
            Self::AwsAndEtcd(store) => ConfiguredWatch::Etcd(store.watch().await?),
        })
    }

    async fn journal(&self) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        of_each!(self, store => store.journal().await)
    }

    async fn save_journal(&self, lease: &Lease, document: &[u8]) -> Result<(), StoreError> {
        of_each!(self, store => store.save_journal(lease, document).await)
    }

    async fn acquire(&self, holder: &str) -> Result<Lease, StoreError> {
        of_each!(self, store => store.acquire(holder).await)
    }

    async fn renew(&self, lease: &Lease) -> Result<Duration, StoreError> {
        of_each!(self, store => store.renew(lease).await)
    }

    async fn release(&self, lease: Lease) -> Result<(), StoreError> {
        of_each!(self, store => store.release(lease).await)
    }

    async fn register(&self, report: &InstanceReport) -> Result<Registration, StoreError> {
        of_each!(self, store => store.register(report).await)
    }

    async fn report(
        &self,
        registration: &Registration,
        report: &InstanceReport,
    ) -> Result<(), StoreError> {
        of_each!(self, store => store.report(registration, report).await)
    }

    async fn unregister(&self, registration: Registration) -> Result<(), StoreError> {
        of_each!(self, store => store.unregister(registration).await)
    }

    async fn instances(&self) -> Result<Vec<Instance>, StoreError> {
        of_each!(self, store => store.instances().await)
    }

    async fn hold(&self) -> Result<Option<Hold>, StoreError> {
        of_each!(self, store => store.hold().await)
    }

    async fn set_hold(&self, hold: Option<&Hold>) -> Result<(), StoreError> {
        of_each!(self, store => store.set_hold(hold).await)
    }

    async fn append_history(
        &self,
        lease: &Lease,
        record: &serde_json::Value,
    ) -> Result<HistoryHead, StoreError> {
        of_each!(self, store => store.append_history(lease, record).await)
    }

    async fn history(&self) -> Result<Vec<HistoryEntry>, StoreError> {
        of_each!(self, store => store.history().await)
    }

    async fn verify_history(&self) -> Result<Vec<HistoryEntry>, StoreError> {
        of_each!(self, store => store.verify_history().await)
    }
}
