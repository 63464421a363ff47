//! Whole rotations at an Ory Hydra of both kinds, with one secret a client and with rotated secrets, with the
//! real engine, store and HTTP, at an embedded one that misbehaves on demand, while a program signs in.

#[path = "common/answers.rs"]
mod answers;
mod common;
#[path = "common/course.rs"]
mod course;
#[path = "common/dropped.rs"]
mod dropped;

use std::time::Duration;

use common::Program;
use course::course;
use dropped::{Wanted, each, injecting};
use keyswap_admin::authority::{Authority, HydraBuilder, Listed, NewSecret, Probe, SlotId};
use keyswap_admin::{
    Application, AuthorityErrorKind, ClientAuthentication, Finished, Hydra, RotateError,
    RotationPolicy, Rotator, State,
};
use keyswap_core::{Secret, SecretList};
use keyswap_store::{FileStore, SecretStore};
use keyswap_testkit::{AuthorizationServer, Client, Endpoint, Fault, Provider, Times};
use keyswap_tower::{ClientSecretBasic, Profile};
use tempfile::TempDir;

const OLD: &str = "old-secret-of-billing-0123456789";
const WINDOW: Duration = Duration::from_millis(200);

struct World {
    server: AuthorizationServer,
    store: FileStore,
    _directory: TempDir,
}

impl World {
    /// A Hydra with rotated secrets.
    async fn new() -> Self {
        Self::with(
            Provider::HydraWithRotatedSecrets,
            keyswap_testkit::ClientAuthentication::SecretBasic,
        )
        .await
    }

    async fn with(
        provider: Provider,
        authentication: keyswap_testkit::ClientAuthentication,
    ) -> Self {
        let client = Client::new("billing", OLD).authentication(authentication);
        let server = AuthorizationServer::builder()
            .provider(provider)
            .nodes(3)
            .propagation_window(WINDOW)
            .client(client.grant("any").scopes(["read"]))
            .start()
            .await
            .unwrap();
        let directory = tempfile::tempdir().unwrap();
        let store = FileStore::create(directory.path().join("store"), "billing").unwrap();
        store.import(&SecretList::new([old()]).unwrap()).await.unwrap();
        Self { server, store, _directory: directory }
    }

    fn builder(&self) -> HydraBuilder {
        let url = || self.server.url().parse().unwrap();
        Hydra::builder(url(), url(), "billing").scope("read").propagation_window(WINDOW)
    }

    fn rotator(&self) -> Rotator<Hydra, FileStore> {
        self.rotator_with(self.builder())
    }

    fn rotator_with(&self, builder: HydraBuilder) -> Rotator<Hydra, FileStore> {
        let authority = builder.build().unwrap();
        Rotator::new(authority, self.store.clone()).patience(Duration::from_secs(20))
    }

    async fn program(&self) -> Program {
        let credential = (ClientSecretBasic::new("billing"), Profile::Hydra);
        let body = "grant_type=client_credentials&scope=read".to_owned();
        Program::start(&self.store, credential, self.server.token_endpoint(), body, WINDOW).await
    }

    /// Somebody else has Hydra rotate the secret, and keeps the new one.
    async fn rotate_by_hand(&self) -> String {
        let url = format!("{}/admin/clients/billing/secrets/rotate", self.server.url());
        let answer = reqwest::Client::new().post(url).send().await.unwrap();
        let answer: serde_json::Value =
            serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
        answer["client_secret"].as_str().unwrap().to_owned()
    }

    /// The rotation is over, the new secret is the only one, and everybody agrees on it.
    async fn assert_rotated(&self, finished: &Finished) {
        assert!(!finished.rolled_back);
        let new = self.only_secret().await;
        assert_eq!(new.id(), &finished.new);
        assert!(!self.server.accepts_anywhere("billing", OLD));
    }

    /// The rotation was taken back, and everybody agrees on that.
    async fn assert_rolled_back(&self, finished: &Finished) {
        assert!(finished.rolled_back);
        assert_eq!(self.only_secret().await.expose(), OLD);
    }

    async fn only_secret(&self) -> Secret {
        let list = self.store.published().await.unwrap().unwrap().list;
        assert_eq!(list.len(), 1);
        self.server.until_settled("billing").await;
        assert!(self.server.accepts("billing", list.preferred().expose()));
        assert_eq!(self.server.accepted_secrets("billing"), 1);
        let history = format!("{:?}", self.store.history().await.unwrap());
        assert!(!history.contains(list.preferred().expose()) && !history.contains(OLD));
        list.preferred().clone()
    }
}

fn old() -> Secret {
    Secret::new("old".parse().unwrap(), OLD).unwrap()
}

fn policy() -> RotationPolicy {
    let mut policy = RotationPolicy::new([Application::new("billing-app")])
        .quiet_period(WINDOW)
        .poll_every(Duration::from_millis(20));
    policy.in_flight_bound = Duration::from_millis(400);
    policy
}

