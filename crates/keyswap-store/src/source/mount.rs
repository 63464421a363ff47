//! Whether a file is mounted for itself. What is put in its place outside never shows then: the mount keeps
//! the file that was there when it was made.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};

/// A mount whose mount point is a given path.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Mount {
    /// Which part of its file system it shows.
    root: PathBuf,
}

impl Mount {
    /// The mount at this very path, links resolved. `None` also where the system does not say.
    pub(super) fn at(path: &Path) -> Option<Self> {
        let path = std::fs::canonicalize(path).ok()?;
        find(&std::fs::read("/proc/self/mountinfo").ok()?, &path)
    }

    /// Whether it shows something inside a volume that the kubelet swaps as a whole, and that stays as it is
    /// when it does: `subPath`. Such a volume keeps its files in a directory `..2026_11_27_10_00_00.123`.
    pub(super) fn is_sub_path(&self) -> bool {
        let dated = |component: Component<'_>| match component {
            Component::Normal(name) => {
                let name = name.as_encoded_bytes();
                name.starts_with(b"..") && name.get(2).is_some_and(u8::is_ascii_digit)
            }
            _ => false,
        };
        self.root.components().any(dated)
    }
}

/// Looks for `path` in the text of `/proc/self/mountinfo` (proc_pid_mountinfo(5)): the fourth field is the
/// root of a mount, the fifth its mount point.
fn find(mountinfo: &[u8], path: &Path) -> Option<Mount> {
    let mount = |line: &[u8]| {
        let mut fields = line.split(|byte| *byte == b' ').skip(3);
        let (root, point) = (fields.next()?, fields.next()?);
        (unescape(point) == path).then(|| Mount { root: unescape(root) })
    };
    // The last one hides those before it.
    mountinfo.split(|byte| *byte == b'\n').filter_map(mount).next_back()
}

/// Space, tab, line end and backslash are written as `\` and three octal digits.
fn unescape(field: &[u8]) -> PathBuf {
    let mut path = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&byte, behind)) = rest.split_first() {
        rest = behind;
        let octal = (byte == b'\\').then(|| behind.first_chunk::<3>()).flatten();
        let code = octal.and_then(|digits| {
            let text = std::str::from_utf8(digits).ok()?;
            u8::from_str_radix(text, 8).ok()
        });
        match code {
            Some(code) => {
                path.push(code);
                rest = &behind[3..];
            }
            None => path.push(byte),
        }
    }
    PathBuf::from(OsString::from_vec(path))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// As a container sees it: a secret volume, one of its files by `subPath`, a file of the host.
    const MOUNTINFO: &[u8] = br"1205 1190 0:119 / / rw,relatime master:412 - overlay overlay rw,lowerdir=/a
1210 1205 0:98 / /etc/billing ro,relatime - tmpfs tmpfs rw,size=8048132k
1211 1205 0:98 /..2026_11_27_14_16_20.1234567/client-secret /etc/app/client-secret ro - tmpfs tmpfs rw
1212 1205 254:1 /srv/with\040space/secret /run/my\040secret ro,relatime - ext4 /dev/vda1 rw
1213 1205 254:1 /..data/x /etc/later ro,relatime - ext4 /dev/vda1 rw
1214 1205 0:98 /..2026_11_27_14_16_20.1234567/x /etc/later ro,relatime - tmpfs tmpfs rw
";

    fn at(path: &str) -> Option<Mount> {
        find(MOUNTINFO, Path::new(path))
    }

    #[test]
    fn a_sub_path_of_a_volume_is_told_from_a_file_of_the_host_and_from_a_whole_volume() {
        assert!(at("/etc/app/client-secret").unwrap().is_sub_path());
        assert!(!at("/run/my secret").unwrap().is_sub_path());
        assert!(!at("/etc/billing").unwrap().is_sub_path());
        assert!(at("/etc/later").unwrap().is_sub_path(), "the last mount is the one that shows");
        for path in ["/etc/billing/client-secret", "/run/my", "/run/my\\040secret"] {
            assert_eq!(at(path), None, "{path}");
        }
    }

    proptest! {
        #[test]
        fn a_path_of_any_bytes_is_found_by_what_the_kernel_writes_of_it(
            name in prop::collection::vec(1u8..=255, 1..40),
        ) {
            let name: Vec<u8> = name.into_iter().map(|byte| if byte == b'/' { b'-' } else { byte }).collect();
            let mut line = b"1 1 0:1 /root ".to_vec();
            for byte in b"/".iter().chain(&name) {
                match byte {
                    b' ' | b'\t' | b'\n' | b'\\' => line.extend(format!("\\{byte:03o}").bytes()),
                    _ => line.push(*byte),
                }
            }
            line.extend(b" rw - tmpfs tmpfs rw\n");
            let path = PathBuf::from(OsString::from_vec([b"/", &*name].concat()));
            let root = PathBuf::from("/root");
            prop_assert_eq!(find(&line, &path), Some(Mount { root }));
        }

        #[test]
        fn no_bytes_make_it_panic(text in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = find(&text, Path::new("/x"));
        }
    }
}
