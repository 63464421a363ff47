//! A server to rotate at, and the directory that goes with it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use keyswap_core::Generator;
use keyswap_store::{FileStore, SecretStore};
use keyswap_testkit::{
    AtUpdate, AuthorizationServer, Builder, Client, ClientAuthentication, Provider,
};
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpSocket;
use tokio::runtime::Runtime;

use super::{Command, Running, STATES, Vault, eventually};

pub const CLIENT: &str = "billing";
pub const MANAGEMENT_CLIENT: &str = "keyswap-rotator";
pub const AUDIENCE: &str = "https://api.example/";
/// The API of one client in the README.
const ORDERS_AUDIENCE: &str = "https://orders.example/";

/// The tenant of the client at a server like FusionAuth.
const TENANT: &str = "30663132-6464-6665-3032-326466613934";

/// How long the nodes of the servers here take to agree.
const WINDOW: Duration = Duration::from_millis(250);

/// Whether a rotation on its way forward is in this state, or in one that follows.
pub fn has_reached(state: &str, wanted: &str) -> bool {
    let position = |state: &str| STATES.iter().position(|other| *other == state);
    position(state) >= position(wanted)
}

/// A directory with a configuration, a store and secrets, and the address of a server.
pub struct Site {
    directory: TempDir,
    pub url: String,
    pub vault: Vault,
}

/// What the store says of the instances.
pub struct StatusView {
    pub instances: Vec<InstanceView>,
}

#[derive(Debug)]
pub struct InstanceView {
    pub application: String,
    pub live: bool,
    pub revision: Option<u64>,
}

impl Site {
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn configuration(&self) -> PathBuf {
        self.path("rotate.toml")
    }

    pub fn store(&self) -> PathBuf {
        self.path("keyswap-store")
    }

    /// The files of the client in the store.
    pub fn client_directory(&self) -> PathBuf {
        self.store().join(CLIENT)
    }

    /// Changes the configuration: `from` must be in it.
    #[track_caller]
    pub fn configure(&self, from: &str, to: &str) {
        let text = std::fs::read_to_string(self.configuration()).unwrap();
        assert!(text.contains(from), "{from:?} is not in the configuration:\n{text}");
        std::fs::write(self.configuration(), text.replace(from, to)).unwrap();
    }

    /// Makes states last longer than a slow test needs to look, a second at least: those that wait for a window.
    pub fn is_slow(&self) {
        self.configure("= \"250ms\"", "= \"1s\"");
    }

