//! Rotating at the npm package `oidc-provider` as a client that manages its own registration (RFC 7592).

use std::time::Duration;

use keyswap_admin::authority::{Authority, Probe, Registration, RegistrationToken};
use keyswap_admin::rotation::Record;
use keyswap_admin::{
    Application, AuthorityErrorKind, RotateError, RotateErrorKind, RotationPolicy, Rotator, State,
};
use keyswap_core::{FallbackPolicy, Secret, SecretList};
use keyswap_real_tests::{Load, OidcProvider, Program, Seen, Tally};
use keyswap_store::{FileStore, SecretStore, join};
use keyswap_tower::{ClientSecretBasic, Profile};
use tempfile::TempDir;
use tokio::task::JoinSet;

const CLIENT: &str = "billing";
const OLD: &str = "old-secret-of-billing-0123456789";
const APPLICATIONS: [&str; 2] = ["invoices", "reports"];
const WINDOW: Duration = Duration::from_millis(300);

/// A server with one client, whose secret and registration access token are in a store.
struct World {
    server: OidcProvider,
    uri: String,
    directory: TempDir,
}

impl World {
    async fn new(arguments: &[&str]) -> Self {
        let client = format!("{CLIENT}:{OLD}:client_secret_basic");
        let server = OidcProvider::start_with(&[&client], arguments).await;
        let directory = tempfile::tempdir().expect("a temporary directory");
        let store = FileStore::create(directory.path().join("store"), CLIENT).expect("a store");
        let list = SecretList::new([secret()]).expect("a list");
        store.import(&list).await.expect("the first list");
        let (uri, token) = server.registration(CLIENT).await;
        let world = Self { server, uri, directory };
        world.token().put(&token).await.expect("the token is stored");
        world
    }

    fn store(&self) -> FileStore {
        FileStore::open(self.directory.path().join("store"), CLIENT).expect("the store")
    }

    fn token(&self) -> RegistrationToken<FileStore> {
        let place = RegistrationToken::<FileStore>::place(CLIENT);
        let store = FileStore::create(self.directory.path().join("store"), place);
        RegistrationToken::new(store.expect("a place for the token"))
    }

    fn authority(&self) -> Registration<FileStore> {
        let uri = self.uri.parse().expect("an address");
        let endpoint = self.server.token_endpoint().parse().expect("an address");
        let registration = Registration::builder(uri, endpoint, CLIENT, self.token());
        registration.profile(Profile::OidcProvider).build().expect("loopback is allowed")
    }

    fn rotator(&self) -> Rotator<Registration<FileStore>, FileStore> {
        Rotator::new(self.authority(), self.store())
            .patience(Duration::from_secs(60))
            .accept_gap("the test is about it")
    }

    /// Two instances of each application, which follow the store and sign in.
    async fn fleet(&self) -> (Load, JoinSet<()>) {
        let (mut load, mut members) = (Load::new(), JoinSet::new());
        for application in [APPLICATIONS, APPLICATIONS].concat() {
            let joined = join(self.store(), application, FallbackPolicy::default()).await;
            let (ring, member) = joined.expect("a place in the store");
            members.spawn(member);
            let program = Program {
                endpoint: self.server.token_endpoint().to_owned(),
                parameters: "grant_type=client_credentials".into(),
                ring,
                credential: ClientSecretBasic::new(CLIENT),
                profile: Profile::OidcProvider,
            };
            let every = Duration::from_millis(10);
            match application {
                "invoices" => load.add(every, program.with_layer()),
                _ => load.add(every, program.with_middleware()),
            }
        }
        load.progress(50).await;
        (load, members)
    }

    async fn record(&self) -> Record {
        let journal = self.store().journal().await.expect("readable").expect("a journal");
        Record::parse(&journal).expect("a journal of this version")
    }

