//! The fallback policy in simulated time, among nodes of a server that switch each at its own moment.
//!
//! What is measured against: an *oracle* that makes the same requests, passes, pauses and draws, and
//! before each of its decisions puts in front the secret that more of the nodes hold at that time, of
//! those that the program can reach. With a balancer that picks a node for each attempt these are all
//! nodes. For a program that is bound to some connections or to one node they are those alone, so that
//! such an oracle is hardly ever refused; there the *best fixed leader* is shown beside it: for each
//! program that one of the two secrets which, always in front, costs the fewest attempts overall.
//!
//! `cargo test -p keyswap-core --test simulation -- --nocapture` prints all figures.

mod dice;
mod outage;
mod run;
mod table;
mod world;

use keyswap_core::FallbackPolicy;

use crate::run::{Leader, run, run_with_the_best_fixed_leader};
use crate::table::Table;
use crate::world::{Balancing, Change, SECOND, Scenario};

const WINDOWS: [i64; 5] = [1, 10, 30, 120, 600];
const LOADS: [f64; 5] = [0.1, 1.0, 10.0, 100.0, 1000.0];

/// Every change with every window and load, with fewer node counts where there are many requests.
fn scenarios(balancing: Balancing) -> Vec<Scenario> {
    let mut all = Vec::new();
    for change in [Change::Forward, Change::Back, Change::BackMidway, Change::Reordered] {
        for (window, load) in WINDOWS.iter().flat_map(|window| LOADS.map(|load| (*window, load))) {
            let requests = window as f64 * load;
            let nodes: &[u64] = match requests {
                ..=3_000.0 => &[1, 2, 3, 5, 8, 16],
                ..=12_000.0 => &[2, 12],
                ..=60_000.0 if change == Change::Forward => &[3],
                _ => &[],
            };
            all.extend(nodes.iter().map(|nodes| Scenario {
                nodes: *nodes,
                window: window * SECOND,
                load,
                balancing,
                change,
                programs: ((300.0 / requests) as u64).clamp(2, 30),
                seed: (window as u64) << 32 | ((load * 10.0) as u64) << 8 | nodes,
            }));
        }
    }
    all
}

fn no_request_fails_and_the_order_costs_at_most_a_fiftieth(balancing: Balancing) {
    let policy = FallbackPolicy::default();
    let mut table = Table::new(balancing);
    for scenario in scenarios(balancing) {
        let learnt = run(&scenario, &policy, Leader::Learnt);
        let oracle = run(&scenario, &policy, Leader::Oracle);
        assert_eq!(learnt.requests, oracle.requests);
        assert_eq!(learnt.failed, 0, "{scenario}");
        let fixed = (balancing != Balancing::PerAttempt)
            .then(|| run_with_the_best_fixed_leader(&scenario, &policy));
        table.add(&scenario, learnt, oracle, fixed);
    }
    println!("{table}");
    let total = table.total();
    assert!(total.learnt.requests >= 1_000_000, "{}", total.learnt.requests);
    let overall = total.fixed_ratio().unwrap_or(total.ratio());
    assert!(overall <= 1.02, "{balancing}: {overall:.4} times the attempts of the oracle");
    for (row, sums) in table.rows() {
        let (attempts, oracle) = (sums.learnt.attempts as f64, 1.02 * sums.oracle.attempts as f64);
        let allowed = if row.is_busy() { oracle } else { oracle + sums.learning };
        assert!(
            attempts <= allowed,
            "{balancing}, window {} s, {} requests/s: {:.4} times the attempts of the oracle",
            row.window,
            row.load(),
            sums.ratio()
        );
    }
}

#[test]
fn with_a_node_for_each_attempt_no_request_fails_and_the_order_costs_at_most_a_fiftieth() {
    no_request_fails_and_the_order_costs_at_most_a_fiftieth(Balancing::PerAttempt);
}

#[test]
fn with_a_pool_of_connections_no_request_fails_and_the_order_costs_at_most_a_fiftieth() {
    no_request_fails_and_the_order_costs_at_most_a_fiftieth(Balancing::Connections(8));
}

#[test]
fn with_one_node_for_each_program_no_request_fails_and_the_order_costs_at_most_a_fiftieth() {
    no_request_fails_and_the_order_costs_at_most_a_fiftieth(Balancing::Client);
}

/// That requests get through is the doing of the passes, and not of a world in which nothing happens.
#[test]
fn with_a_single_pass_requests_fail() {
    let policy = FallbackPolicy::default().maximum_passes(1);
    for nodes in [2, 3, 16] {
        let scenario = Scenario {
            nodes,
            window: 30 * SECOND,
            load: 100.0,
            balancing: Balancing::PerAttempt,
            change: Change::Forward,
            programs: 5,
            seed: nodes,
        };
        let count = run(&scenario, &policy, Leader::Learnt);
        let share = count.failed as f64 / count.requests as f64;
        assert!((0.05..0.25).contains(&share), "{scenario}: {share} of the requests failed");
    }
}
