//! For whom a rotation waits, as somebody sees it who looks on.

use keyswap_core::{SecretDocument, SecretId};
use keyswap_store::{Hold, Instance};

use super::Status;
use super::carry_out::fleet;
use crate::rotation::{Gate, Missing, Quiet, Record, State, Timestamp, not_adopted};

impl Status {
    /// A status of what was read by other means than [`read`](Self::read).
    #[must_use]
    pub fn of(
        record: Option<Record>,
        hold: Option<Hold>,
        published: Option<SecretDocument>,
        instances: Vec<Instance>,
    ) -> Self {
        Self { record, hold, published, instances }
    }

    /// For whom the rotation waits in its present state, as far as a look at the store tells: for which
    /// applications a person has not spoken, who is not there, who does not hold the list, who still uses the
    /// secret that goes. Empty where it waits for no program.
    ///
    /// `seen` keeps what earlier looks found. It tells for how long an instance has been seen not to use that
    /// secret, which is less than the rotator knows if the looks began later. Nothing is decided by this.
    #[must_use]
    pub fn waits_for(&self, seen: &mut Quiet, now: Timestamp) -> Vec<Missing> {
        let Some(record) = self.record.as_ref().filter(|record| !record.is_over()) else {
            return Vec::new();
        };
        let Some(gate) = record.gate_of_instances() else { return Vec::new() };
        let (fleet, applications) = (fleet(self.instances.clone()), &record.policy.applications);
        let drains = gate == Gate::Drained && !record.hurries();
        let missing = if drains {
            let returned = record.readmitted.iter().map(|one| &one.secret);
            let outgoing = [record.id(record.source())].into_iter().chain(returned);
            let outgoing: Vec<&SecretId> = outgoing.collect();
            let wanted = (record.revision, outgoing.as_slice(), record.policy.quiet());
            seen.not_drained(applications, &fleet, wanted, (now, now))
        } else {
            not_adopted(applications, &fleet, record.revision)
        };
        let left_out = |one: &Missing| {
            let name = one.instance();
            name.is_some() && record.left_out().any(|word| word.instance.as_deref() == name)
        };
        // In this state the same gate is asked for a second time, of instances alone.
        let speaks = record.state != State::Deactivated && !record.hurries();
        let unconfirmed = if speaks { record.unconfirmed(gate) } else { Vec::new() };
        let unconfirmed =
            unconfirmed.into_iter().map(|application| Missing::Confirmation { application, gate });
        let missing = missing.into_iter().filter(|one| !left_out(one));
        unconfirmed.filter(|_| gate != Gate::Retired).chain(missing).collect()
    }
}
