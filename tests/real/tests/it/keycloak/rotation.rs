//! Whole rotations under load.

use std::process::Stdio;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use keyswap_admin::authority::Probe;
use keyswap_admin::{Application, Authority, RotationPolicy, Rotator};
use keyswap_core::{FallbackPolicy, Secret, SecretList};
use keyswap_real_tests::{Keycloak, Load, Program, Seen, installed};
use keyswap_store::{FileStore, SecretStore, join};
use keyswap_tower::{ClientSecretBasic, Profile};
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Command;
use tokio::task::JoinSet;

use super::policy::rotate_secrets;
use super::{MANAGEMENT, authority, secret};

const CLIENT: &str = "billing";
const KEYSWAP: &str = "keyswap-rotator";
const OLD: &str = "first-secret-of-billing";
const APPLICATIONS: [&str; 2] = ["invoices", "reports"];
const WINDOW: Duration = Duration::from_millis(300);

/// A realm with one client that has much to lose, and a store that holds the client's secret.
struct World {
    server: Keycloak,
    realm: &'static str,
    /// The client before the rotation, without what a rotation changes.
    before: Value,
    directory: TempDir,
}

/// What is left of a client when its secret is changed.
async fn shown(server: &Keycloak) -> Value {
    let mut client = server.client(CLIENT).await;
    let fields = client.as_object_mut().expect("a client is an object");
    fields.remove("secret");
    fields["attributes"]
        .as_object_mut()
        .expect("attributes")
        .remove("client.secret.expiration.time");
    // Keycloak lists them in any order.
    for name in ["defaultClientScopes", "optionalClientScopes"] {
        fields[name].as_array_mut().expect("scopes").sort_by_key(Value::to_string);
    }
    let id = fields["id"].as_str().expect("an id").to_owned();
    let path = format!("clients/{id}/authz/resource-server/resource");
    json!({ "client": client, "resources": server.ask(Method::GET, &path, None).await })
}

impl World {
    async fn new(realm: &'static str) -> Self {
        let server = Keycloak::realm(realm).await;
        let more = json!({
            "description": "A client of the tests",
            "redirectUris": ["http://127.0.0.1/callback"],
            "webOrigins": ["http://127.0.0.1"],
            "directAccessGrantsEnabled": true,
            "authorizationServicesEnabled": true,
            "attributes": {"access.token.lifespan": "120", "ours": "kept"},
        });
        let id = server.register(CLIENT, OLD, &more).await;
        let path = format!("clients/{id}/authz/resource-server/resource");
        let resource = json!({"name": "invoices", "uris": ["/invoices/*"]});
        server.ask(Method::POST, &path, Some(&resource)).await;
        server.management(KEYSWAP, MANAGEMENT, Some("manage-clients")).await;
        let directory = tempfile::tempdir().expect("a temporary directory");
        for (client, value) in [(CLIENT, OLD), (KEYSWAP, MANAGEMENT)] {
            let store = FileStore::create(directory.path().join("store"), client);
            let list = SecretList::new([secret(value)]).expect("a list");
            store.expect("a store").import(&list).await.expect("the first list");
        }
        let before = shown(&server).await;
        Self { server, realm, before, directory }
    }

    fn store(&self, client: &str) -> FileStore {
        FileStore::open(self.directory.path().join("store"), client).expect("the store")
    }

    fn authority(&self) -> keyswap_admin::Keycloak {
        let authority = authority(&self.server, self.realm, CLIENT, KEYSWAP);
        authority.build().expect("loopback is allowed")
    }

    /// Two instances of each application, which follow the store and sign in, one application with the layer and one
    /// with the middleware.
    async fn fleet(&self) -> Fleet {
        let mut fleet = Fleet { load: Load::new(), _members: JoinSet::new() };
        for application in [APPLICATIONS, APPLICATIONS].concat() {
            let joined = join(self.store(CLIENT), application, FallbackPolicy::default()).await;
            let (ring, member) = joined.expect("a place in the store");
            fleet._members.spawn(member);
            let program = Program {
                endpoint: self.server.token_endpoint(),
                parameters: "grant_type=client_credentials".into(),
                ring,
                credential: ClientSecretBasic::new(CLIENT),
                profile: Profile::Keycloak,
            };
            let every = Duration::from_millis(40);
            match application {
                "invoices" => fleet.load.add(every, program.with_layer()),
                _ => fleet.load.add(every, program.with_middleware()),
            }
        }
        fleet.load.progress(50).await;
        fleet
    }

