//! One step of a rotation: from what happened to what is written down and done next.
//!
//! The way back is the same machine: the [target](Record::target) and the [source](Record::source) have
//! exchanged their values. What the server says of the change is in `change`.

mod canonical;

use std::collections::BTreeSet;
use std::time::Duration;

use keyswap_core::{Secret, SecretId, SecretList};
use keyswap_store::Hold;

use super::back::Direction;
use super::confirmation::Gate;
use super::event::{Effect, Ending, Event, Which};
use super::evidence::{Asker, Unused, Wish};
use super::gate::{Fleet, Missing, Quiet};
use super::overrides::Awaited;
use super::policy::Timestamp;
use super::record::Record;
use super::slots::SentSlotChange;
use super::state::{State, StuckReason};
use crate::authority::{AuthorityError, Listed, Probe, SlotId};

/// A rotation in progress: its journal, and what this process has seen since it took it up.
///
/// The second part may be lost at any time; everything that a later process needs is in the
/// [`Record`].
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
#[must_use]
pub struct Rotation {
    pub(super) record: Record,
    pub(super) seen: Seen,
    /// Who asks for what this process is to do.
    asker: Option<Asker>,
    pub(super) hold: Option<Hold>,
}

#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub(super) struct Seen {
    quiet: Quiet,
    /// The unbroken run of probes that accepted the target.
    pub(super) accepted: u32,
    pub(super) accepted_since: Option<Timestamp>,
    /// Since when the target was not accepted, or neither secret was.
    pub(super) neither_since: Option<Timestamp>,
    /// Since when no retired secret was accepted either.
    pub(super) no_retired_since: Option<Timestamp>,
    /// When the probe of the target was begun whose answer is awaited or was a refusal. It says how
    /// things were then or later, so it is evidence from then, however late it comes.
    pub(super) probed_target: Option<Timestamp>,
    /// When the token request was begun whose answer is awaited, with whichever secret; likewise.
    pub(super) probing: Option<Timestamp>,
    /// Since when nothing more was seen of what made the rotation [doubted](Record::doubted).
    pub(super) doubted: Option<Timestamp>,
    /// Since when the target is proved once more after that.
    pub(super) held_since: Option<Timestamp>,
    /// When the look at the instances was begun whose outcome is awaited; likewise.
    looking: Option<Timestamp>,
    /// When the server was asked for its list, if that is awaited; likewise.
    pub(super) listing: Option<Timestamp>,
    /// Since when the source was accepted, although it should not be.
    pub(super) both_since: Option<Timestamp>,
    /// When the target was accepted last while instances are waited for, and for whom.
    proved: Option<Timestamp>,
    missing: Vec<Missing>,
    /// Whether this process has seen that the source may be taken out of the list.
    pub(super) may_retire: bool,
    /// The server asked to wait before the change.
    pub(super) throttled: u32,
    pub(super) asked: u32,
    /// The one that the server lists and did not when the rotation began; a probe tells whether it is the
    /// new one.
    pub(super) appeared: Option<SlotId>,
    /// Why the server refused to add the new secret, although an earlier request may have added it.
    pub(super) refused: Option<AuthorityError>,
    /// A person has looked at what appeared.
    pub(super) appeared_is_known: bool,
    pub(super) slot_change: Option<SentSlotChange>,
    /// Since when what goes to make room was seen to be out of force.
    pub(super) out_of_force_since: Option<Timestamp>,
}

