//! Whole rotations at a server that holds two secrets, chooses their values, and never removes the newest one: an embedded
//! WSO2 Identity Server that misbehaves on demand, while a program signs in.

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
use keyswap_admin::authority::{
    AddAnswer, Authority, ChangeAnswer, Listed, NewSecret, SlotId, Wso2Builder,
};
use keyswap_admin::rotation::{Record, WayBack};
use keyswap_admin::{
    Application, AuthorityErrorKind, Finished, Progress, RotateError, RotateErrorKind,
    RotationPolicy, Rotator, State, Wso2,
};
use keyswap_core::{Secret, SecretId, SecretList, SecretRing};
use keyswap_store::{FileStore, SecretStore};
use keyswap_testkit::ClientAuthentication as Registered;
use keyswap_testkit::{AuthorizationServer, Client, Endpoint, Fault, Provider, Times};
use keyswap_tower::{ClientSecretPost, Profile};
use serde_json::json;
use tempfile::TempDir;

const OLD: &str = "Vq3hCc0Zc1JxOldSecretBilling";
const MANAGEMENT: &str = "management-secret-0123456789";
const WINDOW: Duration = Duration::from_millis(200);
const SCOPES: [&str; 4] = [
    "internal_application_mgt_view",
    "internal_application_mgt_client_secret_view",
    "internal_application_mgt_client_secret_create",
    "internal_application_mgt_client_secret_delete",
];
/// How the server names the first secret until another one is added.
const FIRST: &str = "25399749-8916-4625-b39d-c53ccf51666b";

struct World {
    server: AuthorizationServer,
    store: FileStore,
    _directory: TempDir,
}

impl World {
    async fn new() -> Self {
        Self::that_hashes(false).await
    }

    async fn that_hashes(hashes: bool) -> Self {
        let app = |id: &str| Client::new(id, OLD).application(format!("app-of-{id}"));
        let rotator = |id: &str| Client::management(id, MANAGEMENT);
        let server = AuthorizationServer::builder()
            .provider(Provider::Wso2 { hashes })
            .nodes(3)
            .propagation_window(WINDOW)
            .client(app("billing"))
            .client(app("by-code").grant_types(["authorization_code"]))
            .client(app("public").authentication(Registered::None))
            .client(app("with-key").authentication(Registered::PrivateKeyJwt))
            .client(app("by-basic").authentication(Registered::SecretBasic))
            .client(app("by-saml").attribute("inbound", json!("saml")))
            .client(app("revoked").attribute("state", json!("REVOKED")))
            .client(rotator("rotator").scopes(SCOPES))
            .client(rotator("reader").scopes([SCOPES[0], SCOPES[1]]))
            .start()
            .await
            .unwrap();
        let directory = tempfile::tempdir().unwrap();
        let store = FileStore::create(directory.path().join("store"), "billing").unwrap();
        let old = Secret::new("old".parse().unwrap(), OLD).unwrap();
        store.import(&SecretList::new([old]).unwrap()).await.unwrap();
        Self { server, store, _directory: directory }
    }

    fn builder_for(&self, client: &str, management: (&str, &str)) -> Wso2Builder {
        self.builder_at("shop", (client, &format!("app-of-{client}")), management)
    }

    fn builder_at(
        &self,
        organization: &str,
        (client, application): (&str, &str),
        (id, value): (&str, &str),
    ) -> Wso2Builder {
        let url = format!("{}/t/{organization}", self.server.url()).parse().unwrap();
        let ring = SecretRing::new(SecretList::new([secret(value)]).unwrap());
        Wso2::builder(url, client, application).management(id, ring).propagation_window(WINDOW)
    }

    fn builder(&self) -> Wso2Builder {
        self.builder_for("billing", ("rotator", MANAGEMENT))
    }

    fn rotator(&self) -> Rotator<Wso2, FileStore> {
        self.rotator_with(self.builder())
    }

    fn rotator_with(&self, builder: Wso2Builder) -> Rotator<Wso2, FileStore> {
        let authority = builder.build().unwrap();
        Rotator::new(authority, self.store.clone()).patience(Duration::from_secs(20))
    }

    async fn program(&self) -> Program {
        let credential = (ClientSecretPost::new("billing"), Profile::Wso2);
        let form = "grant_type=client_credentials".to_owned();
        Program::start(&self.store, credential, self.server.token_endpoint(), form, WINDOW).await
    }

    async fn record(&self) -> Record {
        let journal = self.store.journal().await.unwrap().unwrap();
        Record::parse(&journal).unwrap()
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
        assert_eq!(self.server.secrets("billing").len(), 1);
    }

