//! The secret document: how a list is written down, in a store or in a file of your own.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::{InvalidSecret, InvalidSecretList, Revision, Secret, SecretId, SecretList};

/// The version that is written, and the newest that is read.
const VERSION: u64 = 1;

/// A list of secrets as versioned JSON.
///
/// ```json
/// {
///   "keyswap": 1,
///   "revision": 3,
///   "attest_every_ms": 2500,
///   "secrets": [
///     { "id": "s-09c1f25be3a7d840", "value": "…" },
///     { "id": "billing-2026", "value": "…" }
///   ]
/// }
/// ```
///
/// `keyswap` is the version of the format; another one is refused. `revision` is 0 where nobody counts
/// (the default), `attest_every_ms` is there while a rotation waits for an old secret to fall out of
/// use. A field that is not known is refused: it may be a misspelled one that matters.
///
/// ```
/// use keyswap_core::SecretDocument;
///
/// let text = br#"{"keyswap": 1, "secrets": [{"id": "a", "value": "Vq3hCc0Zc1Jx"}]}"#;
/// let document = SecretDocument::parse(text)?;
/// assert_eq!(document.list.preferred().id().as_str(), "a");
/// assert_eq!(SecretDocument::parse(&document.to_json())?, document);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SecretDocument {
    /// The revision that the list is published under.
    pub revision: Revision,
    /// How often each instance reports again although nothing moved, in whole milliseconds.
    pub attest_every: Option<Duration>,
    /// The secrets, the preferred one first.
    pub list: SecretList,
}

#[derive(Deserialize)]
struct Header {
    keyswap: Option<u64>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    keyswap: u64,
    #[serde(default)]
    revision: Revision,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    attest_every_ms: Option<u64>,
    secrets: Vec<WireSecret>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct WireSecret {
    id: SecretId,
    value: Zeroizing<String>,
}

impl SecretDocument {
    /// Reads a document.
    ///
    /// # Errors
    ///
    /// [`DocumentError`] names the line or the entry and the reason. It never repeats what the
    /// document holds.
    pub fn parse(text: &[u8]) -> Result<Self, DocumentError> {
        if text.iter().all(u8::is_ascii_whitespace) {
            return Err(DocumentError::Empty);
        }
        // The version first: a later version may well have another shape.
        let header: Header = serde_json::from_slice(text).map_err(DocumentError::from_json)?;
        // The one place that knows which versions are read: a further one is a further arm here.
        match header.keyswap {
            Some(1) => Self::of_version_1(text),
            Some(found) => Err(DocumentError::UnknownVersion { found }),
            None => Err(DocumentError::NoVersion),
        }
    }

    fn of_version_1(text: &[u8]) -> Result<Self, DocumentError> {
        let wire: Wire = serde_json::from_slice(text).map_err(DocumentError::from_json)?;
        let mut secrets = Vec::with_capacity(wire.secrets.len());
        for (position, secret) in wire.secrets.into_iter().enumerate() {
            let secret = Secret::new(secret.id, secret.value.as_str())
                .map_err(|reason| DocumentError::Secret { position, reason })?;
            secrets.push(secret);
        }
        Ok(Self {
            revision: wire.revision,
            attest_every: wire.attest_every_ms.map(Duration::from_millis),
            list: SecretList::new(secrets).map_err(DocumentError::List)?,
        })
    }

    /// Writes the document, with a line end behind it. The buffer is wiped when it is dropped.
    #[must_use]
    pub fn to_json(&self) -> Zeroizing<Vec<u8>> {
        let secrets = self.list.iter().map(|secret| WireSecret {
            id: secret.id().clone(),
            value: Zeroizing::new(secret.expose().to_owned()),
        });
        let wire = Wire {
            keyswap: VERSION,
            revision: self.revision,
            attest_every_ms: self
                .attest_every
                .map(|every| u64::try_from(every.as_millis()).unwrap_or(u64::MAX)),
            secrets: secrets.collect(),
        };
        // Large enough for every character escaped, since a buffer that grows leaves a copy behind.
        let values: usize = self.list.iter().map(|secret| secret.expose().len()).sum();
        let mut text = Zeroizing::new(Vec::with_capacity(256 + 128 * self.list.len() + 6 * values));
        // Neither the writer nor these types can fail; what was written would be refused by `parse`.
        if serde_json::to_writer_pretty(&mut *text, &wire).is_ok() {
            text.push(b'\n');
        }
        text
    }
}

/// Why a secret document cannot be read.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum DocumentError {
    /// There is nothing in it.
    Empty,
    /// It ends in the middle.
    Truncated {
        /// The line where it ends, counted from 1.
        line: usize,
    },
    /// It is not JSON.
    Syntax {
        /// Line, counted from 1.
        line: usize,
        /// Column, counted from 1.
        column: usize,
    },
    /// It is JSON of another shape: a field is missing, unknown, or of the wrong type.
    Shape {
        /// Line, counted from 1.
        line: usize,
        /// Column, counted from 1.
        column: usize,
    },
    /// The field `keyswap`, which gives the version, is missing.
    NoVersion,
    /// It is of a version that this program does not know.
    UnknownVersion {
        /// That version.
        found: u64,
    },
    /// One secret is not valid.
    Secret {
        /// Its position in the list, counted from 0.
        position: usize,
        /// What is wrong with it.
        reason: InvalidSecret,
    },
    /// The secrets do not make a list.
    List(InvalidSecretList),
}