    /// A run of `keyswap` with the configuration of this site.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let (command, rest) = arguments.split_first().unwrap();
        let command = Command::new(&self.vault, &[command, "--config"]);
        rest.iter().fold(command.argument(self.configuration()), Command::argument)
    }

    /// Puts the client's present secret into the store.
    pub fn import(&self) {
        let file = self.path("client-secret");
        self.command(&["init", "--secret-file"]).argument(file).run().ends_with(0);
    }

    pub fn first_secret(&self) -> String {
        std::fs::read_to_string(self.path("client-secret")).unwrap().trim_end().to_owned()
    }

    pub fn journal(&self) -> Option<Value> {
        let text = std::fs::read(self.client_directory().join("rotation.json")).ok()?;
        Some(serde_json::from_slice(&text).unwrap())
    }

    /// The state that the journal says.
    pub fn state(&self) -> Option<String> {
        Some(self.journal()?["state"].as_str().unwrap().to_owned())
    }

    #[track_caller]
    pub fn until_state(&self, running: &mut Running, wanted: &str) {
        self.until(running, wanted, |state| state == wanted);
    }

    /// Waits for this state of a rotation on its way forward, or one that follows.
    #[track_caller]
    pub fn until_reached(&self, running: &mut Running, wanted: &str) {
        self.until(running, wanted, |state| has_reached(state, wanted));
    }

    /// Waits until the journal tells of a state that is one of those wanted.
    pub fn until(&self, running: &mut Running, wanted: &str, is_wanted: impl Fn(&str) -> bool) {
        eventually(&format!("state {wanted}"), || {
            // In this order: between the two it may come to that state, and end.
            let ended = running.ended();
            if self.state().is_some_and(|state| is_wanted(&state)) {
                return Some(());
            }
            assert!(!ended, "it ended before {wanted}: {}", running.stderr());
            None
        });
    }

    /// Whatever is published beside `old` stands in the journal: nobody else could give it to the server.
    #[track_caller]
    pub fn published_is_in_the_journal(&self, old: &str) {
        // In this order: what is published has been in the journal before, and stays in it.
        let published = self.published();
        let journal = std::fs::read_to_string(self.client_directory().join("rotation.json"));
        let journal = journal.unwrap_or_default();
        let known = |secret: &String| secret == old || journal.contains(secret.as_str());
        assert!(published.iter().all(known), "a secret is published, and no journal holds it");
    }

    /// The values of the published list, the preferred one first.
    pub fn published(&self) -> Vec<String> {
        self.published_of(CLIENT)
    }

    pub fn published_of(&self, client: &str) -> Vec<String> {
        let text = std::fs::read(self.store().join(client).join("ring.json")).unwrap();
        let document: Value = serde_json::from_slice(&text).unwrap();
        let secrets = document["secrets"].as_array().unwrap();
        secrets.iter().map(|secret| secret["value"].as_str().unwrap().to_owned()).collect()
    }

    pub fn status(&self) -> StatusView {
        self.status_of(CLIENT)
    }

    pub fn status_of(&self, client: &str) -> StatusView {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let instances = runtime.block_on(async {
            FileStore::open(self.store(), client).unwrap().instances().await.unwrap()
        });
        let instances = instances.into_iter().filter_map(|instance| {
            // One that has only just come, or is about to go, has no report.
            let report = instance.report.ok()?;
            Some(InstanceView {
                application: report.application,
                live: instance.live,
                revision: report
                    .revision
                    .map(|revision| serde_json::to_value(revision).unwrap().as_u64().unwrap()),
            })
        });
        StatusView { instances: instances.collect() }
    }

    /// The states that the history tells of, in order. Fails if the history is not whole.
    pub fn history(&self) -> Vec<String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let entries = runtime.block_on(async {
            FileStore::open(self.store(), CLIENT).unwrap().history().await.unwrap()
        });
        entries.iter().map(|entry| entry.record["state"].as_str().unwrap().to_owned()).collect()
    }

    /// The states of the history in one line. Where the machine is slow, a rotation at a server with several secrets may find
    /// a program late to take up the list and publish it once more, which is left out.
    pub fn course(&self) -> String {
        let mut course = self.history().join(" ");
        while course.contains("promoted confirmed promoted") {
            course = course.replace("promoted confirmed promoted", "promoted");
        }
        course
    }

    /// Whether the server accepts this secret, on whichever nodes `tries` requests reach. Fails if they
    /// do not agree.
    #[track_caller]
    pub fn accepts(&self, secret: &str, tries: usize) -> bool {
        let answers: Vec<_> = (0..tries).map(|_| self.sign_in(secret)).collect();
        assert!(answers.iter().all(|status| *status == answers[0]), "{answers:?}");
        assert!([200, 401].contains(&answers[0]), "{answers:?}");
        answers[0] == 200
    }

    fn sign_in(&self, secret: &str) -> u16 {
        let host = self.url.trim_start_matches("http://").trim_end_matches('/');
        // Secrets here have letters and digits only, so that nothing has to be encoded.
        let body = format!(
            "grant_type=client_credentials&audience={AUDIENCE}&client_id={CLIENT}&client_secret={secret}"
        );
        let request = format!(
            "POST /oauth/token HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\
             content-type: application/x-www-form-urlencoded\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut stream = TcpStream::connect(host).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer.split(' ').nth(1).unwrap().parse().unwrap()
    }

    /// A rotation is over, and everybody agrees on what came of it: the server accepts the one published
    /// secret and not `old`, every instance that lives holds that list, and no file is left over.
    #[track_caller]
    pub fn is_rotated_from(&self, old: &str) {
        assert_eq!(self.state().as_deref(), Some("done"));
        let published = self.published();
        assert_eq!(published.len(), 1, "one secret is left");
        assert_ne!(published[0], old);
        assert!(self.accepts(&published[0], 12), "the published secret is accepted");
        assert!(!self.accepts(old, 12), "the old secret is refused");
        let text = std::fs::read(self.client_directory().join("ring.json")).unwrap();
        let document: Value = serde_json::from_slice(&text).unwrap();
        for instance in self.status().instances.iter().filter(|instance| instance.live) {
            assert_eq!(instance.revision, document["revision"].as_u64(), "{instance:?}");
        }
        let mut files: Vec<_> = std::fs::read_dir(self.client_directory())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        files.sort();
        let expected =
            ["history.head", "history.jsonl", "instances", "lock", "ring.json", "rotation.json"];
        assert_eq!(files, expected, "nothing is left over");
        self.vault.search_files();
    }
}

