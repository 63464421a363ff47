//! How the labels follow the published list: what is there is looked at, what is foreign is refused, and the calls are
//! made one by one.

use std::time::Duration;

use keyswap_core::{Secret, SecretList};
use tokio::time::{Instant, sleep};

use super::fault::{Failure, FailureKind};
use super::secret::Found;
use super::settings::CALL;
use super::stages::{Act, Foreign, is_own, plan, version};
use super::store::AwsStore;
use crate::{Lease, SecretStore, StoreError, StoreErrorKind};

/// How often the labels are looked at anew, since somebody else moves them, or AWS shows them as they were.
const ROUNDS: u32 = 8;
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// How long an import waits for a lease that somebody else has for a moment.
const LEASE_PATIENCE: Duration = Duration::from_secs(10);

/// When something foreign is looked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum When {
    /// Before the first list is published.
    Import,
    /// While one list is replaced by another.
    Publication,
    /// At any other time: a version of keyswap's own under AWSCURRENT may be one that a publication did not get to the
    /// end with.
    Between,
}

impl<S: SecretStore> AwsStore<S> {
    pub(super) fn versions(&self, list: &SecretList) -> Vec<String> {
        list.ids().map(|id| version(self.client(), id)).collect()
    }

    fn version_of(&self, secret: &Secret) -> String {
        version(self.client(), secret.id())
    }

    fn invalid(&self, doing: &str) -> StoreError {
        StoreError::new(StoreErrorKind::Invalid, doing).at(self.secret.describe())
    }

    /// What there is of the secret, if a rotation can use it.
    pub(super) async fn look(&self, doing: &str) -> Result<Found, StoreError> {
        let name = self.secret.name();
        let found = self.secret.look(doing).await?.ok_or_else(|| {
            StoreError::new(StoreErrorKind::NotFound, doing)
                .at(self.secret.describe())
                .because("there is no such secret in this account and region")
                .way_out(format!(
                    "make it without a value (aws secretsmanager create-secret --name {name}), or let `keyswap \
                     init` make it with the present one"
                ))
        })?;
        self.check_usable(&found, doing)?;
        Ok(found)
    }

    pub(super) fn check_usable(&self, found: &Found, doing: &str) -> Result<(), StoreError> {
        let name = self.secret.name();
        if found.deleted {
            return Err(self.invalid(doing).because("it is scheduled for deletion").way_out(
                format!("take that back: aws secretsmanager restore-secret --secret-id {name}"),
            ));
        }
        if found.rotated {
            return Err(self
                .invalid(doing)
                .because("AWS rotates it with a function, and two rotations would undo each other")
                .way_out(format!(
                    "end that one: aws secretsmanager cancel-rotate-secret --secret-id {name}"
                )));
        }
        Ok(())
    }

    /// Refuses what keyswap did not publish. `lists`: those that it knows.
    pub(super) async fn check_foreign(
        &self,
        found: &Found,
        lists: &[&SecretList],
        when: When,
        doing: &str,
    ) -> Result<(), StoreError> {
        let secrets = || lists.iter().flat_map(|list| list.iter());
        // The same value, put there by somebody else, is no other secret.
        let mut same = None;
        let known = |id: &str, same: &Option<String>| {
            let published = secrets().any(|secret| self.version_of(secret) == id);
            published || (when == When::Between && is_own(id)) || same.as_deref() == Some(id)
        };
        if let Some(current) = found.stages.current().filter(|current| !known(current, &None)) {
            let value = self.secret.value(current, doing).await?;
            let equal = value.is_some_and(|value| secrets().any(|secret| secret.matches(&value)));
            same = equal.then(|| current.to_owned());
        }
        let name = self.secret.name();
        match found.stages.foreign(|id| known(id, &same)) {
            None => Ok(()),
            Some(Foreign::Current(version)) => {
                let error = self.invalid(doing).because(format!(
                    "AWSCURRENT is at version {version}, which holds a secret that keyswap did not publish: a \
                     person or another tool put it there"
                ));
                let ours = lists.first().map(|list| self.version_of(list.preferred()));
                let Some(ours) = ours.filter(|_| when != When::Import) else {
                    return Err(error.way_out(
                        "nothing was changed. Import that one if the server takes it, or name another `secret`",
                    ));
                };
                Err(error.way_out(format!(
                    "nothing was changed. If the server takes the secret that keyswap published, put the label back: \
                     aws secretsmanager update-secret-version-stage --secret-id {name} --version-stage AWSCURRENT \
                     --remove-from-version-id {version} --move-to-version-id {ours}"
                )))
            }
            Some(Foreign::Pending(version)) => Err(self
                .invalid(doing)
                .because(format!(
                    "AWSPENDING is at version {version}, which keyswap did not make: another rotation is under way"
                ))
                .way_out(format!(
                    "nothing was changed. If that one was given up, take its label away: aws secretsmanager \
                     update-secret-version-stage --secret-id {name} --version-stage AWSPENDING \
                     --remove-from-version-id {version}"
                ))),
        }
    }

