//! Whole rotations at a server that holds several secrets, chooses their values, and lists a change late: an embedded
//! Microsoft Entra that misbehaves on demand, while a program signs in.

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
    AddAnswer, Authority, ChangeAnswer, EntraBuilder, Listed, NewSecret, Probe, SlotId,
};
use keyswap_admin::rotation::{Record, StuckReason, Timestamp};
use keyswap_admin::{
    Application, AuthorityErrorKind, Entra, Finished, Level, Progress, RotateError,
    RotateErrorKind, RotationPolicy, Rotator, State,
};
use keyswap_core::{Secret, SecretId, SecretList, SecretRing};
use keyswap_store::{FileStore, SecretStore};
use keyswap_testkit::ClientAuthentication as Registered;
use keyswap_testkit::{AuthorizationServer, Client, Endpoint, Fault, Provider, Times};
use keyswap_tower::{ClientSecretPost, Profile};
use tempfile::TempDir;

const OLD: &str = "old~secret+of:billing-0123456789";
const MANAGEMENT: &str = "management-secret-0123456789";
const WINDOW: Duration = Duration::from_millis(200);
const OWNED: &str = "Application.ReadWrite.OwnedBy";

struct World {
    server: AuthorizationServer,
    store: FileStore,
    /// The key id of the present secret.
    old: String,
    _directory: TempDir,
}

impl World {
    async fn new() -> Self {
        Self::with(|client| client).await
    }

