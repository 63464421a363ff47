//! The fallback decision, request by request, and in a simulation of nodes that disagree.

use std::time::{Duration, Instant};

use keyswap_core::{
    Attempts, FallbackPolicy, Next, Revision, Secret, SecretList, SecretRing, Verdict,
};

fn list(ids: &[&str]) -> SecretList {
    let secret = |id: &&str| Secret::new(id.parse().unwrap(), format!("value-of-{id}")).unwrap();
    SecretList::new(ids.iter().map(secret)).unwrap()
}

/// Runs one request against a server that answers by id; time passes only where the policy waits.
fn request(ring: &SecretRing, now: &mut Instant, mut server: impl FnMut(&str) -> Verdict) -> Run {
    let (mut attempts, mut secret) = Attempts::begin_seeded(ring, *now, 7);
    let mut tried = Vec::new();
    loop {
        tried.push(secret.id().to_string());
        let verdict = server(secret.id().as_str());
        let mut next = attempts.conclude(verdict, *now);
        if let Next::WaitForRevision(_, wait) = next {
            *now += wait;
            next = attempts.resume(*now);
        }
        secret = match next {
            Next::Send(secret) => secret,
            Next::WaitThenSend(delay, secret) => {
                *now += delay;
                secret
            }
            _ => return Run { tried, verdict, promoted: attempts.promoted() },
        };
    }
}

struct Run {
    tried: Vec<String>,
    verdict: Verdict,
    promoted: bool,
}

fn accepts(accepted: &'static str) -> impl FnMut(&str) -> Verdict {
    move |id| if id == accepted { Verdict::Accepted } else { Verdict::Refused }
}

/// Past the propagation window of a fresh ring, so that nothing is in transition.
fn settled(ring: &SecretRing) -> Instant {
    let _ = ring;
    Instant::now() + Duration::from_secs(3600)
}

#[test]
fn only_a_refusal_leads_to_another_attempt() {
    let ring = SecretRing::new(list(&["old", "new"]));
    let mut now = settled(&ring);
    assert_eq!(request(&ring, &mut now, |_| Verdict::Accepted).tried, ["old"]);
    let run = request(&ring, &mut now, |_| Verdict::Inconclusive);
    assert_eq!((run.tried.len(), run.verdict), (1, Verdict::Inconclusive));
    assert_eq!(request(&ring, &mut now, accepts("new")).tried, ["old", "new"]);
}

#[test]
fn outside_a_transition_each_secret_is_tried_at_most_once() {
    let ring = SecretRing::new(list(&["a", "b", "c"]));
    let mut now = settled(&ring);
    let run = request(&ring, &mut now, |_| Verdict::Refused);
    assert_eq!(run.tried, ["a", "b", "c"]);
    assert_eq!(run.verdict, Verdict::Refused);
}

#[test]
fn inside_a_transition_passes_repeat_up_to_twelve_within_five_seconds() {
    let ring = SecretRing::new(list(&["old", "new"]));
    let start = Instant::now();
    let mut now = start;
    let run = request(&ring, &mut now, |_| Verdict::Refused);
    assert_eq!(run.tried.len(), 24);
    assert!(now - start < Duration::from_secs(5));
}

#[test]
fn a_deadline_of_the_caller_allows_no_pass_that_starts_behind_it() {
    let ring = SecretRing::new(list(&["old", "new"]));
    let start = Instant::now();
    let (attempts, _) = Attempts::begin_seeded(&ring, start, 7);
    let mut attempts = attempts.with_deadline(start + Duration::from_millis(8));
    let (mut now, mut count) = (start, 1);
    loop {
        match attempts.conclude(Verdict::Refused, now) {
            Next::Send(_) => count += 1,
            Next::WaitThenSend(delay, _) => {
                now += delay;
                count += 1;
            }
            _ => break,
        }
    }
    assert!(now <= start + Duration::from_millis(8));
    assert_eq!(count, 6, "two passes at once, one after up to 5 ms, and no fourth");
}

#[test]
fn a_clear_change_leads_to_the_new_order_within_eight_requests() {
    let ring = SecretRing::new(list(&["old", "new"]));
    let mut now = settled(&ring);
    let mut requests = 0;
    while !request(&ring, &mut now, accepts("new")).promoted {
        requests += 1;
        assert!(requests < 8);
    }
    assert_eq!(request(&ring, &mut now, accepts("new")).tried, ["new"]);
    assert_eq!(ring.usage().promotions, 1);
}

#[test]
fn one_refusal_by_chance_does_not_change_the_order() {
    let ring = SecretRing::new(list(&["old", "new"]));
    let mut now = settled(&ring);
    for _ in 0..50 {
        assert!(!request(&ring, &mut now, accepts("new")).promoted);
        for _ in 0..9 {
            assert_eq!(request(&ring, &mut now, accepts("old")).tried, ["old"]);
        }
    }
}

#[test]
fn a_list_replaced_in_mid_request_counts_from_the_next_attempt_on() {
    let ring = SecretRing::new(list(&["old"]));
    let mut now = settled(&ring);
    let handle = ring.clone();
    let run = request(&ring, &mut now, |id| {
        if id == "old" {
            handle.replace(list(&["new", "old"]));
            return Verdict::Refused;
        }
        Verdict::Accepted
    });
    assert_eq!(run.tried, ["old", "new"]);
}

