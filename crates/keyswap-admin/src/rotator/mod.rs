//! Carries a rotation out: takes the lease, writes the journal, does what each step says, and reports
//! what happened.

mod age;
mod asked;
mod begin;
mod carry_out;
mod clock;
mod confirm;
mod hold;
mod keep;
mod look;
mod plan;
mod stop;
mod trace;
mod verify;
mod waiting;
mod watch;

use std::fmt;
use std::time::Duration;

use keyswap_core::{Generator, Revision, SecretDocument, SecretId};
use keyswap_store::{Hold, Instance, Lease, SecretStore, StoreError};

use self::asked::Asked;
use self::keep::keeping;
use crate::authority::{Authority, SlotId};
use crate::error::{RotateError, RotateErrorKind};
use crate::planned::Fingerprint;
use crate::progress::Progress;
use crate::rotation::{
    Application, Asker, Event, Gate, Missing, Record, RotationPolicy, State, not_adopted,
};

pub use age::{Age, AgeSource, age};
pub use confirm::{confirm, leave_out};
pub use hold::{hold, release_hold};
pub use look::verify_server;
pub use verify::verify_history;

/// Rotates the secret of one client at one authorization server, over one store.
///
/// ```no_run
/// use keyswap_admin::{Application, Authority, Rotator, RotationPolicy};
/// use keyswap_store::SecretStore;
///
/// # async fn example<A: Authority, S: SecretStore>(authority: A, store: S) -> Result<(), Box<dyn std::error::Error>> {
/// let rotator = Rotator::new(authority, store);
/// let policy = RotationPolicy::new([Application::new("billing").instances(3)]);
/// let finished = rotator.run(policy).await?;
/// println!("the programs now hold {} alone", finished.new);
/// # Ok(())
/// # }
/// ```
///
/// Dropping the future of [`run`](Self::run) or [`resume`](Self::resume) is as safe as killing the
/// process: [`resume`](Self::resume) goes on from the journal.
pub struct Rotator<A, S> {
    authority: A,
    store: S,
    /// As the server's rules say, if it is not given.
    generator: Option<Generator>,
    patience: Option<Duration>,
    asker: Asker,
    compromised: Option<Duration>,
    accepts_gap: Option<String>,
    removed_first: Option<SlotId>,
    planned: Option<Fingerprint>,
    asked_to_stop: Asked,
    progress: Box<dyn Fn(Progress) + Send + Sync>,
}

/// What a rotation did, once it is over.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Finished {
    /// The id of the secret that is gone: after a rollback, of the one that the rotation had brought.
    pub old: SecretId,
    /// The id of the secret in use.
    pub new: SecretId,
    /// Whether the rotation went back, so that the secret in use is the one of before.
    pub rolled_back: bool,
    /// The revision of the list that holds it alone.
    pub revision: Revision,
    /// How long each state lasted, in order.
    pub states: Vec<(State, Duration)>,
    /// How long this process waited because the policy, a gate or the server asked for it. What is left
    /// of its time is the rotation's own.
    pub waited: Duration,
}

/// Where a rotation stands, and what the instances report.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Status {
    /// The journal, if there is one.
    pub record: Option<Record>,
    /// The hold on the rotations, whether it is still in force or not.
    pub hold: Option<Hold>,
    /// The published list.
    pub published: Option<SecretDocument>,
    /// Every instance that is known, also those that are gone.
    pub instances: Vec<Instance>,
}

impl Status {
    /// Reads where the rotation of a store's client stands: what a store knows needs no authority.
    ///
    /// # Errors
    ///
    /// [`RotateError`] if the store or the journal cannot be read.
    pub async fn read<S: SecretStore>(store: &S) -> Result<Self, RotateError> {
        let reading = |error| RotateError::store("reading the store", error, false);
        Ok(Self {
            record: journal(store).await?,
            hold: store.hold().await.map_err(reading)?,
            published: store.published().await.map_err(reading)?,
            instances: store.instances().await.map_err(reading)?,
        })
    }

