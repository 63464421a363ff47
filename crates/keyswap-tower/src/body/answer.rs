//! The body of an answer as the caller gets it.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::Authenticated;

use super::{Replay, Source};

pin_project! {
    /// The body of an answer that went through [`Fallback`](crate::Fallback): the bytes that the server
    /// sent, whether they were looked at or not.
    ///
    /// An answer that needed no look streams through untouched. One that was read, to see what it says
    /// about the secret, gives out what was read and then the rest.
    pub struct AnswerBody<B>
    where
        B: Body,
    {
        #[pin]
        kind: Kind<B>,
        authenticated: Option<Authenticated>,
    }
}

pin_project! {
    #[project = KindProjection]
    enum Kind<B>
    where
        B: Body,
    {
        Untouched { #[pin] body: B },
        Replayed { #[pin] replay: Replay<Source<B>> },
    }
}

impl<B: Body> AnswerBody<B> {
    pub(crate) fn untouched(body: B) -> Self {
        Self { kind: Kind::Untouched { body }, authenticated: None }
    }

    pub(crate) fn replayed(replay: Replay<Source<B>>) -> Self {
        Self { kind: Kind::Replayed { replay }, authenticated: None }
    }

    /// The secret that the server accepted, and how it was found. `None` says nothing certain about the
    /// secret: the answer is an error of another kind, or every secret was refused.
    ///
    /// ```
    /// use keyswap_tower::AnswerBody;
    ///
    /// fn report<B: http_body::Body>(answer: &http::Response<AnswerBody<B>>) -> String {
    ///     match answer.body().authenticated() {
    ///         Some(with) => format!("signed in with {} at attempt {}", with.id, with.attempts),
    ///         None => "not signed in".into(),
    ///     }
    /// }
    /// ```
    #[must_use]
    pub fn authenticated(&self) -> Option<&Authenticated> {
        self.authenticated.as_ref()
    }

    pub(crate) fn set_authenticated(&mut self, authenticated: Option<Authenticated>) {
        self.authenticated = authenticated;
    }

    /// The body of the inner service, if nothing of it was read.
    ///
    /// # Errors
    ///
    /// The body itself, when it was read.
    #[allow(clippy::result_large_err, reason = "the error is the value itself, given back")]
    pub fn into_untouched(self) -> Result<B, Self> {
        match self.kind {
            Kind::Untouched { body } => Ok(body),
            kind @ Kind::Replayed { .. } => Err(Self { kind, ..self }),
        }
    }
}

impl<B: Body> Body for AnswerBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        match self.project().kind.project() {
            KindProjection::Untouched { body } => body.poll_frame(cx).map_ok(super::into_bytes),
            KindProjection::Replayed { replay } => replay.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Untouched { body } => body.is_end_stream(),
            Kind::Replayed { replay } => replay.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Untouched { body } => body.size_hint(),
            Kind::Replayed { replay } => replay.size_hint(),
        }
    }
}

impl<B: Body> fmt::Debug for AnswerBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match &self.kind {
            Kind::Untouched { .. } => "untouched",
            Kind::Replayed { .. } => "replayed",
        };
        // Never the bytes: an answer may hold a token, or echo a secret.
        f.debug_tuple("AnswerBody").field(&format_args!("{kind}")).finish()
    }
}
