//! One step of a rotation: from what happened to what is written down and done next.

use std::time::Duration;

use keyswap_core::{Revision, SecretList};

use super::gate::{Fleet, Missing, Quiet, not_adopted};
use super::policy::Timestamp;
use super::record::{Entered, Record, State, StuckReason};
use crate::authority::{AuthorityError, ChangeAnswer, Probe, ReadBack};

/// One of the two secrets of a rotation.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Which {
    /// The one that the server held when the rotation began.
    Old,
    /// The one that it brings.
    New,
}

/// What happened since the last step.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// A process took the journal up: for the first time, or after another one ended anywhere.
    TakenUp,
    /// There was nothing to do but to write the journal.
    Written,
    /// The list is published, now or by an earlier process, under this revision.
    Published(Revision),
    /// Another list is published, which this rotation did not write.
    ForeignList,
    /// The instances report.
    Fleet(Fleet),
    /// The server answered the change, or did not.
    Answered(ChangeAnswer),
    /// Which of the known secrets the server says it holds.
    ReadBack(ReadBack),
    /// What a token request with one of the secrets said.
    Probed(Which, Probe),
    /// The time is over.
    Waited,
}

/// What to do next, once the record is in the journal.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Effect {
    /// Nothing but to write the journal.
    Write,
    /// Publish this list in place of the given revision.
    Publish {
        /// The list.
        list: SecretList,
        /// The revision that it replaces.
        replaces: Revision,
        /// How often instances should attest their counts from now on.
        attest_every: Option<Duration>,
    },
    /// Look at the instances.
    Observe,
    /// Send the change to the server, once, with the new secret.
    Send,
    /// Ask the server which secret it holds.
    ReadBack,
    /// Make a token request with one of the secrets, without a fallback.
    Probe(Which),
    /// Wait that long, and a little more so that many do not come back together: the server asked for
    /// it.
    BackOff(Duration),
    /// Wait that long; the gate that is shut, if it is one, says for whom.
    Wait(Duration, Vec<Missing>),
    /// Stop here.
    Stop(Ending),
}

/// Why a rotation stops.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Ending {
    /// Everybody holds the new secret alone.
    Done,
    /// The server refused the change, definitely: it still holds the old secret, and programs hold
    /// both.
    Refused(AuthorityError),
    /// The server asked to wait, again and again.
    Throttled,
    /// Whether the server took the change could not be found out.
    Unknown(String),
    /// A person has to look.
    Stuck(StuckReason),
}

/// A rotation in progress: its journal, and what this process has seen since it took it up.
///
/// The second part may be lost at any time; everything that a later process needs is in the
/// [`Record`].
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
#[must_use]
pub struct Rotation {
    record: Record,
    seen: Seen,
}

#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
struct Seen {
    quiet: Quiet,
    /// The unbroken run of probes that accepted the new secret.
    accepted: u32,
    accepted_since: Option<Timestamp>,
    /// Since when neither secret was accepted.
    neither_since: Option<Timestamp>,
    /// When the new secret was accepted last while instances are waited for, and for whom.
    proved: Option<Timestamp>,
    missing: Vec<Missing>,
    /// The server asked to wait before the change.
    throttled: u32,
    asked: u32,
}

/// How often in a row the server may ask to wait before this process gives up for now.
const MOST_THROTTLED: u32 = 10;
/// How many inquiries in a row may say nothing before this process gives up for now.
const MOST_DOUBTS: u32 = 30;

impl Rotation {
    /// Takes up a journal.
    pub fn new(record: Record) -> Self {
        Self { record, seen: Seen::default() }
    }

    /// The journal as it stands.
    #[must_use]
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// Replaces the declared applications: a person may have added one that a gate named.
    pub fn with_applications(mut self, applications: Vec<super::Application>) -> Self {
        self.record.policy.applications = applications;
        self
    }

    /// Notes where the history ends, for the journal.
    pub fn note_history(&mut self, head: keyswap_store::HistoryHead) {
        self.record.history = Some(head);
    }

