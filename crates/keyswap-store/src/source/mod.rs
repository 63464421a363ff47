//! Where a list comes from that keyswap does not write: what a deployment has already.

mod lines;
mod mount;
mod naming;
mod read;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use keyswap_core::{Revision, SecretDocument, SecretList};
use tokio::time::sleep;

use self::mount::Mount;
use self::naming::Naming;
use self::read::{DOING, Reading, SETTLED};
use crate::file::FileWatch;
use crate::follow::ListSource;
use crate::{StoreError, StoreErrorKind, Watch};

const POLL: Duration = Duration::from_secs(5);
/// How often a file that is written without an end is looked at again, [`SETTLED`] apart.
const LOOKS: u32 = 10;

/// Where the secrets of a program come from if not from a store: a file, a directory, the environment.
/// [`Follow::start_from`](crate::Follow::start_from) reads one and keeps a ring in step with it.
///
/// | | holds | brings a new list |
/// | --- | --- | --- |
/// | [`document`](Self::document) | a [`SecretDocument`]: ids, order and revision are in it | yes |
/// | [`lines`](Self::lines) | a secret a line, the preferred one first | yes |
/// | [`directory`](Self::directory) | a secret a file, in the order of the names | yes |
/// | [`files`](Self::files) | a secret a file, in the order given | yes |
/// | [`environment`](Self::environment) | a secret a line | never: it is read once |
///
/// **Plain text** is UTF-8. A line end, `\n` or `\r\n`, is no part of a secret and may be missing behind the
/// last one; empty lines are passed over; nothing else is trimmed. A secret that is there twice counts
/// once. A list has 1 to 16 secrets of 1 to 4096 bytes.
///
/// **Ids.** Plain text has none, so they are given: `client-secret.2` is the second secret that this program saw
/// first in the file `client-secret`. A secret keeps its id for as long as it is in the list, also when it moves
/// to another line or file, so that its counters and the order that was learnt stay with it. Another value
/// has another id. An id says nothing about the value, and nothing to another program or after a restart:
/// use a document or a store where ids have to mean the same everywhere.
///
/// **Changes.** The directory is watched, and whatever that says, the contents are compared every 5 s
/// ([`poll`](Self::poll)). A file may be written in place or replaced by renaming. Nothing marks the end of
/// a plain text, so one that was written less than 100 ms ago is taken when two looks that far apart
/// show the same. Rename a finished file over it and there is no question. What cannot be read (missing,
/// empty, not allowed, not a list) changes nothing: the last good list stays, and one warning says why.
///
/// **Kubernetes.** A secret volume is swapped as a whole; a list is never made of two versions of it. A
/// `subPath` mount is [never updated](https://kubernetes.io/docs/concepts/configuration/secret/), which
/// [`Follow::never_updates`](crate::Follow::never_updates) and one warning say.
///
/// **Permissions** are their owner's choice (volumes are readable to all by default) and are not looked at:
/// whether this process may read is all that counts. Only regular files, or links to such, are read.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// use keyswap_core::FallbackPolicy;
/// use keyswap_store::{Follow, SecretSource};
///
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path().join("client-secret");
/// std::fs::write(&path, "Vq3hCc0Zc1Jx\n")?;
/// let source = SecretSource::lines(&path);
/// let (ring, follow) = Follow::start_from(source, FallbackPolicy::default()).await?;
/// let following = tokio::spawn(follow.run());
///
/// // The new secret first, and the old one until no server wants it any more.
/// let mut changes = ring.subscribe();
/// std::fs::write(path.with_extension("new"), "yT7mXo2LrWq8\nVq3hCc0Zc1Jx\n")?;
/// std::fs::rename(path.with_extension("new"), &path)?;
/// changes.changed().await;
/// let ids: Vec<_> = ring.snapshot().list().ids().map(|id| id.to_string()).collect();
/// assert_eq!(ids, ["client-secret.2", "client-secret.1"]);
/// following.abort();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[must_use]
pub struct SecretSource {
    place: Place,
    poll: Duration,
}

#[derive(Clone, Debug, Eq, PartialEq)]
enum Place {
    Document(PathBuf),
    Plain(Plain),
}

/// A place with values and nothing else.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Plain {
    Lines(PathBuf),
    /// `None`: all the files there.
    Directory(PathBuf, Option<Vec<String>>),
    Environment(OsString),
}

impl SecretSource {
    /// A secret document in a file: at most 1 MiB.
    ///
    /// A document with a `revision` above 0 is taken when that grew; without one, when the secrets
    /// differ.
    pub fn document(path: impl Into<PathBuf>) -> Self {
        Self::of(Place::Document(path.into()))
    }

    /// A file with one secret, or one a line, the preferred one first: at most 128 KiB.
    ///
    /// A file that holds a secret document or a PEM block is refused, since each of its lines would be sent
    /// to the server.
    pub fn lines(path: impl Into<PathBuf>) -> Self {
        Self::of(Place::Plain(Plain::Lines(path.into())))
    }

