//! Servers that hold one secret and choose its value themselves: a gap that a person accepted.
//!
//! From the server's change on until a program has the new value, whatever it sends is refused: nobody can
//! hand out a value that nobody knows yet. What can be done is to keep that short. So nothing is waited
//! for between the server's answer, the journal and the list, and a value that got lost is not looked for,
//! since nobody can say it any more: the server is asked for another one.

use keyswap_core::{SecretId, SecretList};
use serde::{Deserialize, Serialize};

use super::event::{Effect, Ending, Event, Which};
use super::evidence::{Asker, Wish};
use super::plan::Plan;
use super::policy::Timestamp;
use super::record::{Record, RetiredSecret};
use super::state::{State, StuckReason};
use super::step::Rotation;
use crate::authority::{AddAnswer, NewSecret, Probe};

/// What is known of a change that takes the old secret out of force before anybody has the new one.
#[derive(Clone, Debug, Default, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Regeneration {
    /// How often the server was asked for a value since a person looked last. Each one takes the one
    /// before it out of force.
    pub requests: u32,
    /// When programs may have had no secret that the server takes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gaps: Vec<Gap>,
}

/// A time in which programs may have had no secret that the server takes, as far as the rotator knows.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Gap {
    /// When the request was sent that took the last one out of force, or when it was seen that this had
    /// happened.
    pub from: Timestamp,
    /// When every instance had reported the list with the next one; where a request had no answer, when that
    /// one was proved as well, since nodes may have held a value that nobody knows. `None` until then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

impl Record {
    /// For a server that holds one secret and chooses its value itself, where a person accepted the gap.
    #[must_use]
    pub fn regenerating(mut self, accepted_by: Asker) -> Self {
        self.plan = Plan::Regenerate(Regeneration::default());
        self.note_word(Wish::AcceptAGap, accepted_by, self.since());
        self
    }

    /// The times in which programs may have had no secret that the server takes; empty where that is
    /// never so.
    #[must_use]
    pub fn gaps(&self) -> &[Gap] {
        match &self.plan {
            Plan::Regenerate(regeneration) => &regeneration.gaps,
            _ => &[],
        }
    }

    /// Whether programs may have no secret that the server takes, now.
    #[must_use]
    pub fn is_in_a_gap(&self) -> bool {
        let Plan::Regenerate(regeneration) = &self.plan else { return false };
        let may_be_sent = self.change.sends > 0 || self.change.unresolved;
        let asked = self.state == State::Adding && may_be_sent;
        asked || regeneration.gaps.last().is_some_and(|gap| gap.until.is_none())
    }

    /// Programs may have had nothing since then, if they had before.
    fn open_gap(&mut self, from: Timestamp) {
        if let Plan::Regenerate(Regeneration { gaps, .. }) = &mut self.plan
            && gaps.last().is_none_or(|gap| gap.until.is_some())
        {
            gaps.push(Gap { from, until: None });
        }
    }

    pub(super) fn close_gap(&mut self, now: Timestamp) {
        if let Plan::Regenerate(Regeneration { gaps, .. }) = &mut self.plan
            && let Some(gap) = gaps.last_mut()
        {
            gap.until.get_or_insert(now);
        }
    }

    /// The value that the server had said is worth nothing any more, and the next one is not known. Ids are
    /// never used twice, so it has one of its own.
    fn await_another(&mut self, now: Timestamp) {
        if let NewSecret::Known(lost) = &self.new {
            let until = now.after(self.policy.late_write_bound);
            let next = following(lost.id());
            self.retired.push(RetiredSecret { secret: lost.clone(), until });
            self.new = NewSecret::Awaited(next);
        }
        // Who spoke for an application, and what instances attested, was about another list.
        self.confirmations.clear();
        self.evidence.turn_back();
    }
}

/// `a`, `a-2`, `a-3` and so on.
fn following(id: &SecretId) -> SecretId {
    let (stem, number) = match id.as_str().rsplit_once('-') {
        Some((stem, number)) => match number.parse::<u32>() {
            Ok(number) => (stem, number.saturating_add(1)),
            Err(_) => (id.as_str(), 2),
        },
        None => (id.as_str(), 2),
    };
    let number = format!("-{number}");
    let stem: String = stem.chars().take(64 - number.len()).collect();
    // These are the characters of another id, and no more of them than one may have.
    format!("{stem}{number}").parse().unwrap_or_else(|_| id.clone())
}

impl Rotation {
    /// Before the first request: is the old secret in force still? Whatever else the server holds is
    /// somebody's, and a request would take it away from them.
    pub(super) fn about_to_ask(&mut self, event: Event, now: Timestamp) -> Effect {
        match event {
            Event::Probed(Which::Old, Probe::Accepted) => self.ask_for_a_value(now),
            Event::Probed(_, Probe::Inconclusive(reason)) => self.doubt(reason),
            Event::Probed(..) => {
                let since = *self.seen.neither_since.get_or_insert(now);
                if self.was_asked_long_after(since, now) {
                    return self.stuck(StuckReason::ValueUnknown, now);
                }
                Effect::Wait(self.record.policy.poll_every, Vec::new())
            }
            _ => Effect::Probe(Which::Old),
        }
    }

