//! What an authorization server can do with the secrets of one client.
//!
//! One file a server. What a server can do is data ([`Capabilities`]); the rotation engine derives its
//! plan from that, and knows no server.

mod auth0;
mod error;
mod http;
mod hydra;
mod probe;

use std::fmt;
use std::future::Future;
use std::time::Duration;

use keyswap_core::{Secret, SecretId};

pub use auth0::{Auth0, Auth0Builder};
pub use error::{AuthorityError, AuthorityErrorKind};
pub use hydra::{Hydra, HydraBuilder};
pub use probe::{ClientAuthentication, ProbeRequest};

/// The administration of one client at one authorization server.
///
/// An implementation sends each request once and says what came of it; it never retries a change. It
/// puts no secret, token or answer into an error.
pub trait Authority: Send + Sync {
    /// What the server can do.
    fn capabilities(&self) -> Capabilities;

    /// Looks, without changing anything, whether a rotation can be made: the server answers, the
    /// credentials suffice, the client exists and authenticates with a secret.
    ///
    /// # Errors
    ///
    /// [`AuthorityError`] with what is wrong and the way out.
    fn check(&self) -> impl Future<Output = Result<(), AuthorityError>> + Send;

    /// Sets the client's secret, with one request.
    fn set_secret(&self, secret: &Secret) -> impl Future<Output = ChangeAnswer> + Send;

    /// Asks which of these secrets the server holds. The value stays inside.
    fn read_back(&self, known: &[Secret]) -> impl Future<Output = ReadBack> + Send;

    /// Makes one token request with this secret, without a fallback.
    fn probe(&self, secret: &Secret) -> impl Future<Output = Probe> + Send;
}

/// What a server can do with a client's secrets.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Capabilities {
    /// The name in configurations, for instance `auth0`.
    pub name: &'static str,
    /// How many secrets a client can have at once.
    pub slots: u32,
    /// Whether the caller may choose the value. Where the server does, and holds one secret, a gap
    /// cannot be avoided.
    pub chosen_by_caller: bool,
    /// Whether the server says which secret it holds.
    pub read_back: bool,
    /// How long after a change its nodes may disagree.
    pub propagation_window: Duration,
}

/// What came of one request to change the secret.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ChangeAnswer {
    /// The server says that it holds the new secret.
    Applied,
    /// The server refused; it did not change anything.
    Refused(AuthorityError),
    /// The server turned the request away without looking at it, and says when to come back.
    RetryAfter(Duration),
    /// No answer, or one that leaves open whether the change was made.
    Unknown(String),
}

/// Which secret the server says it holds.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum ReadBack {
    /// The one with this id.
    Holds(SecretId),
    /// None of those that are known.
    Other,
    /// It does not say: it cannot, or not now. The text says why.
    Unavailable(String),
}

/// What a token request with one secret said.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Probe {
    /// The server accepted it.
    Accepted,
    /// The server refused it.
    Refused,
    /// Nothing certain; the text says what came instead.
    Inconclusive(String),
}

impl fmt::Display for Capabilities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}
