//! Signing in to a genuine Ory Hydra, and rotating its one secret.

use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use keyswap_admin::authority::Probe;
use keyswap_admin::{Application, Authority, AuthorityErrorKind, RotationPolicy, Rotator};
use keyswap_core::Verdict::{Accepted, Inconclusive, RefusedBeforeGrant};
use keyswap_core::{FallbackPolicy, Generator, Secret, SecretList, SecretRing};
use keyswap_real_tests::{Hydra, Load, Program, Seen, installed, read};
use keyswap_store::{FileStore, SecretStore, join};
use keyswap_tower::{ClientSecretBasic, Profile};
use reqwest::RequestBuilder;
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;
use tokio::task::JoinSet;

const GRANT: &str = "grant_type=client_credentials";

#[tokio::test]
async fn the_profile_reads_each_answer_for_what_it_says_about_the_secret() {
    // A secret with every base64 character that the form encoding changes, and one with a percent sign.
    const BASE64: &str = "aa+bb/cc==aa+bb/cc==";
    const PERCENT: &str = "second+/=%:secret";
    let server = Hydra::start(1).await;
    server.register("basic", "right-secret", "client_secret_basic").await;
    server.register("post", "right-secret", "client_secret_post").await;
    server.register("base64", BASE64, "client_secret_basic").await;
    server.register("percent", PERCENT, "client_secret_basic").await;

    let http = reqwest::Client::new();
    let post = |body: &str| {
        let form = "application/x-www-form-urlencoded";
        http.post(server.token_endpoint()).header("content-type", form).body(body.to_owned())
    };
    let grant = || post(GRANT);
    let code =
        || post("grant_type=authorization_code&code=bad&redirect_uri=http://127.0.0.1/callback");
    let in_body =
        |id: &str, secret: &str| post(&format!("{GRANT}&client_id={id}&client_secret={secret}"));
    let right = |request: RequestBuilder| request.basic_auth("basic", Some("right-secret"));
    let wrong = |request: RequestBuilder| request.basic_auth("basic", Some("wrong-secret"));
    let encoded = form_encoded;

    let cases = [
        ("right secret, Basic", right(grant()), 200, Accepted),
        ("right secret, post", in_body("post", "right-secret"), 200, Accepted),
        (
            "base64, form-encoded",
            grant().basic_auth("base64", Some(encoded(BASE64))),
            200,
            Accepted,
        ),
        (
            "percent, form-encoded",
            grant().basic_auth("percent", Some(encoded(PERCENT))),
            200,
            Accepted,
        ),
        ("wrong secret, Basic", wrong(grant()), 401, RefusedBeforeGrant),
        ("wrong secret, post", in_body("post", "wrong-secret"), 401, RefusedBeforeGrant),
        ("wrong secret and a bad code", wrong(code()), 401, RefusedBeforeGrant),
        // The wire does not tell these from a wrong secret.
        (
            "unknown client",
            grant().basic_auth("nobody", Some("right-secret")),
            401,
            RefusedBeforeGrant,
        ),
        ("no secret", post(&format!("{GRANT}&client_id=post")), 401, RefusedBeforeGrant),
        // The plus sign has become a space on the way.
        ("base64, unescaped", grant().basic_auth("base64", Some(BASE64)), 401, RefusedBeforeGrant),
        // No other secret helps with these.
        ("wrong method, right secret", in_body("basic", "right-secret"), 401, Inconclusive),
        ("wrong method, wrong secret", in_body("basic", "wrong-secret"), 401, Inconclusive),
        ("Basic and post", right(in_body("basic", "right-secret")), 401, Inconclusive),
        ("no credentials", grant(), 400, Inconclusive),
        ("percent, unescaped", grant().basic_auth("percent", Some(PERCENT)), 400, Inconclusive),
        ("right secret and a bad code", right(code()), 400, Inconclusive),
        ("unknown grant, right secret", right(post("grant_type=unheard-of")), 400, Inconclusive),
        ("unknown grant, wrong secret", wrong(post("grant_type=unheard-of")), 400, Inconclusive),
        ("unknown scope", right(post(&format!("{GRANT}&scope=zz"))), 400, Inconclusive),
    ];
    let mut answers = Vec::new();
    for (what, request, status, verdict) in cases {
        let answer = request.send().await.expect("Hydra answers");
        let (got, body, read) = read(answer, Profile::Hydra).await;
        println!("{what}: {got} {read:?} {body}");
        answers.push((what, (status, verdict), (got, read)));
    }
    let version = Hydra::version();
    Seen { server: "Ory Hydra", version: &version, how: "its answers" }.answers(&answers);
}

