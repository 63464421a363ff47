//! What a ring hands to the facade `metrics`.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use keyswap_core::metrics::{
    ATTEMPTS, PREFERRED, PREFERRED_AGE, PROMOTIONS, REVISION, RingMetrics, SECRETS,
};
use keyswap_core::{Attempts, Next, Revision, Secret, SecretList, SecretRing, Verdict};
use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};

/// Keeps what it is given: a count as it is, a gauge by its bits.
#[derive(Default)]
struct Kept {
    values: Mutex<BTreeMap<String, Arc<AtomicU64>>>,
    described: Mutex<Vec<String>>,
}

impl Kept {
    fn of(&self, key: &Key) -> Arc<AtomicU64> {
        let mut labels: Vec<_> =
            key.labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
        labels.sort();
        let name = format!("{} {}", key.name(), labels.join(" "));
        Arc::clone(self.values.lock().unwrap().entry(name).or_default())
    }

    fn count(&self, name: &str) -> u64 {
        let values = self.values.lock().unwrap();
        let value = values.get(name).unwrap_or_else(|| panic!("no {name} in {:?}", values.keys()));
        value.load(Ordering::Relaxed)
    }

    fn gauge(&self, name: &str) -> f64 {
        f64::from_bits(self.count(name))
    }
}

impl Recorder for Kept {
    fn describe_counter(&self, name: KeyName, _: Option<Unit>, _: SharedString) {
        self.described.lock().unwrap().push(name.as_str().to_owned());
    }

    fn describe_gauge(&self, name: KeyName, _: Option<Unit>, _: SharedString) {
        self.described.lock().unwrap().push(name.as_str().to_owned());
    }

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.of(key))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.of(key))
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

fn secret(id: &str) -> Secret {
    Secret::new(id.parse().unwrap(), format!("hunter2-{id}")).unwrap()
}

#[test]
fn each_number_of_a_ring_is_handed_on_under_the_ids_of_client_and_secret() {
    let list = |ids: &[&str]| SecretList::new(ids.iter().map(|id| secret(id))).unwrap();
    let start = Instant::now();
    let at = |seconds: u64| start + Duration::from_secs(seconds);
    let ring = SecretRing::new(list(&["old", "new"]));
    let kept = Kept::default();
    let mut metrics = RingMetrics::starting(ring.clone(), "billing", start);
    let mut record = |now| metrics::with_local_recorder(&kept, || metrics.record(now));
    metrics::with_local_recorder(&kept, RingMetrics::describe);

    record(at(10));
    let attempts = |id: &str, verdict: &str| {
        kept.count(&format!("{ATTEMPTS} client_id=billing secret_id={id} verdict={verdict}"))
    };
    let preferred = |id: &str| kept.gauge(&format!("{PREFERRED} client_id=billing secret_id={id}"));
    let of_client = |name: &str| format!("{name} client_id=billing");
    assert_eq!((attempts("old", "accepted"), attempts("new", "refused")), (0, 0));
    assert_eq!((preferred("old"), preferred("new")), (1.0, 0.0));
    assert_eq!(kept.gauge(&of_client(PREFERRED_AGE)), 10.0);

    // The server refuses the old one, until the order is learnt.
    while ring.snapshot().list().preferred().id().as_str() == "old" {
        let (mut request, _) = Attempts::begin(&ring);
        assert!(matches!(request.conclude(Verdict::Refused, at(10)), Next::Send(_)));
        assert!(matches!(request.conclude(Verdict::Accepted, at(10)), Next::Done));
    }
    let (mut request, _) = Attempts::begin(&ring);
    assert!(matches!(request.conclude(Verdict::Inconclusive, at(10)), Next::Done));
    record(at(20));
    let refused = attempts("old", "refused");
    assert!(refused > 0);
    assert_eq!(attempts("new", "accepted"), refused);
    assert_eq!(attempts("new", "inconclusive"), 1);
    assert_eq!(kept.count(&of_client(PROMOTIONS)), 1);
    assert_eq!((preferred("old"), preferred("new")), (0.0, 1.0));
    assert_eq!(kept.gauge(&of_client(PREFERRED_AGE)), 0.0);
    assert_eq!(kept.gauge(&of_client(SECRETS)), 2.0);

    ring.replace_at(list(&["newest"]), Revision::new(7));
    record(at(25));
    record(at(30));
    assert_eq!((preferred("new"), preferred("newest")), (0.0, 1.0), "one that has gone is none");
    assert_eq!(kept.gauge(&of_client(PREFERRED_AGE)), 5.0);
    assert_eq!(kept.gauge(&of_client(REVISION)), 7.0);
    assert_eq!(kept.gauge(&of_client(SECRETS)), 1.0);
    assert_eq!(attempts("new", "accepted"), refused, "what was counted stays so");

    let names: Vec<_> = kept.values.lock().unwrap().keys().cloned().collect();
    assert!(!names.concat().contains("hunter2"), "no secret is a label: {names:?}");
    let described = kept.described.lock().unwrap();
    for name in names {
        let name = name.split(' ').next().unwrap();
        assert!(described.iter().any(|described| described == name), "{name} is not described");
    }
}
