//! A plan says what a rotation then does: the requests that it describes are the ones that are sent, at every kind of
//! server, and the states that it names are the ones that are gone through. It changes nothing itself.

#[path = "common/course.rs"]
mod course;
#[path = "common/reported.rs"]
mod reported;

use std::path::Path;
use std::time::Duration;

use course::course;
use keyswap_admin::authority::{RegistrationToken, Request};
use keyswap_admin::rotation::{Act, Wait, WayBack};
use keyswap_admin::{
    Application, Auth0, Authority, Entra, Exec, Exposure, Fingerprint, Finished, FusionAuth,
    Ground, Hydra, Keycloak, Okta, Outline, Registration, RotateErrorKind, RotationPolicy, Rotator,
    State, Zitadel, hold,
};
use keyswap_core::{FallbackPolicy, Secret, SecretList, SecretRing};
use keyswap_store::{FileStore, SecretStore, join};
use keyswap_testkit::{AtUpdate, AuthorizationServer, Builder, Client, Exchange, Provider};
use serde_json::Value;
use tempfile::TempDir;
use tokio::task::JoinHandle;

const OLD: &str = "old-secret-of-billing-0123456789";
const MANAGEMENT: &str = "secret-of-the-rotator-0123456789";
const WINDOW: Duration = Duration::from_millis(100);

struct World {
    server: AuthorizationServer,
    store: FileStore,
    client: &'static str,
    directory: TempDir,
    members: Vec<JoinHandle<()>>,
}

impl Drop for World {
    fn drop(&mut self) {
        self.members.iter().for_each(JoinHandle::abort);
    }
}

impl World {
    async fn of(client: &'static str, server: Builder) -> Self {
        let server = server.propagation_window(WINDOW).record_exchanges().start().await.unwrap();
        let directory = tempfile::tempdir().unwrap();
        let store = FileStore::create(directory.path().join("store"), client).unwrap();
        store.import(&SecretList::new([secret("old", OLD)]).unwrap()).await.unwrap();
        let mut world = Self { server, store, client, directory, members: Vec::new() };
        world.instance().await;
        world
    }

    async fn auth0() -> Self {
        let rotator = Client::management("rotator", MANAGEMENT);
        let billing = Client::new("billing", OLD).grant("https://api.example/");
        Self::of(
            "billing",
            AuthorizationServer::builder().client(billing).management_client(rotator),
        )
        .await
    }

    /// An instance that reports and never signs in.
    async fn instance(&mut self) {
        let policy = FallbackPolicy::default().propagation_window(WINDOW);
        let (_, member) = join(self.store.clone(), "billing-app", policy).await.unwrap();
        self.members.push(tokio::spawn(member));
        reported::all_have_reported(&self.store).await;
    }

    fn url(&self) -> url::Url {
        self.server.url().parse().unwrap()
    }

    fn tenant(&self) -> Auth0 {
        Auth0::builder(self.url(), "billing")
            .management("rotator", ring())
            .audience("https://api.example/")
            .propagation_window(WINDOW)
            .build()
            .unwrap()
    }

    fn rotator<A: Authority>(&self, authority: A) -> Rotator<A, FileStore> {
        Rotator::new(authority, self.store.clone()).patience(Duration::from_secs(20))
    }

    /// The requests that asked for a change; not those by which Hydra is asked whether it has a call, about a client
    /// that there cannot be.
    fn writes(&self) -> u64 {
        let nobody = |one: &&Exchange| {
            let answer =
                one.answer.as_ref().map(|answer| answer.body().as_ref()).unwrap_or_default();
            // Without the call it is a request like any that is not known.
            let has_the_call = String::from_utf8_lossy(answer).contains("Unable to locate");
            has_the_call && one.request.uri().path().contains("asks-for-nobody")
        };
        let asked = self.server.exchanges().iter().filter(nobody).count() as u64;
        self.server.counts().management_writes - asked
    }

