//! The only door to the file system: everything in this folder takes `std::fs` from here, so that in the
//! unit tests a [disk](super::disk) can stand in its place that loses power at every step.

#[cfg(not(test))]
pub(super) use std::fs::{DirBuilder, File, OpenOptions, remove_file, rename};
pub(super) use std::fs::{Metadata, TryLockError, metadata, read_dir};
pub(super) use std::os::unix::fs::{
    DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt, PermissionsExt,
};

#[cfg(test)]
pub(super) use super::disk::{DirBuilder, File, OpenOptions, remove_file, rename};
