//! The only door to the file system: everything in this folder takes `std::fs` from here, so that a
//! simulated disk can stand in its place and be crashed at every step.

pub(super) use std::fs::{
    DirBuilder, File, Metadata, OpenOptions, TryLockError, metadata, read_dir, remove_file, rename,
};
pub(super) use std::os::unix::fs::{
    DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt, PermissionsExt,
};
