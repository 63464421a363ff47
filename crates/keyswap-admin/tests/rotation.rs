//! Whole rotations with the real engine, store and HTTP, at an embedded server that misbehaves on
//! demand, while a program signs in.

#[path = "common/answers.rs"]
mod answers;
mod common;

use std::sync::Arc;
use std::time::Duration;

use common::Program;
use keyswap_admin::authority::{Authority, AuthorityError, Capabilities, ChangeAnswer, Probe};
use keyswap_admin::rotation::{Gate, StuckReason, WayBack};
use keyswap_admin::{
    Application, Auth0, AuthorityErrorKind, Finished, Progress, RotateError, RotateErrorKind,
    RotationPolicy, Rotator, State,
};
use keyswap_core::{FallbackPolicy, Secret, SecretList, SecretRing};
use keyswap_store::{FileStore, SecretStore, join};
use keyswap_testkit::{AuthorizationServer, Client, Endpoint, Fault, Times};
use keyswap_tower::{ClientSecretPost, Profile};
use tempfile::TempDir;

const OLD: &str = "old-secret-of-billing-0123456789";
const MANAGEMENT: &str = "secret-of-the-rotator-0123456789";
const AUDIENCE: &str = "https://api.example/";
const WINDOW: Duration = Duration::from_millis(300);

struct World {
    server: AuthorizationServer,
    store: FileStore,
    _directory: TempDir,
}

impl World {
    async fn new() -> Self {
        Self::with(Client::management("rotator", MANAGEMENT), Client::new("billing", OLD)).await
    }

    async fn with(management: Client, client: Client) -> Self {
        let server = AuthorizationServer::builder()
            .nodes(3)
            .propagation_window(WINDOW)
            .client(client.grant(AUDIENCE))
            .management_client(management)
            .start()
            .await
            .unwrap();
        let directory = tempfile::tempdir().unwrap();
        let store = FileStore::create(directory.path().join("store"), "billing").unwrap();
        let old = Secret::new("old".parse().unwrap(), OLD).unwrap();
        store.import(&SecretList::new([old]).unwrap()).await.unwrap();
        Self { server, store, _directory: directory }
    }

    fn authority(&self) -> Auth0 {
        self.authority_with(MANAGEMENT)
    }

    fn authority_with(&self, management: &str) -> Auth0 {
        let secret = Secret::new("management".parse().unwrap(), management).unwrap();
        Auth0::builder(self.server.url().parse().unwrap(), "billing")
            .management("rotator", SecretRing::new(SecretList::new([secret]).unwrap()))
            .management_audience(self.server.management_audience())
            .audience(AUDIENCE)
            .propagation_window(WINDOW)
            .build()
            .unwrap()
    }

    fn rotator(&self) -> Rotator<Auth0, FileStore> {
        Rotator::new(self.authority(), self.store.clone()).patience(Duration::from_secs(30))
    }

    async fn program(&self) -> Program {
        let credential = ClientSecretPost::new("billing");
        let body = format!("grant_type=client_credentials&audience={AUDIENCE}");
        let endpoint = self.server.token_endpoint();
        Program::start(&self.store, (credential, Profile::Auth0), endpoint, body, WINDOW).await
    }

    /// The rotation was taken back, and everybody agrees on that.
    async fn assert_rolled_back(&self, finished: &Finished) {
        assert!(finished.rolled_back);
        let document = self.store.published().await.unwrap().unwrap();
        let old = Secret::new("old".parse().unwrap(), OLD).unwrap();
        assert_eq!(document.list, SecretList::new([old]).unwrap());
        assert_eq!((finished.new.as_str(), finished.revision), ("old", document.revision));
        assert!(self.server.accepts("billing", OLD));
        assert_eq!(self.server.accepted_secrets("billing"), 1);
        let status = self.rotator().status().await.unwrap();
        assert_eq!(status.record.unwrap().state, State::RolledBack);
        let history = self.store.history().await.unwrap();
        assert_eq!(history.last().unwrap().record["state"], "rolled_back");
    }

    /// The rotation is over, and everybody agrees on it.
    async fn assert_rotated(&self, finished: &Finished) {
        let document = self.store.published().await.unwrap().unwrap();
        assert_eq!(document.list.len(), 1);
        let new = document.list.preferred();
        assert_eq!(new.id(), &finished.new);
        assert!(self.server.accepts("billing", new.expose()));
        assert!(!self.server.accepts_anywhere("billing", OLD));
        assert_eq!(self.server.accepted_secrets("billing"), 1);
        assert!(self.store.history().await.unwrap().len() >= State::PATH.len());
    }
}

fn policy() -> RotationPolicy {
    let mut policy = RotationPolicy::new([Application::new("billing-app")])
        .quiet_period(WINDOW)
        .poll_every(Duration::from_millis(30));
    // A change that had no answer would hold the next rotation back for ten minutes.
    policy.in_flight_bound = Duration::from_millis(600);
    policy
}