/// Hydra cannot deactivate a secret.
fn path() -> Vec<State> {
    use State::*;
    let mut path = State::PATH_WITH_SLOTS.to_vec();
    path.retain(|state| !matches!(state, Deactivating | Deactivated | Done));
    path
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_rotated_secrets_no_attempt_is_refused_and_one_rotation_follows_another() {
    let world = World::new().await;
    let program = world.program().await;
    for _ in 0..2 {
        let finished = world.rotator().run(policy()).await.unwrap();
        assert_eq!(course(&finished), path());
        world.assert_rotated(&finished).await;
    }
    assert_eq!(program.stop().await, 0, "a fallback was needed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_there_are_no_rotated_secrets_or_they_are_not_wanted_the_one_secret_is_replaced() {
    let basic = keyswap_testkit::ClientAuthentication::SecretBasic;
    let without = World::with(Provider::Hydra, basic).await;
    each([(without, None), (World::new().await, Some(false))], async |(world, overlap)| {
        let program = world.program().await;
        let mut builder = world.builder();
        if let Some(overlap) = overlap {
            builder = builder.overlap(overlap);
        }
        let finished = world.rotator_with(builder).run(policy()).await.unwrap();
        assert!(program.stop().await > 0, "no fallback was needed");
        let states: Vec<_> = finished.states.iter().map(|(state, _)| *state).collect();
        assert_eq!(states, State::PATH[..State::PATH.len() - 1]);
        world.assert_rotated(&finished).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotation_that_was_dropped_in_any_state_is_resumed_to_its_end() {
    each(path(), async |state| {
        let world = World::new().await;
        let program = world.program().await;
        Wanted::Run(policy()).dropped_at(world.rotator(), state).await;
        let finished = Wanted::Resume.of(&world.rotator()).await.unwrap();
        assert_eq!(program.stop().await, 0, "a fallback was needed after {state}");
        world.assert_rotated(&finished).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotation_goes_back_from_any_state_before_retiring_and_no_attempt_is_refused() {
    let before_retiring = path().into_iter().take_while(|state| *state != State::Retiring);
    each(before_retiring, async |state| {
        let world = World::new().await;
        let program = world.program().await;
        Wanted::Run(policy()).dropped_at(world.rotator(), state).await;
        let finished = Wanted::Rollback.of(&world.rotator()).await.unwrap();
        assert_eq!(program.stop().await, 0, "a fallback was needed after {state}");
        // Whether Hydra was asked at all in `adding` is not known: what it may have chosen is left there.
        if state != State::Adding {
            world.assert_rolled_back(&finished).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_answer_and_a_rate_limit_at_each_change_do_no_harm() {
    let limited = |endpoint| Fault::RateLimited {
        endpoint,
        retry_after: None,
        reset_after: Some(Duration::from_millis(1)),
    };
    let changes = [(State::Adding, Endpoint::AddSecret), (State::Removing, Endpoint::UpdateClient)];
    let cases = changes.into_iter().flat_map(|(state, endpoint)| {
        let faults = [
            Fault::AnswerLostAfterChange,
            Fault::AnswerLostBeforeChange,
            Fault::LateChange { after: Duration::from_millis(300) },
            Fault::ServerErrorAfterChange { status: 502 },
            Fault::Html { endpoint, status: 200 },
            limited(endpoint),
        ];
        faults.map(|fault| (state, fault))
    });
    each(cases, async |(state, fault)| {
        let world = World::new().await;
        let program = world.program().await;
        let going_wrong = injecting(&world.server, state, (&fault, Times::ONCE));
        let finished = world.rotator().on_progress(going_wrong).run(policy()).await;
        let finished = finished.unwrap_or_else(|error| panic!("{state}, {fault:?}: {error}"));
        assert_eq!(world.server.counts().faults, 1, "{state}, {fault:?}");
        assert_eq!(program.stop().await, 0, "a fallback was needed: {state}, {fault:?}");
        world.assert_rotated(&finished).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_are_lost_again_and_again_do_not_push_the_present_secret_out() {
    let world = World::new().await;
    let program = world.program().await;
    let fault = Fault::ServerErrorAfterChange { status: 502 };
    let going_wrong = injecting(&world.server, State::Adding, (&fault, Times(7)));
    let finished = world.rotator().on_progress(going_wrong).run(policy()).await.unwrap();
    assert_eq!(world.server.counts().faults, 7);
    assert_eq!(program.stop().await, 0, "a fallback was needed");
    world.assert_rotated(&finished).await;

    // Hydra keeps five behind the one that it chose last.
    let world = World::new().await;
    let hydra = world.builder().build().unwrap();
    for _ in 0..7 {
        let answer = hydra.add_secret_again(&NewSecret::Awaited(id("new")), &old()).await;
        let said = format!("{answer:?}");
        assert!(said.starts_with("Added(") && !said.contains(OLD), "{said}");
    }
    world.server.until_settled("billing").await;
    assert!(world.server.accepts("billing", OLD));
    assert_eq!(world.server.accepted_secrets("billing"), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_that_somebody_has_chosen_in_mid_rotation_goes_with_the_old_one_and_the_new_one_stays()
 {
    let world = World::new().await;
    let program = world.program().await;
    Wanted::Run(policy()).dropped_at(world.rotator(), State::Drained).await;
    // Now that one is the client's own, and the new one is among those that are rotated.
    let foreign = world.rotate_by_hand().await;
    let finished = Wanted::Resume.of(&world.rotator()).await.unwrap();
    assert_eq!(program.stop().await, 0, "a fallback was needed");
    world.assert_rotated(&finished).await;
    assert!(!world.server.accepts_anywhere("billing", &foreign));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hydra_has_those_of_the_known_secrets_that_it_takes_once_all_nodes_have_heard_of_them() {
    let world = World::new().await;
    let hydra = world.builder().build().unwrap();
    let new = Secret::new(id("new"), world.rotate_by_hand().await.as_str()).unwrap();
    let gone = Secret::new(id("gone"), "a-secret-of-last-year").unwrap();
    let Listed::Slots(slots) = hydra.slots(&[new.clone(), old(), gone.clone()]).await else {
        panic!("it does not say")
    };
    let slots: Vec<_> = slots.into_iter().map(|slot| (slot.id, slot.holds, slot.active)).collect();
    let slot = |name: &str| (SlotId::new(name), Some(id(name)), true);
    assert_eq!(slots, [slot("new"), slot("old")]);
    assert_eq!(hydra.probe(&new).await, Probe::Accepted);
    // One refusal says what one node knows.
    let refused = world.server.counts().token_refused;
    assert_eq!(hydra.slots(&[gone]).await, Listed::Slots(Vec::new()));
    assert!(world.server.counts().token_refused >= refused + 2);
    world.server.inject(Fault::ServerError { endpoint: Endpoint::Token, status: 503 }, Times::ONCE);
    let said = hydra.slots(&[old()]).await;
    assert!(matches!(said, Listed::Unavailable(_)), "{said:?}");
}

fn id(name: &str) -> keyswap_core::SecretId {
    name.parse().unwrap()
}

/// What a rotation says that does not begin.
async fn not_begun(world: &World, builder: HydraBuilder) -> (AuthorityErrorKind, String) {
    let error = world.rotator_with(builder).run(policy()).await.unwrap_err();
    assert!(world.store.journal().await.unwrap().is_none(), "nothing was begun");
    assert_eq!(world.server.counts().changes, 0);
    (authority_kind(&error), error.to_string())
}

fn authority_kind(error: &RotateError) -> AuthorityErrorKind {
    answers::authority_kind(error, &[OLD])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_is_named_before_anything_is_changed() {
    let basic = keyswap_testkit::ClientAuthentication::SecretBasic;
    let world = World::with(Provider::Hydra, basic).await;
    let (kind, text) = not_begun(&world, world.builder().overlap(true)).await;
    assert_eq!(kind, AuthorityErrorKind::Unsupported, "{text}");
    for part in ["secrets/rotate", "update Hydra", "leave `overlap` out"] {
        assert!(text.contains(part), "{text}");
    }

    let world = World::new().await;
    let url = || world.server.url().parse().unwrap();
    for (builder, kind, says) in [
        (
            Hydra::builder(url(), url(), "nobody"),
            AuthorityErrorKind::NoSuchClient,
            "check the client id",
        ),
        (
            world.builder().authentication(ClientAuthentication::Post),
            AuthorityErrorKind::Configuration,
            "registered for client_secret_basic",
        ),
    ] {
        let (found, text) = not_begun(&world, builder).await;
        assert_eq!(found, kind, "{text}");
        assert!(text.contains(says), "{text}");
    }
    for (fault, kind) in [
        (
            Fault::Html { endpoint: Endpoint::ReadClient, status: 200 },
            AuthorityErrorKind::Unexpected,
        ),
        // That says nothing of whether the call is there.
        (
            Fault::ServerError { endpoint: Endpoint::RemoveSecret, status: 503 },
            AuthorityErrorKind::Unreachable,
        ),
    ] {
        world.server.inject(fault, Times::ONCE);
        let (found, text) = not_begun(&world, world.builder().overlap(true)).await;
        assert_eq!(found, kind, "{text}");
    }
    let keyed = keyswap_testkit::ClientAuthentication::PrivateKeyJwt;
    let world = World::with(Provider::HydraWithRotatedSecrets, keyed).await;
    let (kind, text) = not_begun(&world, world.builder()).await;
    assert_eq!(kind, AuthorityErrorKind::UnsupportedClient, "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_resumed_rotation_whose_server_has_lost_the_call_says_so_and_changes_nothing() {
    let world = World::new().await;
    Wanted::Run(policy()).dropped_at(world.rotator(), State::Generated).await;
    let basic = keyswap_testkit::ClientAuthentication::SecretBasic;
    let older = World::with(Provider::Hydra, basic).await;
    let authority = older.builder().build().unwrap();
    let rotator = Rotator::new(authority, world.store.clone()).patience(Duration::from_secs(20));
    let error = Wanted::Resume.of(&rotator).await.unwrap_err();
    assert_eq!(authority_kind(&error), AuthorityErrorKind::Unsupported, "{error}");
    assert_eq!(older.server.counts().changes, 0);
    let finished = Wanted::Rollback.of(&rotator).await.unwrap();
    world.assert_rolled_back(&finished).await;
}
