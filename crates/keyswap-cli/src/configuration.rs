//! `keyswap.toml`: clients, authority, applications, store and policy.

mod aws;
mod client;
mod entra;
mod etcd;
mod store;

use std::path::{Path, PathBuf};
use std::time::Duration;

use keyswap_tower::Profile;
use serde::Deserialize;
use url::Url;

pub(crate) use self::aws::AwsTable;
use self::client::ClientTables;
pub(crate) use self::client::{KEYSWAP, OfClient};
pub(crate) use self::entra::EntraTable;
pub(crate) use self::etcd::EtcdTable;
pub(crate) use self::store::StoreTable;
use crate::exit::Failure;
use crate::secret_source::{EXPECTED, SecretSource};

/// A configuration, its paths taken relative to the directory of its file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Configuration {
    #[serde(rename = "client")]
    clients: ClientTables,
    pub(crate) authority: AuthorityTable,
    pub(crate) store: StoreTable,
    #[serde(default, rename = "application")]
    applications: Vec<ApplicationTable>,
    #[serde(default)]
    pub(crate) policy: PolicyTable,
    /// Where it came from.
    #[serde(skip)]
    path: PathBuf,
    /// What is still to be filled in.
    #[serde(skip)]
    unfilled: Option<String>,
}

/// The authorization server; `kind` says which fields there are.
#[derive(Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum AuthorityTable {
    Auth0 {
        url: Url,
        audience: Option<String>,
        management_client_id: String,
        management_secret: SecretSource,
        management_audience: Option<String>,
        requests_per_second: Option<f64>,
        share: Option<f64>,
    },
    Entra(EntraTable),
    // In one word, as its profile and its capabilities name it.
    #[serde(rename = "fusionauth")]
    FusionAuth {
        url: Url,
        api_key: SecretSource,
        application_id: Option<String>,
        tenant_id: Option<String>,
        requests_per_second: Option<f64>,
        share: Option<f64>,
    },
    Hydra {
        url: Url,
        admin_url: Url,
        scope: Option<String>,
        overlap: Option<bool>,
        requests_per_second: Option<f64>,
        share: Option<f64>,
    },
    Keycloak {
        url: Url,
        realm: String,
        management_client_id: String,
        management_secret: SecretSource,
        management_realm: Option<String>,
        requests_per_second: Option<f64>,
        share: Option<f64>,
    },
    Okta {
        url: Url,
        api_token: Option<SecretSource>,
        management_client_id: Option<String>,
        management_private_key: Option<SecretSource>,
        management_key_id: Option<String>,
        application_id: Option<String>,
        authorization_server: Option<String>,
        scope: Option<String>,
        requests_per_second: Option<f64>,
        share: Option<f64>,
    },
    Exec {
        command: Vec<String>,
        #[serde(default)]
        environment: Vec<String>,
        #[serde(
            default,
            with = "jiff::fmt::serde::unsigned_duration::friendly::compact::optional"
        )]
        timeout: Option<Duration>,
        requests_per_second: Option<f64>,
        share: Option<f64>,
    },
    Registration {
        registration_client_uri: Url,
        token_endpoint: Url,
        #[serde(default)]
        client_chooses: bool,
        profile: Option<ProfileName>,
        scope: Option<String>,
        requests_per_second: Option<f64>,
        share: Option<f64>,
    },
    Zitadel {
        url: Url,
        token: SecretSource,
        project_id: String,
        application_id: String,
        requests_per_second: Option<f64>,
        share: Option<f64>,
    },
}

impl AuthorityTable {
    /// The client that makes the management requests and where its secret comes from, if it is one that could
    /// itself be rotated here.
    fn management(&self) -> Option<(&str, &SecretSource)> {
        match self {
            Self::Auth0 { management_client_id, management_secret, .. } => {
                Some((management_client_id, management_secret))
            }
            Self::Entra(table) => Some((&table.management_client_id, &table.management_secret)),
            // A client of the same id in another realm is another one.
            Self::Keycloak {
                realm,
                management_client_id,
                management_secret,
                management_realm,
                ..
            } if management_realm.as_ref().is_none_or(|other| other == realm) => {
                Some((management_client_id, management_secret))
            }
            Self::Exec { .. }
            | Self::FusionAuth { .. }
            | Self::Hydra { .. }
            | Self::Keycloak { .. }
            | Self::Okta { .. }
            | Self::Registration { .. }
            | Self::Zitadel { .. } => None,
        }
    }

