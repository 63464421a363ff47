//! One request's way through its attempts: carries out what [`Attempts`] decides.

use std::mem;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, HeaderValue, Request, Response, request, response};
use http_body::Body;
use keyswap_core::{Attempts, Next, Revision, Secret, SecretId, SecretRing, Verdict};

use super::template::Template;
use crate::body::{AnswerBody, RequestBody};
use crate::credential::{Applied, Unsuitable};
use crate::extension::{Authenticated, Deadline, SignedBelow};
use crate::layer::Shared;
use crate::{Credential, ReadVerdict};

/// What the future does after an answer.
pub(super) enum Step {
    Send,
    PauseThenSend(Duration),
    Wait(Revision, Duration),
    Return,
}

pub(super) struct Driver<C, V> {
    shared: Arc<Shared<C, V>>,
    /// None until the first attempt, and for good where no secret was put on the request.
    attempts: Option<Attempts>,
    /// Empty where the request cannot be sent again.
    template: Template,
    /// Whether the secret took the place of one that the request had already.
    replaced: bool,
}

/// Tokio's clock, so that it stands still where a test stops it.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

impl<C, V> Driver<C, V> {
    pub(super) fn new(shared: Arc<Shared<C, V>>) -> Self {
        Self { shared, attempts: None, template: Template::default(), replaced: false }
    }

    pub(super) fn ring(&self) -> &SecretRing {
        &self.shared.ring
    }

    pub(super) fn max_body(&self) -> usize {
        self.shared.max_body
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

    fn start(&mut self, head: &request::Parts) {
        let ring = &self.shared.ring;
        self.attempts = Some(match head.extensions.get::<Deadline>() {
            Some(Deadline(deadline)) => Attempts::new(ring).with_deadline(*deadline),
            None => Attempts::new(ring),
        });
    }
}

impl<C: Credential, V> Driver<C, V> {
    /// The first attempt of a request that can be repeated. It changes the caller's head, which has room
    /// for another header, and keeps a copy for further attempts.
    pub(super) fn begin<B: Body>(
        &mut self,
        head: &mut request::Parts,
        body: Bytes,
        trailers: Option<Box<HeaderMap>>,
    ) -> RequestBody<B> {
        self.start(head);
        self.template.fill(head, &body, trailers.as_deref());
        let Some(attempts) = &self.attempts else { return RequestBody::complete(body, trailers) };
        match sign(&self.shared.credential, attempts.secret(), head, &body) {
            Ok(signed) => {
                self.replaced = signed.replaced;
                RequestBody::complete(signed.body.unwrap_or(body), trailers)
            }
            Err(reason) => match self.with_another(reason) {
                Some((signed_head, signed)) => {
                    *head = signed_head;
                    self.replaced = signed.replaced;
                    RequestBody::complete(signed.body.unwrap_or(body), trailers)
                }
                None => {
                    if let Some(request) = mem::take(&mut self.template).request() {
                        *head = request.into_parts().0;
                    }
                    self.leave(reason);
                    RequestBody::complete(body, trailers)
                }
            },
        }
    }

    /// The only attempt of a request whose body cannot be sent again.
    pub(super) fn only(&mut self, head: &mut request::Parts) {
        self.start(head);
        let Some(attempts) = &mut self.attempts else { return };
        let values = head.headers.len();
        let mut first: Option<(SecretId, Unsuitable)> = None;
        loop {
            let reason = match self.shared.credential.apply(attempts.secret(), head, None) {
                Ok(Applied::ToHead) => {
                    self.replaced = head.headers.len() == values;
                    tracing::debug!(
                        secret = %attempts.secret_id(),
                        "the request's body cannot be sent twice: no fallback for this request"
                    );
                    if let Some((secret, reason)) = &first {
                        warn_passed_over(secret, *reason);
                    }
                    return;
                }
                // It changed the head, so no other secret can follow.
                Ok(_) => {
                    return self.leave(Unsuitable::new("the credential has no body to replace"));
                }
                Err(reason) => reason,
            };
            let (_, reason) = *first.get_or_insert((attempts.secret_id().clone(), reason));
            if attempts.pass_over().is_none() {
                return self.leave(reason);
            }
        }
    }