    /// Decides what follows `event`. The record must be in the journal before the effect is begun.
    #[must_use]
    pub fn step(&mut self, event: Event, now: Timestamp) -> Effect {
        use State::*;
        if matches!(event, Event::TakenUp) {
            self.seen = Seen::default();
            if let (Stuck, Some((state, _))) = (self.record.state, self.record.stuck.take()) {
                // A person has looked: go on from where it stopped, and look at the server first.
                self.record.change.unresolved |= state == CuttingOver;
                return self.enter(state, now);
            }
        }
        match self.record.state {
            Generated => self.generated(event, now),
            Staged => self.staged(event, now),
            Adopted => self.adopted(event, now),
            CuttingOver => self.cutting_over(event, now),
            CutOver => self.cut_over(event, now),
            Confirmed => self.confirmed(event, now),
            Promoted => self.promoted(event, now),
            Drained => self.drained(event, now),
            Retired => self.retired(event, now),
            Done => Effect::Stop(Ending::Done),
            Stuck => self.stuck_again(),
        }
    }

    fn generated(&mut self, event: Event, now: Timestamp) -> Effect {
        let behind = [self.record.old.clone(), self.record.new.clone()];
        self.publishing(event, behind.into(), None, State::Staged, now)
    }

    fn staged(&mut self, event: Event, now: Timestamp) -> Effect {
        let Event::Fleet(fleet) = event else { return Effect::Observe };
        let policy = &self.record.policy;
        let missing = not_adopted(&policy.applications, &fleet, self.record.revision);
        self.gate(missing, State::Adopted, now)
    }

    /// The intent is written before the change is sent, so that no process can send one of which the
    /// journal does not know.
    fn adopted(&mut self, _: Event, now: Timestamp) -> Effect {
        self.record.change.sends = 0;
        self.send(now)
    }

    fn send(&mut self, now: Timestamp) -> Effect {
        if self.record.change.sends >= self.record.policy.sends {
            let sends = self.record.change.sends;
            return Effect::Stop(Ending::Unknown(format!("the change was sent {sends} times")));
        }
        self.record.change.sends += 1;
        self.record.change.last_sent = now;
        self.seen.asked = 0;
        if self.record.state != State::CuttingOver {
            let _ = self.enter(State::CuttingOver, now);
        }
        Effect::Send
    }

    fn cutting_over(&mut self, event: Event, now: Timestamp) -> Effect {
        match event {
            Event::Answered(answer) => self.answered(answer, now),
            Event::ReadBack(ReadBack::Holds(id)) if id == *self.record.new.id() => {
                self.enter(State::CutOver, now)
            }
            Event::ReadBack(ReadBack::Holds(id)) if id == *self.record.old.id() => {
                self.not_applied_yet(now)
            }
            Event::ReadBack(ReadBack::Unavailable(_)) => Effect::Probe(Which::New),
            Event::ReadBack(found) => self.foreign(&found, now),
            Event::Probed(Which::New, Probe::Accepted) => self.enter(State::CutOver, now),
            Event::Probed(Which::Old, Probe::Accepted) => {
                self.seen.neither_since = None;
                self.not_applied_yet(now)
            }
            Event::Probed(Which::New, Probe::Refused) => Effect::Probe(Which::Old),
            Event::Probed(Which::Old, Probe::Refused) => self.neither(now),
            Event::Probed(_, Probe::Inconclusive(reason)) => self.doubt(reason),
            Event::Waited if self.seen.throttled > 0 && !self.record.change.unresolved => {
                self.send(now)
            }
            Event::TakenUp => {
                // An earlier process may have sent the change and not lived to see the answer.
                self.record.change.unresolved = true;
                Effect::ReadBack
            }
            _ => Effect::ReadBack,
        }
    }

    fn answered(&mut self, answer: ChangeAnswer, now: Timestamp) -> Effect {
        match answer {
            ChangeAnswer::Applied => {
                // This send has its outcome; an earlier one that has none writes the same value.
                self.enter(State::CutOver, now)
            }
            ChangeAnswer::Refused(_) if self.record.change.unresolved => {
                // This send was refused, and an earlier one may have been applied.
                Effect::ReadBack
            }
            ChangeAnswer::Refused(error) => {
                let _ = self.enter(State::Adopted, now);
                Effect::Stop(Ending::Refused(error))
            }
            ChangeAnswer::RetryAfter(time) => {
                self.seen.throttled += 1;
                // A request that was turned away was not applied, so it is not one of the sends that
                // are bounded because their outcome is not known.
                self.record.change.sends -= 1;
                if self.seen.throttled >= MOST_THROTTLED {
                    return Effect::Stop(Ending::Throttled);
                }
                Effect::BackOff(time)
            }
            ChangeAnswer::Unknown(_) => {
                self.record.change.unresolved = true;
                Effect::ReadBack
            }
        }
    }

