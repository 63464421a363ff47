//! The commands that are not the demo.

pub(crate) mod authorities;
pub(crate) mod completions;
pub(crate) mod confirm;
pub(crate) mod dev_server;
pub(crate) mod generate;
pub(crate) mod history;
pub(crate) mod hold;
pub(crate) mod init;
pub(crate) mod plan;
pub(crate) mod proxy;
pub(crate) mod rehearse;
pub(crate) mod report;
pub(crate) mod resume;
pub(crate) mod retire;
pub(crate) mod rollback;
pub(crate) mod rotate;
pub(crate) mod seal;
pub(crate) mod status;
pub(crate) mod verify;
pub(crate) mod watch;

use std::path::Path;

use crate::exit::Failure;

/// Writes a new file that its owner alone may read. One that is there already is left alone.
pub(crate) fn write_private(path: &Path, text: &[u8]) -> Result<(), Failure> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let failed = |error: std::io::Error| {
        let way_out = match error.kind() {
            std::io::ErrorKind::AlreadyExists => "; remove it first, or choose another name",
            std::io::ErrorKind::NotFound => "; make its directory first",
            _ => "",
        };
        Failure::failed(format!("{} cannot be written: {error}{way_out}", path.display()))
    };
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(failed)?;
    file.write_all(text).and_then(|()| file.sync_all()).map_err(failed)
}
