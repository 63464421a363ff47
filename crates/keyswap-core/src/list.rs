//! The ordered list of secrets.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use crate::{Secret, SecretId};

const MAX_SECRETS: usize = 16;

/// An ordered list of 1 to 16 secrets; the first is the preferred one, the others are its fallbacks.
///
/// Ids and values are unique. A clone shares the same list.
///
/// ```
/// use keyswap_core::{Secret, SecretList};
///
/// let old = Secret::new("old".parse()?, "Vq3hCc0Zc1Jx")?;
/// let new = Secret::new("new".parse()?, "yT7mXo2LrWq8")?;
/// let list = SecretList::new([old, new])?;
/// assert_eq!(list.preferred().id().as_str(), "old");
/// assert_eq!(list.ids().map(|id| id.as_str()).collect::<Vec<_>>(), ["old", "new"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Eq, PartialEq)]
pub struct SecretList(Arc<[Secret]>);

impl SecretList {
    /// Makes a list, the preferred secret first.
    ///
    /// # Errors
    ///
    /// [`InvalidSecretList`] if there is none, if there are more than 16, or if an id or a value
    /// occurs twice.
    pub fn new(secrets: impl IntoIterator<Item = Secret>) -> Result<Self, InvalidSecretList> {
        let secrets: Arc<[Secret]> = secrets.into_iter().collect();
        if secrets.is_empty() {
            return Err(InvalidSecretList::Empty);
        }
        if secrets.len() > MAX_SECRETS {
            return Err(InvalidSecretList::TooMany { count: secrets.len() });
        }
        for (position, second) in secrets.iter().enumerate() {
            for first in &secrets[..position] {
                if first.id() == second.id() {
                    return Err(InvalidSecretList::DuplicateId { id: second.id().clone() });
                }
                if first == second {
                    return Err(InvalidSecretList::DuplicateValue {
                        first: first.id().clone(),
                        second: second.id().clone(),
                    });
                }
            }
        }
        Ok(Self(secrets))
    }

    /// The secret that is tried first.
    #[must_use]
    pub fn preferred(&self) -> &Secret {
        &self.0[0]
    }

    /// How many secrets there are: 1 to 16.
    #[must_use]
    #[allow(clippy::len_without_is_empty, reason = "a list is never empty")]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The secrets in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Secret> {
        self.0.iter()
    }

    /// The ids in order.
    pub fn ids(&self) -> impl ExactSizeIterator<Item = &SecretId> {
        self.0.iter().map(Secret::id)
    }

    /// The secret with this id.
    #[must_use]
    pub fn find(&self, id: &SecretId) -> Option<&Secret> {
        self.0.iter().find(|secret| secret.id() == id)
    }

    /// The same secrets with `id` first; the others keep their order. `None` if `id` is not here.
    #[must_use]
    pub fn preferring(&self, id: &SecretId) -> Option<Self> {
        let position = self.0.iter().position(|secret| secret.id() == id)?;
        let mut secrets = self.0.to_vec();
        secrets[..=position].rotate_right(1);
        Some(Self(secrets.into()))
    }
}

impl<'a> IntoIterator for &'a SecretList {
    type Item = &'a Secret;
    type IntoIter = std::slice::Iter<'a, Secret>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Debug for SecretList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.ids()).finish()
    }
}

/// Why secrets do not make a list.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum InvalidSecretList {
    /// The list has no secret.
    Empty,
    /// More than 16 secrets: each one costs a refused request before the next is tried.
    TooMany {
        /// How many there were.
        count: usize,
    },
    /// Two secrets have the same id.
    DuplicateId {
        /// That id.
        id: SecretId,
    },
    /// Two ids have the same value: "the old one is unused" could not be told from "it is used".
    DuplicateValue {
        /// The id of the first.
        first: SecretId,
        /// The id of the second.
        second: SecretId,
    },
}

impl fmt::Display for InvalidSecretList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the list holds no secret; it needs at least one"),
            Self::TooMany { count } => {
                write!(
                    f,
                    "the list holds {count} secrets; the most that are taken is {MAX_SECRETS}"
                )
            }
            Self::DuplicateId { id } => {
                write!(f, "the list names the secret id {id} twice; give each secret its own id")
            }
            Self::DuplicateValue { first, second } => {
                write!(
                    f,
                    "the secrets {first} and {second} have the same value; remove one of them"
                )
            }
        }
    }
}

impl Error for InvalidSecretList {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn secret(id: &str, value: &str) -> Secret {
        Secret::new(id.parse().unwrap(), value).unwrap()
    }

    #[test]
    fn an_empty_list_is_refused() {
        assert_eq!(SecretList::new([]).unwrap_err(), InvalidSecretList::Empty);
    }

    #[test]
    fn an_id_or_a_value_that_occurs_twice_is_named() {
        let error = SecretList::new([secret("a", "one"), secret("a", "two")]).unwrap_err();
        assert!(error.to_string().contains("secret id a twice"), "{error}");
        let error = SecretList::new([secret("a", "hunter2"), secret("b", "hunter2")]).unwrap_err();
        assert!(error.to_string().contains("a and b have the same value"), "{error}");
        assert!(!error.to_string().contains("hunter2"));
    }

    #[test]
    fn debug_shows_ids_only() {
        let list = SecretList::new([secret("a", "hunter2"), secret("b", "hunter3")]).unwrap();
        assert_eq!(format!("{list:?}"), "[a, b]");
    }

    proptest! {
        #[test]
        fn preferring_moves_one_secret_to_the_front_and_keeps_the_rest_in_order(
            count in 1usize..=16, chosen in 0usize..16,
        ) {
            let chosen = chosen % count;
            let list = SecretList::new(
                (0..count).map(|n| secret(&format!("id{n}"), &format!("value{n}"))),
            ).unwrap();
            let id = list.ids().nth(chosen).unwrap().clone();
            let moved = list.preferring(&id).unwrap();
            prop_assert_eq!(moved.preferred().id(), &id);
            let rest: Vec<_> = list.ids().filter(|other| **other != id).collect();
            prop_assert_eq!(moved.ids().skip(1).collect::<Vec<_>>(), rest);
            prop_assert_eq!(moved.len(), list.len());
        }
    }
}
