//! The life of one request.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Buf;
use http::header::AUTHORIZATION;
use http::{Request, Response, request};
use http_body::Body;
use pin_project_lite::pin_project;
use tower_service::Service;

use super::body::Recording;
use super::challenge::refuses_token;
use super::layer::{Admission, Shared};
use super::{BearerBody, BearerError, ClearTextError};
use crate::{Token, TokenError};

/// Of a refused answer's body, this much is read to free its connection.
pub(crate) const LONGEST_ANSWER: usize = 64 * 1024;

/// Boxed, since it is made only where a token has to be fetched.
type Fetching = Pin<Box<dyn Future<Output = Result<Token, TokenError>> + Send>>;

pin_project! {
    /// The response future of [`Bearer`](crate::Bearer).
    ///
    /// It owns the instance of the inner service that was polled ready, and is as `Send` and as `'static`
    /// as that service, its future and the bodies are.
    #[must_use = "futures do nothing unless they are polled"]
    pub struct BearerFuture<S, B, A>
    where
        S: Service<Request<BearerBody<B>>>,
    {
        service: S,
        shared: Arc<Shared>,
        // What is needed to send the request once more. None before the first attempt, and for good where
        // it carries no token of ours.
        repeat: Option<Repeat>,
        #[pin]
        state: State<S::Future, B, A>,
    }
}

/// The request that was sent, and the token for it.
struct Repeat {
    head: request::Parts,
    recording: Recording,
    token: Token,
}

