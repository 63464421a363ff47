//! Carries a rotation out: writes the journal, does what each step says, and reports what happened.

use std::fmt;
use std::time::Duration;

use keyswap_core::{Generator, Secret, SecretDocument, SecretList};
use keyswap_store::{Instance, Lease, SecretStore, StoreError};
use serde_json::json;
use tokio::time::Instant;

use crate::authority::{Authority, AuthorityError, AuthorityErrorKind, Probe, ReadBack};
use crate::error::{RotateError, RotateErrorKind};
use crate::progress::Progress;
use crate::rotation::{
    Application, Effect, Ending, Event, Fleet, Missing, Record, Rotation, RotationPolicy, State,
    Timestamp, Which,
};

/// Longest pause that a server may ask for before the process gives up for now.
const LONGEST_BACK_OFF: Duration = Duration::from_secs(300);

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
    generator: Generator,
    patience: Duration,
    holder: String,
    progress: Box<dyn Fn(Progress) + Send + Sync>,
}

/// What a rotation did, once it is over.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Finished {
    /// The id of the secret that is gone.
    pub old: keyswap_core::SecretId,
    /// The id of the secret in use.
    pub new: keyswap_core::SecretId,
    /// The revision of the list that holds it alone.
    pub revision: keyswap_core::Revision,
    /// How long each state lasted, in order.
    pub states: Vec<(State, Duration)>,
}

/// Where a rotation stands, and what the instances report.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Status {
    /// The journal, if there is one.
    pub record: Option<Record>,
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
            published: store.published().await.map_err(reading)?,
            instances: store.instances().await.map_err(reading)?,
        })
    }
}

async fn journal<S: SecretStore>(store: &S) -> Result<Option<Record>, RotateError> {
    let journal = store
        .journal()
        .await
        .map_err(|error| RotateError::store("reading the rotation journal", error, false))?;
    journal.map(|text| Record::parse(&text)).transpose().map_err(RotateError::journal)
}

impl<A, S> fmt::Debug for Rotator<A, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rotator").field("holder", &self.holder).finish_non_exhaustive()
    }
}

impl<A: Authority, S: SecretStore> Rotator<A, S> {
    /// A rotator with the default generator, which waits at most 15 minutes in one state.
    #[must_use]
    pub fn new(authority: A, store: S) -> Self {
        Self {
            authority,
            store,
            generator: Generator::default(),
            // Three times what the slowest usual source of a list needs: a mounted volume, 5 minutes.
            patience: Duration::from_secs(900),
            holder: format!("keyswap, process {}", std::process::id()),
            progress: Box::new(|_| {}),
        }
    }

    /// How the new secret is made.
    #[must_use]
    pub fn generator(mut self, generator: Generator) -> Self {
        self.generator = generator;
        self
    }

