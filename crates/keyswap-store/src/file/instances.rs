//! The instances of one client: a report each, and a lock that says whether the process lives.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use keyswap_core::SecretId;
use zeroize::Zeroizing;

use super::fs::{self, File, OpenOptions, OpenOptionsExt, TryLockError};
use super::permissions::{self, check_file, io_error};
use super::replace::{self, Durable};
use crate::written;
use crate::{Instance, InstanceReport, StoreError, StoreErrorKind};

/// An instance that has been gone for this long is forgotten when the next lease is taken.
const LONG_GONE: Duration = Duration::from_secs(60 * 60);

/// The files of an instance of this process. They go when this is dropped.
#[derive(Debug)]
pub(super) struct Presence {
    report: PathBuf,
    alive: PathBuf,
    /// Holds the lock on `alive`.
    _lock: File,
    /// Whether the files are still ours to write. A write whose caller gave up must not bring the
    /// report back after it was removed.
    open: Mutex<bool>,
}

impl Presence {
    /// Locks `ID.alive`, and only then writes the report: an instance that has one and no lock is gone.
    pub(super) fn register(
        directory: &Path,
        report: &InstanceReport,
        doing: &str,
    ) -> Result<Self, StoreError> {
        written::check_instance(&report.instance, doing)?;
        permissions::make_directory(directory, doing)?;
        let alive = directory.join(format!("{}.alive", report.instance));
        let failed = |error| io_error(error, &alive, doing);
        let lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&alive)
            .map_err(failed)?;
        // Waits at most for somebody who is just looking whether we live.
        if let Err(error) = lock.lock() {
            let _ = fs::remove_file(&alive);
            return Err(failed(error));
        }
        let presence = Self {
            report: report_path(directory, &report.instance),
            alive,
            _lock: lock,
            open: Mutex::new(true),
        };
        presence.report(report, doing)?;
        Ok(presence)
    }

    pub(super) fn report(&self, report: &InstanceReport, doing: &str) -> Result<(), StoreError> {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let ours = self.report.file_stem().is_some_and(|stem| *stem == *report.instance);
        if !*open || !ours {
            return Err(StoreError::new(StoreErrorKind::NotFound, doing)
                .at(self.report.display().to_string())
                .because("the registration is of another instance, or was removed"));
        }
        let text =
            written::report(report).map_err(|error| io_error(error.into(), &self.report, doing))?;
        // Nobody needs the report of a process that a loss of power ended.
        replace::stage(&self.report, &text, Durable::No, doing)?.commit()
    }

    /// Removes the files, and says whether that worked.
    pub(super) fn remove(&self, doing: &str) -> Result<(), StoreError> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if !std::mem::replace(&mut *open, false) {
            return Ok(());
        }
        // The report first: what is left if the second fails is an instance without a report.
        remove(&self.report, doing).and(remove(&self.alive, doing))
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        let _ = self.remove("remove the instance");
    }
}

/// What one instance left, as it was found.
#[derive(Debug)]
pub(super) struct Found {
    id: String,
    live: Result<bool, StoreError>,
    report: Result<Option<Zeroizing<Vec<u8>>>, StoreError>,
}

/// The ids of secrets that the reports of a fleet name: thousands name the same few.
#[derive(Debug, Default)]
pub(super) struct Ids(Vec<SecretId>);

impl Ids {
    /// More than a fleet names in the middle of a rotation.
    const MOST: usize = 16;

    /// Puts ids that are known already in the place of copies of them.
    fn share(&mut self, report: &mut InstanceReport) {
        let Some(usage) = &mut report.usage else { return };
        usage.secrets.shrink_to_fit();
        for used in &mut usage.secrets {
            match self.0.iter().find(|id| **id == used.id) {
                Some(id) => used.id = id.clone(),
                None if self.0.len() < Self::MOST => self.0.push(used.id.clone()),
                None => {}
            }
        }
    }
}

/// Looks at some of the instances whose files are in this directory.
pub(super) fn find(directory: &Path, ids: Vec<String>, doing: &str) -> Vec<Found> {
    let find = |id: String| Found {
        // Whether it lives before what it says: a report of a process that ended in between is the
        // last one.
        live: lives(&directory.join(format!("{id}.alive")), doing),
        report: permissions::read(&report_path(directory, &id), doing),
        id,
    };
    ids.into_iter().map(find).collect()
}