pin_project! {
    #[project = StateProjection]
    enum State<F, B, A> {
        // Nothing is sent.
        Refused { error: Option<ClearTextError> },
        // A token is fetched for the first attempt.
        Fetching { fetching: Fetching, request: Option<Request<B>> },
        // The only attempt of a request without a token of ours is under way, or the second attempt.
        Last { #[pin] future: F },
        // The first attempt is under way.
        Called { #[pin] future: F },
        // The body of a refused answer is read, to free its connection.
        Draining { #[pin] body: A, read: usize },
        // The refused token is renewed. With an answer, that is the caller's afterwards; without one, the
        // request is sent once more.
        Renewing { fetching: Fetching, answer: Option<Response<A>> },
        // The second attempt waits until the inner service is ready.
        Readying,
        // The answer was given.
        Finished,
    }
}

impl<S, B, A> BearerFuture<S, B, A>
where
    S: Service<Request<BearerBody<B>>, Response = Response<A>>,
    B: Body,
    A: Body,
{
    pub(crate) fn new(mut service: S, shared: Arc<Shared>, request: Request<B>) -> Self {
        let mut repeat = None;
        let signed = request.headers().contains_key(AUTHORIZATION);
        let state = match shared.admit(request.uri(), signed) {
            Admission::Refused(error) => State::Refused { error: Some(error) },
            Admission::Untouched => {
                State::Last { future: service.call(request.map(BearerBody::untouched)) }
            }
            Admission::Signed => match shared.tokens.fresh() {
                Some(token) => {
                    let request = sign(&shared, token, request, &mut repeat);
                    State::Called { future: service.call(request) }
                }
                None => {
                    let tokens = shared.tokens.clone();
                    let fetching: Fetching = Box::pin(async move { tokens.token().await });
                    State::Fetching { fetching, request: Some(request) }
                }
            },
        };
        Self { service, shared, repeat, state }
    }
}

/// Makes the first attempt, and what is needed for a second one.
fn sign<B: Body>(
    shared: &Shared,
    token: Token,
    request: Request<B>,
    repeat: &mut Option<Repeat>,
) -> Request<BearerBody<B>> {
    let (mut head, body) = request.into_parts();
    let (body, recording) = BearerBody::recorded(body, shared.max_body);
    let kept = head.clone();
    head.headers.insert(AUTHORIZATION, token.header().clone());
    *repeat = Some(Repeat { head: kept, recording, token });
    Request::from_parts(head, body)
}

impl Repeat {
    fn into_request<B: Body>(self) -> Request<BearerBody<B>> {
        let Self { mut head, recording, token } = self;
        head.headers.insert(AUTHORIZATION, token.header().clone());
        let body = recording.into_body().expect("all of it went by");
        Request::from_parts(head, body)
    }
}

fn renew(shared: &Shared, refused: &Token) -> Fetching {
    let (tokens, refused) = (shared.tokens.clone(), refused.clone());
    Box::pin(async move { tokens.renew(&refused).await })
}

impl<S, B, A> Future for BearerFuture<S, B, A>
where
    S: Service<Request<BearerBody<B>>, Response = Response<A>>,
    B: Body,
    A: Body,
{
    type Output = Result<Response<A>, BearerError<S::Error>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            // What comes out of this match is the caller's.
            let output = match this.state.as_mut().project() {
                StateProjection::Refused { error } => {
                    let error = error.take().expect("a request is refused once");
                    Err(BearerError::ClearText(error))
                }
                StateProjection::Fetching { fetching, request } => {
                    match ready!(fetching.as_mut().poll(cx)) {
                        Ok(token) => {
                            let request = request.take().expect("a token is fetched once");
                            let request = sign(this.shared, token, request, this.repeat);
                            // The service was polled ready before `call`, and nobody has called it since.
                            let future = this.service.call(request);
                            this.state.set(State::Called { future });
                            continue;
                        }
                        Err(error) => Err(BearerError::Token(error)),
                    }
                }
                StateProjection::Last { future } => {
                    ready!(future.poll(cx)).map_err(BearerError::Inner)
                }
                StateProjection::Called { future } => match ready!(future.poll(cx)) {
                    Ok(answer) => {
                        let repeat = this.repeat.as_mut().expect("a token was put on it");
                        if !refuses_token(answer.status(), answer.headers())
                            || !this.shared.tokens.may_renew(&repeat.token)
                        {
                            Ok(answer)
                        } else if repeat.recording.finish() {
                            tracing::debug!(
                                "an API refused an access token: another one, and once more"
                            );
                            // This drops the future of the attempt, and what the inner service holds
                            // with it, before another attempt needs the same.
                            this.state.set(State::Draining { body: answer.into_body(), read: 0 });
                            continue;
                        } else {
                            tracing::debug!(
                                "an API refused an access token, and the request cannot be sent again: \
                                 another token for the next one"
                            );
                            let fetching = renew(this.shared, &repeat.token);
                            this.state.set(State::Renewing { fetching, answer: Some(answer) });
                            continue;
                        }
                    }
                    Err(error) => Err(BearerError::Inner(error)),
                },
                StateProjection::Draining { body, read } => {
                    ready!(drain(body, read, cx));
                    let repeat = this.repeat.as_ref().expect("a token was put on it");
                    let fetching = renew(this.shared, &repeat.token);
                    this.state.set(State::Renewing { fetching, answer: None });
                    continue;
                }
                StateProjection::Renewing { fetching, answer } => {
                    let renewed = ready!(fetching.as_mut().poll(cx));
                    match (answer.take(), renewed) {
                        // Whether there is another token is not what this caller asked for.
                        (Some(answer), _) => Ok(answer),
                        (None, Ok(token)) => {
                            this.repeat.as_mut().expect("a token was put on it").token = token;
                            this.state.set(State::Readying);
                            continue;
                        }
                        (None, Err(error)) => Err(BearerError::Token(error)),
                    }
                }
                StateProjection::Readying => match ready!(this.service.poll_ready(cx)) {
                    Ok(()) => {
                        let repeat = this.repeat.take().expect("an attempt is made once");
                        let future = this.service.call(repeat.into_request());
                        this.state.set(State::Last { future });
                        continue;
                    }
                    Err(error) => Err(BearerError::Inner(error)),
                },
                StateProjection::Finished => panic!("polled after the answer was given"),
            };
            this.state.set(State::Finished);
            return Poll::Ready(output);
        }
    }
}

/// Reads a body to its end, its failure or the limit.
fn drain<A: Body>(mut body: Pin<&mut A>, read: &mut usize, cx: &mut Context<'_>) -> Poll<()> {
    if body.size_hint().lower() > LONGEST_ANSWER as u64 {
        return Poll::Ready(());
    }
    while !body.is_end_stream() {
        match ready!(body.as_mut().poll_frame(cx)) {
            Some(Ok(frame)) => *read += frame.data_ref().map_or(0, Buf::remaining),
            Some(Err(_)) | None => break,
        }
        if *read > LONGEST_ANSWER {
            break;
        }
    }
    Poll::Ready(())
}

impl<S, B, A> fmt::Debug for BearerFuture<S, B, A>
where
    S: Service<Request<BearerBody<B>>>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Refused { .. } => "refused",
            State::Fetching { .. } => "fetching",
            State::Last { .. } => "last",
            State::Called { .. } => "called",
            State::Draining { .. } => "draining",
            State::Renewing { .. } => "renewing",
            State::Readying => "readying",
            State::Finished => "finished",
        };
        f.debug_struct("BearerFuture")
            .field("state", &format_args!("{state}"))
            .finish_non_exhaustive()
    }
}
