//! Keeps the lease while something is done under it, and stops that at once when the lease is gone.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use keyswap_store::{Lease, SecretStore, StoreError, StoreErrorKind};
use tokio::time::{Instant, timeout_at};

/// Carries `act` out and renews the lease beside it, twice in its time. When the lease is lost, `act` is
/// dropped where it is.
///
/// Before each step of `act`, the time of the lease is looked at: a process that was stopped for longer
/// asks the store whether the lease is still its own before it does anything else. So what is out of
/// reach is only what was handed to the operating system, or to the HTTP client, before it was stopped.
pub(super) async fn keeping<S: SecretStore, T>(
    store: &S,
    lease: &Lease,
    act: impl Future<Output = T>,
) -> Result<T, StoreError> {
    let mut act = pin!(act);
    loop {
        let asked = Instant::now();
        let left = store.renew(lease).await?;
        if left.is_zero() {
            return Err(StoreError::new(StoreErrorKind::LeaseLost, "keep the lease")
                .at(store.describe())
                .because("it was renewed for no time at all")
                .way_out("run `keyswap resume`"));
        }
        let (until, next) = (asked + left, asked + left / 2);
        let step = poll_fn(|context| match Instant::now() < until {
            true => act.as_mut().poll(context).map(Some),
            false => Poll::Ready(None),
        });
        if let Ok(Some(done)) = timeout_at(next, step).await {
            return Ok(done);
        }
    }
}
