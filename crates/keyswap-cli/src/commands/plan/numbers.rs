//! The numbers that a rotation waits for, each with where it comes from.

use std::time::Duration;

use keyswap_admin::rotation::Wait;
use serde_json::{Value, json};

use super::How;
use crate::configuration::OfClient;

/// A number and where it comes from.
pub(crate) struct Number {
    pub(crate) name: &'static str,
    pub(crate) time: Duration,
    pub(crate) from: String,
}

/// All of them, for a client at a server of this kind whose nodes disagree for so long.
pub(super) fn of(
    client: &OfClient<'_>,
    how: &How,
    (window, kind): (Duration, &'static str),
) -> Vec<Number> {
    let policy = how.policy(client, window);
    let given = |is_given: bool, otherwise: &str| match is_given {
        true => "[policy] in the configuration".to_owned(),
        false => otherwise.to_owned(),
    };
    let window_in_force = policy.propagation_window.unwrap_or(window);
    let patience = match (how.patience, client.patience()) {
        (Some(patience), _) => (patience, "--patience".to_owned()),
        (None, Some(given)) => (given, self::given(true)),
        (None, None) => {
            let policy = policy.clone().propagation_window(window_in_force);
            (policy.usual_patience(), self::given(false))
        }
    };
    let mut numbers = vec![
        Number {
            name: PROPAGATION_WINDOW,
            time: window_in_force,
            from: given(client.propagation_window().is_some(), kind),
        },
        Number {
            name: QUIET_PERIOD,
            time: policy.quiet_period.max(window_in_force),
            from: given(
                client.quiet_period().is_some(),
                "the propagation window, and the longest `uses_every` of an application",
            ),
        },
        Number { name: "patience", time: patience.0, from: patience.1 },
        Number {
            name: "in-flight bound",
            time: policy.in_flight_bound,
            from: format!(
                "{}; waited for only if an answer to a change was lost",
                self::given(client.in_flight_bound().is_some())
            ),
        },
    ];
    if let Some(time) = how.compromised {
        let from = if time == Duration::from_secs(60) { "the default" } else { "--deadline" };
        numbers.push(Number { name: "deadline", time, from: from.to_owned() });
    }
    numbers
}

fn given(is_given: bool) -> String {
    if is_given { "[policy] in the configuration" } else { "the default" }.to_owned()
}

const PROPAGATION_WINDOW: &str = "propagation window";
const QUIET_PERIOD: &str = "quiet period";

/// The name of a number that is waited for.
pub(super) fn name(wait: Wait) -> &'static str {
    match wait {
        Wait::PropagationWindow => PROPAGATION_WINDOW,
        Wait::QuietPeriod => QUIET_PERIOD,
        _ => "observation period",
    }
}

impl Number {
    pub(super) fn as_json(&self) -> Value {
        json!({ "name": self.name, "ms": milliseconds(self.time), "from": self.from })
    }
}

pub(super) fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
