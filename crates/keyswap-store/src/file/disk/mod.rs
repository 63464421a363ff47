//! Tests: a disk that writes down what was done to it, so that it can lose power at every step, and that
//! can be full or read-only. It stands in the place of `std::fs` in the unit tests of this crate.
//!
//! The files are real ones in a temporary directory, so locks, renames and the identity of files are the
//! operating system's. Only what a loss of power would leave is simulated, from the log: see [`states`].
//! turmoil's simulated disk (0.7.2) could not be used: its files have no locks, each has the device and
//! number 0, so that one that was replaced cannot be told from the other, a directory cannot be opened to be
//! synced, and a crash there loses everything that was not synced, never a part of it.

mod states;

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::os::unix::fs as unix;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tempfile::TempDir;

pub(super) use self::states::{Image, States};

/// Which file it is, whatever its name.
type Number = usize;

/// One thing that was done to a disk.
#[derive(Clone, Debug)]
pub(super) enum Change {
    Create { path: PathBuf, file: Number },
    MakeDirectory { path: PathBuf },
    Rename { from: PathBuf, to: PathBuf, file: Number },
    Remove { path: PathBuf },
    Write { file: Number, offset: u64, bytes: Vec<u8> },
    SetLength { file: Number, length: u64 },
    Sync { file: Number, path: PathBuf },
    SyncDirectory { path: PathBuf },
}

/// A directory whose changes are written down.
#[derive(Clone, Debug)]
pub(super) struct Disk(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    directory: TempDir,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    log: Vec<Change>,
    names: HashMap<PathBuf, Number>,
    files: Number,
    fault: Option<Fault>,
}

#[derive(Debug)]
struct Fault {
    /// After so many more changes.
    after: usize,
    /// `errno`.
    error: i32,
    /// Whether a write got half of its bytes in.
    half_written: bool,
}

static DISKS: Mutex<Vec<Weak<Inner>>> = Mutex::new(Vec::new());

