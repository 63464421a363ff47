//! Whole rotations at an embedded FusionAuth, while a program signs in by a refresh token.

#[path = "common/answers.rs"]
mod answers;
mod common;
#[path = "common/dropped.rs"]
mod dropped;

use std::time::Duration;

use common::Program;
use dropped::{Wanted, each};
use keyswap_admin::authority::{Authority, ChangeAnswer, FusionAuthBuilder, Probe, ReadBack};
use keyswap_admin::{
    Application, AuthorityErrorKind, Finished, FusionAuth, Progress, RotateError, RotationPolicy,
    Rotator, State,
};
use keyswap_core::{Secret, SecretList};
use keyswap_store::{FileStore, SecretStore};
use keyswap_testkit::{
    AuthorizationServer, Client, ClientAuthentication, Endpoint, Fault, Provider, Times,
};
use keyswap_tower::{ClientFirst, ClientSecretPost, Profile};
use tempfile::TempDir;

const OLD: &str = "old-secret-of-billing-0123456789";
const KEY: &str = "api-key-of-the-rotator-0123456789";
const READER: &str = "api-key-of-a-reader-0123456789";
const TENANT: &str = "30663132-6464-6665-3032-326466613934";
const WINDOW: Duration = Duration::from_millis(200);

struct World {
    server: AuthorizationServer,
    store: FileStore,
    _directory: TempDir,
}

impl World {
    async fn new() -> Self {
        Self::with(ClientAuthentication::SecretPost).await
    }

    async fn with(authentication: ClientAuthentication) -> Self {
        let client = Client::new("billing", OLD)
            .application("app-1")
            .grant(TENANT)
            .grant_types(["refresh_token"])
            .authentication(authentication);
        let server = AuthorizationServer::builder()
            .provider(Provider::FusionAuth)
            .nodes(3)
            .propagation_window(WINDOW)
            .client(client)
            .api_token(KEY)
            .read_only_api_token(READER)
            .start()
            .await
            .unwrap();
        let directory = tempfile::tempdir().unwrap();
        let store = FileStore::create(directory.path().join("store"), "billing").unwrap();
        store.import(&SecretList::new([old()]).unwrap()).await.unwrap();
        Self { server, store, _directory: directory }
    }

    fn builder(&self) -> FusionAuthBuilder {
        FusionAuth::builder(self.server.url().parse().unwrap(), "billing")
            .application("app-1")
            .tenant(TENANT)
            .api_key(secret(KEY))
            .propagation_window(WINDOW)
    }

    fn rotator(&self) -> Rotator<FusionAuth, FileStore> {
        self.rotator_with(self.builder())
    }

    fn rotator_with(&self, builder: FusionAuthBuilder) -> Rotator<FusionAuth, FileStore> {
        Rotator::new(builder.build().unwrap(), self.store.clone()).patience(Duration::from_secs(20))
    }

