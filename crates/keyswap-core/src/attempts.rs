//! Which secret a request tries, and what follows each answer.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use smallvec::SmallVec;

use crate::policy::{delay_before_pass, spread};
use crate::ring::{Beginning, Entry};
use crate::{Revision, Secret, SecretId, SecretRing, Verdict};

/// What to do after an answer.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Next {
    /// Send the request again with this secret.
    Send(Secret),
    /// Wait, then send the request again with this secret.
    WaitThenSend(Duration, Secret),
    /// Wait for a revision of the ring after this one, at most for the given time, then ask
    /// [`Attempts::resume`].
    WaitForRevision(Revision, Duration),
    /// The answer is the caller's.
    Done,
}

/// How many passes a request makes itself before those of others count.
const PASSES_OF_ITS_OWN: u32 = 3;

/// The fallback decision for one request.
///
/// The driver sends the request with the secret it is given, reads the [`Verdict`] of the answer and
/// does what [`conclude`](Self::conclude) says. The rules:
///
/// 1. Only a refusal leads to another attempt: [`Verdict::Refused`] or [`Verdict::RefusedBeforeGrant`].
/// 2. Within a pass each secret is tried once, in the order of the ring at that time, so that a list
///    that was replaced or reordered meanwhile counts from the next attempt on.
/// 3. While nodes of the server may disagree, a pass in which all were refused is followed by another
///    after a short, growing pause, within the bounds of the [`FallbackPolicy`](crate::FallbackPolicy).
///    A pass that failed for this and that many other requests in a row, with no acceptance between
///    them, ends this.
/// 4. Otherwise, where something keeps the list up to date, the request waits once for a newer list.
/// 5. After that the answer is the caller's, and most later requests try the preferred secret alone
///    until one is accepted or a newer list arrives.
///
/// Dropping it while an attempt has no verdict counts that one as inconclusive: the secret may have been
/// sent, and a report that it is unused has to be true.
pub struct Attempts {
    ring: SecretRing,
    current: Arc<Entry>,
    beginning: Beginning,
    /// When the first attempt was refused: nothing before that asks for the time.
    refused_at: Option<Instant>,
    deadline: Option<Instant>,
    /// What the jitter of the pauses is drawn from; taken from the ring by the first pause.
    seed: Option<u64>,
    /// In this pass; the first `unsuitable` of them in every pass, since the request cannot carry them.
    /// Most lists hold two secrets or fewer.
    refused: SmallVec<[SecretId; 2]>,
    unsuitable: usize,
    pass: u32,
    attempts: u32,
    preferred_only: bool,
    single_use: bool,
    /// The revision that the choice of `current`, or of nothing more, was made under.
    revision: Revision,
    waited: bool,
    promoted: bool,
    /// Whether an attempt was begun that has no verdict yet.
    open: bool,
}

impl Attempts {
    /// Begins a request, and gives the secret for the first attempt.
    #[must_use]
    pub fn begin(ring: &SecretRing) -> (Self, Secret) {
        let attempts = Self::new(ring);
        let secret = attempts.secret().clone();
        (attempts, secret)
    }

    /// As [`begin`](Self::begin), with the number that the jitter of the pauses is drawn from: for
    /// simulations that must come out the same each time.
    #[must_use]
    pub fn begin_seeded(ring: &SecretRing, seed: u64) -> (Self, Secret) {
        let (mut attempts, secret) = Self::begin(ring);
        attempts.seed = Some(seed);
        (attempts, secret)
    }

    /// As [`begin`](Self::begin), for a driver that needs no handle of its own on the secret: it asks for
    /// [`secret`](Self::secret).
    #[must_use]
    pub fn new(ring: &SecretRing) -> Self {
        let (current, beginning) = ring.leader();
        Self {
            ring: ring.clone(),
            current,
            beginning,
            refused_at: None,
            deadline: None,
            seed: None,
            refused: SmallVec::new(),
            unsuitable: 0,
            pass: 1,
            attempts: 1,
            preferred_only: false,
            single_use: false,
            revision: Revision::INITIAL,
            waited: false,
            promoted: false,
            open: true,
        }
    }

