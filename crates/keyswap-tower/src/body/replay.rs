//! What was collected of a body, followed by the rest of it.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::Held;

pin_project! {
    /// Gives out what was held, then the failure if there was one, then the rest.
    pub(crate) struct Replay<R>
    where
        R: Body,
    {
        held: Held,
        failure: Option<R::Error>,
        #[pin]
        rest: Option<R>,
    }
}

impl<R: Body> Replay<R> {
    /// A body that is here in full.
    pub(crate) fn complete(held: Held) -> Self {
        Self { held, failure: None, rest: None }
    }

    /// A body that failed behind what is here.
    pub(crate) fn failed(held: Held, failure: R::Error) -> Self {
        Self { held, failure: Some(failure), rest: None }
    }

    /// A body of which more is to come.
    pub(crate) fn unfinished(held: Held, rest: Option<R>) -> Self {
        Self { held, failure: None, rest }
    }
}

impl<R: Body> Body for Replay<R> {
    type Data = Bytes;
    type Error = R::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, R::Error>>> {
        let this = self.project();
        if let Some(data) = this.held.pop() {
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        if let Some(trailers) = this.held.trailers.take() {
            return Poll::Ready(Some(Ok(Frame::trailers(*trailers))));
        }
        if let Some(failure) = this.failure.take() {
            return Poll::Ready(Some(Err(failure)));
        }
        match this.rest.as_pin_mut() {
            Some(rest) => rest.poll_frame(cx).map_ok(super::into_bytes),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.held.len() == 0
            && self.held.trailers.is_none()
            && self.failure.is_none()
            && self.rest.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let held = self.held.len() as u64;
        let rest = match &self.rest {
            Some(rest) => rest.size_hint(),
            // How long it would have become is not known.
            None if self.failure.is_some() => SizeHint::default(),
            None => SizeHint::with_exact(0),
        };
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower().saturating_add(held));
        if let Some(upper) = rest.upper().and_then(|upper| upper.checked_add(held)) {
            hint.set_upper(upper);
        }
        hint
    }
}