    async fn with(more: impl FnOnce(Client) -> Client) -> Self {
        let client = Client::new("billing", OLD).application("object-1");
        let rotator = |id, permission| Client::management(id, MANAGEMENT).scopes([permission]);
        let server = AuthorizationServer::builder()
            .provider(Provider::Entra)
            .nodes(3)
            .propagation_window(WINDOW)
            .client(more(client.grant("api://orders")))
            .client(Client::new("managed", OLD).authentication(Registered::None))
            .client(Client::new("with-key", OLD).authentication(Registered::PrivateKeyJwt))
            .client(rotator("rotator", OWNED))
            .client(rotator("reader", "Application.Read.All"))
            .client(rotator("auditor", OWNED).scopes([OWNED, "AuditLog.Read.All"]))
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

    fn builder_for(&self, client: &str, management: (&str, &str)) -> EntraBuilder {
        let url: url::Url = self.server.url().parse().unwrap();
        let (id, value) = management;
        let ring = SecretRing::new(SecretList::new([secret(value)]).unwrap());
        Entra::builder("contoso.onmicrosoft.com", client)
            .management(id, ring)
            .login_url(url.clone())
            .graph_url(url)
            .propagation_window(WINDOW)
    }

    fn builder(&self) -> EntraBuilder {
        self.builder_for("billing", ("rotator", MANAGEMENT))
    }

    fn rotator(&self) -> Rotator<Entra, FileStore> {
        self.rotator_with(self.builder())
    }

    fn rotator_with(&self, builder: EntraBuilder) -> Rotator<Entra, FileStore> {
        let authority = builder.build().unwrap();
        Rotator::new(authority, self.store.clone()).patience(Duration::from_secs(20))
    }

    async fn program(&self) -> Program {
        let credential = (ClientSecretPost::new("billing"), Profile::Entra);
        let scope = "grant_type=client_credentials&scope=api%3A%2F%2Forders%2F.default".to_owned();
        Program::start(&self.store, credential, self.server.token_endpoint(), scope, WINDOW).await
    }

    async fn record(&self) -> Record {
        let journal = self.store.journal().await.unwrap().unwrap();
        Record::parse(&journal).unwrap()
    }

    /// The rotation is over, and everybody agrees on it: of what was there before, only the old secret is gone.
    async fn assert_rotated(&self, finished: &Finished, others: &[&str]) {
        assert!(!finished.rolled_back);
        let document = self.store.published().await.unwrap().unwrap();
        assert_eq!(document.list.len(), 1);
        let new = document.list.preferred();
        assert_eq!(new.id(), &finished.new);
        self.server.until_settled("billing").await;
        assert!(self.server.accepts("billing", new.expose()));
        let left: Vec<_> = self.server.secrets("billing").into_iter().map(|(id, _)| id).collect();
        assert_eq!(left.len(), 1 + others.len(), "{left:?}");
        assert!(others.iter().all(|id| left.iter().any(|one| one == id)), "{left:?}");
        assert!(!left.contains(&self.old), "{left:?}");
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotation_passes_through_every_state_and_nothing_but_the_old_secret_goes() {
    let world = World::new().await;
    // Others of the same application, and one of a rotation of another store.
    let foreign = world.server.add_secret("billing", "somebody-elses-secret-012345");
    world.server.until_settled("billing").await;
    let program = world.program().await;
    let finished = world.rotator().run(policy()).await.unwrap();
    assert_eq!(program.stop().await, 0, "a fallback was needed");
    assert_eq!(course(&finished), path().filter(|state| *state != State::Done).collect::<Vec<_>>());
    world.assert_rotated(&finished, &[&foreign]).await;
    assert_eq!(world.server.counts().changes, 2, "added, removed");
}

#[tokio::test]
async fn when_each_secret_was_last_used_is_told_where_microsoft_tells_it() {
    let world = World::new().await;
    let foreign = world.server.add_secret("billing", "somebody-elses-secret-012345");
    world.server.until_settled("billing").await;
    let auditor = world.builder_for("billing", ("auditor", MANAGEMENT)).build().unwrap();
    let look = async || {
        let found = auditor.look().await;
        (found[0].level(), found[0].text().to_owned())
    };
    let (_, text) = look().await;
    assert!(text.contains(&format!("key id {}: not in the report", world.old)), "{text}");
    assert_eq!(auditor.probe(&secret("somebody-elses-secret-012345")).await, Probe::Accepted);
    let (level, text) = look().await;
    let (used, unused) = text.split_once("; ").unwrap();
    assert!(used.contains(&format!("key id {foreign}: 20")), "{text}");
    assert_eq!(unused, format!("key id {}: not in the report", world.old));
    assert_eq!(level, Level::Ok);

    let broken = Fault::Html { endpoint: Endpoint::ReadLog, status: 404 };
    world.server.inject(broken, Times::ONCE);
    let (level, text) = look().await;
    assert_eq!(level, Level::Warning);
    assert!(text.contains("could not be looked at") && text.contains("404"), "{text}");

    let without = world.builder().build().unwrap().look().await;
    assert_eq!(without[0].level(), Level::Ok);
    let text = without[0].text();
    assert!(text.contains("AuditLog.Read.All") && text.contains("API permissions"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_the_new_secret_ends_by_itself_is_in_the_journal() {
    let world = World::new().await;
    let program = world.program().await;
    let days = |days: u64| Duration::from_secs(days * 86_400);
    for lifetime in [None, Some(days(30))] {
        let builder = world.builder();
        let builder = match lifetime {
            Some(lifetime) => builder.lifetime(lifetime),
            None => builder,
        };
        let before = Timestamp::now();
        let finished = world.rotator_with(builder).run(policy()).await.unwrap();
        let expires = world.record().await.expires(&finished.new).unwrap();
        let valid = expires.since(before).as_secs();
        let wanted = lifetime.unwrap_or(days(180)).as_secs();
        assert!((wanted - 1..=wanted + 30).contains(&valid), "{valid} and {wanted}");
    }
    assert_eq!(program.stop().await, 0, "a fallback was needed");

    let long = world.builder().lifetime(days(2000));
    let error = world.rotator_with(long).run(policy()).await.unwrap_err();
    assert_eq!(authority_kind(&error), AuthorityErrorKind::Refused);
    let text = error.to_string();
    assert!(text.contains("2000 days") && text.contains("shorter lifetime"), "{text}");
    assert!(text.contains("CredentialInvalidLifetimeAsPerAppPolicy"), "{text}");
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
        world.assert_rotated(&finished, &[]).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotation_goes_back_from_where_it_was_dropped() {
    use State::*;
    each([Adding, Staged, Promoted], async |state| {
        let world = World::new().await;
        let program = world.program().await;
        Wanted::Run(policy()).dropped_at(world.rotator(), state).await;
        let finished = Wanted::Rollback.of(&world.rotator()).await;
        let finished = finished.unwrap_or_else(|error| panic!("{state}: {error}"));
        assert_eq!(program.stop().await, 0, "a fallback was needed after {state}");
        assert!(finished.rolled_back);
        world.server.until_settled("billing").await;
        assert_eq!(world.server.secrets("billing"), [(world.old.clone(), true)], "{state}");
        assert!(world.server.accepts("billing", OLD));
    })
    .await;
}

/// A value whose answer was lost is known to nobody: the entry is found by the display name, it is removed, and another
/// one is asked for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_answer_and_a_rate_limit_at_each_change_do_no_harm() {
    let changes = [(State::Adding, Endpoint::AddSecret), (State::Removing, Endpoint::RemoveSecret)];
    let cases = changes.into_iter().flat_map(|(state, endpoint)| {
        let retry_after = Some(Duration::from_secs(1));
        let faults = [
            Fault::AnswerLostAfterChange,
            Fault::AnswerLostBeforeChange,
            Fault::LateChange { after: Duration::from_millis(300) },
            Fault::ServerErrorAfterChange { status: 504 },
            Fault::Html { endpoint, status: 200 },
            Fault::RateLimited { endpoint, retry_after, reset_after: None },
        ];
        faults.map(|fault| (state, fault))
    });
    each(cases, async |(state, fault)| {
        let world = World::new().await;
        let foreign = world.server.add_secret("billing", "somebody-elses-secret-012345");
        world.server.until_settled("billing").await;
        let program = world.program().await;
        let going_wrong = injecting(&world.server, state, (&fault, Times::ONCE));
        let finished = world.rotator().on_progress(going_wrong).run(policy()).await;
        let finished = finished.unwrap_or_else(|error| panic!("{state}, {fault:?}: {error}"));
        assert_eq!(world.server.counts().faults, 1, "{state}, {fault:?}");
        assert_eq!(program.stop().await, 0, "a fallback was needed: {state}, {fault:?}");
        world.assert_rotated(&finished, &[&foreign]).await;
    })
    .await;
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
    world.assert_rotated(&finished, &[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn which_of_several_is_the_present_one_is_told_by_hint_by_name_or_by_the_last_rotation() {
    let world = World::new().await;
    // Begins with other characters, so its hint says that it is none of ours.
    let foreign = world.server.add_secret("billing", "somebody-elses-secret-012345");
    world.server.until_settled("billing").await;
    let program = world.program().await;
    let finished = world.rotator().run(policy()).await.unwrap();
    world.assert_rotated(&finished, &[&foreign]).await;

    // Whose hint is that of the present one is told by what the last rotation wrote down.
    let present = world.store.published().await.unwrap().unwrap().list.preferred().clone();
    let alike: String = present.expose().chars().take(3).collect();
    let alike = world.server.add_secret("billing", &format!("{alike}-somebody-elses"));
    world.server.until_settled("billing").await;
    let finished = world.rotator().run(policy()).await.unwrap();
    assert_eq!(program.stop().await, 0, "a fallback was needed");
    world.assert_rotated(&finished, &[&foreign, &alike]).await;

    // A store that knows nothing of it goes by the display name.
    let present = world.store.published().await.unwrap().unwrap().list;
    let directory = tempfile::tempdir().unwrap();
    let other = FileStore::create(directory.path().join("store"), "billing").unwrap();
    other.import(&present).await.unwrap();
    let entra = world.builder().build().unwrap();
    let rotator = Rotator::new(entra, other).patience(Duration::ZERO);
    let waits = rotator.run(policy()).await.unwrap_err();
    assert!(matches!(waits.kind(), RotateErrorKind::Waiting(_)), "{waits}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_nothing_tells_which_one_is_the_present_one_nothing_is_begun() {
    let world = World::new().await;
    let alike = world.server.add_secret("billing", "old-but-somebody-elses-0123");
    world.server.until_settled("billing").await;
    let error = world.rotator().run(policy()).await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains("cannot be told") && text.contains(&alike), "{text}");
    assert!(text.contains(&world.old) && text.contains("nothing was changed"), "{text}");
    assert!(world.store.journal().await.unwrap().is_none());
    assert_eq!(world.server.counts().changes, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_application_with_personal_accounts_has_two_places_and_a_person_can_make_room() {
    let world = World::with(Client::takes_personal_accounts).await;
    let foreign = world.server.add_secret("billing", "somebody-elses-secret-012345");
    world.server.until_settled("billing").await;
    let program = world.program().await;
    let error = world.rotator().run(policy()).await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains("no room") && text.contains(&foreign), "{text}");
    assert!(!text.contains(&world.old) && text.contains("--remove"), "{text}");
    assert_eq!(world.server.counts().changes, 0);

    let rotator = world.rotator().removing_first(SlotId::new(&foreign)).reason("nobody uses it");
    let finished = rotator.run(policy()).await.unwrap();
    assert_eq!(program.stop().await, 0, "a fallback was needed");
    world.assert_rotated(&finished, &[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_secret_that_a_person_removes_in_mid_rotation_stops_it() {
    let world = World::new().await;
    let program = world.program().await;
    Wanted::Run(policy()).dropped_at(world.rotator(), State::Promoted).await;
    let mut new = world.server.secrets("billing").into_iter().map(|(id, _)| id);
    let new = new.rfind(|id| *id != world.old).unwrap();
    world.server.remove_secret("billing", &new);
    let error = Wanted::Resume.of(&world.rotator()).await.unwrap_err();
    assert!(matches!(error.kind(), RotateErrorKind::Stuck(StuckReason::SecretGone)), "{error}");
    let finished = Wanted::Rollback.of(&world.rotator()).await.unwrap();
    assert!(finished.rolled_back);
    program.stop().await;
    assert_eq!(world.server.secrets("billing"), [(world.old.clone(), true)]);
}

fn authority_kind(error: &RotateError) -> AuthorityErrorKind {
    answers::authority_kind(error, &[OLD, MANAGEMENT])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_is_named_before_anything_is_changed() {
    use AuthorityErrorKind::*;
    let world = World::new().await;
    let url: url::Url = world.server.url().parse().unwrap();
    let rotator = ("rotator", MANAGEMENT);
    let other_tenant = Entra::builder("fabrikam.onmicrosoft.com", "billing")
        .management("rotator", SecretRing::new(SecretList::new([secret(MANAGEMENT)]).unwrap()))
        .login_url(url.clone())
        .graph_url(url.clone());
    let cases = [
        (other_tenant, Credentials, "tenant is the right one"),
        (world.builder_for("billing", ("rotator", "wrong")), Credentials, "Certificates & secrets"),
        (world.builder_for("billing", ("nobody", MANAGEMENT)), Credentials, "knows the management"),
        (world.builder_for("billing", ("reader", MANAGEMENT)), Permissions, OWNED),
        (world.builder_for("nobody", rotator), NoSuchClient, "App registrations"),
        (world.builder().application("object-2"), NoSuchClient, "object id"),
        (world.builder_for("reader", rotator).application("object-1"), Configuration, "another"),
        (world.builder_for("managed", rotator), UnsupportedClient, "managed identity"),
        (world.builder_for("with-key", rotator), UnsupportedClient, "a certificate"),
        (world.builder().scope("api://nothing/.default"), Unexpected, "invalid_resource"),
    ];
    for (builder, kind, says) in cases {
        let error = world.rotator_with(builder).run(policy()).await.unwrap_err();
        let text = error.to_string();
        assert_eq!(authority_kind(&error), kind, "{text}");
        assert!(text.contains(says), "{text}");
        assert!(world.store.journal().await.unwrap().is_none(), "nothing was begun: {text}");
    }
    assert_eq!(world.server.counts().changes, 0);

    let entra = world.builder().build().unwrap();
    entra.check().await.unwrap();
    world.server.revoke_tokens();
    entra.check().await.expect("a token that is refused is renewed");
}

fn listed(listed: Listed) -> Vec<(String, Option<SecretId>, bool)> {
    answers::listed(listed, |slot| slot.made_for.clone())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_request_to_the_authority_does_one_thing_and_names_the_application_by_either_id() {
    let world = World::new().await;
    for builder in [world.builder(), world.builder().application("object-1")] {
        let entra = builder.build().unwrap();
        let id: SecretId = "chosen".parse().unwrap();
        let added = entra.add_secret(&NewSecret::Awaited(id.clone())).await;
        let AddAnswer::Added(slot, value) = added else { panic!("{added:?}") };
        assert_eq!((value.id(), value.expose().len()), (&id, 40));
        world.server.until_settled("billing").await;
        assert!(world.server.accepts("billing", value.expose()));
        let expected = (slot.as_str().to_owned(), Some(id), true);
        assert_eq!(listed(entra.slots(&[]).await), [(world.old.clone(), None, true), expected]);
        for _ in 0..2 {
            let answer = entra.remove_secret(&slot).await;
            assert!(matches!(answer, ChangeAnswer::Applied), "{answer:?}");
        }
        world.server.until_settled("billing").await;
        assert!(!world.server.accepts_anywhere("billing", value.expose()));
        let own = entra.add_secret(&value.into()).await;
        assert!(matches!(own, AddAnswer::Refused(_)), "{own:?}");
        let off = entra.set_active(&slot, false).await;
        assert!(matches!(off, ChangeAnswer::Refused(_)), "{off:?}");
    }
    let entra = world.builder().build().unwrap();
    let retry_after = Some(Duration::from_secs(7));
    let endpoint = Endpoint::Management;
    let limited = Fault::RateLimited { endpoint, retry_after, reset_after: None };
    world.server.inject(limited, Times::ONCE);
    let answer = entra.remove_secret(&SlotId::new("any")).await;
    let ChangeAnswer::RetryAfter(time) = answer else { panic!("{answer:?}") };
    assert_eq!(time.as_secs(), 7);
}
