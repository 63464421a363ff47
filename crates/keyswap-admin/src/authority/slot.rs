//! Servers at which a client has several secrets at once: what they list and what they answer.

use std::fmt;
use std::time::Duration;

use keyswap_core::{Secret, SecretId};
use serde::{Deserialize, Serialize};

use super::{AuthorityError, ChangeAnswer};
use crate::rotation::Timestamp;

/// How a server names one of a client's secrets. It is no secret, and may be shown.
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(transparent)]
pub struct SlotId(String);

impl SlotId {
    /// The name that the server gave.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self(name.into())
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The name as it may be shown: without control characters, and cut off where it is very long.
impl fmt::Display for SlotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .chars()
            .filter(|one| !one.is_control())
            .take(80)
            .try_for_each(|one| write!(f, "{one}"))
    }
}

/// One of the secrets that a client has at a server, without its value.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub struct Slot {
    /// How the server names it.
    pub id: SlotId,
    /// Which of the secrets that the caller knows it holds; `None` if the server does not show that, or
    /// it is none of those.
    pub holds: Option<SecretId>,
    /// Whether the server takes it at present.
    pub active: bool,
    /// Which secret it was made for, where the server keeps a text with it and that is one of keyswap's.
    pub made_for: Option<SecretId>,
    /// Which of the secrets that the caller knows it cannot hold, where the server shows a part of the value.
    pub rules_out: Vec<SecretId>,
    /// When it ends by itself, if it does and the server says so.
    pub expires: Option<Timestamp>,
}

impl Slot {
    /// An active one of which nothing else is known.
    #[must_use]
    pub fn new(id: SlotId) -> Self {
        Self { id, holds: None, active: true, made_for: None, rules_out: Vec::new(), expires: None }
    }

    /// Holding this secret.
    #[must_use]
    pub fn holding(mut self, secret: Option<SecretId>) -> Self {
        self.holds = secret;
        self
    }

    /// Active or not.
    #[must_use]
    pub fn active(mut self, active: bool) -> Self {
        self.active = active;
        self
    }

    /// Made for this secret, as a text says that the server keeps with it.
    #[must_use]
    pub fn made_for(mut self, secret: Option<SecretId>) -> Self {
        self.made_for = secret;
        self
    }

    /// Holding none of these secrets, as a part of its value shows.
    #[must_use]
    pub fn ruling_out(mut self, secrets: impl IntoIterator<Item = SecretId>) -> Self {
        self.rules_out = secrets.into_iter().collect();
        self
    }

    /// Ending by itself then.
    #[must_use]
    pub fn expiring(mut self, at: Option<Timestamp>) -> Self {
        self.expires = at;
        self
    }
}

/// A secret that a rotation brings: its id from the beginning, and its value once that is known.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum NewSecret {
    /// The value is known: the caller chose it, or the server has said it.
    Known(Secret),
    /// The server chooses the value, and has not said it yet.
    Awaited(SecretId),
}

impl NewSecret {
    /// The id.
    #[must_use]
    pub fn id(&self) -> &SecretId {
        match self {
            Self::Known(secret) => secret.id(),
            Self::Awaited(id) => id,
        }
    }

    /// The secret, if its value is known.
    #[must_use]
    pub fn secret(&self) -> Option<&Secret> {
        match self {
            Self::Known(secret) => Some(secret),
            Self::Awaited(_) => None,
        }
    }
}

impl From<Secret> for NewSecret {
    fn from(secret: Secret) -> Self {
        Self::Known(secret)
    }
}

/// What came of one request to add a secret, or to have the server choose another one.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum AddAnswer {
    /// The server has added it, under this name and with this value.
    Added(SlotId, Secret),
    /// The server has chosen this one, in place of the one that it had.
    Replaced(Secret),
    /// The server refused; it did not change anything.
    Refused(AuthorityError),
    /// The server turned the request away without looking at it, and says when to come back.
    RetryAfter(Duration),
    /// No answer, or one that leaves open whether the secret was added, or which one the server chose.
    Unknown(String),
}

impl AddAnswer {
    /// What came of a request for a secret that brought none.
    pub(super) fn without_a_secret(answer: ChangeAnswer) -> Self {
        match answer {
            ChangeAnswer::Applied => Self::Unknown("the answer holds no secret".to_owned()),
            ChangeAnswer::Refused(error) => Self::Refused(error),
            ChangeAnswer::RetryAfter(time) => Self::RetryAfter(time),
            ChangeAnswer::Unknown(reason) => Self::Unknown(reason),
        }
    }
}

/// Which secrets the server says it has for the client.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Listed {
    /// These, and no others.
    Slots(Vec<Slot>),
    /// It does not say now. The text says why.
    Unavailable(String),
}
