//! Events of a ring, and those who wait for them.
//!
//! A watch channel of our own: it can be polled without a future of its own to keep, and ties this
//! crate to no runtime.

use std::fmt;
use std::future::poll_fn;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::Revision;
use crate::sync::{AtomicUsize, Mutex, MutexGuard, Ordering};

/// The sending end. Dropping it ends every [`Changes`].
pub(super) struct Signal {
    channel: Arc<Channel>,
}

struct Channel {
    /// Held for a few instructions, never over an await or while a waker runs.
    waiting: Mutex<Waiting>,
    listeners: AtomicUsize,
}

struct Waiting {
    events: u64,
    revision: Revision,
    closed: bool,
    listeners: u64,
    /// At most one a listener, by its number.
    wakers: Vec<(u64, Waker)>,
}

impl Channel {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Each change under the lock is whole at every point where it could panic.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut Waiting)) {
        let wakers = {
            let mut waiting = self.lock();
            change(&mut waiting);
            std::mem::take(&mut waiting.wakers)
        };
        for (_, waker) in wakers {
            waker.wake();
        }
    }
}

impl Signal {
    pub(super) fn new(revision: Revision) -> Self {
        let waiting =
            Waiting { events: 0, revision, closed: false, listeners: 0, wakers: Vec::new() };
        Self {
            channel: Arc::new(Channel {
                waiting: Mutex::new(waiting),
                listeners: AtomicUsize::new(0),
            }),
        }
    }

    pub(super) fn send(&self, revision: Revision) {
        self.channel.change(|waiting| {
            waiting.events += 1;
            waiting.revision = revision;
        });
    }

    /// Hears what is sent from now on.
    pub(super) fn subscribe(&self) -> Changes {
        let mut waiting = self.channel.lock();
        waiting.listeners += 1;
        self.channel.listeners.fetch_add(1, Ordering::Relaxed);
        Changes {
            number: waiting.listeners,
            seen: waiting.events,
            channel: Arc::clone(&self.channel),
        }
    }

    pub(super) fn has_listeners(&self) -> bool {
        self.channel.listeners.load(Ordering::Relaxed) > 0
    }
}

impl Drop for Signal {
    fn drop(&mut self) {
        self.channel.change(|waiting| waiting.closed = true);
    }
}

/// Waits for what happens to a [`SecretRing`](crate::SecretRing).
pub struct Changes {
    channel: Arc<Channel>,
    number: u64,
    seen: u64,
}

impl Changes {
    /// Waits for the next event, and gives the revision of the list at that time; `None` when the ring
    /// is gone. Events that came since the last call count as one.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses no event.
    pub async fn changed(&mut self) -> Option<Revision> {
        poll_fn(|context| self.poll_changed(context)).await
    }

    /// As [`changed`](Self::changed), for a future that is written by hand: nothing is allocated for
    /// the wait, and nothing has to be kept between two calls but this handle.
    ///
    /// While it is pending, the task of the latest call is woken by the next event.
    ///
    /// ```
    /// use std::task::{Context, Poll, Waker};
    /// use keyswap_core::{Secret, SecretList, SecretRing};
    ///
    /// let old = Secret::new("old".parse()?, "Vq3hCc0Zc1Jx")?;
    /// let new = Secret::new("new".parse()?, "yT7mXo2LrWq8")?;
    /// let ring = SecretRing::new(SecretList::new([old])?);
    /// let mut changes = ring.subscribe();
    /// let mut context = Context::from_waker(Waker::noop());
    ///
    /// assert_eq!(changes.poll_changed(&mut context), Poll::Pending);
    /// let revision = ring.replace(SecretList::new([new])?);
    /// assert_eq!(changes.poll_changed(&mut context), Poll::Ready(Some(revision)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn poll_changed(&mut self, context: &mut Context<'_>) -> Poll<Option<Revision>> {
        let mut waiting = self.channel.lock();
        if waiting.events != self.seen {
            self.seen = waiting.events;
            return Poll::Ready(Some(waiting.revision));
        }
        if waiting.closed {
            return Poll::Ready(None);
        }
        match waiting.wakers.iter_mut().find(|(number, _)| *number == self.number) {
            Some((_, waker)) => waker.clone_from(context.waker()),
            None => waiting.wakers.push((self.number, context.waker().clone())),
        }
        Poll::Pending
    }
}

impl Drop for Changes {
    fn drop(&mut self) {
        self.channel.listeners.fetch_sub(1, Ordering::Relaxed);
        let mut waiting = self.channel.lock();
        let found = waiting.wakers.iter().position(|(number, _)| *number == self.number);
        // Dropped behind the lock: a waker is somebody else's code.
        let waker = found.map(|position| waiting.wakers.swap_remove(position));
        drop(waiting);
        drop(waker);
    }
}

impl fmt::Debug for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Changes").field("seen", &self.seen).finish_non_exhaustive()
    }
}