    /// Where the secret comes from that management requests are made with.
    fn secret_source(&mut self) -> Option<&mut SecretSource> {
        match self {
            Self::Auth0 { management_secret: source, .. }
            | Self::Entra(EntraTable { management_secret: source, .. })
            | Self::FusionAuth { api_key: source, .. }
            | Self::Keycloak { management_secret: source, .. }
            | Self::Okta { api_token: Some(source), .. }
            | Self::Okta { management_private_key: Some(source), .. }
            | Self::Zitadel { token: source, .. } => Some(source),
            Self::Exec { .. }
            | Self::Hydra { .. }
            | Self::Okta { .. }
            | Self::Registration { .. } => None,
        }
    }

    /// What does not go together.
    fn check(&self) -> Result<(), &'static str> {
        let Self::Okta {
            api_token,
            management_client_id,
            management_private_key,
            management_key_id,
            ..
        } = self
        else {
            return Ok(());
        };
        match (api_token, management_client_id, management_private_key) {
            (Some(_), None, None) if management_key_id.is_none() => Ok(()),
            (None, Some(_), Some(_)) => Ok(()),
            _ => Err(
                "the management requests of okta are made with an `api_token`, or by a service app with its \
                      `management_client_id` and its `management_private_key`: name either the one or both of the \
                      others",
            ),
        }
    }
}

/// A profile by its name, for instance `oidc-provider`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ProfileName(pub(crate) Profile);

impl<'de> Deserialize<'de> for ProfileName {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        name.parse().map(Self).map_err(serde::de::Error::custom)
    }
}

impl AuthorityTable {
    /// Whether nothing but this machine is between it and the rotator.
    fn is_on_this_machine(&self) -> bool {
        let url = match self {
            Self::Auth0 { url, .. } | Self::FusionAuth { url, .. } => url,
            Self::Entra(table) => return table.is_on_this_machine(),
            Self::Hydra { admin_url, .. } => admin_url,
            Self::Registration { registration_client_uri, .. } => registration_client_uri,
            Self::Keycloak { url, .. } | Self::Okta { url, .. } | Self::Zitadel { url, .. } => url,
            // Nobody knows where its server is.
            Self::Exec { .. } => return false,
        };
        is_on_this_machine(url)
    }

    /// How many management requests a second the server allows, and the part of them that is taken.
    pub(crate) fn limit(&self) -> (Option<f64>, Option<f64>) {
        match self {
            Self::Auth0 { requests_per_second, share, .. }
            | Self::Entra(EntraTable { requests_per_second, share, .. })
            | Self::Exec { requests_per_second, share, .. }
            | Self::FusionAuth { requests_per_second, share, .. }
            | Self::Hydra { requests_per_second, share, .. }
            | Self::Keycloak { requests_per_second, share, .. }
            | Self::Okta { requests_per_second, share, .. }
            | Self::Registration { requests_per_second, share, .. }
            | Self::Zitadel { requests_per_second, share, .. } => (*requests_per_second, *share),
        }
    }
}

