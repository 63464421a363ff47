//! How a cluster is reached.

use std::fmt;
use std::time::Duration;

use etcd_client::{Certificate, ConnectOptions, Identity, TlsOptions};
use zeroize::Zeroizing;

use super::EtcdStore;
use super::cluster::Cluster;
use super::keeper;
use super::keys::{Keys, PREFIX};
use super::place::Place;
use crate::{StoreError, StoreErrorKind};

const DOING: &str = "open the etcd store";
/// A node that hangs or is cut off is left within seconds whatever this is: this is for what nobody thought of.
/// Every program of a fleet reads the list that often.
const POLL: Duration = Duration::from_secs(30);
const TERM: Duration = Duration::from_secs(30);
/// etcd counts leases in seconds.
const SHORTEST_TERM: Duration = Duration::from_secs(1);
const TIMEOUT: Duration = Duration::from_secs(10);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// A connection whose node does not answer for this long together is given up. etcd refuses pings that
/// come more often than every 5 s (its `grpc-keepalive-min-time`).
const PING_EVERY: Duration = Duration::from_secs(6);
const PING_ANSWERED_IN: Duration = Duration::from_secs(3);

/// How an [`EtcdStore`] reaches its cluster. Made by [`EtcdStore::builder`].
#[must_use = "a builder does nothing until it is built"]
pub struct EtcdBuilder {
    endpoints: Vec<String>,
    client: String,
    user: Option<(String, Zeroizing<String>)>,
    authority: Option<Vec<u8>>,
    identity: Option<(Vec<u8>, Zeroizing<Vec<u8>>)>,
    prefix: String,
    term: Duration,
    poll: Duration,
    timeout: Duration,
    require_leader: bool,
}

impl EtcdBuilder {
    pub(super) fn new(endpoints: Vec<String>, client: String) -> Self {
        Self {
            endpoints,
            client,
            user: None,
            authority: None,
            identity: None,
            prefix: PREFIX.to_owned(),
            term: TERM,
            poll: POLL,
            timeout: TIMEOUT,
            require_leader: true,
        }
    }

    /// The user of etcd's own authentication, and its password. The client library keeps a copy of the
    /// password that is not wiped.
    pub fn user(mut self, name: impl Into<String>, password: impl Into<Zeroizing<String>>) -> Self {
        self.user = Some((name.into(), password.into()));
        self
    }

    /// The certificates, in PEM, of whoever signs those of the nodes. Without this, those that the
    /// operating system trusts.
    pub fn certificate_authority(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.authority = Some(pem.into());
        self
    }

    /// The certificate of this client and its key, in PEM, where the nodes ask for one.
    pub fn client_certificate(
        mut self,
        pem: impl Into<Vec<u8>>,
        key: impl Into<Zeroizing<Vec<u8>>>,
    ) -> Self {
        self.identity = Some((pem.into(), key.into()));
        self
    }

    /// What all keys begin with. Default `/keyswap/v1/`.
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// For how long the rotator's lease is certain after it was taken or renewed, and an instance counts
    /// as live after it was last heard of. Default 30 s, in whole seconds, at least 1 s; etcd makes it at
    /// least one and a half of its election timeouts.
    ///
    /// It is measured by etcd, which starts it anew when its leader changes.
    pub fn lease(mut self, term: Duration) -> Self {
        self.term = term;
        self
    }

    /// How often a watch looks for changes by itself, behind the events of etcd. Default 30 s; each time a
    /// quarter more or less, so that programs that were told of one list do not look all at once.
    pub fn poll(mut self, poll: Duration) -> Self {
        self.poll = poll;
        self
    }

    /// How long a call may take, over all nodes together; one node gets a quarter of it. Default 10 s, at
    /// least 1 s.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Whether a node that is cut off from the others is left for another one. Default `true`.
    pub fn require_leader(mut self, require_leader: bool) -> Self {
        self.require_leader = require_leader;
        self
    }

