//! The body of a request as the inner service gets it.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::Replay;

pin_project! {
    /// The body that [`Fallback`](crate::Fallback) hands to the inner service.
    ///
    /// It is complete and in one piece, so that it can be sent again, unless the caller's body was larger
    /// than [`max_body`](crate::FallbackLayer::max_body) or failed: then it is what was read of it, and
    /// the rest.
    pub struct RequestBody<B>
    where
        B: Body,
    {
        #[pin]
        kind: Kind<B>,
    }
}

pin_project! {
    #[project = KindProjection]
    enum Kind<B>
    where
        B: Body,
    {
        Complete { data: Bytes, trailers: Option<Box<HeaderMap>> },
        Untouched { #[pin] body: B },
        Streaming { #[pin] replay: Replay<Source<B>> },
    }
}

impl<B: Body> RequestBody<B> {
    pub(crate) fn complete(data: Bytes, trailers: Option<Box<HeaderMap>>) -> Self {
        Self { kind: Kind::Complete { data, trailers } }
    }

    /// The caller's own body, of which nothing was read.
    pub(crate) fn untouched(body: B) -> Self {
        Self { kind: Kind::Untouched { body } }
    }

    pub(crate) fn streaming(replay: Replay<Source<B>>) -> Self {
        Self { kind: Kind::Streaming { replay } }
    }

    /// The whole body in one piece, without a copy, if it is here and has no trailers.
    ///
    /// A client that can send a body again, when it has it as bytes, wants this one.
    ///
    /// # Errors
    ///
    /// The body itself, when it has to be read.
    #[allow(clippy::result_large_err, reason = "the error is the value itself, given back")]
    pub fn into_bytes(self) -> Result<Bytes, Self> {
        match self.kind {
            Kind::Complete { data, trailers: None } => Ok(data),
            kind => Err(Self { kind }),
        }
    }
}

impl<B: Body> Body for RequestBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        match self.project().kind.project() {
            KindProjection::Complete { data, trailers } => {
                let frame = if data.is_empty() {
                    trailers.take().map(|trailers| Frame::trailers(*trailers))
                } else {
                    Some(Frame::data(std::mem::take(data)))
                };
                Poll::Ready(frame.map(Ok))
            }
            KindProjection::Untouched { body } => body.poll_frame(cx).map_ok(super::into_bytes),
            KindProjection::Streaming { replay } => replay.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Complete { data, trailers } => data.is_empty() && trailers.is_none(),
            Kind::Untouched { body } => body.is_end_stream(),
            Kind::Streaming { replay } => replay.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Complete { data, .. } => SizeHint::with_exact(data.len() as u64),
            Kind::Untouched { body } => body.size_hint(),
            Kind::Streaming { replay } => replay.size_hint(),
        }
    }
}

impl<B: Body> fmt::Debug for RequestBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Never the bytes: the secret may be among them.
        match &self.kind {
            Kind::Complete { data, .. } => {
                f.debug_tuple("RequestBody").field(&format_args!("{} bytes", data.len())).finish()
            }
            Kind::Untouched { .. } | Kind::Streaming { .. } => {
                f.debug_tuple("RequestBody").field(&format_args!("streaming")).finish()
            }
        }
    }
}

pin_project! {
    /// The caller's body while it is collected.
    ///
    /// A body that was begun to be read cannot be moved any more. One that may turn out to be too large,
    /// and so has to move on into the request, is therefore in a box; one that states its length is not.
    #[project = SourceProjection]
    pub(crate) enum Source<B> {
        InPlace { #[pin] body: B },
        Boxed { body: Option<Pin<Box<B>>> },
    }
}

impl<B: Body> Source<B> {
    /// A body that is not read before it is moved for the last time.
    pub(crate) fn in_place(body: B) -> Self {
        Self::InPlace { body }
    }

    /// A body that can be moved at any time.
    pub(crate) fn boxed(body: B) -> Self {
        Self::Boxed { body: Some(Box::pin(body)) }
    }

    /// Moves the body out, if it is in a box.
    pub(crate) fn take_boxed(self: Pin<&mut Self>) -> Option<Self> {
        match self.project() {
            SourceProjection::Boxed { body } => {
                body.take().map(|body| Self::Boxed { body: Some(body) })
            }
            SourceProjection::InPlace { .. } => None,
        }
    }
}

impl<B: Body> Body for Source<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        match self.project() {
            SourceProjection::InPlace { body } => body.poll_frame(cx),
            SourceProjection::Boxed { body: Some(body) } => body.as_mut().poll_frame(cx),
            SourceProjection::Boxed { body: None } => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::InPlace { body } => body.is_end_stream(),
            Self::Boxed { body } => body.as_ref().is_none_or(Body::is_end_stream),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::InPlace { body } => body.size_hint(),
            Self::Boxed { body: Some(body) } => body.size_hint(),
            Self::Boxed { body: None } => SizeHint::with_exact(0),
        }
    }
}