/// A code and refresh tokens that each work once, at a server that authenticates the client before it looks at them.
#[tokio::test]
async fn a_code_and_a_refresh_token_that_met_a_refused_secret_work_with_the_next() {
    let server = Hydra::start(1).await;
    server.register("web", "right-secret", "client_secret_basic").await;
    let redeem = async |profile: Profile, secrets: &[&str], parameters: String| {
        let secrets = secrets
            .iter()
            .map(|id| Secret::new(id.parse().unwrap(), format!("{id}-secret")).unwrap());
        let program = Program {
            endpoint: server.token_endpoint(),
            parameters: parameters.into(),
            ring: SecretRing::new(SecretList::new(secrets).expect("a list")),
            credential: ClientSecretBasic::new("web"),
            profile,
        };
        program.once().await.map(|(sign_in, answer)| {
            let refresh_token = answer["refresh_token"].as_str().expect("a refresh token");
            ((sign_in.secret.to_string(), sign_in.attempts), refresh_token.to_owned())
        })
    };
    let with_code = |code: &str| {
        let uri = "http%3A%2F%2F127.0.0.1%2Fcallback";
        format!("grant_type=authorization_code&code={code}&redirect_uri={uri}")
    };
    let refresh = |token: &str| format!("grant_type=refresh_token&refresh_token={token}");
    let stale = ["wrong", "right"];
    let second = ("right".to_owned(), 2);

    let code = with_code(&server.code("web").await);
    let (with, first_token) = redeem(Profile::Hydra, &stale, code.clone()).await.expect("a token");
    assert_eq!(with, second, "the code");
    let refreshed = redeem(Profile::Hydra, &stale, refresh(&first_token)).await;
    assert_eq!(refreshed.expect("a token").0, second, "the refresh token");

    // A reader that does not know the order gives the refusal back, and the code is as good as before.
    let code = with_code(&server.code("web").await);
    let refused = redeem(Profile::Rfc6749, &stale, code.clone()).await.expect_err("a refusal");
    assert!(refused.contains("401") && refused.contains("invalid_client"), "{refused}");
    let (with, token) = redeem(Profile::Rfc6749, &["right"], code.clone()).await.expect("a token");
    assert_eq!(with, ("right".to_owned(), 1));
    // What is at stake: used again, the code takes back what was issued for it.
    let again = redeem(Profile::Hydra, &stale, code).await.expect_err("it was used");
    assert!(again.contains("invalid_grant"), "{again}");
    let gone = redeem(Profile::Hydra, &["right"], refresh(&token)).await.expect_err("revoked");
    assert!(gone.contains("invalid_grant") || gone.contains("token_inactive"), "{gone}");
}