    /// Opens the store. The first call of it connects.
    ///
    /// # Errors
    ///
    /// [`Invalid`](StoreErrorKind::Invalid) when an endpoint, a certificate, the prefix or the client id is
    /// not one.
    pub fn build(self) -> Result<EtcdStore, StoreError> {
        let invalid =
            |reason: String| StoreError::new(StoreErrorKind::Invalid, DOING).because(reason);
        if self.client.is_empty() {
            return Err(invalid("the client id is empty".to_owned()));
        }
        if self.endpoints.is_empty() {
            return Err(invalid("no endpoint is named".to_owned())
                .way_out("name the nodes of the cluster: http://127.0.0.1:2379"));
        }
        let endpoints = self.endpoints.iter().map(|endpoint| checked(endpoint));
        let endpoints: Vec<_> = endpoints.collect::<Result<_, _>>().map_err(&invalid)?;
        let encrypted =
            endpoints.iter().filter(|endpoint| endpoint.starts_with("https://")).count();
        let with_tls = self.authority.is_some() || self.identity.is_some();
        if encrypted != endpoints.len() && (encrypted > 0 || with_tls) {
            return Err(invalid(
                "some endpoints are https:// and some, or the certificates, are not for \
                                that"
                    .to_owned(),
            )
            .way_out("write https:// for all, or http:// for all and no certificates"));
        }
        let wrong = |what: &str, holds: &str, kind: &str| {
            invalid(format!("the {what} holds no {holds} in PEM"))
                .way_out(format!("give a file with a line -----BEGIN {kind}-----"))
        };
        if self.authority.as_ref().is_some_and(|pem| !holds(pem, "CERTIFICATE-----")) {
            return Err(wrong("certificate authority", "certificate", "CERTIFICATE"));
        }
        if let Some((pem, key)) = &self.identity {
            if !holds(pem, "CERTIFICATE-----") {
                return Err(wrong("client's certificate", "certificate", "CERTIFICATE"));
            }
            if !holds(key, "PRIVATE KEY-----") {
                return Err(wrong("client's key", "private key", "PRIVATE KEY"));
            }
        }
        let prefix = format!("{}/", self.prefix.trim_end_matches('/'));
        if prefix == "/" || prefix.chars().any(char::is_control) {
            return Err(invalid("the prefix of the keys is empty".to_owned()));
        }
        let place = Place {
            cluster: Cluster::new(
                &endpoints,
                &self.options(encrypted > 0),
                self.timeout.max(Duration::from_secs(1)),
                keeper::handle()?,
            ),
            keys: Keys::new(&prefix, &self.client),
            prefix,
            client: self.client,
            poll: self.poll,
            term: whole_seconds(self.term),
        };
        Ok(EtcdStore::at(place))
    }

    fn options(&self, encrypted: bool) -> ConnectOptions {
        let mut options = ConnectOptions::new()
            .with_connect_timeout(CONNECT_TIMEOUT)
            .with_keep_alive(PING_EVERY, PING_ANSWERED_IN)
            .with_require_leader(self.require_leader);
        if let Some((name, password)) = &self.user {
            options =
                options.with_user(name.as_str(), password.as_str()).with_auto_token_refresh(true);
        }
        if encrypted {
            let mut tls = TlsOptions::new();
            tls = match &self.authority {
                Some(pem) => tls.ca_certificate(Certificate::from_pem(pem)),
                None => tls.with_native_roots(),
            };
            if let Some((pem, key)) = &self.identity {
                tls = tls.identity(Identity::from_pem(pem, key.as_slice()));
            }
            options = options.with_tls(tls);
        }
        options
    }
}

/// Whether a PEM text holds a part of this kind. One that is damaged is found when a node is asked.
fn holds(pem: &[u8], kind: &str) -> bool {
    let text = String::from_utf8_lossy(pem);
    text.lines().any(|line| line.starts_with("-----BEGIN ") && line.trim_end().ends_with(kind))
}

fn whole_seconds(term: Duration) -> Duration {
    let seconds = term.as_secs() + u64::from(term.subsec_nanos() > 0);
    Duration::from_secs(seconds).max(SHORTEST_TERM)
}

