//! `[store.etcd]`: the cluster that holds the lists of a fleet.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::StoreTable;
use crate::secret_source::SecretSource;

/// How the cluster is reached. It is read in every build, so that one without etcd can say so.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(not(feature = "etcd"), expect(dead_code, reason = "only read where etcd is built in"))]
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
    if matches!(etcd.password, Some(SecretSource::Store(_))) {
        return Err("the `password` of [store.etcd] is in a file or in the environment");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::{Configuration, template};
    use super::*;

    fn with(store: &str) -> Result<Configuration, String> {
        let text = template(Some("billing")).replace("directory = \"keyswap-store\"", store);
        Configuration::parse(&text, Path::new("etc/keyswap.toml"))
            .map_err(|error| error.to_string())
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

    #[test]
    fn what_does_not_go_together_is_named() {
        for (store, said) in [
            ("", "neither a `directory` nor [store.etcd]"),
            ("directory = \"a\"\netcd = { endpoints = [\"a:1\"] }", "leave one out"),
            ("etcd = { endpoints = [] }", "names its nodes"),
        ] {
            let error = with(store).unwrap_err();
            assert!(error.contains(said), "{error}");
        }
        for (rest, said) in [
            ("user = \"k\"", "`user` and a `password`, or neither"),
            ("key = \"k\"", "`certificate` and its `key`, or neither"),
            ("user = \"k\"\npassword = { store = \"d\" }", "in a file or in the environment"),
        ] {
            let error = etcd(rest).unwrap_err();
            assert!(error.contains(said), "{error}");
        }
    }
}
