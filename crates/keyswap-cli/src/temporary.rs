//! A directory that goes with the command; and those that stayed behind when one was killed.

use std::fs::{DirBuilder, File, Metadata};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Once;

use keyswap_core::Generator;

use crate::exit::Failure;

/// What a directory is called before its random part, by what it is of.
const PREFIXES: [&str; 2] = ["keyswap-demo-", "keyswap-rehearsal-"];
/// Locked as long as the process lives that the directory is of.
const ALIVE: &str = "alive";

/// A directory of its own, which its owner alone can read. It is removed when this is dropped.
pub(crate) struct Temporary {
    path: PathBuf,
    /// The system gives the lock back when the process ends, however that is.
    _alive: File,
}

impl Temporary {
    /// Of the demo, or of a rehearsal; and removes those that stayed behind.
    pub(crate) fn new(of: &str) -> Result<Self, Failure> {
        let within = std::env::temp_dir();
        let unique =
            Generator::default().generate().map_err(|error| Failure::failed(error.to_string()))?;
        let path = within.join(format!("keyswap-{of}-{}", unique.id()));
        let alive = make(&path).map_err(|error| {
            Failure::failed(format!("{} cannot be made: {error}", path.display()))
        })?;
        let temporary = Self { path, _alive: alive };
        // Once is enough for a rehearsal, which has many. What is in the way there is no reason not to begin.
        static LOOKED: Once = Once::new();
        LOOKED.call_once(|| {
            if let Ok(own) = temporary.path.symlink_metadata() {
                let _ = remove_abandoned(&within, &own);
            }
        });
        Ok(temporary)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // Nothing to be done about it at the end; the directory is the owner's alone.
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

/// The directory, and its lock. Whoever sees the lock's file sees it locked, unless the process has ended.
fn make(path: &Path) -> std::io::Result<File> {
    DirBuilder::new().mode(0o700).create(path)?;
    let before = path.join("alive.new");
    let alive = File::create_new(&before)?;
    alive.lock()?;
    std::fs::rename(before, path.join(ALIVE))?;
    Ok(alive)
}

/// Removes the directories of processes that were killed.
///
/// Only those of this user, `own` being one, that nobody else can write into: so nobody else has put anything there. And only where
/// nobody else can put another directory, or a link, in the place of one between the look and the removal.
fn remove_abandoned(within: &Path, own: &Metadata) -> std::io::Result<()> {
    const STICKY: u32 = 0o1000;
    const OF_OTHERS_TO_WRITE: u32 = 0o022;
    let place = within.metadata()?;
    let of_another = place.uid() != own.uid() && place.uid() != 0;
    let others_write = place.mode() & OF_OTHERS_TO_WRITE != 0 && place.mode() & STICKY == 0;
    if of_another || others_write {
        return Ok(());
    }
    for entry in within.read_dir()?.flatten() {
        let name = entry.file_name();
        let known =
            PREFIXES.iter().any(|prefix| name.as_encoded_bytes().starts_with(prefix.as_bytes()));
        // Of the entry itself: a link is not followed.
        let Ok(metadata) = entry.metadata() else { continue };
        let is_ours =
            metadata.is_dir() && metadata.uid() == own.uid() && metadata.mode() & 0o077 == 0;
        if !known || !is_ours {
            continue;
        }
        // A process that is about to make it is passed over as well.
        let Ok(alive) = File::open(entry.path().join(ALIVE)) else { continue };
        if alive.try_lock().is_ok() {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    /// A directory as a killed process leaves it, with something in it.
    fn left_behind(within: &Path, name: &str) -> PathBuf {
        let path = within.join(name);
        drop(make(&path).unwrap());
        std::fs::write(path.join("ring.json"), "something").unwrap();
        path
    }

    #[test]
    fn what_a_killed_process_left_is_removed_and_nothing_else() {
        let within = tempfile::tempdir().unwrap();
        let within = within.path();
        let left = left_behind(within, "keyswap-rehearsal-1");
        let demo = left_behind(within, "keyswap-demo-1");
        let lives = within.join("keyswap-rehearsal-2");
        let _alive = make(&lives).unwrap();
        let begins = within.join("keyswap-rehearsal-3");
        DirBuilder::new().mode(0o700).create(&begins).unwrap();
        let foreign = left_behind(within, "keyswap-store");
        let open = left_behind(within, "keyswap-rehearsal-4");
        std::fs::set_permissions(&open, PermissionsExt::from_mode(0o770)).unwrap();
        let elsewhere = left_behind(within, "elsewhere");
        let link = within.join("keyswap-rehearsal-5");
        symlink(&elsewhere, &link).unwrap();

        remove_abandoned(within, &lives.symlink_metadata().unwrap()).unwrap();

        assert!(!left.exists() && !demo.exists());
        for kept in [lives, begins, foreign, open, elsewhere.join("ring.json"), link] {
            assert!(kept.exists(), "{} is gone", kept.display());
        }
    }

    #[test]
    fn where_others_could_put_a_link_in_its_place_nothing_is_removed() {
        let within = tempfile::tempdir().unwrap();
        let left = left_behind(within.path(), "keyswap-rehearsal-1");
        let mode = |mode| {
            std::fs::set_permissions(within.path(), PermissionsExt::from_mode(mode)).unwrap()
        };
        let own = within.path().metadata().unwrap();
        mode(0o777);
        remove_abandoned(within.path(), &own).unwrap();
        assert!(left.exists());
        mode(0o1777);
        remove_abandoned(within.path(), &own).unwrap();
        assert!(!left.exists());
    }
}
