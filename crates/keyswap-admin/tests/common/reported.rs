//! Instances that have said what they hold.

use std::time::{Duration, Instant};

use keyswap_store::{FileStore, SecretStore};

/// Waits until each instance has told of the list that it holds: its place is there before that.
pub(crate) async fn all_have_reported(store: &FileStore) {
    let patience = Instant::now() + Duration::from_secs(60);
    loop {
        let instances = store.instances().await.unwrap();
        let holds_a_list = |report: &keyswap_store::InstanceReport| report.revision.is_some();
        if instances.iter().all(|instance| instance.report.as_ref().is_ok_and(holds_a_list)) {
            return;
        }
        assert!(Instant::now() < patience, "an instance says nothing: {instances:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
