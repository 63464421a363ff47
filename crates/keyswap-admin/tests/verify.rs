//! A look at a client finds what would keep a rotation from beginning, in the very words that the rotation would end
//! with, and changes nothing, at the server or in the store.

#[path = "common/reported.rs"]
mod reported;

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use keyswap_admin::{
    Application, Auth0, Authority, ClientAuthentication, Finding, Findings, Level, Okta,
    RotateErrorKind, RotationPolicy, Rotator, Subject, Zitadel, hold, verify_server,
};
use keyswap_core::{FallbackPolicy, Secret, SecretList, SecretRing};
use keyswap_store::{FileStore, SecretStore};
use keyswap_testkit::{AuthorizationServer, Builder, Client, Endpoint, Fault, Provider, Times};
use tempfile::TempDir;

const OLD: &str = "old-secret-of-billing-0123456789";
const MANAGEMENT: &str = "secret-of-the-rotator-0123456789";

struct World {
    server: AuthorizationServer,
    store: FileStore,
    directory: TempDir,
}

impl World {
    async fn of(server: Builder) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = FileStore::create(directory.path().join("store"), "billing").unwrap();
        let world = Self { server: server.start().await.unwrap(), store, directory };
        world.import(&[OLD]).await;
        world
    }

    async fn import(&self, values: &[&str]) {
        let secrets = values.iter().map(|value| secret(value));
        self.store.import(&SecretList::new(secrets).unwrap()).await.unwrap();
    }

    async fn auth0() -> Self {
        Self::of(auth0(billing(), &Client::MANAGEMENT_SCOPES)).await
    }

    fn tenant(&self) -> keyswap_admin::authority::Auth0Builder {
        let secrets = SecretRing::new(SecretList::new([secret(MANAGEMENT)]).unwrap());
        Auth0::builder(self.server.url().parse().unwrap(), "billing")
            .management("rotator", secrets)
            .audience("https://api.example/")
    }

    fn okta(&self) -> Okta {
        Okta::builder(self.server.url().parse().unwrap(), "billing")
            .api_token(secret(MANAGEMENT))
            .scope("read")
            .build()
            .unwrap()
    }

    fn zitadel(&self) -> Zitadel {
        Zitadel::builder(self.server.url().parse().unwrap(), "billing")
            .application("project-1", "billing")
            .token(secret(MANAGEMENT))
            .build()
            .unwrap()
    }

    fn rotator<A: Authority>(&self, authority: A) -> Rotator<A, FileStore> {
        Rotator::new(authority, self.store.clone()).patience(Duration::from_millis(1))
    }

    /// An instance that reports and never signs in.
    async fn instance(&self, application: &str) {
        let joined =
            keyswap_store::join(self.store.clone(), application, FallbackPolicy::default());
        let (_, member) = joined.await.unwrap();
        tokio::spawn(member);
        reported::all_have_reported(&self.store).await;
    }

    /// Looks, and sees that nothing was changed by that.
    async fn look<A: Authority>(&self, rotator: &Rotator<A, FileStore>) -> Findings {
        self.look_with(rotator, &policy()).await
    }

    async fn look_with<A: Authority>(
        &self,
        rotator: &Rotator<A, FileStore>,
        policy: &RotationPolicy,
    ) -> Findings {
        let before = (contents(self.directory.path()), self.server.counts());
        let findings = rotator.verify(policy).await;
        let after = (contents(self.directory.path()), self.server.counts());
        assert_eq!(after.0, before.0, "the store is as it was");
        assert_eq!(after.1.management_writes, before.1.management_writes);
        assert_eq!(after.1.changes, before.1.changes);
        let shown = format!("{findings:?}");
        assert!(!shown.contains(OLD) && !shown.contains(MANAGEMENT), "{shown}");
        findings
    }

    /// What is found as errors is what keeps a rotation from beginning, and nothing else is.
    async fn agree<A: Authority>(
        &self,
        rotator: &Rotator<A, FileStore>,
        subject: Option<Subject>,
    ) -> Findings {
        self.agree_with(rotator, policy(), subject).await
    }

    async fn agree_with<A: Authority>(
        &self,
        rotator: &Rotator<A, FileStore>,
        policy: RotationPolicy,
        subject: Option<Subject>,
    ) -> Findings {
        let findings = self.look_with(rotator, &policy).await;
        let journal = self.store.journal().await.ok().flatten();
        let error = rotator.run(policy).await.unwrap_err();
        let begun = self.store.journal().await.ok().flatten() != journal;
        let errors: Vec<_> = findings.errors().collect();
        assert_eq!(begun, errors.is_empty(), "{error}: {findings:#?}");
        assert_eq!(begun, subject.is_none(), "{error}: {findings:#?}");
        if let Some(subject) = subject {
            let found = errors.iter().find(|one| one.text() == error.to_string());
            let found = found.unwrap_or_else(|| panic!("{error}: {findings:#?}"));
            assert_eq!(found.subject(), subject);
            assert!(found.error_kind().is_some());
        }
        findings
    }
}

