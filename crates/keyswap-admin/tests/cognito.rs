//! Whole rotations at a server whose list shows neither value nor text: an embedded Amazon Cognito that misbehaves on
//! demand and checks each signature, while a program signs in.

#[path = "common/answers.rs"]
mod answers;
mod common;
#[path = "common/dropped.rs"]
mod dropped;

use std::time::Duration;

use common::Program;
use dropped::{Wanted, each, injecting};
use keyswap_admin::authority::{
    AddAnswer, Authority, ChangeAnswer, CognitoBuilder, Listed, NewSecret, SlotId,
};
use keyswap_admin::rotation::StuckReason;
use keyswap_admin::{
    Application, AuthorityErrorKind, Cognito, Finished, Level, RotateError, RotateErrorKind,
    RotationPolicy, Rotator, State,
};
use keyswap_core::{Secret, SecretId, SecretList};
use keyswap_store::{FileStore, SecretStore};
use keyswap_testkit::ClientAuthentication as Registered;
use keyswap_testkit::{AuthorizationServer, Client, Endpoint, Fault, Provider, Times};
use keyswap_tower::{ClientSecretPost, Profile};
use tempfile::TempDir;

const OLD: &str = "oldsecretofbilling0123456789";
const KEY: &str = "key/of+the/rotator0123456789";
const LOOKS: &str = "DescribeUserPoolClient,ListUserPoolClientSecrets";
const ROTATOR: (&str, &str) = ("AKIDROTATOR", KEY);
const POOL: &str = "eu-west-1_keyswap";
const WINDOW: Duration = Duration::from_millis(200);

struct World {
    server: AuthorizationServer,
    store: FileStore,
    /// The id of the present secret.
    old: String,
    _directory: TempDir,
}

impl World {
    async fn new() -> Self {
        Self::of("billing").await
    }

    /// With the secret of this app client in the store.
    async fn of(of: &str) -> Self {
        let client = Client::new("billing", OLD).grant("orders").scopes(["orders/read"]);
        let server = AuthorizationServer::builder()
            .provider(Provider::Cognito)
            .nodes(3)
            .propagation_window(WINDOW)
            .client(client)
            .client(Client::new("public", OLD).authentication(Registered::None))
            .client(Client::new("shop", OLD).grant_types(["authorization_code", "refresh_token"]))
            .client(Client::new("hashing", OLD).grant_types([""; 0]))
            .api_token(format!("AKIDROTATOR:{KEY}"))
            .api_token(format!("ASIATEMPORARY:{KEY}"))
            .api_token(format!("AKIDWITHOUTLIST:{KEY}:DescribeUserPoolClient"))
            .api_token(format!("AKIDWITHOUTDELETE:{KEY}:{LOOKS},AddUserPoolClientSecret"))
            .read_only_api_token(format!("AKIDREADER:{KEY}"))
            .start()
            .await
            .unwrap();
        let directory = tempfile::tempdir().unwrap();
        let store = FileStore::create(directory.path().join("store"), of).unwrap();
        let old = Secret::new("old".parse().unwrap(), OLD).unwrap();
        store.import(&SecretList::new([old]).unwrap()).await.unwrap();
        let (old, _) = server.secrets(of).remove(0);
        Self { server, store, old, _directory: directory }
    }

    fn builder_with(&self, pool: &str, client: &str, key: (&str, &str)) -> CognitoBuilder {
        let url: url::Url = self.server.url().parse().unwrap();
        Cognito::builder(pool, client, url.clone())
            .access_key(key.0, secret(key.1))
            .endpoint(url)
            .scope("orders/read")
            .propagation_window(WINDOW)
    }

    fn builder(&self) -> CognitoBuilder {
        self.builder_with(POOL, "billing", ROTATOR)
    }

    fn rotator(&self) -> Rotator<Cognito, FileStore> {
        self.rotator_with(self.builder())
    }

    fn rotator_with(&self, builder: CognitoBuilder) -> Rotator<Cognito, FileStore> {
        let authority = builder.build().unwrap();
        Rotator::new(authority, self.store.clone()).patience(Duration::from_secs(20))
    }

