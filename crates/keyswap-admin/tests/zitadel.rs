//! Whole rotations at a server that holds one secret and chooses its value itself, with the real engine, store
//! and HTTP, at an embedded Zitadel that misbehaves on demand, while a program signs in.

#[path = "common/answers.rs"]
mod answers;
mod common;
#[path = "common/dropped.rs"]
mod dropped;

use std::time::Duration;

use common::Program;
use dropped::{Wanted, each};
use keyswap_admin::authority::{AddAnswer, Authority, ZitadelBuilder};
use keyswap_admin::rotation::{Record, StuckReason, WayBack};
use keyswap_admin::{
    Application, AuthorityErrorKind, ClientAuthentication, Finished, Progress, RotateError,
    RotateErrorKind, RotationPolicy, Rotator, State, Zitadel,
};
use keyswap_core::{Secret, SecretId, SecretList};
use keyswap_store::{FileStore, SecretStore};
use keyswap_testkit::{AuthorizationServer, Client, Endpoint, Fault, Provider, Times};
use keyswap_tower::{ClientSecretBasic, Profile};
use tempfile::TempDir;

const CLIENT: &str = "billing@shop";
const OLD: &str = "old-secret-of-billing-0123456789";
const TOKEN: &str = "token-of-the-rotator-0123456789";
const READER: &str = "token-of-a-reader-0123456789012";
const WINDOW: Duration = Duration::from_millis(200);
const WHY: &str = "a quiet night";

struct World {
    server: AuthorizationServer,
    store: FileStore,
    _directory: TempDir,
}

impl World {
    async fn new() -> Self {
        Self::with(keyswap_testkit::ClientAuthentication::SecretBasic).await
    }

    async fn with(authentication: keyswap_testkit::ClientAuthentication) -> Self {
        let client = Client::new(CLIENT, OLD)
            .application("app-1")
            .grant("project-1")
            .grant_types(["authorization_code", "refresh_token"])
            .authentication(authentication);
        let server = AuthorizationServer::builder()
            .provider(Provider::Zitadel)
            .nodes(3)
            .propagation_window(WINDOW)
            .client(client)
            .api_token(TOKEN)
            .read_only_api_token(READER)
            .start()
            .await
            .unwrap();
        let directory = tempfile::tempdir().unwrap();
        let store = FileStore::create(directory.path().join("store"), CLIENT).unwrap();
        store.import(&SecretList::new([old()]).unwrap()).await.unwrap();
        Self { server, store, _directory: directory }
    }

    fn builder(&self) -> ZitadelBuilder {
        Zitadel::builder(self.server.url().parse().unwrap(), CLIENT)
            .application("project-1", "app-1")
            .token(secret(TOKEN))
            .propagation_window(WINDOW)
    }

    fn rotator(&self) -> Rotator<Zitadel, FileStore> {
        self.rotator_with(self.builder())
    }

    fn rotator_with(&self, builder: ZitadelBuilder) -> Rotator<Zitadel, FileStore> {
        Rotator::new(builder.build().unwrap(), self.store.clone())
            .patience(Duration::from_secs(20))
            .asked_by("ada")
            .accept_gap(WHY)
    }

    async fn program(&self) -> Program {
        let credential = (ClientSecretBasic::new(CLIENT), Profile::Zitadel);
        let body = format!("grant_type=refresh_token&refresh_token=refresh-token-of-{CLIENT}");
        Program::start(&self.store, credential, self.server.token_endpoint(), body, WINDOW).await
    }

    async fn record(&self) -> Record {
        Record::parse(&self.store.journal().await.unwrap().unwrap()).unwrap()
    }

    /// The rotation is over, everybody agrees on it, and nothing fails any more.
    async fn assert_rotated(&self, finished: &Finished) {
        assert!(!finished.rolled_back);
        let document = self.store.published().await.unwrap().unwrap();
        assert_eq!(document.list.len(), 1);
        let new = document.list.preferred();
        assert_eq!(new.id(), &finished.new);
        self.server.until_settled(CLIENT).await;
        assert!(self.server.accepts(CLIENT, new.expose()));
        assert!(!self.server.accepts_anywhere(CLIENT, OLD));
        let record = self.record().await;
        assert!(!record.gaps().is_empty());
        assert!(record.gaps().iter().all(|gap| gap.until.is_some()), "{:?}", record.gaps());
        self.search_for_secrets(new).await;
    }

    /// No secret is in the history, whatever it tells.
    async fn search_for_secrets(&self, new: &Secret) {
        let history = format!("{:?}", self.store.history().await.unwrap());
        assert!(history.contains("accept_a_gap") && history.contains(WHY), "{history}");
        for value in [OLD, TOKEN, new.expose()] {
            assert!(!history.contains(value));
        }
    }
}