fn is_on_this_machine(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ApplicationTable {
    name: String,
    #[serde(default = "one")]
    instances: u32,
    #[serde(default)]
    manual: bool,
    #[serde(default, with = "jiff::fmt::serde::unsigned_duration::friendly::compact::optional")]
    uses_every: Option<Duration>,
}

fn one() -> u32 {
    1
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PolicyTable {
    #[serde(default, with = "jiff::fmt::serde::unsigned_duration::friendly::compact::optional")]
    propagation_window: Option<Duration>,
    #[serde(default, with = "jiff::fmt::serde::unsigned_duration::friendly::compact::optional")]
    quiet_period: Option<Duration>,
    #[serde(default, with = "jiff::fmt::serde::unsigned_duration::friendly::compact::optional")]
    patience: Option<Duration>,
    #[serde(default, with = "jiff::fmt::serde::unsigned_duration::friendly::compact::optional")]
    in_flight_bound: Option<Duration>,
}

/// A lease that is shorter is lost to a slow disk, and one that is longer is waited for.
const LEASES: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(3600);
/// A change is on its way for as long as its request may take, and whatever stands between.
const SHORTEST_IN_FLIGHT_BOUND: Duration = Duration::from_secs(60);

impl Configuration {
    /// Reads a configuration.
    pub(crate) fn load(path: &Path) -> Result<Self, Failure> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            Failure::usage(format!(
                "the configuration {} cannot be read: {error}; `keyswap init` writes one, and --config \
                 names another",
                path.display()
            ))
        })?;
        Self::parse(&text, path)
    }

    fn parse(text: &str, path: &Path) -> Result<Self, Failure> {
        let wrong = |place: String, reason: &str| {
            Failure::usage(format!("the configuration {}{place}: {reason}", path.display()))
        };
        let mut configuration: Self = toml::from_str(text).map_err(|error| {
            // The error's own Display shows the source line, which may hold what it should not.
            let before = |span: std::ops::Range<usize>| &text[..span.start.min(text.len())];
            let line = error.span().map(|span| before(span).matches('\n').count() + 1);
            let place = line.map(|line| format!(", line {line}")).unwrap_or_default();
            wrong(place, &without_values(error.message()))
        })?;
        configuration.unfilled = placeholder(text).map(|(line, name)| {
            format!(
                "the configuration {}, line {line}: {name} stands for something that is yours: fill it in",
                path.display()
            )
        });
        let directory = path.parent().unwrap_or(Path::new(""));
        configuration.path = path.to_owned();
        configuration.store.relative_to(directory);
        configuration.clients.relative_to(directory);
        if let Some(source) = configuration.authority.secret_source() {
            *source = source.clone().relative_to(directory);
        }
        let of_clients = configuration.clients().any(|client| client.has_its_own_directory());
        let several = configuration.clients().nth(1).is_some();
        let checked = configuration.store.check(of_clients, several);
        checked.map_err(|reason| wrong(String::new(), reason))?;
        if configuration.store.lease.is_some_and(|lease| !LEASES.contains(&lease)) {
            return Err(wrong(String::new(), "a `lease` is from 1s to 1h long"));
        }
        let mut bounds = configuration.clients().filter_map(|client| client.in_flight_bound());
        let hurried = bounds.any(|bound| bound < SHORTEST_IN_FLIGHT_BOUND);
        drop(bounds);
        if hurried && !configuration.authority.is_on_this_machine() {
            return Err(wrong(
                String::new(),
                "an `in_flight_bound` of less than 1m is for a server on this machine only: a change that \
                 comes after it would undo the next rotation",
            ));
        }
        let (rate, share) = configuration.authority.limit();
        if rate.is_some_and(|rate| !(0.01..=1e6).contains(&rate)) {
            return Err(wrong(String::new(), "`requests_per_second` is from 0.01 to 1000000"));
        }
        if share.is_some_and(|share| !(0.01..=1.0).contains(&share)) {
            return Err(wrong(String::new(), "a `share` is from 0.01 to 1"));
        }
        configuration.authority.check().map_err(|reason| wrong(String::new(), reason))?;
        let proved_with = match configuration.authority {
            AuthorityTable::Auth0 { .. } => ("auth0", Some("audience")),
            AuthorityTable::Entra(_) => ("entra", Some("scope")),
            AuthorityTable::Exec { .. } => ("exec", None),
            AuthorityTable::FusionAuth { .. } => ("fusionauth", None),
            AuthorityTable::Hydra { .. } => ("hydra", Some("scope")),
            AuthorityTable::Keycloak { .. } => ("keycloak", None),
            AuthorityTable::Okta { .. } => ("okta", Some("scope")),
            AuthorityTable::Registration { .. } => ("registration", Some("scope")),
            AuthorityTable::Zitadel { .. } => ("zitadel", None),
        };
        configuration
            .clients
            .check(&configuration.applications, proved_with)
            .map_err(|(place, reason)| wrong(place, &reason))?;
        Ok(configuration)
    }

    /// The directory of its file, which paths in it are relative to.
    pub(crate) fn directory(&self) -> &Path {
        let directory = self.path.parent().unwrap_or(Path::new(""));
        if directory.as_os_str().is_empty() { Path::new(".") } else { directory }
    }

    /// Refuses what `init` left to be filled in, before anything is sent to a server that is not ours.
    pub(crate) fn check_filled_in(&self) -> Result<(), Failure> {
        match &self.unfilled {
            Some(message) => Err(Failure::usage(message.as_str())),
            None => Ok(()),
        }
    }
}