impl Site {
    /// A rotation was taken back through these states: the old secret is published alone.
    #[track_caller]
    pub fn is_rolled_back_to(&self, old: &str, states: &str) {
        assert_eq!(self.state().as_deref(), Some("rolled_back"));
        assert_eq!(self.published(), [old]);
        assert_eq!(self.course(), states);
        self.vault.search_files();
    }
}

/// The configuration that the tests use: fast, and without a wait that nobody needs here.
fn configuration(url: &str) -> String {
    format!(
        r#"[client]
id = "{CLIENT}"

[authority]
kind = "auth0"
url = "{url}"
audience = "{AUDIENCE}"
management_client_id = "{MANAGEMENT_CLIENT}"
management_secret = {{ file = "management-secret" }}

[store]
directory = "keyswap-store"

[[application]]
name = "{CLIENT}"
instances = 1

[policy]
propagation_window = "250ms"
quiet_period = "250ms"
"#
    )
}

/// `keyswap dev-server` in a process of its own.
pub struct DevServer {
    pub site: Site,
    running: Running,
}

impl DevServer {
    pub fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (vault, running, url) = Self::start_in(directory.path(), "127.0.0.1:0");
        let site = Site { directory, url, vault };
        std::fs::write(site.configuration(), configuration(&site.url)).unwrap();
        Self { site, running }
    }

    /// Ends it, and starts it again in the same directory.
    pub fn restart(self) -> Self {
        let Self { mut site, running } = self;
        Self::end(running);
        let (vault, running, url) = Self::start_in(site.directory.path(), "127.0.0.1:0");
        site.configure(&site.url, &url);
        (site.vault, site.url) = (vault, url);
        Self { site, running }
    }

    fn start_in(directory: &Path, listen: &str) -> (Vault, Running, String) {
        let vault = Vault::new(directory);
        let arguments = ["dev-server", "--listen", listen, "--window", "250ms", "--directory"];
        let mut running = Command::new(&vault, &arguments).argument(directory).spawn();
        let said = eventually("the server is ready", || {
            let said = running.stdout();
            assert!(!running.ended(), "{}", running.stderr());
            said.contains("ready").then_some(said)
        });
        vault.look();
        vault.search("the standard output of dev-server", &said);
        let url = said.lines().next().unwrap().rsplit(' ').next().unwrap().to_owned();
        (vault, running, url)
    }

    pub fn stop(self) {
        Self::end(self.running);
    }

    fn end(running: Running) {
        running.signal("INT");
        running.wait().ends_with(0);
    }
}

/// A server in this process, which can be told to fail.
pub struct Embedded {
    pub site: Site,
    runtime: Option<Runtime>,
    server: Option<AuthorizationServer>,
    address: SocketAddr,
    /// Keeps the port while no server runs: bound, and nobody listens.
    held: Option<TcpSocket>,
}

impl Embedded {
    pub fn start() -> Self {
        Self::with_scopes(&Client::MANAGEMENT_SCOPES)
    }

    /// With a management client that has these scopes.
    pub fn with_scopes(scopes: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        for name in ["client-secret", "management-secret"] {
            let secret = Generator::default().generate().unwrap();
            std::fs::write(directory.path().join(name), secret.expose()).unwrap();
        }
        let vault = Vault::new(directory.path());
        let site = Site { directory, url: String::new(), vault };
        let address = "127.0.0.1:0".parse().unwrap();
        let mut embedded = Self { site, runtime: None, server: None, address, held: None };
        embedded.serve(&embedded.site.first_secret(), scopes);
        embedded.is_ready();
        embedded
    }

    /// A server with these clients, each with its secret in the store, a configuration that names them all,
    /// and an instance of an application of the same name for each.
    pub fn of_several(clients: &[&str]) -> Self {
        Self::of_several_with(clients, "", |server| server)
    }

