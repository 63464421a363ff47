//! Rotations under load while the nodes of the cluster are killed, paused and started again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use keyswap_admin::{Application, Auth0, RotateErrorKind, RotationPolicy, Rotator};
use keyswap_core::{FallbackPolicy, Secret, SecretList, SecretRing};
use keyswap_real_tests::{Etcd, Load, Program, seen};
use keyswap_store::{EtcdStore, SecretStore, join};
use keyswap_testkit::{AuthorizationServer, Client};
use keyswap_tower::{ClientSecretPost, Profile};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::sleep;

use super::list;

const CLIENT: &str = "billing";
const AUDIENCE: &str = "https://api.example/";
const MANAGEMENT: &str = "the-secret-of-the-management-client";
const APPLICATIONS: [&str; 2] = ["invoices", "reports"];
const WINDOW: Duration = Duration::from_millis(300);

/// What dies is missed soon.
fn store(etcd: &Etcd, client: &str) -> EtcdStore {
    let store = EtcdStore::builder(etcd.endpoints(), client).lease(Duration::from_secs(2));
    store.build().expect("endpoints of loopback")
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_fails_and_nothing_is_lost_while_each_node_is_killed_and_paused() {
    let mut etcd = Etcd::start().await;
    let first = list(&["first"]);
    let server = AuthorizationServer::builder()
        .nodes(3)
        .propagation_window(WINDOW)
        .client(Client::new(CLIENT, first.preferred().expose()).grant(AUDIENCE))
        .management_client(Client::management("rotator", MANAGEMENT))
        .start()
        .await
        .expect("the server starts");
    store(&etcd, CLIENT).import(&first).await.expect("the first list");

    let mut members = JoinSet::new();
    let mut load = Load::new();
    for application in [APPLICATIONS, APPLICATIONS].concat() {
        let joined = join(store(&etcd, CLIENT), application, FallbackPolicy::default()).await;
        let (ring, member) = joined.expect("a place in the store");
        members.spawn(member);
        let program = Program {
            endpoint: server.token_endpoint(),
            parameters: format!("grant_type=client_credentials&audience={AUDIENCE}").into(),
            ring,
            credential: ClientSecretPost::new(CLIENT),
            profile: Profile::Auth0,
        };
        load.add(Duration::from_millis(20), program.with_layer());
    }
    let rotations = Rotations::start(store(&etcd, CLIENT), &server);
    rotations.more(1).await;

    let began = Instant::now();
    let (mut kills, mut pauses) = (0, 0);
    let leader = etcd.leader().await;
    let size = etcd.size();
    for node in (0..size).map(|next| (leader + next) % size) {
        // The leader first; and after it, whichever the others made theirs.
        let node = if node == leader { etcd.leader().await } else { node };
        println!("node {node} is killed");
        etcd.kill(node).await;
        kills += 1;
        rotations.more(1).await;
        load.progress(20).await;
        etcd.restart(node).await;
    }
    let leader = etcd.leader().await;
    for node in (0..size).map(|next| (leader + next) % size) {
        println!("node {node} is paused");
        etcd.pause(node).await;
        pauses += 1;
        rotations.more(1).await;
        load.progress(20).await;
        etcd.resume(node).await;
    }
    // The whole store is away, in the middle of a rotation: programs go on with what they have.
    println!("all nodes are killed");
    for node in 0..size {
        etcd.kill(node).await;
        kills += 1;
    }
    load.progress(500).await;
    for node in 0..size {
        // The first one has nobody to elect it.
        etcd.start_again(node);
    }
    etcd.all_serve().await;
    rotations.more(2).await;
    let took = began.elapsed();

    let Ended { finished, stopped, lost } = rotations.stop().await;
    let tally = load.stop().await;
    seen::table(&format!(
        "etcd, whose nodes are killed and paused during rotations:\n\
         | kills | pauses | rotations | taken up again | requests | saved by fallback | failed | took |\n\
         | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n\
         | {kills} | {pauses} | {finished} | {stopped} | {} | {} | {} | {:.0} s |\n\n",
        tally.requests,
        tally.saved_by_fallback,
        tally.failures.len(),
        took.as_secs_f64()
    ));
    tally.assert_none_failed();
    assert!(tally.saved_by_fallback > 0, "no program met a change: {tally:?}");
    assert_nothing_was_lost(&store(&etcd, CLIENT), &server, finished, lost).await;
}

/// What the store holds is what the server accepts, and each rotation is on record.
async fn assert_nothing_was_lost(
    store: &EtcdStore,
    server: &AuthorizationServer,
    finished: u64,
    lost: u64,
) {
    let document = store.published().await.expect("readable").expect("published");
    assert_eq!(document.list.len(), 1, "{document:?}");
    assert!(server.accepts(CLIENT, document.list.preferred().expose()));
    assert_eq!(server.accepted_secrets(CLIENT), 1);
    // Each rotation publishes three lists; one that began when it was to stop is gone to its end as well.
    let revision = document.revision.number();
    assert!(
        (finished..=finished + lost).any(|ended| revision == 1 + 3 * ended),
        "revision {revision} after {finished} rotations, and {lost} that may have ended unheard"
    );
    let history = store.verify_history().await.expect("a whole history");
    let done = history.iter().filter(|entry| {
        entry.record.to_string().contains("\"Done\"")
            || entry.record.to_string().contains("\"done\"")
    });
    assert!(done.count() as u64 >= finished, "{} records of {finished} rotations", history.len());
    // One whose lease ran out while nobody kept it comes back by itself.
    let patience = Instant::now() + Duration::from_secs(30);
    loop {
        let instances = store.instances().await.expect("readable");
        if instances.len() == 2 * APPLICATIONS.len() {
            break;
        }
        assert!(Instant::now() < patience, "{instances:#?}");
        sleep(Duration::from_millis(100)).await;
    }
}

/// Rotates again and again, and takes up what did not come to its end.
struct Rotations {
    stop: Arc<AtomicBool>,
    finished: Arc<AtomicU64>,
    task: JoinHandle<(u64, u64)>,
}

/// What became of all of them.
struct Ended {
    /// How many came to their end.
    finished: u64,
    /// How often one was taken up again.
    stopped: u64,
    /// How often there was nothing to take up: it had not begun, or it ended and only the word that it did was lost.
    lost: u64,
}

impl Rotations {
    fn start(store: EtcdStore, server: &AuthorizationServer) -> Self {
        let management = Secret::new("management".parse().expect("an id"), MANAGEMENT);
        let management = SecretList::new([management.expect("a value")]).expect("a list");
        let authority = Auth0::builder(server.url().parse().expect("an address"), CLIENT)
            .management("rotator", SecretRing::new(management))
            .audience(AUDIENCE)
            .propagation_window(WINDOW)
            .build()
            .expect("loopback is allowed");
        let applications = APPLICATIONS.map(|name| Application::new(name).instances(2));
        let mut policy = RotationPolicy::new(applications)
            .quiet_period(WINDOW)
            .poll_every(Duration::from_millis(50));
        // A change of which nobody heard, since the lease was lost around it, keeps the next rotation waiting for so long.
        policy.in_flight_bound = Duration::from_secs(1);
        let began = Instant::now();
        // Shown when the test fails.
        let rotator = Rotator::new(authority, store).on_progress(move |progress| {
            println!("{:6.2} s {progress}", began.elapsed().as_secs_f64())
        });
        let (stop, finished) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let task = tokio::spawn({
            let (stop, finished) = (Arc::clone(&stop), Arc::clone(&finished));
            async move { rotate(&rotator, &policy, &stop, &finished).await }
        });
        Self { stop, finished, task }
    }

    /// Waits until so many more have come to their end.
    async fn more(&self, more: u64) {
        let wanted = self.finished.load(Ordering::SeqCst) + more;
        let patience = Instant::now() + Duration::from_secs(90);
        while self.finished.load(Ordering::SeqCst) < wanted {
            assert!(!self.task.is_finished(), "a rotation stopped for good: see above");
            assert!(Instant::now() < patience, "no rotation comes to its end");
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until the one that is under way came to its end.
    async fn stop(self) -> Ended {
        self.stop.store(true, Ordering::SeqCst);
        let (stopped, lost) = self.task.await.expect("no rotation stopped for good");
        Ended { finished: self.finished.load(Ordering::SeqCst), stopped, lost }
    }
}

async fn rotate(
    rotator: &Rotator<Auth0, EtcdStore>,
    policy: &RotationPolicy,
    stop: &AtomicBool,
    finished: &AtomicU64,
) -> (u64, u64) {
    let (mut stopped, mut lost, mut open) = (0, 0, false);
    while open || !stop.load(Ordering::SeqCst) {
        let ended = match open {
            true => rotator.resume(None).await,
            false => rotator.run(policy.clone()).await,
        };
        let Err(error) = ended else {
            finished.fetch_add(1, Ordering::SeqCst);
            open = false;
            continue;
        };
        println!("{error}");
        match error.kind() {
            // It ended, and only the word that it did was lost: its end is in the journal. Or it had not begun: then the
            // end that is found there is that of the one before.
            RotateErrorKind::NothingToResume if open => {
                lost += 1;
                open = false;
            }
            RotateErrorKind::Stuck(_)
            | RotateErrorKind::JournalUnreadable
            | RotateErrorKind::HistoryChanged
            | RotateErrorKind::Authority(_) => panic!("{error}"),
            RotateErrorKind::NotBegun => {}
            // For the change of the one before: nothing was begun.
            RotateErrorKind::Waiting(_) if !open => {}
            _ => open = true,
        }
        stopped += 1;
        sleep(Duration::from_millis(200)).await;
    }
    (stopped, lost)
}
