//! The loop around the step: the record first, then the act that it announces.

use std::time::Duration;

use super::asked::Stops;
use super::clock::Clock;
use super::keep::keeping;
use super::trace::{self, About, request};
use super::waiting::Waiting;
use super::{Finished, Rotator, journal, stop};
use crate::authority::pace::{LONGEST_PAUSE, with_jitter};
use crate::authority::{AddAnswer, Authority, ChangeAnswer};
use crate::error::{RotateError, RotateErrorKind};
use crate::progress::Progress;
use crate::rotation::{
    Application, Direction, Effect, Ending, Event, Fleet, Plan, Record, Rotation, SlotChange,
    State, StuckReason, Timestamp, UnreadableReport, Uses,
};
use keyswap_core::{Revision, Secret, SecretDocument, SecretList};
use keyswap_store::{Instance, Lease, SecretStore, StoreError};
use serde_json::json;
use tracing::{Instrument, Span};

impl<A: Authority, S: SecretStore> Rotator<A, S> {
    /// Takes the journal up with an event: [`Event::TakenUp`], or what a person wants.
    pub(super) async fn take_up(
        &self,
        event: Event,
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
            return Err(match event {
                Event::TakenUp | Event::CompromisedWanted(_) => {
                    nothing("there is no rotation to resume; begin one")
                }
                _ => nothing("there is no rotation; nothing was changed"),
            });
        };
        if record.is_over() && matches!(event, Event::TakenUp | Event::CompromisedWanted(_)) {
            return Err(nothing(match record.direction() {
                Direction::Forward => "the last rotation is done; there is nothing to resume",
                Direction::Back => "the last rotation was rolled back; there is nothing to resume",
            }));
        }
        if !record.is_over() {
            self.published_in(&record).await?;
        }
        let (state, direction) = (record.state, record.direction());
        self.tell(Progress::TakenUp { state, direction });
        let mut rotation = Rotation::new(record.clone()).asked_by(self.asker.clone());
        if let Some(applications) = applications {
            rotation = rotation.with_applications(applications);
        }
        let state = trace::taken_up(&record);
        self.carry_out((rotation, state), record, event, lease).await
    }

    /// A rotation that begins: nothing of it is in the journal yet.
    pub(super) async fn begin_with(
        &self,
        record: Record,
        lease: &Lease,
    ) -> Result<Finished, RotateError> {
        let mut rotation = Rotation::new(record);
        self.write(&mut rotation, true, lease).await?;
        self.tell_entered(rotation.record());
        let written = rotation.record().clone();
        let state = trace::entered(&written);
        self.carry_out((rotation, state), written, Event::TakenUp, lease).await
    }

    /// The loop around [`Rotation::step`]: the record first, then the act that it announces.
    async fn carry_out(
        &self,
        (mut rotation, mut state): (Rotation, Span),
        mut written: Record,
        mut event: Event,
        lease: &Lease,
    ) -> Result<Finished, RotateError> {
        let clock = Clock::starting(written.latest());
        if let Some(behind) = clock.behind() {
            self.note(format!(
                "the clock of this machine is {} s behind the journal: it was set back. The rotation \
                 goes on from the time of the journal",
                behind.as_secs().max(1)
            ));
        }
        let mut waiting = Waiting::default();
        loop {
            let hold = self.hold().await;
            rotation.note_hold(
                hold.map_err(|error| {
                    self.store_error("reading the hold", error, rotation.record())
                })?,
            );
            let effect = rotation.step(event, clock.now());
            if written != *rotation.record() {
                let entered = written.entered.len() != rotation.record().entered.len();
                self.write(&mut rotation, entered, lease).await?;
                state.in_scope(|| self.tell_broken(&written, rotation.record()));
                if entered {
                    self.tell_entered(rotation.record());
                    state = trace::entered(rotation.record());
                }
                written = rotation.record().clone();
            }
            let record = rotation.record();
            let stops = Stops::at(&effect, record);
            let asked = || stop::interrupted(&record.client, Some(record));
            if let Some(unsent) = effect.unsent() {
                // What it has to wait for comes before the look at the lease.
                let ready = Box::pin(keeping(&self.store, lease, self.authority.ready()));
                let ready = match stops {
                    Stops::No => Some(ready.await),
                    _ => self.asked_to_stop.or(ready).await,
                };
                let Some(ready) = ready else {
                    // Or whoever takes it up had to take it for one that may be on its way.
                    let _ = rotation.step(unsent, clock.now());
                    self.write(&mut rotation, false, lease).await?;
                    let record = rotation.record();
                    return Err(stop::interrupted(&record.client, Some(record)));
                };
                ready.map_err(|error| {
                    self.store_error("keeping the rotation lease", error, record)
                })?;
            } else if stops != Stops::No && self.asked_to_stop.is_there() {
                return Err(asked());
            }
            // What is done around it would hold it, and hold it once more, each time that it is handed on.
            let act = Box::pin(self.perform(effect, record, lease, (&mut waiting, clock.now())));
            let act = act.instrument(state.clone());
            let act = keeping(&self.store, lease, act);
            let performed = match stops {
                Stops::Within => self.asked_to_stop.or(act).await.ok_or_else(asked)?,
                Stops::Before | Stops::No => act.await,
            };
            let performed = performed
                .map_err(|error| self.store_error("keeping the rotation lease", error, record))?;
            event = match performed? {
                Performed::Happened(event) => event,
                Performed::Over => return Ok(finished(rotation.record(), waiting.asked)),
            };
        }
    }

    async fn perform(
        &self,
        effect: Effect,
        record: &Record,
        lease: &Lease,
        (waiting, now): (&mut Waiting, Timestamp),
    ) -> Result<Performed, RotateError> {
        Ok(Performed::Happened(match effect {
            Effect::Write => Event::Written,
            Effect::Publish { list, replaces, instead_of, attest_every } => {
                let replaced = (replaces, instead_of.as_slice());
                self.publish(&list, replaced, attest_every, record, lease).await?
            }
            Effect::Observe => Event::Fleet(self.fleet(record).await?),
            Effect::Send => {
                self.check_lease(record, lease).await?;
                let Some(target) = record.secret(record.target()) else {
                    return Err(stop::value_unknown(record));
                };
                let about = About::Secret(target.id());
                let answer = request("set_secret", about, self.authority.set_secret(target)).await;
                if let ChangeAnswer::Unknown(reason) = &answer {
                    self.note(format!(
                        "no certain answer to the change ({reason}); asking the server"
                    ));
                }
                Event::Answered(answer)
            }
            Effect::Add => {
                self.check_lease(record, lease).await?;
                let about = About::Secret(record.new.id());
                let answer = match record.plan {
                    Plan::Regenerate(_) => {
                        let sending = self.authority.regenerate_secret(record.new.id());
                        request("regenerate_secret", about, sending).await
                    }
                    _ if record.change.unresolved => {
                        let sending = self.authority.add_secret_again(&record.new, &record.old);
                        request("add_secret_again", about, sending).await
                    }
                    _ => request("add_secret", about, self.authority.add_secret(&record.new)).await,
                };
                if let AddAnswer::Unknown(reason) = &answer {
                    self.note(format!(
                        "no certain answer to the request for a secret ({reason}); asking the server"
                    ));
                }
                Event::Added(answer)
            }
            Effect::ChangeSlot(slot, change) => {
                self.check_lease(record, lease).await?;
                let name = match change {
                    SlotChange::Activate => "activate_secret",
                    SlotChange::Deactivate => "deactivate_secret",
                    SlotChange::Remove => "remove_secret",
                };
                let sending = async {
                    match change {
                        SlotChange::Activate => self.authority.set_active(&slot, true).await,
                        SlotChange::Deactivate => self.authority.set_active(&slot, false).await,
                        SlotChange::Remove => match stays(record) {
                            Some(secret) => {
                                self.authority.remove_secret_beside(&slot, secret).await
                            }
                            None => self.authority.remove_secret(&slot).await,
                        },
                    }
                };
                Event::SlotChanged(request(name, About::Slot(&slot), sending).await)
            }
            Effect::List => {
                let known = record.known();
                let sending = self.authority.slots(&known);
                Event::Listed(request("list_secrets", About::Client, sending).await)
            }
            Effect::ReadBack => {
                let known = record.known();
                let sending = self.authority.read_back(&known);
                Event::ReadBack(request("read_back", About::Client, sending).await)
            }
            Effect::Probe(which) => {
                let Some(secret) = record.secret(which) else {
                    return Err(stop::value_unknown(record));
                };
                let about = About::Secret(secret.id());
                Event::Probed(which, request("probe", about, self.authority.probe(secret)).await)
            }
            Effect::ProbeRetired(id) => {
                let Some(secret) = record.retired_secret(&id) else {
                    return Err(stop::value_unknown(record));
                };
                let sending = self.authority.probe(secret);
                let answer = request("probe", About::Secret(&id), sending).await;
                Event::ProbedRetired(id, answer)
            }
            Effect::BackOff(time) => {
                self.note(format!("the server asks to wait {} s", time.as_secs().max(1)));
                let pause = with_jitter(time.min(LONGEST_PAUSE), rand::random());
                waiting.pause(pause).await;
                Event::Waited
            }
            Effect::Wait(time, missing) => {
                let (state, since) = (record.state, record.since());
                let lasts = waiting.lasts(state);
                let awaited = waiting.look(missing, now);
                if waiting.news(state, &awaited) {
                    let missing = awaited.clone();
                    self.tell(Progress::Waiting { state, since, missing });
                }
                let patience = self.patience_with(&record.policy);
                if lasts > patience {
                    return Err(stop::still_waiting(record, &awaited));
                }
                // A long pause ends with the patience.
                let left = patience.saturating_sub(lasts) + Duration::from_millis(1);
                waiting.pause(time.min(left.max(record.policy.poll_every))).await;
                Event::Waited
            }
            Effect::Stop(Ending::Done | Ending::RolledBack) => return Ok(Performed::Over),
            Effect::Stop(ending) => return Err(stop::stopped(ending, record)),
        }))
    }

    /// The list may have been published by a process that did not live to write that down, so what
    /// counts is what is published.
    async fn publish(
        &self,
        list: &SecretList,
        (replaces, instead_of): (Revision, &[SecretList]),
        attest_every: Option<Duration>,
        record: &Record,
        lease: &Lease,
    ) -> Result<Event, RotateError> {
        let failed = |error| self.store_error("publishing the list", error, record);
        let document = self.published_in(record).await?;
        if document.revision > replaces && document.list == *list {
            return Ok(Event::Published(document.revision));
        }
        let own = document.revision > replaces && instead_of.contains(&document.list);
        if document.revision != replaces && !own {
            return Ok(Event::ForeignList);
        }
        match self.store.publish(lease, document.revision, list, attest_every).await {
            Ok(revision) => Ok(Event::Published(revision)),
            Err(error) if error.is_conflict() => Ok(Event::ForeignList),
            Err(error) => Err(failed(error)),
        }
    }

    /// The published list. A store that lost it in mid-rotation is no place to go on from: whoever starts
    /// now finds nothing, and nobody can say any more which list the others hold.
    async fn published_in(&self, record: &Record) -> Result<SecretDocument, RotateError> {
        let published = self.store.published().await;
        published.map_err(|error| self.store_error("reading the list", error, record))?.ok_or_else(
            || {
                RotateError::new(
                    RotateErrorKind::Stuck(StuckReason::ForeignList),
                    format!(
                        "client {}: {} has lost the published list in mid-rotation (state {}, revision \
                         {}). Nothing was changed, and each secret is in the journal still: put the \
                         list back from a backup, then resume",
                        record.client,
                        self.store.describe(),
                        record.state,
                        record.revision
                    ),
                )
            },
        )
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
            let mut line = history_line(record, &self.asker.holder);
            if let Some(uses) = self.uses(record).await {
                line["uses"] = json!(uses);
            }
            let head = self
                .store
                .append_history(lease, &line)
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

    /// What the instances do with the two secrets as a state is entered, for whoever looks later. No step rests on
    /// it, so what cannot be read is left out; and while programs are without a secret nothing is waited for.
    async fn uses(&self, record: &Record) -> Option<Uses> {
        if record.is_in_a_gap() {
            return None;
        }
        let instances = self.store.instances().await.ok()?;
        let secrets = (record.old.id(), record.new.id());
        Some(Uses::of(&instances, secrets, record.since()))
    }

    fn store_error(&self, doing: &str, error: StoreError, record: &Record) -> RotateError {
        let forward = record.rollback.map(|rollback| rollback.forward);
        let mut changes = [Some(record.change), forward].into_iter().flatten();
        let sent = changes.any(|change| change.sends > 0 || change.unresolved);
        RotateError::store(doing, error, sent)
    }

    fn tell_entered(&self, record: &Record) {
        let after = match record.entered.as_slice() {
            [.., before, last] => Some(last.at.since(before.at)),
            _ => None,
        };
        let (state, direction) = (record.state, record.direction());
        let hurries = record.hurries();
        let regenerates = matches!(record.plan, Plan::Regenerate(_));
        self.tell(Progress::Entered { state, direction, after, hurries, regenerates });
    }

    fn tell_broken(&self, written: &Record, record: &Record) {
        let broken = record.broken().iter().skip(written.broken().len());
        let broken: Vec<_> = broken.map(|one| one.missing.clone()).collect();
        if !broken.is_empty() {
            self.tell(Progress::Broken(broken));
        }
        for one in record.left_out_at_gates.iter().skip(written.left_out_at_gates.len()) {
            self.note(format!("left out at a person's word, and may lose access: {}", one.missing));
        }
    }

    fn note(&self, text: String) {
        self.tell(Progress::Note(text));
    }
}

