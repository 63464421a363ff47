//! A store with one instance that takes up what is published there, for rotations at any server.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use keyswap_admin::authority::Authority;
use keyswap_admin::{
    Application, Finished, Progress, RotateErrorKind, RotationPolicy, Rotator, State,
};
use keyswap_core::{FallbackPolicy, Secret, SecretList, SecretRing};
use keyswap_store::{FileStore, SecretStore, join};
use keyswap_testkit::{AuthorizationServer, Exchange, Fault, Times};
use tempfile::TempDir;
use tokio::task::JoinHandle;

/// How long the nodes of a server disagree here.
pub(crate) const WINDOW: Duration = Duration::from_millis(100);

/// A store for one client, and one instance of the program that uses its secret.
pub(crate) struct Site {
    store: FileStore,
    member: JoinHandle<()>,
    _ring: SecretRing,
    _directory: TempDir,
}

impl Drop for Site {
    fn drop(&mut self) {
        self.member.abort();
    }
}

pub(crate) fn secret(value: &str) -> Secret {
    Secret::new("a".parse().unwrap(), value).unwrap()
}

/// The statuses of all answers, each once.
pub(crate) fn statuses(exchanges: &[Exchange]) -> Vec<u16> {
    let answers = exchanges.iter().filter_map(|exchange| exchange.answer.as_ref());
    let statuses: BTreeSet<u16> = answers.map(|answer| answer.status().as_u16()).collect();
    statuses.into_iter().collect()
}

impl Site {
    /// A store in which the client has this secret.
    pub(crate) async fn new(client: &str, old: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = FileStore::create(directory.path().join("store"), client).unwrap();
        store.import(&SecretList::new([secret(old)]).unwrap()).await.unwrap();
        let policy = FallbackPolicy::default().propagation_window(WINDOW);
        let (ring, member) = join(store.clone(), "program", policy).await.unwrap();
        let member = tokio::spawn(member);
        Self { store, member, _ring: ring, _directory: directory }
    }

    fn rotator<A: Authority>(&self, authority: A) -> Rotator<A, FileStore> {
        let has_gap = authority.capabilities().has_gap();
        let rotator = Rotator::new(authority, self.store.clone()).patience(Duration::from_secs(20));
        match has_gap {
            true => rotator.asked_by("ada").accept_gap("a test"),
            false => rotator,
        }
    }

    /// Rotates, and each of these faults happens once, from the moment that its state is entered.
    pub(crate) async fn rotate_with_faults<A: Authority>(
        &self,
        authority: A,
        server: &AuthorizationServer,
        faults: impl IntoIterator<Item = (State, Fault)>,
    ) -> Finished {
        let waiting = Arc::new(Mutex::new(faults.into_iter().collect::<Vec<_>>()));
        let (server, coming) = (server.clone(), waiting.clone());
        let rotator = self.rotator(authority).on_progress(move |progress| {
            let Progress::Entered { state, .. } = progress else { return };
            coming.lock().unwrap().retain(|(at, fault)| {
                if *at == state {
                    server.inject(fault.clone(), Times::ONCE);
                }
                *at != state
            });
        });
        let finished = rotator.run(policy()).await.unwrap_or_else(|error| panic!("{error}"));
        assert!(waiting.lock().unwrap().is_empty(), "not every state was entered");
        finished
    }

    /// Rotates to the end, once a change of the last rotation without an answer cannot come any more.
    pub(crate) async fn rotate<A: Authority>(&self, authority: A) -> Finished {
        let rotator = self.rotator(authority);
        loop {
            match rotator.run(policy()).await {
                Err(error) if matches!(error.kind(), RotateErrorKind::Waiting(_)) => {
                    tokio::time::sleep(WINDOW / 10).await;
                }
                finished => return finished.unwrap_or_else(|error| panic!("{error}")),
            }
        }
    }

    /// The secret that programs have now.
    pub(crate) async fn present(&self) -> Secret {
        self.store.published().await.unwrap().unwrap().list.preferred().clone()
    }
}

fn policy() -> RotationPolicy {
    let mut policy = RotationPolicy::new([Application::new("program")])
        .propagation_window(WINDOW)
        .quiet_period(WINDOW)
        .poll_every(Duration::from_millis(20));
    policy.in_flight_bound = WINDOW * 3;
    policy
}
