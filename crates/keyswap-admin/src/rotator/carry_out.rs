//! The loop around the step: the record first, then the act that it announces.

use std::time::Duration;

use keyswap_core::{Revision, SecretList};
use keyswap_store::{Instance, Lease, SecretStore, StoreError};
use serde_json::json;
use tokio::time::Instant;

use super::keep::keeping;
use super::{Finished, Rotator, journal, stop};
use crate::authority::{Authority, ChangeAnswer};
use crate::error::{RotateError, RotateErrorKind};
use crate::progress::Progress;
use crate::rotation::{
    Application, Effect, Ending, Event, Fleet, Missing, Record, Rotation, State, Timestamp, Which,
};

/// Longest pause that a server may ask for before the process gives up for now.
const LONGEST_BACK_OFF: Duration = Duration::from_secs(300);

impl<A: Authority, S: SecretStore> Rotator<A, S> {
    pub(super) async fn take_up(
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
    pub(super) async fn carry_out(
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
            let record = rotation.record();
            let act = self.perform(effect, record, lease, &mut waiting);
            let performed = keeping(&self.store, lease, act)
                .await
                .map_err(|error| self.store_error("keeping the rotation lease", error, record))?;
            event = match performed? {
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
                if let ChangeAnswer::Unknown(reason) = &answer {
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
                    return Err(stop::still_waiting(record, missing));
                }
                tokio::time::sleep(time).await;
                Event::Waited
            }
            Effect::Stop(Ending::Done) => return Ok(Performed::Over),
            Effect::Stop(ending) => return Err(stop::stopped(ending, record)),
        }))
    }

    /// The list may have been published by a process that did not live to write that down, so what
    /// counts is what is published.
    async fn publish(
        &self,
        list: &SecretList,
        replaces: Revision,
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
    /// timely one. While the request is under way the lease is [kept](super::keep) like any other time,
    /// and a request whose lease is lost is dropped.
    async fn check_lease(&self, record: &Record, lease: &Lease) -> Result<(), RotateError> {
        let checked = self.store.renew(lease).await.map(drop);
        checked.map_err(|error| self.store_error("checking the rotation lease", error, record))
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
