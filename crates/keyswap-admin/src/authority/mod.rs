//! What an authorization server can do with the secrets of one client.
//!
//! One file a server. What a server can do is data ([`Capabilities`]); the rotation engine derives its
//! plan from that, and knows no server.

mod auth0;
mod cognito;
pub(crate) mod described;
mod endpoint;
mod entra;
mod error;
mod exec;
mod fusionauth;
mod http;
mod hydra;
mod keycloak;
mod management;
mod okta;
pub(crate) mod pace;
mod private_key;
mod probe;
mod registration;
mod slot;
mod value;
mod wso2;
mod zitadel;

use std::fmt;
use std::future::{Future, ready};
use std::time::Duration;

use keyswap_core::{Secret, SecretId};

use crate::finding::Finding;

pub use auth0::{Auth0, Auth0Builder};
#[cfg(feature = "cognito")]
pub use cognito::{Cognito, CognitoBuilder};
pub use described::{Asked, Request};
pub use endpoint::TokenEndpoint;
pub use entra::{Entra, EntraBuilder};
pub use error::{AuthorityError, AuthorityErrorKind};
pub use exec::{Exec, ExecBuilder};
pub use fusionauth::{FusionAuth, FusionAuthBuilder};
pub use hydra::{Hydra, HydraBuilder};
pub use keycloak::{Keycloak, KeycloakBuilder};
pub use okta::{Okta, OktaBuilder};
pub use pace::Pace;
pub use private_key::PrivateKey;
pub use probe::{ClientAuthentication, ProbeRequest};
pub use registration::{Registration, RegistrationBuilder, RegistrationToken};
pub use slot::{AddAnswer, Listed, NewSecret, Slot, SlotId};
pub use value::ValueRules;
pub use wso2::{Wso2, Wso2Builder};
pub use zitadel::{Zitadel, ZitadelBuilder};

/// What each server can do that is known here, in the order of their names; [`Exec`] says itself what its own can.
#[must_use]
pub fn known() -> Vec<Capabilities> {
    vec![
        Auth0::usual(),
        cognito::usual(),
        Entra::usual(),
        FusionAuth::usual(),
        Hydra::usual(),
        Hydra::with_rotated_secrets(),
        Keycloak::usual(),
        Okta::usual(),
        registration::usual(),
        Wso2::usual(),
        Zitadel::usual(),
    ]
}

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

    /// What the last [`check`](Self::check) saw that is no hindrance, and that a person should know before a
    /// rotation begins. Nothing by default.
    fn remarks(&self) -> Vec<String> {
        Vec::new()
    }

    /// Says what else is worth knowing before a rotation begins, without changing anything: what the management
    /// credentials may do, who else depends on the secret, what the server itself saw of its use. Asked where
    /// [`check`](Self::check) finds nothing wrong, which alone decides whether a rotation begins; so none of
    /// this is an error. Nothing by default.
    fn look(&self) -> impl Future<Output = Vec<Finding>> + Send {
        ready(Vec::new())
    }

    /// Waits for whatever a change has to wait for before it may be sent: the [`Pace`], a token. The
    /// rotation's lease is looked at after this, and the change is sent right then. Nothing by default.
    fn ready(&self) -> impl Future<Output = ()> + Send {
        ready(())
    }

    /// What it would send for that, in order, without changing anything: a plan shows it. The secrets in it are
    /// no secrets. Nothing by default, which a plan says.
    fn describe(&self, asked: &Asked<'_>) -> impl Future<Output = Vec<Request>> + Send {
        let _ = asked;
        ready(Vec::new())
    }

    /// Makes one token request with this secret, without a fallback.
    fn probe(&self, secret: &Secret) -> impl Future<Output = Probe> + Send;

    /// Sets the client's secret in place of the one that it has, with one request. For servers that hold
    /// one secret.
    fn set_secret(&self, secret: &Secret) -> impl Future<Output = ChangeAnswer> + Send {
        let _ = secret;
        ready(ChangeAnswer::Refused(self.cannot("replace a secret")))
    }

    /// Asks which of these secrets the server holds. The value stays inside. For servers that hold one
    /// secret.
    fn read_back(&self, known: &[Secret]) -> impl Future<Output = ReadBack> + Send {
        let _ = known;
        ready(ReadBack::Unavailable(self.cannot("say which secret it holds").to_string()))
    }

    /// Asks which secrets the client has, and which of these known ones each is. No value leaves this
    /// function. For servers that hold several.
    fn slots(&self, known: &[Secret]) -> impl Future<Output = Listed> + Send {
        let _ = known;
        ready(Listed::Unavailable(self.cannot("list a client's secrets").to_string()))
    }

    /// Adds a secret to those that the client has, active at once, with one request. Where the server keeps
    /// a text with it, the id is in it. For servers that hold several.
    fn add_secret(&self, new: &NewSecret) -> impl Future<Output = AddAnswer> + Send {
        let _ = new;
        ready(AddAnswer::Refused(self.cannot("add a secret")))
    }

    /// Adds a secret after a request of which no answer came, so that this one, which is in force and which
    /// the programs hold, stays so whatever that request did. Like [`add_secret`](Self::add_secret), unless a
    /// server has no other way to get rid of a secret that nobody was told, or can still say what it is.
    fn add_secret_again(
        &self,
        new: &NewSecret,
        present: &Secret,
    ) -> impl Future<Output = AddAnswer> + Send {
        let _ = present;
        self.add_secret(new)
    }

    /// Has the server choose another secret in place of the one that the client has, with one request, and
    /// says it under this id ([`AddAnswer::Replaced`]). For servers that hold one secret and choose its value
    /// themselves. Each request takes what the one before it brought out of force, also one of which no answer
    /// comes: nobody knows the value then, and the rotation asks again.
    fn regenerate_secret(&self, id: &SecretId) -> impl Future<Output = AddAnswer> + Send {
        let _ = id;
        ready(AddAnswer::Refused(self.cannot("choose another secret")))
    }

    /// Takes one of the client's secrets out of force, or puts it back into force, with one request. For
    /// servers of which the [capabilities](Capabilities::deactivation) say so.
    fn set_active(&self, slot: &SlotId, active: bool) -> impl Future<Output = ChangeAnswer> + Send {
        let _ = (slot, active);
        ready(ChangeAnswer::Refused(self.cannot("deactivate a secret")))
    }

    /// Removes one of the client's secrets for good, with one request. For servers that hold several.
    fn remove_secret(&self, slot: &SlotId) -> impl Future<Output = ChangeAnswer> + Send {
        let _ = slot;
        ready(ChangeAnswer::Refused(self.cannot("remove a secret")))
    }

    /// Removes one of the client's secrets for good, where this one stays: the one that the programs go on
    /// with. Like [`remove_secret`](Self::remove_secret), unless a server has no name for the one that goes,
    /// and is told in one request what stays.
    fn remove_secret_beside(
        &self,
        slot: &SlotId,
        stays: &Secret,
    ) -> impl Future<Output = ChangeAnswer> + Send {
        let _ = stays;
        self.remove_secret(slot)
    }

    /// The refusal of what this server cannot do.
    #[doc(hidden)]
    fn cannot(&self, what: &str) -> AuthorityError {
        let name = self.capabilities().name;
        AuthorityError::new(AuthorityErrorKind::Refused, format!("{name} cannot {what}"))
    }
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
    /// Whether a secret can be taken out of force and put back. Where it can, an old secret is before it is
    /// removed for good.
    pub deactivation: bool,
    /// Whether the secret that was added last can be removed. Where it cannot, a rotation that has added one has
    /// no way back.
    pub removes_newest: bool,
    /// How long after a change its nodes may disagree.
    pub propagation_window: Duration,
    /// Which values it takes. Where the server chooses the value, that of a rotation is none of them.
    pub value: ValueRules,
    /// What a management request needs, in words.
    pub needs: &'static str,
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

