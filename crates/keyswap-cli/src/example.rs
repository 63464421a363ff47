//! What the unit tests of several modules look at: a store with instances, without a store.

use keyswap_admin::Status;
use keyswap_admin::rotation::{Application, Record, RotationPolicy, State, Timestamp};
use keyswap_core::{Revision, Secret, SecretDocument, SecretList};
use keyswap_store::{Instance, InstanceReport};
use serde_json::json;

/// When the rotation began, and when it entered its present state.
pub(crate) const BEGAN: u64 = 1_795_802_292_000;
pub(crate) const SINCE: u64 = BEGAN + 60_000;

/// An instance that lives, holds this revision and has used these secrets: accepted, refused.
pub(crate) fn instance(
    application: &str,
    name: &str,
    revision: Option<u64>,
    used: &[(&str, u64, u64)],
) -> Instance {
    let report = InstanceReport::new(application, name);
    let secret = |(id, accepted, refused): &(&str, u64, u64)| json!({ "id": id, "accepted": accepted, "refused": refused });
    let report = match revision {
        None => report,
        Some(revision) => {
            let secrets: Vec<_> = used.iter().map(secret).collect();
            let usage = json!({ "revision": revision, "promotions": 0, "secrets": secrets });
            report.next(serde_json::from_value(usage).unwrap())
        }
    };
    Instance::new(name, true, Ok(report))
}

/// The same instance, which does not run any more.
pub(crate) fn gone(instance: Instance) -> Instance {
    Instance::new(instance.instance, false, instance.report)
}

/// A rotation of `s-old` to `s-new` in this state, with the list of revision 2.
pub(crate) fn status(state: State, instances: Vec<Instance>) -> Status {
    let secret = |id: &str| Secret::new(id.parse().unwrap(), format!("hunter2-{id}")).unwrap();
    let (old, new) = (secret("s-old"), secret("s-new"));
    let policy = RotationPolicy::new([Application::new("shop").instances(3)]);
    let at = Timestamp::from_milliseconds;
    let mut record =
        Record::begin("billing", policy, old.clone(), new.clone(), Revision::new(2), at(BEGAN));
    record.state = state;
    let mut entered = record.entered[0];
    (entered.state, entered.at) = (state, at(SINCE));
    record.entered.push(entered);
    let list = SecretList::new([new, old]).unwrap();
    let document = SecretDocument { revision: Revision::new(2), attest_every: None, list };
    Status::of(Some(record), None, Some(document), instances)
}
