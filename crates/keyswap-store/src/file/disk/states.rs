//! What a disk may hold after a loss of power.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::{Change, Disk, Number};

/// Up to so many changes that were not synced, every combination of them is looked at.
const EXHAUSTIVE: usize = 8;

/// Files with what they hold, and directories (`None`), by their path in the disk.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(in crate::file) struct Image(BTreeMap<PathBuf, Option<Vec<u8>>>);

impl Image {
    /// What a file holds.
    pub(in crate::file) fn file(&self, path: &str) -> Option<&[u8]> {
        self.0.get(Path::new(path))?.as_deref()
    }

    /// Puts all of it onto a disk, as durable as what a loss of power left.
    pub(in crate::file) fn restore_onto(&self, disk: &Disk) {
        self.restore(disk.path());
        let mut state = disk.state();
        for (path, contents) in &self.0 {
            let path = disk.path().join(path);
            let parent = path.parent().unwrap().to_owned();
            match contents {
                None => state.log.push(Change::MakeDirectory { path }),
                Some(bytes) => {
                    let file = state.name(&path);
                    let bytes = bytes.clone();
                    state.log.extend([
                        Change::Create { path: path.clone(), file },
                        Change::Write { file, offset: 0, bytes },
                        Change::Sync { file, path },
                    ]);
                }
            }
            state.log.push(Change::SyncDirectory { path: parent });
        }
    }

    /// Puts all of it below this directory.
    pub(in crate::file) fn restore(&self, directory: &Path) {
        for (path, contents) in &self.0 {
            let path = directory.join(path);
            match contents {
                None => std::fs::DirBuilder::new().mode(0o700).create(&path).unwrap(),
                Some(contents) => {
                    let mut options = std::fs::OpenOptions::new();
                    let mut file =
                        options.write(true).create_new(true).mode(0o600).open(&path).unwrap();
                    std::io::Write::write_all(&mut file, contents).unwrap();
                }
            }
        }
    }
}

/// What came of a change that was not synced.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Fate {
    Kept,
    Lost,
    /// Of a write, only this half is there; where the other should be, there are zeros.
    Torn(Half),
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Half {
    First,
    Second,
}

/// The states that a disk may be in when the power goes after the last of these changes.
///
/// A change to a file is kept for certain if the file was synced after it, and a name if the directory that
/// it is in was. Of the others, any may be kept and any lost, in whatever order they were made.
pub(in crate::file) struct States<'a> {
    root: &'a Path,
    log: &'a [Change],
    open: Vec<usize>,
}

impl<'a> States<'a> {
    pub(in crate::file) fn after(root: &'a Path, log: &'a [Change]) -> Self {
        let mut open = Vec::new();
        let (mut files, mut directories) = (BTreeSet::new(), BTreeSet::new());
        for (index, change) in log.iter().enumerate().rev() {
            let synced = match change {
                Change::Sync { file, .. } => {
                    files.insert(*file);
                    continue;
                }
                Change::SyncDirectory { path } => {
                    directories.insert(path.as_path());
                    continue;
                }
                Change::Write { file, .. } | Change::SetLength { file, .. } => files.contains(file),
                Change::Create { path, .. }
                | Change::MakeDirectory { path }
                | Change::Remove { path }
                | Change::Rename { to: path, .. } => {
                    path.parent().is_some_and(|parent| directories.contains(parent))
                }
            };
            if !synced {
                open.push(index);
            }
        }
        open.reverse();
        Self { root, log, open }
    }

    pub(in crate::file) fn all(&self) -> BTreeSet<Image> {
        let mut images = BTreeSet::new();
        for fates in self.fates() {
            images.insert(self.image(&fates));
        }
        images
    }

    fn fates(&self) -> Vec<Vec<Fate>> {
        let count = self.open.len();
        let either = |kept: bool| if kept { Fate::Kept } else { Fate::Lost };
        let mut fates: Vec<Vec<Fate>> = if count <= EXHAUSTIVE {
            let bits = |set: usize| (0..count).map(|bit| either(set >> bit & 1 == 1)).collect();
            (0..1usize << count).map(bits).collect()
        } else {
            // None and all, each alone, all but each, and what was done up to each.
            let some =
                |keep: &dyn Fn(usize) -> bool| (0..count).map(|at| either(keep(at))).collect();
            let each = (0..count).flat_map(|one| {
                [some(&|at| at == one), some(&|at| at != one), some(&|at| at < one)]
            });
            each.chain([some(&|_| true)]).collect()
        };
        for (at, index) in self.open.iter().enumerate() {
            if !matches!(self.log[*index], Change::Write { .. }) {
                continue;
            }
            let kept: Vec<_> =
                fates.iter().filter(|fates| fates[at] == Fate::Kept).take(256).cloned().collect();
            for half in [Half::First, Half::Second] {
                fates.extend(kept.iter().cloned().map(|mut fates| {
                    fates[at] = Fate::Torn(half);
                    fates
                }));
            }
        }
        fates
    }

    fn image(&self, fates: &[Fate]) -> Image {
        let mut fates = self.open.iter().copied().zip(fates.iter().copied()).peekable();
        let mut contents: HashMap<Number, Vec<u8>> = HashMap::new();
        let mut names: BTreeMap<&Path, Option<Number>> = BTreeMap::new();
        for (index, change) in self.log.iter().enumerate() {
            let fate =
                fates.next_if(|(open, _)| *open == index).map_or(Fate::Kept, |(_, fate)| fate);
            if fate == Fate::Lost {
                continue;
            }
            match change {
                Change::Create { path, file } => {
                    names.insert(path, Some(*file));
                }
                Change::MakeDirectory { path } => {
                    names.insert(path, None);
                }
                Change::Rename { from, to, file } => {
                    if names.get(from.as_path()) == Some(&Some(*file)) {
                        names.remove(from.as_path());
                    }
                    names.insert(to, Some(*file));
                }
                Change::Remove { path } => {
                    names.remove(path.as_path());
                }
                Change::Write { file, offset, bytes } => {
                    let contents = contents.entry(*file).or_default();
                    write(contents, *offset as usize, bytes, fate);
                }
                Change::SetLength { file, length } => {
                    contents.entry(*file).or_default().resize(*length as usize, 0);
                }
                Change::Sync { .. } | Change::SyncDirectory { .. } => {}
            }
        }
        let mut image: BTreeMap<PathBuf, Option<Vec<u8>>> = BTreeMap::new();
        for (path, file) in names {
            let path = path.strip_prefix(self.root).unwrap();
            let parent = path.parent().unwrap();
            // What is in a directory that was lost is lost with it.
            if parent == Path::new("") || image.contains_key(parent) {
                let file = file.map(|file| contents.get(&file).cloned().unwrap_or_default());
                image.insert(path.to_owned(), file);
            }
        }
        Image(image)
    }
}

fn write(contents: &mut Vec<u8>, offset: usize, bytes: &[u8], fate: Fate) {
    let middle = bytes.len() / 2;
    let (from, to) = match fate {
        Fate::Torn(Half::First) => (0, middle),
        Fate::Torn(Half::Second) => (middle, bytes.len()),
        _ => (0, bytes.len()),
    };
    let end = offset + to;
    if contents.len() < end {
        contents.resize(end, 0);
    }
    contents[offset + from..end].copy_from_slice(&bytes[from..to]);
}