    /// A request as it came to the server, with the secrets as a plan names them.
    fn seen(&self, Exchange { request, .. }: &Exchange, new: &Secret) -> Request {
        let target = request.uri().path_and_query().unwrap().as_str();
        let to = format!("{}{target}", self.server.url().trim_end_matches('/'));
        let seen = Request::new(request.method().as_str(), to);
        match std::str::from_utf8(request.body()).unwrap() {
            "" => seen,
            body => {
                let encoded: String =
                    url::form_urlencoded::byte_serialize(new.expose().as_bytes()).collect();
                let body = body.replace(OLD, "PRESENT-SECRET").replace(new.expose(), "NEW-SECRET");
                let body = body.replace(&encoded, "NEW-SECRET");
                seen.body(body.replace(new.id().as_str(), "NEW"))
            }
        }
    }
}

fn secret(id: &str, value: &str) -> Secret {
    Secret::new(id.parse().unwrap(), value).unwrap()
}

fn ring() -> SecretRing {
    SecretRing::new(SecretList::new([secret("m", MANAGEMENT)]).unwrap())
}

fn policy() -> RotationPolicy {
    // Long enough that an instance attests it twice before it is published anew.
    RotationPolicy::new([Application::new("billing-app")])
        .quiet_period(4 * WINDOW)
        .poll_every(Duration::from_millis(20))
}

/// Equal but for when a secret ends, which is some time after the request, and for what a plan does not show of what
/// it has to repeat.
fn alike(request: &Request) -> Request {
    let mut alike = request.clone();
    let body = request.body.as_deref().and_then(|body| serde_json::from_str::<Value>(body).ok());
    if let Some(mut body) = body {
        if let Some(credential) = body.get_mut("passwordCredential") {
            credential["endDateTime"].take();
        }
        if body["client_secret"] == "REDACTED" {
            body["client_secret"] = "PRESENT-SECRET".into();
        }
        alike.body = Some(body.to_string());
    }
    alike
}

fn changes(act: &Act) -> bool {
    matches!(act, Act::Set(_) | Act::Add | Act::Regenerate | Act::SetActive(..) | Act::Remove(..))
}

/// Plans, rotates, and compares the two.
async fn is_as_planned<A: Authority>(kind: &str, world: &World, rotator: Rotator<A, FileStore>) {
    let planned = rotator.plan(&policy()).await;
    let outline = planned.outline.unwrap_or_else(|| panic!("{kind}: {:?}", planned.findings));
    assert_eq!(world.writes(), 0, "{kind}: a plan changes nothing");
    assert_eq!(world.store.published().await.unwrap().unwrap().list.len(), 1);
    assert!(world.store.journal().await.unwrap().is_none());
    let shown = format!("{outline:?}");
    for hidden in [OLD, MANAGEMENT] {
        assert!(!shown.contains(hidden), "{kind}: {shown}");
    }

    let so_far = world.server.exchanges().len();
    let finished = rotator.as_planned(outline.fingerprint).run(policy()).await.unwrap();
    assert_eq!(states(&outline), gone_through(&finished), "{kind}");
    let published = world.store.published().await.unwrap().unwrap();
    let new = published.list.preferred();
    let sent: Vec<_> = world.server.exchanges().split_off(so_far);
    let sent: Vec<_> = sent.iter().map(|exchange| alike(&world.seen(exchange, new))).collect();
    let mut from = 0;
    let mut described = Vec::new();
    for (act, _, requests) in outline.steps.iter().flat_map(|step| &step.acts) {
        assert!(
            !requests.is_empty() || matches!(act, Act::Publish(_) | Act::Observe),
            "{kind}: {act:?}"
        );
        for request in requests.iter().map(alike) {
            let found = sent[from..].iter().position(|one| *one == request);
            let anywhere = sent.contains(&request);
            assert!(anywhere, "{kind}: {act:?}: {request} was not sent, but {sent:?}");
            if changes(act) {
                from += found.unwrap_or_else(|| panic!("{kind}: {request} was sent out of order"));
                described.extend((request.method != "GET").then_some(request));
            }
        }
    }
    // One that does not show in a list yet is made again.
    let as_described = sent.iter().filter(|one| described.contains(one)).count() as u64;
    assert_eq!(as_described, world.writes(), "{kind}: each change was described");
    assert!(!described.is_empty());
}

