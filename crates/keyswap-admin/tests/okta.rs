//! Whole rotations at a server that holds two secrets a client, with the real engine, store and HTTP, at an
//! embedded Okta that misbehaves on demand, while a program signs in.

#[path = "common/answers.rs"]
mod answers;
mod common;
#[path = "common/course.rs"]
mod course;
#[path = "common/dropped.rs"]
mod dropped;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common::Program;
use course::course;
use dropped::{Wanted, each, injecting};
use keyswap_admin::authority::{
    AddAnswer, Authority, Capabilities, ChangeAnswer, Listed, NewSecret, OktaBuilder, Probe, SlotId,
};
use keyswap_admin::rotation::StuckReason;
use keyswap_admin::{
    Application, AuthorityError, AuthorityErrorKind, ClientAuthentication, Finished, Okta,
    Progress, RotateError, RotateErrorKind, RotationPolicy, Rotator, State,
};
use keyswap_core::{Secret, SecretId, SecretList};
use keyswap_store::{FileStore, SecretStore};
use keyswap_testkit::{AuthorizationServer, Client, Endpoint, Fault, Provider, Times};
use keyswap_tower::{ClientSecretBasic, Profile};
use tempfile::TempDir;

const OLD: &str = "old-secret-of-billing-0123456789";
const TOKEN: &str = "api-token-of-the-rotator-012345";
const READER: &str = "api-token-of-a-reader-012345678";
const WINDOW: Duration = Duration::from_millis(200);

struct World {
    server: AuthorizationServer,
    store: FileStore,
    /// The id that the server gave the present secret.
    old: String,
    _directory: TempDir,
}

impl World {
    async fn new() -> Self {
        Self::with(keyswap_testkit::ClientAuthentication::SecretBasic).await
    }

    async fn with(authentication: keyswap_testkit::ClientAuthentication) -> Self {
        let client = Client::new("billing", OLD).application("0oabilling");
        let client = client.authentication(authentication);
        let server = AuthorizationServer::builder()
            .provider(Provider::Okta)
            .nodes(3)
            .propagation_window(WINDOW)
            .client(client.grant("default").scopes(["read"]))
            .api_token(TOKEN)
            .read_only_api_token(READER)
            .start()
            .await
            .unwrap();
        let directory = tempfile::tempdir().unwrap();
        let store = FileStore::create(directory.path().join("store"), "billing").unwrap();
        let old = Secret::new("old".parse().unwrap(), OLD).unwrap();
        store.import(&SecretList::new([old]).unwrap()).await.unwrap();
        let (old, _) = server.secrets("billing").remove(0);
        Self { server, store, old, _directory: directory }
    }

    fn builder(&self) -> OktaBuilder {
        Okta::builder(self.server.url().parse().unwrap(), "billing")
            .application("0oabilling")
            .api_token(secret(TOKEN))
            .scope("read")
            .propagation_window(WINDOW)
    }

    fn authority(&self) -> Okta {
        self.builder().build().unwrap()
    }

    fn rotator(&self) -> Rotator<Okta, FileStore> {
        self.rotator_with(self.authority())
    }

    fn rotator_with<A: Authority>(&self, authority: A) -> Rotator<A, FileStore> {
        Rotator::new(authority, self.store.clone()).patience(Duration::from_secs(20))
    }

    async fn program(&self) -> Program {
        let credential = (ClientSecretBasic::new("billing"), Profile::Okta);
        let body = "grant_type=client_credentials&scope=read".to_owned();
        Program::start(&self.store, credential, self.server.token_endpoint(), body, WINDOW).await
    }

    /// The ids of the secrets that the server has besides the first.
    fn others(&self) -> Vec<String> {
        let secrets = self.server.secrets("billing").into_iter();
        secrets.map(|(id, _)| id).filter(|id| *id != self.old).collect()
    }

    /// The rotation is over, and everybody agrees on it.
    async fn assert_rotated(&self, finished: &Finished) {
        assert!(!finished.rolled_back);
        let document = self.store.published().await.unwrap().unwrap();
        assert_eq!(document.list.len(), 1);
        let new = document.list.preferred();
        assert_eq!(new.id(), &finished.new);
        self.server.until_settled("billing").await;
        assert!(self.server.accepts("billing", new.expose()));
        assert_eq!(self.server.accepted_secrets("billing"), 1);
        let secrets = self.server.secrets("billing");
        let [(id, true)] = secrets.as_slice() else { panic!("{secrets:?}") };
        assert_ne!(*id, self.old);
    }

