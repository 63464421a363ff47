//! Reading what people and tools put down: files whose permissions and names are theirs to choose.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Metadata};
use std::io::{self, ErrorKind, Read};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use keyswap_core::SecretDocument;
use zeroize::Zeroizing;

use super::lines::{InvalidLines, parse};
use super::mount::Mount;
use super::naming::Found;
use crate::{StoreError, StoreErrorKind};

pub(super) const DOING: &str = "read the list";
/// Of a list; the same bound as for directories, where it is seen before anything is read.
const MOST_FILES: usize = 16;
/// 16 secrets of 4096 bytes come to half of this.
const LARGEST_TEXT: u64 = 128 << 10;
/// The same with every character escaped.
const LARGEST_DOCUMENT: u64 = 1 << 20;
/// A tool that writes a file in place is done with it by then.
pub(super) const SETTLED: Duration = Duration::from_millis(100);
/// Where a kubelet's volume keeps its present files.
const DATA: &str = "..data";

/// What a source held.
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) found: Vec<Found>,
    /// Whether something of it was written so short a time ago that the rest may be still to come.
    pub(super) fresh: bool,
}

impl Reading {
    /// Whether both hold the same values in the same places.
    pub(super) fn same(&self, other: &Self) -> bool {
        let pair = |found: &Found| (found.label.clone(), found.value.clone());
        self.found.iter().map(pair).eq(other.found.iter().map(pair))
    }
}

/// Reads a secret document.
pub(super) fn document(path: &Path) -> Result<SecretDocument, StoreError> {
    let (text, _) = text(path, LARGEST_DOCUMENT)?;
    SecretDocument::parse(&text).map_err(|error| {
        StoreError::new(StoreErrorKind::Invalid, DOING)
            .at(path.display().to_string())
            .with_source(error)
    })
}

/// Reads a file with a secret a line.
pub(super) fn lines(path: &Path) -> Result<Reading, StoreError> {
    let (text, fresh) = text(path, LARGEST_TEXT)?;
    let label = path.file_name().unwrap_or_default();
    Ok(Reading { found: found(&text, label, &path.display().to_string())?, fresh })
}

/// Reads a variable of this process with a secret a line.
pub(super) fn variable(name: &OsStr) -> Result<Reading, StoreError> {
    let shown = format!("the environment variable {}", name.display());
    let Some(value) = std::env::var_os(name) else {
        return Err(StoreError::new(StoreErrorKind::NotFound, DOING)
            .at(shown)
            .because("it is not set")
            .way_out("set it where the program is started"));
    };
    let value = Zeroizing::new(value.into_vec());
    Ok(Reading { found: found(&value, name, &shown)?, fresh: false })
}

/// Reads a directory in which each file holds one secret: those named, or all in the order of their names.
pub(super) fn directory(path: &Path, names: Option<&[String]>) -> Result<Reading, StoreError> {
    // A volume that is swapped meanwhile would give files of two versions.
    for _ in 0..5 {
        let data = present(path)?;
        let reading = directory_once(&data, path, names);
        if present(path)? == data {
            return reading;
        }
    }
    Err(StoreError::new(StoreErrorKind::Io, DOING)
        .at(path.display().to_string())
        .because("it was replaced again and again while it was read"))
}

fn directory_once(
    data: &Path,
    path: &Path,
    names: Option<&[String]>,
) -> Result<Reading, StoreError> {
    let mut reading = Reading { found: Vec::new(), fresh: false };
    for name in entries(data, path, names)? {
        let shown = path.join(&name).display().to_string();
        let (text, fresh) = match text(&data.join(&name), LARGEST_TEXT) {
            Ok(read) => read,
            Err(error) => return Err(error.at(shown)),
        };
        let found = found(&text, &name, &shown)?;
        if found.len() > 1 {
            return Err(StoreError::new(StoreErrorKind::Invalid, DOING)
                .at(shown)
                .because("it holds several lines, and each file of a directory is one secret"));
        }
        reading.found.extend(found);
        reading.fresh |= fresh;
    }
    Ok(reading)
}

