//! The fallback decision, request by request.

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
    let (mut attempts, mut secret) = Attempts::begin_seeded(ring, 7);
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
fn settled() -> Instant {
    Instant::now() + Duration::from_secs(3600)
}

#[test]
fn only_a_refusal_leads_to_another_attempt() {
    let ring = SecretRing::new(list(&["old", "new"]));
    let mut now = settled();
    assert_eq!(request(&ring, &mut now, |_| Verdict::Accepted).tried, ["old"]);
    let run = request(&ring, &mut now, |_| Verdict::Inconclusive);
    assert_eq!((run.tried.len(), run.verdict), (1, Verdict::Inconclusive));
    assert_eq!(request(&ring, &mut now, accepts("new")).tried, ["old", "new"]);
}

#[test]
fn outside_a_transition_each_secret_is_tried_at_most_once() {
    let ring = SecretRing::new(list(&["a", "b", "c"]));
    let mut now = settled();
    let run = request(&ring, &mut now, |_| Verdict::Refused);
    assert_eq!(run.tried, ["a", "b", "c"]);
    assert_eq!(run.verdict, Verdict::Refused);
}

#[test]
fn requests_that_a_fallback_saved_are_counted_and_so_are_those_that_end_refused() {
    let ring = SecretRing::new(list(&["old", "new"]));
    let mut now = settled();
    let counted = || (ring.usage().saved, ring.usage().failed);
    request(&ring, &mut now, |_| Verdict::Accepted);
    request(&ring, &mut now, |_| Verdict::Inconclusive);
    assert_eq!(counted(), (Some(0), Some(0)), "nothing was refused");
    request(&ring, &mut now, accepts("new"));
    assert_eq!(counted(), (Some(1), Some(0)));
    request(&ring, &mut now, |_| Verdict::Refused);
    assert_eq!(counted(), (Some(1), Some(1)), "once, however many secrets were tried");
    let (attempts, _) = Attempts::begin(&ring);
    assert!(matches!(attempts.single_use().conclude(Verdict::Refused, now), Next::Done));
    assert_eq!(counted(), (Some(1), Some(2)));
    // The first attempt was refused, and the server said nothing of the second.
    let mut answers = [Verdict::Refused, Verdict::Inconclusive].into_iter();
    let ring = SecretRing::new(list(&["old", "new"]));
    request(&ring, &mut now, |_| answers.next().unwrap());
    assert_eq!((ring.usage().saved, ring.usage().failed), (Some(0), Some(0)));
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
    let (attempts, _) = Attempts::begin_seeded(&ring, 7);
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
    let mut now = settled();
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
    let mut now = settled();
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
    let mut now = settled();
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
    let mut now = settled();
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
    let now = settled();
    let (mut attempts, _) = Attempts::begin(&ring);
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
    let now = settled();
    let (mut attempts, _) = Attempts::begin(&ring);
    assert!(matches!(attempts.conclude(Verdict::Refused, now), Next::Done));
}

