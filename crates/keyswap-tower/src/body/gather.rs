//! Collecting a body up to a limit.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, SizeHint};
use pin_project_lite::pin_project;
use zeroize::Zeroizing;

use super::Source;

/// What was collected of a body. Most bodies are one chunk, which needs no allocation here.
#[derive(Default)]
pub(crate) struct Held {
    first: Option<Bytes>,
    more: Option<VecDeque<Bytes>>,
    length: usize,
    /// Few bodies have them.
    pub(crate) trailers: Option<Box<HeaderMap>>,
}

impl Held {
    fn push(&mut self, data: Bytes) {
        if data.is_empty() {
            return;
        }
        self.length += data.len();
        if self.first.is_none() && self.more.is_none() {
            self.first = Some(data);
        } else {
            self.more.get_or_insert_default().push_back(data);
        }
    }

    pub(crate) fn pop(&mut self) -> Option<Bytes> {
        let data = match self.first.take() {
            Some(data) => data,
            None => self.more.as_mut()?.pop_front()?,
        };
        self.length -= data.len();
        Some(data)
    }

    pub(crate) fn len(&self) -> usize {
        self.length
    }

    pub(crate) fn take(&mut self) -> Self {
        std::mem::take(self)
    }

    /// All of it in one piece: without a copy if it is one already, and otherwise in a buffer that is
    /// wiped when its last handle goes, since a body may hold credentials of the caller.
    pub(crate) fn join(&mut self) -> Bytes {
        if let Some(more) = self.more.take() {
            let mut joined = Zeroizing::new(Vec::with_capacity(self.length));
            for data in self.first.iter().chain(&more) {
                joined.extend_from_slice(data);
            }
            self.first = Some(Bytes::from_owner(joined));
        }
        self.first.clone().unwrap_or_default()
    }

    /// The data in one piece, and the trailers.
    pub(crate) fn take_joined(&mut self) -> (Bytes, Option<Box<HeaderMap>>) {
        if self.more.is_some() {
            self.join();
        }
        self.length = 0;
        (self.first.take().unwrap_or_default(), self.trailers.take())
    }
}

pin_project! {
    /// A body that is being collected.
    pub(crate) struct Gather<B> {
        #[pin]
        body: B,
        held: Held,
        limit: usize,
    }
}

/// How collecting ended.
pub(crate) enum Ended<E> {
    /// All of it is there.
    Complete,
    /// More came than the limit allows; it is kept, and the body may have more.
    OverLimit,
    /// The body failed behind what is there.
    Failed(E),
}

impl<B: Body> Gather<Source<B>> {
    /// A body of this length, of which `limit` bytes are read and what the last of them came with.
    pub(crate) fn within(body: B, length: &SizeHint, limit: usize) -> Self {
        // A body that states its length is as long as it says, or breaks its promise.
        match length.exact() {
            Some(exact) if exact <= limit as u64 => Self::new(Source::in_place(body), usize::MAX),
            _ => Self::new(Source::boxed(body), limit),
        }
    }
}

impl<B: Body> Gather<B> {
    fn new(body: B, limit: usize) -> Self {
        Self { body, held: Held::default(), limit }
    }

    /// What was collected, and the body behind it.
    pub(crate) fn parts(self: Pin<&mut Self>) -> (&mut Held, Pin<&mut B>) {
        let this = self.project();
        (this.held, this.body)
    }

    pub(crate) fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Ended<B::Error>> {
        let mut this = self.project();
        loop {
            if this.body.is_end_stream() {
                return Poll::Ready(Ended::Complete);
            }
            let frame = match ready!(this.body.as_mut().poll_frame(cx)) {
                None => return Poll::Ready(Ended::Complete),
                Some(Err(error)) => return Poll::Ready(Ended::Failed(error)),
                Some(Ok(frame)) => super::into_bytes(frame),
            };
            match frame.into_data() {
                Ok(data) => {
                    this.held.push(data);
                    if this.held.length > *this.limit {
                        return Poll::Ready(Ended::OverLimit);
                    }
                }
                // Frames that are neither data nor trailers do not exist in HTTP.
                Err(frame) => this.held.trailers = frame.into_trailers().ok().map(Box::new),
            }
        }
    }
}