/// The names of the files that hold the list. Nothing is read of a directory that holds too many: it is
/// another one.
fn entries(
    data: &Path,
    path: &Path,
    names: Option<&[String]>,
) -> Result<Vec<OsString>, StoreError> {
    let refuse = |kind, reason: String, way_out: &str| {
        let error = StoreError::new(kind, DOING).at(path.display().to_string());
        Err(error.because(reason).way_out(way_out))
    };
    let io = |error| unreadable(error, path);
    let listed: Vec<OsString> = match names {
        Some(names) => {
            let there = names.iter().filter(|name| data.join(name).symlink_metadata().is_ok());
            there.map(OsString::from).collect()
        }
        None => {
            let mut listed = Vec::new();
            for entry in fs::read_dir(data).map_err(io)? {
                let entry = entry.map_err(io)?;
                let name = entry.file_name();
                // Whether a link leads to a directory, its target says.
                let is_directory = fs::metadata(entry.path()).is_ok_and(|found| found.is_dir());
                if !is_directory && !is_hidden(&name) {
                    listed.push(name);
                }
            }
            listed.sort_unstable();
            listed
        }
    };
    match listed.len() {
        0 if names.is_some_and(|names| !names.is_empty()) => refuse(
            StoreErrorKind::NotFound,
            format!("it holds none of the files {}", names.unwrap_or_default().join(", ")),
            "put the secret there, or name the files as they are",
        ),
        0 => refuse(
            StoreErrorKind::NotFound,
            "it holds no file".to_owned(),
            "put the secret into a file there",
        ),
        1..=MOST_FILES => Ok(listed),
        count => refuse(
            StoreErrorKind::Invalid,
            format!("it holds {count} files, and a list has {MOST_FILES} secrets at most"),
            "name a directory with nothing but the secrets, or the files that are meant",
        ),
    }
}

/// Files that are nobody's secret: what the kubelet keeps to itself, and what editors leave behind.
fn is_hidden(name: &OsStr) -> bool {
    let name = name.as_encoded_bytes();
    name.starts_with(b".") || name.ends_with(b"~")
}

/// The directory that holds the files now: in a volume of the kubelet the one that `..data` leads to, which
/// is replaced as a whole.
fn present(path: &Path) -> Result<PathBuf, StoreError> {
    let link = path.join(DATA);
    // The link is replaced at once, and then what it led to is removed: a look may meet neither of the two, which is not
    // a directory without such a link.
    for _ in 0..5 {
        match fs::canonicalize(&link) {
            Ok(data) => return Ok(data),
            Err(_) if link.symlink_metadata().is_ok() => {}
            Err(_) => return plain(path),
        }
    }
    fs::canonicalize(&link).map_err(|error| unreadable(error, &link))
}

fn plain(path: &Path) -> Result<PathBuf, StoreError> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => Ok(path.to_owned()),
        Ok(_) => Err(StoreError::new(StoreErrorKind::Invalid, DOING)
            .at(path.display().to_string())
            .because("it is not a directory")
            .way_out("follow a single file with `SecretSource::lines`")),
        Err(error) => Err(unreadable(error, path)),
    }
}

/// A directory, and the files in it that hold the list.
pub(super) fn paths(path: &Path, names: Option<&[String]>) -> Vec<PathBuf> {
    let files = present(path).and_then(|data| entries(&data, path, names)).unwrap_or_default();
    let files = files.into_iter().map(|name| path.join(name));
    std::iter::once(path.to_owned()).chain(files).collect()
}

fn found(text: &[u8], label: &OsStr, shown: &str) -> Result<Vec<Found>, StoreError> {
    let lines = parse(text).map_err(|reason: InvalidLines| {
        StoreError::new(StoreErrorKind::Invalid, DOING).at(shown).because(reason.to_string())
    })?;
    let found = lines.into_iter().map(|line| Found {
        label: label.to_string_lossy().into_owned(),
        place: format!("{shown}: line {}", line.number),
        value: Zeroizing::new(line.value.to_owned()),
    });
    Ok(found.collect())
}

