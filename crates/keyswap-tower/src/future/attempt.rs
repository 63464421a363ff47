//! One request's way through its attempts: carries out what [`Attempts`] decides.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, HeaderValue, Request, Response, request, response};
use http_body::Body;
use keyswap_core::{Attempts, Next, Revision, Secret, SecretRing, Verdict};

use crate::body::{AnswerBody, RequestBody};
use crate::credential::{Applied, Unsuitable};
use crate::extension::{Authenticated, Deadline, Guarded};
use crate::layer::Shared;
use crate::{Credential, ReadVerdict};

/// The caller's request, from which each attempt is made anew.
#[derive(Clone)]
pub(super) struct Template {
    pub(super) head: request::Parts,
    pub(super) body: Bytes,
    pub(super) trailers: Option<HeaderMap>,
}

/// How a request that can be repeated begins.
pub(super) enum Begun<B: Body> {
    /// With the preferred secret.
    Signed(Request<RequestBody<B>>),
    /// As the caller made it, for the only time: the credential does not fit it.
    Unsuitable(Request<RequestBody<B>>),
}

/// What the future does next.
pub(super) enum Step<B: Body, A: Body> {
    Send(Request<RequestBody<B>>),
    PauseThenSend(Duration, Request<RequestBody<B>>),
    Wait(Revision, Duration, Response<AnswerBody<A>>),
    Return(Response<AnswerBody<A>>),
}

pub(super) struct Driver<C, V> {
    shared: Arc<Shared<C, V>>,
    /// None until the first attempt, and for good where no secret was put on the request.
    attempts: Option<Attempts>,
    template: Option<Template>,
}

/// Tokio's clock, so that it stands still where a test stops it.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

impl<C, V> Driver<C, V> {
    pub(super) fn new(shared: Arc<Shared<C, V>>) -> Self {
        Self { shared, attempts: None, template: None }
    }

    pub(super) fn ring(&self) -> &SecretRing {
        &self.shared.ring
    }

    pub(super) fn max_answer(&self) -> usize {
        self.shared.max_answer
    }

    pub(super) fn attempts(&self) -> u32 {
        self.attempts.as_ref().map_or(0, Attempts::attempts)
    }

    /// Whether a request goes to another origin than the secrets may; says so in the log.
    pub(super) fn goes_elsewhere(&self, head: &request::Parts) -> bool {
        let Some(origin) = &self.shared.origin else { return false };
        if origin.is_of(&head.uri) {
            return false;
        }
        // The host alone: path and query may hold credentials, and so may the rest of the authority.
        tracing::warn!(
            host = head.uri.host().unwrap_or_default(),
            %origin,
            "a request goes out as it is, since the client secrets belong to another origin"
        );
        true
    }

    /// Whether the body of an answer is worth reading: to judge it, or to free its connection.
    pub(super) fn wants_body<A: Body>(&self, verdict: Option<Verdict>, body: &A) -> bool {
        verdict.is_none_or(Verdict::is_refusal)
            && body.size_hint().lower() <= self.shared.max_answer as u64
    }

    fn start(&self, head: &request::Parts) -> (Attempts, Secret) {
        let (attempts, secret) = Attempts::begin(&self.shared.ring, now());
        match head.extensions.get::<Deadline>() {
            Some(Deadline(deadline)) => (attempts.with_deadline(*deadline), secret),
            None => (attempts, secret),
        }
    }
}

impl<C: Credential, V> Driver<C, V> {
    /// The first attempt of a request that can be repeated. It takes the caller's head, which has room for
    /// another header; what is kept for further attempts is the copy.
    pub(super) fn begin<B: Body>(&mut self, request: Template) -> Begun<B> {
        let (mut attempts, secret) = self.start(&request.head);
        let kept = request.clone();
        match sign(&self.shared.credential, request, &secret) {
            Ok(request) => {
                self.attempts = Some(attempts);
                self.template = Some(kept);
                Begun::Signed(request)
            }
            Err(reason) => {
                attempts.withdraw();
                warn_unsuitable(reason);
                let Template { head, body, trailers } = kept;
                Begun::Unsuitable(Request::from_parts(head, RequestBody::complete(body, trailers)))
            }
        }
    }

    /// The only attempt of a request whose body cannot be sent again.
    pub(super) fn only<B: Body>(
        &mut self,
        head: request::Parts,
        body: RequestBody<B>,
    ) -> Request<RequestBody<B>> {
        let (mut attempts, secret) = self.start(&head);
        let mut signed = head.clone();
        let applied = match self.shared.credential.apply(&secret, &mut signed, None) {
            Ok(Applied::ToBody(_)) => Err(Unsuitable::new("the credential has no body to replace")),
            applied => applied,
        };
        match applied {
            Ok(_) => {
                tracing::debug!(
                    secret = %secret.id(),
                    "the request's body cannot be sent twice: no fallback for this request"
                );
                signed.extensions.insert(Guarded);
                self.attempts = Some(attempts);
                Request::from_parts(signed, body)
            }
            Err(reason) => {
                attempts.withdraw();
                warn_unsuitable(reason);
                Request::from_parts(head, body)
            }
        }
    }

