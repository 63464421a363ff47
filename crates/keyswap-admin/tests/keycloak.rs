//! Whole rotations at an embedded Keycloak that misbehaves on demand, with the real engine, store and HTTP, while a
//! program signs in.

#[path = "common/answers.rs"]
mod answers;
mod common;
#[path = "common/dropped.rs"]
mod dropped;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::Program;
use dropped::{Wanted, each};
use keyswap_admin::authority::{Authority, ChangeAnswer, KeycloakBuilder, ReadBack};
use keyswap_admin::{
    Application, AuthorityErrorKind, Finished, Keycloak, Progress, RotateError, RotateErrorKind,
    RotationPolicy, Rotator, State,
};
use keyswap_core::{Secret, SecretList, SecretRing};
use keyswap_store::{FileStore, SecretStore};
use keyswap_testkit::{
    AuthorizationServer, Client, ClientAuthentication, Endpoint, Fault, Provider, Times,
};
use keyswap_tower::{ClientSecretBasic, Profile};
use serde_json::{Value, json};
use tempfile::TempDir;

const REALM: &str = "shop";
const CLIENT: &str = "billing";
const OLD: &str = "old-secret-of-billing-0123456789";
const MANAGEMENT: &str = "management-secret-0123456789";
const WINDOW: Duration = Duration::from_millis(200);

struct World {
    server: AuthorizationServer,
    store: FileStore,
    http: reqwest::Client,
    _directory: TempDir,
}

impl World {
    async fn new() -> Self {
        let service = |id: &str, role: &str| Client::management(id, MANAGEMENT).scopes([role]);
        let other = |id: &str, authentication| Client::new(id, OLD).authentication(authentication);
        let server = AuthorizationServer::builder()
            .provider(Provider::Keycloak)
            .nodes(3)
            .propagation_window(WINDOW)
            .client(Client::new(CLIENT, OLD).application("id-of-billing"))
            .client(other("spa", ClientAuthentication::None))
            .client(other("with-key", ClientAuthentication::PrivateKeyJwt))
            .client(other("signs", ClientAuthentication::SecretJwt))
            .client(service("rotator", "manage-clients"))
            .client(service("reader", "view-clients"))
            .client(service("nobody", "view-users"))
            .client(Client::management("no-account", MANAGEMENT).grant_types(["refresh_token"]))
            .start()
            .await
            .unwrap();
        let directory = tempfile::tempdir().unwrap();
        let store = FileStore::create(directory.path().join("store"), CLIENT).unwrap();
        store.import(&SecretList::new([old()]).unwrap()).await.unwrap();
        Self { server, store, http: reqwest::Client::new(), _directory: directory }
    }

    fn of(&self, client: &str, management: &str) -> KeycloakBuilder {
        Keycloak::builder(self.server.url().parse().unwrap(), REALM, client)
            .management(management, ring(MANAGEMENT))
            .propagation_window(WINDOW)
    }

    fn authority(&self) -> Keycloak {
        self.of(CLIENT, "rotator").build().unwrap()
    }

    fn rotator(&self) -> Rotator<Keycloak, FileStore> {
        self.rotator_with(self.of(CLIENT, "rotator"))
    }

    fn rotator_with(&self, builder: KeycloakBuilder) -> Rotator<Keycloak, FileStore> {
        Rotator::new(builder.build().unwrap(), self.store.clone()).patience(Duration::from_secs(20))
    }

    async fn program(&self) -> Program {
        let credential = (ClientSecretBasic::new(CLIENT), Profile::Keycloak);
        let body = "grant_type=client_credentials".to_owned();
        Program::start(&self.store, credential, self.server.token_endpoint(), body, WINDOW).await
    }

