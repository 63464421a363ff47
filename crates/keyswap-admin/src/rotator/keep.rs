//! Keeps the lease while something is done under it, and stops that at once when the lease is gone.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use keyswap_store::{Lease, SecretStore, StoreError, StoreErrorKind};
use tokio::time::{Instant, timeout_at};

use crate::term::Term;

/// How often in a row a lease is renewed for no time. A process that is stopped between the renewal and its answer finds
/// none of it left; who asks again is told whether somebody took over meanwhile.
const MOST_IN_VAIN: u32 = 3;

/// Carries `act` out and renews the lease beside it, twice in its time. When the lease is lost, `act` is
/// dropped where it is.
///
/// Before each step of `act`, the time of the lease is looked at: a process that was stopped for longer
/// asks the store whether the lease is still its own before it does anything else. A change that was handed
/// to the HTTP client and not written to a socket yet looks at the time once more by
/// [itself](crate::term::LeasedBody).
pub(super) async fn keeping<S: SecretStore, T>(
    store: &S,
    lease: &Lease,
    act: impl Future<Output = T>,
) -> Result<T, StoreError> {
    let term = Term::until(Instant::now());
    let mut act = pin!(term.scope(act));
    let mut in_vain = 0;
    loop {
        let asked = Instant::now();
        let left = store.renew(lease).await?;
        in_vain = if left.is_zero() { in_vain + 1 } else { 0 };
        if in_vain == MOST_IN_VAIN {
            return Err(StoreError::new(StoreErrorKind::LeaseLost, "keep the lease")
                .at(store.describe())
                .because("it was renewed for no time at all")
                .way_out("run `keyswap resume`"));
        }
        if left.is_zero() {
            continue;
        }
        term.put_off(asked + left);
        let next = asked + left / 2;
        let step = poll_fn(|context| match term.is_over() {
            true => Poll::Ready(None),
            false => act.as_mut().poll(context).map(Some),
        });
        if let Ok(Some(done)) = timeout_at(next, step).await {
            return Ok(done);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;

    use keyswap_store::FileStore;

    use super::*;

    const TERM: Duration = Duration::from_millis(200);

    fn store() -> (tempfile::TempDir, FileStore) {
        let directory = tempfile::tempdir().unwrap();
        let store = FileStore::create(directory.path().join("store"), "billing").unwrap();
        (directory, store.lease(TERM))
    }

    #[tokio::test]
    async fn a_lease_is_renewed_for_as_long_as_what_is_done_under_it_takes() {
        // Longer than a machine stalls between two renewals.
        const TERM: Duration = Duration::from_secs(2);
        let (_directory, store) = store();
        let store = store.lease(TERM);
        // One that stalls for that long loses it, but not again and again.
        for _ in 0..3 {
            let lease = store.acquire("test").await.unwrap();
            let watched = async {
                let end = Instant::now() + 2 * TERM;
                while Instant::now() < end {
                    match store.acquire("another").await {
                        // Whether this machine was too slow to keep it, only the holder can say.
                        Ok(_taken) => {
                            assert!(store.renew(&lease).await.is_err(), "two hold it");
                            return false;
                        }
                        Err(error) => assert!(error.is_held(), "{error}"),
                    }
                    tokio::time::sleep(TERM / 20).await;
                }
                true
            };
            if keeping(&store, &lease, watched).await.is_ok_and(|kept| kept) {
                return;
            }
        }
        panic!("it is not renewed");
    }

    /// What a rotator does that is stopped for this long between two of its steps, while `meanwhile`
    /// happens: says whether it was lost, and whether the step behind the stop was made.
    async fn stopped_between_two_steps(meanwhile: impl FnOnce(FileStore)) -> (bool, bool) {
        let (_directory, store) = store();
        let lease = store.acquire("test").await.unwrap();
        let went_on = Cell::new(false);
        let act = async {
            // As a stopped process: no other task of this thread runs either.
            std::thread::sleep(TERM + TERM / 2);
            meanwhile(store.clone());
            tokio::task::yield_now().await;
            went_on.set(true);
        };
        let lost = match keeping(&store, &lease, act).await {
            Ok(()) => false,
            Err(error) => {
                assert!(error.is_lease_lost(), "{error}");
                true
            }
        };
        (lost, went_on.get())
    }

    fn take_over(store: FileStore) {
        let taker = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(store.acquire("another")).map(drop)
        });
        taker.join().unwrap().unwrap();
    }

    #[tokio::test]
    async fn not_one_step_is_made_after_a_stop_in_which_somebody_took_over() {
        assert_eq!(stopped_between_two_steps(take_over).await, (true, false));
    }

    /// Its process is stopped as often, each time between a renewal and the answer to it.
    #[derive(Clone)]
    struct Stopped(FileStore, Arc<AtomicU32>);

    impl SecretStore for Stopped {
        type Watch = <FileStore as SecretStore>::Watch;

        async fn renew(&self, lease: &Lease) -> Result<Duration, StoreError> {
            let left = self.0.renew(lease).await?;
            let stopped = self.1.load(Ordering::Relaxed);
            self.1.store(stopped.saturating_sub(1), Ordering::Relaxed);
            Ok(if stopped > 0 { Duration::ZERO } else { left })
        }

        keyswap_store::forward!(self => self.0; client, describe, published, import, publish, watch, journal, save_journal,
            acquire, release, register, report, unregister, instances, hold, set_hold, append_history, history,
            verify_history);
    }

    #[tokio::test]
    async fn a_stop_between_a_renewal_and_its_answer_asks_again_and_not_for_ever() {
        let (_directory, store) = store();
        let lease = store.acquire("test").await.unwrap();
        for (stops, kept) in [(1, true), (MOST_IN_VAIN, false)] {
            let store = Stopped(store.clone(), Arc::new(AtomicU32::new(stops)));
            let kept_for = keeping(&store, &lease, async { "done" }).await;
            assert_eq!(kept_for.is_ok(), kept, "{kept_for:?}");
            assert!(kept_for.err().is_none_or(|error| error.is_lease_lost()));
        }
    }

    #[tokio::test]
    async fn a_stop_in_which_nobody_took_over_is_none() {
        assert_eq!(stopped_between_two_steps(drop).await, (false, true));
    }
}
