//! The clients of a configuration, one or several: what each has of its own, and the choice between them.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use keyswap_admin::{Application, ClientAuthentication, RotationPolicy};
use serde::Deserialize;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{self, Deserializer, MapAccess, SeqAccess, Visitor};

use super::{ApplicationTable, Configuration, PolicyTable};
use crate::arguments::Chosen;
use crate::exit::Failure;
use crate::nearest;
use crate::secret_source::SecretSource;

/// How often an application uses the secret if it does not say.
const USES_EVERY: Duration = Duration::from_secs(600);
/// The application that keyswap itself is, where it follows the store of the management secret.
pub(crate) const KEYSWAP: &str = "keyswap";
/// How many clients an error names.
const MOST_NAMED: usize = 8;

/// `[client]`, or several `[[client]]`.
#[derive(Debug)]
pub(super) struct ClientTables(Vec<ClientTable>);

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ClientTable {
    id: String,
    authentication: Option<Authentication>,
    audience: Option<String>,
    scope: Option<String>,
    directory: Option<PathBuf>,
    #[serde(default, rename = "application")]
    applications: Vec<ApplicationTable>,
    #[serde(default)]
    policy: PolicyTable,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Authentication {
    Post,
    Basic,
}

impl From<Authentication> for ClientAuthentication {
    fn from(authentication: Authentication) -> Self {
        match authentication {
            Authentication::Post => Self::Post,
            Authentication::Basic => Self::Basic,
        }
    }
}

/// By hand, since an untagged enum forgets which field was wrong and where.
impl<'de> Deserialize<'de> for ClientTables {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Tables;
        impl<'de> Visitor<'de> for Tables {
            type Value = ClientTables;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a table [client], or several [[client]]")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<ClientTables, A::Error> {
                let table = ClientTable::deserialize(MapAccessDeserializer::new(map))?;
                Ok(ClientTables(vec![table]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, tables: A) -> Result<ClientTables, A::Error> {
                let tables = Vec::deserialize(SeqAccessDeserializer::new(tables))?;
                match tables.is_empty() {
                    true => Err(de::Error::invalid_length(0, &self)),
                    false => Ok(ClientTables(tables)),
                }
            }
        }
        deserializer.deserialize_any(Tables)
    }
}

impl ClientTables {
    pub(super) fn relative_to(&mut self, directory: &Path) {
        for own in self.0.iter_mut().filter_map(|client| client.directory.as_mut()) {
            *own = directory.join(&*own);
        }
    }

    /// What is wrong with the clients or their applications: where, and why.
    pub(super) fn check(
        &self,
        shared: &[ApplicationTable],
        (kind, needs): (&str, Option<&str>),
    ) -> Result<(), (String, String)> {
        let several = self.0.len() > 1;
        check_applications(shared, "[[application]]", "")?;
        for (position, client) in self.0.iter().enumerate() {
            let of = if several { format!(" of client {}", client.id) } else { String::new() };
            if client.id.is_empty() {
                let reason = format!("[[client]] number {} needs an `id`", position + 1);
                return Err((String::new(), reason));
            }
            if self.0[..position].iter().any(|other| other.id == client.id) {
                return Err((String::new(), format!("the client {} is named twice", client.id)));
            }
            check_applications(&client.applications, "[[client.application]]", &of)?;
            if client.applications.is_empty() && shared.is_empty() {
                let reason = format!(
                    "no [[application]]{of} is declared: each program that uses the secret has to be, or \
                     it would lose its access"
                );
                return Err((String::new(), reason));
            }
            let given = [("audience", &client.audience), ("scope", &client.scope)];
            let foreign =
                given.iter().find(|(name, value)| Some(*name) != needs && value.is_some());
            if let Some((has, _)) = foreign {
                let with = match needs {
                    Some(needs) => format!("with a `{needs}`"),
                    None => "without one".to_owned(),
                };
                let reason = format!(
                    "the client {} has a `{has}`, and the secrets of a client of {kind} are proved {with}",
                    client.id
                );
                return Err((String::new(), reason));
            }
        }
        Ok(())
    }
}

fn check_applications(
    applications: &[ApplicationTable],
    table: &str,
    of: &str,
) -> Result<(), (String, String)> {
    for (position, application) in applications.iter().enumerate() {
        if application.name.is_empty() || application.instances == 0 {
            return Err((
                format!(", {table} number {}{of}", position + 1),
                "it needs a `name`, and 1 or more `instances`".to_owned(),
            ));
        }
        if applications[..position].iter().any(|other| other.name == application.name) {
            let reason = format!("the application {}{of} is declared twice", application.name);
            return Err((String::new(), reason));
        }
    }
    Ok(())
}

impl Configuration {
    /// Every client, in the order of the file.
    pub(crate) fn clients(&self) -> impl Iterator<Item = OfClient<'_>> {
        self.clients.0.iter().map(|table| OfClient { table, configuration: self })
    }

    /// The client with this id.
    pub(crate) fn client(&self, id: &str) -> Result<OfClient<'_>, Failure> {
        self.clients().find(|client| client.id() == id).ok_or_else(|| {
            Failure::usage(format!(
                "the configuration {} names no client {id}; it names {}{}",
                self.path.display(),
                self.ids(),
                nearest::hint(id, self.clients().map(|client| client.id()))
            ))
        })
    }

    /// The client of a configuration that names one.
    pub(crate) fn only(&self) -> Result<OfClient<'_>, Failure> {
        let mut clients = self.clients();
        match (clients.next(), clients.next()) {
            (Some(only), None) => Ok(only),
            _ => Err(Failure::usage(format!(
                "the configuration {} names several clients ({})",
                self.path.display(),
                self.ids()
            ))),
        }
    }

    /// The clients that the command line chooses: each once, in the order of the file.
    pub(crate) fn chosen(&self, chosen: &Chosen) -> Result<Vec<OfClient<'_>>, Failure> {
        if chosen.all {
            return Ok(self.clients().collect());
        }
        if chosen.clients.is_empty() {
            let only = self.only();
            return Ok(vec![only.map_err(|error| {
                error.followed_by(
                    ": choose with --client ID, which may be given again, or with --all",
                )
            })?]);
        }
        for id in &chosen.clients {
            self.client(id)?;
        }
        let wanted = |client: &OfClient<'_>| chosen.clients.iter().any(|id| id == client.id());
        Ok(self.clients().filter(wanted).collect())
    }

    fn ids(&self) -> String {
        let mut ids: Vec<_> = self.clients().take(MOST_NAMED).map(|client| client.id()).collect();
        let more = self.clients.0.len().saturating_sub(MOST_NAMED);
        let more = format!("{more} more");
        if self.clients.0.len() > MOST_NAMED {
            ids.push(&more);
        }
        ids.join(", ")
    }
}

