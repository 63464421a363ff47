//! The instances of one client: a report each, and a lock that says whether the process lives.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::fs::{self, File, OpenOptions, OpenOptionsExt, TryLockError};
use super::permissions::{self, check_file, io_error};
use super::replace::{self, Durable};
use crate::{Instance, InstanceReport, StoreError, StoreErrorKind};

const VERSION: u64 = 1;
/// An instance that has been gone for this long is forgotten when the next lease is taken.
const LONG_GONE: Duration = Duration::from_secs(60 * 60);

#[derive(Deserialize)]
struct Header {
    keyswap: Option<u64>,
}

/// Unknown fields are let through: a fleet runs several versions of keyswap at once.
#[derive(Deserialize, Serialize)]
struct Written {
    keyswap: u64,
    #[serde(flatten)]
    report: InstanceReport,
}

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
        check_id(&report.instance, doing)?;
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
            report: directory.join(format!("{}.json", report.instance)),
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
        let written = Written { keyswap: VERSION, report: report.clone() };
        let text = serde_json::to_vec(&written)
            .map_err(|error| io_error(error.into(), &self.report, doing))?;
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

/// Every instance that left a file.
pub(super) fn list(directory: &Path, doing: &str) -> Result<Vec<Instance>, StoreError> {
    let mut instances = Vec::new();
    for id in ids(directory, doing)? {
        // Whether it lives before what it says: a report of a process that ended in between is the
        // last one.
        let live = lives(&directory.join(format!("{id}.alive")), doing);
        let report = read_report(&directory.join(format!("{id}.json")), &id, doing);
        match (live, report) {
            (Ok(live), Ok(Some(report))) => instances.push(Instance::new(id, live, Ok(report))),
            // It was removed since the directory was read.
            (Ok(false), Ok(None)) => {}
            (Ok(true), Ok(None)) => {
                let reason = format!("instance {id} has not written a report");
                instances.push(Instance::new(id, true, Err(reason)));
            }
            (Ok(live), Err(error)) => {
                instances.push(Instance::new(id, live, Err(error.to_string())));
            }
            // What cannot be told to be gone counts as live: it keeps the gate shut and is named.
            (Err(error), _) => instances.push(Instance::new(id, true, Err(error.to_string()))),
        }
    }
    Ok(instances)
}

/// Removes the files of instances that have been gone for long.
pub(super) fn forget_long_gone(directory: &Path, doing: &str) -> Result<(), StoreError> {
    for id in ids(directory, doing)? {
        let alive = directory.join(format!("{id}.alive"));
        let report = directory.join(format!("{id}.json"));
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

fn ids(directory: &Path, doing: &str) -> Result<BTreeSet<String>, StoreError> {
    match fs::metadata(directory) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(BTreeSet::new()),
        _ => permissions::check_directory(directory, doing)?,
    }
    let failed = |error| io_error(error, directory, doing);
    let mut ids = BTreeSet::new();
    for entry in fs::read_dir(directory).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        let name = name.to_string_lossy();
        let id = name.strip_suffix(".json").or_else(|| name.strip_suffix(".alive"));
        // A name that begins with a dot is a replacement in progress.
        ids.extend(id.filter(|id| !id.starts_with('.')).map(str::to_owned));
    }
    Ok(ids)
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

fn read_report(path: &Path, id: &str, doing: &str) -> Result<Option<InstanceReport>, StoreError> {
    let Some(text) = permissions::read(path, doing)? else { return Ok(None) };
    let refuse = |reason: String| {
        StoreError::new(StoreErrorKind::Invalid, doing)
            .at(path.display().to_string())
            .because(reason)
            .way_out("restart that program; its next report replaces the file")
    };
    let at = |error: serde_json::Error| match error.classify() {
        serde_json::error::Category::Eof => "the report ends in the middle".to_owned(),
        _ => format!("it is no report (line {}, column {})", error.line(), error.column()),
    };
    let header: Header = serde_json::from_slice(&text).map_err(|error| refuse(at(error)))?;
    match header.keyswap {
        Some(VERSION) => {}
        Some(version) => {
            let reason = format!("the report is of version {version}, and {VERSION} is known here");
            return Err(refuse(reason).way_out("use a newer keyswap"));
        }
        None => return Err(refuse("it has no version (\"keyswap\": 1)".to_owned())),
    }
    let written: Written = serde_json::from_slice(&text).map_err(|error| refuse(at(error)))?;
    if written.report.instance != id {
        return Err(refuse(format!("it is the report of instance {}", written.report.instance)));
    }
    Ok(Some(written.report))
}

fn remove(path: &Path, doing: &str) -> Result<(), StoreError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(io_error(error, path, doing)),
        _ => Ok(()),
    }
}

fn check_id(id: &str, doing: &str) -> Result<(), StoreError> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
    if id.is_empty() || id.len() > 64 || !id.bytes().all(allowed) {
        return Err(StoreError::new(StoreErrorKind::Invalid, doing)
            .because("an instance id is 1 to 64 characters of [A-Za-z0-9_-]"));
    }
    Ok(())
}