    async fn token(&self) -> String {
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", "rotator"),
            ("client_secret", MANAGEMENT),
        ];
        let answer = self.http.post(self.server.token_endpoint()).form(&form).send().await.unwrap();
        let body: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
        body["access_token"].as_str().unwrap().to_owned()
    }

    fn client_url(&self) -> String {
        format!("{}/admin/realms/{REALM}/clients/id-of-billing", self.server.url())
    }

    /// What somebody at the console does to the client.
    async fn put(&self, update: Value) {
        let request = self.http.put(self.client_url()).bearer_auth(self.token().await);
        let request = request.header("content-type", "application/json").body(update.to_string());
        assert_eq!(request.send().await.unwrap().status(), 204);
    }

    /// The client without its secret.
    async fn shown(&self) -> Value {
        let request = self.http.get(self.client_url()).bearer_auth(self.token().await);
        let text = request.send().await.unwrap().text().await.unwrap();
        let mut client: Value = serde_json::from_str(&text).unwrap();
        client.as_object_mut().unwrap().remove("secret");
        client
    }

    /// The rotation is over, and everybody agrees on it.
    async fn assert_rotated(&self, finished: &Finished) {
        assert!(!finished.rolled_back);
        let document = self.store.published().await.unwrap().unwrap();
        assert_eq!(document.list.len(), 1);
        let new = document.list.preferred();
        assert_eq!(new.id(), &finished.new);
        self.server.until_settled(CLIENT).await;
        assert!(self.server.accepts(CLIENT, new.expose()));
        assert!(!self.server.accepts_anywhere(CLIENT, OLD));
        let history = format!("{:?}", self.store.history().await.unwrap());
        for value in [OLD, MANAGEMENT, new.expose()] {
            assert!(!history.contains(value));
        }
    }
}

fn secret(value: &str) -> Secret {
    Secret::new("a".parse().unwrap(), value).unwrap()
}

fn old() -> Secret {
    Secret::new("old".parse().unwrap(), OLD).unwrap()
}

fn ring(value: &str) -> SecretRing {
    SecretRing::new(SecretList::new([secret(value)]).unwrap())
}