/// Reads a regular file, whoever may read it, and tells whether it was written a moment ago. The buffer is
/// wiped when dropped.
fn text(path: &Path, largest: u64) -> Result<(Zeroizing<Vec<u8>>, bool), StoreError> {
    let invalid = |reason: String| {
        StoreError::new(StoreErrorKind::Invalid, DOING)
            .at(path.display().to_string())
            .because(reason)
    };
    let regular = |metadata: &Metadata| match metadata.is_file() {
        true => Ok(()),
        false if metadata.is_dir() => {
            Err(invalid("it is a directory; a file is expected here".into())
                .way_out("follow a directory with `SecretSource::directory`"))
        }
        false => Err(invalid("it is not a regular file".into()).way_out("name a file")),
    };
    // Before it is opened: opening a pipe would wait for its other end.
    regular(&fs::metadata(path).map_err(|error| unreadable(error, path))?)?;
    let mut file = File::open(path).map_err(|error| unreadable(error, path))?;
    // Again, since another file may have taken its place.
    let metadata = file.metadata().map_err(|error| unreadable(error, path))?;
    regular(&metadata)?;
    if metadata.len() > largest {
        let reason = format!("it has {} bytes, more than {largest}", metadata.len());
        return Err(
            invalid(reason).way_out("name the file that holds the secrets and nothing else")
        );
    }
    if metadata.nlink() == 0 && Mount::at(path).is_some() {
        let reason = "what is mounted here was replaced outside, and never changes any more";
        return Err(invalid(reason.to_owned())
            .way_out("start the program anew, with the directory mounted in place of the file"));
    }
    // Room beyond the end, since a buffer that grows leaves a copy behind.
    let capacity = usize::try_from(metadata.len()).unwrap_or(0) + 256;
    let mut contents = Zeroizing::new(Vec::with_capacity(capacity));
    let read = (&mut file).take(largest).read_to_end(&mut contents);
    read.map_err(|error| unreadable(error, path))?;
    // A time to come says nothing about how long ago it was.
    let age = metadata.modified().map(|modified| modified.elapsed().unwrap_or_default());
    Ok((contents, age.is_ok_and(|age| age < SETTLED)))
}

/// An error of the operating system about something that is not ours to make or change.
fn unreadable(error: io::Error, path: &Path) -> StoreError {
    let (kind, way_out) = match error.kind() {
        ErrorKind::NotFound => (
            StoreErrorKind::NotFound,
            "put it there, or correct the path where the program is configured",
        ),
        ErrorKind::PermissionDenied => (
            StoreErrorKind::Permissions,
            "give the user of this process the right to read it, and to pass through the directories above",
        ),
        _ => (StoreErrorKind::Io, "look at the disk and the system's log"),
    };
    let shown = path.display().to_string();
    StoreError::new(kind, DOING).at(shown).with_source(error).way_out(way_out)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::thread;

    use super::*;

    #[test]
    fn a_volume_that_is_swapped_while_it_is_read_gives_files_of_one_version() {
        let directory = tempfile::tempdir().unwrap();
        let volume = directory.path();
        let swap = |version: u32| {
            let data = volume.join(format!("..{version}"));
            fs::create_dir(&data).unwrap();
            for name in ["a", "b", "c"] {
                fs::write(data.join(name), format!("{name}{version}")).unwrap();
            }
            symlink(&data, volume.join("..data_tmp")).unwrap();
            fs::rename(volume.join("..data_tmp"), volume.join(DATA)).unwrap();
            if version > 0 {
                fs::remove_dir_all(volume.join(format!("..{}", version - 1))).unwrap();
            }
        };
        swap(0);
        for name in ["a", "b", "c"] {
            symlink(Path::new(DATA).join(name), volume.join(name)).unwrap();
        }
        thread::scope(|scope| {
            let swaps = scope.spawn(|| (1..300).for_each(swap));
            let mut whole = 0;
            while !swaps.is_finished() || whole == 0 {
                let reading = match super::directory(volume, None) {
                    Ok(reading) => reading,
                    Err(error) => {
                        assert!(error.to_string().contains("again and again"), "{error}");
                        continue;
                    }
                };
                let versions: Vec<_> = reading.found.iter().map(|one| &one.value[1..]).collect();
                assert!(versions.len() == 3 && versions.iter().all(|one| *one == versions[0]));
                whole += 1;
            }
        });
    }
}
