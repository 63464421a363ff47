//! Why a secret, an id or a list is not one. No error here repeats what it refused, since a mistaken
//! argument may be a secret.

use std::error::Error;
use std::fmt;

use crate::SecretId;
use crate::list::MAX_SECRETS;
use crate::secret::{MAX_ID_LENGTH, MAX_SECRET_LENGTH};

/// Why a value cannot be a client secret.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum InvalidSecret {
    /// The value has no characters.
    Empty,
    /// The value is longer than 4096 bytes.
    TooLong {
        /// Its length in bytes.
        length: usize,
    },
    /// The value holds a control character (RFC 6749 appendix A.2 allows `%x20-7E`); most often the
    /// line end of a file.
    ControlCharacter {
        /// The byte offset of the first one.
        position: usize,
    },
    /// The value is not UTF-8.
    NotUtf8 {
        /// The byte offset of the first byte that is not.
        position: usize,
    },
}

impl fmt::Display for InvalidSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the client secret is empty"),
            Self::TooLong { length } => write!(
                f,
                "the client secret is {length} bytes long; the longest that is taken is {MAX_SECRET_LENGTH}"
            ),
            Self::ControlCharacter { position } => write!(
                f,
                "the client secret holds a control character at byte {position}; \
                 remove line ends and tabs from where it comes from"
            ),
            Self::NotUtf8 { position } => {
                write!(f, "the client secret is not UTF-8 text from byte {position} on")
            }
        }
    }
}

impl Error for InvalidSecret {}

/// The text is not a [`SecretId`]: it is empty, longer than 64 characters, or holds something other
/// than `[A-Za-z0-9._-]`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct InvalidSecretId {
    pub(crate) length: usize,
}

impl fmt::Display for InvalidSecretId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "a secret id is 1 to {MAX_ID_LENGTH} characters of [A-Za-z0-9._-]; \
             this text of {} characters is not one",
            self.length
        )
    }
}

impl Error for InvalidSecretId {}

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
