//! Faults on demand: what goes wrong at the server, where, and how many times.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// A call of the server that a fault can be tied to.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Endpoint {
    /// The token endpoint.
    Token,
    /// Reading a client at the management API.
    ReadClient,
    /// Reading the log of the tenant at the management API.
    ReadLog,
    /// Updating a client at the management API.
    UpdateClient,
    /// Having the server choose a new secret at the management API.
    RotateSecret,
    /// Listing a client's secrets at the management API, or reading one of them.
    ListSecrets,
    /// Adding a secret at the management API.
    AddSecret,
    /// Activating or deactivating a secret at the management API.
    SetActive,
    /// Removing a secret at the management API.
    RemoveSecret,
    /// Any call of the management API.
    Management,
}

impl Endpoint {
    /// Whether it changes nothing.
    pub(crate) fn reads(self) -> bool {
        matches!(self, Self::ReadClient | Self::ReadLog | Self::ListSecrets)
    }

    /// Whether it asks for a change.
    pub(crate) fn writes(self) -> bool {
        !self.reads() && self != Self::Token
    }

    fn covers(self, called: Self) -> bool {
        self == called || (self == Self::Management && called != Self::Token)
    }
}

/// How many requests a fault meets before it is used up.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Times(
    /// The number of requests.
    pub u64,
);

impl Times {
    /// One request.
    pub const ONCE: Self = Self(1);
    /// Every request, until [`clear_faults`](crate::AuthorizationServer::clear_faults).
    pub const EVERY: Self = Self(u64::MAX);
}

/// Something that goes wrong.
///
/// Those with an `endpoint` meet a request when it arrives, before anything about it is looked at. The others meet only
/// a request that would change a secret and is right in all respects: authenticated, permitted and well-formed.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Fault {
    /// The request waits before it is served. Goes together with other faults.
    ///
    /// A caller that gives up meanwhile is not served at all, so nothing is changed.
    Latency {
        /// Where.
        endpoint: Endpoint,
        /// How long the request waits.
        delay: Duration,
    },
    /// 429 in the vendor's shape.
    RateLimited {
        /// Where.
        endpoint: Endpoint,
        /// `Retry-After`, in whole seconds, rounded up; the header is absent without it.
        retry_after: Option<Duration>,
        /// `X-RateLimit-Reset` (at Okta `X-Rate-Limit-Reset`) as Unix seconds this far ahead, rounded up, with the
        /// limit and what remains of it; the three headers are absent without it.
        reset_after: Option<Duration>,
    },
    /// An error in the vendor's shape; nothing is changed.
    ServerError {
        /// Where.
        endpoint: Endpoint,
        /// The status, 500 to 599.
        status: u16,
    },
    /// A page of HTML, as a proxy in front of the server would answer.
    Html {
        /// Where.
        endpoint: Endpoint,
        /// The status, 200 to 599: 502 for a gateway's own page, 200 for a captive portal.
        status: u16,
    },
    /// The connection is closed without an answer, on arrival.
    AnswerLost {
        /// Where.
        endpoint: Endpoint,
    },
    /// The change is applied, then the connection is closed without an answer.
    AnswerLostAfterChange,
    /// The connection is closed without an answer, and the change is not applied, now or later.
    AnswerLostBeforeChange,
    /// The change is applied, then the answer waits: time to end the program that waits for it.
    LatencyAfterChange {
        /// How long the answer waits.
        delay: Duration,
    },
    /// The change is applied, then the answer is an error: a client that repeats it changes twice.
    ServerErrorAfterChange {
        /// The status, 500 to 599.
        status: u16,
    },
    /// The connection is closed without an answer, and the change is applied later, even over a change that was made
    /// in between.
    LateChange {
        /// How much later.
        after: Duration,
    },
}

impl Fault {
    /// Names the mistake in a fault that could not be carried out.
    pub(crate) fn mistake(&self) -> Option<String> {
        match self {
            Self::ServerError { status, .. } | Self::ServerErrorAfterChange { status }
                if !(500..600).contains(status) =>
            {
                Some(format!("a server error has a status from 500 to 599, not {status}"))
            }
            Self::Html { status, .. } if !(200..600).contains(status) => {
                Some(format!("a page of HTML has a status from 200 to 599, not {status}"))
            }
            _ => None,
        }
    }
}

/// What a request meets on its arrival.
#[derive(Debug, Default, Eq, PartialEq)]
pub(crate) struct Arrival {
    pub(crate) delay: Duration,
    pub(crate) instead: Option<Fault>,
}

#[derive(Debug)]
struct Armed {
    fault: Fault,
    left: u64,
}

/// The faults that are still to happen, in the order in which they were injected.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    state: Mutex<FaultsState>,
}

#[derive(Debug, Default)]
struct FaultsState {
    armed: Vec<Armed>,
    /// How often each one happened, in the order in which they did first.
    happened: Vec<(Fault, u64)>,
}

/// How long after its request a change is made that meets this; `None` if it is not made at all.
pub(crate) fn change_after(fault: Option<&Fault>) -> Option<Duration> {
    match fault {
        Some(Fault::AnswerLostBeforeChange) => None,
        Some(Fault::LateChange { after }) => Some(*after),
        _ => Some(Duration::ZERO),
    }
}

impl Faults {
    pub(crate) fn inject(&self, fault: Fault, times: Times) {
        self.with(|state| state.armed.push(Armed { fault, left: times.0 }));
    }

    pub(crate) fn clear(&self) {
        self.with(|state| state.armed.clear());
    }

    pub(crate) fn happened(&self) -> Vec<(Fault, u64)> {
        self.with(|state| state.happened.clone())
    }

