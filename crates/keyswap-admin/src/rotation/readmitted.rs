//! A retired secret that the server is found to hold in mid-rotation.
//!
//! No program can sign in then, so it is put into the list at once, in front of both secrets of the
//! rotation, and a person is asked only after that. From there on the rotation leads it out together with
//! the secret that goes: it leaves the list when nobody uses it any more, and nothing can bring it back.

use keyswap_core::{Secret, SecretId, SecretList};
use serde::{Deserialize, Serialize};

use super::event::{Effect, Event, Which};
use super::policy::Timestamp;
use super::record::Record;
use super::state::{State, StuckReason};
use super::step::Rotation;
use crate::authority::Probe;

/// How many retired secrets are tried at a server that does not say what it holds.
const MOST_TRIED: usize = 4;

/// A retired secret that is in the list again, or about to be.
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Readmitted {
    /// Which; its value is among [`Record::retired`].
    pub secret: SecretId,
    /// When the server was last found to hold it.
    pub at: Timestamp,
    /// Whether the list that was to hold it since is published.
    pub published: bool,
}

impl Record {
    /// Whether this one is a retired secret that is in the list again.
    pub(super) fn readmits(&self, id: &SecretId) -> bool {
        self.readmitted.iter().any(|one| one.secret == *id)
    }

    /// The values of those that are in the list again; `None` if one of them is not known.
    pub(super) fn readmitted_secrets(&self) -> Option<Vec<Secret>> {
        let value = |id: &SecretId| self.retired_secret(id).cloned();
        self.readmitted.iter().map(|one| value(&one.secret)).collect()
    }

    /// The retired secret of this id.
    pub(crate) fn retired_secret(&self, id: &SecretId) -> Option<&Secret> {
        self.retired.iter().map(|kept| &kept.secret).find(|secret| secret.id() == id)
    }

    /// The one that a person is asked about now, since it is in the list again.
    pub(crate) fn readmitted_here(&self) -> Option<&SecretId> {
        let asked = matches!(self.stuck, Some((_, StuckReason::RetiredSecretPublishedMidway)));
        self.readmitted.first().filter(|_| asked).map(|one| &one.secret)
    }

    /// Writes down that this one goes into the list again, in front of those that did before.
    fn readmit(&mut self, id: &SecretId, now: Timestamp) {
        self.readmitted.retain(|one| one.secret != *id);
        self.readmitted.insert(0, Readmitted { secret: id.clone(), at: now, published: false });
        if self.state == State::CuttingOver && self.change.sends > 0 {
            self.change.unresolved = true;
            self.change.last_sent = now;
        }
    }

    /// Whether a list that holds one of them is to be published before anything else is done.
    fn readmission_is_due(&self) -> bool {
        self.state != State::Stuck && self.readmitted.iter().any(|one| !one.published)
    }

    /// Until when what brought one of them back may do so once more.
    pub(super) fn may_return_until(&self) -> Option<Timestamp> {
        let found = self.readmitted.iter().map(|one| one.at).max()?;
        Some(found.after(self.policy.in_flight_bound).after(self.policy.window()))
    }

    /// They are out of the list again, and recognised for the late-write bound from now on.
    pub(super) fn retire_readmitted(&mut self, now: Timestamp) {
        let until = now.after(self.policy.late_write_bound);
        let readmitted = &self.readmitted;
        for kept in &mut self.retired {
            if readmitted.iter().any(|one| one.secret == *kept.secret.id()) {
                kept.until = kept.until.max(until);
            }
        }
    }
}

impl Rotation {
    /// The server holds this retired secret.
    pub(super) fn retired_is_held(&mut self, id: &SecretId, now: Timestamp) -> Effect {
        // A person knows that, and the change that replaces it is on its way.
        if self.record.state == State::CuttingOver && self.record.readmits(id) {
            return self.not_applied_yet(now);
        }
        self.record.readmit(id, now);
        Effect::Write
    }