fn states(outline: &Outline) -> Vec<State> {
    assert_eq!(outline.stops, None);
    outline.steps.iter().map(|step| step.state).collect()
}

fn gone_through(finished: &Finished) -> Vec<State> {
    course(finished).into_iter().chain([State::Done]).collect()
}

fn server(provider: Provider) -> Builder {
    AuthorizationServer::builder().provider(provider).nodes(2)
}

async fn at_auth0() {
    let world = World::auth0().await;
    is_as_planned("auth0", &world, world.rotator(world.tenant())).await;
}

async fn at_okta() {
    let client = Client::new("billing", OLD).grant("default").scopes(["read"]);
    let client = client.authentication(keyswap_testkit::ClientAuthentication::SecretBasic);
    let world =
        World::of("billing", server(Provider::Okta).client(client).api_token(MANAGEMENT)).await;
    let okta = Okta::builder(world.url(), "billing")
        .api_token(secret("t", MANAGEMENT))
        .scope("read")
        .propagation_window(WINDOW);
    is_as_planned("okta", &world, world.rotator(okta.build().unwrap())).await;
}

async fn at_entra() {
    let rotator =
        Client::management("rotator", MANAGEMENT).scopes(["Application.ReadWrite.OwnedBy"]);
    let client = Client::new("billing", OLD).application("object-1").grant("api://orders");
    let world = World::of("billing", server(Provider::Entra).client(client).client(rotator)).await;
    let entra = Entra::builder("contoso.onmicrosoft.com", "billing")
        .management("rotator", ring())
        .login_url(world.url())
        .graph_url(world.url())
        .propagation_window(WINDOW);
    is_as_planned("entra", &world, world.rotator(entra.build().unwrap())).await;
}

async fn at_zitadel() {
    let client = Client::new("billing@shop", OLD)
        .application("app-1")
        .grant("project-1")
        .grant_types(["authorization_code", "refresh_token"])
        .authentication(keyswap_testkit::ClientAuthentication::SecretBasic);
    let server = server(Provider::Zitadel).client(client).api_token(MANAGEMENT);
    let world = World::of("billing@shop", server).await;
    let zitadel = Zitadel::builder(world.url(), world.client)
        .application("project-1", "app-1")
        .token(secret("t", MANAGEMENT))
        .propagation_window(WINDOW);
    let rotator = world.rotator(zitadel.build().unwrap()).accept_gap("a quiet night");
    is_as_planned("zitadel", &world, rotator).await;
}

async fn at_keycloak() {
    let rotator = Client::management("rotator", MANAGEMENT).scopes(["manage-clients"]);
    let client = Client::new("billing", OLD).application("id-of-billing");
    let world =
        World::of("billing", server(Provider::Keycloak).client(client).client(rotator)).await;
    let keycloak = Keycloak::builder(world.url(), "shop", "billing")
        .management("rotator", ring())
        .propagation_window(WINDOW);
    is_as_planned("keycloak", &world, world.rotator(keycloak.build().unwrap())).await;
}

async fn at_fusionauth() {
    let tenant = "30663132-6464-6665-3032-326466613934";
    let client = Client::new("billing", OLD)
        .application("app-1")
        .grant(tenant)
        .grant_types(["refresh_token"]);
    let server = server(Provider::FusionAuth).client(client).api_token(MANAGEMENT);
    let world = World::of("billing", server).await;
    let fusionauth = FusionAuth::builder(world.url(), "billing")
        .application("app-1")
        .tenant(tenant)
        .api_key(secret("k", MANAGEMENT))
        .propagation_window(WINDOW);
    is_as_planned("fusionauth", &world, world.rotator(fusionauth.build().unwrap())).await;
}

