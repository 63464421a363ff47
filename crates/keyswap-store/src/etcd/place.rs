//! One client's place in etcd, and reading from it.

use std::sync::Arc;
use std::time::Duration;

use etcd_client::{
    Client, Error, GetOptions, GetResponse, KeyValue, KvClient, LeaseKeepAliveStream, LeaseKeeper,
    Txn, TxnOpResponse,
};
use zeroize::Zeroizing;

use super::cluster::{Answered, Cluster};
use super::fault::{Failure, Fault};
use super::keys::{Keys, end_of};
use crate::{StoreError, StoreErrorKind};

/// An answer of etcd may be larger than what gRPC takes by default (4 MiB): a page of large records.
const LARGEST_ANSWER: usize = 256 << 20;
/// How many keys are read in one go.
const PAGE: i64 = 256;

#[derive(Clone)]
pub(super) struct Place {
    pub(super) cluster: Arc<Cluster>,
    pub(super) keys: Keys,
    pub(super) prefix: String,
    pub(super) client: String,
    pub(super) poll: Duration,
    pub(super) term: Duration,
}

/// What is under a key.
pub(super) struct Found {
    pub(super) key: Vec<u8>,
    pub(super) value: Zeroizing<Vec<u8>>,
    pub(super) create_revision: i64,
    pub(super) mod_revision: i64,
    pub(super) lease: i64,
}

impl From<KeyValue> for Found {
    fn from(found: KeyValue) -> Self {
        let (create_revision, mod_revision, lease) =
            (found.create_revision(), found.mod_revision(), found.lease());
        let (key, value) = found.into_key_value();
        Self { key, value: Zeroizing::new(value), create_revision, mod_revision, lease }
    }
}

/// What a transaction came to: its own revision when it was carried out, and what its gets found.
pub(super) struct Transacted {
    pub(super) succeeded: bool,
    pub(super) revision: i64,
    /// One for each get, in their order.
    pub(super) found: Vec<Option<Found>>,
    /// Whether the same one may have been carried out before, unseen.
    pub(super) after_unknown: bool,
}

impl Place {
    pub(super) fn describe(&self) -> String {
        let endpoints: Vec<_> = self.cluster.endpoints().collect();
        format!("the etcd store at {} (keys {})", endpoints.join(", "), self.prefix)
    }

    /// For messages about what is under one key.
    pub(super) fn at(&self, key: &str) -> String {
        let endpoints: Vec<_> = self.cluster.endpoints().collect();
        format!("{key} in etcd at {}", endpoints.join(", "))
    }

    pub(super) fn doing(&self, what: &str) -> String {
        format!("{what} of client {}", self.client)
    }

    pub(super) fn invalid(&self, key: &str, doing: &str) -> StoreError {
        StoreError::new(StoreErrorKind::Invalid, doing).at(self.at(key))
    }

    /// Reads a key, linearizably, or as it was at a revision. Also gives the revision of the whole store
    /// that it was read at.
    pub(super) async fn get(
        &self,
        key: &str,
        revision: Option<i64>,
    ) -> Result<(Option<Found>, i64), Failure> {
        let options = GetOptions::new().with_revision(revision.unwrap_or(0));
        let mut answer = self.range_once(key, &options).await?;
        let revision = header_revision(answer.header());
        Ok((answer.take_kvs().pop().map(Found::from), revision))
    }

    /// Reads all keys with this prefix, as they were at one moment, in the order of the keys.
    pub(super) async fn all(&self, prefix: &str) -> Result<Vec<Found>, Failure> {
        // What a page needs may be compacted away before it is read.
        for _ in 0..3 {
            match self.all_at_once(prefix).await {
                Err(Failure { fault: Fault::Compacted, .. }) => {}
                read => return read,
            }
        }
        self.all_at_once(prefix).await
    }

    async fn all_at_once(&self, prefix: &str) -> Result<Vec<Found>, Failure> {
        let end = end_of(prefix);
        let (mut from, mut revision, mut all) = (prefix.to_owned().into_bytes(), 0, Vec::new());
        loop {
            let options =
                GetOptions::new().with_range(end.as_str()).with_limit(PAGE).with_revision(revision);
            let mut page = self.range_once(from.clone(), &options).await?;
            if revision == 0 {
                revision = header_revision(page.header());
            }
            all.extend(page.take_kvs().into_iter().map(Found::from));
            match all.last() {
                Some(last) if page.more() => {
                    from.clone_from(&last.key);
                    from.push(0);
                }
                _ => return Ok(all),
            }
        }
    }

    async fn range_once(
        &self,
        key: impl Into<Vec<u8>>,
        options: &GetOptions,
    ) -> Result<GetResponse, Failure> {
        let key = key.into();
        let get = |client: Client| {
            let (key, options) = (key.clone(), options.clone());
            async move { kv(&client).get(key, Some(options)).await }
        };
        self.cluster.call(get).await.map(|answered| answered.answer)
    }