    /// The server holds the old secret. The change may still be on its way to it, or to the node that
    /// was asked, so the same value is sent again only after the propagation window.
    fn not_applied_yet(&mut self, now: Timestamp) -> Effect {
        if now.since(self.record.change.last_sent) >= self.record.policy.window() {
            return self.send(now);
        }
        Effect::Wait(self.record.policy.poll_every, Vec::new())
    }

    /// Neither secret was accepted: by two nodes of which each holds the other one, or because
    /// somebody else changed it. Only the first passes with the propagation window.
    fn neither(&mut self, now: Timestamp) -> Effect {
        let since = *self.seen.neither_since.get_or_insert(now);
        if now.since(since) > self.record.policy.window() {
            return self.stuck(StuckReason::ForeignSecret, now);
        }
        Effect::Wait(self.record.policy.poll_every, Vec::new())
    }

    fn doubt(&mut self, reason: String) -> Effect {
        self.seen.asked += 1;
        if self.seen.asked >= MOST_DOUBTS {
            return Effect::Stop(Ending::Unknown(reason));
        }
        Effect::Wait(self.record.policy.poll_every, Vec::new())
    }

    fn cut_over(&mut self, event: Event, now: Timestamp) -> Effect {
        let policy = &self.record.policy;
        let (window, every, probes) = (policy.window(), policy.probe_every(), policy.probes);
        match event {
            Event::Probed(Which::New, Probe::Accepted) => {
                self.seen.accepted += 1;
                self.seen.asked = 0;
                self.seen.neither_since = None;
                let since = *self.seen.accepted_since.get_or_insert(now);
                if self.seen.accepted >= probes && now.since(since) >= window {
                    return self.enter(State::Confirmed, now);
                }
                Effect::Wait(every, Vec::new())
            }
            Event::Probed(..) | Event::ReadBack(_) => self.doubted(event, now),
            _ => Effect::Probe(Which::New),
        }
    }

    /// The new secret, which was accepted before, was not accepted by this probe: in the propagation
    /// window that is to be expected, after it the server is asked what it holds.
    fn doubted(&mut self, event: Event, now: Timestamp) -> Effect {
        let every = self.record.policy.probe_every();
        match event {
            Event::Probed(Which::New, Probe::Refused) => {
                self.seen.accepted = 0;
                self.seen.accepted_since = None;
                let since = *self.seen.neither_since.get_or_insert(now);
                if now.since(since.max(self.record.change.last_sent)) <= self.record.policy.window()
                {
                    return Effect::Wait(every, Vec::new());
                }
                Effect::ReadBack
            }
            Event::Probed(Which::Old, Probe::Accepted) => {
                self.stuck(StuckReason::OldSecretReturned, now)
            }
            Event::Probed(Which::Old, Probe::Refused) => {
                self.stuck(StuckReason::ForeignSecret, now)
            }
            Event::ReadBack(ReadBack::Unavailable(_)) => Effect::Probe(Which::Old),
            // Held, and not accepted yet: some nodes are late.
            Event::ReadBack(ReadBack::Holds(id)) if id == *self.record.new.id() => {
                Effect::Wait(every, Vec::new())
            }
            Event::ReadBack(found) => self.foreign(&found, now),
            Event::Probed(_, Probe::Inconclusive(reason)) => self.doubt(reason),
            _ => Effect::Wait(every, Vec::new()),
        }
    }

    fn confirmed(&mut self, event: Event, now: Timestamp) -> Effect {
        let in_front = [self.record.new.clone(), self.record.old.clone()];
        let attest = Some(self.record.policy.attest_every());
        self.publishing(event, in_front.into(), attest, State::Promoted, now)
    }

    /// While instances stop using the old secret, the server is asked from time to time whether it still
    /// takes the new one. If somebody else changed it, programs try both again and again, so the gate
    /// would stay shut and nobody would say why.
    fn promoted(&mut self, event: Event, now: Timestamp) -> Effect {
        let policy = &self.record.policy;
        match event {
            Event::Fleet(fleet) => {
                let wanted = (self.record.revision, self.record.old.id(), policy.quiet());
                let missing =
                    self.seen.quiet.not_drained(&policy.applications, &fleet, wanted, now);
                let due = self.seen.neither_since.is_some()
                    || now.since(*self.seen.proved.get_or_insert(now)) >= policy.window();
                if due && !missing.is_empty() {
                    self.seen.missing = missing;
                    return Effect::Probe(Which::New);
                }
                self.gate(missing, State::Drained, now)
            }
            Event::Probed(Which::New, Probe::Accepted) => {
                self.seen.neither_since = None;
                self.seen.asked = 0;
                self.seen.proved = Some(now);
                Effect::Wait(policy.poll_every, self.seen.missing.clone())
            }
            Event::Probed(..) | Event::ReadBack(_) => self.doubted(event, now),
            _ => Effect::Observe,
        }
    }

