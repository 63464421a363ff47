//! `[store.etcd]`: the cluster that holds the lists of a fleet.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::StoreTable;
use crate::secret_source::SecretSource;

/// How the cluster is reached. It is read in every build, so that one without etcd can say so.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(
    not(any(feature = "etcd", test)),
    expect(dead_code, reason = "only read where etcd is built in")
)]
pub(crate) struct EtcdTable {
    pub(crate) endpoints: Vec<String>,
    pub(crate) user: Option<String>,
    pub(crate) password: Option<SecretSource>,
    pub(crate) certificate_authority: Option<PathBuf>,
    pub(crate) certificate: Option<PathBuf>,
    pub(crate) key: Option<PathBuf>,
    pub(crate) prefix: Option<String>,
}

impl EtcdTable {
    pub(super) fn relative_to(&mut self, directory: &Path) {
        let paths = [&mut self.certificate_authority, &mut self.certificate, &mut self.key];
        for path in paths.into_iter().flatten() {
            *path = directory.join(&*path);
        }
        self.password = self.password.take().map(|source| source.relative_to(directory));
    }
}

/// Says what is wrong with `[store]`.
pub(super) fn check(store: &StoreTable, of_clients: bool) -> Result<(), &'static str> {
    let etcd = match (&store.directory, &store.etcd) {
        (Some(_), None) => return Ok(()),
        (None, Some(etcd)) => etcd,
        (None, None) if store.aws.is_some() => {
            return Err(
                "[store.aws] keeps the list alone: name a `directory` in [store], or [store.etcd], for what \
                        AWS does not know, the journal, the lease and the reports",
            );
        }
        (None, None) => return Err("[store] has neither a `directory` nor [store.etcd]: name one"),
        (Some(_), Some(_)) => {
            return Err("[store] has a `directory` and [store.etcd]: leave one out");
        }
    };
    if of_clients {
        return Err("a client has a `directory`, and [store.etcd] is none: leave it out");
    }
    if etcd.endpoints.is_empty() {
        return Err("[store.etcd] names its nodes: endpoints = [\"http://127.0.0.1:2379\"]");
    }
    if etcd.user.is_some() != etcd.password.is_some() {
        return Err("[store.etcd] has a `user` and a `password`, or neither");
    }
    if etcd.certificate.is_some() != etcd.key.is_some() {
        return Err("[store.etcd] has a `certificate` and its `key`, or neither");
    }
    if matches!(etcd.password, Some(SecretSource::Store(_) | SecretSource::OwnStore)) {
        return Err("the `password` of [store.etcd] is in a file or in the environment");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::{Configuration, template};
    use super::*;

    /// A configuration with this in `[store]`, and what came of it.
    fn parsed(store: &str) -> (String, Result<Configuration, String>) {
        let text = template(Some("billing")).replace("directory = \"keyswap-store\"", store);
        let read = Configuration::parse(&text, Path::new("etc/keyswap.toml"));
        (text, read.map_err(|error| error.to_string()))
    }

    fn with(store: &str) -> Result<Configuration, String> {
        parsed(store).1
    }

    fn etcd(rest: &str) -> Result<Configuration, String> {
        with(&format!("[store.etcd]\nendpoints = [\"http://127.0.0.1:2379\"]\n{rest}"))
    }

    #[test]
    fn an_etcd_is_read_and_its_password_never_stands_in_the_file() {
        let read =
            etcd("user = \"k\"\npassword = { file = \"p\" }\ncertificate_authority = \"ca.pem\"");
        let read = read.unwrap().store.etcd.unwrap();
        assert_eq!(read.password, Some(SecretSource::File("etc/p".into())));
        assert_eq!(read.certificate_authority, Some("etc/ca.pem".into()));
        let error = etcd("user = \"k\"\npassword = \"hunter2\"").unwrap_err();
        assert!(error.contains("PATH") && !error.contains("hunter2"), "{error}");
    }

    /// The fields of `[store.etcd]` that are right by themselves, and what each may be beside that.
    const FIELDS: [(&str, &str, &[&str]); 7] = [
        ("endpoints", "[\"https://10.0.0.1:2379\"]", &["[]", "\"hunter2\"", "[7]", "{}"]),
        ("user", "\"keyswap\"", &["7", "[\"hunter2\"]", "true"]),
        ("password", "{ env = \"P\" }", &["\"hunter2\"", "{ value = \"hunter2\" }", "7", "[]"]),
        ("certificate_authority", "\"ca.pem\"", &["7", "{ pem = \"hunter2\" }"]),
        ("certificate", "\"client.pem\"", &["[\"hunter2\"]", "0.5"]),
        ("key", "\"key.pem\"", &["{ pem = \"hunter2\" }", "false"]),
        ("prefix", "\"/mine/\"", &["7", "[]"]),
    ];

    proptest::proptest! {
        #[test]
        fn any_mix_of_fields_is_what_was_meant_or_is_refused_by_the_name_of_one(
            // 0: not there, 1: right, more: wrong in one way or another.
            chosen in proptest::array::uniform7(0_usize..6),
            unknown in proptest::option::weighted(0.1, "[a-z]{3,9}"),
            directory in proptest::bool::weighted(0.1),
        ) {
            let chosen = chosen.map(|one| if one < 4 { one.min(1) } else { one - 2 });
            let mut lines = String::new();
            let mut wrong = Vec::new();
            for ((name, right, others), choice) in FIELDS.iter().zip(chosen) {
                let value = match choice {
                    0 => continue,
                    1 => right,
                    other => {
                        wrong.push(*name);
                        others[other % others.len()]
                    }
                };
                lines.push_str(&format!("{name} = {value}\n"));
            }
            let known = FIELDS.iter().any(|(name, ..)| unknown.as_deref() == Some(name));
            let unknown = unknown.filter(|_| !known);
            if let Some(name) = &unknown {
                lines.push_str(&format!("{name} = \"hunter2\"\n"));
            }
            let has = |field: usize| chosen[field] > 0;
            let paired = has(1) == has(2) && has(4) == has(5);
            let meant = wrong.is_empty() && unknown.is_none() && has(0) && paired && !directory;
            let before = if directory { "directory = \"store\"\n" } else { "" };
            let (text, read) = parsed(&format!("{before}[store.etcd]\n{lines}"));
            match read {
                Ok(configuration) => {
                    proptest::prop_assert!(meant, "it was taken: {lines}");
                    let read = configuration.store.etcd.unwrap();
                    proptest::prop_assert_eq!(read.endpoints, ["https://10.0.0.1:2379"]);
                    proptest::prop_assert_eq!(read.user.is_some(), has(1));
                    let password = SecretSource::Environment("P".to_owned());
                    proptest::prop_assert_eq!(read.password, has(2).then_some(password));
                    let path = |field: usize, name: &str| {
                        has(field).then(|| Path::new("etc").join(name))
                    };
                    proptest::prop_assert_eq!(read.certificate_authority, path(3, "ca.pem"));
                    proptest::prop_assert_eq!(read.certificate, path(4, "client.pem"));
                    proptest::prop_assert_eq!(read.key, path(5, "key.pem"));
                    proptest::prop_assert_eq!(read.prefix.as_deref(), has(6).then_some("/mine/"));
                }
                Err(error) => {
                    proptest::prop_assert!(!meant, "it was refused: {error}\n{lines}");
                    proptest::prop_assert!(!error.contains("hunter2"), "{error}");
                    let names = |name: &str| error.contains(&format!("`{name}`"));
                    // A line is one of those that are wrong.
                    match error.split(", line ").nth(1).and_then(|rest| rest.split(':').next()) {
                        Some(number) => {
                            let line = text.lines().nth(number.parse::<usize>().unwrap() - 1).unwrap();
                            let wrong = wrong.iter().copied().chain(unknown.as_deref());
                            let at_it = wrong.clone().any(|name| line.starts_with(name));
                            let at_table = line.starts_with("[store") && wrong.count() == 0;
                            proptest::prop_assert!(at_it || at_table, "{error}\n{lines}");
                        }
                        None => proptest::prop_assert!(
                            FIELDS.iter().any(|(name, ..)| names(name)) || error.contains("[store.etcd]"),
                            "{error}\n{lines}"
                        ),
                    }
                }
            }
        }
    }

    #[test]
    fn what_does_not_go_together_is_named() {
        for (store, said) in [
            ("", "neither a `directory` nor [store.etcd]"),
            ("directory = \"a\"\netcd = { endpoints = [\"a:1\"] }", "leave one out"),
            ("etcd = { endpoints = [] }", "names its nodes"),
            ("aws = {}", "keeps the list alone"),
        ] {
            let error = with(store).unwrap_err();
            assert!(error.contains(said), "{error}");
        }
        for (rest, said) in [
            ("user = \"k\"", "`user` and a `password`, or neither"),
            ("key = \"k\"", "`certificate` and its `key`, or neither"),
            ("user = \"k\"\npassword = { store = \"d\" }", "in a file or in the environment"),
            ("user = \"k\"\npassword = { store = true }", "in a file or in the environment"),
        ] {
            let error = etcd(rest).unwrap_err();
            assert!(error.contains(said), "{error}");
        }
    }
}
