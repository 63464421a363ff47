//! Watching the published list: hints, and the list itself, from a stream of events that is taken up again
//! where it ended.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use etcd_client::{Event, EventType, WatchOptions, WatchStream};
use keyswap_core::{Revision, SecretDocument};
use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, timeout};
use zeroize::Zeroizing;

use super::backoff;
use super::cluster::{Cluster, Node};
use super::place::Place;
use crate::{StoreError, Watch};

/// A stream that lasted this long ended for a reason of its own: the next one is not the next failure.
const LASTING: Duration = Duration::from_secs(10);

/// Watches the list of one client. Made by [`EtcdStore`](crate::EtcdStore).
///
/// The stream of events is followed on the thread that talks to etcd, until this is dropped.
pub struct EtcdWatch {
    hints: Arc<Hints>,
    poll: Duration,
    following: AbortHandle,
}

/// What the stream tells.
#[derive(Default)]
struct Hints {
    notify: Notify,
    /// What was written last under the key, until somebody takes it.
    written: Mutex<Option<Zeroizing<Vec<u8>>>>,
}

impl Hints {
    /// Something may have changed; this is what was written, if that is known.
    fn tell(&self, written: Option<Zeroizing<Vec<u8>>>) {
        *self.written.lock().unwrap_or_else(PoisonError::into_inner) = written;
        self.notify.notify_one();
    }

    fn take(&self) -> Option<Zeroizing<Vec<u8>>> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl EtcdWatch {
    pub(super) async fn new(place: &Place, doing: &str) -> Result<Self, StoreError> {
        let key = place.keys.ring();
        let begin = place.get(&key, None).await;
        let (_, revision) = begin.map_err(|failure| failure.of_read(doing, &place.describe()))?;
        let hints = Arc::new(Hints::default());
        let cluster = Arc::clone(&place.cluster);
        let resume = Resume { from: revision + 1, failures: 0 };
        let following = follow(cluster, key, resume, Arc::clone(&hints));
        let following = place.cluster.thread().spawn(following).abort_handle();
        Ok(Self { hints, poll: place.poll, following })
    }
}

impl Watch for EtcdWatch {
    async fn changed(&mut self) {
        // The poll behind it: a hint that did not come costs that long at most.
        let poll = self.poll.mul_f64(0.75 + backoff::chance() / 2.0);
        let _ = timeout(poll, self.hints.notify.notified()).await;
    }

    fn list(&mut self) -> Option<SecretDocument> {
        // What cannot be used is read again, by whoever says what is wrong with it.
        let document = SecretDocument::parse(&self.hints.take()?).ok()?;
        (document.revision != Revision::INITIAL).then_some(document)
    }
}

impl Drop for EtcdWatch {
    fn drop(&mut self) {
        self.following.abort();
    }
}

impl fmt::Debug for EtcdWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EtcdWatch").field("poll", &self.poll).finish_non_exhaustive()
    }
}

/// Where a watch goes on after its stream ended.
#[derive(Debug, Eq, PartialEq)]
struct Resume {
    /// The first revision that was not seen.
    from: i64,
    failures: u32,
}

/// How a stream ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum End {
    /// What comes next in it was compacted away: this is the oldest revision that is left.
    Compacted(i64),
    /// After this time.
    Broken(Duration),
}

#[derive(Debug, Eq, PartialEq)]
struct Step {
    /// Something may have been missed.
    hint: bool,
    wait: Duration,
}

impl Resume {
    fn saw(&mut self, revision: i64) {
        self.from = self.from.max(revision + 1);
    }

    fn after(&mut self, end: End, chance: f64) -> Step {
        let hint = match end {
            End::Compacted(oldest) => {
                self.from = self.from.max(oldest);
                true
            }
            End::Broken(lived) => {
                if lived >= LASTING {
                    self.failures = 0;
                }
                false
            }
        };
        let wait = backoff::wait(self.failures, backoff::LONGEST, chance);
        self.failures = self.failures.saturating_add(1);
        Step { hint, wait }
    }
}

