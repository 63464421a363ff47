//! What the tests against real servers share: starting and stopping them, and a load that signs in meanwhile.
//!
//! The tests run only with the feature `real-servers`, by `tests/real/run`, which installs the servers and says in the
//! environment where they are. A server that is missing then is a failure.

#![forbid(unsafe_code)]

pub mod browser;
mod etcd;
mod foreign;
mod hydra;
mod keycloak;
mod load;
mod metrics;
mod moto;
mod oidc_provider;
mod ports;
mod process;
mod program;
mod read;
mod sdk;
mod secure_etcd;
pub mod seen;

pub use etcd::Etcd;
pub use foreign::{Foreign, Library};
pub use hydra::Hydra;
pub use keycloak::Keycloak;
pub use load::{Load, SignIn, Tally};
pub use metrics::Metrics;
pub use moto::Moto;
pub use oidc_provider::OidcProvider;
pub use process::Process;
pub use program::{Program, Signing};
pub use read::read;
pub use sdk::Sdk;
pub use secure_etcd::SecureEtcd;
pub use seen::Seen;

use std::path::PathBuf;

/// The path that `tests/real/run` put into the environment variable `name`.
///
/// # Panics
///
/// When it is not set: a test against a server that is not there must fail.
#[must_use]
#[track_caller]
pub fn installed(name: &str) -> PathBuf {
    match std::env::var_os(name) {
        Some(path) => path.into(),
        None => panic!(
            "{name} is not set: start these tests with tests/real/run, which installs what they need"
        ),
    }
}