/// A parser's message without the values that it repeats: `invalid type: string "x"` holds x.
fn without_values(message: &str) -> String {
    if message == EXPECTED {
        return message.to_owned();
    }
    let mut text = String::with_capacity(message.len());
    let mut rest = message;
    while let Some(start) = rest.find('"') {
        text.push_str(&rest[..start]);
        let behind = &rest[start + 1..];
        text.push('…');
        rest = behind.find('"').map_or("", |end| &behind[end + 1..]);
    }
    text.push_str(rest);
    text.replace('\n', " ")
}

/// The first of the template's placeholders that is left, and the line that it stands in.
fn placeholder(text: &str) -> Option<(usize, &'static str)> {
    (1..).zip(text.lines()).filter(|(_, line)| !line.trim_start().starts_with('#')).find_map(
        |(number, line)| Some((number, *PLACEHOLDERS.iter().find(|name| line.contains(**name))?)),
    )
}

/// The configuration that `init` writes.
pub(crate) fn template(client_id: Option<&str>) -> String {
    let client_id = client_id.unwrap_or(CLIENT_PLACEHOLDER);
    TEMPLATE.replace(CLIENT_PLACEHOLDER, &client_id.replace('\\', "\\\\").replace('"', "\\\""))
}

/// What the template has for the client id.
pub(crate) const CLIENT_PLACEHOLDER: &str = "THE-CLIENT-ID";
const PLACEHOLDERS: [&str; 3] = [CLIENT_PLACEHOLDER, "THE-TENANT", "THE-MANAGEMENT-CLIENT-ID"];