    async fn program(&self) -> Program {
        let credential = (ClientSecretPost::new("billing"), Profile::Cognito);
        let body = "grant_type=client_credentials&scope=orders%2Fread".to_owned();
        Program::start(&self.store, credential, self.server.token_endpoint(), body, WINDOW).await
    }

    async fn assert_rotated(&self, finished: &Finished) {
        let client = self.store.client();
        assert!(!finished.rolled_back);
        let document = self.store.published().await.unwrap().unwrap();
        assert_eq!(document.list.len(), 1);
        let new = document.list.preferred();
        assert_eq!(new.id(), &finished.new);
        self.server.until_settled(client).await;
        assert!(self.server.accepts(client, new.expose()));
        assert_eq!(self.server.accepted_secrets(client), 1);
        let secrets = self.server.secrets(client);
        assert!(secrets.len() == 1 && secrets[0].0 != self.old, "{secrets:?}");
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
async fn three_rotations_follow_each_other_and_cognito_may_choose_the_value() {
    let world = World::new().await;
    let program = world.program().await;
    for server_chooses in [false, true, false] {
        let builder = world.builder().server_chooses(server_chooses);
        let finished = world.rotator_with(builder).run(policy()).await.unwrap();
        world.assert_rotated(&finished).await;
        let entered: Vec<_> = finished.states.iter().map(|(state, _)| *state).collect();
        assert!(!entered.contains(&State::Deactivating), "{entered:?}");
    }
    program.stop().await;
    assert_eq!(world.server.counts().changes, 6, "each added, and each removed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotation_that_was_dropped_is_resumed_or_goes_back() {
    use State::*;
    let cases = [Adding, Added, Adopted, Promoted, Removing]
        .map(|state| (state, Wanted::Resume))
        .into_iter()
        .chain([Adding, Staged, Drained].map(|state| (state, Wanted::Rollback)));
    each(cases, async |(state, wanted)| {
        let world = World::new().await;
        let program = world.program().await;
        Wanted::Run(policy()).dropped_at(world.rotator(), state).await;
        let finished = wanted.of(&world.rotator()).await;
        let finished = finished.unwrap_or_else(|error| panic!("{state}, {wanted:?}: {error}"));
        program.stop().await;
        if finished.rolled_back {
            world.server.until_settled("billing").await;
            assert_eq!(world.server.secrets("billing"), [(world.old.clone(), true)], "{state}");
        } else {
            world.assert_rotated(&finished).await;
        }
    })
    .await;
}

/// The value is ours, so a token request tells whether what the list shows now is the new secret.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_answer_and_a_rate_limit_at_each_change_do_no_harm() {
    let changes = [(State::Adding, Endpoint::AddSecret), (State::Removing, Endpoint::RemoveSecret)];
    let cases = changes.into_iter().flat_map(|(state, endpoint)| {
        let faults = [
            Fault::AnswerLostAfterChange,
            Fault::AnswerLostBeforeChange,
            Fault::LateChange { after: Duration::from_millis(300) },
            Fault::ServerErrorAfterChange { status: 500 },
            Fault::Html { endpoint, status: 200 },
        ];
        faults.map(|fault| (state, fault))
    });
    let limited =
        Fault::RateLimited { endpoint: Endpoint::AddSecret, retry_after: None, reset_after: None };
    each(cases.chain([(State::Adding, limited)]), async |(state, fault)| {
        let world = World::new().await;
        let program = world.program().await;
        let gone = injecting(&world.server, state, (&fault, Times::ONCE));
        let rotator = world.rotator().on_progress(gone);
        let finished = rotator.run(policy()).await;
        let finished = finished.unwrap_or_else(|error| panic!("{state}, {fault:?}: {error}"));
        assert_eq!(world.server.counts().faults, 1, "{state}, {fault:?}");
        program.stop().await;
        world.assert_rotated(&finished).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_value_that_cognito_chose_and_nobody_heard_of_waits_for_a_person() {
    let world = World::new().await;
    let program = world.program().await;
    world.server.inject(Fault::AnswerLostAfterChange, Times::ONCE);
    let builder = || world.builder().server_chooses(true);
    let error = world.rotator_with(builder()).run(policy()).await.unwrap_err();
    assert!(matches!(error.kind(), RotateErrorKind::Stuck(StuckReason::SecretAppeared)), "{error}");
    let secrets = world.server.secrets("billing");
    let (lost, _) = secrets.iter().find(|(id, _)| *id != world.old).unwrap();
    world.server.remove_secret("billing", lost);
    let finished = Wanted::Resume.of(&world.rotator_with(builder())).await.unwrap();
    program.stop().await;
    world.assert_rotated(&finished).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_secrets_are_left_alone_and_named_and_after_a_rotation_a_person_can_make_room() {
    let world = World::new().await;
    let other = world.server.add_secret("billing", "somebodyelsessecret012345");
    world.server.until_settled("billing").await;
    let error = world.rotator().run(policy()).await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains("cannot be told") && text.contains(&other), "{text}");
    assert_eq!(world.server.counts().changes, 0);
    world.server.remove_secret("billing", &other);

    // After a rotation it is known which of them is ours.
    let program = world.program().await;
    world.rotator().run(policy()).await.unwrap();
    let other = world.server.add_secret("billing", "somebodyelsessecret012345");
    world.server.until_settled("billing").await;
    let error = world.rotator().run(policy()).await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains("no room") && text.contains(&other), "{text}");
    let rotator = world.rotator().removing_first(SlotId::new(&other)).reason("nobody uses it");
    let finished = rotator.run(policy()).await.unwrap();
    program.stop().await;
    world.assert_rotated(&finished).await;
}

/// A user signs in to it, so its secret is proved by a refresh token that there is not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_app_client_to_which_users_sign_in_is_rotated_as_well() {
    let world = World::of("shop").await;
    let credential = (ClientSecretPost::new("shop"), Profile::Cognito);
    let body = "grant_type=refresh_token&refresh_token=refresh-token-of-shop".to_owned();
    let endpoint = world.server.token_endpoint();
    let program = Program::start(&world.store, credential, endpoint, body, WINDOW).await;
    let builder = || world.builder_with(POOL, "shop", ROTATOR);
    Wanted::Run(policy()).dropped_at(world.rotator_with(builder()), State::Added).await;
    let finished = Wanted::Resume.of(&world.rotator_with(builder())).await.unwrap();
    program.stop().await;
    world.assert_rotated(&finished).await;
}

fn authority_kind(error: &RotateError) -> AuthorityErrorKind {
    answers::authority_kind(error, &[OLD, KEY])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_is_named_before_anything_is_changed() {
    use AuthorityErrorKind::*;
    let world = World::new().await;
    let key = |id| world.builder_with(POOL, "billing", (id, KEY));
    let client = |id| world.builder_with(POOL, id, ROTATOR);
    let pool = |id| world.builder_with(id, "billing", ROTATOR);
    let session = |text| key("ASIATEMPORARY").session_token(secret(text));
    let elsewhere = world.builder().endpoint("http://127.0.0.1:9/".parse().unwrap());
    let cases = [
        (elsewhere, Unreachable, "check the address"),
        (world.builder_with(POOL, "billing", ("AKIDROTATOR", "wrong")), Credentials, "clock"),
        (key("AKIDNOBODY"), Credentials, "UnrecognizedClientException"),
        (session("other"), Credentials, "UnrecognizedClientException"),
        (session("until-1"), Credentials, "have expired (ExpiredTokenException): renew"),
        (pool("eu-west-1_other"), NoSuchClient, "no user pool eu-west-1_other in the account"),
        (pool("us-east-1_keyswap"), NoSuchClient, "the region in that"),
        (client("nobody"), NoSuchClient, "user pool eu-west-1_keyswap has no app client nobody"),
        (client("public"), UnsupportedClient, "public client"),
        (client("hashing"), UnsupportedClient, "neither the client_credentials nor the code"),
        (world.builder().scope("orders/write"), Configuration, "the scope orders/write"),
        (key("AKIDWITHOUTLIST"), Permissions, "they lack cognito-idp:ListUserPoolClientSecrets"),
    ];
    for (builder, kind, says) in cases {
        let error = world.rotator_with(builder).run(policy()).await.unwrap_err();
        let text = error.to_string();
        assert_eq!(authority_kind(&error), kind, "{text}");
        assert!(text.contains(says), "{text}");
        assert!(world.store.journal().await.unwrap().is_none(), "nothing was begun: {text}");
    }
    assert_eq!(world.server.counts().changes, 0);
    let finished = world.rotator_with(session("until-99999999999"));
    let finished = finished.patience(Duration::ZERO).run(policy()).await.unwrap_err();
    assert!(
        matches!(finished.kind(), RotateErrorKind::Waiting(_)),
        "a session that lasts: {finished}"
    );
}

/// What AWS says only when it is asked for a change, with the statement that a policy lacks.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_action_that_is_missing_at_a_change_is_named_and_the_rotation_goes_on_once_it_is_allowed()
 {
    let world = World::new().await;
    let program = world.program().await;
    let with = |id| world.rotator_with(world.builder_with(POOL, "billing", (id, KEY)));
    let error = with("AKIDREADER").run(policy()).await.unwrap_err();
    assert_eq!(authority_kind(&error), AuthorityErrorKind::Permissions);
    let text = error.to_string();
    assert!(text.contains("they lack cognito-idp:AddUserPoolClientSecret"), "{text}");
    let statement = text.find('{').map(|start| &text[start..=text.rfind('}').unwrap()]).unwrap();
    let statement: serde_json::Value = serde_json::from_str(statement).unwrap();
    assert_eq!(statement["Effect"], "Allow");
    assert_eq!(statement["Action"].as_array().unwrap().len(), 4);
    let pool = "arn:aws:cognito-idp:eu-west-1:*:userpool/eu-west-1_keyswap";
    assert_eq!(statement["Resource"], pool);
    assert_eq!(world.server.counts().changes, 0);

    let error = Wanted::Resume.of(&with("AKIDWITHOUTDELETE")).await.unwrap_err();
    assert_eq!(authority_kind(&error), AuthorityErrorKind::Permissions, "{error}");
    let text = error.to_string();
    assert!(text.contains("they lack cognito-idp:DeleteUserPoolClientSecret"), "{text}");
    assert_eq!(world.server.counts().changes, 1);
    let finished = Wanted::Resume.of(&with("AKIDROTATOR")).await.unwrap();
    program.stop().await;
    world.assert_rotated(&finished).await;
}

/// A server that answers each request in these words, and puts what it was sent into them.
async fn answering(status: &'static str, name: &'static str) -> url::Url {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut sent = Vec::new();
            while !sent.ends_with(b"}") {
                match stream.read_buf(&mut sent).await {
                    Ok(1..) => {}
                    _ => break,
                }
            }
            let sent = String::from_utf8_lossy(&sent);
            let message = sent.rsplit("\r\n\r\n").next().unwrap_or_default();
            let body = serde_json::json!({ "__type": name, "message": message }).to_string();
            let head = format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: ");
            let _ =
                stream.write_all(format!("{head}{}\r\n\r\n{body}", body.len()).as_bytes()).await;
        }
    });
    url
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stand_in_that_lacks_the_calls_and_an_answer_that_repeats_the_secret_are_told_without_it()
{
    let world = World::new().await;
    let stand_in = answering("400 Bad Request", "UnknownOperationException").await;
    let stand_in = world.builder().endpoint(stand_in).build().unwrap();
    let error = stand_in.check().await.unwrap_err();
    assert_eq!(error.kind(), AuthorityErrorKind::Unsupported);
    assert!(error.to_string().contains("does not know DescribeUserPoolClient"), "{error}");

    let repeating = answering("400 Bad Request", "aws#InvalidParameterException").await;
    let repeating = world.builder().endpoint(repeating).build().unwrap();
    let value = "value-that-is-not-to-be-seen";
    let answer = repeating.add_secret(&secret(value).into()).await;
    let shown = format!("{answer:?} {repeating:?}");
    assert!(shown.contains("(InvalidParameterException)"), "{shown}");
    assert!(!shown.contains("not-to-be-seen"), "{shown}");

    let other = answering("200 OK", "nothing that Cognito would say").await;
    let other = world.builder().endpoint(other).build().unwrap();
    let error = other.check().await.unwrap_err();
    assert_eq!(error.kind(), AuthorityErrorKind::Unexpected, "{error}");
    let answer = other.add_secret(&secret(value).into()).await;
    assert!(matches!(answer, AddAnswer::Unknown(_)), "{answer:?}");
}

/// Cognito may look at a refresh token before it looks at the secret, which no one has said that it does not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_domain_that_takes_any_secret_proves_none() {
    let world = World::of("shop").await;
    let url: url::Url = world.server.url().parse().unwrap();
    let domain = answering("400 Bad Request", "").await;
    let cognito = Cognito::builder(POOL, "shop", domain).endpoint(url);
    let cognito = cognito.access_key(ROTATOR.0, secret(KEY)).build().unwrap();
    let error = cognito.check().await.unwrap_err();
    assert_eq!(error.kind(), AuthorityErrorKind::Unexpected);
    assert!(error.to_string().contains("cannot be told"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_look_tells_who_depends_on_the_secret_and_changes_nothing() {
    let world = World::new().await;
    let found = world.rotator().verify(&policy()).await;
    let texts: Vec<_> = found.found.iter().map(ToString::to_string).collect();
    let has = |text: &str| texts.iter().any(|found| found.contains(text));
    assert_eq!(found.worst(), Level::Warning, "{texts:?}");
    assert!(has("cognito answers, and takes the management credentials"), "{texts:?}");
    assert!(has("AWS says only when that is asked for"), "{texts:?}");
    assert!(has("Terraform"), "{texts:?}");
    assert!(has(&format!("1 of 2 are taken: {} holds", world.old)), "{texts:?}");
    assert!(has("24 to 64 letters, digits and any of _+"), "{texts:?}");
    assert!(!texts.join(" ").contains(OLD), "{texts:?}");
    assert_eq!(world.server.counts().management_writes, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_request_to_the_authority_does_one_thing() {
    let world = World::new().await;
    let cognito = world.builder().build().unwrap();
    let value = secret("aValue_of+24_characters_or_more");
    let added = cognito.add_secret(&value.clone().into()).await;
    let AddAnswer::Added(slot, held) = added else { panic!("{added:?}") };
    assert_eq!(held, value);
    let full = cognito.add_secret(&value.into()).await;
    let AddAnswer::Refused(full) = full else { panic!("{full:?}") };
    assert!(full.to_string().contains("two secrets"), "{full}");
    for _ in 0..2 {
        let answer = cognito.remove_secret(&slot).await;
        assert!(matches!(answer, ChangeAnswer::Applied), "{answer:?}");
    }
    let last = cognito.remove_secret(&SlotId::new(&world.old)).await;
    let ChangeAnswer::Refused(last) = last else { panic!("{last:?}") };
    assert!(last.to_string().contains("keeps the last one"), "{last}");
    let short = cognito.add_secret(&secret("too-short").into()).await;
    let AddAnswer::Refused(short) = short else { panic!("{short:?}") };
    assert!(short.to_string().contains("24 to 64"), "{short}");

    let id: SecretId = "chosen".parse().unwrap();
    let added = cognito.add_secret(&NewSecret::Awaited(id.clone())).await;
    let AddAnswer::Added(_, value) = added else { panic!("{added:?}") };
    assert_eq!(value.id(), &id);
    let Listed::Slots(slots) = cognito.slots(&[value]).await else { panic!() };
    assert!(slots.len() == 2 && slots.iter().all(|slot| slot.active && slot.holds.is_none()));

    let limited =
        Fault::RateLimited { endpoint: Endpoint::Management, retry_after: None, reset_after: None };
    world.server.inject(limited, Times::ONCE);
    let answer = cognito.remove_secret(&SlotId::new("any")).await;
    assert!(matches!(answer, ChangeAnswer::RetryAfter(_)), "{answer:?}");
}