    /// Lets no pause or wait reach past `deadline`: the caller's own time limit.
    #[must_use]
    pub fn with_deadline(mut self, deadline: Instant) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// For a request whose grant can be used once: an authorization code (RFC 6749 section 4.1.2: "The
    /// client MUST NOT use the authorization code more than once"; a server should then revoke what it
    /// issued for it), or a refresh token that is rotated (RFC 9700 section 4.14.2).
    ///
    /// Another attempt is another use of the grant, unless the server never looked at it. So what
    /// follows a refusal is as for other requests after [`Verdict::RefusedBeforeGrant`], while after
    /// [`Verdict::Refused`] the answer is the caller's: it is counted, and neither changes the order nor
    /// starts a cool-down, since the other secrets were not tried.
    ///
    /// ```
    /// use std::time::Instant;
    /// use keyswap_core::{Attempts, Next, Secret, SecretList, SecretRing, Verdict};
    ///
    /// let old = Secret::new("old".parse()?, "Vq3hCc0Zc1Jx")?;
    /// let new = Secret::new("new".parse()?, "yT7mXo2LrWq8")?;
    /// let ring = SecretRing::new(SecretList::new([old, new])?);
    /// let now = Instant::now();
    ///
    /// let (attempts, _) = Attempts::begin(&ring);
    /// let mut attempts = attempts.single_use();
    /// assert!(matches!(attempts.conclude(Verdict::Refused, now), Next::Done));
    ///
    /// let (attempts, _) = Attempts::begin(&ring);
    /// let mut attempts = attempts.single_use();
    /// assert!(matches!(attempts.conclude(Verdict::RefusedBeforeGrant, now), Next::Send(_)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn single_use(mut self) -> Self {
        self.single_use = true;
        self
    }

    /// Takes back the attempt that was decided on, since its secret was put on no request. It is not
    /// counted.
    pub fn withdraw(&mut self) {
        self.open = false;
    }

    /// Takes back the attempt that was decided on, as [`withdraw`](Self::withdraw) does, and gives the
    /// next secret of this pass to make it with: for a secret that cannot be put on this request while
    /// another one may, since the client id that goes with it is not known yet. `None` when there is no
    /// other.
    ///
    /// The request does not come back to a secret that was passed over, but under a newer revision.
    ///
    /// ```
    /// use keyswap_core::{Attempts, Secret, SecretList, SecretRing};
    ///
    /// let staged = Secret::new("staged".parse()?, "yT7mXo2LrWq8")?;
    /// let old = Secret::new("old".parse()?, "Vq3hCc0Zc1Jx")?;
    /// let ring = SecretRing::new(SecretList::new([staged, old])?);
    ///
    /// let (mut attempts, first) = Attempts::begin(&ring);
    /// assert_eq!(first.id().as_str(), "staged");
    /// let next = attempts.pass_over().expect("the list holds another");
    /// assert_eq!((next.id().as_str(), attempts.attempts()), ("old", 1));
    /// assert!(attempts.pass_over().is_none());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn pass_over(&mut self) -> Option<Secret> {
        self.withdraw();
        self.refused.insert(self.unsuitable, self.current.secret.id().clone());
        self.unsuitable += 1;
        self.choose_next()
    }

    /// Takes in what the answer to the last attempt said, at `now`.
    #[must_use]
    pub fn conclude(&mut self, verdict: Verdict, now: Instant) -> Next {
        self.open = false;
        match verdict {
            Verdict::Accepted => {
                self.accepted();
                Next::Done
            }
            Verdict::Refused | Verdict::RefusedBeforeGrant => {
                self.current.counters.count_refused();
                let next = match self.single_use && verdict != Verdict::RefusedBeforeGrant {
                    true => Next::Done,
                    false => self.after_refusal(now),
                };
                self.note_failed(&next);
                next
            }
            Verdict::Inconclusive => {
                self.current.counters.count_inconclusive();
                Next::Done
            }
        }
    }

    /// As [`conclude`](Self::conclude) with [`Verdict::Accepted`], which needs no time.
    pub fn accepted(&mut self) {
        self.open = false;
        self.current.counters.count_accepted();
        if self.refused_at.is_some() {
            self.ring.outcomes().count_saved();
        }
        self.promoted |= self.ring.learn(&self.current);
    }

    /// Goes on after [`Next::WaitForRevision`], whether the revision came or the time ran out.
    #[must_use]
    pub fn resume(&mut self, now: Instant) -> Next {
        if self.ring.revision() > self.revision {
            self.refused.clear();
            // What the secret needs may have come with it.
            self.unsuitable = 0;
            if let Some(secret) = self.take_next() {
                return Next::Send(secret);
            }
        }
        let next = self.give_up(now);
        self.note_failed(&next);
        next
    }

    /// Counts the request as failed, if the refusal is its last answer.
    fn note_failed(&self, next: &Next) {
        if matches!(next, Next::Done) {
            self.ring.outcomes().count_failed();
        }
    }

    /// The secret that the last attempt was made with, or is to be made with.
    #[must_use]
    pub fn secret(&self) -> &Secret {
        &self.current.secret
    }

    /// The id of that secret.
    #[must_use]
    pub fn secret_id(&self) -> &SecretId {
        self.current.secret.id()
    }

    /// How many attempts were begun: 1 or more.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// Whether this request made its secret the preferred one.
    #[must_use]
    pub fn promoted(&self) -> bool {
        self.promoted
    }

    /// Whether this request tries the preferred secret alone, because every secret was refused to
    /// another one lately and none was accepted since.
    ///
    /// False for the request that found that out, and for the few that look again: the ones worth a
    /// warning.
    #[must_use]
    pub fn preferred_only(&self) -> bool {
        self.preferred_only
    }

    fn after_refusal(&mut self, now: Instant) -> Next {
        if self.refused_at.is_none() {
            self.refused_at = Some(now);
            self.preferred_only = self.beginning.cool_down.running && self.ring.cooling_down(now);
        }
        if self.preferred_only {
            return Next::Done;
        }
        self.refused.push(self.current.secret.id().clone());
        if let Some(secret) = self.take_next() {
            return Next::Send(secret);
        }
        // A list that is out of date looks just like nodes that disagree: ask in both cases.
        let followed = self.ring.want_refresh();
        let in_a_row = self.ring.count_refused_pass();
        if self.ring.in_transition(now)
            && !self.others_refused_as_well(in_a_row)
            && let Some(next) = self.another_pass(now)
        {
            return next;
        }
        if followed && !self.waited {
            let wait = self.remaining(now, self.ring.policy().revision_wait);
            if !wait.is_zero() {
                self.waited = true;
                return Next::WaitForRevision(self.revision, wait);
            }
        }
        self.give_up(now)
    }

    /// Whether so many passes failed in a row, this request's and others', that no disagreement of
    /// nodes explains it: then every request in flight would only repeat what all find.
    ///
    /// A node that switches between two attempts fails one pass of every request that it has in flight,
    /// but not their second as well.
    fn others_refused_as_well(&self, in_a_row: u32) -> bool {
        self.pass >= PASSES_OF_ITS_OWN && in_a_row >= self.ring.policy().passes.saturating_mul(2)
    }

    fn another_pass(&mut self, now: Instant) -> Option<Next> {
        let policy = self.ring.policy();
        if self.pass >= policy.passes {
            return None;
        }
        let seed = *self.seed.get_or_insert_with(|| self.ring.next_request());
        let delay = delay_before_pass(self.pass + 1, spread(seed ^ u64::from(self.pass) << 32));
        let end = self.refused_at.unwrap_or(now) + policy.time_limit;
        if now + delay > self.deadline.map_or(end, |deadline| end.min(deadline)) {
            return None;
        }
        self.pass += 1;
        self.refused.truncate(self.unsuitable);
        let secret = self.take_next()?;
        Some(if delay.is_zero() { Next::Send(secret) } else { Next::WaitThenSend(delay, secret) })
    }

    fn take_next(&mut self) -> Option<Secret> {
        let secret = self.choose_next()?;
        self.attempts += 1;
        Some(secret)
    }

    fn choose_next(&mut self) -> Option<Secret> {
        let (besides, revision) = self.ring.first_besides(&self.refused);
        self.revision = revision;
        self.current = besides?;
        self.open = true;
        Some(self.current.secret.clone())
    }

    fn remaining(&self, now: Instant, most: Duration) -> Duration {
        self.deadline.map_or(most, |deadline| most.min(deadline.saturating_duration_since(now)))
    }

    fn give_up(&self, now: Instant) -> Next {
        self.ring.start_cool_down(self.beginning, now);
        Next::Done
    }
}

impl Drop for Attempts {
    fn drop(&mut self) {
        if self.open {
            self.current.counters.count_inconclusive();
        }
    }
}

impl fmt::Debug for Attempts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attempts")
            .field("secret", self.secret_id())
            .field("attempts", &self.attempts)
            .field("pass", &self.pass)
            .finish_non_exhaustive()
    }
}