    /// A directory in which each file is one secret, and nothing else: 1 to 16 files, in the order of the bytes of
    /// their names, the first one preferred.
    ///
    /// Files whose names begin with a dot or end with `~`, and directories, are passed over. Where the directory
    /// holds more than the secrets, for instance a client id, name them: [`files`](Self::files).
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// use keyswap_core::FallbackPolicy;
    /// use keyswap_store::{Follow, SecretSource};
    ///
    /// # let directory = tempfile::tempdir()?;
    /// # let volume = directory.path();
    /// std::fs::write(volume.join("1-october"), "Vq3hCc0Zc1Jx")?;
    /// std::fs::write(volume.join("0-november"), "yT7mXo2LrWq8")?;
    /// let source = SecretSource::directory(volume);
    /// let (ring, _follow) = Follow::start_from(source, FallbackPolicy::default()).await?;
    /// assert_eq!(ring.snapshot().list().preferred().id().as_str(), "0-november.1");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn directory(path: impl Into<PathBuf>) -> Self {
        Self::of(Place::Plain(Plain::Directory(path.into(), None)))
    }

    /// These files of a directory, each one secret, the preferred one first. One that is not there is passed
    /// over; one at least has to be.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// use keyswap_core::FallbackPolicy;
    /// use keyswap_store::{Follow, SecretSource};
    ///
    /// # let directory = tempfile::tempdir()?;
    /// # let volume = directory.path();
    /// std::fs::write(volume.join("client-id"), "billing")?;
    /// std::fs::write(volume.join("client-secret"), "Vq3hCc0Zc1Jx")?;
    /// let source = SecretSource::files(volume, ["client-secret", "client-secret-before"]);
    /// let (ring, _follow) = Follow::start_from(source, FallbackPolicy::default()).await?;
    /// assert_eq!(ring.snapshot().list().len(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn files<N: Into<String>>(
        directory: impl Into<PathBuf>,
        names: impl IntoIterator<Item = N>,
    ) -> Self {
        let names = names.into_iter().map(Into::into).collect();
        Self::of(Place::Plain(Plain::Directory(directory.into(), Some(names))))
    }

    /// An environment variable with one secret, or one a line. It is read once, at the start, and left where
    /// it is: whoever may look at this process's environment sees it there.
    ///
    /// A program that runs never sees another value, so it keeps a rotation waiting, or breaks when that does
    /// not wait: [`Follow::never_updates`](crate::Follow::never_updates) and one warning say so.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// use keyswap_core::FallbackPolicy;
    /// use keyswap_store::{Follow, SecretSource};
    ///
    /// let source = SecretSource::environment("BILLING_CLIENT_SECRET");
    /// let error = Follow::start_from(source, FallbackPolicy::default()).await.unwrap_err();
    /// assert!(error.is_not_found());
    /// assert!(error.to_string().contains("BILLING_CLIENT_SECRET: it is not set"));
    /// # });
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn environment(name: impl Into<OsString>) -> Self {
        Self::of(Place::Plain(Plain::Environment(name.into())))
    }

    /// How often the contents are compared whatever the events of the directory say. Default 5 s; less than
    /// 100 ms counts as 100 ms.
    pub fn poll(mut self, poll: Duration) -> Self {
        self.poll = poll.max(SETTLED);
        self
    }

    fn of(place: Place) -> Self {
        Self { place, poll: POLL }
    }

    fn describe(&self) -> String {
        match &self.place {
            Place::Document(path) | Place::Plain(Plain::Lines(path)) => {
                format!("the file {}", path.display())
            }
            Place::Plain(Plain::Directory(path, _)) => format!("the directory {}", path.display()),
            Place::Plain(Plain::Environment(name)) => {
                format!("the environment variable {}", name.display())
            }
        }
    }

    /// The paths that hold it.
    fn paths(&self) -> Vec<PathBuf> {
        match &self.place {
            Place::Document(path) | Place::Plain(Plain::Lines(path)) => vec![path.clone()],
            Place::Plain(Plain::Directory(path, names)) => read::paths(path, names.as_deref()),
            Place::Plain(Plain::Environment(_)) => Vec::new(),
        }
    }

    fn watch(&self) -> Option<FileWatch> {
        match &self.place {
            Place::Document(path) | Place::Plain(Plain::Lines(path)) => {
                Some(FileWatch::of_the_users(path, self.poll))
            }
            Place::Plain(Plain::Directory(path, _)) => {
                Some(FileWatch::of_a_directory(path, self.poll))
            }
            Place::Plain(Plain::Environment(_)) => None,
        }
    }
}

impl Plain {
    fn read(&self) -> Result<Reading, StoreError> {
        match self {
            Self::Lines(path) => read::lines(path),
            Self::Directory(path, names) => read::directory(path, names.as_deref()),
            Self::Environment(name) => read::variable(name),
        }
    }
}