    /// The next attempt, made of the template. `Err` where the secret cannot be put on the request.
    pub(super) fn again<B: Body>(&mut self) -> Result<Request<RequestBody<B>>, Unmade> {
        let (Some(attempts), Some(request)) = (&self.attempts, self.template.request()) else {
            return Err(Unmade);
        };
        let (mut head, body) = request.into_parts();
        match sign(&self.shared.credential, attempts.secret(), &mut head, &body) {
            Ok(signed) => {
                let body = signed.body.unwrap_or(body);
                let body = RequestBody::complete(body, self.template.trailers());
                Ok(Request::from_parts(head, body))
            }
            Err(reason) => {
                let passed_over = attempts.secret_id().clone();
                let Some((head, signed)) = self.with_another(reason) else {
                    // It took another secret, so what is left has something that does not fit.
                    self.attempts.iter_mut().for_each(Attempts::withdraw);
                    warn_passed_over(&passed_over, reason);
                    return Err(Unmade);
                };
                let body = signed.body.unwrap_or(body);
                let body = RequestBody::complete(body, self.template.trailers());
                Ok(Request::from_parts(head, body))
            }
        }
    }

    /// The request of the template with the first of the other secrets that fits: one may be in the list
    /// before what else it needs is known.
    #[cold]
    fn with_another(&mut self, reason: Unsuitable) -> Option<(request::Parts, Signed)> {
        let attempts = self.attempts.as_mut()?;
        let passed_over = attempts.secret_id().clone();
        while attempts.pass_over().is_some() {
            let (mut head, body) = self.template.request()?.into_parts();
            if let Ok(signed) = sign(&self.shared.credential, attempts.secret(), &mut head, &body) {
                warn_passed_over(&passed_over, reason);
                return Some((head, signed));
            }
        }
        None
    }

    fn leave(&mut self, reason: Unsuitable) {
        if let Some(mut attempts) = self.attempts.take() {
            attempts.withdraw();
        }
        tracing::warn!(
            %reason,
            "a request goes out as it is, since no client secret can be put on it"
        );
    }
}

/// No secret could be put on the next attempt.
pub(super) struct Unmade;

impl<C, V> Driver<C, V> {
    /// What follows an answer with this verdict.
    pub(super) fn conclude<A: Body>(
        &mut self,
        verdict: Verdict,
        answer: &mut Response<AnswerBody<A>>,
    ) -> Step {
        let Some(attempts) = &mut self.attempts else { return Step::Return };
        if let Some(SignedBelow(authenticated)) = answer.extensions().get() {
            // That layer's secrets were on the request, and it has tried them all.
            let authenticated = authenticated.clone();
            attempts.withdraw();
            answer.body_mut().set_authenticated(authenticated);
            return Step::Return;
        }
        if verdict == Verdict::Accepted {
            attempts.accepted();
            let authenticated = authenticated(attempts);
            answer.body_mut().set_authenticated(Some(authenticated));
            self.mark(answer);
            return Step::Return;
        }
        if verdict.is_refusal() {
            tracing::debug!(
                secret = %attempts.secret_id(),
                attempt = attempts.attempts(),
                status = answer.status().as_u16(),
                "the server refused a client secret"
            );
        }
        // Asked now and not at the start, so that a request that is accepted pays nothing for it.
        if verdict == Verdict::Refused && self.template.is_single_use() {
            self.spare_grant();
            self.mark(answer);
            return Step::Return;
        }
        let next = attempts.conclude(verdict, now());
        let step = self.follow(next, verdict);
        if matches!(step, Step::Return) {
            self.mark(answer);
        }
        step
    }