const TEMPLATE: &str = include_str!("keyswap.toml");

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Configuration, Failure> {
        Configuration::parse(text, Path::new("etc/keyswap.toml"))
    }

    fn refused(text: &str) -> String {
        parse(text).unwrap_err().to_string()
    }

    #[test]
    fn what_init_writes_is_a_configuration() {
        let configuration = parse(&template(Some("billing \"1\""))).unwrap();
        let client = configuration.only().unwrap();
        assert_eq!(client.id(), "billing \"1\"");
        assert_eq!(client.directory(), Some(Path::new("etc/keyswap-store")));
        let policy = client.rotation_policy(Duration::from_secs(30));
        assert_eq!(policy.quiet_period, Duration::from_secs(630));
    }

    #[test]
    fn an_unknown_or_missing_key_is_named_with_its_line() {
        let text = template(None).replace("[store]\n", "[store]\ndirectroy = \"x\"\n");
        let error = refused(&text);
        assert!(
            error.contains("etc/keyswap.toml, line ") && error.contains("directroy"),
            "{error}"
        );
        let error = refused(&template(None).replace("id = \"THE-CLIENT-ID\"", ""));
        assert!(error.contains("missing field `id`"), "{error}");
        let error = refused(&template(None).replace("kind = \"auth0\"", "kind = \"other\""));
        assert!(error.contains("unknown variant `other`"), "{error}");
    }

    #[test]
    fn what_is_not_filled_in_is_named_before_anything_is_sent() {
        let error = parse(&template(None)).unwrap().check_filled_in().unwrap_err().to_string();
        assert!(error.contains("line 4: THE-CLIENT-ID"), "{error}");
        let text = template(Some("billing")).replace("THE-TENANT", "example");
        let error = parse(&text).unwrap().check_filled_in().unwrap_err().to_string();
        assert!(error.contains("THE-MANAGEMENT-CLIENT-ID"), "{error}");
        let text = text.replace("THE-MANAGEMENT-CLIENT-ID", "rotator");
        parse(&text).unwrap().check_filled_in().unwrap();
    }

    #[test]
    fn a_secret_in_the_configuration_is_refused_and_not_repeated() {
        let source = "management_secret = { env = \"KEYSWAP_MANAGEMENT_SECRET\" }";
        assert!(template(None).contains(source));
        for mistake in
            ["\"hunter2\"", "{ value = \"hunter2\" }", "7", "{ file = 3, x = \"hunter2\" }"]
        {
            let text = template(None).replace(source, &format!("management_secret = {mistake}"));
            let error = refused(&text);
            assert!(!error.contains("hunter2"), "{error}");
            assert!(error.contains("PATH") || error.contains("invalid type"), "{error}");
        }
        let error = refused(
            &template(None).replace("[client]\n", "[client]\nauthentication = \"hunter2\"\n"),
        );
        assert!(error.contains("line"), "{error}");
        let error = refused("instances = \"hunter2\"");
        assert!(!error.contains("hunter2"), "{error}");
    }

    #[test]
    fn an_okta_is_read_and_its_token_never_stands_in_the_file() {
        let okta = |token: &str| {
            let head = "[client]\nid = \"0oa1\"\n[authority]\nkind = \"okta\"\n\
                        url = \"https://org.okta.com\"\nscope = \"read\"\n";
            let tail = "[store]\ndirectory = \"store\"\n[[application]]\nname = \"billing\"\n";
            format!("{head}api_token = {token}\n{tail}")
        };
        let configuration = parse(&okta("{ file = \"api-token\" }")).unwrap();
        let AuthorityTable::Okta { api_token, application_id: None, .. } = configuration.authority
        else {
            panic!("{:?}", configuration.authority)
        };
        assert_eq!(api_token, Some(SecretSource::File("etc/api-token".into())));
        let error = refused(&okta("\"hunter2\""));
        assert!(error.contains("PATH") && !error.contains("hunter2"), "{error}");
    }

    #[test]
    fn a_keycloak_is_read_and_needs_a_realm_and_no_scope() {
        let keycloak = |client: &str, authority: &str| {
            format!(
                "[client]\nid = \"billing\"\n{client}[authority]\nkind = \"keycloak\"\n\
                 url = \"https://login.example/auth\"\nmanagement_client_id = \"keyswap\"\n\
                 management_secret = {{ file = \"management\" }}\n{authority}\n\
                 [store]\ndirectory = \"store\"\n[[application]]\nname = \"billing\"\n"
            )
        };
        let configuration = parse(&keycloak("", "realm = \"shop\"")).unwrap();
        let AuthorityTable::Keycloak { management_secret, management_realm: None, .. } =
            configuration.authority
        else {
            panic!()
        };
        assert_eq!(management_secret, SecretSource::File("etc/management".into()));
        assert!(refused(&keycloak("", "")).contains("missing field `realm`"));
        let error = refused(&keycloak("scope = \"read\"\n", "realm = \"shop\""));
        assert!(error.contains("has a `scope`") && error.contains("without one"), "{error}");
    }

    #[test]
    fn an_entra_is_read_and_its_secrets_are_valid_for_days() {
        let entra = |more: &str| {
            format!(
                "[client]\nid = \"1111\"\nscope = \"api://billing/.default\"\n[authority]\nkind = \"entra\"\n\
                 tenant = \"contoso.onmicrosoft.com\"\nmanagement_client_id = \"2222\"\n\
                 management_secret = {{ file = \"secret\" }}\n{more}\n\
                 [store]\ndirectory = \"store\"\n[[application]]\nname = \"billing\"\n"
            )
        };
        let configuration = parse(&entra("lifetime_days = 90")).unwrap();
        let AuthorityTable::Entra(table) = &configuration.authority else { panic!() };
        assert_eq!(table.management_secret, SecretSource::File("etc/secret".into()));
        assert_eq!(table.lifetime(), Some(Duration::from_secs(90 * 86_400)));
        assert!(!configuration.authority.is_on_this_machine());
        let here = "login_url = \"http://127.0.0.1:4400\"\ngraph_url = \"http://localhost:4400\"";
        assert!(parse(&entra(here)).unwrap().authority.is_on_this_machine());
        let error = refused(&entra("lifetime = \"90d\""));
        assert!(error.contains("unknown field `lifetime`"), "{error}");
        assert!(error.contains("`lifetime_days`"), "{error}");
        let error = refused(&entra("").replace("tenant", "tennant"));
        assert!(error.contains("tennant"), "{error}");
    }

    #[test]
    fn an_okta_has_an_api_token_or_a_service_app_with_its_key() {
        let okta = |management: &str| {
            format!(
                "[client]\nid = \"0oa1\"\n[authority]\nkind = \"okta\"\nurl = \"https://org.okta.com\"\n\
                 {management}\n[store]\ndirectory = \"store\"\n[[application]]\nname = \"billing\"\n"
            )
        };
        let app = "management_client_id = \"0oa2\"";
        let key = "management_private_key = { file = \"key.pem\" }";
        let configuration = parse(&okta(&format!("{app}\n{key}"))).unwrap();
        let AuthorityTable::Okta { management_private_key, .. } = configuration.authority else {
            panic!()
        };
        assert_eq!(management_private_key, Some(SecretSource::File("etc/key.pem".into())));
        let token = "api_token = { file = \"token\" }";
        for mistake in [
            String::new(),
            app.to_owned(),
            key.to_owned(),
            format!("{token}\n{app}\n{key}"),
            format!("{token}\nmanagement_key_id = \"key-1\""),
        ] {
            assert!(refused(&okta(&mistake)).contains("`management_private_key`"), "{mistake}");
        }
    }

    #[test]
    fn a_zitadel_is_read_and_needs_both_ids_and_no_scope() {
        let zitadel = |client: &str, ids: &str| {
            format!(
                "[client]\nid = \"1@shop\"\n{client}[authority]\nkind = \"zitadel\"\n\
                 url = \"https://shop.zitadel.cloud\"\ntoken = {{ file = \"token\" }}\n{ids}\n\
                 [store]\ndirectory = \"store\"\n[[application]]\nname = \"billing\"\n"
            )
        };
        let ids = "project_id = \"2\"\napplication_id = \"3\"";
        let configuration = parse(&zitadel("", ids)).unwrap();
        let AuthorityTable::Zitadel { token, .. } = configuration.authority else { panic!() };
        assert_eq!(token, SecretSource::File("etc/token".into()));
        let error = refused(&zitadel("", "project_id = \"2\""));
        assert!(error.contains("missing field `application_id`"), "{error}");
        let error = refused(&zitadel("scope = \"read\"\n", ids));
        assert!(error.contains("has a `scope`") && error.contains("without one"), "{error}");
    }

    #[test]
    fn a_lease_that_nobody_can_keep_or_wait_for_is_refused() {
        let with = |lease| template(None).replace("# lease = \"30s\"", &format!("lease = {lease}"));
        assert_eq!(parse(&with("\"1s\"")).unwrap().store.lease, Some(Duration::from_secs(1)));
        for lease in ["\"0s\"", "\"999ms\"", "\"2h\""] {
            assert!(refused(&with(lease)).contains("`lease` is from 1s to 1h"), "{lease}");
        }
    }

    #[test]
    fn a_change_is_given_time_to_arrive_unless_the_server_is_on_this_machine() {
        let with = |bound: &str, server: &str| {
            let text =
                template(None).replace("https://THE-TENANT.eu.auth0.com\"", &format!("{server}\""));
            parse(&format!("{text}\n[policy]\nin_flight_bound = \"{bound}\"\n"))
        };
        let bound = |read: Result<Configuration, Failure>| {
            let read = read.unwrap();
            let client = read.clients().next().unwrap();
            client.rotation_policy(Duration::from_secs(30)).in_flight_bound
        };
        assert_eq!(bound(parse(&template(None))), Duration::from_secs(600));
        assert_eq!(bound(with("1m", "https://example.eu.auth0.com")), Duration::from_secs(60));
        for server in ["http://127.0.0.1:4400", "http://[::1]:4400", "http://localhost:4400"] {
            assert_eq!(bound(with("3s", server)), Duration::from_secs(3), "{server}");
        }
        let error = with("59s", "https://localhost.example").unwrap_err().to_string();
        assert!(error.contains("`in_flight_bound` of less than 1m"), "{error}");
    }

    #[test]
    fn a_limit_that_would_send_nothing_or_everything_is_refused() {
        let with = |line: &str| template(None).replace("# share = 0.5", line);
        parse(&with("share = 1\nrequests_per_second = 0.5")).unwrap();
        for line in ["share = 0", "share = 1.5", "share = nan", "share = -0.5"] {
            assert!(refused(&with(line)).contains("a `share` is from 0.01 to 1"), "{line}");
        }
        for rate in ["0", "-1", "inf", "nan"] {
            let error = refused(&with(&format!("requests_per_second = {rate}")));
            assert!(error.contains("`requests_per_second` is from 0.01"), "{error}");
        }
    }

    #[test]
    fn an_application_is_declared_once_and_at_least_one_is() {
        let declared = template(None);
        let (head, application) = declared.split_at(declared.find("[[application]]").unwrap());
        let application =
            &application[..application.find("# [policy]").unwrap_or(application.len())];
        assert!(refused(head).contains("no [[application]]"));
        assert!(refused(&format!("{head}{application}{application}")).contains("twice"));
    }
}