    async fn published(&self, client: &str) -> Secret {
        let published = self.store(client).published().await.expect("readable").expect("a list");
        assert_eq!(published.list.len(), 1, "{published:?}");
        published.list.preferred().clone()
    }

    /// The store holds another secret alone, the server accepts it alone, and nothing else has changed there.
    async fn assert_rotated(&self) -> Secret {
        let new = self.published(CLIENT).await;
        let authority = self.authority();
        assert_eq!(authority.probe(&secret(OLD)).await, Probe::Refused);
        assert_eq!(authority.probe(&new).await, Probe::Accepted);
        assert_eq!(shown(&self.server).await, self.before, "only the secret may change");
        new
    }

    async fn rotate(&self) {
        let rotator = Rotator::new(self.authority(), self.store(CLIENT));
        let rotator = rotator.patience(Duration::from_secs(60));
        let applications = APPLICATIONS.map(|name| Application::new(name).instances(2));
        let policy = RotationPolicy::new(applications)
            .propagation_window(WINDOW)
            .quiet_period(WINDOW)
            .poll_every(Duration::from_millis(50));
        rotator.run(policy).await.unwrap_or_else(|error| panic!("{error}"));
    }
}

struct Fleet {
    load: Load,
    _members: JoinSet<()>,
}

impl Fleet {
    /// No sign-in failed, although programs met the change with the old secret in front: how many, the machine decides.
    async fn stop_unharmed(self, how: &str) {
        self.load.progress(50).await;
        let tally = self.load.stop().await;
        Seen { server: "Keycloak", version: &Keycloak::version(), how }.rotated(1, &tally);
        tally.assert_none_failed();
        assert!(tally.saved_by_fallback > 0, "no program met the change: {tally:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_rotation_under_load_fails_no_request() {
    let world = World::new("rotation").await;
    let fleet = world.fleet().await;
    world.rotate().await;
    fleet.stop_unharmed("by the library").await;
    world.assert_rotated().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nor_does_one_where_the_realm_has_a_rotation_policy() {
    let world = World::new("rotation-under-policy").await;
    rotate_secrets(&world.server).await;
    let fleet = world.fleet().await;
    world.rotate().await;
    fleet.stop_unharmed("under the policy client-secret-rotation").await;
    world.assert_rotated().await;
}

/// By the command, with everything logged that can be; and the secret with which it makes its requests as well.
#[tokio::test(flavor = "multi_thread")]
async fn the_command_rotates_under_load_and_its_own_secret_too_and_says_neither() {
    let world = World::new("command").await;
    let fleet = world.fleet().await;
    let configuration = world.directory.path().join("keyswap.toml");
    let applications = APPLICATIONS.map(|name| {
        format!(
            "[[client.application]]\nname = \"{name}\"\ninstances = 2\nuses_every = \"100ms\"\n"
        )
    });
    let text = format!(
        r#"
            [[client]]
            id = "{CLIENT}"
            authentication = "basic"
            {applications}
            [[client]]
            id = "{KEYSWAP}"
            [[client.application]]
            name = "keyswap"
            [authority]
            kind = "keycloak"
            url = "{base}"
            realm = "{realm}"
            management_client_id = "{KEYSWAP}"
            management_secret = {{ store = true }}
            [store]
            directory = "store"
            [policy]
            propagation_window = "{window}ms"
            quiet_period = "{window}ms""#,
        base = world.server.base(),
        realm = world.realm,
        window = WINDOW.as_millis(),
        applications = applications.concat(),
    );
    std::fs::write(&configuration, text).expect("a configuration");
    let output = Command::new(installed("KEYSWAP_BIN"))
        .args(["rotate", "--all", "--json", "--config"])
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
    fleet.stop_unharmed("by the command, and of its own secret").await;

    let new = world.assert_rotated().await;
    let own = world.published(KEYSWAP).await;
    assert_ne!(own.expose(), MANAGEMENT);
    let probing = authority(&world.server, world.realm, KEYSWAP, KEYSWAP).build();
    let probing = probing.expect("loopback is allowed");
    assert_eq!(probing.probe(&own).await, Probe::Accepted);
    assert_eq!(probing.probe(&secret(MANAGEMENT)).await, Probe::Refused);
    assert!(said.contains("TRACE"), "it does not log all that it can: {end:#?}");
    let values =
        [(CLIENT, OLD), (CLIENT, new.expose()), (KEYSWAP, MANAGEMENT), (KEYSWAP, own.expose())];
    for (client, value) in values {
        let basic = STANDARD.encode(format!("{client}:{value}"));
        assert!(!said.contains(value) && !said.contains(&basic), "it shows a secret of {client}");
    }
}