    /// Takes every latency and the first other fault that is tied to `called`.
    pub(crate) fn on_arrival(&self, called: Endpoint) -> Arrival {
        self.with(|state| {
            let mut arrival = Arrival::default();
            for armed in &mut state.armed {
                let (Fault::Latency { endpoint, .. }
                | Fault::RateLimited { endpoint, .. }
                | Fault::ServerError { endpoint, .. }
                | Fault::Html { endpoint, .. }
                | Fault::AnswerLost { endpoint }) = &armed.fault
                else {
                    continue;
                };
                if !endpoint.covers(called) || armed.left == 0 {
                    continue;
                }
                match &armed.fault {
                    Fault::Latency { delay, .. } => arrival.delay += *delay,
                    other if arrival.instead.is_none() => arrival.instead = Some(other.clone()),
                    _ => continue,
                }
                armed.spend();
                count(&mut state.happened, &armed.fault);
            }
            arrival
        })
    }

    /// Takes the first fault that is tied to a change.
    pub(crate) fn on_change(&self) -> Option<Fault> {
        self.with(|state| {
            let armed = state.armed.iter_mut().find(|armed| {
                armed.left > 0
                    && matches!(
                        armed.fault,
                        Fault::AnswerLostAfterChange
                            | Fault::AnswerLostBeforeChange
                            | Fault::LatencyAfterChange { .. }
                            | Fault::ServerErrorAfterChange { .. }
                            | Fault::LateChange { .. }
                    )
            })?;
            armed.spend();
            count(&mut state.happened, &armed.fault);
            Some(armed.fault.clone())
        })
    }

    /// The lock is held for one pass over the list and never over an await.
    fn with<T>(&self, act: impl FnOnce(&mut FaultsState) -> T) -> T {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let result = act(&mut state);
        state.armed.retain(|armed| armed.left > 0);
        result
    }
}

fn count(happened: &mut Vec<(Fault, u64)>, fault: &Fault) {
    match happened.iter_mut().find(|(known, _)| known == fault) {
        Some((_, times)) => *times += 1,
        None => happened.push((fault.clone(), 1)),
    }
}

impl Armed {
    fn spend(&mut self) {
        if self.left != Times::EVERY.0 {
            self.left -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_happens_as_often_as_asked_and_only_where_asked() {
        let faults = Faults::default();
        let fault = Fault::ServerError { endpoint: Endpoint::UpdateClient, status: 500 };
        faults.inject(fault.clone(), Times(2));
        assert_eq!(faults.on_arrival(Endpoint::Token), Arrival::default());
        assert_eq!(faults.on_arrival(Endpoint::ReadClient), Arrival::default());
        for _ in 0..2 {
            assert_eq!(faults.on_arrival(Endpoint::UpdateClient).instead, Some(fault.clone()));
        }
        assert_eq!(faults.on_arrival(Endpoint::UpdateClient), Arrival::default());
        faults.inject(Fault::AnswerLostAfterChange, Times::EVERY);
        assert_eq!(faults.on_change(), Some(Fault::AnswerLostAfterChange));
        assert_eq!(faults.happened(), [(fault, 2), (Fault::AnswerLostAfterChange, 1)]);
    }

    #[test]
    fn a_management_fault_meets_every_management_call_and_no_token_request() {
        let faults = Faults::default();
        faults.inject(Fault::AnswerLost { endpoint: Endpoint::Management }, Times::EVERY);
        assert!(faults.on_arrival(Endpoint::Token).instead.is_none());
        for called in [Endpoint::ReadClient, Endpoint::UpdateClient, Endpoint::RotateSecret] {
            assert!(faults.on_arrival(called).instead.is_some());
        }
        faults.clear();
        assert!(faults.on_arrival(Endpoint::ReadClient).instead.is_none());
    }

    #[test]
    fn latency_goes_together_with_the_first_other_fault_and_leaves_the_second_for_later() {
        let endpoint = Endpoint::Token;
        let delay = Duration::from_millis(5);
        let faults = Faults::default();
        faults.inject(Fault::AnswerLost { endpoint }, Times::ONCE);
        faults.inject(Fault::Latency { endpoint, delay }, Times::ONCE);
        faults.inject(Fault::Html { endpoint, status: 502 }, Times::ONCE);
        let first = faults.on_arrival(endpoint);
        assert_eq!(first, Arrival { delay, instead: Some(Fault::AnswerLost { endpoint }) });
        let second = faults.on_arrival(endpoint);
        assert_eq!(second.delay, Duration::ZERO);
        assert_eq!(second.instead, Some(Fault::Html { endpoint, status: 502 }));
    }

    #[test]
    fn faults_of_a_change_are_left_alone_by_arrivals() {
        let faults = Faults::default();
        faults.inject(Fault::AnswerLostAfterChange, Times::ONCE);
        faults.inject(Fault::AnswerLostBeforeChange, Times::ONCE);
        assert_eq!(faults.on_arrival(Endpoint::UpdateClient), Arrival::default());
        assert_eq!(faults.on_change(), Some(Fault::AnswerLostAfterChange));
        assert_eq!(faults.on_change(), Some(Fault::AnswerLostBeforeChange));
        assert_eq!(faults.on_change(), None);
    }

    #[test]
    fn a_status_that_is_no_error_is_named() {
        let fault = Fault::ServerError { endpoint: Endpoint::Token, status: 200 };
        assert_eq!(
            fault.mistake().unwrap(),
            "a server error has a status from 500 to 599, not 200"
        );
        assert_eq!(Fault::Html { endpoint: Endpoint::Token, status: 200 }.mistake(), None);
    }
}