async fn follow(cluster: Arc<Cluster>, key: String, mut resume: Resume, hints: Arc<Hints>) {
    loop {
        let (at, node) = cluster.preferred();
        let began = Instant::now();
        let compacted = events(&cluster, node, &key, &mut resume, &hints).await;
        let end = compacted.map_or_else(|| End::Broken(began.elapsed()), End::Compacted);
        if matches!(end, End::Broken(_)) {
            cluster.leave(at);
        }
        let from = resume.from;
        let Step { hint, wait } = resume.after(end, backoff::chance());
        tracing::debug!(%key, ?end, from, ?wait, "the watch ended and is taken up again");
        if hint {
            hints.tell(None);
        }
        sleep(wait).await;
    }
}

/// Follows one stream to its end; gives the oldest revision that is left if that is why it ended.
async fn events(
    cluster: &Cluster,
    node: &Node,
    key: &str,
    resume: &mut Resume,
    hints: &Hints,
) -> Option<i64> {
    let mut silences = node.silences();
    let mut client = node.client(cluster, cluster.patience()).await.ok()?;
    // Told of progress now and then, so that a list that seldom changes is not resumed from long ago.
    let options = WatchOptions::new().with_start_revision(resume.from).with_progress_notify();
    let opening = timeout(cluster.patience(), client.watch(key, Some(options)));
    let mut stream: WatchStream = opening.await.ok()?.ok()?;
    loop {
        let message = tokio::select! {
            message = stream.message() => message.ok()??,
            // Requests to this node are not answered: it may hang, and the stream with it.
            () = silence(&mut silences) => return None,
        };
        if message.canceled() {
            return Some(message.compact_revision()).filter(|oldest| *oldest > 0);
        }
        let revision = message.header().map_or(0, etcd_client::ResponseHeader::revision);
        if message.events().is_empty() {
            // The answer to the request itself tells of no progress: what is before it may still come.
            if !message.created() {
                resume.saw(revision);
            }
            continue;
        }
        resume.saw(revision);
        hints.tell(message.events().last().and_then(written));
    }
}

/// What an event wrote; nothing if it removed the key.
fn written(event: &Event) -> Option<Zeroizing<Vec<u8>>> {
    let put = event.event_type() == EventType::Put;
    event.kv().filter(|_| put).map(|kv| Zeroizing::new(kv.value().to_vec()))
}

async fn silence(silences: &mut watch::Receiver<u64>) {
    if silences.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SOON: Duration = Duration::from_millis(1);

    #[test]
    fn a_watch_goes_on_behind_what_it_saw() {
        let mut resume = Resume { from: 5, failures: 0 };
        resume.saw(9);
        let step = resume.after(End::Broken(SOON), 1.0);
        assert!(!step.hint);
        assert_eq!(resume.from, 10);
        // An answer that is late does not take it back.
        resume.saw(7);
        assert_eq!(resume.from, 10);
    }

    #[test]
    fn after_a_compaction_it_goes_on_with_what_is_left_and_says_that_something_is_missing() {
        let mut resume = Resume { from: 5, failures: 0 };
        assert!(resume.after(End::Compacted(40), 1.0).hint);
        assert_eq!(resume.from, 40);
        assert!(resume.after(End::Compacted(3), 1.0).hint);
        assert_eq!(resume.from, 40);
    }

    #[test]
    fn a_stream_that_lasted_is_taken_up_at_once_and_one_that_ends_at_once_is_not() {
        let mut resume = Resume { from: 1, failures: 0 };
        let waits: Vec<_> = (0..12).map(|_| resume.after(End::Broken(SOON), 1.0).wait).collect();
        assert!(waits.windows(2).all(|pair| pair[1] >= pair[0]), "{waits:?}");
        assert_eq!(waits.last(), Some(&backoff::LONGEST));
        assert_eq!(resume.after(End::Broken(LASTING), 1.0).wait, waits[0]);
    }

    proptest! {
        #[test]
        fn no_end_is_followed_at_once(
            ends in proptest::collection::vec((any::<bool>(), 0..100_i64, 0..20_u64), 1..20),
            chance in 0.0..=1.0,
        ) {
            let mut resume = Resume { from: 1, failures: 0 };
            for (compacted, revision, seconds) in ends {
                let before = resume.from;
                let end = match compacted {
                    true => End::Compacted(revision),
                    false => End::Broken(Duration::from_secs(seconds)),
                };
                let step = resume.after(end, chance);
                prop_assert!(step.wait >= Duration::from_millis(20) && step.wait <= backoff::LONGEST);
                prop_assert!(resume.from >= before);
                prop_assert_eq!(step.hint, compacted);
            }
        }
    }
}
