//! Sealing at rest: the files that hold secrets are written so that only the holder of a key reads them.
//!
//! The format is that of age (age-encryption.org/v1), so that its tools open what is written here. Without the
//! feature `age` this can tell that a file is sealed, and no more.

use std::path::Path;

use zeroize::Zeroizing;

use crate::{StoreError, StoreErrorKind};

/// What every sealed file begins with.
const MAGIC: &[u8] = b"age-encryption.org/v1";

pub(super) fn is_sealed(text: &[u8]) -> bool {
    text.starts_with(MAGIC)
}

/// How a place reads and writes what holds secrets.
#[derive(Clone, Default)]
pub(super) struct Sealing {
    #[cfg(feature = "age")]
    seal: Option<std::sync::Arc<Seal>>,
}

impl Sealing {
    /// What is to be written in place of `text`.
    pub(super) fn close(
        &self,
        text: &[u8],
        path: &Path,
        doing: &str,
    ) -> Result<Zeroizing<Vec<u8>>, StoreError> {
        #[cfg(feature = "age")]
        if let Some(seal) = &self.seal {
            return seal.close(text).map(Zeroizing::new).map_err(|error| {
                StoreError::new(StoreErrorKind::Io, doing)
                    .at(path.display().to_string())
                    .with_source(error)
                    .way_out("nothing was written; run it again")
            });
        }
        let _ = (path, doing);
        Ok(Zeroizing::new(text.to_vec()))
    }

    /// What was written, from what is there. A file that is not sealed yet is read as it is, so that programs
    /// can be given the key before the first sealed write.
    pub(super) fn open(
        &self,
        text: Zeroizing<Vec<u8>>,
        path: &Path,
        doing: &str,
    ) -> Result<Zeroizing<Vec<u8>>, StoreError> {
        if !is_sealed(&text) {
            return Ok(text);
        }
        let refuse = |reason: &str, way_out: &str| {
            Err(StoreError::new(StoreErrorKind::Sealed, doing)
                .at(path.display().to_string())
                .because(reason)
                .way_out(way_out))
        };
        #[cfg(feature = "age")]
        return match &self.seal {
            Some(seal) => match seal.open(&text) {
                Ok(text) => Ok(text),
                Err(age::DecryptError::NoMatchingKeys) => refuse(
                    "it is sealed with another key",
                    "give the identity that it was sealed with (`identity` in [store], or `Seal`)",
                ),
                Err(error) => Err(StoreError::new(StoreErrorKind::Invalid, doing)
                    .at(path.display().to_string())
                    .with_source(error)
                    .way_out("restore it from a backup; nothing was changed")),
            },
            None => refuse(
                "it is sealed, and no key was given",
                "give its identity file: `identity` in [store], or `FileStore::sealed`",
            ),
        };
        #[cfg(not(feature = "age"))]
        refuse(
            "it is sealed, and this program was built without the feature `age`",
            "build it with that feature, and give it the identity file",
        )
    }
}

#[cfg(feature = "age")]
impl From<Seal> for Sealing {
    fn from(seal: Seal) -> Self {
        Self { seal: Some(std::sync::Arc::new(seal)) }
    }
}

#[cfg(feature = "age")]
pub use key::Seal;

#[cfg(feature = "age")]
mod key {
    use std::fmt;
    use std::io::{Read, Write};
    use std::path::Path;

    use age::secrecy::{ExposeSecret, SecretString};
    use age::{DecryptError, Decryptor, EncryptError, Encryptor, scrypt, x25519};
    use zeroize::Zeroizing;

    use super::super::{fs, fs::OpenOptionsExt, permissions};
    use super::is_sealed;
    use crate::{StoreError, StoreErrorKind};

    const DOING: &str = "read the identity that seals the store";
    /// An age file of a kilobyte or so; a list of keys is not much longer.
    const MOST_IDENTITIES: usize = 64;