impl DocumentError {
    /// Keeps the place and drops the text: serde's messages repeat values that have the wrong type.
    fn from_json(error: serde_json::Error) -> Self {
        use serde_json::error::Category;
        let (line, column) = (error.line(), error.column());
        match error.classify() {
            Category::Eof => Self::Truncated { line },
            Category::Syntax => Self::Syntax { line, column },
            Category::Data | Category::Io => Self::Shape { line, column },
        }
    }
}

impl fmt::Display for DocumentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the secret document is empty"),
            Self::Truncated { line } => {
                write!(f, "the secret document ends in the middle, at line {line}: it was cut off")
            }
            Self::Syntax { line, column } => {
                write!(f, "the secret document is not JSON at line {line}, column {column}")
            }
            Self::Shape { line, column } => write!(
                f,
                "the secret document has a missing, an unknown or a mistyped field near line {line}, \
                 column {column}; it has `keyswap`, `revision`, `attest_every_ms` and `secrets`, each \
                 secret `id` and `value`"
            ),
            Self::NoVersion => f.write_str(
                "the secret document has no field `keyswap` with its version; this is \"keyswap\": 1",
            ),
            Self::UnknownVersion { found } => write!(
                f,
                "the secret document is of version {found}, and this program (keyswap {}) knows \
                 version {VERSION}: use a newer keyswap, for instance the one that wrote it",
                env!("CARGO_PKG_VERSION")
            ),
            Self::Secret { position, reason } => {
                write!(f, "secret number {} of the document: {reason}", position + 1)
            }
            Self::List(reason) => write!(f, "the secret document: {reason}"),
        }
    }
}

impl Error for DocumentError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Secret { reason, .. } => Some(reason),
            Self::List(reason) => Some(reason),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn refused(text: &str) -> DocumentError {
        SecretDocument::parse(text.as_bytes()).unwrap_err()
    }

    #[test]
    fn each_fault_has_its_own_error_and_none_repeats_the_document() {
        let list = r#"[{"id":"a","value":"hunter2"}]"#;
        let cases = [
            (" \n".to_owned(), "is empty"),
            (
                format!(r#"{{"keyswap":1,"secrets":{}"#, &list[..20]),
                "ends in the middle, at line 1",
            ),
            ("hunter2".to_owned(), "not JSON at line 1"),
            (format!(r#"{{"secrets":{list}}}"#), "no field `keyswap`"),
            (format!(r#"{{"keyswap":7,"other":{list}}}"#), "is of version 7"),
            (format!(r#"{{"keyswap":1,"secrets":{list},"more":"hunter2"}}"#), "unknown"),
            (r#"{"keyswap":1,"secrets":"hunter2"}"#.to_owned(), "mistyped"),
            (r#"{"keyswap":1,"secrets":["hunter2"]}"#.to_owned(), "mistyped"),
            (r#"{"keyswap":1}"#.to_owned(), "missing"),
            (r#"{"keyswap":1,"secrets":[]}"#.to_owned(), "holds no secret"),
            (r#"{"keyswap":1,"secrets":[{"id":"a","value":""}]}"#.to_owned(), "number 1"),
            (r#"{"keyswap":1,"secrets":[{"id":"hunter2 ","value":"x"}]}"#.to_owned(), "line 1"),
            (r#"{"keyswap":1,"secrets":[{"id":"a","value":"hunter2\n"}]}"#.to_owned(), "control"),
            (
                r#"{"keyswap":1,"secrets":[{"id":"a","value":"x"},{"id":"a","value":"y"}]}"#
                    .to_owned(),
                "twice",
            ),
        ];
        for (text, reason) in cases {
            let error = refused(&text);
            assert!(error.to_string().contains(reason), "{text}: {error}");
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
        }
    }

    #[test]
    fn a_document_cut_at_any_byte_is_refused() {
        let whole = br#"{"keyswap":1,"revision":4,"secrets":[{"id":"a","value":"x"}]}"#;
        assert_eq!(SecretDocument::parse(whole).unwrap().revision, Revision::new(4));
        for length in 0..whole.len() {
            assert!(SecretDocument::parse(&whole[..length]).is_err(), "{length}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back_the_same(
            values in prop::collection::hash_set("[ -~\u{a1}-\u{ff}]{1,80}", 1..=16),
            revision in any::<u64>(),
            attest in proptest::option::of(0u64..1 << 40),
        ) {
            let secrets = values.iter().enumerate().map(|(n, value)| {
                Secret::new(format!("id{n}").parse().unwrap(), value.as_str()).unwrap()
            });
            let document = SecretDocument {
                revision: Revision::new(revision),
                attest_every: attest.map(Duration::from_millis),
                list: SecretList::new(secrets).unwrap(),
            };
            let read = SecretDocument::parse(&document.to_json()).unwrap();
            prop_assert!(read.list.ids().eq(document.list.ids()));
            prop_assert_eq!(read, document);
        }

        #[test]
        fn no_bytes_make_it_panic(text in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = SecretDocument::parse(&text);
        }
    }
}
