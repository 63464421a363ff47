//! Hints that a file may have changed: events of the directory that it is in, and a slow poll behind
//! them.
//!
//! The directory is watched and not the file: a file that is renamed over, as editors and Kubernetes
//! do, ends a watch on it for good.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use super::fs::{self, MetadataExt};
use crate::Watch;

/// Watches one file of a directory, or all of them. Made by [`FileStore`](crate::FileStore).
#[derive(Debug)]
pub struct FileWatch {
    directory: PathBuf,
    /// `None`: any name in the directory counts, since the file may be reached through links.
    name: Option<OsString>,
    debounce: Duration,
    poll: Duration,
    events: Arc<Notify>,
    armed: Option<Armed>,
    warned: bool,
}

#[derive(Debug)]
struct Armed {
    /// Device and number of the directory that is watched; another may take its place.
    identity: (u64, u64),
    _watcher: RecommendedWatcher,
}

impl FileWatch {
    /// For a file that only we write, by renaming: its own name says it all.
    pub(crate) fn of_ours(path: &Path, poll: Duration) -> Self {
        Self::new(path, path.file_name().map(OsString::from), Duration::from_millis(10), poll)
    }

    /// For a file of the user's, which may be written in place or swapped together with others.
    pub(crate) fn of_the_users(path: &Path, poll: Duration) -> Self {
        Self::new(path, None, Duration::from_millis(100), poll)
    }

    /// For all files of a directory of the user's.
    pub(crate) fn of_a_directory(path: &Path, poll: Duration) -> Self {
        Self::watching(path.to_owned(), None, Duration::from_millis(100), poll)
    }

    fn new(path: &Path, name: Option<OsString>, debounce: Duration, poll: Duration) -> Self {
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let directory = parent.unwrap_or(Path::new(".")).to_owned();
        Self::watching(directory, name, debounce, poll)
    }

    fn watching(
        directory: PathBuf,
        name: Option<OsString>,
        debounce: Duration,
        poll: Duration,
    ) -> Self {
        let events = Arc::new(Notify::new());
        let mut watch =
            Self { directory, name, debounce, poll, events, armed: None, warned: false };
        watch.arm();
        watch
    }

    /// Watches the directory that is there now, unless that is done. Short enough to be called where
    /// others wait.
    fn arm(&mut self) {
        // A directory that is not there yet is no fault: the poll finds it.
        let Ok(metadata) = fs::metadata(&self.directory) else {
            self.armed = None;
            return;
        };
        let identity = (metadata.dev(), metadata.ino());
        if self.armed.as_ref().is_some_and(|armed| armed.identity == identity) {
            return;
        }
        let (events, name) = (Arc::clone(&self.events), self.name.clone());
        let handler = move |event: notify::Result<Event>| {
            // A fault may have swallowed events, so it is a hint as well.
            if event.map_or(true, |event| concerns(&event, name.as_deref())) {
                events.notify_one();
            }
        };
        let watcher = notify::recommended_watcher(handler).and_then(|mut watcher| {
            watcher.watch(&self.directory, RecursiveMode::NonRecursive)?;
            Ok(watcher)
        });
        match watcher {
            Ok(watcher) => self.armed = Some(Armed { identity, _watcher: watcher }),
            Err(error) => {
                self.armed = None;
                if !std::mem::replace(&mut self.warned, true) {
                    tracing::warn!(
                        directory = %self.directory.display(),
                        %error,
                        poll = ?self.poll,
                        "changes of this directory cannot be watched; it is polled instead"
                    );
                }
            }
        }
    }
}

/// Whether an event may mean new contents. Reading is an event too, and would answer itself for ever.
fn concerns(event: &Event, name: Option<&std::ffi::OsStr>) -> bool {
    match event.kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => {}
        EventKind::Access(_) => return false,
        _ => {}
    }
    event.need_rescan()
        || event.paths.is_empty()
        || name.is_none_or(|name| event.paths.iter().any(|path| path.file_name() == Some(name)))
}

impl Watch for FileWatch {
    async fn changed(&mut self) {
        match timeout(self.poll, self.events.notified()).await {
            // What belongs together arrives together: the last event of a burst counts.
            Ok(()) => {
                sleep(self.debounce).await;
                // Takes the permit that the rest of the burst left, if any.
                let _ = timeout(Duration::ZERO, self.events.notified()).await;
            }
            Err(_) => self.arm(),
        }
    }
}