impl Capabilities {
    /// A server that holds one secret, whose value the caller chooses, which it does not show, and whose
    /// nodes agree within 30 s after a change.
    #[must_use]
    pub fn new(name: &'static str) -> Self {
        Self {
            name,
            slots: 1,
            chosen_by_caller: true,
            read_back: false,
            deactivation: false,
            removes_newest: true,
            propagation_window: Duration::from_secs(30),
            value: ValueRules::default(),
            needs: "",
        }
    }

    /// Whether programs are without a secret for a while when it is changed, whatever is done: there is one
    /// slot, and nobody knows its next value before the server takes it.
    #[must_use]
    pub fn has_gap(&self) -> bool {
        self.slots <= 1 && !self.chosen_by_caller
    }

    /// Sets [`slots`](Self::slots).
    #[must_use]
    pub fn slots(mut self, slots: u32) -> Self {
        self.slots = slots;
        self
    }

    /// Sets [`chosen_by_caller`](Self::chosen_by_caller).
    #[must_use]
    pub fn chosen_by_caller(mut self, chosen: bool) -> Self {
        self.chosen_by_caller = chosen;
        self
    }

    /// Sets [`read_back`](Self::read_back).
    #[must_use]
    pub fn read_back(mut self, read_back: bool) -> Self {
        self.read_back = read_back;
        self
    }

    /// Sets [`deactivation`](Self::deactivation).
    #[must_use]
    pub fn deactivation(mut self, deactivation: bool) -> Self {
        self.deactivation = deactivation;
        self
    }

    /// Sets [`removes_newest`](Self::removes_newest).
    #[must_use]
    pub fn removes_newest(mut self, removes: bool) -> Self {
        self.removes_newest = removes;
        self
    }

    /// Sets [`propagation_window`](Self::propagation_window).
    #[must_use]
    pub fn propagation_window(mut self, window: Duration) -> Self {
        self.propagation_window = window;
        self
    }

    /// Sets [`value`](Self::value).
    #[must_use]
    pub fn value(mut self, rules: ValueRules) -> Self {
        self.value = rules;
        self
    }

    /// Sets [`needs`](Self::needs).
    #[must_use]
    pub fn needs(mut self, needs: &'static str) -> Self {
        self.needs = needs;
        self
    }
}

impl fmt::Display for Capabilities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}