/// Every file and directory below this, with what it holds. Instances write their own reports, so of these only that
/// they are there.
fn contents(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if directory.ends_with("instances") {
            if path.extension().is_some_and(|end| end == "json") {
                found.insert(path, Vec::new());
            }
            continue;
        }
        if path.is_dir() {
            found.extend(contents(&path));
        }
        found.insert(path.clone(), std::fs::read(path).unwrap_or_default());
    }
    found
}

fn secret(value: &str) -> Secret {
    Secret::new(value[..3].parse().unwrap(), value).unwrap()
}

fn billing() -> Client {
    Client::new("billing", OLD).grant("https://api.example/")
}

fn auth0(client: Client, scopes: &[&str]) -> Builder {
    let management = Client::management("rotator", MANAGEMENT);
    let management = management.scopes(scopes.iter().copied().map(str::to_owned));
    AuthorizationServer::builder().client(client).management_client(management)
}

fn okta(client: Client) -> Builder {
    let client = client.authentication(keyswap_testkit::ClientAuthentication::SecretBasic);
    AuthorizationServer::builder()
        .provider(Provider::Okta)
        .client(client.grant("default").scopes(["read"]))
        .api_token(MANAGEMENT)
}

fn policy() -> RotationPolicy {
    RotationPolicy::new([Application::new("invoices")])
        .propagation_window(Duration::from_millis(50))
        .poll_every(Duration::from_millis(5))
}

fn about(findings: &Findings, subject: Subject, level: Level) -> Vec<&Finding> {
    let is_one = |one: &&Finding| one.subject() == subject && one.level() == level;
    findings.found.iter().filter(is_one).collect()
}