async fn at_hydra(kind: &str, provider: Provider) {
    let client = Client::new("billing", OLD).grant("any").scopes(["read"]);
    let basic = keyswap_testkit::ClientAuthentication::SecretBasic;
    let world = World::of("billing", server(provider).client(client.authentication(basic))).await;
    let hydra = Hydra::builder(world.url(), world.url(), "billing").scope("read");
    let hydra = hydra.propagation_window(WINDOW).build().unwrap();
    is_as_planned(kind, &world, world.rotator(hydra)).await;
}

async fn at_a_registration() {
    let basic = keyswap_testkit::ClientAuthentication::SecretBasic;
    let provider =
        Provider::Registration { at_update: AtUpdate::IssuesSecret, rotates_token: true };
    let client = Client::new("billing", OLD).authentication(basic);
    let world = World::of("billing", server(provider).client(client).api_token(MANAGEMENT)).await;
    let place = RegistrationToken::<FileStore>::place("billing");
    let store = FileStore::create(world.directory.path().join("store"), place).unwrap();
    let token = RegistrationToken::new(store);
    token.put(MANAGEMENT).await.unwrap();
    let uri = format!("{}/register/billing", world.server.url()).parse().unwrap();
    let endpoint = world.server.token_endpoint().parse().unwrap();
    let registration = Registration::builder(uri, endpoint, "billing", token);
    let registration = registration.propagation_window(WINDOW).build().unwrap();
    let rotator = world.rotator(registration).accept_gap("a quiet night");
    is_as_planned("registration", &world, rotator).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_plan_describes_is_what_a_rotation_sends_and_the_states_are_those_that_it_goes_through()
 {
    tokio::join!(at_auth0(), at_okta(), at_entra(), at_zitadel());
    tokio::join!(at_keycloak(), at_fusionauth(), at_a_registration());
    tokio::join!(
        at_hydra("hydra", Provider::Hydra),
        at_hydra("hydra with rotated secrets", Provider::HydraWithRotatedSecrets)
    );
}

/// What a program is asked is in its log.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_of_ones_own_is_asked_what_the_plan_shows_and_nothing_by_the_plan() {
    for kind in ["one-own", "one-generated", "two-own", "two-generated"] {
        let world = World::auth0().await;
        let directory = world.directory.path();
        for part in ["slots", "inactive"] {
            std::fs::create_dir(directory.join(part)).unwrap();
        }
        let first = if kind.starts_with("one") { "only" } else { "old.1" };
        std::fs::write(directory.join("slots").join(first), OLD).unwrap();
        let program = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/exec/server.sh");
        let arguments = [Path::new(program), directory, Path::new(kind)];
        let exec = Exec::builder("sh", "billing").arguments(arguments).describe().await.unwrap();
        let mut rotator = world.rotator(exec);
        if kind == "one-generated" {
            rotator = rotator.accept_gap("a quiet night");
        }
        let log = || std::fs::read_to_string(directory.join("log")).unwrap();
        let outline = rotator.plan(&policy()).await.outline.unwrap();
        let names = ["set_secret", "add_secret", "regenerate", "set_active", "remove_secret"];
        for change in names {
            assert!(!log().contains(change), "{kind}: {}", log());
        }
        let finished = rotator.run(policy()).await.unwrap();
        assert_eq!(states(&outline), gone_through(&finished), "{kind}");
        let all = outline.steps.iter().flat_map(|step| &step.acts);
        let mut changed = 0;
        for (_, _, requests) in all.filter(|(act, ..)| changes(act)) {
            let [request] = requests.as_slice() else { panic!("{kind}: {requests:?}") };
            assert_eq!((request.method.as_str(), request.to.as_str()), ("RUN", "sh"));
            let body: Value = serde_json::from_str(request.body.as_ref().unwrap()).unwrap();
            assert!(log().contains(body["request"].as_str().unwrap()), "{kind}: {body}");
            assert_eq!(body["client"], "billing");
            changed += 1;
        }
        assert!(changed > 0, "{kind}");
    }
}