    /// The key that a [`FileStore`](crate::FileStore) is sealed with at rest: an age identity in a file, itself
    /// open or under a passphrase.
    ///
    /// With [`FileStore::sealed`](crate::FileStore::sealed) the list and the journal of a rotation, all that hold a
    /// secret, are written so that the directory shows none. Keep the identity somewhere else, for instance
    /// where the service manager hands out credentials: whoever reads both reads the secrets.
    ///
    /// Several identities in one file change the key without a gap: each opens what is there, and writes are
    /// sealed to all of them.
    ///
    /// ```
    /// use keyswap_core::{Secret, SecretList};
    /// use keyswap_store::{FileStore, Seal, SecretStore};
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// # let directory = tempfile::tempdir()?;
    /// # let identity = directory.path().join("identity.txt");
    /// # let directory = directory.path().join("store");
    /// // Once; `age-keygen -o FILE` does the same.
    /// Seal::create_identity(&identity)?;
    ///
    /// let seal = Seal::identity_file(&identity)?;
    /// let store = FileStore::create(&directory, "billing")?.sealed(seal);
    /// let list = SecretList::new([Secret::new("first".parse()?, "Vq3hCc0Zc1Jx")?])?;
    /// store.import(&list).await?;
    ///
    /// let without = FileStore::open(&directory, "billing")?.published().await.unwrap_err();
    /// assert!(without.is_sealed());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[derive(Clone)]
    pub struct Seal {
        identities: Vec<x25519::Identity>,
        recipients: Vec<x25519::Recipient>,
    }

    impl Seal {
        /// Reads an identity file, as `age-keygen` writes it: a line `AGE-SECRET-KEY-1…`, with comments behind `#`.
        ///
        /// # Errors
        ///
        /// [`NotFound`](StoreErrorKind::NotFound) when it is missing,
        /// [`Permissions`](StoreErrorKind::Permissions) when others can read it or it is not ours,
        /// [`Sealed`](StoreErrorKind::Sealed) when it is under a passphrase,
        /// [`Invalid`](StoreErrorKind::Invalid) when it holds no such identity.
        pub fn identity_file(path: impl AsRef<Path>) -> Result<Self, StoreError> {
            let path = path.as_ref();
            let text = read(path)?;
            if is_sealed(&text) {
                return Err(fault(path, StoreErrorKind::Sealed)
                    .because("it is under a passphrase, and none was given")
                    .way_out("give it: `identity_passphrase` in [store], or `Seal::protected_identity_file`"));
            }
            Self::parse(&text, path)
        }

        /// Reads an identity file that is itself sealed with a passphrase (`age-keygen | age -p`).
        ///
        /// The passphrase is asked of the processor once, here: about a second, which no later read or write
        /// costs again. It waits for that.
        ///
        /// # Errors
        ///
        /// As [`identity_file`](Self::identity_file); [`Sealed`](StoreErrorKind::Sealed) when the passphrase is
        /// another one.
        pub fn protected_identity_file(
            path: impl AsRef<Path>,
            passphrase: impl Into<String>,
        ) -> Result<Self, StoreError> {
            let path = path.as_ref();
            let passphrase = SecretString::from(passphrase.into());
            let text = read(path)?;
            if !is_sealed(&text) {
                return Err(fault(path, StoreErrorKind::Invalid)
                    .because("a passphrase was given, and it is not under one (in the binary format of age)")
                    .way_out("seal it with `age -p`, or give no passphrase"));
            }
            let opened = open(&text, std::iter::once(&scrypt::Identity::new(passphrase) as _));
            let opened = opened.map_err(|error| match error {
                DecryptError::DecryptionFailed
                | DecryptError::KeyDecryptionFailed
                | DecryptError::NoMatchingKeys => fault(path, StoreErrorKind::Sealed)
                    .because("the passphrase is not the one that it was sealed with")
                    .way_out("give the right one"),
                error => fault(path, StoreErrorKind::Invalid).with_source(error),
            })?;
            Self::parse(&opened, path)
        }