    async fn program(&self) -> Program {
        let credential = (ClientSecretPost::new("billing"), ClientFirst(Profile::FusionAuth));
        let body = "grant_type=refresh_token&refresh_token=refresh-token-of-billing".to_owned();
        Program::start(&self.store, credential, self.server.token_endpoint(), body, WINDOW).await
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
        assert!(!self.server.accepts_anywhere("billing", OLD));
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
async fn a_rotation_reaches_its_end_and_no_request_fails_whatever_becomes_of_the_change() {
    let endpoint = Endpoint::UpdateClient;
    let limited = Fault::RateLimited {
        endpoint,
        retry_after: None,
        reset_after: Some(Duration::from_millis(1)),
    };
    let cases = [
        None,
        Some(Fault::AnswerLostAfterChange),
        Some(Fault::AnswerLostBeforeChange),
        Some(Fault::ServerErrorAfterChange { status: 502 }),
        Some(Fault::Html { endpoint, status: 200 }),
        Some(limited),
    ];
    each(cases, async |fault| {
        let world = World::new().await;
        let program = world.program().await;
        let (server, injected) = (world.server.clone(), fault.clone());
        let rotator = world.rotator().on_progress(move |progress| {
            if let (Progress::Entered { state: State::CuttingOver, .. }, Some(fault)) =
                (progress, &injected)
            {
                server.inject(fault.clone(), Times::ONCE);
            }
        });
        let finished = rotator.run(policy()).await;
        let finished = finished.unwrap_or_else(|error| panic!("{fault:?}: {error}"));
        assert_eq!(world.server.counts().faults, u64::from(fault.is_some()), "{fault:?}");
        program.stop().await;
        world.assert_rotated(&finished).await;
        let history = format!("{:?}", world.store.history().await.unwrap());
        assert!([OLD, KEY].iter().all(|value| !history.contains(value)));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotation_that_was_dropped_after_its_change_goes_on_or_back_and_no_request_fails() {
    each([false, true], async |back| {
        let world = World::new().await;
        let program = world.program().await;
        Wanted::Run(policy()).dropped_at(world.rotator(), State::CutOver).await;
        let wanted = if back { Wanted::Rollback } else { Wanted::Resume };
        let finished = wanted.of(&world.rotator()).await.unwrap();
        program.stop().await;
        assert_eq!(finished.rolled_back, back);
        world.server.until_settled("billing").await;
        assert_eq!(world.server.accepts("billing", OLD), back);
    })
    .await;
}

fn authority_kind(error: &RotateError) -> AuthorityErrorKind {
    answers::authority_kind(error, &[OLD, KEY, READER])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_with_the_configuration_is_named_before_anything_is_changed() {
    use AuthorityErrorKind::{Configuration, Credentials, NoSuchClient, UnsupportedClient};
    let world = World::new().await;
    let public = World::with(ClientAuthentication::None).await;
    let builder = || world.builder();
    let other_client = FusionAuth::builder(world.server.url().parse().unwrap(), "orders")
        .application("app-1")
        .api_key(secret(KEY));
    let other_tenant = "00000000-6464-6665-3032-326466613934";
    for (world, builder, kind, says) in [
        (&world, builder().api_key(secret("wrong")), Credentials, "check the key"),
        (&world, builder().application("app-2"), NoSuchClient, "the id of the application"),
        (&world, builder().tenant(other_tenant), NoSuchClient, "the tenant"),
        (&world, other_client, Configuration, "another client id than orders"),
        (&public, public.builder(), UnsupportedClient, "require client authentication first"),
    ] {
        let error = world.rotator_with(builder).run(policy()).await.unwrap_err();
        assert_eq!(authority_kind(&error), kind, "{error}");
        assert!(error.to_string().contains(says), "{error}");
        assert!(world.store.journal().await.unwrap().is_none(), "nothing was begun");
        assert_eq!(world.server.counts().changes, 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotation_does_not_begin_where_a_wrong_secret_is_not_refused() {
    let world = World::new().await;
    for (status, says) in [(200, "takes any secret"), (502, "cannot be told")] {
        let fault = Fault::Html { endpoint: Endpoint::Token, status };
        world.server.inject(fault, Times::ONCE);
        let error = world.builder().build().unwrap().check().await.unwrap_err();
        assert_eq!(error.kind(), AuthorityErrorKind::Unexpected);
        assert!(error.to_string().contains(says), "{error}");
    }
    world.builder().build().unwrap().check().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_may_only_read_changes_nothing_and_the_rotation_can_be_resumed() {
    let world = World::new().await;
    let program = world.program().await;
    let reader = world.builder().api_key(secret(READER));
    let error = world.rotator_with(reader).run(policy()).await.unwrap_err();
    assert_eq!(authority_kind(&error), AuthorityErrorKind::Credentials);
    assert!(error.to_string().contains("PATCH on /api/application"), "{error}");
    assert_eq!(world.server.counts().changes, 0);
    let finished = Wanted::Resume.of(&world.rotator()).await.unwrap();
    program.stop().await;
    world.assert_rotated(&finished).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_request_to_the_authority_does_one_thing() {
    let world = World::new().await;
    let fusionauth = world.builder().build().unwrap();
    assert_eq!(fusionauth.read_back(&[old()]).await, ReadBack::Holds(old().id().clone()));
    assert_eq!(fusionauth.read_back(&[]).await, ReadBack::Other);
    let new = Secret::new("new".parse().unwrap(), r#"quoted "and" \ escaped"#).unwrap();
    let answer = fusionauth.set_secret(&new).await;
    assert!(matches!(answer, ChangeAnswer::Applied), "{answer:?}");
    assert_eq!(
        fusionauth.read_back(std::slice::from_ref(&new)).await,
        ReadBack::Holds(new.id().clone())
    );
    world.server.until_settled("billing").await;
    for authentication in
        [keyswap_admin::ClientAuthentication::Post, keyswap_admin::ClientAuthentication::Basic]
    {
        let fusionauth = world.builder().authentication(authentication).build().unwrap();
        assert_eq!(fusionauth.probe(&new).await, Probe::Accepted);
        assert_eq!(fusionauth.probe(&old()).await, Probe::Refused);
    }
    let limited = Fault::RateLimited {
        endpoint: Endpoint::Management,
        retry_after: Some(Duration::from_secs(7)),
        reset_after: None,
    };
    world.server.inject(limited, Times::ONCE);
    let answer = fusionauth.set_secret(&new).await;
    let ChangeAnswer::RetryAfter(time) = answer else { panic!("{answer:?}") };
    assert_eq!(time.as_secs(), 7);
}
