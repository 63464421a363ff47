//! Why a store could not do what it was asked to.

use std::error::Error;
use std::fmt;

use keyswap_core::Revision;

/// Why a store could not do what it was asked to: what was being done, to which place, the reason, and
/// the way out. It never holds a secret.
///
/// ```
/// use keyswap_store::{StoreError, StoreErrorKind};
///
/// let error = StoreError::new(StoreErrorKind::NotFound, "read the list of client billing")
///     .at("the file store at /var/lib/keyswap")
///     .because("it holds no list of this client")
///     .way_out("import the present secret first: keyswap init");
/// assert!(error.is_not_found());
/// assert_eq!(
///     error.to_string(),
///     "cannot read the list of client billing: the file store at /var/lib/keyswap: \
///      it holds no list of this client; import the present secret first: keyswap init",
/// );
/// ```
pub struct StoreError(Box<Inner>);

struct Inner {
    kind: StoreErrorKind,
    doing: String,
    place: Option<String>,
    reason: Option<String>,
    way_out: Option<String>,
    source: Option<Box<dyn Error + Send + Sync>>,
}

/// The kinds of [`StoreError`].
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum StoreErrorKind {
    /// The store, or what was looked for in it, is not there.
    NotFound,
    /// The store holds a list of this client already.
    AlreadyExists,
    /// Somebody else published a list meanwhile. Nothing was written.
    Conflict {
        /// The revision that should have been replaced.
        expected: Revision,
        /// The revision that is there.
        found: Revision,
    },
    /// Another process holds the lease, and renewed it not long ago, or is in the middle of a write.
    Held {
        /// Who: what it called itself, its process id, and for how long.
        holder: String,
    },
    /// The lease is not held any more: another process took it, after this one had not renewed it in time,
    /// or its file was tampered with. Nothing was written.
    LeaseLost,
    /// Others may read or change what only we should, or we may not read or change it.
    Permissions,
    /// It is sealed, and the key or the passphrase that opens it was not given.
    Sealed,
    /// What was found, or was to be written, is not valid: truncated, of an unknown version, a
    /// directory where a file should be, a broken history.
    Invalid,
    /// It may have happened or not: read it back before anything else.
    OutcomeUnknown,
    /// Reading or writing failed.
    Io,
}

impl StoreError {
    /// An error of this kind. `doing` completes the words "cannot …".
    pub fn new(kind: StoreErrorKind, doing: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            kind,
            doing: doing.into(),
            place: None,
            reason: None,
            way_out: None,
            source: None,
        }))
    }

    /// Names the place: a path, a store.
    #[must_use]
    pub fn at(mut self, place: impl Into<String>) -> Self {
        self.0.place = Some(place.into());
        self
    }

    /// Says why. Without this, `Display` shows the source's own words.
    #[must_use]
    pub fn because(mut self, reason: impl Into<String>) -> Self {
        self.0.reason = Some(reason.into());
        self
    }

    /// Says what a person can do about it.
    #[must_use]
    pub fn way_out(mut self, way_out: impl Into<String>) -> Self {
        self.0.way_out = Some(way_out.into());
        self
    }

    /// Keeps the error that this one comes from.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// What kind of failure it is.
    #[must_use]
    pub fn kind(&self) -> &StoreErrorKind {
        &self.0.kind
    }

    /// Whether the store, or what was looked for in it, is not there.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.0.kind == StoreErrorKind::NotFound
    }

    /// Whether the store holds a list already.
    #[must_use]
    pub fn is_already_exists(&self) -> bool {
        self.0.kind == StoreErrorKind::AlreadyExists
    }

    /// Whether somebody else published a list meanwhile.
    #[must_use]
    pub fn is_conflict(&self) -> bool {
        matches!(self.0.kind, StoreErrorKind::Conflict { .. })
    }

    /// Whether another process holds the lease.
    #[must_use]
    pub fn is_held(&self) -> bool {
        matches!(self.0.kind, StoreErrorKind::Held { .. })
    }

    /// Whether the lease is not held any more.
    #[must_use]
    pub fn is_lease_lost(&self) -> bool {
        self.0.kind == StoreErrorKind::LeaseLost
    }

    /// Whether file permissions or ownership are in the way.
    #[must_use]
    pub fn is_permissions(&self) -> bool {
        self.0.kind == StoreErrorKind::Permissions
    }

    /// Whether it is sealed, and what opens it was not given.
    #[must_use]
    pub fn is_sealed(&self) -> bool {
        self.0.kind == StoreErrorKind::Sealed
    }

    /// Whether what was asked for may have happened all the same.
    #[must_use]
    pub fn is_outcome_unknown(&self) -> bool {
        self.0.kind == StoreErrorKind::OutcomeUnknown
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &*self.0;
        write!(f, "cannot {}", inner.doing)?;
        if let Some(place) = &inner.place {
            write!(f, ": {place}")?;
        }
        match (&inner.reason, &inner.source) {
            (Some(reason), _) => write!(f, ": {reason}")?,
            (None, Some(source)) => write!(f, ": {source}")?,
            (None, None) => {}
        }
        if let Some(way_out) = &inner.way_out {
            write!(f, "; {way_out}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreError")
            .field("kind", &self.0.kind)
            .field("message", &self.to_string())
            .field("source", &self.0.source)
            .finish()
    }
}

impl Error for StoreError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source.as_deref().map(|source| source as &(dyn Error + 'static))
    }
}
