//! What a change has to wait for comes before the look at its lease, so that no wait leads past it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use keyswap_admin::authority::{Authority, Capabilities, ChangeAnswer, Probe, ReadBack};
use keyswap_admin::{Application, Auth0, AuthorityError, RotateErrorKind, RotationPolicy, Rotator};
use keyswap_core::{FallbackPolicy, Secret, SecretList, SecretRing};
use keyswap_store::{FileStore, SecretStore, join};
use keyswap_testkit::{AuthorizationServer, Client};

const LEASE: Duration = Duration::from_millis(300);

/// An authority that keeps a change waiting for so long that another rotator takes over.
struct Slow {
    auth0: Auth0,
    store: FileStore,
    changes: Arc<AtomicU32>,
}

impl Authority for Slow {
    fn capabilities(&self) -> Capabilities {
        self.auth0.capabilities()
    }

    async fn check(&self) -> Result<(), AuthorityError> {
        self.auth0.check().await
    }

    async fn ready(&self) {
        // As a stopped process: nothing renews the lease meanwhile.
        std::thread::sleep(LEASE + LEASE / 2);
        let store = self.store.clone();
        let taker = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(store.acquire("another")).map(drop)
        });
        taker.join().unwrap().unwrap();
    }

    async fn set_secret(&self, secret: &Secret) -> ChangeAnswer {
        self.changes.fetch_add(1, Ordering::SeqCst);
        self.auth0.set_secret(secret).await
    }

    async fn read_back(&self, known: &[Secret]) -> ReadBack {
        self.auth0.read_back(known).await
    }

    async fn probe(&self, secret: &Secret) -> Probe {
        self.auth0.probe(secret).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_waited_past_its_lease_is_not_sent() {
    let (old, management) =
        ("old-secret-of-billing-0123456789", "secret-of-the-rotator-0123456789");
    let api = "https://api.example/";
    let server = AuthorizationServer::builder()
        .client(Client::new("billing", old).grant(api))
        .management_client(Client::management("rotator", management))
        .start()
        .await
        .unwrap();
    let directory = tempfile::tempdir().unwrap();
    let store = FileStore::create(directory.path().join("store"), "billing").unwrap().lease(LEASE);
    let list =
        |value: &str| SecretList::new([Secret::new("a".parse().unwrap(), value).unwrap()]).unwrap();
    store.import(&list(old)).await.unwrap();
    let (_ring, member) = join(store.clone(), "app", FallbackPolicy::default()).await.unwrap();
    let member = tokio::spawn(member);
    let auth0 = Auth0::builder(server.url().parse().unwrap(), "billing")
        .management("rotator", SecretRing::new(list(management)))
        .audience(api)
        .build()
        .unwrap();
    let changes = Arc::new(AtomicU32::new(0));
    let slow = Slow { auth0, store: store.clone(), changes: Arc::clone(&changes) };
    let policy =
        RotationPolicy::new([Application::new("app")]).poll_every(Duration::from_millis(20));
    let error = Rotator::new(slow, store).run(policy).await.unwrap_err();
    assert!(matches!(error.kind(), RotateErrorKind::LeaseLost), "{error}");
    assert_eq!(changes.load(Ordering::SeqCst), 0, "nothing was sent");
    assert_eq!(server.counts().changes, 0);
    member.abort();
}