pub(super) fn fleet(instances: Vec<Instance>) -> Fleet {
    let mut unreadable = Vec::new();
    // In the memory of the instances: there may be many.
    let live = instances.into_iter().filter(|instance| instance.live).filter_map(|one| {
        let Instance { instance, report, .. } = one;
        report.map_err(|reason| unreadable.push(UnreadableReport { instance, reason })).ok()
    });
    let live = live.collect();
    Fleet { live, unreadable }
}

/// The secret that the programs go on with when another one is removed.
fn stays(record: &Record) -> Option<&Secret> {
    match record.state {
        State::MakingRoom | State::Adding => Some(&record.old),
        _ => record.secret(record.target()),
    }
}

/// The last one holds the whole [account](Record::account).
fn history_line(record: &Record, holder: &str) -> serde_json::Value {
    let mut line = json!({
        "at": record.since(),
        "client": record.client,
        "holder": holder,
        "state": record.state,
        "old": record.old.id(),
        "new": record.new.id(),
        "revision": record.revision,
        "stuck": record.stuck.map(|(_, reason)| reason),
    });
    if let Some(removal) = record.removal().filter(|_| record.state == State::MakingRoom) {
        line["removes"] = json!(removal);
    }
    if let Some(rollback) = record.rollback {
        line["rolled_back_from"] = json!(rollback.from);
    }
    if let Some(readmitted) = record.readmitted_here() {
        line["readmitted"] = json!(readmitted);
    }
    let broken: Vec<_> = record.broken_here().collect();
    if !broken.is_empty() {
        line["broken"] = json!(broken);
    }
    let words = record.words_that_led_here();
    if !words.is_empty() {
        line["asked"] = json!(words);
    }
    if record.is_over() {
        line["account"] = record.account();
    }
    line
}

fn finished(record: &Record, waited: Duration) -> Finished {
    let states = record
        .entered
        .windows(2)
        .map(|pair| (pair[0].state, pair[1].at.since(pair[0].at)))
        .collect();
    Finished {
        old: record.id(record.source()).clone(),
        new: record.id(record.target()).clone(),
        rolled_back: record.direction() == Direction::Back,
        revision: record.revision,
        states,
        waited,
    }
}

enum Performed {
    Happened(Event),
    Over,
}