    /// The same, with this at the end of `[authority]` and a server that is built with more.
    pub fn of_several_with(
        clients: &[&str],
        authority: &str,
        more: impl FnOnce(Builder) -> Builder,
    ) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let management = Generator::default().generate().unwrap();
        std::fs::write(directory.path().join("management-secret"), management.expose()).unwrap();
        let runtime = Runtime::new().unwrap();
        let mut builder = AuthorizationServer::builder()
            .nodes(3)
            .propagation_window(WINDOW)
            .management_client(Client::management(MANAGEMENT_CLIENT, management.expose()));
        let store = directory.path().join("keyswap-store");
        let mut tables = String::new();
        for client in clients {
            let secret = Generator::default().generate().unwrap();
            builder = builder.client(
                Client::new(*client, secret.expose()).grant(AUDIENCE).grant(ORDERS_AUDIENCE),
            );
            let list = keyswap_core::SecretList::new([secret]).unwrap();
            let store = FileStore::create(&store, *client).unwrap();
            runtime.block_on(store.import(&list)).unwrap();
            tables.push_str(&format!(
                "[[client]]\nid = \"{client}\"\n[[client.application]]\nname = \"{client}\"\n"
            ));
        }
        let server = runtime.block_on(more(builder).start()).unwrap();
        let vault = Vault::new(directory.path());
        let (url, address) = (server.url(), server.address());
        let text = configuration(&url);
        let rest = text.find("[authority]").unwrap()..text.find("[[application]]").unwrap();
        let policy = &text[text.find("[policy]").unwrap()..];
        let middle = text[rest].replace("[store]", &format!("{authority}\n[store]"));
        let site = Site { directory, url, vault };
        std::fs::write(site.configuration(), format!("{tables}\n{middle}\n{policy}")).unwrap();
        let (runtime, server) = (Some(runtime), Some(server));
        let embedded = Self { site, runtime, server, address, held: None };
        clients.iter().for_each(|client| embedded.idle_instance_of(client));
        embedded
    }

    /// Like Okta: the management secret is an API token.
    pub fn okta() -> Self {
        let mut embedded = Self::start();
        embedded.die();
        let secret = embedded.site.first_secret();
        let token = std::fs::read_to_string(embedded.site.path("management-secret")).unwrap();
        let client = Client::new(CLIENT, secret).grant("default").scopes(["read"]);
        let builder = AuthorizationServer::builder()
            .provider(Provider::Okta)
            .nodes(3)
            .propagation_window(WINDOW)
            .client(client.authentication(ClientAuthentication::SecretBasic))
            .api_token(token)
            .bind(embedded.address);
        embedded.run(builder);
        embedded.configure_authority(
            "kind = \"okta\"\nscope = \"read\"\napi_token = { file = \"management-secret\" }\n",
        );
        embedded
    }

    /// Like Ory Hydra, with rotated secrets or without; they are demanded.
    pub fn hydra(provider: Provider) -> Self {
        let mut embedded = Self::start();
        embedded.die();
        let client =
            Client::new(CLIENT, embedded.site.first_secret()).grant("any").scopes(["read"]);
        let builder = AuthorizationServer::builder()
            .provider(provider)
            .nodes(3)
            .propagation_window(WINDOW)
            .client(client.authentication(ClientAuthentication::SecretBasic))
            .bind(embedded.address);
        embedded.run(builder);
        embedded.configure_authority(&format!(
            "kind = \"hydra\"\nscope = \"read\"\noverlap = true\nadmin_url = \"{}\"\n",
            embedded.site.url
        ));
        embedded
    }

    /// A server at which a client manages its own registration: the management secret is the token for that,
    /// which is not in the store yet.
    pub fn registration() -> Self {
        let mut embedded = Self::start();
        embedded.die();
        let token = std::fs::read_to_string(embedded.site.path("management-secret")).unwrap();
        let client = Client::new(CLIENT, embedded.site.first_secret());
        let issues = AtUpdate::IssuesSecret;
        let builder = AuthorizationServer::builder()
            .provider(Provider::Registration { at_update: issues, rotates_token: true })
            .nodes(3)
            .propagation_window(WINDOW)
            .client(client.authentication(ClientAuthentication::SecretBasic))
            .api_token(token)
            .bind(embedded.address);
        embedded.run(builder);
        let url = embedded.site.url.clone();
        embedded.put_authority(&format!(
            "kind = \"registration\"\nprofile = \"rfc6749\"\n\
             registration_client_uri = \"{url}/register/{CLIENT}\"\ntoken_endpoint = \"{url}/token\"\n"
        ));
        embedded
    }

    /// Like Microsoft Entra ID.
    pub fn entra() -> Self {
        let mut embedded = Self::start();
        embedded.die();
        let secret = embedded.site.first_secret();
        let management = std::fs::read_to_string(embedded.site.path("management-secret")).unwrap();
        let management = Client::management(MANAGEMENT_CLIENT, management);
        let builder = AuthorizationServer::builder()
            .provider(Provider::Entra)
            .nodes(3)
            .propagation_window(WINDOW)
            .client(Client::new(CLIENT, secret))
            .management_client(management.scopes(["Application.ReadWrite.OwnedBy"]))
            .bind(embedded.address);
        embedded.run(builder);
        let url = embedded.site.url.clone();
        embedded.configure_authority(&format!(
            "kind = \"entra\"\ntenant = \"contoso.onmicrosoft.com\"\nlogin_url = \"{url}\"\n\
             management_client_id = \"{MANAGEMENT_CLIENT}\"\n\
             management_secret = {{ file = \"management-secret\" }}\ngraph_"
        ));
        embedded
    }

    /// Like Amazon Cognito: the management secret is that of the access keys `AKIDROTATOR` and `ASIATEMPORARY`.
    pub fn cognito() -> Self {
        let mut embedded = Self::start();
        embedded.die();
        let secret = embedded.site.first_secret();
        let key = std::fs::read_to_string(embedded.site.path("management-secret")).unwrap();
        let builder = AuthorizationServer::builder()
            .provider(Provider::Cognito)
            .nodes(3)
            .propagation_window(WINDOW)
            .client(Client::new(CLIENT, secret).grant("orders").scopes(["orders/read"]))
            .api_token(format!("AKIDROTATOR:{key}"))
            .api_token(format!("ASIATEMPORARY:{key}"))
            .bind(embedded.address);
        embedded.run(builder);
        let url = embedded.site.url.clone();
        embedded.put_authority(&format!(
            "kind = \"cognito\"\nuser_pool_id = \"eu-west-1_keyswap\"\nscope = \"orders/read\"\n\
             domain = \"{url}\"\nendpoint = \"{url}\"\n"
        ));
        embedded
    }

    /// Like WSO2 Identity Server.
    pub fn wso2() -> Self {
        let mut embedded = Self::start();
        embedded.die();
        let secret = embedded.site.first_secret();
        let management = std::fs::read_to_string(embedded.site.path("management-secret")).unwrap();
        let management = Client::management(MANAGEMENT_CLIENT, management);
        let scopes = ["view", "client_secret_view", "client_secret_create", "client_secret_delete"];
        let scopes = scopes.map(|scope| format!("internal_application_mgt_{scope}"));
        let builder = AuthorizationServer::builder()
            .provider(Provider::Wso2 { hashes: false })
            .nodes(3)
            .propagation_window(WINDOW)
            .client(Client::new(CLIENT, secret).application("app-1"))
            .management_client(management.scopes(scopes))
            .bind(embedded.address);
        embedded.run(builder);
        let url = embedded.site.url.clone();
        embedded.put_authority(&format!(
            "kind = \"wso2\"\nurl = \"{url}/t/shop\"\napplication_id = \"app-1\"\n\
             management_client_id = \"{MANAGEMENT_CLIENT}\"\n\
             management_secret = {{ file = \"management-secret\" }}\n"
        ));
        embedded
    }

    /// Like FusionAuth: the management secret is an API key.
    pub fn fusionauth() -> Self {
        let mut embedded = Self::start();
        embedded.die();
        let secret = embedded.site.first_secret();
        let key = std::fs::read_to_string(embedded.site.path("management-secret")).unwrap();
        let builder = AuthorizationServer::builder()
            .provider(Provider::FusionAuth)
            .nodes(3)
            .propagation_window(WINDOW)
            .client(Client::new(CLIENT, secret).application("app-1").grant(TENANT))
            .api_token(key)
            .bind(embedded.address);
        embedded.run(builder);
        embedded.configure_authority(&format!(
            "kind = \"fusionauth\"\napplication_id = \"app-1\"\ntenant_id = \"{TENANT}\"\n\
             api_key = {{ file = \"management-secret\" }}\n",
        ));
        embedded
    }

    /// Like Zitadel: the management secret is the token of a service account.
    pub fn zitadel() -> Self {
        let mut embedded = Self::start();
        embedded.die();
        let secret = embedded.site.first_secret();
        let token = std::fs::read_to_string(embedded.site.path("management-secret")).unwrap();
        let client = Client::new(CLIENT, secret)
            .application("app-1")
            .grant("project-1")
            .grant_types(["authorization_code", "refresh_token"]);
        let builder = AuthorizationServer::builder()
            .provider(Provider::Zitadel)
            .nodes(3)
            .propagation_window(WINDOW)
            .client(client.authentication(ClientAuthentication::SecretBasic))
            .api_token(token)
            .bind(embedded.address);
        embedded.run(builder);
        embedded.configure_authority(
            "kind = \"zitadel\"\nproject_id = \"project-1\"\napplication_id = \"app-1\"\n\
             token = { file = \"management-secret\" }\n",
        );
        embedded
    }

    /// Like Keycloak: the management client is one of the realm, with the role for it.
    pub fn keycloak() -> Self {
        let mut embedded = Self::start();
        embedded.die();
        let secret = embedded.site.first_secret();
        let management = std::fs::read_to_string(embedded.site.path("management-secret")).unwrap();
        let builder = AuthorizationServer::builder()
            .provider(Provider::Keycloak)
            .nodes(3)
            .propagation_window(WINDOW)
            .client(Client::new(CLIENT, secret))
            .client(Client::management(MANAGEMENT_CLIENT, management).scopes(["manage-clients"]))
            .bind(embedded.address);
        embedded.run(builder);
        embedded.configure_authority(&format!(
            "kind = \"keycloak\"\nrealm = \"shop\"\nmanagement_client_id = \"{MANAGEMENT_CLIENT}\"\n\
             management_secret = {{ file = \"management-secret\" }}\n"
        ));
        embedded
    }

    /// Puts this in the place of the authority in the configuration, with the address of the server.
    fn configure_authority(&self, authority: &str) {
        self.put_authority(&format!("{authority}url = \"{}\"\n", self.site.url));
    }

    fn put_authority(&self, authority: &str) {
        let (start, end) = ("kind = \"auth0\"", "\n[store]");
        let text = std::fs::read_to_string(self.site.configuration()).unwrap();
        let before = &text[text.find(start).unwrap()..text.find(end).unwrap()];
        self.site.configure(before, authority);
    }

    fn is_ready(&mut self) {
        let embedded = self;
        embedded.address = embedded.server().address();
        embedded.site.url = embedded.server().url();
        std::fs::write(embedded.site.configuration(), configuration(&embedded.site.url)).unwrap();
    }

    fn serve(&mut self, secret: &str, scopes: &[&str]) {
        let management = std::fs::read_to_string(self.site.path("management-secret")).unwrap();
        let builder = AuthorizationServer::builder()
            .nodes(3)
            .propagation_window(WINDOW)
            .client(Client::new(CLIENT, secret).grant(AUDIENCE))
            .management_client(
                Client::management(MANAGEMENT_CLIENT, management)
                    .scopes(scopes.iter().copied().map(str::to_owned)),
            )
            .bind(self.address);
        self.run(builder);
    }

    fn run(&mut self, builder: keyswap_testkit::Builder) {
        let runtime = Runtime::new().unwrap();
        let server = eventually("the server starts", || {
            let started = runtime.block_on(builder.clone().start());
            // Of the listener before, a program that is being started just then has a copy.
            started.inspect_err(|error| println!("{error}")).ok()
        });
        self.server = Some(server);
        self.runtime = Some(runtime);
        self.held = None;
    }

    pub fn server(&self) -> &AuthorizationServer {
        self.server.as_ref().expect("the server runs")
    }

    pub fn runtime(&self) -> &Runtime {
        self.runtime.as_ref().expect("the server runs")
    }

    /// An instance of the application in this process, which reports and never signs in.
    pub fn idle_instance(&self) {
        self.idle_instance_of(CLIENT);
    }

    /// The same, of an application that has the name of its client.
    pub fn idle_instance_of(&self, client: &str) {
        let store = FileStore::open(self.site.store(), client).unwrap();
        let runtime = self.runtime.as_ref().unwrap();
        let policy = keyswap_core::FallbackPolicy::default().propagation_window(WINDOW);
        let (_, member) = runtime.block_on(keyswap_store::join(store, client, policy)).unwrap();
        runtime.spawn(member);
        let holds_a_list = |status: StatusView| {
            status.instances.iter().any(|instance| instance.live && instance.revision.is_some())
        };
        eventually("its report", || holds_a_list(self.site.status_of(client)).then_some(()));
    }

    /// Ends it with all its connections, as a crash would.
    pub fn die(&mut self) {
        self.server = None;
        self.runtime.take().unwrap().shutdown_background();
        let address = self.address;
        eventually("nobody listens", || std::net::TcpStream::connect(address).err());
        // Nobody else is given it, and no connection to it comes from it. The next server may listen there all the same.
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        eventually("the port is free", || socket.bind(address).ok());
        self.held = Some(socket);
    }

    /// Starts it again at the same address, with this secret of the client.
    pub fn revive(&mut self, secret: &str) {
        self.serve(secret, &Client::MANAGEMENT_SCOPES);
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        self.server = None;
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