#[test]
fn a_secret_that_left_the_list_in_mid_request_is_not_tried() {
    let ring = SecretRing::new(list(&["a", "b", "c"]));
    let mut now = settled(&ring);
    let handle = ring.clone();
    let run = request(&ring, &mut now, |id| {
        if id == "a" {
            handle.replace(list(&["a", "c"]));
        }
        if id == "c" { Verdict::Accepted } else { Verdict::Refused }
    });
    assert_eq!(run.tried, ["a", "c"]);
}

#[test]
fn when_every_secret_is_refused_a_followed_ring_waits_once_for_a_newer_list() {
    let ring = SecretRing::new(list(&["old"]));
    let _follower = ring.refresh_wanted();
    let now = settled(&ring);
    let (mut attempts, _) = Attempts::begin(&ring, now);
    let Next::WaitForRevision(revision, wait) = attempts.conclude(Verdict::Refused, now) else {
        panic!("the request should wait");
    };
    assert_eq!((revision, wait), (Revision::INITIAL, Duration::from_secs(1)));
    ring.replace_at(list(&["new"]), Revision::new(1));
    let Next::Send(secret) = attempts.resume(now) else { panic!("the newer list should be tried") };
    assert_eq!(secret.id().as_str(), "new");
    assert!(matches!(attempts.conclude(Verdict::Refused, now), Next::Done), "it waits only once");
}

#[test]
fn a_ring_that_nobody_follows_does_not_wait() {
    let ring = SecretRing::new(list(&["old"]));
    let now = settled(&ring);
    let (mut attempts, _) = Attempts::begin(&ring, now);
    assert!(matches!(attempts.conclude(Verdict::Refused, now), Next::Done));
}

#[test]
fn after_a_request_refused_with_every_secret_the_next_ones_cost_at_most_1_05_attempts() {
    for secrets in [2, 3, 16] {
        let ids: Vec<_> = (0..secrets).map(|n| format!("id{n}")).collect();
        let ring = SecretRing::new(list(&ids.iter().map(String::as_str).collect::<Vec<_>>()));
        let mut now = settled(&ring);
        assert_eq!(request(&ring, &mut now, |_| Verdict::Refused).tried.len(), secrets);
        let attempts: usize =
            (0..10_000).map(|_| request(&ring, &mut now, |_| Verdict::Refused).tried.len()).sum();
        assert!(attempts > 10_000, "one request in a while goes through the whole list");
        assert!(attempts <= 10_500, "{attempts} attempts with {secrets} secrets");
    }
}

#[test]
fn an_acceptance_and_a_new_revision_end_the_cool_down() {
    let ring = SecretRing::new(list(&["old", "new"]));
    let mut now = settled(&ring);
    request(&ring, &mut now, |_| Verdict::Refused);
    assert_eq!(request(&ring, &mut now, accepts("new")).tried, ["old"], "cooling down");
    ring.replace_at(list(&["old", "new"]), Revision::new(1));
    assert_eq!(request(&ring, &mut now, accepts("new")).tried, ["old", "new"]);

    now = settled(&ring) + Duration::from_secs(3600);
    request(&ring, &mut now, |_| Verdict::Refused);
    assert_eq!(request(&ring, &mut now, accepts("old")).tried, ["old"]);
    assert_eq!(request(&ring, &mut now, accepts("new")).tried, ["old", "new"]);
}

/// A small generator for the simulation, so that it comes out the same each time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

/// `nodes` that each switch at a random time in a window of 30 s, a balancer that picks one for each
/// attempt, 100 requests a second.
fn failures_in_window(nodes: u64, passes: u32, seed: u64) -> (u32, u32) {
    let policy = FallbackPolicy::default().maximum_passes(passes);
    let ring = SecretRing::with_policy(list(&["old", "new"]), Revision::INITIAL, policy);
    let mut dice = Dice(seed);
    let start = Instant::now();
    let switches: Vec<_> =
        (0..nodes).map(|_| start + Duration::from_millis(dice.roll(30_000))).collect();
    let (mut failed, mut attempts) = (0, 0);
    for number in 0..3_000 {
        let mut now = start + Duration::from_millis(number * 10);
        let clock = std::cell::Cell::new(now);
        let (mut decision, mut secret) = Attempts::begin_seeded(&ring, now, number);
        loop {
            attempts += 1;
            let node = dice.roll(nodes) as usize;
            let holds = if clock.get() >= switches[node] { "new" } else { "old" };
            let verdict =
                if secret.id().as_str() == holds { Verdict::Accepted } else { Verdict::Refused };
            secret = match decision.conclude(verdict, now) {
                Next::Send(secret) => secret,
                Next::WaitThenSend(delay, secret) => {
                    now += delay;
                    clock.set(now);
                    secret
                }
                _ => {
                    failed += u32::from(verdict != Verdict::Accepted);
                    break;
                }
            };
        }
    }
    (failed, attempts)
}

#[test]
fn inside_a_propagation_window_one_pass_fails_and_twelve_passes_do_not() {
    let one_pass: u32 = (0..5).map(|seed| failures_in_window(3, 1, seed).0).sum();
    assert!(one_pass > 150, "of 15,000 requests {one_pass} failed: the simulation shows no window");
    for nodes in [1, 3, 16] {
        for seed in 0..8 {
            let (failed, attempts) = failures_in_window(nodes, 12, seed);
            assert_eq!(failed, 0, "{nodes} nodes, seed {seed}");
            assert!(attempts < 3_000 * 2, "{attempts} attempts, {nodes} nodes, seed {seed}");
        }
    }
}
