//! The life of one request.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::{Request, Response, request, response};
use http_body::Body;
use keyswap_core::{Changes, Revision, Verdict};
use pin_project_lite::pin_project;
use tokio::time::Sleep;
use tower_service::Service;

use crate::body::{AnswerBody, Ended, Gather, Replay, RequestBody, Source};
use crate::extension::SendOnce;
use crate::layer::Shared;
use crate::{Credential, ReadVerdict};

mod attempt;
mod template;

use attempt::{Driver, Step, Unmade};

pin_project! {
    /// The response future of [`Fallback`](crate::Fallback).
    ///
    /// It owns the instance of the inner service that was polled ready, and is as `Send` and as `'static`
    /// as that service, its future and the bodies are.
    #[must_use = "futures do nothing unless they are polled"]
    pub struct ResponseFuture<S, C, V, B, A>
    where
        S: Service<Request<RequestBody<B>>>,
        B: Body,
        A: Body,
    {
        service: S,
        driver: Driver<C, V>,
        #[pin]
        state: State<S::Future, B, A>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<F, B, A>
    where
        B: Body,
        A: Body,
    {
        // The request's body is read, so that it can be sent more than once. Nothing was sent yet.
        Collecting { head: Option<request::Parts>, #[pin] body: Gather<Source<B>> },
        // The only attempt of a request that cannot be sent again is under way.
        Once { #[pin] future: F },
        // An attempt is under way.
        Called { #[pin] future: F },
        // The body of an answer is read, to see what it says or to free its connection.
        Reading {
            head: Option<response::Parts>,
            verdict: Option<Verdict>,
            #[pin]
            body: Gather<Source<A>>,
        },
        // Every secret was refused while nodes may disagree: a pause before they are tried again.
        Pausing { #[pin] pause: Sleep, answer: Option<Response<AnswerBody<A>>> },
        // Every secret was refused: a newer list may come. The answer is the caller's if none does.
        Waiting {
            changes: Changes,
            revision: Revision,
            #[pin]
            most: Sleep,
            answer: Option<Response<AnswerBody<A>>>,
        },
        // The next attempt waits until the inner service is ready. The answer before it is the caller's
        // if no secret can be put on that attempt.
        Readying { answer: Option<Response<AnswerBody<A>>> },
        // The answer was given.
        Finished,
    }
}

impl<S, C, V, B, A> ResponseFuture<S, C, V, B, A>
where
    S: Service<Request<RequestBody<B>>, Response = Response<A>>,
    C: Credential,
    B: Body,
    A: Body,
{
    pub(crate) fn new(mut service: S, shared: Arc<Shared<C, V>>, request: Request<B>) -> Self {
        let mut driver = Driver::new(shared);
        let (mut head, body) = request.into_parts();
        let length = body.size_hint();
        // Each case makes its own future, which is large, where the caller wants it.
        if driver.goes_elsewhere(&head) {
            let request = Request::from_parts(head, RequestBody::untouched(body));
            let state = State::Once { future: service.call(request) };
            return Self { service, driver, state };
        }
        let sent_once = head.extensions.get::<SendOnce>().is_some();
        if sent_once || length.lower() > driver.max_body() as u64 {
            driver.only(&mut head);
            let request = Request::from_parts(head, RequestBody::untouched(body));
            let state = State::Once { future: service.call(request) };
            return Self { service, driver, state };
        }
        let limit = driver.max_body();
        let body = Gather::within(body, &length, limit);
        Self { service, driver, state: State::Collecting { head: Some(head), body } }
    }
}

impl<S, C, V, B, A> Future for ResponseFuture<S, C, V, B, A>
where
    S: Service<Request<RequestBody<B>>, Response = Response<A>>,
    C: Credential,
    V: ReadVerdict,
    B: Body,
    A: Body,
{
    type Output = Result<Response<AnswerBody<A>>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            let (step, answer) = match this.state.as_mut().project() {
                StateProjection::Collecting { head, mut body } => {
                    let ended = ready!(body.as_mut().poll(cx));
                    let (held, source) = body.parts();
                    let mut head = head.take().expect("a body ends once");
                    // The service was polled ready before `call`, and nobody has called it since.
                    match ended {
                        Ended::Complete => {
                            let (body, trailers) = held.take_joined();
                            let body = this.driver.begin(&mut head, body, trailers);
                            let future = this.service.call(Request::from_parts(head, body));
                            this.state.set(if this.driver.attempts() > 0 {
                                State::Called { future }
                            } else {
                                State::Once { future }
                            });
                        }
                        Ended::OverLimit => {
                            let rest = source.take_boxed();
                            let body =
                                RequestBody::streaming(Replay::unfinished(held.take(), rest));
                            this.driver.only(&mut head);
                            let future = this.service.call(Request::from_parts(head, body));
                            this.state.set(State::Once { future });
                        }
                        Ended::Failed(error) => {
                            let body = RequestBody::streaming(Replay::failed(held.take(), error));
                            this.driver.only(&mut head);
                            let future = this.service.call(Request::from_parts(head, body));
                            this.state.set(State::Once { future });
                        }
                    }
                    continue;
                }
                StateProjection::Once { future } => {
                    let answer = ready!(future.poll(cx));
                    this.state.set(State::Finished);
                    return Poll::Ready(answer.map(|answer| this.driver.conclude_only(answer)));
                }
                StateProjection::Called { future } => match ready!(future.poll(cx)) {
                    Ok(answer) => {
                        let (head, body) = answer.into_parts();
                        let verdict = this.driver.read_head(&head);
                        if this.driver.wants_body(verdict, &body) {
                            let length = body.size_hint();
                            let body = Gather::within(body, &length, this.driver.max_answer());
                            // This drops the future of the attempt, and what the inner service
                            // holds with it, before another attempt needs the same.
                            this.state.set(State::Reading { head: Some(head), verdict, body });
                            continue;
                        }
                        let mut answer = Response::from_parts(head, AnswerBody::untouched(body));
                        let verdict = verdict.unwrap_or(Verdict::Inconclusive);
                        match this.driver.conclude(verdict, &mut answer) {
                            Step::Return => {
                                this.state.set(State::Finished);
                                return Poll::Ready(Ok(answer));
                            }
                            step => (step, answer),
                        }
                    }
                    Err(error) => {
                        this.state.set(State::Finished);
                        return Poll::Ready(Err(error));
                    }
                },
                StateProjection::Reading { head, verdict, mut body } => {
                    let ended = ready!(body.as_mut().poll(cx));
                    let head = head.take().expect("a body ends once");
                    let (held, rest) = body.parts();
                    let mut verdict = *verdict;
                    let replay = match ended {
                        Ended::Complete => {
                            let body = held.join();
                            verdict = verdict.or_else(|| Some(this.driver.read_body(&head, &body)));
                            Replay::complete(held.take())
                        }
                        // What cannot be seen whole is not judged.
                        Ended::OverLimit => Replay::unfinished(held.take(), rest.take_boxed()),
                        Ended::Failed(error) => Replay::failed(held.take(), error),
                    };
                    let mut answer = Response::from_parts(head, AnswerBody::replayed(replay));
                    let verdict = verdict.unwrap_or(Verdict::Inconclusive);
                    let step = this.driver.conclude(verdict, &mut answer);
                    (step, answer)
                }
                StateProjection::Pausing { pause, answer } => {
                    ready!(pause.poll(cx));
                    let answer = answer.take();
                    this.state.set(State::Readying { answer });
                    continue;
                }
                StateProjection::Waiting { changes, revision, most, answer } => {
                    // Subscribed before the first look, so that no list slips in between.
                    while this.driver.ring().snapshot().revision() <= *revision {
                        match changes.poll_changed(cx) {
                            Poll::Ready(Some(_)) => {}
                            Poll::Ready(None) => break,
                            Poll::Pending => {
                                ready!(most.poll(cx));
                                break;
                            }
                        }
                    }
                    let mut answer = answer.take().expect("a wait ends once");
                    let step = this.driver.resume(&mut answer);
                    (step, answer)
                }
                StateProjection::Readying { answer } => {
                    if let Err(error) = ready!(this.service.poll_ready(cx)) {
                        this.state.set(State::Finished);
                        return Poll::Ready(Err(error));
                    }
                    match this.driver.again() {
                        Ok(request) => {
                            let future = this.service.call(request);
                            this.state.set(State::Called { future });
                            continue;
                        }
                        Err(Unmade) => {
                            (Step::Return, answer.take().expect("an attempt is made once"))
                        }
                    }
                }
                StateProjection::Finished => panic!("polled after the answer was given"),
            };
            let next = match step {
                Step::Send => State::Readying { answer: Some(answer) },
                Step::PauseThenSend(time) => {
                    State::Pausing { pause: tokio::time::sleep(time), answer: Some(answer) }
                }
                Step::Wait(revision, most) => {
                    let changes = this.driver.ring().subscribe();
                    let most = tokio::time::sleep(most);
                    State::Waiting { changes, revision, most, answer: Some(answer) }
                }
                Step::Return => {
                    this.state.set(State::Finished);
                    return Poll::Ready(Ok(answer));
                }
            };
            this.state.set(next);
        }
    }
}

impl<S, C, V, B, A> fmt::Debug for ResponseFuture<S, C, V, B, A>
where
    S: Service<Request<RequestBody<B>>>,
    B: Body,
    A: Body,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Collecting { .. } => "collecting",
            State::Once { .. } => "once",
            State::Called { .. } => "called",
            State::Reading { .. } => "reading",
            State::Pausing { .. } => "pausing",
            State::Waiting { .. } => "waiting",
            State::Readying { .. } => "readying",
            State::Finished => "finished",
        };
        f.debug_struct("ResponseFuture")
            .field("state", &format_args!("{state}"))
            .field("attempts", &self.driver.attempts())
            .finish_non_exhaustive()
    }
}