    /// Who would lose access if the secret were changed now, as far as anybody knows: who does not hold the
    /// published list, or is not there, and each application that cannot report and for which nobody has
    /// [spoken](crate::confirm).
    #[must_use]
    pub fn not_ready(&self, applications: &[Application]) -> Vec<Missing> {
        let gate = Gate::Adopted;
        let manual = applications.iter().filter(|one| one.manual).map(|one| one.name.clone());
        let under_way = self.record.as_ref().filter(|record| !record.is_over());
        let unconfirmed: Vec<String> = match under_way {
            Some(record) => {
                let unconfirmed = record.unconfirmed(gate);
                manual.filter(|name| unconfirmed.contains(name)).collect()
            }
            None => manual.collect(),
        };
        let unconfirmed =
            unconfirmed.into_iter().map(|application| Missing::Confirmation { application, gate });
        let wanted = self.published.as_ref().map(|document| document.revision);
        let fleet = carry_out::fleet(self.instances.clone());
        let missing = not_adopted(applications, &fleet, wanted.unwrap_or_default());
        unconfirmed.chain(missing).collect()
    }
}

async fn lease<S: SecretStore>(store: &S, holder: &str) -> Result<Lease, RotateError> {
    store.acquire(holder).await.map_err(|error| {
        if error.is_held() {
            RotateError::new(RotateErrorKind::Busy, error.to_string())
        } else {
            RotateError::store("taking the rotation lease", error, false)
        }
    })
}

/// Who takes a lease, for the message that others get.
fn holder() -> String {
    format!("keyswap, process {}", std::process::id())
}

async fn journal<S: SecretStore>(store: &S) -> Result<Option<Record>, RotateError> {
    let journal = store
        .journal()
        .await
        .map_err(|error| RotateError::store("reading the rotation journal", error, false))?;
    let place = format!("client {}, {}", store.client(), store.describe());
    let read = journal.map(|text| Record::parse(&text)).transpose();
    read.map_err(|error| RotateError::journal(&place, error))
}

impl<A, S> fmt::Debug for Rotator<A, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rotator").field("asker", &self.asker).finish_non_exhaustive()
    }
}

impl<A: Authority, S: SecretStore> Rotator<A, S> {
    /// A rotator that makes a secret as the server's rules say, and waits at most 15 minutes in one state.
    #[must_use]
    pub fn new(authority: A, store: S) -> Self {
        Self {
            authority,
            store,
            generator: None,
            // Three times what the slowest usual source of a list needs: a mounted volume, 5 minutes.
            patience: None,
            asker: Asker { holder: holder(), ..Asker::default() },
            compromised: None,
            accepts_gap: None,
            removed_first: None,
            planned: None,
            asked_to_stop: Asked::never(),
            progress: Box::new(|_| {}),
        }
    }

    /// How the new secret is made, in place of what the server's rules say
    /// ([`ValueRules::generator`](crate::authority::ValueRules::generator)).
    #[must_use]
    pub fn generator(mut self, generator: Generator) -> Self {
        self.generator = Some(generator);
        self
    }

