//! Until when the lease is certain, for what is done under it and far from it: a request that waits in the
//! HTTP client for its turn.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::Instant;

tokio::task_local! {
    static TERM: Term;
}

/// The time of a lease that is renewed. Clones are the same one.
#[derive(Clone, Debug)]
pub(crate) struct Term(Arc<Mutex<Instant>>);

impl Term {
    pub(crate) fn until(end: Instant) -> Self {
        Self(Arc::new(Mutex::new(end)))
    }

    pub(crate) fn put_off(&self, end: Instant) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = end;
    }

    pub(crate) fn is_over(&self) -> bool {
        Instant::now() >= *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does this under the lease of this time.
    pub(crate) async fn scope<T>(&self, act: impl Future<Output = T>) -> T {
        TERM.scope(self.clone(), act).await
    }
}

/// Whether the lease is over under which this is done. Without a lease, never.
pub(crate) fn is_over() -> bool {
    TERM.try_with(Term::is_over).unwrap_or(false)
}

/// A body that is only given away while the lease is certain under which it was made.
///
/// The HTTP client asks for it right before it writes it to the socket, and that in a task of its own. So a
/// process that was stopped in between sends half a request at most when it goes on, which changes nothing.
///
/// That holds for one without bytes as well: it says nothing of its length, so that the client asks for it all the same.
pub(crate) struct LeasedBody {
    /// `None` once they are given away.
    bytes: Option<Bytes>,
    term: Option<Term>,
}

impl LeasedBody {
    /// Without a lease, it is given away in any case.
    pub(crate) fn new(bytes: Bytes) -> Self {
        Self { bytes: Some(bytes), term: TERM.try_with(Term::clone).ok() }
    }
}

impl fmt::Debug for LeasedBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The bytes hold a secret.
        f.debug_struct("LeasedBody").field("term", &self.term).finish_non_exhaustive()
    }
}

impl Body for LeasedBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if self.bytes.is_some() && self.term.as_ref().is_some_and(Term::is_over) {
            return Poll::Ready(Some(Err(io::Error::other("the rotation lease is over"))));
        }
        let bytes = self.bytes.take().filter(|bytes| !bytes.is_empty());
        Poll::Ready(bytes.map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        match &self.bytes {
            Some(bytes) if bytes.is_empty() => SizeHint::default(),
            Some(bytes) => SizeHint::with_exact(bytes.len() as u64),
            None => SizeHint::with_exact(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_does_not_show_what_it_holds() {
        let body = LeasedBody::new(Bytes::from_static(b"hunter2"));
        assert!(!format!("{body:#?}").contains("hunter2"));
    }
}