    /// The end of a request whose grant may have been used up by the refused attempt.
    fn spare_grant(&mut self) {
        let Some(attempts) = self.attempts.take() else { return };
        let mut attempts = attempts.single_use();
        // The refusal is counted, and nothing follows.
        let _ = attempts.conclude(Verdict::Refused, now());
        tracing::warn!(
            secret = %attempts.secret_id(),
            "the server refused a client secret, and the caller gets its answer: the request's grant can \
             be used once, and this server is not known to look at the client first (see \
             keyswap_tower::ClientFirst)"
        );
        self.attempts = Some(attempts);
    }

    /// What follows the wait for a newer list.
    pub(super) fn resume<A: Body>(&mut self, answer: &mut Response<AnswerBody<A>>) -> Step {
        let Some(attempts) = &mut self.attempts else { return Step::Return };
        let next = attempts.resume(now());
        let step = self.follow(next, Verdict::Refused);
        if matches!(step, Step::Return) {
            self.mark(answer);
        }
        step
    }

    fn follow(&self, next: Next, verdict: Verdict) -> Step {
        match next {
            Next::Send(_) => Step::Send,
            Next::WaitThenSend(pause, _) => Step::PauseThenSend(pause),
            Next::WaitForRevision(revision, most) => Step::Wait(revision, most),
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
                Step::Return
            }
        }
    }

    /// Puts on the caller's answer what others have to know of it.
    fn mark<A: Body>(&self, answer: &mut Response<AnswerBody<A>>) {
        if !self.replaced && !self.shared.mark_answers {
            return;
        }
        let authenticated = answer.body().authenticated().cloned();
        if self.replaced {
            answer.extensions_mut().insert(SignedBelow(authenticated.clone()));
        }
        if let Some(authenticated) = authenticated.filter(|_| self.shared.mark_answers) {
            answer.extensions_mut().insert(authenticated);
        }
    }

    /// The answer to the only attempt. The body of such an answer is not looked at.
    pub(super) fn conclude_only<A: Body>(&mut self, answer: Response<A>) -> Response<AnswerBody<A>>
    where
        V: ReadVerdict,
    {
        let (head, body) = answer.into_parts();
        let verdict = self.attempts.as_ref().and_then(|_| self.shared.profile.read_head(&head));
        let mut answer = Response::from_parts(head, AnswerBody::untouched(body));
        let step = self.conclude(verdict.unwrap_or(Verdict::Inconclusive), &mut answer);
        if !matches!(step, Step::Return) {
            // Counted, but what the policy would do next cannot be done.
            self.attempts.iter_mut().for_each(Attempts::withdraw);
            self.mark(&mut answer);
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

/// What became of a request that a secret was put on.
struct Signed {
    /// In place of the caller's.
    body: Option<Bytes>,
    replaced: bool,
}

fn sign<C: Credential>(
    credential: &C,
    secret: &Secret,
    head: &mut request::Parts,
    body: &Bytes,
) -> Result<Signed, Unsuitable> {
    let values = head.headers.len();
    let (body, replaced) = match credential.apply(secret, head, Some(body))? {
        Applied::ToHead => {
            return Ok(Signed { body: None, replaced: head.headers.len() == values });
        }
        Applied::ToBody(body) => (body, false),
        Applied::ToBodyInstead(body) => (body, true),
    };
    if head.headers.contains_key(CONTENT_LENGTH) {
        head.headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
    }
    Ok(Signed { body: Some(body), replaced })
}

fn warn_passed_over(secret: &SecretId, reason: Unsuitable) {
    tracing::warn!(
        %secret,
        %reason,
        "a client secret was passed over, since it cannot be put on a request"
    );
}

fn authenticated(attempts: &Attempts) -> Authenticated {
    if attempts.promoted() {
        tracing::info!(secret = %attempts.secret_id(), "a fallback is the preferred client secret now");
    }
    Authenticated {
        id: attempts.secret_id().clone(),
        attempts: attempts.attempts(),
        promoted: attempts.promoted(),
    }
}
