//! `keyswap.toml`: clients, authority, applications, store and policy.

mod aws;
mod client;
mod etcd;
mod proxy;
mod store;

use std::path::{Path, PathBuf};
use std::time::Duration;

use keyswap_admin::rotation::ChangeWindows;
use keyswap_tower::Profile;
use serde::Deserialize;
use url::Url;

pub(crate) use self::aws::AwsTable;
use self::client::ClientTables;
pub(crate) use self::client::{KEYSWAP, OfClient};
pub(crate) use self::etcd::EtcdTable;
pub(crate) use self::proxy::ProxyTable;
pub(crate) use self::store::StoreTable;
use crate::authority::{AuthorityTable, Limit};
use crate::exit::Failure;
use crate::secret_source::EXPECTED;

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
    #[serde(default)]
    pub(crate) proxy: ProxyTable,
    /// Where it came from.
    #[serde(skip)]
    path: PathBuf,
    /// What is still to be filled in.
    #[serde(skip)]
    unfilled: Option<String>,
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

/// Whether nothing but this machine is between that and the rotator.
pub(crate) fn is_on_this_machine(url: &Url) -> bool {
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
    window: Option<ChangeWindows>,
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

    pub(crate) fn parse(text: &str, path: &Path) -> Result<Self, Failure> {
        let wrong = |place: String, reason: &str| {
            Failure::usage(format!("the configuration {}{place}: {reason}", path.display()))
        };
        let mut configuration: Self = toml::from_str(text).map_err(|error| {
            // The error's own Display shows the source line, which may hold what it should not.
            let before = |span: std::ops::Range<usize>| &text[..span.start.min(text.len())];
            let line = error.span().map(|span| before(span).matches('\n').count() + 1);
            let place = line.map(|line| format!(", line {line}")).unwrap_or_default();
            wrong(place, &crate::nearest::with_hint(without_values(error.message())))
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
        let Limit { requests_per_second, share } = configuration.authority.limit();
        if requests_per_second.is_some_and(|rate| !(0.01..=1e6).contains(&rate)) {
            return Err(wrong(String::new(), "`requests_per_second` is from 0.01 to 1000000"));
        }
        if share.is_some_and(|share| !(0.01..=1.0).contains(&share)) {
            return Err(wrong(String::new(), "a `share` is from 0.01 to 1"));
        }
        configuration.authority.check().map_err(|reason| wrong(String::new(), reason))?;
        configuration.proxy.check().map_err(|reason| wrong(String::new(), &reason))?;
        let proved_with = configuration.authority.proved_with();
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
