//! Which client id goes with which secret.

use std::collections::HashMap;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use keyswap_core::SecretId;

use super::Unsuitable;

/// The client id that goes with each secret: one for all of them, or pairs.
///
/// Most servers change the secret of a client and leave its id. At some both change together: a staged
/// credential of a Salesforce app is a new consumer key *and* secret, and both sets work until the old
/// one goes. The ring then holds the secrets, as ever, and this says whose each one is:
///
/// ```
/// use keyswap_core::{Secret, SecretList, SecretRing};
/// use keyswap_tower::{ClientIds, ClientSecretPost, FallbackLayer};
///
/// let old = Secret::new("s-2025".parse()?, "Vq3hCc0Zc1Jx")?;
/// let new = Secret::new("s-2026".parse()?, "yT7mXo2LrWq8")?;
/// let ids = ClientIds::paired([
///     (old.id().clone(), "3MVG9old"),
///     (new.id().clone(), "3MVG9new"),
/// ]);
/// let ring = SecretRing::new(SecretList::new([old, new])?);
/// let layer = FallbackLayer::new(ring, ClientSecretPost::new(ids));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// A text makes one id for all: `ClientSecretBasic::new("billing")`.
#[derive(Clone)]
pub struct ClientIds {
    kind: Kind,
}

type Lookup = dyn Fn(&SecretId) -> Option<Arc<str>> + Send + Sync;

#[derive(Clone)]
enum Kind {
    Same(Arc<str>),
    Paired(Arc<HashMap<SecretId, Box<str>>>),
    LookedUp(Arc<Lookup>),
}

impl ClientIds {
    /// These pairs of a secret's id and a client id.
    ///
    /// A secret that is not among them is put on no request, and the next one of the list is: see
    /// [`by`](Self::by) for a list of secrets that changes while the program runs.
    #[must_use]
    pub fn paired<I, T>(pairs: I) -> Self
    where
        I: IntoIterator<Item = (SecretId, T)>,
        T: Into<Box<str>>,
    {
        let pairs = pairs.into_iter().map(|(secret, client)| (secret, client.into())).collect();
        Self { kind: Kind::Paired(Arc::new(pairs)) }
    }

    /// What this function says, which is asked for each attempt: it should read from memory.
    ///
    /// Let it know the client id of a secret *before* the ring holds that secret. Where it has none
    /// (`None`), the secret is passed over for the next one of the list, with a warning: see
    /// [`Credential::apply`](super::Credential::apply).
    ///
    /// ```
    /// use std::collections::HashMap;
    /// use std::sync::{Arc, RwLock};
    /// use keyswap_core::SecretId;
    /// use keyswap_tower::{ClientIds, ClientSecretBasic};
    ///
    /// let known: Arc<RwLock<HashMap<SecretId, Arc<str>>>> = Arc::default();
    /// let asked = Arc::clone(&known);
    /// let ids = ClientIds::by(move |secret| asked.read().ok()?.get(secret).cloned());
    /// let credential = ClientSecretBasic::new(ids);
    ///
    /// // On a reload: the pair first, and the list of secrets after it.
    /// known.write().unwrap().insert("s-2026".parse()?, "3MVG9new".into());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn by(lookup: impl Fn(&SecretId) -> Option<Arc<str>> + Send + Sync + 'static) -> Self {
        Self { kind: Kind::LookedUp(Arc::new(lookup)) }
    }

    /// The client id for this secret.
    pub(super) fn of(&self, secret: &SecretId) -> Result<ClientId<'_>, Unsuitable> {
        let id = match &self.kind {
            Kind::Same(id) => Some(ClientId::Held(id)),
            Kind::Paired(pairs) => pairs.get(secret).map(|id| ClientId::Held(id)),
            Kind::LookedUp(lookup) => lookup(secret).map(ClientId::LookedUp),
        };
        id.ok_or(Unsuitable::new("no client id is known for the secret"))
    }

    /// Whether one secret has the same client id at all times.
    pub(super) fn are_constant(&self) -> bool {
        !matches!(self.kind, Kind::LookedUp(_))
    }

    /// Whether the id may change with the secret.
    pub(super) fn are_pairs(&self) -> bool {
        !matches!(self.kind, Kind::Same(_))
    }
}

/// One client id.
pub(super) enum ClientId<'a> {
    Held(&'a str),
    LookedUp(Arc<str>),
}

impl Deref for ClientId<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            Self::Held(id) => id,
            Self::LookedUp(id) => id,
        }
    }
}

impl From<Arc<str>> for ClientIds {
    fn from(id: Arc<str>) -> Self {
        Self { kind: Kind::Same(id) }
    }
}

impl From<&str> for ClientIds {
    fn from(id: &str) -> Self {
        Arc::<str>::from(id).into()
    }
}

impl From<String> for ClientIds {
    fn from(id: String) -> Self {
        Arc::<str>::from(id).into()
    }
}

impl From<&String> for ClientIds {
    fn from(id: &String) -> Self {
        Arc::<str>::from(id.as_str()).into()
    }
}

impl From<Box<str>> for ClientIds {
    fn from(id: Box<str>) -> Self {
        Arc::<str>::from(id).into()
    }
}

impl fmt::Debug for ClientIds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Same(id) => id.fmt(f),
            Kind::Paired(pairs) => pairs.fmt(f),
            Kind::LookedUp(_) => f.write_str("by a function"),
        }
    }
}
