//! The life of one request.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::{Request, Response, request, response};
use http_body::Body;
use keyswap_core::Verdict;
use pin_project_lite::pin_project;
use tokio::time::Sleep;
use tower_service::Service;

use crate::body::{AnswerBody, Ended, Gather, Held, Replay, RequestBody, Source};
use crate::extension::Guarded;
use crate::layer::Shared;
use crate::{Credential, ReadVerdict};

mod attempt;

use attempt::{Begun, Driver, Step, Template, wait_for_revision};

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
        Pausing { #[pin] pause: Sleep, request: Option<Request<RequestBody<B>>> },
        // Every secret was refused: a newer list may come. The answer is the caller's if none does.
        Waiting {
            wait: Pin<Box<dyn Future<Output = ()> + Send + Sync>>,
            answer: Option<Response<AnswerBody<A>>>,
        },
        // The next attempt waits until the inner service is ready.
        Readying { request: Option<Request<RequestBody<B>>> },
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
        let limit = shared.max_body;
        let mut driver = Driver::new(shared);
        let (head, body) = request.into_parts();
        let length = body.size_hint();
        let state = if head.extensions.get::<Guarded>().is_some() || driver.goes_elsewhere(&head) {
            let body = whole(Source::in_place(body));
            State::Once { future: service.call(Request::from_parts(head, body)) }
        } else if length.lower() > limit as u64 {
            let request = driver.only(head, whole(Source::in_place(body)));
            State::Once { future: service.call(request) }
        } else if length.exact().is_some() {
            // It is as long as it says, or breaks its promise: the limit was looked at above.
            let body = Gather::new(Source::in_place(body), usize::MAX);
            State::Collecting { head: Some(head), body }
        } else {
            let body = Gather::new(Source::boxed(body), limit);
            State::Collecting { head: Some(head), body }
        };
        Self { service, driver, state }
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
            let step = match this.state.as_mut().project() {
                StateProjection::Collecting { head, mut body } => {
                    let ended = ready!(body.as_mut().poll(cx));
                    let head = head.take().expect("a body ends once");
                    let (held, source) = body.parts();
                    let mut held = std::mem::take(held);
                    // The service was polled ready before `call`, and nobody has called it since.
                    let future = match ended {
                        Ended::Complete => {
                            let body = held.joined();
                            let template = Template { head, body, trailers: held.trailers };
                            match this.driver.begin(template) {
                                Begun::Signed(request) => {
                                    let future = this.service.call(request);
                                    this.state.set(State::Called { future });
                                    continue;
                                }
                                Begun::Unsuitable(request) => this.service.call(request),
                            }
                        }
                        Ended::OverLimit => {
                            let rest = source.take_boxed();
                            let body = RequestBody::streaming(Replay::unfinished(held, rest));
                            this.service.call(this.driver.only(head, body))
                        }
                        Ended::Failed(error) => {
                            let body = RequestBody::streaming(Replay::failed(held, error));
                            this.service.call(this.driver.only(head, body))
                        }
                    };
                    this.state.set(State::Once { future });
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
                            let limit = this.driver.max_answer();
                            let body = Gather::new(Source::boxed(body), limit);
                            // This drops the future of the attempt, and what the inner service
                            // holds with it, before another attempt needs the same.
                            this.state.set(State::Reading { head: Some(head), verdict, body });
                            continue;
                        }
                        let answer = Response::from_parts(head, AnswerBody::untouched(body));
                        this.driver.conclude(verdict.unwrap_or(Verdict::Inconclusive), answer)
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
                    let mut held = std::mem::take(held);
                    let mut verdict = *verdict;
                    let replay = match ended {
                        Ended::Complete => {
                            let body = held.joined();
                            verdict = verdict.or_else(|| Some(this.driver.read_body(&head, &body)));
                            Replay::complete(held)
                        }
                        // What cannot be seen whole is not judged.
                        Ended::OverLimit => Replay::unfinished(held, rest.take_boxed()),
                        Ended::Failed(error) => Replay::failed(held, error),
                    };
                    let answer = Response::from_parts(head, AnswerBody::replayed(replay));
                    this.driver.conclude(verdict.unwrap_or(Verdict::Inconclusive), answer)
                }
                StateProjection::Pausing { pause, request } => {
                    ready!(pause.poll(cx));
                    let request = request.take();
                    this.state.set(State::Readying { request });
                    continue;
                }
                StateProjection::Waiting { wait, answer } => {
                    ready!(wait.as_mut().poll(cx));
                    let answer = answer.take().expect("a wait ends once");
                    this.driver.resume(answer)
                }
                StateProjection::Readying { request } => {
                    if let Err(error) = ready!(this.service.poll_ready(cx)) {
                        this.state.set(State::Finished);
                        return Poll::Ready(Err(error));
                    }
                    let request = request.take().expect("an attempt is made once");
                    let future = this.service.call(request);
                    this.state.set(State::Called { future });
                    continue;
                }
                StateProjection::Finished => panic!("polled after the answer was given"),
            };
            this.state.set(match step {
                Step::Send(request) => State::Readying { request: Some(request) },
                Step::PauseThenSend(time, request) => {
                    State::Pausing { pause: tokio::time::sleep(time), request: Some(request) }
                }
                Step::Wait(revision, most, answer) => {
                    let wait = wait_for_revision(this.driver.ring().clone(), revision, most);
                    State::Waiting { wait: Box::pin(wait), answer: Some(answer) }
                }
                Step::Return(answer) => {
                    this.state.set(State::Finished);
                    return Poll::Ready(Ok(answer));
                }
            });
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

fn whole<B: Body>(source: Source<B>) -> RequestBody<B> {
    RequestBody::streaming(Replay::unfinished(Held::default(), Some(source)))
}