fn old() -> Secret {
    Secret::new("old".parse().unwrap(), OLD).unwrap()
}

fn secret(value: &str) -> Secret {
    Secret::new("a".parse().unwrap(), value).unwrap()
}

fn policy() -> RotationPolicy {
    let mut policy = RotationPolicy::new([Application::new("billing-app")])
        .quiet_period(WINDOW)
        .poll_every(Duration::from_millis(20));
    policy.in_flight_bound = Duration::from_millis(600);
    policy
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gap_is_refused_with_the_reason_until_somebody_accepts_it() {
    let world = World::new().await;
    let authority = world.builder().build().unwrap();
    let rotator = Rotator::new(authority, world.store.clone());
    let error = rotator.run(policy()).await.unwrap_err();
    assert!(matches!(error.kind(), RotateErrorKind::GapNotAccepted), "{error:?}");
    let text = error.to_string();
    for part in ["zitadel holds one secret", "every token request", "nothing was changed"] {
        assert!(text.contains(part), "{text}");
    }
    assert!(world.store.journal().await.unwrap().is_none());
    assert_eq!(world.server.counts().changes, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotation_passes_through_every_state_and_requests_fail_only_in_the_gap_that_it_tells_of()
{
    let world = World::new().await;
    let program = world.program().await;
    let finished = world.rotator().run(policy()).await.unwrap();
    let states: Vec<_> = finished.states.iter().map(|(state, _)| *state).collect();
    assert_eq!(states, State::PATH_WITH_A_GAP[..State::PATH_WITH_A_GAP.len() - 1]);
    world.assert_rotated(&finished).await;
    assert_eq!(world.server.counts().changes, 1);
    let record = world.record().await;
    let [gap] = record.gaps() else { panic!("{:?}", record.gaps()) };
    let ended = program.end().await;
    let (from, until) = (gap.from.milliseconds(), gap.until.unwrap().milliseconds());
    // One that began before may come to its end within it.
    let outside = ended.failed_at.iter().find(|began| **began > until);
    assert_eq!(outside, None, "of {} failed, {from} to {until}", ended.failed_at.len());
    println!(
        "gap of {} ms; {} of {} requests failed",
        until - from,
        ended.failed_at.len(),
        ended.requests
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotation_that_was_dropped_in_any_state_is_resumed_to_its_end() {
    each(State::PATH_WITH_A_GAP.into_iter().filter(|state| *state != State::Done), async |state| {
        let world = World::new().await;
        let program = world.program().await;
        Wanted::Run(policy()).dropped_at(world.rotator(), state).await;
        // Whoever resumes it does not have to accept again.
        let rotator = Rotator::new(world.builder().build().unwrap(), world.store.clone());
        let finished = Wanted::Resume.of(&rotator).await;
        let finished = finished.unwrap_or_else(|error| panic!("{state}: {error}"));
        world.assert_rotated(&finished).await;
        assert!(world.server.counts().changes <= 2, "{state}");
        program.end().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn there_is_a_way_back_before_the_request_and_none_after_it() {
    each(State::PATH_WITH_A_GAP.into_iter().take(8), async |state| {
        let world = World::new().await;
        let program = world.program().await;
        Wanted::Run(policy()).dropped_at(world.rotator(), state).await;
        let back = Wanted::Rollback.of(&world.rotator()).await;
        if state == State::Generated {
            assert!(back.unwrap().rolled_back);
            program.stop().await;
            assert_eq!(world.server.counts().changes, 0);
            assert!(world.server.accepts(CLIENT, OLD));
            return;
        }
        let error = back.unwrap_err();
        let no = RotateErrorKind::NoWayBack(WayBack::OldIsGone);
        assert_eq!(format!("{:?}", error.kind()), format!("{no:?}"), "{state}: {error}");
        let finished = Wanted::Resume.of(&world.rotator()).await.unwrap();
        world.assert_rotated(&finished).await;
        program.end().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_answer_is_followed_by_another_request_and_a_rate_limit_by_the_same() {
    let endpoint = Endpoint::RotateSecret;
    let limited = Fault::RateLimited {
        endpoint,
        retry_after: None,
        reset_after: Some(Duration::from_millis(1)),
    };
    let cases = [
        (Fault::AnswerLostAfterChange, 2),
        (Fault::AnswerLostBeforeChange, 1),
        (Fault::ServerErrorAfterChange { status: 502 }, 2),
        (Fault::Html { endpoint, status: 200 }, 1),
        (limited, 1),
    ];
    each(cases, async |(fault, changes)| {
        let world = World::new().await;
        let program = world.program().await;
        world.server.inject(fault.clone(), Times::ONCE);
        let finished = world.rotator().run(policy()).await;
        let finished = finished.unwrap_or_else(|error| panic!("{fault:?}: {error}"));
        assert_eq!(world.server.counts().faults, 1, "{fault:?}");
        world.assert_rotated(&finished).await;
        assert_eq!(world.server.counts().changes, changes, "{fault:?}");
        assert_eq!(world.record().await.gaps().len(), 1, "{fault:?}");
        program.end().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotation_that_is_asked_to_stop_in_the_gap_first_hands_out_the_value() {
    let pause = Duration::from_millis(500);
    let token = Fault::Latency { endpoint: Endpoint::Token, delay: pause };
    let limited = Fault::RateLimited {
        endpoint: Endpoint::RotateSecret,
        retry_after: Some(Duration::from_secs(1)),
        reset_after: None,
    };
    let cases = [
        // The answer, which alone tells the value, is under way.
        (Fault::LatencyAfterChange { delay: pause }, None),
        // Nobody knows the value. While it looks whether the old one is in force, it is asked to stop, and then the
        // server wants it to wait before it chooses another one.
        (Fault::AnswerLostAfterChange, Some((token, limited))),
    ];
    each(cases, async |(fault, then)| {
        let world = World::new().await;
        world.server.inject(fault.clone(), Times::ONCE);
        let changed = {
            let server = world.server.clone();
            let then = then.clone();
            // A task, since nobody looks at a future whose answer would not count.
            tokio::spawn(async move {
                while server.counts().changes == 0 {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                if let Some((_, limited)) = then {
                    server.inject(limited, Times::ONCE);
                }
            })
        };
        let changed = async { changed.await.unwrap() };
        if let Some((token, _)) = then {
            world.server.inject(token, Times::EVERY);
        }
        let error = world.rotator().stopping_when(changed).run(policy()).await.unwrap_err();
        let interrupted = matches!(error.kind(), RotateErrorKind::Interrupted(Some(_)));
        assert!(interrupted, "{fault:?}: {error}");
        // It does not wait for the programs, which have what they need.
        assert_eq!(world.record().await.state, State::Staged, "{fault:?}: {error}");
        let document = world.store.published().await.unwrap().unwrap();
        world.server.until_settled(CLIENT).await;
        assert!(world.server.accepts(CLIENT, document.list.preferred().expose()), "{fault:?}");
        world.server.clear_faults();
        let program = world.program().await;
        let finished = Wanted::Resume.of(&world.rotator()).await.unwrap();
        world.assert_rotated(&finished).await;
        program.stop().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotation_that_is_asked_to_stop_before_the_request_opens_no_gap() {
    let world = World::new().await;
    let (ask, asked) = tokio::sync::oneshot::channel::<()>();
    let ask = std::sync::Mutex::new(Some(ask));
    let rotator = world.rotator().stopping_when(async move { drop(asked.await) }).on_progress(
        move |progress| {
            // The journal tells of the request by now.
            if matches!(progress, Progress::Entered { state: State::Adding, .. }) {
                ask.lock().unwrap().take();
            }
        },
    );
    let program = world.program().await;
    let error = rotator.run(policy()).await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains("interrupted in state adding") && !text.contains("without"), "{text}");
    assert_eq!((world.server.counts().changes, world.record().await.gaps().len()), (0, 0));
    program.stop().await;
    let program = world.program().await;
    let finished = Wanted::Resume.of(&world.rotator()).await.unwrap();
    world.assert_rotated(&finished).await;
    assert_eq!(world.server.counts().changes, 1);
    program.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_comes_late_and_ends_the_known_value_is_followed_by_another_one() {
    let world = World::new().await;
    let program = world.program().await;
    world.server.inject(Fault::LateChange { after: Duration::from_secs(2) }, Times::ONCE);
    let mut policy = policy();
    policy.in_flight_bound = Duration::from_secs(4);
    let finished = world.rotator().run(policy).await.unwrap();
    world.assert_rotated(&finished).await;
    // On a machine that is slow enough it comes before the value of the second request is known.
    let changes = world.server.counts().changes;
    assert!((2..=3).contains(&changes), "{changes}");
    // And one that comes before the first gap is over makes that longer.
    let gaps = world.record().await.gaps().len() as u64;
    assert!((1..changes).contains(&gaps), "{gaps} gaps of {changes} changes");
    program.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_value_that_somebody_asks_for_in_mid_rotation_stops_it_and_a_resume_asks_for_another() {
    let world = World::new().await;
    let program = world.program().await;
    Wanted::Run(policy()).dropped_at(world.rotator(), State::Promoted).await;
    world.server.set_secret(CLIENT, "chosen-at-the-console-0123456789");
    let error = Wanted::Resume.of(&world.rotator()).await.unwrap_err();
    let stuck = RotateErrorKind::Stuck(StuckReason::ValueUnknown);
    assert_eq!(format!("{:?}", error.kind()), format!("{stuck:?}"), "{error}");
    assert!(error.to_string().contains("then resume"), "{error}");
    let finished = Wanted::Resume.of(&world.rotator()).await.unwrap();
    world.assert_rotated(&finished).await;
    assert_eq!(world.record().await.gaps().len(), 2);
    program.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_may_only_read_changes_nothing_and_the_rotation_can_be_resumed() {
    let world = World::new().await;
    let program = world.program().await;
    let reader = world.builder().token(secret(READER));
    let error = world.rotator_with(reader).run(policy()).await.unwrap_err();
    assert_eq!(authority_kind(&error), AuthorityErrorKind::Permissions);
    assert!(error.to_string().contains("project.app.write"), "{error}");
    program.stop().await;
    assert!(world.record().await.gaps().is_empty());
    let program = world.program().await;
    let finished = Wanted::Resume.of(&world.rotator()).await.unwrap();
    world.assert_rotated(&finished).await;
    program.end().await;
}

fn authority_kind(error: &RotateError) -> AuthorityErrorKind {
    answers::authority_kind(error, &[OLD, TOKEN, READER])
}

/// What a rotation says that does not begin.
async fn not_begun(world: &World, builder: ZitadelBuilder) -> (AuthorityErrorKind, String) {
    let error = world.rotator_with(builder).run(policy()).await.unwrap_err();
    assert!(world.store.journal().await.unwrap().is_none(), "nothing was begun");
    assert_eq!(world.server.counts().changes, 0);
    (authority_kind(&error), error.to_string())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_with_the_configuration_is_named_before_anything_is_changed() {
    let world = World::new().await;
    let builder = || world.builder();
    let url = || world.server.url().parse().unwrap();
    let other = Zitadel::builder(url(), "nobody@shop").application("project-1", "app-1");
    for (builder, kind, says) in [
        (builder().token(secret("wrong")), AuthorityErrorKind::Credentials, "the token"),
        (
            builder().application("project-1", "app-2"),
            AuthorityErrorKind::NoSuchClient,
            "check both ids",
        ),
        (
            builder().authentication(ClientAuthentication::Post),
            AuthorityErrorKind::Configuration,
            "client_secret_basic",
        ),
        (other.token(secret(TOKEN)), AuthorityErrorKind::Configuration, "another client id"),
    ] {
        let (found, text) = not_begun(&world, builder).await;
        assert_eq!(found, kind, "{text}");
        assert!(text.contains(says), "{text}");
    }
    let world = World::with(keyswap_testkit::ClientAuthentication::PrivateKeyJwt).await;
    let (kind, text) = not_begun(&world, world.builder()).await;
    assert_eq!(kind, AuthorityErrorKind::UnsupportedClient, "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_request_has_a_value_chosen_under_the_id_that_was_given() {
    let world = World::new().await;
    let zitadel = world.builder().build().unwrap();
    let id: SecretId = "chosen".parse().unwrap();
    let mut values = Vec::new();
    for _ in 0..2 {
        let answer = zitadel.regenerate_secret(&id).await;
        let AddAnswer::Replaced(value) = answer else { panic!("{answer:?}") };
        assert!(!format!("{value:?}").contains(value.expose()));
        assert_eq!(value.id(), &id);
        values.push(value);
    }
    assert_ne!(values[0], values[1]);
    world.server.until_settled(CLIENT).await;
    assert!(world.server.accepts(CLIENT, values[1].expose()));
    let limited = Fault::RateLimited {
        endpoint: Endpoint::Management,
        retry_after: Some(Duration::from_secs(7)),
        reset_after: None,
    };
    world.server.inject(limited, Times::ONCE);
    let answer = zitadel.regenerate_secret(&id).await;
    let AddAnswer::RetryAfter(time) = answer else { panic!("{answer:?}") };
    assert_eq!(time.as_secs(), 7);
    // The other project is not ours.
    let other = world.builder().application("project-2", "app-1").build().unwrap();
    let answer = other.regenerate_secret(&id).await;
    assert!(matches!(answer, AddAnswer::Refused(_)), "{answer:?}");
    assert_eq!(world.server.counts().changes, 2);
}
