//! The thread that talks to etcd: one a process, whatever the program does with its own.
//!
//! Connections, keep-alives of leases and watches live here, so that a program whose threads are all
//! busy loses no lease, and a lease can be given back where nobody can wait for it.

use std::sync::{Mutex, PoisonError};

use tokio::runtime::{Builder, Handle};

use crate::{StoreError, StoreErrorKind};

static THREAD: Mutex<Option<Handle>> = Mutex::new(None);

/// The runtime of that thread, which is started by the first call and never ends.
pub(super) fn handle() -> Result<Handle, StoreError> {
    let mut thread = THREAD.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(handle) = &*thread {
        return Ok(handle.clone());
    }
    let failed = |error: std::io::Error| {
        StoreError::new(StoreErrorKind::Io, "start the thread that talks to etcd")
            .because(format!("the operating system gives none: {error}"))
    };
    let runtime = Builder::new_current_thread().enable_all().build().map_err(failed)?;
    let handle = runtime.handle().clone();
    std::thread::Builder::new()
        .name("keyswap-etcd".to_owned())
        .spawn(move || runtime.block_on(std::future::pending::<()>()))
        .map_err(failed)?;
    *thread = Some(handle.clone());
    Ok(handle)
}