fn disks() -> MutexGuard<'static, Vec<Weak<Inner>>> {
    DISKS.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Disk {
    pub(super) fn new() -> Self {
        // In memory where there is such a place: nothing here is lost for real.
        let place = Path::new("/dev/shm");
        let directory = match place.is_dir() {
            true => tempfile::tempdir_in(place),
            false => tempfile::tempdir(),
        };
        let inner = Inner { directory: directory.unwrap(), state: Mutex::default() };
        let disk = Self(Arc::new(inner));
        let mut disks = disks();
        disks.retain(|disk| disk.strong_count() > 0);
        disks.push(Arc::downgrade(&disk.0));
        disk
    }

    pub(super) fn path(&self) -> &Path {
        self.0.directory.path()
    }

    /// What was done so far.
    pub(super) fn log(&self) -> Vec<Change> {
        self.state().log.clone()
    }

    pub(super) fn changes(&self) -> usize {
        self.state().log.len()
    }

    /// From the change after so many more on, each fails with this `errno`, until [`repair`](Self::repair).
    pub(super) fn fail_after(&self, after: usize, error: i32) {
        self.state().fault = Some(Fault { after, error, half_written: false });
    }

    /// Says whether the fault happened.
    pub(super) fn repair(&self) -> bool {
        self.state().fault.take().is_some_and(|fault| fault.after == 0)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn of(path: &Path) -> Option<Self> {
        let disks: Vec<_> = disks().iter().filter_map(Weak::upgrade).map(Self).collect();
        disks.into_iter().find(|disk| path.starts_with(disk.path()))
    }

    /// Does it, and writes it down.
    fn change<T>(
        path: &Path,
        act: impl FnOnce() -> io::Result<T>,
        entry: impl FnOnce(&mut State) -> Change,
    ) -> io::Result<T> {
        let Some(disk) = Self::of(path) else { return act() };
        let mut state = disk.state();
        state.meet_fault()?;
        let done = act()?;
        let entry = entry(&mut state);
        state.log.push(entry);
        Ok(done)
    }
}

impl State {
    fn meet_fault(&mut self) -> io::Result<()> {
        match &mut self.fault {
            Some(Fault { after: 0, error, .. }) => Err(io::Error::from_raw_os_error(*error)),
            Some(fault) => {
                fault.after -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn name(&mut self, path: &Path) -> Number {
        self.files += 1;
        let number = self.files;
        self.names.insert(path.to_owned(), number);
        number
    }
}

pub(super) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    let entry = |state: &mut State| {
        let file = state.names.remove(from).unwrap_or_default();
        state.names.insert(to.to_owned(), file);
        Change::Rename { from: from.to_owned(), to: to.to_owned(), file }
    };
    Disk::change(from, || std::fs::rename(from, to), entry)
}

pub(super) fn remove_file(path: impl AsRef<Path>) -> io::Result<()> {
    let path = path.as_ref();
    // What is not there is no change.
    std::fs::symlink_metadata(path)?;
    let entry = |state: &mut State| {
        state.names.remove(path);
        Change::Remove { path: path.to_owned() }
    };
    Disk::change(path, || std::fs::remove_file(path), entry)
}

#[derive(Debug)]
pub(super) struct DirBuilder(std::fs::DirBuilder);

impl DirBuilder {
    pub(super) fn new() -> Self {
        Self(std::fs::DirBuilder::new())
    }

    pub(super) fn create(&self, path: &Path) -> io::Result<()> {
        // One that is there is no change.
        if path.exists() {
            return self.0.create(path);
        }
        let entry = |_: &mut State| Change::MakeDirectory { path: path.to_owned() };
        Disk::change(path, || self.0.create(path), entry)
    }
}

impl unix::DirBuilderExt for DirBuilder {
    fn mode(&mut self, mode: u32) -> &mut Self {
        unix::DirBuilderExt::mode(&mut self.0, mode);
        self
    }
}

#[derive(Debug)]
pub(super) struct OpenOptions {
    options: std::fs::OpenOptions,
    writes: bool,
}

impl OpenOptions {
    pub(super) fn new() -> Self {
        Self { options: std::fs::OpenOptions::new(), writes: false }
    }

    pub(super) fn read(&mut self, read: bool) -> &mut Self {
        self.options.read(read);
        self
    }

    pub(super) fn write(&mut self, write: bool) -> &mut Self {
        self.options.write(write);
        self.writes |= write;
        self
    }

    pub(super) fn append(&mut self, append: bool) -> &mut Self {
        self.options.append(append);
        self.writes |= append;
        self
    }

    pub(super) fn truncate(&mut self, truncate: bool) -> &mut Self {
        assert!(!truncate, "not written down");
        self
    }

    pub(super) fn create(&mut self, create: bool) -> &mut Self {
        self.options.create(create);
        self
    }

    pub(super) fn create_new(&mut self, create_new: bool) -> &mut Self {
        self.options.create_new(create_new);
        self
    }

    pub(super) fn open(&self, path: &Path) -> io::Result<File> {
        let open = || self.options.open(path);
        let file = if self.writes && !path.exists() {
            Disk::change(path, open, |state| {
                let file = state.name(path);
                Change::Create { path: path.to_owned(), file }
            })?
        } else {
            open()?
        };
        Ok(File::new(file, path))
    }
}

impl unix::OpenOptionsExt for OpenOptions {
    fn mode(&mut self, mode: u32) -> &mut Self {
        unix::OpenOptionsExt::mode(&mut self.options, mode);
        self
    }

    fn custom_flags(&mut self, flags: i32) -> &mut Self {
        unix::OpenOptionsExt::custom_flags(&mut self.options, flags);
        self
    }
}

#[derive(Debug)]
pub(super) struct File {
    file: std::fs::File,
    path: PathBuf,
    number: Number,
}

impl File {
    fn new(file: std::fs::File, path: &Path) -> Self {
        let number = Disk::of(path).and_then(|disk| disk.state().names.get(path).copied());
        Self { file, path: path.to_owned(), number: number.unwrap_or_default() }
    }

    pub(super) fn open(path: impl AsRef<Path>) -> io::Result<Self> {
        let path = path.as_ref();
        Ok(Self::new(std::fs::File::open(path)?, path))
    }

    pub(super) fn metadata(&self) -> io::Result<std::fs::Metadata> {
        self.file.metadata()
    }

    pub(super) fn lock(&self) -> io::Result<()> {
        self.file.lock()
    }

    pub(super) fn try_lock(&self) -> Result<(), std::fs::TryLockError> {
        self.file.try_lock()
    }

    pub(super) fn try_lock_shared(&self) -> Result<(), std::fs::TryLockError> {
        self.file.try_lock_shared()
    }

    pub(super) fn unlock(&self) -> io::Result<()> {
        self.file.unlock()
    }

    pub(super) fn set_len(&self, length: u64) -> io::Result<()> {
        let entry = |_: &mut State| Change::SetLength { file: self.number, length };
        Disk::change(&self.path, || self.file.set_len(length), entry)
    }

    pub(super) fn sync_all(&self) -> io::Result<()> {
        if Disk::of(&self.path).is_none() {
            return self.file.sync_all();
        }
        let is_directory = self.file.metadata()?.is_dir();
        let (path, file) = (self.path.clone(), self.number);
        let entry = |_: &mut State| match is_directory {
            true => Change::SyncDirectory { path },
            false => Change::Sync { file, path },
        };
        Disk::change(&self.path, || Ok(()), entry)
    }

    fn put(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let mut bytes = bytes;
        if let Some(disk) = Disk::of(&self.path)
            && let Some(Fault { after: 0, half_written, .. }) = &mut disk.state().fault
            && bytes.len() > 1
            && !std::mem::replace(half_written, true)
        {
            // As a disk that runs full: what there is room for is written.
            bytes = &bytes[..bytes.len() / 2];
            return unix::FileExt::write_at(&self.file, bytes, offset);
        }
        let entry =
            |_: &mut State| Change::Write { file: self.number, offset, bytes: bytes.to_vec() };
        let write = || unix::FileExt::write_all_at(&self.file, bytes, offset);
        Disk::change(&self.path, write, entry).map(|()| bytes.len())
    }
}

impl Read for File {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.file.read(buffer)
    }
}

impl Write for File {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // The store writes whole files from their beginning, or at the end of one that is there.
        let end = self.file.metadata()?.len();
        self.put(bytes, end)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl unix::FileExt for File {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        unix::FileExt::read_at(&self.file, buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.put(bytes, offset)
    }
}