    /// How long to stay in one state before stopping with [`RotateErrorKind::Waiting`]. The rotation
    /// can be resumed; a gate never fails on time.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
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
        let lease = self.lease().await?;
        (self.progress)(Progress::Checking);
        let finished = match self.begin(policy).await {
            Ok(record) => self.carry_out(Rotation::new(record), true, &lease).await,
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
    /// As [`run`](Self::run), and [`RotateErrorKind::NothingToResume`].
    pub async fn resume(
        &self,
        applications: Option<Vec<Application>>,
    ) -> Result<Finished, RotateError> {
        let lease = self.lease().await?;
        let finished = self.take_up(applications, &lease).await;
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

    async fn lease(&self) -> Result<Lease, RotateError> {
        self.store.acquire(&self.holder).await.map_err(|error| {
            if error.is_held() {
                RotateError::new(RotateErrorKind::Busy, error.to_string())
            } else {
                RotateError::store("taking the rotation lease", error, false)
            }
        })
    }

    async fn release(&self, lease: Lease) {
        if let Err(error) = self.store.release(lease).await {
            (self.progress)(Progress::Note(format!(
                "the rotation lease could not be released: {error}"
            )));
        }
    }

    /// Everything that must hold before a rotation may begin, up to the first journal entry.
    async fn begin(&self, policy: RotationPolicy) -> Result<Record, RotateError> {
        let client = self.store.client();
        let refuse = |message: String| {
            RotateError::new(RotateErrorKind::NotBegun, message + "; nothing was changed")
        };
        let now = Timestamp::now();
        if policy.applications.is_empty() {
            return Err(refuse(format!(
                "no application is declared for client {client}, so nobody could be waited for: declare \
                 each program that uses its secret"
            )));
        }
        let earlier = journal(&self.store).await?;
        if let Some(earlier) = &earlier {
            check_earlier(earlier, now)?;
        }
        let capabilities = self.authority.capabilities();
        if capabilities.slots != 1 || !capabilities.chosen_by_caller {
            return Err(refuse(format!(
                "{capabilities} does not let the caller choose the secret of its single slot, and \
                 rotating there is not supported"
            )));
        }
        let document = self
            .store
            .published()
            .await
            .map_err(|error| RotateError::store("reading the published list", error, false))?
            .ok_or_else(|| {
                refuse(format!(
                    "{} holds no secret for client {client}: import the present one first",
                    self.store.describe()
                ))
            })?;
        if document.list.len() != 1 {
            return Err(refuse(format!(
                "the published list holds {} secrets {:?}, and no journal says why: publish the one that \
                 the server accepts alone",
                document.list.len(),
                document.list
            )));
        }
        let old = document.list.preferred().clone();
        let doing = format!("checking client {client} at {capabilities}");
        self.authority.check().await.map_err(|error| RotateError::authority(&doing, error))?;
        let new = self.generator.generate().map_err(|error| refuse(error.to_string()))?;
        self.check_secret(&old, earlier.as_ref()).await?;

        let window = policy.propagation_window.unwrap_or(capabilities.propagation_window);
        let policy = policy.propagation_window(window);
        let mut record = Record::begin(client, policy, old, new, document.revision, now);
        if let Some(earlier) = &earlier {
            record = record.after(earlier, now);
        }
        Ok(record)
    }

    /// The server must hold and accept the published secret: a rotation must not begin in a state that
    /// it could not tell from a failure of its own.
    async fn check_secret(
        &self,
        old: &Secret,
        earlier: Option<&Record>,
    ) -> Result<(), RotateError> {
        let client = self.store.client();
        let error = |kind, message: String| {
            Err(RotateError::authority(
                &format!("checking the secret of client {client}"),
                AuthorityError::new(kind, message + "; nothing was changed"),
            ))
        };
        let mut known = vec![old.clone()];
        known.extend(
            earlier.iter().flat_map(|record| &record.retired).map(|kept| kept.secret.clone()),
        );
        match self.authority.read_back(&known).await {
            ReadBack::Holds(id) if id != *old.id() => {
                return error(
                    AuthorityErrorKind::Refused,
                    format!(
                        "the server holds the secret {id}, which an earlier rotation retired, and the \
                         programs hold {}: set it at the server to the one that the programs hold",
                        old.id()
                    ),
                );
            }
            ReadBack::Other => {
                return error(
                    AuthorityErrorKind::Refused,
                    format!(
                        "the server holds another secret than {}, which the programs hold: import the \
                         one that the server holds",
                        old.id()
                    ),
                );
            }
            ReadBack::Holds(_) | ReadBack::Unavailable(_) => {}
        }
        match self.authority.probe(old).await {
            Probe::Accepted => Ok(()),
            Probe::Refused => error(
                AuthorityErrorKind::Refused,
                format!(
                    "the server refuses the published secret {}: import the right one",
                    old.id()
                ),
            ),
            Probe::Inconclusive(reason) => error(
                AuthorityErrorKind::Unexpected,
                format!(
                    "a token request with the published secret {} said nothing: {reason}",
                    old.id()
                ),
            ),
        }
    }

    async fn take_up(
        &self,
        applications: Option<Vec<Application>>,
        lease: &Lease,
    ) -> Result<Finished, RotateError> {
        let nothing = |message: &str| {
            RotateError::new(
                RotateErrorKind::NothingToResume,
                format!("client {}: {message}", self.store.client()),
            )
        };
        let Some(record) = journal(&self.store).await? else {
            return Err(nothing("there is no rotation to resume; begin one"));
        };
        if record.is_over() {
            return Err(nothing("the last rotation is done; there is nothing to resume"));
        }
        (self.progress)(Progress::TakenUp { state: record.state });
        let mut rotation = Rotation::new(record);
        if let Some(applications) = applications {
            rotation = rotation.with_applications(applications);
        }
        self.carry_out(rotation, false, lease).await
    }

    /// The loop around [`Rotation::step`]: the record first, then the act that it announces.
    async fn carry_out(
        &self,
        mut rotation: Rotation,
        begun_now: bool,
        lease: &Lease,
    ) -> Result<Finished, RotateError> {
        let mut written = None;
        if begun_now {
            self.write(&mut rotation, true, lease).await?;
            self.tell_entered(rotation.record());
            written = Some(rotation.record().clone());
        }
        let mut event = Event::TakenUp;
        let mut waiting = Waiting::default();
        loop {
            let effect = rotation.step(event, Timestamp::now());
            if written.as_ref() != Some(rotation.record()) {
                let before = written.as_ref().map(|before: &Record| before.entered.len());
                let entered = before != Some(rotation.record().entered.len());
                self.write(&mut rotation, entered, lease).await?;
                if entered && before.is_some() {
                    self.tell_entered(rotation.record());
                }
                written = Some(rotation.record().clone());
            }
            event = match self.perform(effect, rotation.record(), lease, &mut waiting).await? {
                Performed::Happened(event) => event,
                Performed::Over => return Ok(finished(rotation.record())),
            };
        }
    }

    async fn perform(
        &self,
        effect: Effect,
        record: &Record,
        lease: &Lease,
        waiting: &mut Waiting,
    ) -> Result<Performed, RotateError> {
        Ok(Performed::Happened(match effect {
            Effect::Write => Event::Written,
            Effect::Publish { list, replaces, attest_every } => {
                self.publish(&list, replaces, attest_every, record, lease).await?
            }
            Effect::Observe => Event::Fleet(self.fleet(record).await?),
            Effect::Send => {
                self.check_lease(record, lease).await?;
                let answer = self.authority.set_secret(&record.new).await;
                if let crate::authority::ChangeAnswer::Unknown(reason) = &answer {
                    self.note(format!(
                        "no certain answer to the change ({reason}); asking the server"
                    ));
                }
                Event::Answered(answer)
            }
            Effect::ReadBack => Event::ReadBack(self.authority.read_back(&record.known()).await),
            Effect::Probe(which) => {
                let secret = match which {
                    Which::Old => &record.old,
                    Which::New => &record.new,
                };
                Event::Probed(which, self.authority.probe(secret).await)
            }
            Effect::BackOff(time) => {
                self.note(format!("the server asks to wait {} s", time.as_secs().max(1)));
                // Up to a fifth more, so that rotators that were turned away together come back apart.
                let spread = time / 5
                    * u32::try_from(Timestamp::now().milliseconds() % 64).unwrap_or(0)
                    / 64;
                tokio::time::sleep((time + spread).min(LONGEST_BACK_OFF)).await;
                Event::Waited
            }
            Effect::Wait(time, missing) => {
                if waiting.news(record.state, &missing) {
                    let (state, missing) = (record.state, missing.clone());
                    (self.progress)(Progress::Waiting { state, missing });
                }
                if waiting.lasts(record.state) > self.patience {
                    return Err(self.still_waiting(record, missing));
                }
                tokio::time::sleep(time).await;
                Event::Waited
            }
            Effect::Stop(Ending::Done) => return Ok(Performed::Over),
            Effect::Stop(ending) => return Err(self.stopped(ending, record)),
        }))
    }

    /// The list may have been published by a process that did not live to write that down, so what
    /// counts is what is published.
    async fn publish(
        &self,
        list: &SecretList,
        replaces: keyswap_core::Revision,
        attest_every: Option<Duration>,
        record: &Record,
        lease: &Lease,
    ) -> Result<Event, RotateError> {
        let failed = |error| self.store_error("publishing the list", error, record);
        let published = self.store.published().await.map_err(failed)?;
        match published {
            Some(document) if document.list == *list && document.revision > replaces => {
                Ok(Event::Published(document.revision))
            }
            Some(document) if document.revision == replaces => {
                match self.store.publish(lease, replaces, list, attest_every).await {
                    Ok(revision) => Ok(Event::Published(revision)),
                    Err(error) if error.is_conflict() => Ok(Event::ForeignList),
                    Err(error) => Err(failed(error)),
                }
            }
            _ => Ok(Event::ForeignList),
        }
    }

    async fn fleet(&self, record: &Record) -> Result<Fleet, RotateError> {
        let instances = self
            .store
            .instances()
            .await
            .map_err(|error| self.store_error("reading the instances", error, record))?;
        Ok(fleet(instances))
    }

    /// Checked last before the change is sent, since no server here lets a late request be told from a
    /// timely one: the lease must outlive the request.
    async fn check_lease(&self, record: &Record, lease: &Lease) -> Result<(), RotateError> {
        let needed = self.authority.capabilities().request_timeout;
        let left = self
            .store
            .remaining(lease)
            .await
            .map_err(|error| self.store_error("checking the rotation lease", error, record))?;
        if left <= needed {
            return Err(RotateError::new(
                RotateErrorKind::LeaseLost,
                format!(
                    "client {}: the rotation lease ends in {} s, before a request could; nothing was \
                     sent. Resume the rotation",
                    record.client,
                    left.as_secs()
                ),
            ));
        }
        Ok(())
    }

    /// The history line before the journal, and both before the act: what was done is on record even if
    /// the process ends here.
    async fn write(
        &self,
        rotation: &mut Rotation,
        entered: bool,
        lease: &Lease,
    ) -> Result<(), RotateError> {
        if entered {
            let record = rotation.record();
            let head = self
                .store
                .append_history(lease, &history_line(record))
                .await
                .map_err(|error| self.store_error("writing the history", error, record))?;
            rotation.note_history(head);
        }
        let record = rotation.record();
        self.store
            .save_journal(lease, &record.to_json())
            .await
            .map_err(|error| self.store_error("writing the rotation journal", error, record))
    }

    fn store_error(&self, doing: &str, error: StoreError, record: &Record) -> RotateError {
        RotateError::store(doing, error, record.change.sends > 0)
    }

    fn tell_entered(&self, record: &Record) {
        let after = match record.entered.as_slice() {
            [.., before, last] => Some(last.at.since(before.at)),
            _ => None,
        };
        (self.progress)(Progress::Entered { state: record.state, after });
    }

    fn note(&self, text: String) {
        (self.progress)(Progress::Note(text));
    }

    fn still_waiting(&self, record: &Record, missing: Vec<Missing>) -> RotateError {
        let mut message =
            format!("client {}: still waiting in state {}", record.client, record.state);
        for (position, one) in missing.iter().enumerate().take(5) {
            message.push_str(if position == 0 { ": " } else { "; " });
            message.push_str(&one.to_string());
        }
        if missing.len() > 5 {
            message.push_str(&format!("; and {} more", missing.len() - 5));
        }
        message.push_str(". Nothing is lost: resume the rotation");
        RotateError::new(RotateErrorKind::Waiting(missing), message)
    }

    fn stopped(&self, ending: Ending, record: &Record) -> RotateError {
        let client = &record.client;
        match ending {
            Ending::Refused(error) => RotateError::authority(
                &format!(
                    "changing the secret of client {client} (the server holds the old one still, and \
                     programs hold both: mend what it says, then resume)"
                ),
                error,
            ),
            Ending::Throttled => RotateError::new(
                RotateErrorKind::Busy,
                format!("client {client}: the server asks to wait, again and again; resume later"),
            ),
            Ending::Unknown(reason) => RotateError::new(
                RotateErrorKind::OutcomeUnknown,
                format!(
                    "client {client}: whether the server took the change could not be found out \
                     ({reason}). Programs hold both secrets; resume when the server answers again"
                ),
            ),
            Ending::Stuck(reason) => RotateError::new(
                RotateErrorKind::Stuck(reason),
                format!("client {client}: {reason}"),
            ),
            Ending::Done => {
                RotateError::new(RotateErrorKind::NothingToResume, "the rotation is done")
            }
        }
    }
}

fn check_earlier(earlier: &Record, now: Timestamp) -> Result<(), RotateError> {
    if !earlier.is_over() {
        return Err(RotateError::new(
            RotateErrorKind::Unfinished,
            format!(
                "client {}: a rotation is in state {} and has not come to its end: resume it",
                earlier.client, earlier.state
            ),
        ));
    }
    match earlier.in_flight_until() {
        Some(until) if until > now => Err(RotateError::new(
            RotateErrorKind::Waiting(Vec::new()),
            format!(
                "client {}: a change of the last rotation had no answer and may still be on its way for \
                 {} s; begin then. Nothing was changed",
                earlier.client,
                until.since(now).as_secs() + 1
            ),
        )),
        _ => Ok(()),
    }
}

fn fleet(instances: Vec<Instance>) -> Fleet {
    let mut fleet = Fleet::default();
    for instance in instances {
        if !instance.live {
            continue;
        }
        match instance.report {
            Ok(report) => fleet.live.push(report),
            Err(reason) => fleet.unreadable.push(reason),
        }
    }
    fleet
}

fn history_line(record: &Record) -> serde_json::Value {
    json!({
        "at": record.since(),
        "client": record.client,
        "state": record.state,
        "old": record.old.id(),
        "new": record.new.id(),
        "revision": record.revision,
        "stuck": record.stuck.map(|(_, reason)| reason),
    })
}

fn finished(record: &Record) -> Finished {
    let states = record
        .entered
        .windows(2)
        .map(|pair| (pair[0].state, pair[1].at.since(pair[0].at)))
        .collect();
    Finished {
        old: record.old.id().clone(),
        new: record.new.id().clone(),
        revision: record.revision,
        states,
    }
}

enum Performed {
    Happened(Event),
    Over,
}

/// How this process waits: since when it is in a state, and what it told last, so that news is told
/// once.
#[derive(Default)]
struct Waiting {
    since: Option<(State, Instant)>,
    told: Option<(State, Vec<String>)>,
}

impl Waiting {
    /// How long this process has seen the rotation in this state, which an earlier one may have
    /// entered long ago.
    fn lasts(&mut self, state: State) -> Duration {
        match self.since {
            Some((since_state, since)) if since_state == state => since.elapsed(),
            _ => {
                self.since = Some((state, Instant::now()));
                Duration::ZERO
            }
        }
    }

    fn news(&mut self, state: State, missing: &[Missing]) -> bool {
        if missing.is_empty() {
            return false;
        }
        // How long an instance has been quiet changes with each look and is no news.
        let who = |one: &Missing| match one {
            Missing::InUse { application, instance, .. } => {
                format!("{application}/{instance} in use")
            }
            other => other.to_string(),
        };
        let told = Some((state, missing.iter().map(who).collect()));
        let news = self.told != told;
        self.told = told;
        news
    }
}