    /// Waits until the rotation that replaces `old` has seen every program report the list with the new secret.
    ///
    /// That has no bound of its own: the rotation that this waits beside has one.
    async fn adopted(&self, old: &Secret) {
        loop {
            if let Some(journal) = self.store().journal().await.expect("readable") {
                let record = Record::parse(&journal).expect("a journal of this version");
                // The rotation before it left its own there.
                if record.old.id() == old.id() && record.state >= State::Adopted {
                    return;
                }
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The store holds another secret alone, which the server accepts, and the stored token is in force.
    async fn assert_rotated(&self) {
        let published = self.store().published().await.expect("readable").expect("published").list;
        assert_eq!(published.len(), 1, "{published:?}");
        let authority = self.authority();
        authority.check().await.expect("the stored token is in force");
        assert_eq!(authority.probe(published.preferred()).await, Probe::Accepted);
        assert_eq!(authority.probe(&secret()).await, Probe::Refused);
    }
}

fn rotated(how: &str, rotations: u64, tally: &Tally) {
    let version = OidcProvider::version();
    Seen { server: "oidc-provider", version: &version, how }.rotated(rotations, tally);
}

fn secret() -> Secret {
    Secret::new("old".parse().expect("an id"), OLD).expect("a secret")
}

fn policy() -> RotationPolicy {
    let mut policy =
        RotationPolicy::new(APPLICATIONS.map(|name| Application::new(name).instances(2)))
            .propagation_window(WINDOW)
            .quiet_period(WINDOW)
            .poll_every(Duration::from_millis(50));
    policy.in_flight_bound = Duration::from_millis(600);
    policy
}

fn authority_kind(error: &RotateError) -> AuthorityErrorKind {
    match error.kind() {
        RotateErrorKind::Authority(error) => error.kind(),
        other => panic!("{other:?}: {error}"),
    }
}

/// The server takes the old secret for a while: programs have the new one before that is over. Nobody can promise that, so
/// the rotation wants its gap accepted here as well.
#[tokio::test(flavor = "multi_thread")]
async fn two_rotations_fail_no_request_where_the_old_secret_is_taken_for_a_while() {
    let world = World::new(&["--update", "regenerate", "--overlap"]).await;
    let (load, _members) = world.fleet().await;
    for _ in 0..2 {
        let published = world.store().published().await.expect("readable").expect("published");
        let old = published.list.preferred().clone();
        // How long all programs take to read the list nobody knows on a busy machine: that they have is what ends the time
        // of the old secret. And the rotation waits before it asks whether that is refused, which could come first.
        let rotating = async {
            let rotator = world.rotator();
            let error = rotator.run(policy().hold_at_drained(true)).await.expect_err("it holds");
            assert!(matches!(error.kind(), RotateErrorKind::AwaitsRetirement), "{error}");
        };
        let forgetting = async {
            world.adopted(&old).await;
            world.server.forget_others(CLIENT).await;
        };
        tokio::join!(rotating, forgetting);
        world.rotator().retire(None).await.unwrap_or_else(|error| panic!("{error}"));
        load.progress(50).await;
    }
    let tally = load.stop().await;
    rotated("RFC 7592, the old secret is taken for a while", 2, &tally);
    tally.assert_none_failed();
    world.assert_rotated().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_that_requests_fail_in_the_gap_that_the_rotation_tells_of() {
    let world = World::new(&["--update", "regenerate"]).await;
    let (load, _members) = world.fleet().await;
    for _ in 0..2 {
        world.rotator().run(policy()).await.unwrap_or_else(|error| panic!("{error}"));
        load.progress(50).await;
    }
    let tally = load.stop().await;
    rotated("RFC 7592, a gap that is accepted", 2, &tally);
    // Each of them was refused, and in no other way.
    let other =
        tally.failures.iter().find(|reason| !reason.contains("client authentication failed"));
    assert_eq!(other, None, "{:?}", tally.failures);
    world.assert_rotated().await;
    assert_eq!(world.record().await.gaps().len(), 1, "the rotation tells of its gap");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_takes_the_token_with_it_unless_the_server_leaves_it_as_it_is() {
    let world = World::new(&["--update", "regenerate"]).await;
    let (load, members) = world.fleet().await;
    world.server.lose_next_update().await;
    let error = world.rotator().run(policy()).await.expect_err("the token is gone");
    assert_eq!(authority_kind(&error), AuthorityErrorKind::Credentials, "{error}");
    assert!(error.to_string().contains("Only the server's administrator"), "{error}");
    assert_eq!(world.record().await.state, State::Adding);
    let (_, token) = world.server.registration(CLIENT).await;
    world.token().put(&token).await.expect("the token is stored");
    world.rotator().resume(None).await.unwrap_or_else(|error| panic!("{error}"));
    world.assert_rotated().await;
    drop((load.stop().await, members));

    let world = World::new(&["--update", "regenerate", "--same-token"]).await;
    let (load, _members) = world.fleet().await;
    world.server.lose_next_update().await;
    world.rotator().run(policy()).await.unwrap_or_else(|error| panic!("{error}"));
    world.assert_rotated().await;
    drop(load.stop().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_keeps_the_secret_is_found_out_and_no_request_fails() {
    let world = World::new(&[]).await;
    let (load, _members) = world.fleet().await;
    let error = world.rotator().run(policy()).await.expect_err("it keeps the secret");
    assert_eq!(authority_kind(&error), AuthorityErrorKind::Unsupported, "{error}");
    let finished = world.rotator().rollback(None).await.unwrap_or_else(|error| panic!("{error}"));
    assert!(finished.rolled_back);
    load.progress(50).await;
    load.stop().await.assert_none_failed();
    world.authority().check().await.expect("the token that came with the update is stored");
}