/// An endpoint as it is used, and shown in messages: so it must hold no password.
fn checked(endpoint: &str) -> Result<String, String> {
    let (scheme, rest) = match endpoint.split_once("://") {
        Some((scheme @ ("http" | "https"), rest)) => (scheme, rest),
        Some(_) => return Err("an endpoint begins with http:// or https://".to_owned()),
        None => ("http", endpoint),
    };
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    if authority.contains('@') {
        return Err(
            "an endpoint holds a user: name that, and the password, by themselves".to_owned()
        );
    }
    let allowed =
        |character: char| character.is_ascii_alphanumeric() || ".-_:[]%".contains(character);
    if authority.is_empty() || !authority.chars().all(allowed) {
        return Err("an endpoint is a host and a port, as in http://127.0.0.1:2379".to_owned());
    }
    Ok(format!("{scheme}://{authority}"))
}

impl fmt::Debug for EtcdBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EtcdBuilder")
            .field("client", &self.client)
            .field("user", &self.user.as_ref().map(|(name, _)| name))
            .field("prefix", &self.prefix)
            .field("term", &self.term)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn builder(endpoint: &str) -> EtcdBuilder {
        EtcdStore::builder([endpoint], "billing")
    }

    #[test]
    fn an_endpoint_is_a_host_and_a_port() {
        assert_eq!(checked("127.0.0.1:2379").unwrap(), "http://127.0.0.1:2379");
        assert_eq!(checked("https://[::1]:2379/").unwrap(), "https://[::1]:2379");
        for wrong in ["", "http://", "ftp://a", "http://a/b", "http://a:1?x", "unix:///run/etcd"] {
            assert!(checked(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_password_is_never_shown() {
        let error = builder("http://root:hunter2@127.0.0.1:2379").build().unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
        let with_user = || {
            builder("http://127.0.0.1:1")
                .user("root", "hunter2".to_owned())
                .client_certificate("certificate", b"hunter2".to_vec())
        };
        assert!(!format!("{:?}", with_user()).contains("hunter2"));
        let store =
            builder("http://127.0.0.1:1").user("root", "hunter2".to_owned()).build().unwrap();
        assert!(!format!("{store:?} {}", crate::SecretStore::describe(&store)).contains("hunter2"));
        assert!(with_user().build().unwrap_err().to_string().contains("https://"));
        let pem = b"-----BEGIN CERTIFICATE-----\nhunter2\n-----END CERTIFICATE-----\n";
        let key = b"-----BEGIN EC PRIVATE KEY-----\nhunter2\n";
        for (authority, certificate, key, said) in [
            (&b"hunter2"[..], &pem[..], &key[..], "certificate authority holds no certificate"),
            (pem, b"hunter2", key, "client's certificate holds no certificate"),
            (pem, pem, b"hunter2", "client's key holds no private key"),
        ] {
            let with = builder("https://127.0.0.1:1").certificate_authority(authority);
            let error = with.client_certificate(certificate, key.to_vec()).build().unwrap_err();
            let text = format!("{error} {error:?}");
            assert!(text.contains(said) && !text.contains("hunter2"), "{text}");
        }
    }

    #[test]
    fn a_store_that_nobody_can_find_anything_in_is_refused() {
        assert!(EtcdStore::builder(Vec::<String>::new(), "billing").build().is_err());
        assert!(EtcdStore::builder(["http://127.0.0.1:1"], "").build().is_err());
        assert!(builder("http://127.0.0.1:1").prefix("/").build().is_err());
        assert!(builder("http://127.0.0.1:1").prefix("/mine").build().is_ok());
    }

    #[tokio::test]
    async fn where_nobody_answers_the_error_says_who_was_asked_and_what_to_do() {
        use crate::SecretStore;
        // Two ports of one that is free: nobody listens there.
        let store = EtcdStore::builder(["http://127.0.0.1:1", "http://127.0.0.1:2"], "billing")
            .timeout(Duration::from_secs(5))
            .build()
            .unwrap();
        let error = store.published().await.unwrap_err();
        let text = error.to_string();
        for endpoint in ["http://127.0.0.1:1", "http://127.0.0.1:2"] {
            let refused = format!("{endpoint}: the connection was refused");
            assert!(text.contains(&refused), "{text}");
        }
        assert!(text.contains("see that etcd runs"), "{text}");
        // Nothing can have been sent, so that nothing can have been done.
        let error = store.set_hold(None).await.unwrap_err();
        assert!(!error.is_outcome_unknown(), "{error}");
    }
}