    /// Before the old secret is taken away from anybody, the server shows that it takes the new one
    /// and not the old one. So nothing has to be given back if it does not.
    fn drained(&mut self, event: Event, now: Timestamp) -> Effect {
        let window = self.record.policy.window();
        match event {
            Event::Probed(Which::New, Probe::Accepted) => {
                self.seen.neither_since = None;
                Effect::Probe(Which::Old)
            }
            Event::Probed(Which::Old, Probe::Refused) if self.seen.neither_since.is_none() => {
                self.publish_new_alone()
            }
            Event::Probed(Which::Old, Probe::Accepted) if self.seen.neither_since.is_none() => {
                if now.since(self.record.since()) > window {
                    return self.stuck(StuckReason::OldSecretStillAccepted, now);
                }
                Effect::Wait(self.record.policy.poll_every, Vec::new())
            }
            Event::Probed(..) | Event::ReadBack(_) => self.doubted(event, now),
            Event::Published(revision) => {
                self.record.revision = revision;
                self.enter(State::Retired, now)
            }
            Event::ForeignList => self.stuck(StuckReason::ForeignList, now),
            _ => Effect::Probe(Which::New),
        }
    }

    fn publish_new_alone(&self) -> Effect {
        self.publish(vec![self.record.new.clone()], None)
    }

    fn retired(&mut self, event: Event, now: Timestamp) -> Effect {
        let Event::Fleet(fleet) = event else { return Effect::Observe };
        let policy = &self.record.policy;
        let missing = not_adopted(&policy.applications, &fleet, self.record.revision);
        if missing.is_empty() {
            self.record.retire_old(now);
        }
        self.gate(missing, State::Done, now)
    }

    fn publishing(
        &mut self,
        event: Event,
        secrets: Vec<keyswap_core::Secret>,
        attest_every: Option<Duration>,
        then: State,
        now: Timestamp,
    ) -> Effect {
        match event {
            Event::Published(revision) => {
                self.record.revision = revision;
                self.enter(then, now)
            }
            Event::ForeignList => self.stuck(StuckReason::ForeignList, now),
            _ => self.publish(secrets, attest_every),
        }
    }

    fn publish(
        &self,
        secrets: Vec<keyswap_core::Secret>,
        attest_every: Option<Duration>,
    ) -> Effect {
        match SecretList::new(secrets) {
            Ok(list) => Effect::Publish { list, replaces: self.record.revision, attest_every },
            // The old and the new secret are different ones, or the rotation would not have begun.
            Err(_) => Effect::Stop(Ending::Stuck(StuckReason::ForeignList)),
        }
    }

    fn gate(&mut self, missing: Vec<Missing>, then: State, now: Timestamp) -> Effect {
        if missing.is_empty() {
            return self.enter(then, now);
        }
        Effect::Wait(self.record.policy.poll_every, missing)
    }

    fn enter(&mut self, state: State, now: Timestamp) -> Effect {
        self.record.state = state;
        self.record.entered.push(Entered { state, at: now });
        self.seen.asked = 0;
        self.seen.neither_since = None;
        Effect::Write
    }

    /// The server says that it holds something else than it should.
    fn foreign(&mut self, found: &ReadBack, now: Timestamp) -> Effect {
        let reason = match found {
            ReadBack::Holds(id) if id == self.record.old.id() => StuckReason::OldSecretReturned,
            ReadBack::Holds(_) => StuckReason::RetiredSecretReturned,
            _ => StuckReason::ForeignSecret,
        };
        self.stuck(reason, now)
    }

    fn stuck(&mut self, reason: StuckReason, now: Timestamp) -> Effect {
        self.record.stuck = Some((self.record.state, reason));
        self.enter(State::Stuck, now)
    }

    fn stuck_again(&self) -> Effect {
        let reason = self.record.stuck.map_or(StuckReason::ForeignSecret, |(_, reason)| reason);
        Effect::Stop(Ending::Stuck(reason))
    }
}
