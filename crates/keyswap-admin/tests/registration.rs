//! Whole rotations at a server where a client manages its own registration (RFC 7592), with the real engine, store
//! and HTTP, at an embedded one that misbehaves on demand, while a program signs in.

#[path = "common/answers.rs"]
mod answers;
mod common;
#[path = "common/dropped.rs"]
mod dropped;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::Program;
use dropped::{Wanted, each};
use keyswap_admin::authority::{Authority, ReadBack, RegistrationBuilder, RegistrationToken};
use keyswap_admin::rotation::Record;
use keyswap_admin::{
    Application, AuthorityErrorKind, ClientAuthentication, Finished, Registration, RotateError,
    RotateErrorKind, RotationPolicy, Rotator, State,
};
use keyswap_core::{Secret, SecretList};
use keyswap_store::{FileStore, SecretStore};
use keyswap_testkit::{AtUpdate, AuthorizationServer, Client, Endpoint, Fault, Provider, Times};
use keyswap_tower::{ClientSecretBasic, Profile};
use tempfile::TempDir;

const OLD: &str = "old-secret-of-billing-0123456789";
const TOKEN: &str = "registration-token-0123456789";
const WINDOW: Duration = Duration::from_millis(200);
const WHY: &str = "a quiet night";

struct World {
    server: AuthorizationServer,
    store: FileStore,
    directory: TempDir,
}

impl World {
    /// A server that issues a secret and a token with each update.
    async fn new() -> Self {
        Self::at(AtUpdate::IssuesSecret, true).await
    }

    async fn at(at_update: AtUpdate, rotates_token: bool) -> Self {
        let basic = keyswap_testkit::ClientAuthentication::SecretBasic;
        let server = AuthorizationServer::builder()
            .provider(Provider::Registration { at_update, rotates_token })
            .nodes(3)
            .propagation_window(WINDOW)
            .client(Client::new("billing", OLD).authentication(basic))
            .api_token(TOKEN)
            .secrets_expire_at(4_102_444_800)
            .start()
            .await
            .unwrap();
        let directory = tempfile::tempdir().unwrap();
        let store = FileStore::create(directory.path().join("store"), "billing").unwrap();
        store.import(&SecretList::new([old()]).unwrap()).await.unwrap();
        let world = Self { server, store, directory };
        world.token().put(TOKEN).await.unwrap();
        world
    }

    fn token_store(&self) -> FileStore {
        let place = RegistrationToken::<FileStore>::place("billing");
        FileStore::create(self.directory.path().join("store"), place).unwrap()
    }

    fn token(&self) -> RegistrationToken<FileStore> {
        RegistrationToken::new(self.token_store())
    }

    fn builder(&self) -> RegistrationBuilder<FileStore> {
        let uri = format!("{}/register/billing", self.server.url()).parse().unwrap();
        let endpoint = self.server.token_endpoint().parse().unwrap();
        Registration::builder(uri, endpoint, "billing", self.token()).propagation_window(WINDOW)
    }

    fn rotator_with(
        &self,
        builder: RegistrationBuilder<FileStore>,
    ) -> Rotator<Registration<FileStore>, FileStore> {
        Rotator::new(builder.build().unwrap(), self.store.clone())
            .patience(Duration::from_secs(20))
            .asked_by("ada")
    }

    fn rotator(&self) -> Rotator<Registration<FileStore>, FileStore> {
        self.rotator_with(self.builder()).accept_gap(WHY)
    }

    async fn program(&self) -> Program {
        let credential = (ClientSecretBasic::new("billing"), Profile::Rfc6749);
        let body = "grant_type=client_credentials".to_owned();
        Program::start(&self.store, credential, self.server.token_endpoint(), body, WINDOW).await
    }

    async fn record(&self) -> Record {
        Record::parse(&self.store.journal().await.unwrap().unwrap()).unwrap()
    }

    /// The rotation is over, everybody agrees on it, nothing but the secret was changed, and the stored token
    /// is the one that the server takes.
    async fn assert_rotated(&self, finished: &Finished) {
        assert!(!finished.rolled_back);
        let list = self.store.published().await.unwrap().unwrap().list;
        assert_eq!(list.len(), 1);
        let new = list.preferred();
        assert_eq!(new.id(), &finished.new);
        self.server.until_settled("billing").await;
        assert!(self.server.accepts("billing", new.expose()));
        assert!(!self.server.accepts_anywhere("billing", OLD));
        self.builder().build().unwrap().check().await.unwrap();
        let metadata = serde_json::Value::from(self.server.metadata("billing"));
        assert_eq!(metadata["client_name"], "billing");
        assert_eq!(metadata["grant_types"][0], "client_credentials");
        assert_eq!(metadata["redirect_uris"][0], "https://billing.example/callback");
        let history = format!("{:?}", self.store.history().await.unwrap());
        for value in [OLD, TOKEN, new.expose()] {
            assert!(!history.contains(value));
        }
    }
}