/// A configuration as it is for one of its clients.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OfClient<'a> {
    table: &'a ClientTable,
    pub(crate) configuration: &'a Configuration,
}

impl<'a> OfClient<'a> {
    pub(crate) fn id(&self) -> &'a str {
        &self.table.id
    }

    /// Whether it is the client that makes the management requests.
    pub(crate) fn is_management(&self) -> bool {
        self.configuration.authority.management().is_some_and(|(client, _)| client == self.id())
    }

    /// A rotation of the management client is one of keyswap itself: it has to hold the new secret
    /// before the server does, like any other program.
    pub(crate) fn check_management(&self) -> Result<(), Failure> {
        let management = self.configuration.authority.management();
        let Some((client, management_secret)) =
            management.filter(|(client, _)| *client == self.id())
        else {
            return Ok(());
        };
        match management_secret {
            SecretSource::Store(directory) if Some(directory.as_path()) == self.directory() => {}
            SecretSource::OwnStore if !self.has_its_own_directory() => {}
            SecretSource::OwnStore => {
                return Err(Failure::usage(format!(
                    "client {client} makes the management requests with the secret in the store of [store], and has \
                     a `directory` of its own: leave that out"
                )));
            }
            SecretSource::Store(directory) => {
                let rotated = match self.directory() {
                    Some(directory) => directory.display().to_string(),
                    None => "etcd".to_owned(),
                };
                return Err(Failure::usage(format!(
                    "client {client} makes the management requests with the secret in {}, and would be \
                     rotated in {}: name the same store in both, or write {{ store = true }}",
                    directory.display(),
                    rotated
                )));
            }
            other => {
                return Err(Failure::usage(format!(
                    "client {client} makes the management requests with the secret from {other}, which a \
                     rotation would leave behind: put it into the store (`keyswap init --client-id \
                     {client}`), and write management_secret = {{ store = true }}"
                )));
            }
        }
        if !self.applications().iter().any(|application| application.name == KEYSWAP) {
            return Err(Failure::usage(format!(
                "client {client} makes the management requests, so keyswap itself uses its secret: \
                 declare [[client.application]] with name = \"{KEYSWAP}\""
            )));
        }
        Ok(())
    }

    pub(crate) fn authentication(&self) -> Option<ClientAuthentication> {
        self.table.authentication.map(ClientAuthentication::from)
    }

    /// The API that this client's secret is proved with, where it has one of its own.
    pub(crate) fn audience(&self) -> Option<&'a str> {
        self.table.audience.as_deref()
    }

    /// The scope that this client's secret is proved with, where it has one of its own.
    pub(crate) fn scope(&self) -> Option<&'a str> {
        self.table.scope.as_deref()
    }

    pub(super) fn has_its_own_directory(&self) -> bool {
        self.table.directory.is_some()
    }

    /// Where the store is, if it is a directory; in it, each client has a directory of its own.
    pub(crate) fn directory(&self) -> Option<&'a Path> {
        self.table.directory.as_deref().or(self.configuration.store.directory.as_deref())
    }

    /// Its own applications, or those that are declared for all.
    fn application_tables(&self) -> &'a [ApplicationTable] {
        match self.table.applications.as_slice() {
            [] => &self.configuration.applications,
            own => own,
        }
    }

    pub(crate) fn applications(&self) -> Vec<Application> {
        self.application_tables()
            .iter()
            .map(|table| {
                let application = Application::new(&table.name).instances(table.instances);
                if table.manual { application.manual() } else { application }
            })
            .collect()
    }

    /// A value of its own policy, or else of the policy for all.
    fn policy(&self, value: impl Fn(&PolicyTable) -> Option<Duration>) -> Option<Duration> {
        value(&self.table.policy).or_else(|| value(&self.configuration.policy))
    }

    pub(crate) fn patience(&self) -> Option<Duration> {
        self.policy(|policy| policy.patience)
    }

    pub(crate) fn quiet_period(&self) -> Option<Duration> {
        self.policy(|policy| policy.quiet_period)
    }

    pub(crate) fn in_flight_bound(&self) -> Option<Duration> {
        self.policy(|policy| policy.in_flight_bound)
    }

    /// The propagation window, if it is not what the authority says.
    pub(crate) fn propagation_window(&self) -> Option<Duration> {
        self.policy(|policy| policy.propagation_window)
    }

    /// The policy of a rotation that begins. The quiet period is by default the propagation window and
    /// the longest time between two uses by any application.
    pub(crate) fn rotation_policy(&self, window_of_authority: Duration) -> RotationPolicy {
        let window = self.propagation_window().unwrap_or(window_of_authority);
        let uses_every = self
            .application_tables()
            .iter()
            .map(|table| table.uses_every.unwrap_or(USES_EVERY))
            .max();
        let quiet = self.quiet_period().unwrap_or(window + uses_every.unwrap_or(USES_EVERY));
        let mut policy = RotationPolicy::new(self.applications())
            .propagation_window(window)
            .quiet_period(quiet)
            // Once a second at a real server; more often where everything else is faster as well.
            .poll_every((window / 10).clamp(Duration::from_millis(100), Duration::from_secs(1)));
        if let Some(bound) = self.in_flight_bound() {
            policy.in_flight_bound = bound;
        }
        let windows = &self.table.policy.window;
        policy.change_windows =
            windows.as_ref().or(self.configuration.policy.window.as_ref()).cloned();
        policy
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REST: &str = "[authority]\nkind = \"hydra\"\nurl = \"http://127.0.0.1:1\"\n\
        admin_url = \"http://127.0.0.1:1\"\n[store]\ndirectory = \"store\"\n";

    fn parse(text: &str) -> Result<Configuration, String> {
        let parsed =
            Configuration::parse(&format!("{text}\n{REST}"), Path::new("etc/keyswap.toml"));
        parsed.map_err(|error| error.to_string())
    }

    fn several() -> Configuration {
        parse(
            r#"
            [[client]]
            id = "billing"
            scope = "read"
            directory = "own"
            policy = { quiet_period = "2h" }
            [[client.application]]
            name = "invoices"
            instances = 3
            uses_every = "1h"
            [[client]]
            id = "orders"
            authentication = "post"
            [[client]]
            id = "stock"
            [[application]]
            name = "shared"
            [policy]
            propagation_window = "10s"
            patience = "5m"
            quiet_period = "1h"
            "#,
        )
        .unwrap()
    }

    #[test]
    fn a_client_has_what_its_table_says_and_else_what_is_said_for_all() {
        let configuration = several();
        let own = configuration.client("billing").unwrap();
        let policy = own.rotation_policy(Duration::from_secs(30));
        assert_eq!(policy.applications, [Application::new("invoices").instances(3)]);
        assert_eq!(policy.propagation_window, Some(Duration::from_secs(10)));
        assert_eq!(policy.quiet_period, Duration::from_secs(7200));
        assert_eq!(own.directory(), Some(Path::new("etc/own")));
        assert_eq!((own.scope(), own.patience()), (Some("read"), Some(Duration::from_secs(300))));

        let other = configuration.client("orders").unwrap();
        let policy = other.rotation_policy(Duration::from_secs(30));
        assert_eq!(policy.applications, [Application::new("shared")]);
        assert_eq!(policy.quiet_period, Duration::from_secs(3600));
        assert_eq!(other.directory(), Some(Path::new("etc/store")));
        assert_eq!(other.authentication(), Some(ClientAuthentication::Post));
        assert_eq!(other.scope(), None);
    }

    #[test]
    fn clients_are_chosen_in_the_order_of_the_file_and_each_once() {
        let configuration = several();
        let chosen = |clients: &[&str], all| {
            let clients = clients.iter().map(|id| (*id).to_owned()).collect();
            let chosen = configuration.chosen(&Chosen { clients, all });
            chosen.map(|found| found.iter().map(|client| client.id()).collect::<Vec<_>>())
        };
        assert_eq!(chosen(&[], true).unwrap(), ["billing", "orders", "stock"]);
        assert_eq!(chosen(&["stock", "billing", "stock"], false).unwrap(), ["billing", "stock"]);
        let error = chosen(&["nobody"], false).unwrap_err().to_string();
        assert!(error.contains("no client nobody; it names billing, orders, stock"), "{error}");
        let error = chosen(&[], false).unwrap_err().to_string();
        assert!(error.contains("several clients (billing, orders, stock)"), "{error}");
        assert!(error.contains("--client ID") && error.contains("--all"), "{error}");
    }

    #[test]
    fn a_mistake_in_one_of_several_tables_is_named() {
        let client = |id: &str, rest: &str| format!("[[client]]\nid = \"{id}\"\n{rest}\n");
        let application = "[[client.application]]\nname = \"a\"\n";
        for (text, parts) in [
            (client("a", application).repeat(2), &["client a is named twice"][..]),
            (client("", application), &["[[client]] number 1", "`id`"]),
            (
                client("a", application) + &client("b", ""),
                &["no [[application]] of client b is declared"],
            ),
            (
                client("a", application) + &client("b", &application.repeat(2)),
                &["the application a of client b is declared twice"],
            ),
            (
                client("a", "audience = \"https://api.example/\"") + application,
                &["client a has a `audience`", "hydra", "`scope`"],
            ),
            (client("a", "secret = 1"), &["line 3", "unknown field `secret`"]),
            ("client = []".to_owned(), &["line 1", "[[client]]"]),
        ] {
            let error = parse(&text).unwrap_err();
            for part in parts {
                assert!(error.contains(part), "{part:?} is not in {error:?}, for {text}");
            }
        }
        let many: String = (0..20).map(|number| client(&number.to_string(), application)).collect();
        let error = parse(&many).unwrap().only().unwrap_err().to_string();
        assert!(error.contains("(0, 1, 2, 3, 4, 5, 6, 7, 12 more)"), "{error}");
    }
}