#[test]
fn after_a_request_refused_with_every_secret_the_next_ones_cost_at_most_1_05_attempts() {
    for secrets in [2, 3, 16] {
        let ids: Vec<_> = (0..secrets).map(|n| format!("id{n}")).collect();
        let ring = SecretRing::new(list(&ids.iter().map(String::as_str).collect::<Vec<_>>()));
        let mut now = settled();
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
    let mut now = settled();
    request(&ring, &mut now, |_| Verdict::Refused);
    assert_eq!(request(&ring, &mut now, accepts("new")).tried, ["old"], "cooling down");
    ring.replace_at(list(&["old", "new"]), Revision::new(1));
    assert_eq!(request(&ring, &mut now, accepts("new")).tried, ["old", "new"]);

    now = settled() + Duration::from_secs(3600);
    request(&ring, &mut now, |_| Verdict::Refused);
    assert_eq!(request(&ring, &mut now, accepts("old")).tried, ["old"]);
    assert_eq!(request(&ring, &mut now, accepts("new")).tried, ["old", "new"]);
}

#[test]
fn after_a_long_silence_a_request_still_repeats_its_passes() {
    // One token an hour: the propagation window is met without a request shortly before it.
    let ring = SecretRing::new(list(&["old", "new"]));
    let mut now = settled();
    assert_eq!(request(&ring, &mut now, accepts("old")).tried, ["old"]);
    now += Duration::from_secs(3600);
    let mut answers = [Verdict::Refused, Verdict::Refused, Verdict::Accepted].into_iter();
    let run = request(&ring, &mut now, |_| answers.next().unwrap());
    assert_eq!((run.tried.len(), run.verdict), (3, Verdict::Accepted));
}

#[test]
fn a_propagation_window_of_nothing_means_one_pass() {
    let policy = FallbackPolicy::default().propagation_window(Duration::ZERO);
    let ring = SecretRing::with_policy(list(&["old", "new"]), Revision::new(1), policy);
    let mut now = Instant::now();
    assert_eq!(request(&ring, &mut now, accepts("old")).tried, ["old"]);
    assert_eq!(request(&ring, &mut now, |_| Verdict::Refused).tried, ["old", "new"]);
}

#[test]
fn after_every_secret_was_refused_whoever_looks_again_makes_one_pass() {
    let ring = SecretRing::new(list(&["old", "new"]));
    let mut now = Instant::now();
    assert_eq!(request(&ring, &mut now, |_| Verdict::Refused).tried.len(), 24);
    let lengths: Vec<_> =
        (0..50).map(|_| request(&ring, &mut now, |_| Verdict::Refused).tried.len()).collect();
    assert_eq!(lengths.iter().filter(|length| **length == 2).count(), 2);
    assert_eq!(lengths.iter().filter(|length| **length == 1).count(), 48);
}

#[test]
fn a_fallback_that_comes_back_to_life_is_found_within_twenty_five_requests() {
    let ring = SecretRing::new(list(&["old", "new"]));
    let mut now = settled();
    request(&ring, &mut now, |_| Verdict::Refused);
    let failed = (0..100)
        .take_while(|_| request(&ring, &mut now, accepts("new")).verdict != Verdict::Accepted)
        .count();
    assert_eq!(failed, 24);
    assert_eq!(request(&ring, &mut now, accepts("new")).tried, ["old", "new"], "it is over");
}

#[test]
fn each_cool_down_is_twice_as_long_as_the_one_before_up_to_eight_times_the_first() {
    let ring = SecretRing::new(list(&["old", "new"]));
    let mut now = settled();
    request(&ring, &mut now, |_| Verdict::Refused);
    for seconds in [30, 60, 120, 240, 240] {
        now += Duration::from_secs(seconds - 1);
        assert_eq!(request(&ring, &mut now, |_| Verdict::Refused).tried.len(), 1, "{seconds} s");
        now += Duration::from_secs(1);
        assert_eq!(request(&ring, &mut now, |_| Verdict::Refused).tried.len(), 2, "{seconds} s");
    }
    now += Duration::from_secs(240);
    assert_eq!(request(&ring, &mut now, accepts("new")).tried, ["old", "new"]);
    request(&ring, &mut now, |_| Verdict::Refused);
    now += Duration::from_secs(30);
    assert_eq!(request(&ring, &mut now, accepts("new")).tried, ["old", "new"], "short again");
}

#[test]
fn requests_that_are_all_refused_at_once_stop_after_three_passes_and_extend_nothing() {
    let ring = SecretRing::new(list(&["old", "new"]));
    let mut now = Instant::now();
    let mut flights: Vec<_> = (0..50).map(|n| Attempts::begin_seeded(&ring, n).0).collect();
    let mut going = vec![true; flights.len()];
    while going.contains(&true) {
        now += Duration::from_millis(20);
        for (attempts, going) in flights.iter_mut().zip(&mut going).filter(|(_, going)| **going) {
            *going = !matches!(attempts.conclude(Verdict::Refused, now), Next::Done);
        }
    }
    assert!(flights.iter().all(|attempts| attempts.attempts() <= 6), "{flights:?}");
    // The cool-down is that of one request.
    now += Duration::from_secs(30);
    assert_eq!(request(&ring, &mut now, accepts("new")).tried, ["old", "new"]);
}

#[test]
fn requests_that_began_under_the_list_before_count_against_nobody_in_the_list_in_use() {
    let ring = SecretRing::new(list(&["new", "old"]));
    let mut now = settled();
    request(&ring, &mut now, accepts("old"));
    let flights: Vec<_> = (0..20).map(|_| Attempts::begin(&ring).0).collect();
    ring.replace_at(list(&["old", "new"]), Revision::new(1));
    for mut attempts in flights {
        assert!(matches!(attempts.conclude(Verdict::Accepted, now), Next::Done));
    }
    assert_eq!(ring.snapshot().list().preferred().id().as_str(), "old");
    assert!(!request(&ring, &mut now, accepts("new")).promoted, "one acceptance proves little");
}

#[test]
fn a_request_says_whether_it_was_held_back_by_the_cool_down() {
    let ring = SecretRing::new(list(&["old", "new"]));
    let now = settled();
    let mut held_back = Vec::new();
    for _ in 0..26 {
        let (mut attempts, _) = Attempts::begin(&ring);
        while !matches!(attempts.conclude(Verdict::Refused, now), Next::Done) {}
        held_back.push(attempts.preferred_only());
    }
    let mut expected = vec![true; 26];
    expected[0] = false;
    expected[25] = false;
    assert_eq!(held_back, expected);
}

#[test]
fn a_grant_for_single_use_is_not_sent_again_unless_the_server_left_it_alone() {
    let ring = SecretRing::new(list(&["old", "new"]));
    let now = settled();
    let single_use = || {
        let (attempts, first) = Attempts::begin(&ring);
        assert_eq!(first.id().as_str(), "old");
        attempts.single_use()
    };
    let mut attempts = single_use();
    assert!(matches!(attempts.conclude(Verdict::Refused, now), Next::Done));
    assert_eq!(attempts.attempts(), 1);

    let mut attempts = single_use();
    let Next::Send(second) = attempts.conclude(Verdict::RefusedBeforeGrant, now) else {
        panic!("the code is as good as before");
    };
    assert_eq!(second.id().as_str(), "new");
    // The second node may well have looked at it.
    assert!(matches!(attempts.conclude(Verdict::Refused, now), Next::Done));

    let old = ring.usage().of(&"old".parse().unwrap()).cloned().unwrap();
    assert_eq!((old.accepted, old.refused), (0, 2), "what happened is counted");
}

#[test]
fn a_refused_grant_for_single_use_holds_back_no_other_request() {
    let ring = SecretRing::new(list(&["old", "new"]));
    let mut now = settled();
    for _ in 0..30 {
        let (attempts, _) = Attempts::begin(&ring);
        assert!(matches!(attempts.single_use().conclude(Verdict::Refused, now), Next::Done));
    }
    assert_eq!(request(&ring, &mut now, accepts("new")).tried, ["old", "new"]);
}

#[test]
fn a_refusal_before_the_grant_is_a_refusal_like_any_other_for_other_requests() {
    let ring = SecretRing::new(list(&["old", "new"]));
    let mut now = settled();
    let run = request(&ring, &mut now, |id| {
        if id == "new" { Verdict::Accepted } else { Verdict::RefusedBeforeGrant }
    });
    assert_eq!(run.tried, ["old", "new"]);
}

#[test]
fn every_attempt_is_in_the_usage_whatever_came_of_it() {
    let ring = SecretRing::new(list(&["old"]));
    let mut now = settled();
    request(&ring, &mut now, |_| Verdict::Accepted);
    request(&ring, &mut now, |_| Verdict::Refused);
    request(&ring, &mut now, |_| Verdict::Inconclusive);
    // A caller that goes away before the answer: the server may have seen the secret.
    drop(Attempts::begin(&ring));
    // One whose secret was put on no request is none.
    Attempts::begin(&ring).0.withdraw();
    let usage = ring.usage();
    let old = usage.of(&"old".parse().unwrap()).unwrap();
    assert_eq!((old.accepted, old.refused, old.inconclusive), (1, 1, 2));
    assert_eq!(old.used(), 4);
}

#[test]
fn a_secret_that_does_not_fit_the_request_is_passed_over_in_every_pass_and_counted_nowhere() {
    let ring = SecretRing::new(list(&["staged", "old", "older"]));
    let mut now = Instant::now();
    let (mut attempts, _) = Attempts::begin_seeded(&ring, 7);
    let mut secret = attempts.pass_over().expect("two are left");
    let mut tried = Vec::new();
    loop {
        tried.push(secret.id().to_string());
        secret = match attempts.conclude(Verdict::Refused, now) {
            Next::Send(secret) => secret,
            Next::WaitThenSend(pause, secret) => {
                now += pause;
                secret
            }
            _ => break,
        };
    }
    assert_eq!(tried, ["old", "older"].repeat(12));
    assert_eq!(attempts.attempts(), 24);
    let usage = ring.usage();
    assert_eq!(usage.of(&"staged".parse().unwrap()).unwrap().used(), 0);
    assert_eq!(usage.of(&"older".parse().unwrap()).unwrap().refused, 12);
}

#[test]
fn a_secret_that_was_passed_over_is_chosen_again_under_a_newer_revision() {
    let ring = SecretRing::new(list(&["staged", "old"]));
    let _changes = ring.refresh_wanted();
    let now = settled();
    let (mut attempts, _) = Attempts::begin(&ring);
    assert_eq!(attempts.pass_over().unwrap().id().as_str(), "old");
    let Next::WaitForRevision(..) = attempts.conclude(Verdict::Refused, now) else {
        panic!("something keeps the list up to date");
    };
    ring.replace(list(&["staged", "old", "newer"]));
    let Next::Send(secret) = attempts.resume(now) else { panic!("a newer list has come") };
    assert_eq!(secret.id().as_str(), "staged");
}

#[test]
fn a_request_that_no_secret_fits_ends_with_none_and_is_no_use_of_any() {
    let ring = SecretRing::new(list(&["a", "b"]));
    let (mut attempts, _) = Attempts::begin(&ring);
    assert_eq!(attempts.pass_over().unwrap().id().as_str(), "b");
    assert!(attempts.pass_over().is_none());
    drop(attempts);
    assert!(ring.usage().secrets.iter().all(|secret| secret.used() == 0));
}
