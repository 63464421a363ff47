//! What must hold before a rotation may begin.

use keyswap_core::{Generator, Secret, SecretDocument, SecretId};
use keyswap_store::SecretStore;

use super::carry_out::fleet;
use super::trace::{About, request};
use super::{Rotator, journal, stop};
use crate::authority::{
    Authority, AuthorityError, AuthorityErrorKind, Capabilities, Listed, NewSecret, Probe,
    ReadBack, Slot, SlotId,
};
use crate::error::{RotateError, RotateErrorKind};
use crate::progress::Progress;
use crate::rotation::{Asker, Record, Removal, RotationPolicy, Slots, Timestamp};

/// What was found where a rotation may begin.
pub(super) struct Grounds {
    pub(super) document: SecretDocument,
    /// The journal of the rotation before.
    pub(super) earlier: Option<Record>,
    pub(super) capabilities: Capabilities,
    /// Whether the server holds a secret that an earlier rotation retired.
    pub(super) is_returned: bool,
    /// At a server that holds several secrets.
    pub(super) slots: Option<Slots>,
}

impl<A: Authority, S: SecretStore> Rotator<A, S> {
    /// Everything that must hold before a rotation may begin, up to the first journal entry.
    pub(super) async fn begin(&self, policy: RotationPolicy) -> Result<Record, RotateError> {
        let client = self.store.client();
        let now = Timestamp::now();
        self.check_hold(now).await?;
        check_declared(client, &policy)?;
        let earlier = journal(&self.store).await?;
        if let Some(earlier) = &earlier {
            check_over(earlier)?;
        }
        let document = self.published_alone().await?;
        let old = document.list.preferred().clone();
        let capabilities = self.check_server().await?;
        self.check_gap(&capabilities)?;
        for remark in self.authority.remarks() {
            self.tell(Progress::Note(format!("client {client} at {capabilities}: {remark}")));
        }
        let new = self.new_secret(&capabilities)?;
        let returned = self.check_secret(&old, earlier.as_ref(), &capabilities).await?;
        let slots = match capabilities.slots {
            0 | 1 => None,
            _ => Some(self.find_slot(&old, earlier.as_ref(), &capabilities).await?),
        };
        let is_returned = returned.is_some();
        let new = returned.map_or(new, NewSecret::Known);
        let grounds = Grounds { document, earlier, capabilities, is_returned, slots };
        let reason = self.accepts_gap.clone();
        let record = self.first_record(policy, (old, new), (&grounds, reason), now);
        // Programs cannot sign in where it returned, so this waits for nothing that may be on its way: that is
        // known.
        if let Some(earlier) = grounds.earlier.as_ref().filter(|_| !is_returned) {
            check_in_flight(earlier, now)?;
        }
        self.check_plan(&record, &grounds).await?;
        Ok(record)
    }

    /// The journal of a rotation that begins on these grounds, and brings this secret in place of that one.
    pub(super) fn first_record(
        &self,
        policy: RotationPolicy,
        (old, new): (Secret, NewSecret),
        (grounds, accepts_gap): (&Grounds, Option<String>),
        now: Timestamp,
    ) -> Record {
        let Grounds { document, earlier, capabilities, is_returned, slots } = grounds;
        let window = policy.propagation_window.unwrap_or(capabilities.propagation_window);
        let policy = policy.propagation_window(window);
        let client = self.store.client();
        let mut record = Record::begin(client, policy, old, new, document.revision, now)
            .asked_by(self.asker.clone());
        if let Some(reason) = accepts_gap {
            record = record.regenerating(Asker { reason: Some(reason), ..self.asker.clone() });
        }
        // What returned is led out on a way back, which is never hurried.
        if let Some(patience) = self.compromised.filter(|_| !is_returned) {
            record = record.compromised_within(patience);
        }
        if let Some(slots) = slots {
            record = record.adding(slots.clone());
        }
        if let Some(earlier) = earlier {
            record = record.after(earlier, now);
        }
        if *is_returned {
            record = record.returned(now);
        }
        record
    }

    /// No person says "not now".
    pub(super) async fn check_hold(&self, now: Timestamp) -> Result<(), RotateError> {
        let hold = self.hold().await;
        let hold = hold.map_err(|error| RotateError::store("reading the hold", error, false))?;
        match hold.filter(|hold| hold.is_in_force(now.milliseconds())) {
            Some(hold) => Err(stop::stopped_by_hold(self.store.client(), None, hold)),
            None => Ok(()),
        }
    }

