//! Times in which the server refuses everything, and clear changes.

use std::time::{Duration, Instant};

use keyswap_core::{Attempts, FallbackPolicy, Next, Revision, SecretRing, Verdict};

use crate::LOADS;
use crate::dice::{hash, share};
use crate::run::{Leader, list, run};
use crate::world::{Balancing, Change, SECOND, Scenario};

#[test]
fn when_everything_is_refused_a_request_costs_at_most_1_05_attempts() {
    println!("| everything refused, requests/s | requests | attempts a request | most |");
    println!("| ---: | ---: | ---: | ---: |");
    for load in LOADS {
        // From the first refusal on; the passes of the requests that find it out are in it.
        let requests = if load > 100.0 { 120_000.0 } else { 10_000.0 };
        let scenario = Scenario {
            nodes: 3,
            window: (requests / load) as i64 * SECOND,
            load,
            balancing: Balancing::PerAttempt,
            change: Change::Outage,
            programs: 3,
            seed: 1,
        };
        let count = run(&scenario, &FallbackPolicy::default(), Leader::Learnt);
        println!("| {load} | {} | {:.4} | {} |", count.requests, count.mean(), count.most);
        assert_eq!(count.failed, count.requests);
        assert!(count.attempts > count.requests, "nobody ever looked again");
        assert!(count.mean() <= 1.05, "{load} requests/s: {:.4} attempts a request", count.mean());
    }
}

/// Runs one request; gives the id that led, and whether it was accepted.
fn request(ring: &SecretRing, now: &mut Instant, accepts: impl Fn(&str) -> bool) -> (String, bool) {
    let (mut attempts, mut secret) = Attempts::begin_seeded(ring, 7);
    let leader = secret.id().to_string();
    *now += Duration::from_millis(10);
    loop {
        let accepted = accepts(secret.id().as_str());
        let verdict = if accepted { Verdict::Accepted } else { Verdict::Refused };
        secret = match attempts.conclude(verdict, *now) {
            Next::Send(secret) => secret,
            Next::WaitThenSend(pause, secret) => {
                *now += pause;
                secret
            }
            _ => return (leader, accepted),
        };
    }
}

#[test]
fn after_a_clear_change_the_order_is_right_within_eight_requests_whatever_came_before() {
    let mut slowest = 0;
    for history in 0..2_000 {
        let secrets = 2 + hash(&[history, 1]) % 15;
        let ids: Vec<_> = (0..secrets).map(|number| format!("id{number}")).collect();
        let ids: Vec<_> = ids.iter().map(String::as_str).collect();
        let chosen = |which: u64| ids[(hash(&[history, which]) % secrets) as usize];
        let mut now = Instant::now();
        let policy = FallbackPolicy::default();
        let ring = SecretRing::starting(list(&ids), Revision::new(1), policy, now);
        // Some nodes take the one, some the other, and each attempt reaches any of them.
        let (one, other, part) = (chosen(2), chosen(3), share(&[history, 4]));
        for number in 0..hash(&[history, 5]) % 60 {
            let holds = if share(&[history, 6, number]) < part { one } else { other };
            request(&ring, &mut now, |id| id == holds);
        }
        if history % 5 == 0 {
            // A list that was published in another order meanwhile, for better or worse.
            let mut ids = ids.clone();
            ids.rotate_left((hash(&[history, 7]) % secrets) as usize);
            ring.replace_at_time(list(&ids), Revision::new(2), now);
        }
        let right = chosen(8);
        let wrong = (0..20)
            .filter(|_| {
                let (leader, accepted) = request(&ring, &mut now, |id| id == right);
                assert!(accepted);
                leader != right
            })
            .count();
        slowest = slowest.max(wrong);
        assert!(wrong <= 8, "history {history}: {wrong} requests led with the wrong secret");
    }
    println!("the slowest of 2,000 clear changes took {slowest} requests");
    assert!(slowest > 3, "the histories make it too easy");
}