    fn ask_for_a_value(&mut self, now: Timestamp) -> Effect {
        if let Some(stop) = self.count_send(now) {
            return stop;
        }
        if let Plan::Regenerate(regeneration) = &mut self.record.plan {
            regeneration.requests += 1;
        }
        if self.record.state != State::Adding {
            let _ = self.enter(State::Adding, now);
        }
        Effect::Add
    }

    /// The server may have taken the old secret out of force, and nobody knows what it holds.
    pub(super) fn awaiting_a_value(&mut self, event: Event, now: Timestamp) -> Effect {
        match event {
            Event::Added(answer) => self.value_answered(answer, now),
            Event::Probed(_, Probe::Inconclusive(reason)) => self.doubt(reason),
            // It answers again. Whichever secret it takes, a value that got lost is not found again, and
            // programs may be without one until there is another.
            Event::Probed(..) => self.ask_for_a_value(now),
            Event::TakenUp => {
                if self.record.change.sends > 0 {
                    self.record.open_gap(self.record.change.last_sent);
                }
                self.an_earlier_process_may_have_sent(now);
                self.go_on_asking(now)
            }
            _ => self.go_on_asking(now),
        }
    }

    fn go_on_asking(&mut self, now: Timestamp) -> Effect {
        // Every request so far was turned away unseen, or a person wants another one.
        match self.record.change.unresolved {
            false => self.ask_for_a_value(now),
            true => Effect::Probe(Which::Old),
        }
    }

    fn value_answered(&mut self, answer: AddAnswer, now: Timestamp) -> Effect {
        let sent = self.record.change.last_sent;
        match answer {
            AddAnswer::Replaced(secret) if secret.id() == self.record.new.id() => {
                // Of this value there is no second copy: it is in the journal before anything else is done.
                self.record.new = NewSecret::Known(secret);
                self.record.open_gap(sent);
                // What is sent from here on is another change.
                self.record.change.sends = 0;
                self.enter(State::Added, now)
            }
            AddAnswer::Refused(error) => {
                self.was_not_made();
                if !self.record.is_in_a_gap() {
                    let _ = self.enter(State::Generated, now);
                }
                Effect::Stop(Ending::Refused(error))
            }
            AddAnswer::RetryAfter(time) => {
                self.was_not_made();
                self.turned_away(time)
            }
            AddAnswer::Added(..) | AddAnswer::Replaced(_) | AddAnswer::Unknown(_) => {
                self.record.open_gap(sent);
                self.record.change.unresolved = true;
                // It went out at some time before this, maybe long after it was decided.
                self.record.change.last_sent = now;
                Effect::Probe(Which::Old)
            }
        }
    }

    /// The last request did nothing, for certain; an earlier one may have.
    fn was_not_made(&mut self) {
        self.record.change.sends -= 1;
        if let Plan::Regenerate(regeneration) = &mut self.record.plan {
            regeneration.requests = regeneration.requests.saturating_sub(1);
        }
    }

    /// The new secret leads at once, since it is the one that is in force. The old one stays behind it for as
    /// long as some node may take it.
    pub(super) fn handing_out(&mut self, event: Event, now: Timestamp) -> Effect {
        let list = (&[Which::New, Which::Old][..], &[][..], None);
        let effect = self.publishing(event, list, State::Staged, now);
        let Effect::Publish { list, replaces, attest_every, .. } = effect else { return effect };
        // One that was lost since may have been published alone, by a process that did not live to write
        // that down.
        let retired = self.record.retired.iter().map(|kept| kept.secret.clone());
        let instead_of = retired.filter_map(|lost| SecretList::new([lost]).ok()).collect();
        Effect::Publish { list, replaces, instead_of, attest_every }
    }

    /// The server takes neither secret. A request that had no answer may have come late, and then the server
    /// holds a value that nobody was told: it is asked for another one, within bounds. Otherwise somebody
    /// else did that, and may need the value.
    pub(super) fn value_is_unknown(&mut self, now: Timestamp) -> Effect {
        let Plan::Regenerate(regeneration) = &self.record.plan else {
            return self.stuck(StuckReason::ForeignSecret, now);
        };
        let enough = regeneration.requests >= self.record.policy.sends;
        self.record.open_gap(self.seen.neither_since.unwrap_or(now));
        // Once the list without the old secret may be out, nothing of this rotation is on its way.
        let own = self.record.change.unresolved && self.record.state != State::Retiring;
        if !own || enough {
            return self.stuck(StuckReason::ValueUnknown, now);
        }
        self.forget_what_was_seen(now);
        self.record.await_another(now);
        self.ask_for_a_value(now)
    }

    /// A person has looked at a value that nobody knows, and wants another one in its place.
    pub(super) fn another_is_wanted(&mut self, now: Timestamp) {
        self.record.await_another(now);
        if let Plan::Regenerate(regeneration) = &mut self.record.plan {
            regeneration.requests = 0;
        }
    }
}