/// A rotation with these faults ends well, and the program notices nothing.
async fn survives(faults: impl IntoIterator<Item = (Fault, Times)>) -> (World, Finished) {
    let world = World::new().await;
    let program = world.program().await;
    for (fault, times) in faults {
        world.server.inject(fault, times);
    }
    let finished = world.rotator().run(policy()).await.unwrap();
    program.stop().await;
    world.assert_rotated(&finished).await;
    (world, finished)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotation_passes_through_every_state_in_order() {
    let (world, finished) = survives([]).await;
    let states: Vec<_> = finished.states.iter().map(|(state, _)| *state).collect();
    assert_eq!(states, State::PATH[..State::PATH.len() - 1]);
    assert!(!finished.rolled_back);
    assert_eq!(world.server.counts().changes, 1);
}

/// In a debug build, which takes many times what a release build does; a thread has 2 MiB unless it is told otherwise.
#[test]
fn a_rotation_fits_on_a_quarter_of_the_stack_that_a_thread_has() {
    let rotate = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let world = World::new().await;
            let program = world.program().await;
            let rotator = world.rotator();
            let finished = rotator.run(policy()).await.unwrap();
            program.stop().await;
            world.assert_rotated(&finished).await;
        });
    };
    let thread = std::thread::Builder::new().stack_size(512 * 1024);
    thread.spawn(rotate).unwrap().join().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_lost_after_the_change_is_found_out_and_nothing_is_sent_twice() {
    let (world, _) = survives([(Fault::AnswerLostAfterChange, Times::ONCE)]).await;
    assert_eq!(world.server.counts().changes, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_lost_before_the_change_leads_to_the_same_secret_again() {
    let (world, _) = survives([(Fault::AnswerLostBeforeChange, Times::ONCE)]).await;
    assert_eq!(world.server.counts().changes, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_that_is_applied_after_its_answer_was_lost_does_no_harm() {
    survives([(Fault::LateChange { after: Duration::from_millis(500) }, Times::ONCE)]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_error_of_the_server_after_the_change_is_no_refusal() {
    let (world, _) = survives([(Fault::ServerErrorAfterChange { status: 500 }, Times::ONCE)]).await;
    assert_eq!(world.server.counts().changes, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rate_limit_is_waited_for_and_the_change_sent_once_more() {
    let limited = Fault::RateLimited {
        endpoint: Endpoint::UpdateClient,
        retry_after: Some(Duration::from_secs(1)),
        reset_after: None,
    };
    let (world, _) = survives([(limited, Times::ONCE)]).await;
    assert_eq!(world.server.counts().changes, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_of_a_proxy_instead_of_an_answer_is_an_unknown_outcome_that_is_resolved() {
    let page = Fault::Html { endpoint: Endpoint::UpdateClient, status: 200 };
    survives([(page, Times::ONCE)]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_management_token_that_ended_is_renewed_once() {
    let world = World::new().await;
    let program = world.program().await;
    let server = world.server.clone();
    let rotator = world.rotator().on_progress(move |progress| {
        if let Progress::Entered { state: State::Adopted, .. } = progress {
            server.revoke_tokens();
        }
    });
    let finished = rotator.run(policy()).await.unwrap();
    program.stop().await;
    world.assert_rotated(&finished).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_rotations_follow_each_other_with_no_failed_request() {
    let world = World::new().await;
    let program = world.program().await;
    for _ in 0..5 {
        world.rotator().run(policy()).await.unwrap();
    }
    program.stop().await;
    assert_eq!(world.server.counts().changes, 5);
}

/// What a person asks of a rotator.
#[derive(Clone, Copy, Debug)]
enum Wanted {
    Run,
    Resume,
    Rollback,
}

impl Wanted {
    async fn of(self, rotator: &Rotator<Auth0, FileStore>) -> Result<Finished, RotateError> {
        match self {
            Self::Run => rotator.run(policy()).await,
            Self::Resume => rotator.resume(None).await,
            Self::Rollback => rotator.rollback(None).await,
        }
    }

    /// To its end. A rotator that was dropped may be in the middle of a write, which keeps the lease
    /// until it is done.
    async fn after_a_drop(self, world: &World) -> Result<Finished, RotateError> {
        loop {
            match self.of(&world.rotator()).await {
                Err(error) if matches!(error.kind(), RotateErrorKind::Busy) => {
                    tokio::task::yield_now().await;
                }
                ended => return ended,
            }
        }
    }

    /// Drops it when it enters this state, as a crash would.
    async fn dropped_at(self, world: &World, wanted: State) {
        let (reached, mut at) = tokio::sync::mpsc::unbounded_channel();
        let rotator = world.rotator().on_progress(move |progress| {
            if let Progress::Entered { state, .. } = progress
                && state == wanted
            {
                let _ = reached.send(());
            }
        });
        let acting = async {
            loop {
                match self.of(&rotator).await {
                    Err(error) if matches!(error.kind(), RotateErrorKind::Busy) => {}
                    ended => return ended,
                }
            }
        };
        tokio::select! {
            ended = acting => panic!("{self:?} did not reach {wanted}: {ended:?}"),
            _ = at.recv() => {}
        }
    }
}

/// Drops a rotation when it enters this state, as a crash would, and goes on with a new rotator.
async fn dropped_at(state: State) {
    let world = World::new().await;
    let program = world.program().await;
    Wanted::Run.dropped_at(&world, state).await;
    let finished = Wanted::Resume.after_a_drop(&world).await.unwrap();
    program.stop().await;
    world.assert_rotated(&finished).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotation_that_was_dropped_in_any_state_is_resumed_to_its_end() {
    for state in &State::PATH[..State::PATH.len() - 1] {
        dropped_at(*state).await;
    }
}

/// The states from which there is a way back.
const BEFORE_RETIRING: usize = 8;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotation_that_was_dropped_in_any_state_before_retiring_goes_back_with_no_failed_request()
{
    for state in &State::PATH[..BEFORE_RETIRING] {
        let world = World::new().await;
        let program = world.program().await;
        Wanted::Run.dropped_at(&world, *state).await;
        let finished = Wanted::Rollback.after_a_drop(&world).await.unwrap();
        program.stop().await;
        world.assert_rolled_back(&finished).await;
        // And a later rotation takes its course.
        let program = world.program().await;
        let finished = run_when_nothing_is_in_flight(&world).await;
        program.stop().await;
        world.assert_rotated(&finished).await;
    }
}

async fn run_when_nothing_is_in_flight(world: &World) -> Finished {
    loop {
        match world.rotator().run(policy()).await {
            Ok(finished) => return finished,
            Err(error) => assert!(matches!(error.kind(), RotateErrorKind::Waiting(_)), "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollback_that_was_dropped_in_any_state_is_resumed_as_a_rollback() {
    let (first, last) = (State::Adopted, State::Retired);
    let way = State::PATH.into_iter().skip_while(|state| *state != first);
    let way = way.take_while(|state| *state <= last).filter(|state| *state != State::CuttingOver);
    for state in way.chain([State::CuttingOver]) {
        let world = World::new().await;
        let program = world.program().await;
        Wanted::Run.dropped_at(&world, State::Promoted).await;
        Wanted::Rollback.dropped_at(&world, state).await;
        let finished = Wanted::Resume.after_a_drop(&world).await.unwrap();
        program.stop().await;
        world.assert_rolled_back(&finished).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn there_is_no_way_back_once_programs_may_hold_the_new_secret_alone() {
    for state in [State::Retiring, State::Retired] {
        let world = World::new().await;
        let program = world.program().await;
        Wanted::Run.dropped_at(&world, state).await;
        let error = Wanted::Rollback.after_a_drop(&world).await.unwrap_err();
        assert!(matches!(error.kind(), RotateErrorKind::NoWayBack(_)), "{error:?}");
        assert!(error.to_string().contains("rotate again"), "{error}");
        let finished = Wanted::Resume.after_a_drop(&world).await.unwrap();
        let error = world.rotator().rollback(None).await.unwrap_err();
        assert!(matches!(error.kind(), RotateErrorKind::NoWayBack(_)), "{error:?}");
        program.stop().await;
        world.assert_rotated(&finished).await;
    }
    let error = World::new().await.rotator().rollback(None).await.unwrap_err();
    assert!(matches!(error.kind(), RotateErrorKind::NothingToResume), "{error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_change_of_the_way_back_survives_what_that_of_the_way_forward_does() {
    let limited = Fault::RateLimited {
        endpoint: Endpoint::UpdateClient,
        retry_after: Some(Duration::from_secs(1)),
        reset_after: None,
    };
    for fault in [
        Fault::AnswerLostAfterChange,
        Fault::AnswerLostBeforeChange,
        Fault::LateChange { after: Duration::from_millis(500) },
        Fault::ServerErrorAfterChange { status: 500 },
        Fault::Html { endpoint: Endpoint::UpdateClient, status: 200 },
        limited,
    ] {
        let world = World::new().await;
        let program = world.program().await;
        Wanted::Run.dropped_at(&world, State::Promoted).await;
        world.server.inject(fault, Times::ONCE);
        let finished = Wanted::Rollback.after_a_drop(&world).await.unwrap();
        program.stop().await;
        world.assert_rolled_back(&finished).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_of_the_way_forward_that_comes_late_finds_programs_that_hold_both_and_is_undone() {
    let world = World::new().await;
    let program = world.program().await;
    // Applied when the rollback is about to be over, were it not for the in-flight bound.
    let late = Fault::LateChange { after: Duration::from_millis(1500) };
    world.server.inject(late, Times::ONCE);
    let mut policy = policy();
    policy.in_flight_bound = Duration::from_secs(4);
    let rotator = world.rotator();
    tokio::select! {
        ended = rotator.run(policy) => panic!("{ended:?}"),
        () = async { while world.server.counts().faults == 0 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        } } => {}
    }
    drop(rotator);
    let finished = Wanted::Rollback.after_a_drop(&world).await.unwrap();
    program.stop().await;
    world.assert_rolled_back(&finished).await;
    assert!(world.server.counts().changes >= 2, "it came, and was undone");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotation_that_holds_is_retired_by_a_person_or_rolled_back() {
    for retired in [true, false] {
        let world = World::new().await;
        let program = world.program().await;
        let held = world.rotator().run(policy().hold_at_drained(true)).await.unwrap_err();
        assert!(matches!(held.kind(), RotateErrorKind::AwaitsRetirement), "{held}");
        assert_eq!(world.store.published().await.unwrap().unwrap().list.len(), 2);
        let held = world.rotator().resume(None).await.unwrap_err();
        assert!(matches!(held.kind(), RotateErrorKind::AwaitsRetirement), "{held}");
        if retired {
            let finished = world.rotator().retire(None).await.unwrap();
            world.assert_rotated(&finished).await;
        } else {
            let finished = world.rotator().rollback(None).await.unwrap();
            world.assert_rolled_back(&finished).await;
        }
        program.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_history_says_who_wanted_a_rotation_and_on_what_it_rests_and_no_secret() {
    let world = World::new().await;
    let program = world.program().await;
    let rotator = || world.rotator().asked_by("ada").reason("ticket 4711");
    // The process that saw the instances attest is not the one that comes to the end.
    rotator().run(policy().hold_at_drained(true)).await.unwrap_err();
    let retiring = world.rotator().asked_by("grace").reason("looked at the traffic");
    let finished = retiring.retire(None).await.unwrap();
    let secrets = {
        let document = world.store.published().await.unwrap().unwrap();
        [OLD.to_owned(), document.list.preferred().expose().to_owned()]
    };
    program.stop().await;
    let entries = keyswap_admin::verify_history(&world.store).await.unwrap();
    let first = &entries[0].record;
    let asker = &first["asked"][0]["asker"];
    assert_eq!((&asker["by"], &asker["reason"]), (&"ada".into(), &"ticket 4711".into()));
    assert!(first["holder"].as_str().unwrap().starts_with("keyswap, process "), "{first}");
    let of_state = |state: &str| entries.iter().find(|entry| entry.record["state"] == state);
    assert!(of_state("staged").unwrap().record["asked"].is_null());
    let retired = &of_state("retiring").unwrap().record["asked"][0];
    assert_eq!((&retired["wish"], &retired["asker"]["by"]), (&"retire".into(), &"grace".into()));

    let account = &entries.last().unwrap().record["account"];
    assert_eq!(account["asked"].as_array().unwrap().len(), 2);
    let entered: Vec<_> = account["entered"].as_array().unwrap().iter().collect();
    assert_eq!(entered.len(), State::PATH.len());
    assert!(entered.windows(2).all(|pair| pair[0]["at"].as_u64() <= pair[1]["at"].as_u64()));
    let unused = &account["unused"];
    assert_eq!(unused["secret"], "old");
    let row = unused["instances"][0].as_array().unwrap();
    let number = |column: usize| row[column].as_u64().unwrap();
    assert_eq!(
        (unused["instances"].as_array().unwrap().len(), &row[0]),
        (1, &"billing-app".into())
    );
    assert!(number(2) > 0, "the program used the old secret before: {row:?}");
    let window = u64::try_from(WINDOW.as_millis()).unwrap();
    assert!(number(5) - number(3) >= window && number(6) > number(4), "{row:?}");
    let drained = entered.iter().find(|entered| entered["state"] == "drained").unwrap();
    assert!(number(5) <= drained["at"].as_u64().unwrap());
    let test = &account["negative_test"];
    assert_eq!(test["accepted"], finished.new.as_str());
    assert_eq!(test["refused"], "old");
    assert!(test["accepted_after"].as_u64() <= test["refused_by"].as_u64());
    let text = format!("{:?}", entries);
    assert!(secrets.iter().all(|secret| !text.contains(secret)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gate_asks_a_person_for_an_application_that_cannot_report() {
    let world = World::new().await;
    let program = world.program().await;
    let mut policy = policy();
    policy.applications.push(Application::new("printer").manual());
    let say = async || {
        keyswap_admin::confirm(&world.store, None, "printer", "ada", "saw it sign in").await
    };
    let mut stopped = world.rotator().run(policy).await.unwrap_err();
    for (gate, state) in [(Gate::Adopted, "staged"), (Gate::Drained, "promoted")] {
        assert!(matches!(stopped.kind(), RotateErrorKind::AwaitsConfirmation(_)), "{stopped}");
        let text = stopped.to_string();
        assert!(text.contains("printer: it cannot report") && text.contains(state), "{text}");
        assert_eq!(say().await.unwrap(), gate);
        assert!(matches!(say().await.unwrap_err().kind(), RotateErrorKind::NothingToConfirm));
        match world.rotator().resume(None).await {
            Err(error) if gate == Gate::Adopted => stopped = error,
            ended => {
                let finished = ended.unwrap();
                program.stop().await;
                world.assert_rotated(&finished).await;
                break;
            }
        }
    }
    let history = world.store.history().await.unwrap();
    let words = history.iter().filter(|entry| entry.record["confirmed"]["by"] == "ada");
    assert_eq!(words.count(), 2, "who said so is on record");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_was_set_back_an_hour_makes_nobody_wait_an_hour() {
    let world = World::new().await;
    let program = world.program().await;
    Wanted::Run.dropped_at(&world, State::CutOver).await;
    // To this clock, the journal was written in an hour.
    let later = |time: &mut serde_json::Value| *time = (time.as_u64().unwrap() + HOUR).into();
    rewrite_journal(&world.store, |journal| {
        later(&mut journal["change"]["last_sent"]);
        journal["entered"].as_array_mut().unwrap().iter_mut().for_each(|one| later(&mut one["at"]));
    })
    .await;

    let told = Arc::<std::sync::Mutex<Vec<String>>>::default();
    let heard = told.clone();
    let rotator = world.rotator().patience(Duration::from_secs(20)).on_progress(move |progress| {
        heard.lock().unwrap().push(progress.to_string());
    });
    let finished = rotator.resume(None).await.unwrap();
    program.stop().await;
    world.assert_rotated(&finished).await;
    let told = told.lock().unwrap();
    assert!(told.iter().any(|line| line.contains("it was set back")), "{told:?}");
}

/// In milliseconds, as the journal counts.
const HOUR: u64 = 3_600_000;

async fn rewrite_journal(store: &FileStore, rewrite: impl FnOnce(&mut serde_json::Value)) {
    // A rotator that was dropped may hold it for a moment.
    let lease = loop {
        match store.acquire("test").await {
            Ok(lease) => break lease,
            Err(_) => tokio::task::yield_now().await,
        }
    };
    let text = store.journal().await.unwrap().unwrap();
    let mut journal: serde_json::Value = serde_json::from_slice(&text).unwrap();
    rewrite(&mut journal);
    store.save_journal(&lease, journal.to_string().as_bytes()).await.unwrap();
    store.release(lease).await.unwrap();
}

async fn stopped(world: &World) -> RotateError {
    let program = world.program().await;
    let error =
        world.rotator().patience(Duration::from_millis(500)).run(policy()).await.unwrap_err();
    program.stop().await;
    for secret in [OLD, MANAGEMENT] {
        assert!(!format!("{error} {error:?}").contains(secret), "{error:?}");
    }
    error
}

fn authority_kind(error: &RotateError) -> AuthorityErrorKind {
    answers::authority_kind(error, &[])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_scope_is_found_before_anything_is_changed() {
    for scopes in [
        vec!["read:clients"],
        vec!["read:clients", "read:client_keys"],
        vec!["read:clients", "update:clients"],
    ] {
        let management = Client::management("rotator", MANAGEMENT).scopes(scopes);
        let world = World::with(management, Client::new("billing", OLD)).await;
        let error = stopped(&world).await;
        assert_eq!(authority_kind(&error), AuthorityErrorKind::Permissions);
        assert!(error.to_string().contains("update:client_keys"), "{error}");
        assert!(world.store.journal().await.unwrap().is_none(), "nothing was begun");
        assert_eq!(world.server.counts().changes, 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_management_secret_and_a_client_with_a_key_are_named() {
    let world = World::new().await;
    let _program = world.program().await;
    let rotator = Rotator::new(world.authority_with("wrong-secret"), world.store.clone());
    let error = rotator.run(policy()).await.unwrap_err();
    assert_eq!(authority_kind(&error), AuthorityErrorKind::Credentials);
    assert!(!error.to_string().contains("wrong-secret"));

    let with_key = Client::new("billing", OLD)
        .authentication(keyswap_testkit::ClientAuthentication::PrivateKeyJwt);
    let world = World::with(Client::management("rotator", MANAGEMENT), with_key).await;
    let error = world.rotator().run(policy()).await.unwrap_err();
    assert_eq!(authority_kind(&error), AuthorityErrorKind::UnsupportedClient);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_holds_another_secret_than_the_programs_is_left_alone() {
    let world = World::new().await;
    world.server.set_secret("billing", "set-by-a-person");
    world.server.until_settled("billing").await;
    let error = world.rotator().run(policy()).await.unwrap_err();
    assert_eq!(authority_kind(&error), AuthorityErrorKind::Refused);
    assert!(error.to_string().contains("nothing was changed"), "{error}");
    assert_eq!(world.server.counts().changes, 0);
}

/// A server that does not say which secret it holds.
struct Silent(Auth0);

impl Authority for Silent {
    fn capabilities(&self) -> Capabilities {
        self.0.capabilities().read_back(false)
    }

    async fn check(&self) -> Result<(), AuthorityError> {
        self.0.check().await
    }

    async fn probe(&self, secret: &Secret) -> Probe {
        self.0.probe(secret).await
    }

    async fn set_secret(&self, secret: &Secret) -> ChangeAnswer {
        self.0.set_secret(secret).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retired_secret_that_returns_to_a_server_that_does_not_show_it_is_told_by_its_nodes() {
    let world = World::new().await;
    let rotator = || Rotator::new(Silent(world.authority()), world.store.clone());
    let mut policy = policy();
    policy.in_flight_bound = Duration::from_secs(4);
    let program = world.program().await;
    // A change that may be on its way yet keeps a rotation from beginning, and this from nothing.
    world.server.inject(Fault::AnswerLostAfterChange, Times::ONCE);
    let rotated = rotator().run(policy.clone()).await.unwrap();
    program.stop().await;

    world.server.set_secret("billing", OLD);
    world.server.until_settled("billing").await;
    let error = rotator().run(policy.clone()).await.unwrap_err();
    let reason = StuckReason::RetiredSecretPublished;
    assert!(matches!(error.kind(), RotateErrorKind::Stuck(found) if *found == reason), "{error}");
    let list = world.store.published().await.unwrap().unwrap().list;
    let values: Vec<_> = list.iter().map(Secret::id).collect();
    assert_eq!(values, [&rotated.old, &rotated.new]);

    let program = world.program().await;
    let mended = rotator().resume(None).await.unwrap();
    program.stop().await;
    assert_eq!((mended.rolled_back, &mended.new), (true, &rotated.new));
    world.assert_rotated(&mended).await;
    let words = world.rotator().status().await.unwrap().record.unwrap();
    assert!(words.retired.iter().any(|kept| *kept.secret.id() == rotated.old));
}

/// A rotation during which the secret that the one before it retired returns, and what a person does then.
async fn returned_midway<A: Authority>(
    world: &World,
    rotator: impl Fn() -> Rotator<A, FileStore>,
    state: State,
    back: bool,
) -> Finished {
    let program = world.program().await;
    let first = rotator().run(policy()).await.unwrap();
    program.stop().await;
    // This one is locked out for a while, as it has to be.
    let _program = world.program().await;
    let server = world.server.clone();
    let second = rotator().on_progress(move |progress| {
        if matches!(progress, Progress::Entered { state: entered, .. } if entered == state) {
            server.set_secret("billing", OLD);
        }
    });
    let error = second.run(policy()).await.unwrap_err();
    let reason = StuckReason::RetiredSecretPublishedMidway;
    assert!(matches!(error.kind(), RotateErrorKind::Stuck(found) if *found == reason), "{error}");
    let record = world.rotator().status().await.unwrap().record.unwrap();
    let list = world.store.published().await.unwrap().unwrap().list;
    let ids: Vec<_> = list.iter().map(Secret::id).collect();
    assert_eq!(ids, [&first.old, record.new.id(), &first.new], "{state}");
    let line = world.store.history().await.unwrap().pop().unwrap().record;
    assert_eq!((&line["state"], &line["readmitted"]), (&"stuck".into(), &"old".into()));

    // Whoever holds the list signs in from here on, whatever is decided.
    let program = world.program().await;
    let finished = match back {
        true => rotator().rollback(None).await.unwrap(),
        false => rotator().resume(None).await.unwrap(),
    };
    program.stop().await;
    let stays = if back { &first.new } else { record.new.id() };
    assert_eq!((finished.rolled_back, &finished.new), (back, stays));
    world.assert_rotated(&finished).await;
    let account = &world.store.history().await.unwrap().pop().unwrap().record["account"];
    assert_eq!(account["readmitted"][0]["secret"], "old", "{account}");
    assert_eq!(account["unused"]["beside"][0], "old", "{account}");
    finished
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retired_secret_that_returns_in_mid_rotation_is_published_and_led_out_on_either_way() {
    for (state, back) in [(State::CutOver, false), (State::Promoted, true)] {
        let world = World::new().await;
        returned_midway(&world, || world.rotator(), state, back).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retired_secret_that_returns_in_mid_rotation_is_told_by_the_nodes_of_a_silent_server() {
    for (state, back) in [(State::CutOver, true), (State::Promoted, false)] {
        let world = World::new().await;
        let rotator = || Rotator::new(Silent(world.authority()), world.store.clone());
        returned_midway(&world, rotator, state, back).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gate_waits_for_a_declared_application_and_names_it_and_opens_when_it_comes() {
    let world = World::new().await;
    let program = world.program().await;
    let mut policy = policy();
    policy.applications.push(Application::new("nightly").instances(2));
    let rotator = world.rotator().patience(Duration::from_millis(300));
    let error = rotator.run(policy).await.unwrap_err();
    assert!(matches!(error.kind(), RotateErrorKind::Waiting(_)), "{error}");
    assert!(error.to_string().contains("nightly: 0 of 2 expected instances"), "{error}");
    assert_eq!(world.server.counts().changes, 0);
    assert!(world.server.accepts("billing", OLD));

    let again =
        world.rotator().run(RotationPolicy::new([Application::new("x")])).await.unwrap_err();
    assert!(matches!(again.kind(), RotateErrorKind::Unfinished), "{again}");

    let applications = vec![Application::new("billing-app")];
    let finished = world.rotator().resume(Some(applications)).await.unwrap();
    program.stop().await;
    world.assert_rotated(&finished).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_of_an_undeclared_application_keeps_the_gate_shut() {
    let world = World::new().await;
    let _program = world.program().await;
    let fallback = FallbackPolicy::default();
    let (_ring, member) = join(world.store.clone(), "forgotten", fallback).await.unwrap();
    let member = tokio::spawn(member);
    let rotator = world.rotator().patience(Duration::from_millis(300));
    let error = rotator.run(policy()).await.unwrap_err();
    member.abort();
    assert!(error.to_string().contains("forgotten/"), "{error}");
    assert!(error.to_string().contains("not declared"), "{error}");
    assert_eq!(world.server.counts().changes, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_foreign_change_in_mid_rotation_stops_it_with_both_secrets_kept() {
    let world = World::new().await;
    let _program = world.program().await;
    let server = world.server.clone();
    let rotator = world.rotator().on_progress(move |progress| {
        if let Progress::Entered { state: State::CutOver, .. } = progress {
            server.set_secret("billing", "set-by-a-person");
        }
    });
    let error = rotator.run(policy()).await.unwrap_err();
    assert!(matches!(error.kind(), RotateErrorKind::Stuck(_)), "{error}");
    assert!(!error.is_resumable());
    assert_eq!(world.store.published().await.unwrap().unwrap().list.len(), 2);

    // A person puts the new secret back, and the rotation goes on.
    let list = world.store.published().await.unwrap().unwrap().list;
    let new = list.iter().find(|secret| secret.expose() != OLD).unwrap();
    world.server.set_secret("billing", new.expose());
    world.server.until_settled("billing").await;
    let finished = world.rotator().resume(None).await.unwrap();
    world.assert_rotated(&finished).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_rotator_finds_the_lease_held() {
    let world = World::new().await;
    let lease = world.store.acquire("another one").await.unwrap();
    let error = world.rotator().run(policy()).await.unwrap_err();
    assert!(matches!(error.kind(), RotateErrorKind::Busy), "{error}");
    assert!(error.to_string().contains("another one"), "{error}");
    drop(lease);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_without_an_answer_holds_the_next_rotation_back_until_it_cannot_come_any_more() {
    let world = World::new().await;
    let program = world.program().await;
    world.server.inject(Fault::AnswerLostAfterChange, Times::ONCE);
    let mut policy = policy();
    policy.in_flight_bound = Duration::from_millis(HOUR);
    world.rotator().run(policy.clone()).await.unwrap();
    let error = world.rotator().run(policy.clone()).await.unwrap_err();
    assert!(matches!(error.kind(), RotateErrorKind::Waiting(_)), "{error}");
    assert!(error.to_string().contains("may still be on its way"), "{error}");
    // As if it had been sent an hour ago.
    rewrite_journal(&world.store, |journal| {
        let sent = &mut journal["change"]["last_sent"];
        *sent = (sent.as_u64().unwrap() - HOUR).into();
    })
    .await;
    let finished = world.rotator().run(policy).await.unwrap();
    program.stop().await;
    world.assert_rotated(&finished).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_probe_tells_the_secret_in_force_from_another_one() {
    let world = World::new().await;
    let secret = |value: &str| Secret::new("a".parse().unwrap(), value).unwrap();
    let authority = world.authority();
    assert_eq!(authority.probe(&secret(OLD)).await, Probe::Accepted);
    assert_eq!(authority.probe(&secret("wrong")).await, Probe::Refused);
    world.server.inject(Fault::ServerError { endpoint: Endpoint::Token, status: 503 }, Times::ONCE);
    assert!(matches!(authority.probe(&secret(OLD)).await, Probe::Inconclusive(_)));
}

/// Comes back when the server has applied so many changes.
fn changed(server: &AuthorizationServer, times: u64) -> impl Future<Output = ()> + Send + use<> {
    let server = server.clone();
    async move {
        while server.counts().changes < times {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotation_that_is_asked_to_stop_before_it_begins_changes_nothing() {
    let world = World::new().await;
    let rotator = world.rotator().stopping_when(std::future::ready(()));
    let error = rotator.run(policy()).await.unwrap_err();
    assert!(matches!(error.kind(), RotateErrorKind::Interrupted(None)), "{error:?}");
    assert!(error.to_string().contains("nothing was changed"), "{error}");
    assert!(world.store.journal().await.unwrap().is_none());
    assert_eq!(world.server.counts().management_requests, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotation_that_is_asked_to_stop_while_it_waits_stops_at_once_and_is_resumed() {
    let world = World::new().await;
    // Nobody is there, and its patience is far longer than this test.
    let (ask, asked) = tokio::sync::oneshot::channel::<()>();
    let ask = std::sync::Mutex::new(Some(ask));
    let rotator = world
        .rotator()
        .patience(Duration::from_secs(3600))
        .stopping_when(async move { drop(asked.await) })
        .on_progress(move |progress| {
            if matches!(progress, Progress::Waiting { .. }) {
                ask.lock().unwrap().take();
            }
        });
    let mut slow = policy();
    slow.poll_every = Duration::from_secs(3600);
    let error = rotator.run(slow).await.unwrap_err();
    let withdraw = RotateErrorKind::Interrupted(Some(WayBack::Withdraw));
    assert_eq!(format!("{:?}", error.kind()), format!("{withdraw:?}"));
    assert!(error.to_string().contains("interrupted in state staged"), "{error}");
    // Who is asked still stops again, also on another way.
    for error in [rotator.resume(None).await, rotator.rollback(None).await] {
        let error = error.unwrap_err();
        assert!(matches!(error.kind(), RotateErrorKind::Interrupted(Some(_))), "{error:?}");
    }
    // The lease is free, and the way back was begun.
    let finished = world.rotator().resume(None).await.unwrap();
    world.assert_rolled_back(&finished).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotation_that_is_asked_to_stop_takes_the_answer_to_its_change_along() {
    let world = World::new().await;
    let program = world.program().await;
    let late = Fault::LatencyAfterChange { delay: Duration::from_secs(2) };
    world.server.inject(late, Times::ONCE);
    let rotator = world.rotator().stopping_when(changed(&world.server, 1));
    let error = rotator.run(policy()).await.unwrap_err();
    let back = RotateErrorKind::Interrupted(Some(WayBack::SetBack));
    assert_eq!(format!("{:?}", error.kind()), format!("{back:?}"));
    let record = world.rotator().status().await.unwrap().record.unwrap();
    assert_eq!(record.state, State::CutOver, "the outcome of the change is in the journal");
    let finished = world.rotator().resume(None).await.unwrap();
    assert_eq!(world.server.counts().changes, 1, "it is not sent again");
    world.assert_rotated(&finished).await;
    program.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_that_was_announced_and_not_sent_is_none_that_may_be_on_its_way() {
    let world = World::new().await;
    let program = world.program().await;
    let (ask, asked) = tokio::sync::oneshot::channel::<()>();
    let ask = std::sync::Mutex::new(Some(ask));
    let rotator = world.rotator().stopping_when(async move { drop(asked.await) }).on_progress(
        move |progress| {
            // The journal tells of the change by now.
            if matches!(progress, Progress::Entered { state: State::CuttingOver, .. }) {
                ask.lock().unwrap().take();
            }
        },
    );
    let error = rotator.run(policy()).await.unwrap_err();
    assert!(error.to_string().contains("interrupted in state cutting_over"), "{error}");
    assert_eq!(world.server.counts().changes, 0);
    let record = world.rotator().status().await.unwrap().record.unwrap();
    assert_eq!((record.change.sends, record.change.unresolved), (0, false));
    // So there is nothing to wait for on the way back, and not before the next one either.
    let mut slow = policy();
    slow.in_flight_bound = Duration::from_secs(3600);
    let finished = world.rotator().rollback(None).await.unwrap();
    world.assert_rolled_back(&finished).await;
    let record = world.rotator().status().await.unwrap().record.unwrap();
    assert!(!record.change.unresolved);
    let finished = world.rotator().run(slow).await.unwrap();
    world.assert_rotated(&finished).await;
    program.stop().await;
}
