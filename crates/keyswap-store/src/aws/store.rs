//! Another store, whose list is in AWS Secrets Manager as well.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use keyswap_core::{Revision, SecretList};
use tokio::sync::Mutex;

use super::AwsSecret;
use super::in_step::When;
use super::secret::Found;
use super::stages::plan;
use crate::{Lease, SecretStore, StoreError};

/// Another store, whose published list is in AWS Secrets Manager as well: a version a secret, under the labels that
/// other tools know. For the rotator. With the feature `aws`.
///
/// | list | `AWSCURRENT` | `AWSPENDING` | `AWSPREVIOUS` |
/// | --- | --- | --- | --- |
/// | \[old\] | old | | |
/// | \[old, new\], before new was the first | old | new | |
/// | \[new, old\] | new | | old |
/// | \[new\] | new | | |
///
/// The store that it is made of, a [`FileStore`](crate::FileStore) or an [`EtcdStore`](crate::EtcdStore), has
/// everything: the list with its revision, journal, lease, reports, hold and history, none of which Secrets Manager
/// knows. Programs follow that store, or the secret ([`Follow::start_aws`](crate::Follow::start_aws)), or read
/// `AWSCURRENT` by themselves.
///
/// A publication moves the labels first, each by a call that AWS refuses if the label is elsewhere by then, and then
/// publishes in the other store. Killed between any two calls, the next publication goes on from there; until then
/// `AWSCURRENT` is the first secret of the one list or of the other, and each secret that is in both has a label. Each
/// call is made with a lease that outlasts it. What somebody else put there is never overwritten: a value under
/// `AWSCURRENT` that is in neither list, an `AWSPENDING` of another tool, a rotation by a function of AWS's stop the
/// rotation with an error that says what to do.
///
/// `docs/stores/aws.md` has every list with its labels, what is lost by this and the policies that are needed.
///
/// ```no_run
/// use keyswap_store::{AwsSecret, AwsStore, FileStore};
///
/// # fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let store = FileStore::open("/var/lib/keyswap", "billing")?;
/// let store = AwsStore::new(store, AwsSecret::named("keyswap/{client}").region("eu-west-1"));
/// # drop(store);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct AwsStore<S> {
    pub(super) store: S,
    pub(super) secret: AwsSecret,
    writing: Arc<Mutex<()>>,
}

impl<S: SecretStore> AwsStore<S> {
    /// This store, with its list in this secret as well. `{client}` in the secret's name stands for
    /// [the client](AwsSecret::of_client).
    pub fn new(store: S, secret: AwsSecret) -> Self {
        let secret = secret.of_client(store.client());
        Self { store, secret, writing: Arc::default() }
    }

    /// The store beside it, which holds everything else.
    pub fn store(&self) -> &S {
        &self.store
    }

    /// The secret in Secrets Manager.
    pub fn secret(&self) -> &AwsSecret {
        &self.secret
    }

    /// Whether the labels are those of the published list. If not, the next publication moves them.
    ///
    /// # Errors
    ///
    /// When AWS cannot be asked, and when somebody else put something there.
    pub async fn is_in_step(&self) -> Result<bool, StoreError> {
        let doing = self.doing("look at the labels");
        let Some(published) = self.store.published().await? else { return Ok(false) };
        let found = self.look(&doing).await?;
        self.check_foreign(&found, &[&published.list], When::Between, &doing).await?;
        Ok(plan(&found.stages, &self.versions(&published.list)).is_empty())
    }

    pub(super) fn doing(&self, what: &str) -> String {
        format!("{what} of client {}", self.client())
    }

    /// Whether this list may be imported where this was found in AWS.
    async fn check_to_import(
        &self,
        found: &Found,
        list: &SecretList,
        doing: &str,
    ) -> Result<(), StoreError> {
        self.check_foreign(found, &[list], When::Import, doing).await?;
        self.verify(found, list, doing).await
    }
}

impl<S: SecretStore> SecretStore for AwsStore<S> {
    type Watch = S::Watch;

    crate::forward!(self => self.store; client, published, watch, journal, save_journal, renew, release, register, report, unregister, instances, hold, set_hold, append_history, history, verify_history);

    fn describe(&self) -> String {
        format!("{}, with {}", self.store.describe(), self.secret.describe())
    }

    /// As every store does it. A secret that is not there is made; one that is there must hold this value, or none.
    /// Where the other store has this very list already and AWS does not, it is put into AWS.
    async fn import(&self, list: &SecretList) -> Result<Revision, StoreError> {
        let doing = self.doing("import the list");
        let _writing = self.writing.lock().await;
        let published = self.store.published().await?;
        let found = self.secret.look(&doing).await?;
        if let Some(found) = &found {
            self.check_usable(found, &doing)?;
        }
        if let Some(published) = published {
            let in_step = found.is_some_and(|found| {
                plan(&found.stages, &self.versions(&published.list)).is_empty()
            });
            if in_step || published.list != *list {
                return self.store.import(list).await;
            }
            self.bring_in(&published.list, &doing).await?;
            return Ok(published.revision);
        }
        if let Some(found) = &found
            && let Err(error) = self.check_to_import(found, list, &doing).await
        {
            // What is there may be the list of another import, which came between the two looks.
            return match self.store.published().await? {
                Some(_) => self.store.import(list).await,
                None => Err(error),
            };
        }
        let revision = self.store.import(list).await?;
        self.bring_in(list, &doing).await?;
        Ok(revision)
    }

    async fn publish(
        &self,
        lease: &Lease,
        expected: Revision,
        list: &SecretList,
        attest_every: Option<Duration>,
    ) -> Result<Revision, StoreError> {
        let doing = self.doing("publish the list");
        let _writing = self.writing.lock().await;
        let present = self.store.published().await?;
        // What it refuses, it says by itself.
        if let Some(present) = present.filter(|present| present.revision == expected) {
            self.store.renew(lease).await?;
            self.keep_in_step(lease, &present.list, list, &doing).await?;
        }
        self.store.publish(lease, expected, list, attest_every).await
    }

    /// As every store does it. Where a list is published, AWS is looked at as well, so that what is wrong there stops a
    /// rotation before it begins.
    async fn acquire(&self, holder: &str) -> Result<Lease, StoreError> {
        let doing = self.doing("take the lease");
        let lease = self.store.acquire(holder).await?;
        let Some(published) = self.store.published().await? else { return Ok(lease) };
        let found = self.look(&doing).await?;
        self.check_foreign(&found, &[&published.list], When::Between, &doing).await?;
        Ok(lease)
    }
}

impl<S: SecretStore> fmt::Debug for AwsStore<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AwsStore")
            .field("place", &self.describe())
            .field("client", &self.client())
            .finish_non_exhaustive()
    }
}