fn old() -> Secret {
    Secret::new("old".parse().unwrap(), OLD).unwrap()
}

fn policy() -> RotationPolicy {
    let mut policy = RotationPolicy::new([Application::new("billing-app")])
        .quiet_period(WINDOW)
        .poll_every(Duration::from_millis(20));
    policy.in_flight_bound = Duration::from_millis(600);
    policy
}

fn authority_kind(error: &RotateError) -> AuthorityErrorKind {
    answers::authority_kind(error, &[OLD, TOKEN])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_that_the_server_issues_is_taken_up_in_the_gap_that_was_accepted_and_each_token_is_kept()
 {
    each([true, false], async |rotates_token| {
        let world = World::at(AtUpdate::IssuesSecret, rotates_token).await;
        let refused = world.rotator_with(world.builder()).run(policy()).await.unwrap_err();
        assert!(matches!(refused.kind(), RotateErrorKind::GapNotAccepted), "{refused:?}");

        let program = world.program().await;
        let said = Arc::<Mutex<Vec<String>>>::default();
        let heard = Arc::clone(&said);
        for _ in 0..2 {
            let heard = Arc::clone(&heard);
            let builder =
                world.builder().on_said(move |line| heard.lock().unwrap().push(line.to_owned()));
            let finished = world.rotator_with(builder).accept_gap(WHY).run(policy()).await.unwrap();
            let states: Vec<_> = finished.states.iter().map(|(state, _)| *state).collect();
            assert_eq!(states, State::PATH_WITH_A_GAP[..State::PATH_WITH_A_GAP.len() - 1]);
            world.assert_rotated(&finished).await;
        }
        let said = said.lock().unwrap().join("\n");
        assert!(said.contains("the new secret of client billing expires at 2100-01-01"), "{said}");
        assert_eq!(world.server.counts().changes, 2);
        let record = world.record().await;
        let [gap] = record.gaps() else { panic!("{:?}", record.gaps()) };
        let until = gap.until.unwrap().milliseconds();
        let failed_at = program.end().await.failed_at;
        assert_eq!(failed_at.iter().find(|began| **began > until), None);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotation_that_was_dropped_in_any_state_is_resumed_to_its_end() {
    each(State::PATH_WITH_A_GAP.into_iter().filter(|state| *state != State::Done), async |state| {
        let world = World::new().await;
        let program = world.program().await;
        Wanted::Run(policy()).dropped_at(world.rotator(), state).await;
        let finished = Wanted::Resume.of(&world.rotator_with(world.builder())).await;
        let finished = finished.unwrap_or_else(|error| panic!("{state}: {error}"));
        world.assert_rotated(&finished).await;
        program.end().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_update_that_had_no_answer_is_repeated_where_the_token_stays() {
    let endpoint = Endpoint::UpdateClient;
    let cases = [
        (Fault::AnswerLostAfterChange, 2),
        (Fault::AnswerLostBeforeChange, 1),
        (Fault::ServerErrorAfterChange { status: 502 }, 2),
        (Fault::Html { endpoint, status: 200 }, 1),
        (Fault::ServerError { endpoint: Endpoint::ReadClient, status: 503 }, 1),
        (
            Fault::RateLimited {
                endpoint,
                retry_after: None,
                reset_after: Some(Duration::from_millis(1)),
            },
            1,
        ),
    ];
    each(cases, async |(fault, changes)| {
        let world = World::at(AtUpdate::IssuesSecret, false).await;
        let program = world.program().await;
        let injected = world.server.clone();
        let (server_fault, once) = (fault.clone(), std::sync::Once::new());
        let rotator = world.rotator().on_progress(move |progress| {
            if let keyswap_admin::Progress::Entered { state: State::Adding, .. } = progress {
                once.call_once(|| injected.inject(server_fault.clone(), Times::ONCE));
            }
        });
        let finished = rotator.run(policy()).await;
        let finished = finished.unwrap_or_else(|error| panic!("{fault:?}: {error}"));
        assert_eq!(world.server.counts().faults, 1, "{fault:?}");
        world.assert_rotated(&finished).await;
        assert_eq!(world.server.counts().changes, changes, "{fault:?}");
        program.end().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_takes_the_next_token_with_it_stops_the_rotation_until_another_one_is_stored()
 {
    let world = World::new().await;
    let program = world.program().await;
    world.server.inject(Fault::AnswerLostAfterChange, Times::ONCE);
    let error = world.rotator().run(policy()).await.unwrap_err();
    assert_eq!(authority_kind(&error), AuthorityErrorKind::Credentials, "{error}");
    let text = error.to_string();
    let parts = [
        "does not take the registration access token",
        "an update whose answer was lost took that with it",
        "a secret that nobody was told",
        "Only the server's administrator",
        "--registration-token-file",
        "`keyswap resume`",
    ];
    for part in parts.iter().filter(|part| **part != "a secret that nobody was told") {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(text.contains("one that nobody was told"), "{text}");
    assert_eq!(world.server.counts().changes, 1);
    assert_eq!(world.record().await.state, State::Adding);
    // Nothing else helps.
    let error = Wanted::Resume.of(&world.rotator()).await.unwrap_err();
    assert_eq!(authority_kind(&error), AuthorityErrorKind::Credentials, "{error}");
    assert_eq!(world.server.counts().changes, 1);

    world.token().put(&world.server.issue_registration_token()).await.unwrap();
    let finished = Wanted::Resume.of(&world.rotator()).await.unwrap();
    world.assert_rotated(&finished).await;
    assert_eq!(world.server.counts().changes, 2);
    program.end().await;
}

/// An update that never reached the server took no token with it either.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_was_lost_on_its_way_is_repeated_with_the_same_token() {
    let world = World::new().await;
    let program = world.program().await;
    world.server.inject(Fault::AnswerLostBeforeChange, Times::ONCE);
    let finished = world.rotator().run(policy()).await.unwrap();
    world.assert_rotated(&finished).await;
    assert_eq!(world.server.counts().changes, 1);
    program.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_keeps_the_secret_says_so_by_its_answer_and_nothing_was_changed() {
    let world = World::at(AtUpdate::KeepsSecret, true).await;
    let program = world.program().await;
    let error = world.rotator().run(policy()).await.unwrap_err();
    assert_eq!(authority_kind(&error), AuthorityErrorKind::Unsupported, "{error}");
    for part in ["issued no other secret", "Nothing was changed", "`keyswap rollback`"] {
        assert!(error.to_string().contains(part), "{error}");
    }
    assert_eq!((world.server.counts().changes, world.record().await.gaps().len()), (0, 0));
    let finished = Wanted::Rollback.of(&world.rotator()).await.unwrap();
    assert!(finished.rolled_back);
    program.stop().await;
    assert!(world.server.accepts("billing", OLD));
    // The token that came with the update is in the store.
    world.builder().build().unwrap().check().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_a_client_may_choose_no_request_fails_also_with_a_lost_answer() {
    // With a token that was lost with the answer, what the server holds is found out by token requests.
    let cases = [
        (None, true),
        (Some(Fault::AnswerLostAfterChange), true),
        (Some(Fault::AnswerLostAfterChange), false),
        (Some(Fault::AnswerLostBeforeChange), true),
    ];
    each(cases, async |(fault, rotates_token)| {
        let world = World::at(AtUpdate::TakesSecret, rotates_token).await;
        let program = world.program().await;
        let injected = (world.server.clone(), fault.clone());
        let rotator = world.rotator_with(world.builder().client_chooses(true));
        let rotator = rotator.on_progress(move |progress| {
            if let (
                keyswap_admin::Progress::Entered { state: State::CuttingOver, .. },
                (server, Some(fault)),
            ) = (progress, &injected)
            {
                server.inject(fault.clone(), Times::ONCE);
            }
        });
        let finished = rotator.run(policy()).await;
        let finished = finished.unwrap_or_else(|error| panic!("{fault:?}: {error}"));
        program.stop().await;
        if (fault, rotates_token) == (Some(Fault::AnswerLostAfterChange), true) {
            // It came to its end, and the next one does not begin.
            let error = world.builder().build().unwrap().check().await.unwrap_err();
            assert_eq!(error.kind(), AuthorityErrorKind::Credentials, "{error}");
            world.token().put(&world.server.issue_registration_token()).await.unwrap();
        }
        world.assert_rotated(&finished).await;
        let known = world.store.published().await.unwrap().unwrap().list;
        let known: Vec<_> = known.iter().cloned().collect();
        let said = world.builder().build().unwrap().read_back(&known).await;
        assert_eq!(said, ReadBack::Holds(finished.new.clone()));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_takes_no_chosen_secret_leaves_everything_as_it_was() {
    let world = World::at(AtUpdate::KeepsSecret, true).await;
    let program = world.program().await;
    let rotator = world.rotator_with(world.builder().client_chooses(true));
    let error = rotator.run(policy()).await.unwrap_err();
    assert_eq!(authority_kind(&error), AuthorityErrorKind::Refused, "{error}");
    let text = error.to_string();
    assert!(text.contains("refuses to take a secret of the client's choice"), "{text}");
    let rotator = world.rotator_with(world.builder().client_chooses(true));
    assert!(Wanted::Rollback.of(&rotator).await.unwrap().rolled_back);
    program.stop().await;
    assert_eq!(world.server.counts().changes, 0);
}

/// What a rotation says that does not begin.
async fn not_begun(
    world: &World,
    builder: RegistrationBuilder<FileStore>,
) -> (AuthorityErrorKind, String) {
    let error = world.rotator_with(builder).accept_gap(WHY).run(policy()).await.unwrap_err();
    assert!(world.store.journal().await.unwrap().is_none(), "nothing was begun");
    assert_eq!(world.server.counts().changes, 0);
    (authority_kind(&error), error.to_string())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_is_named_before_anything_is_changed() {
    let world = World::new().await;
    let (kind, text) =
        not_begun(&world, world.builder().authentication(ClientAuthentication::Post)).await;
    assert_eq!(kind, AuthorityErrorKind::Configuration, "{text}");
    let at = |path: &str| {
        let uri = format!("{}{path}", world.server.url()).parse().unwrap();
        let endpoint = world.server.token_endpoint().parse().unwrap();
        Registration::builder(uri, endpoint, "billing", world.token())
    };
    let (kind, text) = not_begun(&world, at("/nowhere")).await;
    assert_eq!(kind, AuthorityErrorKind::NoSuchClient, "{text}");
    assert!(text.contains("`registration_client_uri`"), "{text}");
    let endpoint = Endpoint::ReadClient;
    world.server.inject(Fault::Html { endpoint, status: 200 }, Times::ONCE);
    let (kind, text) = not_begun(&world, world.builder()).await;
    assert_eq!(kind, AuthorityErrorKind::Unexpected, "{text}");

    let held = world.token_store().acquire("somebody").await.unwrap();
    let (kind, text) = not_begun(&world, world.builder()).await;
    assert_eq!(kind, AuthorityErrorKind::Throttled, "{text}");
    drop(held);
    world.token().put("another-token").await.unwrap();
    let (kind, text) = not_begun(&world, world.builder()).await;
    assert_eq!(kind, AuthorityErrorKind::Credentials, "{text}");

    let empty = FileStore::create(world.directory.path().join("another"), "token").unwrap();
    let uri = format!("{}/register/billing", world.server.url()).parse().unwrap();
    let endpoint = world.server.token_endpoint().parse().unwrap();
    let builder = Registration::builder(uri, endpoint, "billing", RegistrationToken::new(empty));
    let (kind, text) = not_begun(&world, builder).await;
    assert_eq!(kind, AuthorityErrorKind::Configuration, "{text}");
    assert!(text.contains("--registration-token-file"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_the_store_does_not_take_is_used_and_stored_later() {
    let world = World::new().await;
    let program = world.program().await;
    let said = Arc::<Mutex<Vec<String>>>::default();
    let heard = Arc::clone(&said);
    let builder = world.builder().on_said(move |line| heard.lock().unwrap().push(line.to_owned()));
    let registration = builder.build().unwrap();
    let id = "new".parse().unwrap();
    let place = world.directory.path().join("store");
    let name = RegistrationToken::<FileStore>::place("billing");
    let directory = place.join(&name);
    let ring = directory.join("ring.json");
    let aside = directory.join("aside.json");
    // Somebody takes the list away between the request and the answer.
    let delay = Duration::from_secs(2);
    world.server.inject(Fault::LatencyAfterChange { delay }, Times::ONCE);
    let asked = registration.regenerate_secret(&id);
    let taken_away = async {
        loop {
            if world.server.counts().changes == 1 {
                std::fs::rename(&ring, &aside).unwrap();
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let (answer, ()) = tokio::join!(asked, taken_away);
    assert!(format!("{answer:?}").starts_with("Replaced("), "{answer:?}");
    let told = said.lock().unwrap().join("\n");
    assert!(
        told.contains("could not be stored") && told.contains("kept in this process"),
        "{told}"
    );
    std::fs::rename(&aside, &ring).unwrap();
    registration.check().await.unwrap();
    world.builder().build().unwrap().check().await.unwrap();
    program.end().await;
}