    /// What follows an answer with this verdict.
    pub(super) fn conclude<B: Body, A: Body>(
        &mut self,
        verdict: Verdict,
        mut answer: Response<AnswerBody<A>>,
    ) -> Step<B, A> {
        let Some(attempts) = &mut self.attempts else { return Step::Return(answer) };
        if verdict.is_refusal() {
            tracing::debug!(
                secret = %attempts.secret_id(),
                attempt = attempts.attempts(),
                status = answer.status().as_u16(),
                "the server refused a client secret"
            );
        }
        let next = attempts.conclude(verdict, now());
        if verdict == Verdict::Accepted {
            mark(attempts, &mut answer);
        }
        self.follow(next, verdict, answer)
    }

    /// What follows the wait for a newer list.
    pub(super) fn resume<B: Body, A: Body>(
        &mut self,
        answer: Response<AnswerBody<A>>,
    ) -> Step<B, A> {
        let Some(attempts) = &mut self.attempts else { return Step::Return(answer) };
        let next = attempts.resume(now());
        self.follow(next, Verdict::Refused, answer)
    }

    fn follow<B: Body, A: Body>(
        &mut self,
        next: Next,
        verdict: Verdict,
        answer: Response<AnswerBody<A>>,
    ) -> Step<B, A> {
        let (pause, secret) = match next {
            Next::Send(secret) => (None, secret),
            Next::WaitThenSend(pause, secret) => (Some(pause), secret),
            Next::WaitForRevision(revision, most) => return Step::Wait(revision, most, answer),
            _ => {
                // In a cool-down every request would say what the one before it said.
                let held_back = self.attempts.as_ref().is_some_and(Attempts::preferred_only);
                if verdict.is_refusal() && !held_back {
                    tracing::warn!(
                        attempts = self.attempts(),
                        "the server refused every client secret that was tried; the caller gets its \
                         last answer"
                    );
                }
                return Step::Return(answer);
            }
        };
        let Some(template) = &self.template else { return Step::Return(answer) };
        match sign(&self.shared.credential, template.clone(), &secret) {
            Ok(request) => match pause {
                Some(pause) => Step::PauseThenSend(pause, request),
                None => Step::Send(request),
            },
            // It took another secret, so this one has something that does not fit.
            Err(reason) => {
                if let Some(attempts) = &mut self.attempts {
                    attempts.withdraw();
                }
                warn_unsuitable(reason);
                Step::Return(answer)
            }
        }
    }
}

impl<C, V> Driver<C, V> {
    /// The answer to the only attempt. The body of such an answer is not looked at.
    pub(super) fn conclude_only<A: Body>(&mut self, answer: Response<A>) -> Response<AnswerBody<A>>
    where
        V: ReadVerdict,
    {
        let (head, body) = answer.into_parts();
        let verdict = self.shared.profile.read_head(&head);
        let mut answer = Response::from_parts(head, AnswerBody::untouched(body));
        if let Some(attempts) = &mut self.attempts {
            // Counted, whatever the policy would do next.
            let _ = attempts.conclude(verdict.unwrap_or(Verdict::Inconclusive), now());
            if verdict == Some(Verdict::Accepted) {
                mark(attempts, &mut answer);
            }
        }
        answer
    }
}

impl<C, V: ReadVerdict> Driver<C, V> {
    pub(super) fn read_head(&self, head: &response::Parts) -> Option<Verdict> {
        self.shared.profile.read_head(head)
    }

    pub(super) fn read_body(&self, head: &response::Parts, body: &[u8]) -> Verdict {
        self.shared.profile.read_body(head, body)
    }
}

/// Makes one attempt out of a request as the caller made it.
fn sign<C: Credential, B: Body>(
    credential: &C,
    request: Template,
    secret: &Secret,
) -> Result<Request<RequestBody<B>>, Unsuitable> {
    let Template { mut head, body, trailers } = request;
    let body = match credential.apply(secret, &mut head, Some(&body))? {
        Applied::ToHead => body,
        Applied::ToBody(body) => {
            if head.headers.contains_key(CONTENT_LENGTH) {
                head.headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
            }
            body
        }
    };
    head.extensions.insert(Guarded);
    Ok(Request::from_parts(head, RequestBody::complete(body, trailers)))
}

fn mark<A>(attempts: &Attempts, answer: &mut Response<A>) {
    if attempts.promoted() {
        tracing::info!(secret = %attempts.secret_id(), "a fallback is the preferred client secret now");
    }
    answer.extensions_mut().insert(Authenticated {
        id: attempts.secret_id().clone(),
        attempts: attempts.attempts(),
        promoted: attempts.promoted(),
    });
}

fn warn_unsuitable(reason: Unsuitable) {
    tracing::warn!(%reason, "a request goes out as it is, since no client secret can be put on it");
}

/// Ends when the ring has a list after `revision`, or `most` has passed.
pub(super) async fn wait_for_revision(ring: SecretRing, revision: Revision, most: Duration) {
    // Subscribed before the first look, so that no list slips in between.
    let mut changes = ring.subscribe();
    let newer = async {
        while ring.snapshot().revision() <= revision {
            if changes.changed().await.is_none() {
                return;
            }
        }
    };
    let _ = tokio::time::timeout(most, newer).await;
}