    /// The programs hold the old secret alone, and the server takes it.
    async fn assert_as_before(&self) {
        let document = self.store.published().await.unwrap().unwrap();
        assert_eq!(document.list.len(), 1);
        assert_eq!(document.list.preferred().expose(), OLD);
        assert!(self.server.accepts("billing", OLD));
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

/// The path of a rotation at a server that has no secret taken out of force before it is removed.
fn path() -> impl Iterator<Item = State> {
    let reversible = [State::Deactivating, State::Deactivated];
    State::PATH_WITH_SLOTS.into_iter().filter(move |state| !reversible.contains(state))
}

/// The first secret of the application gets another name when one is added beside it, and is removed all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotation_passes_through_every_state_and_the_next_one_does_as_well() {
    each([false, true], async |hashes| {
        let world = World::that_hashes(hashes).await;
        let program = world.program().await;
        let finished = world.rotator().run(policy()).await.unwrap();
        assert_eq!(
            course(&finished),
            path().filter(|state| *state != State::Done).collect::<Vec<_>>()
        );
        world.assert_rotated(&finished).await;
        assert_eq!(world.server.counts().changes, 2, "added, removed");
        let finished = world.rotator().run(policy()).await.unwrap();
        assert_eq!(program.stop().await, 0, "a fallback was needed");
        world.assert_rotated(&finished).await;
        assert_eq!(world.record().await.expires(&finished.new), None, "the mark is none");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotation_that_was_dropped_is_resumed_to_its_end() {
    use State::*;
    each([Adding, Added, Adopted, Promoted, Retiring, Removing], async |state| {
        let world = World::new().await;
        let program = world.program().await;
        Wanted::Run(policy()).dropped_at(world.rotator(), state).await;
        let finished = Wanted::Resume.of(&world.rotator()).await;
        let finished = finished.unwrap_or_else(|error| panic!("{state}: {error}"));
        assert_eq!(program.stop().await, 0, "a fallback was needed after {state}");
        world.assert_rotated(&finished).await;
    })
    .await;
}

/// A value whose answer was lost is in the list, where the server keeps values: its entry is known by when it ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_answer_and_a_rate_limit_at_each_change_do_no_harm() {
    let changes = [(State::Adding, Endpoint::AddSecret), (State::Removing, Endpoint::RemoveSecret)];
    let cases = changes.into_iter().flat_map(|(state, endpoint)| {
        let retry_after = Some(Duration::from_secs(1));
        let faults = [
            Fault::AnswerLostAfterChange,
            Fault::AnswerLostBeforeChange,
            Fault::LateChange { after: Duration::from_millis(100) },
            Fault::ServerErrorAfterChange { status: 504 },
            Fault::Html { endpoint, status: 200 },
            Fault::RateLimited { endpoint, retry_after, reset_after: None },
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
        assert_eq!(world.server.counts().changes, 2, "nothing was added twice: {fault:?}");
    })
    .await;
}

/// What was added cannot be removed while it is the newest, so from there on a rotation goes forward alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn there_is_no_way_back_once_a_secret_was_added_and_the_rotation_goes_on() {
    use State::*;
    each([Added, Staged, Adopted, Promoted, Drained], async |state| {
        let world = World::new().await;
        let program = world.program().await;
        Wanted::Run(policy()).dropped_at(world.rotator(), state).await;
        let error = Wanted::Rollback.of(&world.rotator()).await.unwrap_err();
        let kind = error.kind();
        assert!(
            matches!(kind, RotateErrorKind::NoWayBack(WayBack::NewestStays)),
            "{state}: {error}"
        );
        assert!(error.to_string().contains("does not remove the secret that was added last"));
        assert_eq!(world.record().await.state, state, "it stands as it stood");
        let finished = Wanted::Resume.of(&world.rotator()).await.unwrap();
        assert_eq!(program.stop().await, 0, "a fallback was needed after {state}");
        world.assert_rotated(&finished).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn as_long_as_nothing_was_handed_out_a_rotation_can_be_left() {
    each([State::Generated, State::Adding], async |state| {
        let world = World::new().await;
        let program = world.program().await;
        Wanted::Run(policy()).dropped_at(world.rotator(), state).await;
        let finished = Wanted::Rollback.of(&world.rotator()).await.unwrap();
        assert!(finished.rolled_back, "{state}");
        assert_eq!(program.stop().await, 0, "a fallback was needed after {state}");
        world.assert_as_before().await;
        assert_eq!(world.server.counts().changes, 0, "it was dropped before it asked");
    })
    .await;
}

/// Where the server keeps hashes, a value whose answer was lost is gone, and its entry cannot be: that is said, the old
/// secret stays in force, and what was added can be left there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_value_that_nobody_can_read_is_told_of_and_can_be_left() {
    let world = World::that_hashes(true).await;
    let program = world.program().await;
    let lost = (&Fault::AnswerLostAfterChange, Times::ONCE);
    let said = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let (lines, lose) = (said.clone(), injecting(&world.server, State::Adding, lost));
    let rotator = world.rotator().on_progress(move |progress| {
        if let Progress::Note(line) = &progress {
            lines.lock().unwrap().push(line.clone());
        }
        lose(progress);
    });
    for rotator in [(rotator, Wanted::Run(policy())), (world.rotator(), Wanted::Resume)] {
        let (rotator, wanted) = rotator;
        let error = wanted.of(&rotator).await.unwrap_err();
        assert_eq!(authority_kind(&error), AuthorityErrorKind::Refused);
        let text = error.to_string();
        assert!(text.contains("its value is lost with the answer"), "{text}");
        assert!(text.contains("MaxSecretCount") && text.contains("keyswap rollback"), "{text}");
        assert_eq!(world.record().await.state, State::Adding);
        assert_eq!(world.server.counts().changes, 1, "nothing more was added");
    }
    let said = said.lock().unwrap().join("\n");
    assert!(said.contains("keeps secrets as hashes"), "it is told beforehand: {said}");
    let finished = Wanted::Rollback.of(&world.rotator()).await.unwrap();
    assert!(finished.rolled_back);
    assert_eq!(program.stop().await, 0, "a fallback was needed");
    world.assert_as_before().await;

    // The next one does not begin, and names what takes the room.
    let mut secrets = world.server.secrets("billing").into_iter().map(|(id, _)| id);
    let left = secrets.next_back().unwrap();
    let error = loop {
        let error = world.rotator().run(policy()).await.unwrap_err();
        if !matches!(error.kind(), RotateErrorKind::Waiting(_)) {
            break error;
        }
        tokio::time::sleep(policy().poll_every).await;
    };
    let text = error.to_string();
    assert!(text.contains("no room") && text.contains(&left), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_there_is_no_room_what_occupies_it_is_named_and_the_newest_stays() {
    let world = World::new().await;
    let foreign = world.server.add_secret("billing", "somebodyElsesSecret0123");
    world.server.until_settled("billing").await;
    let error = world.rotator().run(policy()).await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains("no room") && text.contains(&foreign), "{text}");
    assert!(text.contains("nothing was changed"), "{text}");
    assert!(world.store.journal().await.unwrap().is_none());

    let rotator = world.rotator().removing_first(SlotId::new(&foreign)).reason("nobody uses it");
    let error = rotator.run(policy()).await.unwrap_err();
    assert_eq!(authority_kind(&error), AuthorityErrorKind::Refused);
    assert!(error.to_string().contains("the newest secret of client billing"), "{error}");
    assert_eq!(world.server.counts().changes, 0);
    let finished = Wanted::Rollback.of(&world.rotator()).await.unwrap();
    assert!(finished.rolled_back);
    world.assert_as_before().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_that_cannot_be_read_for_a_while_is_asked_for_again() {
    let world = World::new().await;
    let program = world.program().await;
    let server = world.server.clone();
    let rotator = world.rotator().on_progress(move |progress| {
        if let Progress::Entered { state: State::Adopted | State::Removing, .. } = progress {
            for fault in [
                Fault::AnswerLost { endpoint: Endpoint::ListSecrets },
                Fault::Html { endpoint: Endpoint::ListSecrets, status: 200 },
                Fault::ServerError { endpoint: Endpoint::ListSecrets, status: 503 },
            ] {
                server.inject(fault, Times::ONCE);
            }
        }
    });
    let finished = rotator.run(policy()).await.unwrap();
    assert_eq!(world.server.counts().faults, 6);
    assert_eq!(program.stop().await, 0, "a fallback was needed");
    world.assert_rotated(&finished).await;
}

fn authority_kind(error: &RotateError) -> AuthorityErrorKind {
    answers::authority_kind(error, &[OLD, MANAGEMENT])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_is_named_before_anything_is_changed() {
    use AuthorityErrorKind::*;
    let world = World::new().await;
    let rotator = ("rotator", MANAGEMENT);
    let billing = ("billing", "app-of-billing");
    let cases = [
        (world.builder_at("other", billing, rotator), Unexpected, "tenant or organization"),
        (world.builder_for("billing", ("rotator", "wrong")), Credentials, "id and secret"),
        (world.builder_for("billing", ("nobody", MANAGEMENT)), Credentials, "id and secret"),
        (world.builder_for("billing", ("reader", MANAGEMENT)), Permissions, SCOPES[2]),
        (world.builder_for("nobody", rotator), NoSuchClient, "application_id"),
        (world.builder_at("shop", ("x", "app-of-billing"), rotator), Configuration, "another"),
        (world.builder_for("public", rotator), UnsupportedClient, "public client"),
        (world.builder_for("with-key", rotator), UnsupportedClient, "private_key_jwt"),
        (world.builder_for("by-basic", rotator), Configuration, "client_secret_basic"),
        (world.builder_for("by-saml", rotator), UnsupportedClient, "another protocol"),
        (world.builder_for("revoked", rotator), UnsupportedClient, "revoked"),
    ];
    for (builder, kind, says) in cases {
        let error = world.rotator_with(builder).run(policy()).await.unwrap_err();
        let text = error.to_string();
        assert_eq!(authority_kind(&error), kind, "{text}");
        assert!(text.contains(says), "{text}");
        assert!(world.store.journal().await.unwrap().is_none(), "nothing was begun: {text}");
    }
    // A version without the call: whatever answers there knows no such address.
    let no_such_call = Fault::Html { endpoint: Endpoint::ListSecrets, status: 404 };
    world.server.inject(no_such_call, Times::ONCE);
    let error = world.rotator().run(policy()).await.unwrap_err();
    assert_eq!(authority_kind(&error), Unsupported, "{error}");
    assert!(error.to_string().contains("regenerate the secret"), "{error}");
    assert_eq!(world.server.counts().changes, 0);

    let wso2 = world.builder().build().unwrap();
    wso2.check().await.unwrap();
    world.server.revoke_tokens();
    wso2.check().await.expect("a token that is refused is renewed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_without_the_client_credentials_grant_proves_its_secret_as_well() {
    use keyswap_admin::authority::Probe;
    let world = World::new().await;
    let wso2 = world.builder_for("by-code", ("rotator", MANAGEMENT)).build().unwrap();
    assert_eq!(wso2.probe(&secret(OLD)).await, Probe::Accepted);
    assert_eq!(wso2.probe(&secret("wrong")).await, Probe::Refused);
}

fn listed(listed: Listed) -> Vec<(String, Option<SecretId>, bool)> {
    answers::listed(listed, |slot| slot.holds.clone())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_request_to_the_authority_does_one_thing_and_the_first_secret_keeps_its_name() {
    let world = World::new().await;
    let wso2 = world.builder().build().unwrap();
    let (old, id): (Secret, SecretId) = (secret(OLD), "chosen".parse().unwrap());
    let first = (FIRST.to_owned(), Some(old.id().clone()), true);
    assert_eq!(listed(wso2.slots(std::slice::from_ref(&old)).await), std::slice::from_ref(&first));
    let newest = wso2.remove_secret(&SlotId::new(FIRST)).await;
    assert!(matches!(newest, ChangeAnswer::Refused(_)), "{newest:?}");

    let added = wso2.add_secret(&NewSecret::Awaited(id.clone())).await;
    let AddAnswer::Added(slot, value) = added else { panic!("{added:?}") };
    assert_eq!((value.id(), value.expose().len()), (&id, 28));
    world.server.until_settled("billing").await;
    assert!(world.server.accepts("billing", value.expose()));
    let other = (slot.as_str().to_owned(), Some(id.clone()), true);
    let both = [other.clone(), first];
    assert_eq!(listed(wso2.slots(&[old.clone(), value.clone()]).await), both);

    // Asked again, the server says which one that was, and adds none.
    let again = wso2.add_secret_again(&NewSecret::Awaited(id.clone()), &old).await;
    let AddAnswer::Added(found, same) = again else { panic!("{again:?}") };
    assert_eq!((&found, same.expose()), (&slot, value.expose()));
    let another = NewSecret::Awaited("another".parse().unwrap());
    let full = wso2.add_secret_again(&another, &old).await;
    let AddAnswer::Refused(error) = full else { panic!("{full:?}") };
    assert!(error.to_string().contains("no further secret"), "{error}");

    let newest = wso2.remove_secret(&slot).await;
    assert!(matches!(newest, ChangeAnswer::Refused(_)), "{newest:?}");
    for _ in 0..2 {
        let answer = wso2.remove_secret(&SlotId::new(FIRST)).await;
        assert!(matches!(answer, ChangeAnswer::Applied), "{answer:?}");
    }
    let gone = wso2.remove_secret(&SlotId::new("unknown")).await;
    assert!(matches!(gone, ChangeAnswer::Applied), "{gone:?}");
    assert_eq!(listed(wso2.slots(std::slice::from_ref(&value)).await), [other]);
    let own = wso2.add_secret(&value.into()).await;
    assert!(matches!(own, AddAnswer::Refused(_)), "{own:?}");

    let retry_after = Some(Duration::from_secs(7));
    let endpoint = Endpoint::Management;
    let limited = Fault::RateLimited { endpoint, retry_after, reset_after: None };
    world.server.inject(limited, Times::ONCE);
    let answer = wso2.remove_secret(&slot).await;
    let ChangeAnswer::RetryAfter(time) = answer else { panic!("{answer:?}") };
    assert_eq!(time.as_secs(), 7);
}