#[track_caller]
fn says(findings: &Findings, (subject, level): (Subject, Level), text: &str) {
    let found = about(findings, subject, level);
    assert!(found.iter().any(|one| one.text().contains(text)), "{text:?}: {findings:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn where_all_is_as_it_should_be_each_part_is_named_and_a_rotation_begins() {
    let world = World::auth0().await;
    world.instance("invoices").await;
    let rotator = world.rotator(world.tenant().build().unwrap());
    // The instance has reported when it is there.
    let findings = world.agree(&rotator, None).await;
    assert_eq!(findings.worst(), Level::Ok, "{findings:#?}");
    assert!(findings.not_looked_at.is_empty());
    for (subject, text) in [
        (Subject::Store, "holds revision 1: [old]"),
        (Subject::History, "0 records"),
        (Subject::Server, "auth0 answers, and takes the management credentials"),
        (Subject::Permissions, "may read and change"),
        (Subject::Client, "authenticates with a secret"),
        (Subject::Value, "as auth0 takes it: any"),
        (Subject::Secret, "auth0 accepts the published secret old"),
        (Subject::Applications, "or more (1)"),
        (Subject::Rotation, "none is under way"),
    ] {
        says(&findings, (subject, Level::Ok), text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_store_or_a_person_has_against_a_rotation_is_found_and_the_server_is_looked_at_all_the_same()
 {
    let world = World::auth0().await;
    let rotator = world.rotator(world.tenant().build().unwrap());
    let undeclared = RotationPolicy::new([]);
    world.agree_with(&rotator, undeclared, Some(Subject::Configuration)).await;

    hold(&world.store, "ada", "release freeze", None).await.unwrap();
    let held = world.agree(&rotator, Some(Subject::Rotation)).await;
    says(&held, (Subject::Rotation, Level::Error), "release freeze");
    says(&held, (Subject::Secret, Level::Ok), "accepts the published secret");
    world.store.set_hold(None).await.unwrap();

    // It waits for an instance.
    world.agree(&rotator, None).await;
    let under_way = world.agree(&rotator, Some(Subject::Rotation)).await;
    says(&under_way, (Subject::Rotation, Level::Error), "state staged");
    says(&under_way, (Subject::Client, Level::Ok), "it is there");
    assert_eq!(under_way.not_looked_at, [Subject::Secret]);
    assert_eq!(under_way.errors().count(), 1, "two secrets are published for a reason");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_without_one_secret_for_the_client_is_found() {
    let directory = tempfile::tempdir().unwrap();
    let store = FileStore::create(directory.path().join("store"), "billing").unwrap();
    let server = auth0(billing(), &Client::MANAGEMENT_SCOPES).start().await.unwrap();
    let world = World { server, store, directory };
    let rotator = world.rotator(world.tenant().build().unwrap());
    let empty = world.agree(&rotator, Some(Subject::Store)).await;
    says(&empty, (Subject::Store, Level::Error), "import the present one first");
    says(&empty, (Subject::Server, Level::Ok), "answers");
    world.import(&[OLD, MANAGEMENT]).await;
    let two = world.agree(&rotator, Some(Subject::Store)).await;
    says(&two, (Subject::Store, Level::Error), "holds 2 secrets");

    let journal = world.directory.path().join("store/billing/rotation.json");
    std::fs::write(&journal, "{").unwrap();
    let open = world.agree(&rotator, Some(Subject::Store)).await;
    says(&open, (Subject::Store, Level::Error), "chmod 600");
    std::fs::set_permissions(&journal, std::fs::Permissions::from_mode(0o600)).unwrap();
    let damaged = world.look(&rotator).await;
    assert!(matches!(
        damaged.errors().next().unwrap().error_kind(),
        Some(RotateErrorKind::JournalUnreadable)
    ));
    says(&damaged, (Subject::Server, Level::Ok), "answers");
    assert_eq!(damaged.not_looked_at, [Subject::Secret, Subject::Applications]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_server_has_against_it_is_found_and_what_comes_before_that_is_said_to_be_right() {
    let scopes = ["read:clients", "read:client_keys"];
    let world = World::of(auth0(billing(), &scopes)).await;
    let rotator = world.rotator(world.tenant().build().unwrap());
    let scope = world.agree(&rotator, Some(Subject::Permissions)).await;
    says(&scope, (Subject::Permissions, Level::Error), "update:client_keys");
    says(
        &scope,
        (Subject::Permissions, Level::Error),
        "Applications > APIs > Auth0 Management API",
    );
    says(&scope, (Subject::Server, Level::Ok), "takes the management credentials");
    assert_eq!(scope.not_looked_at, [Subject::Secret]);

    let world = World::auth0().await;
    let wrong = SecretRing::new(SecretList::new([secret(OLD)]).unwrap());
    let wrong = world.tenant().management("rotator", wrong).build().unwrap();
    let credentials = world.agree(&world.rotator(wrong), Some(Subject::Credentials)).await;
    says(&credentials, (Subject::Server, Level::Ok), "auth0 answers");
    says(&credentials, (Subject::Applications, Level::Warning), "0 of 1 expected instances");

    let basic = world.tenant().authentication(ClientAuthentication::Basic).build().unwrap();
    let method = world.agree(&world.rotator(basic), Some(Subject::Client)).await;
    says(&method, (Subject::Client, Level::Error), "registered for client_secret_post");

    let secrets = SecretRing::new(SecretList::new([secret(MANAGEMENT)]).unwrap());
    let url = world.server.url().parse().unwrap();
    let other = Auth0::builder(url, "nobody").management("rotator", secrets).build().unwrap();
    let client = world.agree(&world.rotator(other), Some(Subject::Client)).await;
    says(&client, (Subject::Client, Level::Error), "has no client nobody");
    says(&client, (Subject::Server, Level::Ok), "takes the management credentials");

    let every = Times::EVERY;
    world.server.inject(Fault::Html { endpoint: Endpoint::Management, status: 200 }, every);
    let rotator = world.rotator(world.tenant().build().unwrap());
    world.agree(&rotator, Some(Subject::Server)).await;
    world.server.clear_faults();

    world.server.set_secret("billing", "set-by-somebody-else-0123456789");
    let drifted = world.agree(&rotator, Some(Subject::Secret)).await;
    says(&drifted, (Subject::Secret, Level::Error), "holds another secret than old");

    world.server.shutdown().await;
    let away = world.agree(&rotator, Some(Subject::Server)).await;
    assert!(about(&away, Subject::Server, Level::Ok).is_empty());
    let alone = verify_server(&world.tenant().build().unwrap()).await;
    assert_eq!(alone.errors().next().unwrap().subject(), Subject::Server);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_has_no_secret_to_rotate_is_found() {
    let client = billing().authentication(keyswap_testkit::ClientAuthentication::PrivateKeyJwt);
    let world = World::of(auth0(client, &Client::MANAGEMENT_SCOPES)).await;
    let rotator = world.rotator(world.tenant().build().unwrap());
    let findings = world.agree(&rotator, Some(Subject::Client)).await;
    says(&findings, (Subject::Client, Level::Error), "authenticates with private_key_jwt");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_places_of_a_server_with_several_secrets_and_what_is_in_them_are_named() {
    let world = World::of(okta(Client::new("billing", OLD))).await;
    let rotator = world.rotator(world.okta());
    let findings = world.look(&rotator).await;
    let (present, _) = world.server.secrets("billing").remove(0);
    let free = format!("1 of 2 are taken: {present} holds the published secret; there is room");
    says(&findings, (Subject::Slots, Level::Ok), &free);
    says(&findings, (Subject::Value, Level::Ok), "okta takes it: 14 to 100 characters");
    assert_eq!(findings.errors().count(), 0);

    let other = world.server.add_secret("billing", "somebody-elses-secret-012345");
    let full = world.agree(&rotator, Some(Subject::Slots)).await;
    says(
        &full,
        (Subject::Slots, Level::Error),
        &format!("{other} (nobody here knows its value; active)"),
    );
    says(&full, (Subject::Secret, Level::Ok), "accepts");
    world.server.deactivate_secret("billing", &present);
    let inactive = world.agree(&rotator, Some(Subject::Secret)).await;
    assert_eq!(inactive.not_looked_at, [Subject::Slots]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gap_is_a_warning_with_the_error_that_a_rotation_without_a_persons_word_ends_with() {
    let client = Client::new("billing", OLD)
        .authentication(keyswap_testkit::ClientAuthentication::SecretBasic)
        .grant("project-1")
        .grant_types(["authorization_code"]);
    let server = AuthorizationServer::builder().provider(Provider::Zitadel).client(client);
    let world = World::of(server.api_token(MANAGEMENT)).await;
    let findings = world.look(&world.rotator(world.zitadel())).await;
    let gap = about(&findings, Subject::Rotation, Level::Warning);
    assert!(matches!(gap[0].error_kind(), Some(RotateErrorKind::GapNotAccepted)), "{findings:#?}");
    assert_eq!(findings.errors().count(), 0, "{findings:#?}");
    let accepting = world.rotator(world.zitadel()).accept_gap("a quiet night");
    let findings = world.agree(&accepting, None).await;
    assert!(about(&findings, Subject::Rotation, Level::Warning).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retired_secret_that_the_server_holds_is_an_error_since_programs_cannot_sign_in() {
    let world = World::auth0().await;
    world.instance("invoices").await;
    let rotator = Rotator::new(world.tenant().build().unwrap(), world.store.clone());
    let quick = policy().quiet_period(Duration::from_millis(50));
    rotator.run(quick).await.unwrap();
    world.server.set_secret("billing", OLD);
    world.server.until_settled("billing").await;
    let findings = world.look(&rotator).await;
    says(
        &findings,
        (Subject::Secret, Level::Error),
        "holds old, which an earlier rotation retired",
    );
    assert_eq!(findings.errors().count(), 1, "{findings:#?}");
}