impl Rotation {
    /// Takes up a journal.
    pub fn new(record: Record) -> Self {
        Self { record, seen: Seen::default(), asker: None, hold: None }
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

    /// Says who asks for what this process is to do, for the record.
    pub fn asked_by(mut self, asker: Asker) -> Self {
        self.asker = Some(asker);
        self
    }

    /// Notes where the history ends, for the journal.
    pub fn note_history(&mut self, head: keyswap_store::HistoryHead) {
        self.record.history = Some(head);
    }

    /// Decides what follows `event`. The record must be in the journal before the effect is begun.
    ///
    /// A process begins with [`Event::TakenUp`], or with what a person wants:
    /// [`Event::RollbackWanted`], [`Event::RetireWanted`].
    #[must_use]
    pub fn step(&mut self, event: Event, now: Timestamp) -> Effect {
        // Programs are without a secret then, and whoever stops there prolongs that.
        let in_a_gap = self.record.is_in_a_gap();
        let in_force = |hold: &&Hold| hold.is_in_force(now.milliseconds()) && !in_a_gap;
        match self.hold.as_ref().filter(in_force).cloned() {
            Some(hold) => self.step_under(hold, event, now),
            None => self.step_within_windows(event, now),
        }
    }

    pub(super) fn step_on(&mut self, event: Event, now: Timestamp) -> Effect {
        let effect = self.decide(event, now);
        self.seen.looking = matches!(effect, Effect::Observe).then_some(now);
        self.seen.listing = matches!(effect, Effect::List).then_some(now);
        self.seen.probing = matches!(effect, Effect::Probe(_)).then_some(now);
        self.seen.probed_target = match effect {
            Effect::Probe(which) if which == self.target() => Some(now),
            Effect::Probe(_) | Effect::ProbeRetired(_) | Effect::ReadBack | Effect::List => {
                self.seen.probed_target
            }
            _ => None,
        };
        effect
    }

    fn decide(&mut self, event: Event, now: Timestamp) -> Effect {
        use State::*;
        if let Some(effect) = self.readmitting(&event, now) {
            return effect;
        }
        if let Event::Listed(Listed::Slots(listed)) = &event {
            self.record.plan.note_expiry(listed);
        }
        match event {
            Event::ProbedRetired(id, answer) => return self.tried_retired(&id, answer, now),
            Event::RollbackWanted => return self.rollback_wanted(now),
            Event::RetireWanted => return self.retire_wanted(now),
            Event::CompromisedWanted(patience) => return self.compromised_wanted(patience, now),
            Event::TakenUp => {
                self.forget_what_was_seen(now);
                if self.record.plan.adds() {
                    self.an_earlier_process_may_have_sent(now);
                }
                if let (Stuck, Some((state, reason))) =
                    (self.record.state, self.record.stuck.take())
                {
                    // A person has looked: go on from where it stopped, and look at the server first.
                    let sent =
                        matches!(state, CuttingOver | Adding) && self.record.change.sends > 0;
                    self.record.change.unresolved |= sent;
                    let state = self.after_a_look(state, reason, now);
                    self.doubt_the_target(now);
                    // The old secret is not deactivated before the new one is proved once more.
                    let state = if state == Deactivating { Drained } else { state };
                    return self.enter(state, now);
                }
            }
            _ => {}
        }
        let (adds, regenerates) = (self.record.plan.adds(), self.record.plan.regenerates());
        match self.record.state {
            Generated if adds => self.asking(event, now),
            Generated if regenerates => self.about_to_ask(event, now),
            Generated => self.generated(event, now),
            MakingRoom => self.making_room(event, now),
            Adding if regenerates => self.awaiting_a_value(event, now),
            Adding => self.adding(event, now),
            Added if regenerates => self.handing_out(event, now),
            Added => self.generated(event, now),
            Staged => self.staged(event, now),
            Adopted if adds => self.proving(event, now),
            Adopted if regenerates => self.cut_over(event, now),
            Adopted => self.adopted(event, now),
            CuttingOver => self.cutting_over(event, now),
            CutOver => self.cut_over(event, now),
            Confirmed => self.confirmed(event, now),
            Promoted => self.promoted(event, now),
            Drained | Retiring if adds => self.drained_with_slots(event, now),
            Drained | Retiring => self.drained(event, now),
            Deactivating => self.deactivating(event, now),
            Deactivated => self.deactivated(event, now),
            Retired => self.retired(event, now),
            Removing => self.removing(event, now),
            Done => Effect::Stop(Ending::Done),
            Withdrawing => self.withdrawing(event, now),
            RolledBack => Effect::Stop(Ending::RolledBack),
            Stuck => self.stuck_again(),
        }
    }

    /// What a person's look at a stuck rotation that is resumed means for it; gives the state in which it
    /// goes on.
    fn after_a_look(&mut self, state: State, reason: StuckReason, now: Timestamp) -> State {
        if reason == StuckReason::ValueUnknown {
            self.another_is_wanted(now);
            return State::Adding;
        }
        self.seen.appeared_is_known = reason == StuckReason::SecretAppeared;
        // The old secret was to be led back to, and cannot be put back into force: everybody holds the new
        // one as well, so what is left is the way forward.
        if state == State::Adopted
            && reason == StuckReason::SecretGone
            && let Some(rollback) = self.record.rollback.take()
        {
            self.record.change = rollback.forward;
        }
        state
    }

    pub(super) fn forget_what_was_seen(&mut self, now: Timestamp) {
        // Whatever was done about the doubt, nobody knows when.
        self.seen = Seen { doubted: self.record.doubted.then_some(now), ..Seen::default() };
    }

    pub(super) fn note_word(&mut self, wish: Wish, now: Timestamp) {
        if let Some(asker) = self.asker.take() {
            self.record.note_word(wish, asker, now);
        }
    }

    fn generated(&mut self, event: Event, now: Timestamp) -> Effect {
        if self.record.direction() == Direction::Back {
            return self.returned(event, now);
        }
        self.publishing(event, (&[Which::Old, Which::New], &[], None), State::Staged, now)
    }

    /// The server holds a retired secret, and programs that do not hold it cannot sign in: that comes
    /// before anything else. Whether it may be replaced is for a person to say.
    fn returned(&mut self, event: Event, now: Timestamp) -> Effect {
        if let Event::Published(revision) = event {
            self.record.revision = revision;
            self.record.stuck = Some((State::Adopted, StuckReason::RetiredSecretPublished));
            return self.enter(State::Stuck, now);
        }
        self.publishing(event, (&[Which::New, Which::Old], &[], None), State::Stuck, now)
    }

    fn staged(&mut self, event: Event, now: Timestamp) -> Effect {
        let Event::Fleet(fleet) = event else { return self.looking_on(event, now) };
        if self.record.hurries() {
            return self.staged_in_a_hurry(&fleet, now);
        }
        let awaited = self.despite_words(self.not_adopted(&fleet));
        if let Some(stop) = self.unconfirmed(Gate::Adopted, &awaited.missing) {
            return stop;
        }
        // Elsewhere the server does not have the new secret yet, or programs do not need it.
        if self.record.plan.regenerates()
            && let Some(probe) = self.look_at_the_server(&awaited, now)
        {
            return probe;
        }
        self.gate_despite_words(awaited, State::Adopted, now)
    }

    fn confirmed(&mut self, event: Event, now: Timestamp) -> Effect {
        let (target, source) = (self.target(), self.source());
        let attest = Some(self.record.policy.attest_every());
        // On the way back, an earlier process may have published what the way forward comes to here, or
        // have been further on the way back already.
        let instead_of: &[&[Which]] = match self.record.direction() {
            Direction::Forward => &[],
            Direction::Back => &[&[source, target], &[target]],
        };
        self.publishing(event, (&[target, source], instead_of, attest), State::Promoted, now)
    }

    /// While instances stop using the source, the server is asked from time to time whether it still
    /// takes the target. If somebody else changed it, programs try both again and again, so the gate
    /// would stay shut and nobody would say why.
    fn promoted(&mut self, event: Event, now: Timestamp) -> Effect {
        let Event::Fleet(fleet) = event else { return self.looking_on(event, now) };
        let (missing, hurries) = (self.not_drained(&fleet, now), self.record.hurries());
        let awaited = self.despite_words(missing);
        let missing = &awaited.missing;
        if let Some(stop) = self.unconfirmed(Gate::Drained, missing).filter(|_| !hurries) {
            return stop;
        }
        if self.is_led_by_the_source(missing, now) {
            return self.enter(State::Confirmed, now);
        }
        if let Some(probe) = self.look_at_the_server(&awaited, now) {
            return probe;
        }
        if missing.is_empty() && !hurries {
            self.note_unused(&fleet, &awaited.instances_left_out());
        }
        self.gate_despite_words(awaited, State::Drained, now)
    }

    /// The look at the server while instances are waited for, if it is time for one.
    fn look_at_the_server(&mut self, awaited: &Awaited, now: Timestamp) -> Option<Effect> {
        let due = self.seen.neither_since.is_some()
            || now.since(*self.seen.proved.get_or_insert(now)) >= self.record.policy.window();
        if !due || awaited.missing.is_empty() {
            return None;
        }
        self.seen.missing = awaited.clone().all();
        Some(Effect::Probe(self.target()))
    }

    /// What came of that look; then instances are looked at again.
    fn looking_on(&mut self, event: Event, now: Timestamp) -> Effect {
        match event {
            Event::Probed(which, Probe::Accepted) if which == self.target() => {
                self.seen.neither_since = None;
                self.seen.asked = 0;
                self.seen.proved = Some(now);
                Effect::Wait(self.record.policy.poll_every, self.seen.missing.clone())
            }
            Event::Probed(..) | Event::ReadBack(_) | Event::Listed(_) | Event::SlotChanged(_) => {
                self.doubted(event, now)
            }
            _ => Effect::Observe,
        }
    }

    /// Who may still use the source, or does not hold the list with the target in front. In a hurry it is
    /// not asked who uses the source.
    pub(super) fn not_drained(&mut self, fleet: &Fleet, now: Timestamp) -> Vec<Missing> {
        if self.record.hurries() {
            return self.waited_for(self.not_adopted(fleet), fleet, now);
        }
        let policy = &self.record.policy;
        let readmitted = self.record.readmitted.iter().map(|one| &one.secret);
        let outgoing: Vec<&SecretId> =
            [self.record.id(self.source())].into_iter().chain(readmitted).collect();
        let wanted = (self.record.revision, outgoing.as_slice(), policy.quiet());
        let look = (self.seen.looking.unwrap_or(now), now);
        self.seen.quiet.not_drained(&policy.applications, fleet, wanted, look)
    }

    /// What the instances said to that is written down with it, since the next process begins anew.
    fn note_unused(&mut self, fleet: &Fleet, left_out: &BTreeSet<(String, String)>) {
        let (record, quiet) = (&self.record, self.record.policy.quiet());
        let mut attested = self.seen.quiet.attested(fleet);
        attested.retain(|one| !left_out.contains(&(one.application.clone(), one.instance.clone())));
        let mut unused =
            Unused::new(record.id(record.source()).clone(), record.revision, quiet, attested);
        unused.beside = record.readmitted.iter().map(|one| one.secret.clone()).collect();
        self.record.evidence.unused = Some(unused);
    }

    pub(super) fn publishing(
        &mut self,
        event: Event,
        (secrets, instead_of, attest_every): (&[Which], &[&[Which]], Option<Duration>),
        then: State,
        now: Timestamp,
    ) -> Effect {
        match event {
            Event::Published(revision) => {
                self.record.revision = revision;
                self.enter(then, now)
            }
            Event::ForeignList => self.stuck(StuckReason::ForeignList, now),
            _ => self.publish(secrets, instead_of, attest_every),
        }
    }

    pub(super) fn publish(
        &self,
        secrets: &[Which],
        instead_of: &[&[Which]],
        attest_every: Option<Duration>,
    ) -> Effect {
        let list = |secrets: &[Which]| {
            let known: Option<Vec<Secret>> =
                secrets.iter().map(|which| self.record.secret(*which).cloned()).collect();
            let mut known = known?;
            // For as long as the secret that goes is in the list, so is one that returned.
            if secrets.len() > 1 {
                known.extend(self.record.readmitted_secrets()?);
            }
            SecretList::new(known).ok()
        };
        let instead_of = instead_of.iter().map(|secrets| list(secrets)).collect();
        self.publishing_list(list(secrets), instead_of, attest_every)
    }

    pub(super) fn publishing_list(
        &self,
        list: Option<SecretList>,
        instead_of: Option<Vec<SecretList>>,
        attest_every: Option<Duration>,
    ) -> Effect {
        match (list, instead_of) {
            (Some(list), Some(instead_of)) => {
                let replaces = self.record.revision;
                Effect::Publish { list, replaces, instead_of, attest_every }
            }
            // The old and the new secret are different ones, or the rotation would not have begun, and
            // nothing is published before the value of both is known.
            _ => Effect::Stop(Ending::Stuck(StuckReason::ForeignList)),
        }
    }

    pub(super) fn gate(&mut self, missing: Vec<Missing>, then: State, now: Timestamp) -> Effect {
        if missing.is_empty() {
            return self.enter(then, now);
        }
        Effect::Wait(self.record.policy.poll_every, missing)
    }

    /// A person is asked first, and with the lease given back: the journal has to be free for the
    /// answer, and instances take up a list without a rotator as well.
    fn unconfirmed(&self, gate: Gate, missing: &[Missing]) -> Option<Effect> {
        let unconfirmed = self.record.unconfirmed(gate);
        if unconfirmed.is_empty() {
            return None;
        }
        let named = unconfirmed
            .into_iter()
            .map(|application| Missing::Confirmation { application, gate })
            .chain(missing.iter().cloned());
        Some(Effect::Stop(Ending::AwaitsConfirmation(named.collect())))
    }

    /// The name of the secret that is brought into force, for a probe.
    pub(super) fn target(&self) -> Which {
        self.record.target()
    }

    /// The name of the secret that is taken out of use, for a probe.
    pub(super) fn source(&self) -> Which {
        self.record.source()
    }

    pub(super) fn enter(&mut self, state: State, now: Timestamp) -> Effect {
        self.record.enter(state, now);
        match state {
            State::Staged => self.record.published_both(now),
            // While some node may hold a value that nobody knows, only the proof of the new one shows that
            // none does any more.
            State::Adopted if !self.record.change.unresolved => self.record.close_gap(now),
            State::Confirmed => self.record.close_gap(now),
            _ => {}
        }
        self.seen.asked = 0;
        self.seen.neither_since = None;
        self.seen.both_since = None;
        Effect::Write
    }

    pub(super) fn stuck(&mut self, reason: StuckReason, now: Timestamp) -> Effect {
        self.record.stuck = Some((self.record.state, reason));
        self.enter(State::Stuck, now)
    }

    fn stuck_again(&self) -> Effect {
        let reason = self.record.stuck.map_or(StuckReason::ForeignSecret, |(_, reason)| reason);
        Effect::Stop(Ending::Stuck(reason))
    }
}