/// Reads until two looks show the same, or what was read is old enough to be whole. `None` if it never holds
/// still.
async fn settled<F>(mut read: impl FnMut() -> F) -> Result<Option<Reading>, StoreError>
where
    F: Future<Output = Result<Reading, StoreError>>,
{
    let mut last = read().await?;
    for _ in 0..LOOKS {
        if !last.fresh {
            return Ok(Some(last));
        }
        sleep(SETTLED).await;
        let next = read().await?;
        if next.same(&last) {
            return Ok(Some(next));
        }
        last = next;
    }
    Ok(None)
}

/// A source that is read again and again.
pub(crate) struct SourceReader {
    source: SecretSource,
    naming: Naming,
    watch: Option<FileWatch>,
}

impl SourceReader {
    pub(crate) fn new(source: SecretSource) -> Self {
        Self { source, naming: Naming::default(), watch: None }
    }
}

impl ListSource for SourceReader {
    fn describe(&self) -> String {
        self.source.describe()
    }

    fn outlook(&self) -> Outlook {
        if let Place::Plain(Plain::Environment(_)) = self.source.place {
            return Outlook::Never(
                "a program that runs never sees another value of its environment".to_owned(),
            );
        }
        let mut outlook = Outlook::Open;
        for path in self.source.paths() {
            let Some(mount) = Mount::at(&path) else { continue };
            let shown = path.display();
            if mount.is_sub_path() {
                return Outlook::Never(format!(
                    "{shown} is a subPath mount, which Kubernetes never updates; mount the volume as a \
                     whole, without subPath"
                ));
            }
            // A whole directory that is mounted shows what changes in it.
            if !path.is_dir() {
                outlook = Outlook::Doubtful(format!(
                    "{shown} is mounted for itself, so that a file which takes its place outside is \
                     never seen; mount the directory that it is in"
                ));
            }
        }
        outlook
    }

    async fn read(&mut self, known: Option<&SecretList>) -> Result<SecretDocument, StoreError> {
        let plain = match &self.source.place {
            Place::Document(path) => return blocking(path, |path| read::document(path)).await,
            Place::Plain(plain) => plain,
        };
        let invalid = |reason: String| {
            StoreError::new(StoreErrorKind::Invalid, DOING)
                .at(self.source.describe())
                .because(reason)
        };
        let Some(reading) = settled(|| blocking(plain, Plain::read)).await? else {
            return Err(invalid("it is written all the time, so that its end is not known".into())
                .way_out("write it under another name, and rename that over it"));
        };
        let list = self.naming.name(reading.found, known);
        let list = list.map_err(|reason| invalid(reason.to_string()))?;
        Ok(SecretDocument { revision: Revision::INITIAL, attest_every: None, list })
    }

    async fn changed(&mut self) {
        match &mut self.watch {
            Some(watch) => watch.changed().await,
            None => std::future::pending().await,
        }
    }

    async fn prepare(&mut self) {
        if self.watch.is_none() {
            self.watch = self.source.watch();
        }
    }
}

/// Whether a source can bring another list.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Outlook {
    /// It can.
    Open,
    /// Some changes of it are not seen, for this reason.
    Doubtful(String),
    /// It cannot, for this reason.
    Never(String),
}

/// Runs `read` where it may wait for the disk.
async fn blocking<P, T>(
    of: &P,
    read: impl FnOnce(&P) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError>
where
    P: Clone + Send + 'static,
    T: Send + 'static,
{
    let of = of.clone();
    match tokio::task::spawn_blocking(move || read(&of)).await {
        Ok(result) => result,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => {
            Err(StoreError::new(StoreErrorKind::Io, DOING).because("the program is shutting down"))
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;
    use zeroize::Zeroizing;

    use super::naming::Found;
    use super::*;

    /// What [`settled`] takes of these looks, and how long it needs for that.
    async fn taken(looks: &[(&str, bool)]) -> (Option<String>, Duration) {
        let start = Instant::now();
        let mut looks = looks.iter();
        let read = || {
            let (value, fresh) = looks.next().expect("no more looks than these");
            let value = Zeroizing::new((*value).to_owned());
            let found = Found { label: "a".into(), place: "line 1".into(), value };
            std::future::ready(Ok(Reading { found: vec![found], fresh: *fresh }))
        };
        let reading = settled(read).await.unwrap();
        (reading.map(|reading| reading.found[0].value.to_string()), start.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_that_is_being_written_is_taken_when_it_holds_still() {
        let grows = [("s", true), ("sec", true), ("secret", true), ("secret", true)];
        assert_eq!(taken(&grows).await, (Some("secret".to_owned()), 3 * SETTLED));
        assert_eq!(taken(&[("old", false)]).await, (Some("old".to_owned()), Duration::ZERO));
        let pauses = [("sec", true), ("secret", false)];
        assert_eq!(taken(&pauses).await, (Some("secret".to_owned()), SETTLED));
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_that_never_holds_still_is_given_up_after_a_second() {
        let values: Vec<String> = (0..11).map(|n| format!("v{n}")).collect();
        let looks: Vec<_> = values.iter().map(|value| (value.as_str(), true)).collect();
        assert_eq!(taken(&looks).await, (None, 10 * SETTLED));
    }
}