impl Found {
    /// What it says; `None` if it was removed since the directory was read.
    pub(super) fn instance(self, directory: &Path, ids: &mut Ids, doing: &str) -> Option<Instance> {
        let id = self.id;
        let report = self.report.and_then(|text| {
            let report = |text: Zeroizing<Vec<u8>>| {
                parse_report(&text, &report_path(directory, &id), &id, doing)
            };
            text.map(report).transpose()
        });
        Some(match (self.live, report) {
            (Ok(live), Ok(Some(mut report))) => {
                ids.share(&mut report);
                Instance::new(id, live, Ok(report))
            }
            (Ok(false), Ok(None)) => return None,
            (Ok(true), Ok(None)) => {
                let reason = format!("instance {id} has not written a report");
                Instance::new(id, true, Err(reason))
            }
            (Ok(live), Err(error)) => Instance::new(id, live, Err(error.to_string())),
            // What cannot be told to be gone counts as live: it keeps the gate shut and is named.
            (Err(error), _) => Instance::new(id, true, Err(error.to_string())),
        })
    }
}

/// Removes the files of instances that have been gone for long.
pub(super) fn forget_long_gone(directory: &Path, doing: &str) -> Result<(), StoreError> {
    for id in ids(&names(directory, doing)?) {
        let alive = directory.join(format!("{id}.alive"));
        let report = report_path(directory, id);
        let written = [&report, &alive]
            .into_iter()
            .filter_map(|path| fs::metadata(path).ok()?.modified().ok())
            .max();
        let age = written.and_then(|written| SystemTime::now().duration_since(written).ok());
        if age.is_some_and(|age| age > LONG_GONE) && matches!(lives(&alive, doing), Ok(false)) {
            // What cannot be removed stays listed as gone; no reason to keep a rotation from starting.
            let _ = remove(&report, doing).and(remove(&alive, doing));
        }
    }
    Ok(())
}

/// The names of the files that instances left, a line each: thousands of them in one piece of memory.
pub(super) fn names(directory: &Path, doing: &str) -> Result<String, StoreError> {
    match fs::metadata(directory) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(String::new()),
        _ => permissions::check_directory(directory, doing)?,
    }
    let failed = |error| io_error(error, directory, doing);
    let mut names = String::new();
    for entry in fs::read_dir(directory).map_err(failed)? {
        names.push_str(&entry.map_err(failed)?.file_name().to_string_lossy());
        names.push('\n');
    }
    Ok(names)
}

/// The instances whose files have these names, in order.
pub(super) fn ids(names: &str) -> Vec<&str> {
    // A name that begins with a dot is a replacement in progress.
    let mut ids: Vec<_> =
        names.lines().filter_map(id_of).filter(|id| !id.starts_with('.')).collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}

fn id_of(name: &str) -> Option<&str> {
    name.strip_suffix(".json").or_else(|| name.strip_suffix(".alive"))
}

/// Whether the process that made this file still holds its lock.
fn lives(alive: &Path, doing: &str) -> Result<bool, StoreError> {
    let file = match File::open(alive) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(io_error(error, alive, doing)),
    };
    let metadata = file.metadata().map_err(|error| io_error(error, alive, doing))?;
    check_file(alive, &metadata, doing)?;
    // Shared, so that two who look at once do not take each other for the process.
    match file.try_lock_shared() {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(error)) => Err(io_error(error, alive, doing)),
    }
}

fn report_path(directory: &Path, id: &str) -> PathBuf {
    directory.join(format!("{id}.json"))
}

fn parse_report(
    text: &[u8],
    path: &Path,
    id: &str,
    doing: &str,
) -> Result<InstanceReport, StoreError> {
    written::parse_report(text, id)
        .map_err(|reason| reason.into_error(doing).at(path.display().to_string()))
}

fn remove(path: &Path, doing: &str) -> Result<(), StoreError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(io_error(error, path, doing)),
        _ => Ok(()),
    }
}