    /// Makes the labels those of the list `wanted`, under the lease. `present` is the one before.
    pub(super) async fn keep_in_step(
        &self,
        lease: &Lease,
        present: &SecretList,
        wanted: &SecretList,
        doing: &str,
    ) -> Result<(), StoreError> {
        let versions = self.versions(wanted);
        let mut verified = false;
        let mut last = None;
        for round in 0..ROUNDS {
            if round > 0 && last.is_some() {
                sleep(FIRST_PAUSE.saturating_mul(1 << round).min(LONGEST_PAUSE)).await;
            }
            let found = self.look(doing).await?;
            self.check_foreign(&found, &[present, wanted], When::Publication, doing).await?;
            if !verified {
                self.verify(&found, wanted, doing).await?;
                verified = true;
            }
            let acts = plan(&found.stages, &versions);
            if acts.is_empty() {
                return Ok(());
            }
            last = None;
            for act in &acts {
                if let Err(failure) = self.carry_out(lease, act, wanted, doing).await? {
                    match failure.kind {
                        FailureKind::Refused | FailureKind::Unanswered => last = Some(failure),
                        _ => return Err(failure.into_error(doing, &self.secret.describe())),
                    }
                    // Whatever has happened: the labels say where to go on.
                    break;
                }
            }
        }
        Err(match last {
            Some(failure) => failure.into_error(doing, &self.secret.describe()),
            None => StoreError::new(StoreErrorKind::Io, doing)
                .at(self.secret.describe())
                .because("AWS does not show the labels as they were set")
                .way_out("see who else moves them, then go on: the next publication takes them up"),
        })
    }

    /// The versions that have a label already hold what the list says.
    pub(super) async fn verify(
        &self,
        found: &Found,
        wanted: &SecretList,
        doing: &str,
    ) -> Result<(), StoreError> {
        let labelled = found.stages.list();
        for secret in wanted.iter() {
            let version = self.version_of(secret);
            if labelled.contains(&version.as_str()) {
                self.matching(&version, secret, doing).await?;
            }
        }
        Ok(())
    }

    /// Whether this version is there. It must hold this secret then.
    async fn matching(
        &self,
        version: &str,
        secret: &Secret,
        doing: &str,
    ) -> Result<bool, StoreError> {
        let Some(value) = self.secret.value(version, doing).await? else { return Ok(false) };
        if secret.matches(&value) {
            return Ok(true);
        }
        Err(self
            .invalid(doing)
            .because(format!(
                "version {version} holds another value than the secret {} that is to be in it, and AWS changes no \
                 version",
                secret.id()
            ))
            .way_out("nothing was changed; give the present secret another id, or the list another AWS secret"))
    }

    /// One call, under a lease that outlasts it: a request that comes later than that is not sent.
    async fn carry_out(
        &self,
        lease: &Lease,
        act: &Act,
        wanted: &SecretList,
        doing: &str,
    ) -> Result<Result<(), Failure>, StoreError> {
        let (act, secret) = match act {
            Act::Put { version, stage } => {
                let secret = wanted.iter().find(|secret| self.version_of(secret) == *version);
                let there = match secret {
                    Some(secret) => self.matching(version, secret, doing).await?,
                    None => false,
                };
                // A version that was published before: putting it again would leave it without a label.
                match there {
                    true => {
                        let (stage, to) = (stage.clone(), Some(version.clone()));
                        (Act::Move { stage, from: None, to }, None)
                    }
                    false => (act.clone(), secret),
                }
            }
            Act::Move { .. } => (act.clone(), None),
        };
        let certain = self.store.renew(lease).await?;
        Ok(self.secret.carry_out(&act, secret, certain.min(CALL)).await)
    }

    /// Puts the list that the other store has got into a secret that has none, or one that it may take over.
    pub(super) async fn bring_in(&self, list: &SecretList, doing: &str) -> Result<(), StoreError> {
        let until = Instant::now() + LEASE_PATIENCE;
        let lease = loop {
            match self.store.acquire("an import").await {
                Err(error) if error.is_held() && Instant::now() < until => sleep(FIRST_PAUSE).await,
                taken => break taken?,
            }
        };
        let brought = self.bring_in_under(&lease, list, doing).await;
        // The list is there or not, whether the lease can be given back now or ends by itself.
        let _ = self.store.release(lease).await;
        brought
    }

    async fn bring_in_under(
        &self,
        lease: &Lease,
        list: &SecretList,
        doing: &str,
    ) -> Result<(), StoreError> {
        if self.secret.look(doing).await?.is_none() {
            let (version, secret) = (self.version_of(list.preferred()), list.preferred());
            let certain = self.store.renew(lease).await?;
            match self.secret.create(&version, secret, certain).await {
                Ok(()) => {}
                Err(failure)
                    if matches!(failure.kind, FailureKind::Refused | FailureKind::Unanswered) => {}
                Err(failure) => return Err(failure.into_error(doing, &self.secret.describe())),
            }
        }
        self.keep_in_step(lease, list, list, doing).await
    }
}
