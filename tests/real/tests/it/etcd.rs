//! The etcd store over three genuine nodes: what every store must do, and rotations while nodes die.

mod chaos;
mod stands;
mod tls;

use std::time::Duration;

use keyswap_core::{Secret, SecretList};
use keyswap_real_tests::Etcd;
use keyswap_store::EtcdStore;
use keyswap_testkit::store::conformance;

fn store(etcd: &Etcd, client: &str) -> EtcdStore {
    EtcdStore::builder(etcd.endpoints(), client).build().expect("endpoints of loopback")
}

fn list(ids: &[&str]) -> SecretList {
    let secret = |id: &&str| {
        Secret::new(id.parse().expect("an id"), format!("value-of-{id}")).expect("a value")
    };
    SecretList::new(ids.iter().map(secret)).expect("different ids")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_etcd_store_does_what_every_store_must() {
    let etcd = Etcd::start().await;
    let began = std::time::Instant::now();
    // Long enough for a journal of 4 MB on a slow disk, which one of the rules saves.
    let open = async |client: &str| {
        let store = EtcdStore::builder(etcd.endpoints(), client).lease(Duration::from_secs(4));
        store.build().expect("endpoints of loopback")
    };
    let report = conformance(open).await;
    println!("{report} (in {:.1?})", began.elapsed());
    assert!(report.is_met(), "{report}");
}