/// What the real server adds to the same rotation at our emulator: one slot, no way to read the secret back, `+`, `/` and
/// `=` in a secret that travels in Basic, and a client whose other fields a careless change would empty.
#[tokio::test(flavor = "multi_thread")]
async fn a_whole_rotation_under_load_fails_no_request() {
    let world = World::new().await;
    let fleet = world.fleet().await;
    fleet.load.progress(50).await;

    let told = Arc::new(Mutex::new(Vec::new()));
    let tell = Arc::clone(&told);
    let rotator = Rotator::new(world.authority(), world.store())
        .generator(Generator::base64(48).expect("enough entropy"))
        .patience(Duration::from_secs(60))
        .on_progress(move |progress| tell.lock().expect("no panic").push(progress));
    let policy = RotationPolicy::new(APPLICATIONS.map(|name| Application::new(name).instances(2)))
        .propagation_window(WINDOW)
        .quiet_period(WINDOW)
        .poll_every(Duration::from_millis(50));
    let finished = rotator.run(policy).await.unwrap_or_else(|error| panic!("{error}: {told:?}"));
    fleet.load.progress(50).await;
    fleet.stop_unharmed("one secret, by the library").await;

    let new = world.assert_rotated().await;
    assert_eq!((&finished.old, &finished.new), (world.old.id(), new.id()));
    assert_eq!(new.expose().len(), 64, "48 bytes in base64");
    world.assert_silent_about(&new, &format!("{:?}", told.lock().expect("no panic")));
}

/// This version has no rotated secrets, and says so when it is asked for a client that there is not.
#[tokio::test(flavor = "multi_thread")]
async fn rotated_secrets_are_found_to_be_missing_before_anything_is_changed() {
    let world = World::new().await;
    let authority = world.authority();
    authority.check().await.expect("it needs no rotated secrets");
    assert_eq!(authority.capabilities().slots, 1);
    let address = |text: String| text.parse().expect("an address");
    let (public, admin) = (address(world.server.public()), address(world.server.admin()));
    let demanding = keyswap_admin::Hydra::builder(public, admin, CLIENT).overlap(true);
    let demanding = demanding.build().expect("loopback is allowed");
    let error = demanding.check().await.expect_err("they are demanded");
    assert_eq!(error.kind(), AuthorityErrorKind::Unsupported, "{error}");
    assert_eq!(world.server.client(CLIENT).await, world.before);
}

/// A whole rotation by the command, with everything logged that can be.
#[tokio::test(flavor = "multi_thread")]
async fn the_command_rotates_under_load_and_says_no_secret() {
    let world = World::new().await;
    let fleet = world.fleet().await;
    fleet.load.progress(50).await;

    let configuration = world.directory.path().join("keyswap.toml");
    let (public, admin) = (world.server.public(), world.server.admin());
    let applications = APPLICATIONS.map(|name| {
        format!("[[application]]\nname = \"{name}\"\ninstances = 2\nuses_every = \"100ms\"\n")
    });
    let text = format!(
        r#"
            [client]
            id = "{CLIENT}"
            authentication = "basic"
            [authority]
            kind = "hydra"
            url = "{public}"
            admin_url = "{admin}"
            scope = "read"
            [store]
            directory = "store"
            [policy]
            propagation_window = "{window}ms"
            quiet_period = "{window}ms"
            {applications}"#,
        window = WINDOW.as_millis(),
        applications = applications.concat(),
    );
    std::fs::write(&configuration, text).expect("a configuration");
    let output = Command::new(installed("KEYSWAP_BIN"))
        .args(["rotate", "--json", "--config"])
        .arg(&configuration)
        .env("RUST_LOG", "trace")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .expect("the command can be started");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    let end: Vec<&str> = said.lines().rev().take(20).collect();
    assert_eq!(output.status.code(), Some(0), "{end:#?}");
    fleet.load.progress(50).await;
    fleet.stop_unharmed("one secret, by the command").await;

    let new = world.assert_rotated().await;
    assert!(said.contains("TRACE"), "it does not log all that it can: {end:#?}");
    assert!(said.contains(new.id().as_str()), "it names the new secret by its id: {end:#?}");
    world.assert_silent_about(&new, &said);
}

const CLIENT: &str = "billing";
const APPLICATIONS: [&str; 2] = ["invoices", "reports"];
const WINDOW: Duration = Duration::from_millis(500);

/// A Hydra with one client, and a store that holds the client's secret.
struct World {
    server: Hydra,
    old: Secret,
    /// The client as it was registered.
    before: Value,
    directory: TempDir,
}