fn policy() -> RotationPolicy {
    let mut policy = RotationPolicy::new([Application::new("billing-app")])
        .quiet_period(WINDOW)
        .poll_every(Duration::from_millis(20));
    policy.in_flight_bound = Duration::from_millis(600);
    policy
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotation_passes_through_every_state_and_changes_nothing_but_the_secret() {
    let world = World::new().await;
    let attributes = json!({"access.token.lifespan": "120", "client.secret.expiration.time": "9"});
    world
        .put(json!({"description": "ours", "authorizationServicesEnabled": true, "attributes": attributes}))
        .await;
    let mut before = world.shown().await;
    let program = world.program().await;
    let finished = world.rotator().run(policy()).await.unwrap();
    program.stop().await;
    let states: Vec<_> = finished.states.iter().map(|(state, _)| *state).collect();
    assert_eq!(states, State::PATH[..State::PATH.len() - 1]);
    world.assert_rotated(&finished).await;
    assert_eq!(world.server.counts().changes, 1);
    // The policy gives the new secret a period of its own.
    before["attributes"].as_object_mut().unwrap().remove("client.secret.expiration.time");
    assert_eq!(world.shown().await, before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_becomes_of_the_change_or_its_answer_no_request_fails() {
    let endpoint = Endpoint::UpdateClient;
    let limited = Fault::RateLimited {
        endpoint,
        retry_after: None,
        reset_after: Some(Duration::from_millis(1)),
    };
    let cases = [
        Fault::AnswerLostAfterChange,
        Fault::AnswerLostBeforeChange,
        Fault::LateChange { after: Duration::from_millis(400) },
        Fault::ServerErrorAfterChange { status: 500 },
        Fault::ServerError { endpoint, status: 500 },
        // A page of a proxy is no 204.
        Fault::Html { endpoint, status: 200 },
        limited,
        // The look before the change, too.
        Fault::AnswerLost { endpoint: Endpoint::ReadClient },
    ];
    each(cases, async |fault| {
        let world = World::new().await;
        let program = world.program().await;
        let (server, armed) = (world.server.clone(), fault.clone());
        let rotator = world.rotator().on_progress(move |progress| {
            if let Progress::Entered { state: State::CuttingOver, .. } = progress {
                server.inject(armed.clone(), Times::ONCE);
            }
        });
        let finished = rotator.run(policy()).await;
        let finished = finished.unwrap_or_else(|error| panic!("{fault:?}: {error}"));
        program.stop().await;
        assert_eq!(world.server.counts().faults, 1, "{fault:?}");
        world.assert_rotated(&finished).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_management_token_that_ended_is_renewed_once() {
    let world = World::new().await;
    let keycloak = world.authority();
    keycloak.check().await.unwrap();
    keycloak.ready().await;
    world.server.revoke_tokens();
    let answer = keycloak.set_secret(&secret("another-secret-0123456789")).await;
    assert!(matches!(answer, ChangeAnswer::Applied), "{answer:?}");
    assert_eq!(world.server.counts().changes, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_change_repeats_what_the_client_is_when_it_is_sent() {
    let world = World::new().await;
    let keycloak = world.authority();
    keycloak.check().await.unwrap();
    // Somebody switches authorization services on after the look with which the rotation began.
    world.put(json!({"authorizationServicesEnabled": true})).await;
    keycloak.ready().await;
    let next = secret("another-secret-0123456789");
    assert!(matches!(keycloak.set_secret(&next).await, ChangeAnswer::Applied));
    assert_eq!(world.shown().await["authorizationServicesEnabled"], true);
    assert_eq!(
        keycloak.read_back(&[old(), next.clone()]).await,
        ReadBack::Holds(next.id().clone())
    );
    assert_eq!(keycloak.read_back(&[old()]).await, ReadBack::Other);
    // Or makes it another kind of client: then nothing is sent.
    world.put(json!({"clientAuthenticatorType": "client-jwt"})).await;
    keycloak.ready().await;
    let answer = keycloak.set_secret(&old()).await;
    let ChangeAnswer::Refused(error) = answer else { panic!("{answer:?}") };
    assert_eq!(error.kind(), AuthorityErrorKind::UnsupportedClient, "{error}");
    assert_eq!(world.server.counts().changes, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_that_the_server_forgot_after_it_had_said_yes_stops_the_rotation() {
    let world = World::new().await;
    let program = world.program().await;
    // As a database does that writes late, and is killed.
    let server = world.server.clone();
    let rotator = world.rotator().on_progress(move |progress| {
        if let Progress::Entered { state: State::CutOver, .. } = progress {
            server.set_secret(CLIENT, OLD);
        }
    });
    let error = rotator.run(policy()).await.unwrap_err();
    assert!(matches!(error.kind(), RotateErrorKind::Stuck(_)), "{error:?}");
    program.stop().await;
    assert!(world.server.accepts(CLIENT, OLD));
    let document = world.store.published().await.unwrap().unwrap();
    assert_eq!(document.list.len(), 2, "programs hold both");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_secret_and_one_that_has_expired_are_told_of_before_the_rotation_begins() {
    let world = World::new().await;
    let attributes = json!({
        "client.secret.expiration.time": "1000", "client.secret.rotated": "rotated-value",
        "client.secret.rotated.expiration.time": "33333333333",
    });
    world.put(json!({ "attributes": attributes })).await;
    let program = world.program().await;
    let told = Arc::new(Mutex::new(Vec::new()));
    let tell = Arc::clone(&told);
    let rotator = world.rotator().on_progress(move |progress| tell.lock().unwrap().push(progress));
    let finished = rotator.run(policy()).await.unwrap();
    program.stop().await;
    world.assert_rotated(&finished).await;
    let told = told.lock().unwrap();
    let [Progress::Checking, Progress::Note(expired), Progress::Note(second), ..] = &told[..]
    else {
        panic!("{told:?}")
    };
    assert!(expired.contains("client billing at keycloak: its secret has expired"), "{expired}");
    assert!(second.contains("a second secret") && !second.contains("rotated-value"), "{second}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotation_that_was_dropped_in_any_state_is_resumed_to_its_end() {
    each(State::PATH.into_iter().filter(|state| *state != State::Done), async |state| {
        let world = World::new().await;
        let program = world.program().await;
        Wanted::Run(policy()).dropped_at(world.rotator(), state).await;
        let finished = Wanted::Resume.of(&world.rotator()).await;
        let finished = finished.unwrap_or_else(|error| panic!("{state}: {error}"));
        program.stop().await;
        world.assert_rotated(&finished).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn there_is_a_way_back_also_after_the_change() {
    each([State::Adopted, State::Promoted], async |state| {
        let world = World::new().await;
        let program = world.program().await;
        Wanted::Run(policy()).dropped_at(world.rotator(), state).await;
        let finished = Wanted::Rollback.of(&world.rotator()).await;
        let finished = finished.unwrap_or_else(|error| panic!("{state}: {error}"));
        program.stop().await;
        assert!(finished.rolled_back, "{state}");
        world.server.until_settled(CLIENT).await;
        assert!(world.server.accepts(CLIENT, OLD), "{state}");
        let document = world.store.published().await.unwrap().unwrap();
        assert_eq!(document.list, SecretList::new([old()]).unwrap(), "{state}");
    })
    .await;
}

fn authority_kind(error: &RotateError) -> AuthorityErrorKind {
    answers::authority_kind(error, &[OLD, MANAGEMENT])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_stands_in_the_way_is_named_before_anything_is_changed() {
    use AuthorityErrorKind::{
        Configuration, Credentials, NoSuchClient, Permissions, Unexpected, UnsupportedClient,
    };
    let world = World::new().await;
    let at = |url: &str, realm: &str| {
        Keycloak::builder(url.parse().unwrap(), realm, CLIENT)
            .management("rotator", ring(MANAGEMENT))
    };
    let url = world.server.url();
    let page = Fault::Html { endpoint: Endpoint::ReadClient, status: 200 };
    let role = "manage-clients of realm-management (in realm shop: Clients > ";
    for (builder, fault, kind, says) in [
        (at(&format!("{url}/auth"), REALM), None, Configuration, "ends in /auth"),
        (at(&url, "elsewhere"), None, Configuration, "no realm elsewhere"),
        (at(&url, "elsewhere").management_realm(REALM), None, NoSuchClient, "no realm elsewhere"),
        (
            world.of(CLIENT, "rotator").management("rotator", ring("wrong")),
            None,
            Credentials,
            "the management client rotator",
        ),
        (world.of(CLIENT, "unheard-of"), None, Credentials, "unheard-of"),
        (world.of(CLIENT, "no-account"), None, Credentials, "Service accounts roles"),
        (world.of(CLIENT, "nobody"), None, Permissions, role),
        (world.of(CLIENT, "reader"), None, Permissions, role),
        (world.of("unheard-of", "rotator"), None, NoSuchClient, "no client unheard-of"),
        (world.of("spa", "rotator"), None, UnsupportedClient, "is public"),
        (world.of("with-key", "rotator"), None, UnsupportedClient, "client-jwt"),
        (world.of("signs", "rotator"), None, UnsupportedClient, "client-secret-jwt"),
        (world.of(CLIENT, "rotator"), Some(page), Unexpected, "no proxy answers for it"),
    ] {
        if let Some(fault) = fault {
            world.server.inject(fault, Times::ONCE);
        }
        let error = world.rotator_with(builder).run(policy()).await.unwrap_err();
        let text = error.to_string();
        assert_eq!(authority_kind(&error), kind, "{text}");
        assert!(text.contains(says), "{text}");
        assert!(world.store.journal().await.unwrap().is_none(), "nothing was begun");
    }
    assert_eq!(world.server.counts().changes, 0);
}