    /// Carries out a transaction whose gets, if any, are all in the branch that is taken.
    pub(super) async fn transact(&self, txn: Txn) -> Result<Transacted, Failure> {
        let send = |client: Client| {
            let txn = txn.clone();
            async move { kv(&client).txn(txn).await }
        };
        let Answered { answer, after_unknown } = self.cluster.call(send).await?;
        let found = answer.op_responses().into_iter().filter_map(|response| match response {
            TxnOpResponse::Get(mut got) => Some(got.take_kvs().pop().map(Found::from)),
            _ => None,
        });
        Ok(Transacted {
            succeeded: answer.succeeded(),
            revision: header_revision(answer.header()),
            found: found.collect(),
            after_unknown,
        })
    }
}

fn kv(client: &Client) -> KvClient {
    client.kv_client().max_decoding_message_size(LARGEST_ANSWER)
}

fn header_revision(header: Option<&etcd_client::ResponseHeader>) -> i64 {
    header.map_or(0, etcd_client::ResponseHeader::revision)
}

/// A lease of etcd's, which is given back when this is dropped.
pub(super) struct Granted {
    cluster: Arc<Cluster>,
    id: i64,
    /// Whether it was given back already.
    over: bool,
}

impl Granted {
    /// Takes one. The id is ours, so that an answer that is lost loses no lease.
    pub(super) async fn new(
        cluster: &Arc<Cluster>,
        term: Duration,
        doing: &str,
    ) -> Result<Result<Self, Failure>, StoreError> {
        // Positive, and not 0, which stands for one that etcd chooses.
        let id = i64::try_from(crate::report::random(doing)? >> 1).unwrap_or(1).max(1);
        let granted = Self { cluster: Arc::clone(cluster), id, over: false };
        let grant = |mut client: Client| async move {
            let options = etcd_client::LeaseGrantOptions::new().with_id(id);
            client.lease_grant(seconds(term), Some(options)).await
        };
        Ok(match cluster.call(grant).await {
            // One that was sent before may have been carried out.
            Ok(_) | Err(Failure { fault: Fault::LeaseExists, .. }) => Ok(granted),
            Err(failure) => Err(failure),
        })
    }

    pub(super) fn id(&self) -> i64 {
        self.id
    }

    /// Gives it back, and with it whatever is under it.
    pub(super) async fn revoke(mut self) -> Result<(), Failure> {
        self.over = true;
        revoke(&self.cluster, self.id).await
    }

    /// It has ended: there is nothing to give back.
    pub(super) fn forget(mut self) {
        self.over = true;
    }
}

impl Drop for Granted {
    fn drop(&mut self) {
        if self.over {
            return;
        }
        let (cluster, id) = (Arc::clone(&self.cluster), self.id);
        // If nobody answers, it ends by itself.
        self.cluster.thread().spawn(async move { revoke(&cluster, id).await });
    }
}

async fn revoke(cluster: &Cluster, id: i64) -> Result<(), Failure> {
    let revoke = |mut client: Client| async move { client.lease_revoke(id).await };
    match cluster.call(revoke).await {
        Ok(_) | Err(Failure { fault: Fault::NoLease, .. }) => Ok(()),
        Err(failure) => Err(failure),
    }
}

/// Keeps a lease once, and says when the request was sent that did so.
pub(super) async fn keep_alive(
    cluster: &Cluster,
    id: i64,
) -> Result<tokio::time::Instant, Failure> {
    KeptAlive::begin(cluster, id).await.map(|kept| kept.sent)
}

/// A lease that was kept, over a stream that stays open: to keep it again is a message each way, and no
/// request of its own.
pub(super) struct KeptAlive {
    /// When the request was sent that opened it.
    sent: tokio::time::Instant,
    keeper: LeaseKeeper,
    answers: LeaseKeepAliveStream,
}

impl KeptAlive {
    pub(super) async fn begin(cluster: &Cluster, id: i64) -> Result<Self, Failure> {
        let keep = |mut client: Client| async move {
            let sent = tokio::time::Instant::now();
            let (keeper, answers) = client.lease_keep_alive(id).await?;
            Ok::<_, Error>(Self { sent, keeper, answers })
        };
        cluster.call(keep).await.map(|answered| answered.answer)
    }

    /// The lease that is kept.
    pub(super) fn id(&self) -> i64 {
        self.keeper.id()
    }

    /// Keeps it once more. After a failure the stream is of no use: its node may be away, or another one
    /// may have to be asked.
    pub(super) async fn again(&mut self, cluster: &Cluster) -> Result<(), Failure> {
        let patience = cluster.patience();
        let asked = async {
            self.keeper.keep_alive().await?;
            self.answers.message().await
        };
        match tokio::time::timeout(patience, asked).await {
            Ok(Ok(Some(answer))) if answer.ttl() > 0 => Ok(()),
            Ok(Ok(Some(_))) => Err(Failure::new(Fault::NoLease, "lease not found")),
            Ok(Ok(None)) => Err(Failure::new(Fault::Unknown, "it ended the stream")),
            Ok(Err(error)) => Err(error.into()),
            Err(_) => Err(Failure::new(Fault::Unknown, format!("no answer within {patience:?}"))),
        }
    }
}

/// The time of a lease as etcd counts it.
pub(super) fn seconds(term: Duration) -> i64 {
    let whole = term.as_secs() + u64::from(term.subsec_nanos() > 0);
    i64::try_from(whole).unwrap_or(i64::MAX).max(1)
}