impl World {
    async fn new() -> Self {
        let old = troublesome();
        let server = Hydra::start(1).await;
        server.register(CLIENT, old.expose(), "client_secret_basic").await;
        let before = server.client(CLIENT).await;
        let directory = tempfile::tempdir().expect("a temporary directory");
        let store = FileStore::create(directory.path().join("store"), CLIENT).expect("a store");
        let list = SecretList::new([old.clone()]).expect("a list");
        store.import(&list).await.expect("the first list");
        Self { server, old, before, directory }
    }

    fn store(&self) -> FileStore {
        FileStore::open(self.directory.path().join("store"), CLIENT).expect("the store")
    }

    fn authority(&self) -> keyswap_admin::Hydra {
        let address = |text: String| text.parse().expect("an address");
        let (public, admin) = (address(self.server.public()), address(self.server.admin()));
        let authority = keyswap_admin::Hydra::builder(public, admin, CLIENT).scope("read");
        authority.build().expect("loopback is allowed")
    }

    /// Two instances of each application, which follow the store and sign in, one application with the layer and one
    /// with the middleware.
    async fn fleet(&self) -> Fleet {
        let mut fleet = Fleet { load: Load::new(), _members: JoinSet::new() };
        for application in [APPLICATIONS, APPLICATIONS].concat() {
            let joined = join(self.store(), application, FallbackPolicy::default()).await;
            let (ring, member) = joined.expect("a place in the store");
            fleet._members.spawn(member);
            let program = Program {
                endpoint: self.server.token_endpoint(),
                parameters: "grant_type=client_credentials&scope=read".into(),
                ring,
                credential: ClientSecretBasic::new(CLIENT),
                profile: Profile::Hydra,
            };
            let every = Duration::from_millis(20);
            match application {
                "invoices" => fleet.load.add(every, program.with_layer()),
                _ => fleet.load.add(every, program.with_middleware()),
            }
        }
        fleet
    }

    /// The store holds another secret alone, the server accepts it alone, and nothing else has changed there.
    async fn assert_rotated(&self) -> Secret {
        let published = self.store().published().await.expect("readable").expect("published").list;
        let new = published.preferred().clone();
        assert_eq!(published.len(), 1, "{published:?}");
        assert_ne!(new.id(), self.old.id());
        assert_eq!(self.authority().probe(&self.old).await, Probe::Refused);
        assert_eq!(self.authority().probe(&new).await, Probe::Accepted);
        assert_eq!(self.server.client(CLIENT).await, self.before, "only the secret may change");
        new
    }

    /// No secret, as it is or as it travels.
    fn assert_silent_about(&self, new: &Secret, said: &str) {
        for secret in [&self.old, new] {
            let encoded = form_encoded(secret.expose());
            let basic = STANDARD.encode(format!("{CLIENT}:{encoded}"));
            for written in [secret.expose(), &encoded, &basic] {
                assert!(!said.contains(written), "it shows the secret {}", secret.id());
            }
        }
    }
}

struct Fleet {
    load: Load,
    _members: JoinSet<()>,
}

impl Fleet {
    /// No sign-in failed, although programs met the change with the old secret in front: how many, the machine decides.
    async fn stop_unharmed(self, how: &str) {
        let tally = self.load.stop().await;
        Seen { server: "Ory Hydra", version: &Hydra::version(), how }.rotated(1, &tally);
        tally.assert_none_failed();
        assert!(tally.saved_by_fallback > 0, "no program met the change: {tally:?}");
    }
}

/// A secret with each character of base64 that changes in a form encoding.
fn troublesome() -> Secret {
    // 49 bytes are not a multiple of three: the text ends with padding.
    let generator = Generator::base64(49).expect("enough entropy");
    loop {
        let secret = generator.generate().expect("random numbers");
        if secret.expose().contains('+') && secret.expose().contains('/') {
            return secret;
        }
    }
}

/// The characters of base64, and a few more, in the form encoding.
fn form_encoded(text: &str) -> String {
    let changed = [("%", "%25"), ("+", "%2B"), ("/", "%2F"), ("=", "%3D"), (":", "%3A")];
    changed.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
}
