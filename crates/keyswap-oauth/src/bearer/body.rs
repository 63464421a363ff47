//! Request bodies of which a copy is kept while they are sent, so that they can be sent once more.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

pin_project! {
    /// The request body that [`Bearer`](crate::Bearer) hands to the inner service: the caller's, as it
    /// comes, or what was kept of it when it is sent once more.
    ///
    /// Nothing waits for the end of a body, so that calls whose body goes on while the answer comes work
    /// as they would without the layer.
    pub struct BearerBody<B> {
        #[pin]
        kind: Kind<B>,
    }
}

pin_project! {
    #[project = KindProjection]
    enum Kind<B> {
        First { #[pin] body: B, copy: Option<Weak<Mutex<Record>>> },
        Again { held: Held },
    }
}

/// A body in full. The pieces share the memory of the first sending.
#[derive(Default)]
struct Held {
    pieces: VecDeque<Bytes>,
    length: usize,
    trailers: Option<HeaderMap>,
}

/// What went by of a body so far.
#[derive(Default)]
struct Record {
    held: Held,
    limit: usize,
    /// It was too large, or failed.
    lost: bool,
    /// All of the data went by. There may be trailers yet.
    data_ended: bool,
    ended: bool,
}

impl Record {
    fn lose(&mut self) {
        self.lost = true;
        self.held = Held::default();
    }

    fn take(&mut self, frame: &Frame<Bytes>) {
        if let Some(data) = frame.data_ref() {
            if data.len() > self.limit - self.held.length {
                self.lose();
            } else if !data.is_empty() {
                self.held.length += data.len();
                self.held.pieces.push_back(data.clone());
            }
        } else if let Some(trailers) = frame.trailers_ref() {
            self.held.trailers = Some(trailers.clone());
            self.ended = true;
        }
    }
}

/// The copy of a body, at the side of whoever may want to send it once more. While it lives, the copy
/// grows.
pub(crate) struct Recording(Copy);

enum Copy {
    /// The body is too large from the start.
    None,
    Growing(Arc<Mutex<Record>>),
    /// From the start if there is no body, as with most calls.
    Complete(Held),
}

impl Recording {
    /// Ends it. Whether all of the body went by, so that it can be sent once more.
    pub(crate) fn finish(&mut self) -> bool {
        if let Copy::Growing(record) = &self.0 {
            // A client that knows the length does not ask for more, and lets the body go.
            let gone = Arc::weak_count(record) == 0;
            let mut record = lock(record);
            let ended = record.ended || (record.data_ended && gone);
            let held = (ended && !record.lost).then(|| std::mem::take(&mut record.held));
            drop(record);
            self.0 = held.map_or(Copy::None, Copy::Complete);
        }
        matches!(self.0, Copy::Complete(_))
    }

    /// The body for a second sending, if [`finish`](Self::finish) said that it can be had.
    pub(crate) fn into_body<B>(self) -> Option<BearerBody<B>> {
        match self.0 {
            Copy::Complete(held) => Some(BearerBody { kind: Kind::Again { held } }),
            Copy::None | Copy::Growing(_) => None,
        }
    }
}

impl<B: Body> BearerBody<B> {
    /// The caller's body, of which no copy is kept.
    pub(crate) fn untouched(body: B) -> Self {
        Self { kind: Kind::First { body, copy: None } }
    }

    /// The caller's body, with a copy of at most `limit` bytes.
    pub(crate) fn recorded(body: B, limit: usize) -> (Self, Recording) {
        if body.is_end_stream() {
            return (Self::untouched(body), Recording(Copy::Complete(Held::default())));
        }
        if body.size_hint().lower() > limit as u64 {
            return (Self::untouched(body), Recording(Copy::None));
        }
        let record = Arc::new(Mutex::new(Record { limit, ..Record::default() }));
        let copy = Some(Arc::downgrade(&record));
        (Self { kind: Kind::First { body, copy } }, Recording(Copy::Growing(record)))
    }
}

/// An empty body, as a redirect without a body needs one.
impl<B> Default for BearerBody<B> {
    fn default() -> Self {
        Self { kind: Kind::Again { held: Held::default() } }
    }
}

impl<B: Body> Body for BearerBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        match self.project().kind.project() {
            KindProjection::First { mut body, copy } => {
                let frame = ready!(body.as_mut().poll_frame(cx))
                    // Free for bodies of `Bytes`, a copy for others.
                    .map(|frame| {
                        frame.map(|frame| {
                            frame.map_data(|mut data| data.copy_to_bytes(data.remaining()))
                        })
                    });
                // Once nobody may want to send it again, nothing is kept.
                if let Some(record) = copy.as_ref().and_then(Weak::upgrade) {
                    let mut record = lock(&record);
                    match &frame {
                        Some(Ok(frame)) => {
                            record.take(frame);
                            record.ended |= body.is_end_stream();
                            record.data_ended |= body.size_hint().exact() == Some(0);
                        }
                        Some(Err(_)) => record.lose(),
                        None => record.ended = true,
                    }
                    if record.lost {
                        *copy = None;
                    }
                } else {
                    *copy = None;
                }
                Poll::Ready(frame)
            }
            KindProjection::Again { held } => {
                if let Some(data) = held.pieces.pop_front() {
                    held.length -= data.len();
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Poll::Ready(held.trailers.take().map(|trailers| Ok(Frame::trailers(trailers))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::First { body, .. } => body.is_end_stream(),
            Kind::Again { held } => held.pieces.is_empty() && held.trailers.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::First { body, .. } => body.size_hint(),
            Kind::Again { held } => SizeHint::with_exact(held.length as u64),
        }
    }
}

fn lock(record: &Mutex<Record>) -> MutexGuard<'_, Record> {
    record.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<B> fmt::Debug for BearerBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match &self.kind {
            Kind::First { .. } => "first",
            Kind::Again { .. } => "again",
        };
        // Never the bytes.
        f.debug_tuple("BearerBody").field(&format_args!("{kind}")).finish()
    }
}
