//! The files of one client, and the steps that more than one call takes. Everything here waits for the
//! disk.

use std::path::{Path, PathBuf};
use std::time::Duration;

use keyswap_core::SecretDocument;
use zeroize::Zeroizing;

use super::lock::{Lock, Writing};
use super::replace::{self, Durable};
use super::seal::{self, Sealing};
use super::{fs, instances, permissions};
use crate::{StoreError, written};

#[derive(Clone)]
pub(super) struct Place {
    pub(super) root: PathBuf,
    pub(super) client: String,
    pub(super) directory: PathBuf,
    pub(super) poll: Duration,
    pub(super) term: Duration,
    pub(super) sealing: Sealing,
}

impl Place {
    pub(super) fn ring(&self) -> PathBuf {
        self.directory.join("ring.json")
    }

    pub(super) fn journal(&self) -> PathBuf {
        self.directory.join("rotation.json")
    }

    pub(super) fn hold(&self) -> PathBuf {
        self.directory.join("hold.json")
    }

    pub(super) fn history(&self) -> PathBuf {
        self.directory.join("history.jsonl")
    }

    pub(super) fn lock(&self) -> PathBuf {
        self.directory.join("lock")
    }

    pub(super) fn instances(&self) -> PathBuf {
        self.directory.join("instances")
    }

    /// Whether this client has a directory, after a look at who can read it.
    pub(super) fn exists(&self, doing: &str) -> Result<bool, StoreError> {
        permissions::check_directory(&self.root, doing)?;
        match fs::metadata(&self.directory) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
            _ => permissions::check_directory(&self.directory, doing).map(|()| true),
        }
    }

    pub(super) fn make(&self, doing: &str) -> Result<(), StoreError> {
        permissions::check_directory(&self.root, doing)?;
        permissions::make_directory(&self.directory, doing)
    }

    pub(super) fn acquire(&self, holder: &str, doing: &str) -> Result<Lock, StoreError> {
        self.make(doing)?;
        // All of it in one section: nobody is in the middle of a write, or of taking the lease.
        let section = Lock::section(&self.directory, &self.lock(), doing)?;
        let lock = Lock::acquire(&self.lock(), &section, holder, self.term, doing)?;
        replace::remove_leftovers(&self.directory, doing)?;
        instances::forget_long_gone(&self.instances(), doing)?;
        Ok(lock)
    }

    pub(super) fn published(&self, doing: &str) -> Result<Option<SecretDocument>, StoreError> {
        if !self.exists(doing)? {
            return Ok(None);
        }
        let path = self.ring();
        let Some(text) = self.read(&path, doing)? else { return Ok(None) };
        let document = written::parse_list(&text, doing);
        document.map(Some).map_err(|error| error.at(path.display().to_string()))
    }

    /// Writes the list.
    pub(super) fn write(
        &self,
        writing: &Writing<'_>,
        document: &SecretDocument,
        doing: &str,
    ) -> Result<(), StoreError> {
        self.replace(&self.ring(), writing, &document.to_json(), doing)
    }

    /// Reads a file that holds secrets; `None` if it is not there.
    pub(super) fn read(
        &self,
        path: &Path,
        doing: &str,
    ) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        let text = permissions::read(path, doing)?;
        text.map(|text| self.sealing.open(text, path, doing)).transpose()
    }

    /// Writes a file that holds secrets. What is sealed with a key that is not ours is left alone: whoever has that
    /// key would find it gone, or in the open.
    pub(super) fn replace(
        &self,
        path: &Path,
        writing: &Writing<'_>,
        text: &[u8],
        doing: &str,
    ) -> Result<(), StoreError> {
        if let Err(error) = self.read(path, doing)
            && error.is_sealed()
        {
            return Err(error);
        }
        self.put(&self.sealing, path, writing, text, doing)
    }

    /// Writes what holds secrets and is there anew, as `sealing` says, and names those files. Each is replaced
    /// as a whole: until then it is what it was, and what is sealed is read beside what is not.
    #[cfg(feature = "age")]
    pub(super) fn rewrite(
        &self,
        sealing: &Sealing,
        writing: &Writing<'_>,
        doing: &str,
    ) -> Result<Vec<PathBuf>, StoreError> {
        // What is damaged is left as it is, for a person to look at.
        self.published(doing)?;
        let mut rewritten = Vec::new();
        for path in [self.journal(), self.ring()] {
            if let Some(text) = self.read(&path, doing)? {
                self.put(sealing, &path, writing, &text, doing)?;
                rewritten.push(path);
            }
        }
        Ok(rewritten)
    }

    /// Those of the files that hold secrets that are not sealed.
    pub(super) fn in_the_open(&self, doing: &str) -> Result<Vec<PathBuf>, StoreError> {
        let mut open = Vec::new();
        if !self.exists(doing)? {
            return Ok(open);
        }
        for path in [self.journal(), self.ring()] {
            if permissions::read(&path, doing)?.is_some_and(|text| !seal::is_sealed(&text)) {
                open.push(path);
            }
        }
        Ok(open)
    }

    fn put(
        &self,
        sealing: &Sealing,
        path: &Path,
        writing: &Writing<'_>,
        text: &[u8],
        doing: &str,
    ) -> Result<(), StoreError> {
        let text = sealing.close(text, path, doing)?;
        let staged = replace::stage(path, &text, Durable::Yes, doing)?;
        let _section = writing.section(doing)?;
        staged.commit()
    }
}
