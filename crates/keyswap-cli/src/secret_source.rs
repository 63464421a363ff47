//! Where a secret comes from: a file, standard input or the environment.

use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};

use keyswap_core::{Secret, SecretId};
use rand_source::random_id;
use serde::de::{self, Deserializer, MapAccess, Visitor};
use zeroize::Zeroizing;

use crate::exit::Failure;

mod rand_source {
    use keyswap_core::{Generator, SecretId};

    use crate::exit::Failure;

    /// A random id, by way of a generated secret that is thrown away.
    pub(super) fn random_id() -> Result<SecretId, Failure> {
        let generated = Generator::default().generate();
        generated
            .map(|secret| secret.id().clone())
            .map_err(|error| Failure::failed(error.to_string()))
    }
}

/// A place that holds a secret. The secret itself is never part of a configuration.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum SecretSource {
    File(PathBuf),
    Environment(String),
    StandardInput,
    /// A keyswap store in a directory, whose list is followed.
    Store(PathBuf),
    /// The same of the store that `[store]` names, whatever it is.
    OwnStore,
}

/// The longest file that is taken for a secret; a secret has 4096 bytes at most.
const LONGEST: u64 = 64 * 1024;

impl SecretSource {
    /// Reads the secret, under a random id.
    pub(crate) fn read(&self) -> Result<Secret, Failure> {
        let mut value = self.read_text()?;
        // Editors and `echo` end a file with a line end that is not part of the secret.
        if value.last() == Some(&b'\n') {
            value.pop();
            if value.last() == Some(&b'\r') {
                value.pop();
            }
        }
        let id: SecretId = random_id()?;
        Secret::from_bytes(id, std::mem::take(&mut *value)).map_err(|error| {
            self.unreadable(&format!("{error}. It should be the client secret and nothing else"))
        })
    }

    /// Reads what stands there, in as many lines as it has: a key.
    pub(crate) fn read_text(&self) -> Result<Zeroizing<Vec<u8>>, Failure> {
        Ok(match self {
            Self::File(path) => {
                let file = std::fs::File::open(path)
                    .map_err(|error| self.unreadable(&error.to_string()))?;
                self.read_all(file)?
            }
            Self::StandardInput => self.read_all(std::io::stdin().lock())?,
            Self::Store(_) | Self::OwnStore => {
                return Err(self.unreadable("a store is followed, and holds a list"));
            }
            Self::Environment(name) => {
                let value = std::env::var_os(name).ok_or_else(|| {
                    self.unreadable("it is not set; set it, or name another source")
                })?;
                Zeroizing::new(std::os::unix::ffi::OsStringExt::into_vec(value))
            }
        })
    }

    fn read_all(&self, source: impl Read) -> Result<Zeroizing<Vec<u8>>, Failure> {
        let mut value = Zeroizing::new(Vec::with_capacity(8 * 1024));
        source
            .take(LONGEST)
            .read_to_end(&mut value)
            .map_err(|error| self.unreadable(&error.to_string()))?;
        Ok(value)
    }

    fn unreadable(&self, reason: &str) -> Failure {
        Failure::usage(format!("the secret from {self} cannot be used: {reason}"))
    }

    /// The same source with its path taken relative to `directory`.
    pub(crate) fn relative_to(self, directory: &Path) -> Self {
        match self {
            Self::File(path) => Self::File(directory.join(path)),
            Self::Store(path) => Self::Store(directory.join(path)),
            other => other,
        }
    }
}

impl fmt::Display for SecretSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "the file {}", path.display()),
            Self::Environment(name) => write!(f, "the environment variable {name}"),
            Self::StandardInput => f.write_str("standard input"),
            Self::Store(path) => write!(f, "the store {}", path.display()),
            Self::OwnStore => f.write_str("the store of [store]"),
        }
    }
}

/// `{ file = "…" }`, `{ env = "…" }`, `{ store = "…" }` or `{ store = true }`. A plain text is refused without being repeated: it is most
/// likely the secret itself.
impl<'de> de::Deserialize<'de> for SecretSource {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SourceVisitor)
    }
}

struct SourceVisitor;

#[derive(serde::Deserialize)]
#[serde(untagged)]
enum StoreName {
    Directory(PathBuf),
    Own(bool),
}

/// What a configuration that holds something else in place of a source is told.
pub(crate) const EXPECTED: &str = "a secret never stands in the configuration: write { file = \"PATH\" }, \
                        { env = \"NAME\" } or { store = \"DIRECTORY\" }";

impl<'de> Visitor<'de> for SourceVisitor {
    type Value = SecretSource;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{ file = \"PATH\" }, { env = \"NAME\" } or { store = \"DIRECTORY\" }")
    }

    fn visit_str<E: de::Error>(self, _: &str) -> Result<SecretSource, E> {
        Err(E::custom(EXPECTED))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<SecretSource, A::Error> {
        let source = match map.next_key::<String>()?.as_deref() {
            Some("file") => SecretSource::File(map.next_value::<String>()?.into()),
            Some("env") => SecretSource::Environment(map.next_value()?),
            Some("store") => match map.next_value() {
                Ok(StoreName::Directory(path)) => SecretSource::Store(path),
                Ok(StoreName::Own(true)) => SecretSource::OwnStore,
                _ => return Err(de::Error::custom(EXPECTED)),
            },
            _ => return Err(de::Error::custom(EXPECTED)),
        };
        match map.next_entry::<String, de::IgnoredAny>()? {
            None => Ok(source),
            Some(_) => {
                Err(de::Error::custom("a secret has one source: either `file`, `env` or `store`"))
            }
        }
    }
}
