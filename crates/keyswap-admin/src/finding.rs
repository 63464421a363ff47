//! What a look at a client, its server and its store finds.

use std::fmt;

use keyswap_core::SecretId;
use serde::Serialize;

use crate::error::{RotateError, RotateErrorKind};
use crate::rotation::StuckReason;

/// How bad a [`Finding`] is, the least first.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Level {
    /// As it should be.
    Ok,
    /// A rotation begins all the same. Somebody may have to do something on the way, or may be surprised.
    Warning,
    /// A rotation does not begin, or programs cannot sign in as it is.
    Error,
}

/// What a [`Finding`] is about.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Subject {
    /// What is configured.
    Configuration,
    /// The store, and the list that is published in it.
    Store,
    /// The record of what was done.
    History,
    /// A rotation: one that is under way, or the one that would begin.
    Rotation,
    /// The authorization server.
    Server,
    /// The credentials of the management requests.
    Credentials,
    /// What these credentials may do.
    Permissions,
    /// The client at the server, and how it authenticates.
    Client,
    /// The value of a new secret.
    Value,
    /// The published secret, at the server.
    Secret,
    /// The secrets that the client has, at a server that holds several.
    Slots,
    /// The programs that report to the store.
    Applications,
    /// Who else uses or needs the secret, as far as the server knows.
    Use,
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Configuration => "configuration",
            Self::Store => "store",
            Self::History => "history",
            Self::Rotation => "rotation",
            Self::Server => "server",
            Self::Credentials => "credentials",
            Self::Permissions => "permissions",
            Self::Client => "client",
            Self::Value => "value",
            Self::Secret => "secret",
            Self::Slots => "slots",
            Self::Applications => "applications",
            Self::Use => "use",
        })
    }
}

/// One thing that a look found: how bad it is, what it is about, the reason and, where something is to be done,
/// the way out. It holds no secret.
///
/// ```
/// use keyswap_admin::{Finding, Level, Subject};
///
/// let finding = Finding::warning(Subject::Use, "ID tokens are signed with the secret (HS256)");
/// assert_eq!(finding.level(), Level::Warning);
/// assert!(Level::Error > Level::Warning);
/// ```
#[derive(Clone, Debug)]
pub struct Finding {
    level: Level,
    subject: Subject,
    text: String,
    kind: Option<RotateErrorKind>,
}

impl Finding {
    /// Something that is as it should be, or only worth knowing.
    #[must_use]
    pub fn ok(subject: Subject, text: impl Into<String>) -> Self {
        Self { level: Level::Ok, subject, text: text.into(), kind: None }
    }

    /// Something that a person should know before a rotation begins.
    #[must_use]
    pub fn warning(subject: Subject, text: impl Into<String>) -> Self {
        Self { level: Level::Warning, subject, text: text.into(), kind: None }
    }

    /// Something about who uses the secret that would be worth knowing, and why it was not found out.
    pub(crate) fn unseen_use(what: &str, why: &str) -> Self {
        Self::warning(Subject::Use, format!("{what} could not be looked at: {why}"))
    }

    /// What keeps a rotation from beginning: the very error that it would end with.
    pub(crate) fn error(subject: Subject, error: &RotateError) -> Self {
        let kind = Some(error.kind().clone());
        Self { level: Level::Error, subject, text: error.to_string(), kind }
    }

    /// What keeps a rotation from beginning unless a person accepts it.
    pub(crate) fn unaccepted(subject: Subject, error: &RotateError) -> Self {
        Self { level: Level::Warning, ..Self::error(subject, error) }
    }

    /// A rotation begins, and leads out of it; but programs cannot sign in until then.
    pub(crate) fn returned(client: &str, held: &SecretId, published: &SecretId) -> Self {
        let text = format!(
            "client {client}: the server holds {held}, which an earlier rotation retired, in place of {published}, \
             which the programs hold: they cannot sign in. A rotation publishes {held} again first"
        );
        let kind = RotateErrorKind::Stuck(StuckReason::RetiredSecretReturned);
        Self { level: Level::Error, subject: Subject::Secret, text, kind: Some(kind) }
    }

    /// How bad it is.
    #[must_use]
    pub fn level(&self) -> Level {
        self.level
    }

    /// What it is about.
    #[must_use]
    pub fn subject(&self) -> Subject {
        self.subject
    }

    /// The text.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// With which kind of error a rotation would end: of each [error](Level::Error), and of what a person has to
    /// accept beforehand.
    #[must_use]
    pub fn error_kind(&self) -> Option<&RotateErrorKind> {
        self.kind.as_ref()
    }
}

/// The text.
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Everything that a look found, in the order in which it looked, and what it could not look at.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Findings {
    /// What was found.
    pub found: Vec<Finding>,
    /// What was not looked at, since an error comes before it.
    pub not_looked_at: Vec<Subject>,
}

impl Findings {
    /// How bad the worst is; [`Level::Ok`] if there is nothing.
    #[must_use]
    pub fn worst(&self) -> Level {
        self.found.iter().map(Finding::level).max().unwrap_or(Level::Ok)
    }

    /// The errors.
    pub fn errors(&self) -> impl Iterator<Item = &Finding> {
        self.found.iter().filter(|one| one.level == Level::Error)
    }

    /// Adds those of another look.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.found.extend(other.found);
        self.not_looked_at.extend(other.not_looked_at);
        self
    }

    pub(crate) fn add(&mut self, finding: Finding) {
        self.found.push(finding);
    }

    /// Notes an error, or gives what there is.
    pub(crate) fn take<T>(
        &mut self,
        subject: Subject,
        outcome: Result<T, RotateError>,
    ) -> Option<T> {
        outcome.map_err(|error| self.add(Finding::error(subject, &error))).ok()
    }
}