    /// The rotation was taken back, and everybody agrees on that.
    async fn assert_rolled_back(&self, finished: &Finished) {
        assert!(finished.rolled_back);
        let document = self.store.published().await.unwrap().unwrap();
        let old = Secret::new("old".parse().unwrap(), OLD).unwrap();
        assert_eq!(document.list, SecretList::new([old]).unwrap());
        self.server.until_settled("billing").await;
        assert!(self.server.accepts("billing", OLD));
        assert_eq!(self.server.secrets("billing"), [(self.old.clone(), true)]);
    }
}

fn secret(value: &str) -> Secret {
    Secret::new("a".parse().unwrap(), value).unwrap()
}

fn policy() -> RotationPolicy {
    let mut policy = RotationPolicy::new([Application::new("billing-app")])
        .quiet_period(WINDOW)
        .poll_every(Duration::from_millis(20));
    policy.in_flight_bound = Duration::from_millis(400);
    policy
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotation_passes_through_every_state_and_no_attempt_is_refused_on_the_way() {
    let world = World::new().await;
    let program = world.program().await;
    let finished = world.rotator().run(policy()).await.unwrap();
    assert_eq!(program.stop().await, 0, "a fallback was needed");
    assert_eq!(course(&finished), State::PATH_WITH_SLOTS[..State::PATH_WITH_SLOTS.len() - 1]);
    world.assert_rotated(&finished).await;
    // Added, deactivated, removed: each once.
    assert_eq!(world.server.counts().changes, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_rotations_follow_each_other_and_okta_may_choose_the_value() {
    let world = World::new().await;
    let program = world.program().await;
    for server_chooses in [true, false, true] {
        let authority = world.builder().server_chooses(server_chooses).build().unwrap();
        let finished = world.rotator_with(authority).run(policy()).await.unwrap();
        world.assert_rotated(&finished).await;
    }
    assert_eq!(program.stop().await, 0, "a fallback was needed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotation_that_was_dropped_in_any_state_is_resumed_to_its_end() {
    each(State::PATH_WITH_SLOTS.into_iter().filter(|state| *state != State::Done), async |state| {
        let world = World::new().await;
        let program = world.program().await;
        Wanted::Run(policy()).dropped_at(world.rotator(), state).await;
        let finished = Wanted::Resume.of(&world.rotator()).await.unwrap();
        assert_eq!(program.stop().await, 0, "a fallback was needed after {state}");
        world.assert_rotated(&finished).await;
    })
    .await;
}

/// The states from which there is a way back: all before `retiring`.
const BEFORE_RETIRING: usize = 10;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotation_goes_back_from_any_state_before_retiring_and_no_attempt_is_refused() {
    each(State::PATH_WITH_SLOTS.into_iter().take(BEFORE_RETIRING), async |state| {
        let world = World::new().await;
        let program = world.program().await;
        Wanted::Run(policy()).dropped_at(world.rotator(), state).await;
        let finished = Wanted::Rollback.of(&world.rotator()).await.unwrap();
        assert_eq!(program.stop().await, 0, "a fallback was needed after {state}");
        world.assert_rolled_back(&finished).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollback_that_was_dropped_in_any_state_is_resumed_as_a_rollback() {
    use State::*;
    each([Adopted, Confirmed, Promoted, Drained, Retiring, Retired, Removing], async |state| {
        let world = World::new().await;
        let program = world.program().await;
        Wanted::Run(policy()).dropped_at(world.rotator(), Deactivated).await;
        Wanted::Rollback.dropped_at(world.rotator(), state).await;
        let finished = Wanted::Resume.of(&world.rotator()).await.unwrap();
        assert_eq!(program.stop().await, 0, "a fallback was needed after {state}");
        world.assert_rolled_back(&finished).await;
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
    let changes = [
        (State::Adding, Endpoint::AddSecret),
        (State::Deactivating, Endpoint::SetActive),
        (State::Removing, Endpoint::RemoveSecret),
    ];
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
async fn a_client_with_two_secrets_already_is_left_alone_and_the_other_one_is_named() {
    let world = World::new().await;
    let other = world.server.add_secret("billing", "somebody-elses-secret-012345");
    for active in [true, false] {
        if !active {
            world.server.deactivate_secret("billing", &other);
        }
        let error = world.rotator().run(policy()).await.unwrap_err();
        assert_eq!(authority_kind(&error), AuthorityErrorKind::Refused);
        let text = error.to_string();
        assert!(text.contains("no room") && text.contains(&other), "{text}");
        assert!(text.contains("nothing was changed") && !text.contains(&world.old), "{text}");
    }
    assert!(world.store.journal().await.unwrap().is_none());
    assert_eq!(world.server.counts().changes, 0);
}

fn entered(finished: &Finished) -> Vec<State> {
    finished.states.iter().map(|(state, _)| *state).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_that_a_person_names_makes_room_and_why_is_on_record() {
    let world = World::new().await;
    let program = world.program().await;
    world.rotator().run(policy()).await.unwrap();
    // Somebody puts the retired one back, and the store knows it.
    let back = world.server.add_secret("billing", OLD);
    let error = world.rotator().run(policy()).await.unwrap_err().to_string();
    assert!(error.contains(&format!("{back} (old, which this store knew; active)")), "{error}");
    assert!(error.contains("--remove"), "{error}");

    let rotator = world.rotator().asked_by("ada").reason("nobody needs it");
    let (told, mut notes) = tokio::sync::mpsc::unbounded_channel();
    let rotator = rotator.removing_first(SlotId::new(&back)).on_progress(move |progress| {
        if let Progress::Note(note) = progress {
            let _ = told.send(note);
        }
    });
    let finished = rotator.run(policy().observation_period(WINDOW * 5)).await.unwrap();
    assert_eq!(program.stop().await, 0, "a fallback was needed");
    world.assert_rotated(&finished).await;
    assert_eq!(entered(&finished)[..3], [State::Generated, State::MakingRoom, State::Adding]);
    let (_, room) = finished.states[1];
    assert!(room >= WINDOW * 5, "{room:?}: it is out of force for the observation period first");
    let note = notes.recv().await.unwrap();
    assert!(note.contains(&back) && note.contains("a rollback puts it back"), "{note}");
    let history = world.store.history().await.unwrap();
    let account = &history.last().unwrap().record["account"];
    assert_eq!(account["removed_first"]["slot"], *back);
    assert_eq!(account["asked"][0]["asker"]["by"], "ada");
    assert_eq!(account["asked"][0]["asker"]["reason"], "nobody needs it");
    let removes = history.iter().find(|entry| entry.record["state"] == "making_room").unwrap();
    assert_eq!(removes.record["removes"]["slot"], *back);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_person_names_stays_where_there_is_evidence_against_it() {
    let world = World::new().await;
    let named = |slot: &str| world.rotator().removing_first(SlotId::new(slot));
    let refused = async |slot: &str| {
        let error = named(slot).run(policy()).await.unwrap_err().to_string();
        assert!(error.contains("nothing was changed"), "{error}");
        error
    };
    let _ = world.server.add_secret("billing", "somebody-elses-secret-012345");
    let error = refused(&world.old).await;
    assert!(error.contains("it is the one that the programs hold"), "{error}");
    let error = refused("ocs-nowhere").await;
    assert!(error.contains("the server lists none of that name"), "{error}");
    assert_eq!(world.server.counts().changes, 0);

    let world = World::new().await;
    // A program that never took up the new list holds the retired one.
    let list = world.store.published().await.unwrap().unwrap().list;
    let report = keyswap_store::InstanceReport::new("batch", "i-1");
    let report = report.next(keyswap_core::SecretRing::new(list).usage());
    let program = world.program().await;
    world.rotator().run(policy()).await.unwrap();
    let back = world.server.add_secret("billing", OLD);
    let _registration = world.store.register(&report).await.unwrap();
    let error = world.rotator().removing_first(SlotId::new(&back)).run(policy()).await;
    let error = error.unwrap_err().to_string();
    assert!(error.contains("batch/i-1 holds it"), "{error}");
    assert_eq!(program.stop().await, 0, "a fallback was needed");
    assert_eq!(world.server.secrets("billing").len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotator_that_was_dropped_while_it_makes_room_goes_on_or_puts_back_what_was_there() {
    each([Wanted::Resume, Wanted::Rollback], async |then| {
        let world = World::new().await;
        let program = world.program().await;
        let other = world.server.add_secret("billing", "somebody-elses-secret-012345");
        let rotator = world.rotator().removing_first(SlotId::new(&other));
        Wanted::Run(policy()).dropped_at(rotator, State::MakingRoom).await;
        if matches!(then, Wanted::Rollback) {
            // As the request of the process that was dropped, or a later one.
            world.server.deactivate_secret("billing", &other);
        }
        // Whoever goes on need not say it again.
        let finished = then.of(&world.rotator()).await.unwrap();
        assert_eq!(program.stop().await, 0, "a fallback was needed: {then:?}");
        match then {
            Wanted::Rollback => {
                assert!(finished.rolled_back);
                let secrets = [(world.old.clone(), true), (other, true)];
                assert_eq!(world.server.secrets("billing"), secrets);
            }
            _ => world.assert_rotated(&finished).await,
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_secret_that_a_person_removes_in_mid_rotation_stops_it_and_the_way_back_is_open() {
    let world = World::new().await;
    let program = world.program().await;
    Wanted::Run(policy()).dropped_at(world.rotator(), State::Promoted).await;
    let new = world.others().remove(0);
    world.server.deactivate_secret("billing", &new);
    world.server.remove_secret("billing", &new);
    for _ in 0..2 {
        let error = Wanted::Resume.of(&world.rotator()).await.unwrap_err();
        let gone = RotateErrorKind::Stuck(StuckReason::SecretGone);
        assert_eq!(format!("{:?}", error.kind()), format!("{gone:?}"), "{error}");
        assert_eq!(world.store.published().await.unwrap().unwrap().list.len(), 2);
    }
    let finished = Wanted::Rollback.of(&world.rotator()).await.unwrap();
    program.stop().await;
    world.assert_rolled_back(&finished).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_secret_that_a_person_deactivates_and_activates_again_is_gone_on_with() {
    let world = World::new().await;
    let program = world.program().await;
    Wanted::Run(policy()).dropped_at(world.rotator(), State::Staged).await;
    let new = world.others().remove(0);
    world.server.deactivate_secret("billing", &new);
    let error = Wanted::Resume.of(&world.rotator()).await.unwrap_err();
    assert!(matches!(error.kind(), RotateErrorKind::Stuck(StuckReason::SecretGone)), "{error}");
    world.server.activate_secret("billing", &new);
    let finished = Wanted::Resume.of(&world.rotator()).await.unwrap();
    program.stop().await;
    world.assert_rotated(&finished).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_value_that_okta_chose_and_nobody_heard_of_stops_the_rotation_until_a_person_removes_it()
{
    let world = World::new().await;
    let program = world.program().await;
    let authority = || world.builder().server_chooses(true).build().unwrap();
    world.server.inject(Fault::AnswerLostAfterChange, Times::ONCE);
    // Okta keeps no text with a secret that would say whose it is.
    let error = world.rotator_with(authority()).run(policy()).await.unwrap_err();
    let appeared = RotateErrorKind::Stuck(StuckReason::SecretAppeared);
    assert_eq!(format!("{:?}", error.kind()), format!("{appeared:?}"), "{error}");
    let [lost] = world.others().try_into().unwrap();
    world.server.deactivate_secret("billing", &lost);
    world.server.remove_secret("billing", &lost);
    let finished = Wanted::Resume.of(&world.rotator_with(authority())).await.unwrap();
    assert_eq!(program.stop().await, 0, "a fallback was needed");
    world.assert_rotated(&finished).await;
}

/// An Okta that would keep a text with each secret, as other servers do.
struct WithTexts {
    inner: Okta,
    old: String,
    asked_for: std::sync::Mutex<Option<SecretId>>,
}

impl Authority for WithTexts {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    async fn check(&self) -> Result<(), AuthorityError> {
        self.inner.check().await
    }

    async fn probe(&self, secret: &Secret) -> Probe {
        self.inner.probe(secret).await
    }

    async fn slots(&self, known: &[Secret]) -> Listed {
        let asked_for = self.asked_for.lock().unwrap().clone();
        match self.inner.slots(known).await {
            Listed::Slots(slots) => Listed::Slots(
                slots
                    .into_iter()
                    .map(|slot| match slot.id.as_str() == self.old {
                        true => slot,
                        false => slot.made_for(asked_for.clone()),
                    })
                    .collect(),
            ),
            other => other,
        }
    }

    async fn add_secret(&self, new: &NewSecret) -> AddAnswer {
        *self.asked_for.lock().unwrap() = Some(new.id().clone());
        self.inner.add_secret(new).await
    }

    async fn set_active(&self, slot: &SlotId, active: bool) -> ChangeAnswer {
        self.inner.set_active(slot, active).await
    }

    async fn remove_secret(&self, slot: &SlotId) -> ChangeAnswer {
        self.inner.remove_secret(slot).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_value_that_the_server_chose_and_nobody_heard_of_is_removed_and_another_asked_for() {
    let world = World::new().await;
    let program = world.program().await;
    let authority = WithTexts {
        inner: world.builder().server_chooses(true).build().unwrap(),
        old: world.old.clone(),
        asked_for: std::sync::Mutex::default(),
    };
    world.server.inject(Fault::AnswerLostAfterChange, Times::ONCE);
    let finished = world.rotator_with(authority).run(policy()).await.unwrap();
    assert_eq!(program.stop().await, 0, "a fallback was needed");
    world.assert_rotated(&finished).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollback_of_a_rotation_whose_new_value_is_not_known_yet_can_be_stuck_and_resumed() {
    let world = World::new().await;
    let program = world.program().await;
    let authority = || world.builder().server_chooses(true).build().unwrap();
    // The request for the value does not reach the server.
    let lost = Fault::AnswerLost { endpoint: Endpoint::AddSecret };
    world.server.inject(lost, Times::EVERY);
    Wanted::Run(policy()).dropped_at(world.rotator_with(authority()), State::Adding).await;
    // Somebody takes the old secret out of force for a while.
    let other = world.server.add_secret("billing", "somebody-elses-secret-012345");
    world.server.deactivate_secret("billing", &world.old);
    let error = Wanted::Rollback.of(&world.rotator_with(authority())).await.unwrap_err();
    assert!(matches!(error.kind(), RotateErrorKind::Stuck(StuckReason::SecretGone)), "{error}");
    world.server.activate_secret("billing", &world.old);
    world.server.deactivate_secret("billing", &other);
    world.server.remove_secret("billing", &other);
    let finished = Wanted::Resume.of(&world.rotator_with(authority())).await.unwrap();
    world.assert_rolled_back(&finished).await;
    drop(program);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deactivation_that_comes_late_on_the_way_back_finds_programs_that_hold_both() {
    let world = World::new().await;
    let program = world.program().await;
    let mut policy = policy();
    policy.in_flight_bound = Duration::from_secs(4);
    let late = Fault::LateChange { after: Duration::from_millis(2500) };
    let (server, sent) = (world.server.clone(), Arc::new(AtomicBool::new(false)));
    let told = sent.clone();
    let rotator = world.rotator().on_progress(move |progress| {
        if let Progress::Entered { state: State::Deactivating, .. } = progress {
            server.inject(late.clone(), Times::ONCE);
            told.store(true, Ordering::Relaxed);
        }
    });
    tokio::select! {
        ended = rotator.run(policy) => panic!("{ended:?}"),
        () = async { while !sent.load(Ordering::Relaxed) || world.server.counts().faults == 0 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        } } => {}
    }
    drop(rotator);
    let finished = Wanted::Rollback.of(&world.rotator()).await.unwrap();
    program.stop().await;
    world.assert_rolled_back(&finished).await;
    assert!(world.server.counts().changes >= 4, "added, deactivated late, activated, removed");
}

fn authority_kind(error: &RotateError) -> AuthorityErrorKind {
    answers::authority_kind(error, &[OLD, TOKEN, READER])
}

/// What a rotation says that does not begin.
async fn not_begun(world: &World, builder: OktaBuilder) -> (AuthorityErrorKind, String) {
    let error = world.rotator_with(builder.build().unwrap()).run(policy()).await.unwrap_err();
    assert!(world.store.journal().await.unwrap().is_none(), "nothing was begun");
    assert_eq!(world.server.counts().changes, 0);
    (authority_kind(&error), error.to_string())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_with_the_configuration_is_named_before_anything_is_changed() {
    let world = World::new().await;
    let builder = || world.builder();
    for (builder, kind, says) in [
        (builder().api_token(secret("wrong")), AuthorityErrorKind::Credentials, "API token"),
        (builder().application("0oa2"), AuthorityErrorKind::NoSuchClient, "id of the application"),
        (
            builder().authentication(ClientAuthentication::Post),
            AuthorityErrorKind::Configuration,
            "client_secret_basic",
        ),
        (builder().scope("write"), AuthorityErrorKind::Unexpected, "invalid_scope"),
        (builder().authorization_server("other"), AuthorityErrorKind::Unexpected, "access_denied"),
    ] {
        let (found, text) = not_begun(&world, builder).await;
        assert_eq!(found, kind, "{text}");
        assert!(text.contains(says), "{text}");
    }
    let url = world.server.url().parse().unwrap();
    let other = Okta::builder(url, "nobody").application("0oabilling").api_token(secret(TOKEN));
    let (kind, text) = not_begun(&world, other).await;
    assert_eq!(kind, AuthorityErrorKind::Configuration, "{text}");
    assert!(text.contains("another client id"), "{text}");

    let world = World::with(keyswap_testkit::ClientAuthentication::PrivateKeyJwt).await;
    let (kind, text) = not_begun(&world, world.builder()).await;
    assert_eq!(kind, AuthorityErrorKind::UnsupportedClient, "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_may_only_read_is_named_and_the_rotation_can_be_resumed_with_another() {
    let world = World::new().await;
    let program = world.program().await;
    let reader = world.builder().api_token(secret(READER)).build().unwrap();
    let error = world.rotator_with(reader).run(policy()).await.unwrap_err();
    assert_eq!(authority_kind(&error), AuthorityErrorKind::Permissions);
    assert!(error.to_string().contains("application administrator"), "{error}");
    assert!(!error.to_string().contains("hold both"), "{error}");
    assert_eq!(world.store.published().await.unwrap().unwrap().list.len(), 1);
    let finished = Wanted::Resume.of(&world.rotator()).await.unwrap();
    assert_eq!(program.stop().await, 0, "a fallback was needed");
    world.assert_rotated(&finished).await;
}

fn ids(listed: Listed) -> Vec<(String, Option<SecretId>, bool)> {
    answers::listed(listed, |slot| slot.holds.clone())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_request_to_the_authority_does_one_thing_and_what_is_done_already_counts_as_done() {
    let world = World::new().await;
    let okta = world.authority();
    let old = secret(OLD);
    let known = [old.clone()];
    let listed = ids(okta.slots(&known).await);
    assert_eq!(listed, [(world.old.clone(), Some(old.id().clone()), true)]);
    assert_eq!(ids(okta.slots(&[]).await), [(world.old.clone(), None, true)]);

    let new = Secret::new("new".parse().unwrap(), r#"quoted "and" \ escaped"#).unwrap();
    let added = okta.add_secret(&new.clone().into()).await;
    let AddAnswer::Added(slot, value) = added else { panic!("{added:?}") };
    assert_eq!(value, new);
    assert!(matches!(okta.add_secret(&new.clone().into()).await, AddAnswer::Refused(_)), "full");
    for _ in 0..2 {
        let answer = okta.set_active(&slot, false).await;
        assert!(matches!(answer, ChangeAnswer::Applied), "{answer:?}");
    }
    assert!(!ids(okta.slots(&[new]).await)[1].2);
    let only = okta.set_active(&SlotId::new(&world.old), false).await;
    assert!(matches!(only, ChangeAnswer::Refused(_)), "{only:?}");
    let active = okta.remove_secret(&SlotId::new(&world.old)).await;
    assert!(matches!(active, ChangeAnswer::Refused(_)), "{active:?}");
    for _ in 0..2 {
        let answer = okta.remove_secret(&slot).await;
        assert!(matches!(answer, ChangeAnswer::Applied), "{answer:?}");
    }
    assert!(matches!(okta.set_active(&slot, false).await, ChangeAnswer::Applied));
    assert!(matches!(okta.set_active(&slot, true).await, ChangeAnswer::Refused(_)));

    // A value that the server chooses, under the id that was given.
    let id: SecretId = "chosen".parse().unwrap();
    let added = okta.add_secret(&NewSecret::Awaited(id.clone())).await;
    let AddAnswer::Added(slot, value) = added else { panic!("{added:?}") };
    assert_eq!(value.id(), &id);
    let expected = (slot.as_str().to_owned(), Some(id), true);
    assert_eq!(ids(okta.slots(&[value]).await)[1], expected);

    let endpoint = Endpoint::Management;
    let reset_after = Some(Duration::from_secs(7));
    let limited = Fault::RateLimited { endpoint, retry_after: None, reset_after };
    world.server.inject(limited, Times::ONCE);
    let answer = okta.remove_secret(&slot).await;
    let ChangeAnswer::RetryAfter(time) = answer else { panic!("{answer:?}") };
    assert!((6..=8).contains(&time.as_secs()), "{time:?}");
}
