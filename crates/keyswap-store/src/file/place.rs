//! The files of one client, and the steps that more than one call takes. Everything here waits for the
//! disk.

use std::path::PathBuf;
use std::time::Duration;

use keyswap_core::{Revision, SecretDocument};

use super::lock::{Lock, Writing};
use super::replace::{self, Durable};
use super::{fs, instances, permissions};
use crate::{StoreError, StoreErrorKind};

#[derive(Clone)]
pub(super) struct Place {
    pub(super) root: PathBuf,
    pub(super) client: String,
    pub(super) directory: PathBuf,
    pub(super) poll: Duration,
    pub(super) term: Duration,
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
        let Some(text) = permissions::read(&path, doing)? else { return Ok(None) };
        let document = SecretDocument::parse(&text).map_err(|error| {
            StoreError::new(StoreErrorKind::Invalid, doing)
                .at(path.display().to_string())
                .with_source(error)
                .way_out("restore it from a backup; nothing was changed")
        })?;
        if document.revision == Revision::INITIAL {
            return Err(StoreError::new(StoreErrorKind::Invalid, doing)
                .at(path.display().to_string())
                .because("it has no revision, so that it is not a list that keyswap published")
                .way_out("move it away and import its secrets with `keyswap init`"));
        }
        Ok(Some(document))
    }

    pub(super) fn write(
        &self,
        writing: &Writing<'_>,
        document: &SecretDocument,
        doing: &str,
    ) -> Result<(), StoreError> {
        let path = self.ring();
        let staged = replace::stage(&path, &document.to_json(), Durable::Yes, doing)?;
        let _section = writing.section(doing)?;
        staged.commit()
    }
}