#[tokio::test]
async fn a_plan_says_what_each_state_waits_for_and_the_way_back_from_it() {
    let world = World::auth0().await;
    let policy = policy().quiet_period(Duration::from_secs(3600));
    let policy = policy.propagation_window(Duration::from_secs(30));
    let outline = world.rotator(world.tenant()).plan(&policy).await.outline.unwrap();
    let step = |state| outline.steps.iter().find(|step| step.state == state).unwrap();
    assert_eq!(step(State::CutOver).waits, [Wait::PropagationWindow]);
    assert_eq!(step(State::Promoted).waits, [Wait::QuietPeriod]);
    assert!(step(State::Staged).waits.is_empty() && step(State::Drained).waits.is_empty());
    // Eight probes, a seventh of the window apart, and the looks at the instances.
    let about =
        |time: Duration, seconds: u64| (seconds..=seconds + seconds / 6).contains(&time.as_secs());
    for (lasts, seconds) in [
        (step(State::CutOver).lasts, 30),
        (step(State::Promoted).lasts, 3600),
        (outline.at_least, 3630),
    ] {
        assert!(about(lasts, seconds), "{lasts:?}");
    }
    assert_eq!(step(State::Adopted).way_back, WayBack::Withdraw);
    assert_eq!(step(State::CuttingOver).way_back, WayBack::SetBack);
    assert_eq!(step(State::Retired).way_back, WayBack::TooLate);
    // 20 s of patience end in a state that lasts an hour, and each resumption begins that hour anew.
    let promoted = |one: &Exposure| matches!(one, Exposure::Patience(State::Promoted, _));
    assert!(outline.exposures.iter().any(promoted), "{:?}", outline.exposures);
    let patient = world.rotator(world.tenant()).patience(Duration::from_secs(7200));
    let outline = patient.plan(&policy).await.outline.unwrap();
    assert_eq!(outline.exposures, []);
    // The three gates may take as long as the patience each.
    assert_eq!(outline.at_most.unwrap().as_secs() / 7200, 3, "{:?}", outline.at_most);
}

#[tokio::test]
async fn a_plan_names_who_is_missing_and_for_whom_a_person_speaks() {
    let world = World::auth0().await;
    let applications =
        [Application::new("billing-app").instances(3), Application::new("printer").manual()];
    let mut policy = policy();
    policy.applications = applications.into();
    let planned = world.rotator(world.tenant()).plan(&policy).await;
    let [billing, printer] = planned.applications.as_slice() else { panic!() };
    assert_eq!((billing.expected, billing.live.len(), printer.manual), (3, 1, true));
    let outline = planned.outline.unwrap();
    let missing: Vec<_> = outline.missing.iter().map(ToString::to_string).collect();
    assert!(missing.iter().any(|one| one.contains("1 of 3")), "{missing:?}");
    assert_eq!(outline.exposures, [Exposure::Manual("printer".into())]);
    let confirmed: Vec<_> = outline
        .steps
        .iter()
        .filter(|step| {
            step.acts.iter().any(|(act, ..)| *act == Act::Confirmation("printer".into()))
        })
        .map(|step| step.state)
        .collect();
    assert_eq!(confirmed, [State::Staged, State::Promoted]);
    assert_eq!(outline.at_most, None, "persons take as long as they like");
}

#[tokio::test]
async fn a_compromised_secret_has_a_worst_case_that_depends_on_nobody() {
    let world = World::auth0().await;
    let hurried = world.rotator(world.tenant()).compromised(Duration::from_secs(60));
    let outline = hurried.plan(&policy()).await.outline.unwrap();
    assert_eq!(outline.exposures, [Exposure::Deadline(Duration::from_secs(60))]);
    assert!(outline.at_least < Duration::from_secs(2), "{:?}", outline.at_least);
    let at_most = outline.at_most.unwrap();
    assert!((60..63).contains(&at_most.as_secs()), "{at_most:?}");
}