    /// Where the server does not say what it holds, and takes neither secret, its nodes may take a retired
    /// one: each is tried once, the latest first.
    pub(super) fn try_retired(&mut self, refused: Option<&SecretId>, now: Timestamp) -> Effect {
        let both = [self.record.old.id(), self.record.new.id()];
        let adds = self.record.plan.adds();
        // Also one whose time is over in mid-rotation: as long as it is in the journal, it can be told.
        let kept = self.record.retired.iter().rev().filter(|_| !adds);
        let ids = kept.map(|kept| kept.secret.id()).filter(|id| !both.contains(id));
        let mut ids = ids.take(MOST_TRIED);
        if let Some(refused) = refused {
            ids.find(|id| *id == refused);
        }
        match ids.next().cloned() {
            Some(id) => Effect::ProbeRetired(id),
            None if refused.is_some() => self.none_is_in_force(now),
            None => self.stuck(StuckReason::ForeignSecret, now),
        }
    }

    /// No secret that is known was accepted. Where the server held a retired one, its nodes may be taking up
    /// the change of this rotation just then, and each probe met another one: that is over after a window.
    fn none_is_in_force(&mut self, now: Timestamp) -> Effect {
        let since = *self.seen.no_retired_since.get_or_insert(now);
        let asked = self.seen.probed_target.unwrap_or(since);
        if asked.since(since) > self.record.policy.window() {
            return self.stuck(StuckReason::ForeignSecret, now);
        }
        Effect::Wait(self.record.policy.probe_every(), Vec::new())
    }

    pub(super) fn tried_retired(&mut self, id: &SecretId, answer: Probe, now: Timestamp) -> Effect {
        match answer {
            Probe::Accepted => self.retired_is_held(id, now),
            Probe::Refused => self.try_retired(Some(id), now),
            Probe::Inconclusive(reason) => self.doubt(reason),
        }
    }

    /// What comes before everything else, whatever a person wants: programs cannot sign in. After it a
    /// person is asked, since the change that replaces the returned secret takes it away from somebody.
    pub(super) fn readmitting(&mut self, event: &Event, now: Timestamp) -> Option<Effect> {
        if !self.record.readmission_is_due() {
            return None;
        }
        Some(match event {
            Event::Published(revision) => {
                self.record.revision = *revision;
                self.record.readmitted.iter_mut().for_each(|one| one.published = true);
                // Every program holds what is sent from there.
                let reason = StuckReason::RetiredSecretPublishedMidway;
                self.record.stuck = Some((State::Adopted, reason));
                self.enter(State::Stuck, now)
            }
            Event::ForeignList => self.stuck(StuckReason::ForeignList, now),
            _ => self.publish_readmitted(),
        })
    }

    fn publish_readmitted(&self) -> Effect {
        let (target, source) = (self.target(), self.source());
        let both = |first: Which, second: Which| {
            let secrets = [first, second].map(|which| self.record.secret(which).cloned());
            secrets.into_iter().collect::<Option<Vec<Secret>>>()
        };
        let list = self.record.readmitted_secrets().and_then(|mut secrets| {
            secrets.extend(both(target, source)?);
            SecretList::new(secrets).ok()
        });
        // An earlier process may have published one of these and not lived to write that down.
        let earlier: Vec<Secret> = self
            .record
            .readmitted
            .iter()
            .filter(|one| one.published)
            .filter_map(|one| self.record.retired_secret(&one.secret).cloned())
            .collect();
        let instead_of = [both(target, source), both(source, target)].into_iter().flatten();
        let instead_of = instead_of.map(|both| [both, earlier.clone()].concat());
        let alone = self.record.secret(target).cloned().map(|target| vec![target]);
        let instead_of =
            instead_of.chain(alone).filter_map(|secrets| SecretList::new(secrets).ok()).collect();
        self.publishing_list(list, Some(instead_of), None)
    }
}