    /// How long to stay in one state before stopping with [`RotateErrorKind::Waiting`]. The rotation
    /// can be resumed; a gate never fails on time. In place of
    /// [`RotationPolicy::usual_patience`](crate::RotationPolicy::usual_patience).
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = Some(patience);
        self
    }

    fn patience_with(&self, policy: &RotationPolicy) -> Duration {
        self.patience.unwrap_or(policy.usual_patience())
    }

    /// Who asks for what this rotator does, for the record in the journal and the history.
    #[must_use]
    pub fn asked_by(mut self, person: impl Into<String>) -> Self {
        self.asker.by = Some(person.into());
        self
    }

    /// Why that is asked for, for the same record. It must not hold a secret.
    #[must_use]
    pub fn reason(mut self, reason: impl Into<String>) -> Self {
        self.asker.reason = Some(reason.into());
        self
    }

    /// Goes on although this person put a hold on the rotations, which is on record with the
    /// [reason](Self::reason). Another person's hold counts all the same.
    #[must_use]
    pub fn despite_hold_of(mut self, person: impl Into<String>) -> Self {
        self.asker.despite_hold_of = Some(person.into());
        self
    }

    /// Says that the old secret is compromised, to [`run`](Self::run) and [`resume`](Self::resume): from
    /// when both secrets are published, nobody is waited for longer than this, and there is no quiet
    /// period. Who does not hold the new secret by then loses access, and is [told](Progress::Broken)
    /// before that. A rotation that was begun without is turned into such a one by resuming it.
    #[must_use]
    pub fn compromised(mut self, patience: Duration) -> Self {
        self.compromised = Some(patience);
        self
    }

    /// Accepts, for [`run`](Self::run), that token requests fail on the way, at a server where that cannot be
    /// avoided: one that holds one secret and chooses its value itself
    /// ([`Capabilities::has_gap`](crate::authority::Capabilities::has_gap)). They fail from the server's change
    /// on until a program has taken up the list with the new value, which is published as soon as it is in
    /// the journal. At any other server a rotation does not begin with this.
    ///
    /// The reason is on record, with [who](Self::asked_by) asked, and how long it took. It must not hold a
    /// secret.
    #[must_use]
    pub fn accept_gap(mut self, reason: impl Into<String>) -> Self {
        self.accepts_gap = Some(reason.into());
        self
    }

    /// Says to [`run`](Self::run) that this one of the client's secrets goes at the server before the new one
    /// is added, since there is no room beside it. Where the server can do that, it is deactivated first, and
    /// removed only after the [observation period](RotationPolicy::observation_period); until then
    /// [`rollback`](Self::rollback) puts it back. With whose [word](Self::asked_by) and
    /// [why](Self::reason) is on record.
    ///
    /// It is refused for the one that the programs hold, for one that a program holds which reports, and
    /// where there is room.
    #[must_use]
    pub fn removing_first(mut self, slot: SlotId) -> Self {
        self.removed_first = Some(slot);
        self
    }

    /// Says to [`run`](Self::run) that what this [plan](Self::plan) rests on is still so, which it is refused
    /// without: [`RotateErrorKind::PlanMoved`] says what has moved.
    #[must_use]
    pub fn as_planned(mut self, plan: Fingerprint) -> Self {
        self.planned = Some(plan);
        self
    }

    /// Stops when this comes back, with [`RotateErrorKind::Interrupted`]: at once while it waits or asks, and
    /// otherwise when the answer to what was sent is in the journal. The lease is given back, and
    /// [`resume`](Self::resume) goes on from there. A change that is not on its way yet is not sent, and the journal
    /// says so. Between a server's change and the publication of what it chose, programs may be without a
    /// secret, so it does not stop there, also where the server asks to wait.
    ///
    /// Dropping the future of a rotation is as safe as a crash; this is for whoever wants to hear where it stands.
    #[must_use]
    pub fn stopping_when(mut self, asked: impl Future<Output = ()> + Send + 'static) -> Self {
        self.asked_to_stop = Asked::by(asked);
        self
    }

    /// Is told what happens, in order.
    #[must_use]
    pub fn on_progress(mut self, progress: impl Fn(Progress) + Send + Sync + 'static) -> Self {
        self.progress = Box::new(progress);
        self
    }

    /// Begins a rotation and carries it to its end.
    ///
    /// # Errors
    ///
    /// [`RotateError`]; its [kind](RotateError::kind) says whether anything was changed and whether
    /// the rotation can be resumed.
    pub async fn run(&self, policy: RotationPolicy) -> Result<Finished, RotateError> {
        trace::rotation(self.store.client(), "run", self.begin_and_carry_out(policy)).await
    }

    async fn begin_and_carry_out(&self, policy: RotationPolicy) -> Result<Finished, RotateError> {
        if self.asked_to_stop.is_there() {
            return Err(stop::interrupted(self.store.client(), None));
        }
        let lease = self.lease().await?;
        self.tell(Progress::Checking);
        let begin = Box::pin(self.begin(policy));
        let begun = self.asked_to_stop.or(keeping(&self.store, &lease, begin)).await;
        let begun = match begun {
            None => Err(stop::interrupted(self.store.client(), None)),
            Some(begun) => begun
                .map_err(|error| RotateError::store("keeping the rotation lease", error, false))
                .flatten(),
        };
        let finished = match begun {
            Ok(record) => Box::pin(self.begin_with(record, &lease)).await,
            Err(error) => Err(error),
        };
        self.release(lease).await;
        finished
    }

    /// Takes up the rotation that the journal tells of, whatever ended the process before, and carries
    /// it to its end. `applications` replaces the declared ones, for a gate that named one.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run), [`RotateErrorKind::NothingToResume`], and [`RotateErrorKind::GoesBack`] if it
    /// goes back to a secret that is said to be compromised.
    pub async fn resume(
        &self,
        applications: Option<Vec<Application>>,
    ) -> Result<Finished, RotateError> {
        let event = self.compromised.map_or(Event::TakenUp, Event::CompromisedWanted);
        trace::rotation(self.store.client(), "resume", self.take(event, applications)).await
    }

    /// Takes the rotation that the journal tells of back to where it began. Nothing fails meanwhile:
    /// while the server may hold the new secret, everybody holds both, and the old one is set at the
    /// server again with the same care as the new one was.
    ///
    /// A rollback that is interrupted is taken up by [`resume`](Self::resume) or by this.
    /// [`Record::way_back`] says beforehand what it would do.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run), [`RotateErrorKind::NothingToResume`] without a journal, and
    /// [`RotateErrorKind::NoWayBack`] once programs may hold the new secret alone.
    pub async fn rollback(
        &self,
        applications: Option<Vec<Application>>,
    ) -> Result<Finished, RotateError> {
        trace::rotation(
            self.store.client(),
            "rollback",
            self.take(Event::RollbackWanted, applications),
        )
        .await
    }

    /// Retires the old secret of a rotation that
    /// [holds](RotationPolicy::hold_at_drained) when it is unused, and goes on to the end.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run), [`RotateErrorKind::NothingToResume`] without a journal, and
    /// [`RotateErrorKind::NotDrained`] as long as nothing says that the old secret is unused.
    pub async fn retire(
        &self,
        applications: Option<Vec<Application>>,
    ) -> Result<Finished, RotateError> {
        trace::rotation(self.store.client(), "retire", self.take(Event::RetireWanted, applications))
            .await
    }

    async fn take(
        &self,
        event: Event,
        applications: Option<Vec<Application>>,
    ) -> Result<Finished, RotateError> {
        let lease = self.lease().await?;
        let finished = Box::pin(self.take_up(event, applications, &lease)).await;
        self.release(lease).await;
        finished
    }

    /// Where the rotation stands. Takes no lease and changes nothing.
    ///
    /// # Errors
    ///
    /// [`RotateError`] if the store or the journal cannot be read.
    pub async fn status(&self) -> Result<Status, RotateError> {
        Status::read(&self.store).await
    }

    /// The hold that counts for this rotator.
    async fn hold(&self) -> Result<Option<Hold>, StoreError> {
        let hold = self.store.hold().await?;
        Ok(hold.filter(|hold| self.asker.despite_hold_of.as_ref() != Some(&hold.by)))
    }

    fn tell(&self, progress: Progress) {
        trace::told(&progress);
        (self.progress)(progress);
    }

    async fn lease(&self) -> Result<Lease, RotateError> {
        lease(&self.store, &self.asker.holder).await
    }

    async fn release(&self, lease: Lease) {
        if let Err(error) = self.store.release(lease).await {
            self.tell(Progress::Note(format!("the rotation lease could not be released: {error}")));
        }
    }
}