    /// Requests fail on the way at such a server, which somebody has to accept, and at such a server only.
    pub(super) fn check_gap(&self, capabilities: &Capabilities) -> Result<(), RotateError> {
        match (&self.accepts_gap, capabilities.has_gap()) {
            (None, true) => Err(gap_not_accepted(self.store.client(), capabilities)),
            (Some(_), false) => Err(refuse(format!(
                "{capabilities} lets every program have the new secret before the old one ends, so there \
                 is no gap to accept: rotate without that"
            ))),
            _ => Ok(()),
        }
    }

    /// The published list, which holds one secret where no rotation is under way.
    pub(super) async fn published_alone(&self) -> Result<SecretDocument, RotateError> {
        let document = self
            .store
            .published()
            .await
            .map_err(|error| RotateError::store("reading the published list", error, false))?
            .ok_or_else(|| {
                refuse(format!(
                    "{} holds no secret for client {}: import the present one first",
                    self.store.describe(),
                    self.store.client()
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
        Ok(document)
    }

    /// The server can be administered, and the client be rotated. What the server can do is told after that: it
    /// may have said only then which way it has.
    pub(super) async fn check_server(&self) -> Result<Capabilities, RotateError> {
        let (client, at) = (self.store.client(), self.authority.capabilities());
        let doing = format!("checking client {client} at {at}");
        self.authority.check().await.map_err(|error| RotateError::authority(&doing, error))?;
        Ok(self.authority.capabilities())
    }

    /// What a rotation would bring: a value that the server takes, or an id for the one that it chooses.
    pub(super) fn new_secret(&self, capabilities: &Capabilities) -> Result<NewSecret, RotateError> {
        let generator = match &self.generator {
            Some(generator) => generator.clone(),
            // Only its id is of use.
            None if !capabilities.chosen_by_caller => Generator::default(),
            None => capabilities.value.generator().map_err(|error| {
                refuse(format!("no secret can be made that {capabilities} takes: {error}"))
            })?,
        };
        let new = generator.generate().map_err(|error| refuse(error.to_string()))?;
        Ok(match capabilities.chosen_by_caller {
            true => NewSecret::Known(new),
            // The id is ours, the value is the server's.
            false => NewSecret::Awaited(new.id().clone()),
        })
    }

    /// At a server that holds several secrets: which of them is the present one, and whether there is room
    /// for another. What nobody here knows is never touched.
    pub(super) async fn find_slot(
        &self,
        old: &Secret,
        earlier: Option<&Record>,
        capabilities: &Capabilities,
    ) -> Result<Slots, RotateError> {
        let client = self.store.client();
        let error = |kind, message: String| {
            let error = AuthorityError::new(kind, message + "; nothing was changed");
            let doing = format!("looking at the secrets of client {client} at {capabilities}");
            RotateError::authority(&doing, error)
        };
        let retired = earlier.iter().flat_map(|record| &record.retired).map(|kept| &kept.secret);
        let known: Vec<Secret> = std::iter::once(old).chain(retired).cloned().collect();
        let listed =
            match request("list_secrets", About::Client, self.authority.slots(&known)).await {
                Listed::Slots(listed) => listed,
                Listed::Unavailable(reason) => {
                    return Err(error(AuthorityErrorKind::Unexpected, reason));
                }
            };
        let names = |slots: &mut dyn Iterator<Item = &Slot>| {
            slots.map(|slot| slot.id.to_string()).collect::<Vec<_>>().join(", ")
        };
        let recorded = earlier.and_then(|record| record.slot_of(old));
        let present = present(&listed, old.id(), recorded).ok_or_else(|| {
            error(
                AuthorityErrorKind::Refused,
                format!(
                    "which of its secrets ({}) the programs hold cannot be told: remove those that nobody \
                     uses at the server",
                    names(&mut listed.iter())
                ),
            )
        })?;
        if !present.active {
            let message = format!("{}, which the programs hold, is not in force there", present.id);
            return Err(error(AuthorityErrorKind::Refused, message));
        }
        let slots = Slots::new(present.id.clone(), &listed, capabilities.deactivation)
            .where_the_newest_stays(!capabilities.removes_newest);
        if let Some(named) = &self.removed_first {
            let live = self.store.instances().await;
            let live =
                live.map_err(|error| RotateError::store("reading the instances", error, false))?;
            let removal =
                Removal::of(named, &present.id, (&listed, capabilities.slots), &fleet(live).live)
                    .map_err(|reason| {
                    let message = format!("the secret {named} is not removed: {reason}");
                    error(AuthorityErrorKind::Refused, message)
                })?;
            self.tell(Progress::Note(going(&removal, capabilities.deactivation)));
            return Ok(slots.without(removal));
        }
        if u32::try_from(listed.len()).unwrap_or(u32::MAX) >= capabilities.slots {
            let others = listed.iter().filter(|slot| slot.id != present.id);
            if let Some(earlier) = earlier {
                check_listing(earlier, others.clone(), Timestamp::now())?;
            }
            let others: Vec<String> =
                others.map(|slot| format!("{} ({})", slot.id, known_of(slot))).collect();
            return Err(error(
                AuthorityErrorKind::Refused,
                format!(
                    "it has {} secrets, as many as it can have, so there is no room for a new one. There is \
                     {}. If nobody uses one of these, remove it at the server, or have it removed first: \
                     `keyswap rotate --remove NAME --reason TEXT`",
                    listed.len(),
                    others.join(", ")
                ),
            ));
        }
        Ok(slots)
    }

    /// The server must hold and accept the published secret: a rotation must not begin in a state that
    /// it could not tell from a failure of its own. Gives the one that the server holds in its place, if an
    /// earlier rotation retired that.
    pub(super) async fn check_secret(
        &self,
        old: &Secret,
        earlier: Option<&Record>,
        capabilities: &Capabilities,
    ) -> Result<Option<Secret>, RotateError> {
        let client = self.store.client();
        let error = |kind, message: String| {
            Err(RotateError::authority(
                &format!("checking the secret of client {client}"),
                AuthorityError::new(kind, message + "; nothing was changed"),
            ))
        };
        // A server with several secrets takes one of them without taking another one out of force, and where
        // the server chooses the value nobody can set a retired one again.
        let retired: Vec<Secret> = match capabilities.slots {
            0 | 1 if capabilities.chosen_by_caller => earlier
                .iter()
                .flat_map(|record| &record.retired)
                .map(|kept| kept.secret.clone())
                .filter(|kept| kept.id() != old.id())
                .collect(),
            _ => Vec::new(),
        };
        let known = [std::slice::from_ref(old), &retired].concat();
        match request("read_back", About::Client, self.authority.read_back(&known)).await {
            ReadBack::Holds(id) if id != *old.id() => {
                return Ok(retired.into_iter().find(|kept| *kept.id() == id));
            }
            ReadBack::Other => {
                return error(
                    AuthorityErrorKind::Refused,
                    format!(
                        "the server holds another secret than {}, which the programs hold: set the \
                         client's secret at the server to the one that the programs hold",
                        old.id()
                    ),
                );
            }
            ReadBack::Holds(_) | ReadBack::Unavailable(_) => {}
        }
        match request("probe", About::Secret(old.id()), self.authority.probe(old)).await {
            Probe::Accepted => return Ok(None),
            Probe::Refused => {}
            Probe::Inconclusive(reason) => {
                return error(
                    AuthorityErrorKind::Unexpected,
                    format!(
                        "a token request with the published secret {} said nothing: {reason}",
                        old.id()
                    ),
                );
            }
        }
        // Where the server does not say what it holds, its nodes may.
        for kept in retired {
            let sending = self.authority.probe(&kept);
            if request("probe", About::Secret(kept.id()), sending).await == Probe::Accepted {
                return Ok(Some(kept));
            }
        }
        error(
            AuthorityErrorKind::Refused,
            format!(
                "the server refuses the published secret {}: set the client's secret at the server to \
                 the one that the programs hold",
                old.id()
            ),
        )
    }
}

fn refuse(message: String) -> RotateError {
    RotateError::new(RotateErrorKind::NotBegun, message + "; nothing was changed")
}

/// Somebody is there to be waited for.
pub(super) fn check_declared(client: &str, policy: &RotationPolicy) -> Result<(), RotateError> {
    if !policy.applications.is_empty() {
        return Ok(());
    }
    Err(refuse(format!(
        "no application is declared for client {client}, so nobody could be waited for: declare each program \
         that uses its secret"
    )))
}

/// Where the server chooses the value of the only secret that it holds.
fn gap_not_accepted(client: &str, capabilities: &Capabilities) -> RotateError {
    RotateError::new(
        RotateErrorKind::GapNotAccepted,
        format!(
            "client {client}: {capabilities} holds one secret and chooses its value itself. Nobody can hand \
             out a value that nobody knows yet, so between its change and the moment at which a program has \
             the new value every token request of that program fails. That cannot be avoided there, only \
             accepted; nothing was changed"
        ),
    )
}

/// Which of those that the server lists is the present secret, which the server takes: the one that holds it or
/// that the last rotation left it in, or else the only one that can be it.
fn present<'a>(listed: &'a [Slot], old: &SecretId, recorded: Option<&SlotId>) -> Option<&'a Slot> {
    let only = |is: &dyn Fn(&Slot) -> bool| {
        let mut active = listed.iter().filter(|slot| slot.active && is(slot));
        active.next().filter(|_| active.next().is_none())
    };
    let holding = listed.iter().find(|slot| slot.holds.as_ref() == Some(old));
    holding
        .or_else(|| listed.iter().find(|slot| Some(&slot.id) == recorded))
        .or_else(|| only(&|slot| slot.made_for.as_ref() == Some(old)))
        .or_else(|| only(&|slot| !slot.rules_out.contains(old)))
}

/// What is known of one of the secrets at the server that is not the present one.
fn known_of(slot: &Slot) -> String {
    let active = if slot.active { "active" } else { "not active" };
    let expires = slot.expires.map(|at| format!(", until {at}")).unwrap_or_default();
    match slot.holds.as_ref().or(slot.made_for.as_ref()) {
        Some(id) => format!("{id}, which this store knew; {active}{expires}"),
        None => format!("nobody here knows its value; {active}{expires}"),
    }
}

/// What is about to be done to a secret that a person named.
fn going(removal: &Removal, deactivation: bool) -> String {
    let what = match &removal.holds {
        Some(id) => format!("{id}, which this store knew"),
        None => "nobody here knows its value".to_owned(),
    };
    let how = match (removal.was_active, deactivation) {
        (true, true) => {
            "it is deactivated, and removed after the observation period: until then a rollback \
                         puts it back"
        }
        (true, false) => "it is in force until it is removed",
        (false, _) => "it is not in force",
    };
    format!("{} goes first, to make room ({what}); {how}", removal.slot)
}

pub(super) fn check_over(earlier: &Record) -> Result<(), RotateError> {
    if earlier.is_over() {
        return Ok(());
    }
    Err(RotateError::new(
        RotateErrorKind::Unfinished,
        format!(
            "client {}: a rotation is in state {} and has not come to its end: resume it",
            earlier.client, earlier.state
        ),
    ))
}

pub(super) fn check_in_flight(earlier: &Record, now: Timestamp) -> Result<(), RotateError> {
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

/// None of those that are in the way is there only for nodes that do not know yet that it was removed.
fn check_listing<'a>(
    earlier: &Record,
    mut others: impl Iterator<Item = &'a Slot>,
    now: Timestamp,
) -> Result<(), RotateError> {
    let late = others.find_map(|slot| {
        let until = earlier.may_be_listed_until(&slot.id)?;
        (until > now).then(|| (&slot.id, until.since(now)))
    });
    let Some((slot, left)) = late else { return Ok(()) };
    Err(RotateError::new(
        RotateErrorKind::Waiting(Vec::new()),
        format!(
            "client {}: the server still lists {slot}, which the last rotation removed; its nodes may disagree \
             for {} s yet. Begin then. Nothing was changed",
            earlier.client,
            left.as_secs() + 1
        ),
    ))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use keyswap_core::{Revision, Secret};

    use super::{Record, RotationPolicy, Slot, SlotId, Slots, Timestamp, check_listing};
    use crate::rotation::State;

    #[test]
    fn what_the_last_rotation_removed_is_waited_for_as_long_as_a_node_may_list_it() {
        let secret = |id: &str| Secret::new(id.parse().unwrap(), format!("{id}-value")).unwrap();
        let slot = |name: &str| Slot::new(SlotId::new(name));
        let policy = RotationPolicy::new([]).propagation_window(Duration::from_secs(10));
        let mut slots = Slots::new(SlotId::new("first"), &[slot("first")], false);
        slots.new = Some(SlotId::new("second"));
        let sent = Timestamp::from_milliseconds(5_000);
        let record = |state| {
            let (old, new) = (secret("old"), secret("new"));
            let begun =
                Record::begin("billing", policy.clone(), old, new, Revision::default(), sent);
            let mut record = begun.adding(slots.clone());
            record.state = state;
            record.change.last_sent = sent;
            record
        };
        let checked = |state, listed: &str, seconds| {
            let now = sent.after(Duration::from_secs(seconds));
            check_listing(&record(state), [&slot(listed)].into_iter(), now)
                .map_err(|error| error.to_string())
        };
        let told = checked(State::Done, "first", 3).unwrap_err();
        assert!(told.contains("still lists first") && told.contains("for 8 s"), "{told}");
        let told = checked(State::RolledBack, "second", 3).unwrap_err();
        assert!(told.contains("still lists second"), "{told}");
        assert_eq!(checked(State::Done, "first", 10), Ok(()), "no node is that late");
        // What the rotation left there, and what somebody else put there.
        assert_eq!(checked(State::Done, "second", 3), Ok(()));
        assert_eq!(checked(State::RolledBack, "first", 3), Ok(()));
        assert_eq!(checked(State::Done, "somebody-elses", 3), Ok(()));
    }
}