        /// Makes a new identity, and a file for it that its owner alone can read. The directory must be there.
        ///
        /// # Errors
        ///
        /// When there is a file already, or it cannot be written.
        pub fn create_identity(path: impl AsRef<Path>) -> Result<Self, StoreError> {
            let path = path.as_ref();
            let doing = "make an identity to seal the store with";
            let identity = x25519::Identity::generate();
            let text = Zeroizing::new(format!(
                "# public key: {}\n{}\n",
                identity.to_public(),
                identity.to_string().expose_secret()
            ));
            let mut options = fs::OpenOptions::new();
            let opened = options.write(true).create_new(true).mode(0o600).open(path);
            let written = opened.and_then(|mut file| {
                file.write_all(text.as_bytes())?;
                file.sync_all()
            });
            match written {
                Ok(()) => Ok(Self::of(vec![identity])),
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                    Err(StoreError::new(StoreErrorKind::AlreadyExists, doing)
                        .at(path.display().to_string())
                        .because("there is a file already, and it may be the key of a store")
                        .way_out("choose another name"))
                }
                Err(error) => Err(permissions::io_error(error, path, doing)),
            }
        }

        fn of(identities: Vec<x25519::Identity>) -> Self {
            let recipients = identities.iter().map(x25519::Identity::to_public).collect();
            Self { identities, recipients }
        }

        fn parse(text: &[u8], path: &Path) -> Result<Self, StoreError> {
            let invalid = |reason: String| {
                fault(path, StoreErrorKind::Invalid)
                    .because(reason)
                    .way_out("make one: age-keygen -o FILE")
            };
            let text = std::str::from_utf8(text).map_err(|_| {
                invalid("it is not text, so that it is no identity file".to_owned())
            })?;
            let mut identities = Vec::new();
            for (number, line) in (1..).zip(text.lines()) {
                let line = line.trim();
                if line.is_empty() || line.starts_with('#') {
                    continue;
                }
                // The parser's own words may repeat the line.
                let identity = line.parse().map_err(|_| {
                    invalid(format!("line {number} is no age identity, as age-keygen writes one"))
                })?;
                identities.push(identity);
            }
            match identities.len() {
                0 => Err(invalid("it holds no identity".to_owned())),
                1..=MOST_IDENTITIES => Ok(Self::of(identities)),
                count => Err(invalid(format!(
                    "it holds {count} identities; the most that are taken is {MOST_IDENTITIES}"
                ))),
            }
        }

        pub(super) fn close(&self, text: &[u8]) -> Result<Vec<u8>, EncryptError> {
            let recipients = self.recipients.iter().map(|recipient| recipient as _);
            let encryptor = Encryptor::with_recipients(recipients)?;
            let mut sealed = Vec::with_capacity(text.len() + 1024);
            let mut writer = encryptor.wrap_output(&mut sealed)?;
            writer.write_all(text)?;
            writer.finish()?;
            Ok(sealed)
        }

        pub(super) fn open(&self, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, DecryptError> {
            open(sealed, self.identities.iter().map(|identity| identity as _))
        }
    }

    impl fmt::Debug for Seal {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            // Whom it is sealed to may be known.
            let recipients = self.recipients.iter().map(ToString::to_string);
            f.debug_tuple("Seal").field(&recipients.collect::<Vec<_>>()).finish()
        }
    }

    fn open<'a>(
        sealed: &[u8],
        identities: impl Iterator<Item = &'a dyn age::Identity>,
    ) -> Result<Zeroizing<Vec<u8>>, DecryptError> {
        let mut reader = Decryptor::new_buffered(sealed)?.decrypt(identities)?;
        // Never longer than what it was sealed into, since a buffer that grows leaves a copy behind.
        let mut text = Zeroizing::new(Vec::with_capacity(sealed.len()));
        reader.read_to_end(&mut text)?;
        Ok(text)
    }

    fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, StoreError> {
        permissions::read(path, DOING)?.ok_or_else(|| {
            fault(path, StoreErrorKind::NotFound)
                .because("it is not there")
                .way_out("make one (age-keygen -o FILE), or correct the path")
        })
    }

    fn fault(path: &Path, kind: StoreErrorKind) -> StoreError {
        StoreError::new(kind, DOING).at(path.display().to_string())
    }
}