#[tokio::test]
async fn where_a_rotation_does_not_begin_a_plan_has_no_steps_and_finds_what_verify_finds() {
    let world = World::auth0().await;
    hold(&world.store, "ada", "release freeze", None).await.unwrap();
    let rotator = world.rotator(world.tenant());
    let planned = rotator.plan(&policy()).await;
    assert!(planned.outline.is_none());
    let texts = |findings: keyswap_admin::Findings| {
        findings.found.iter().map(|one| one.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(texts(planned.findings), texts(rotator.verify(&policy()).await));
}

/// What moved, as a rotation with the plan says.
async fn moved(world: &World, plan: Fingerprint, policy: RotationPolicy) -> (Vec<Ground>, String) {
    let before = world.server.counts().management_writes;
    let error = world.rotator(world.tenant()).as_planned(plan).run(policy).await.unwrap_err();
    assert_eq!(world.server.counts().management_writes, before);
    assert!(error.to_string().contains("Nothing was changed"), "{error}");
    let RotateErrorKind::PlanMoved(grounds) = error.kind() else { panic!("{error}") };
    (grounds.clone(), error.to_string())
}

#[tokio::test]
async fn a_rotation_by_a_plan_is_refused_if_anything_has_moved_that_it_rests_on_and_says_what() {
    let mut world = World::auth0().await;
    let plan = async |world: &World| {
        world.rotator(world.tenant()).plan(&policy()).await.outline.unwrap().fingerprint
    };
    let planned = plan(&world).await;
    assert_eq!(plan(&world).await, planned, "nothing has moved");

    let longer = policy().quiet_period(Duration::from_secs(5));
    assert_eq!(moved(&world, planned, longer).await.0, [Ground::Configuration]);

    world.instance().await;
    let (grounds, text) = moved(&world, planned, policy()).await;
    assert_eq!(grounds, [Ground::Programs]);
    assert!(text.contains("billing-app/") && text.contains("revision 1"), "{text}");

    // Another rotation in between moves the list, the journal, and what the programs hold.
    world.rotator(world.tenant()).run(policy()).await.unwrap();
    let (grounds, text) = moved(&world, planned, policy()).await;
    assert_eq!(grounds, [Ground::List, Ground::Journal, Ground::Programs]);
    assert!(text.contains("the published list (now revision"), "{text}");
    let planned = plan(&world).await;
    world.rotator(world.tenant()).as_planned(planned).run(policy()).await.unwrap();
}

#[tokio::test]
async fn a_secret_that_appeared_at_the_server_moves_a_plan() {
    let client = Client::new("billing", OLD).application("object-1").grant("api://orders");
    let rotator =
        Client::management("rotator", MANAGEMENT).scopes(["Application.ReadWrite.OwnedBy"]);
    let world = World::of("billing", server(Provider::Entra).client(client).client(rotator)).await;
    let entra = || {
        let entra = Entra::builder("contoso.onmicrosoft.com", "billing")
            .management("rotator", ring())
            .login_url(world.url())
            .graph_url(world.url())
            .propagation_window(WINDOW);
        world.rotator(entra.build().unwrap())
    };
    let planned = entra().plan(&policy()).await.outline.unwrap().fingerprint;
    let _ = world.server.add_secret("billing", "somebody-elses-secret-012345");
    world.server.until_settled("billing").await;
    let error = entra().as_planned(planned).run(policy()).await.unwrap_err();
    let RotateErrorKind::PlanMoved(grounds) = error.kind() else { panic!("{error}") };
    assert_eq!(*grounds, [Ground::Server]);
    assert!(error.to_string().contains("the client's secrets at the server (now "), "{error}");
}
