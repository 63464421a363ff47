//! A publication in a fleet that is larger than what runs here: the nodes as queues, with the processor time
//! that each operation was measured to take. No disk, and a network of half a millisecond each way.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Processor time in seconds, of all nodes together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Costs {
    pub(crate) read: f64,
    pub(crate) report: f64,
    pub(crate) event: f64,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Fleet {
    pub(crate) instances: usize,
    pub(crate) nodes: usize,
    /// Of each node.
    pub(crate) cores: f64,
    /// If each instance waited for up to that long, in seconds, before it reports.
    pub(crate) spread: f64,
}

/// Seconds after the list was written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Publication {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) last: f64,
    pub(crate) reported: f64,
    /// What one request waited for its answer: beyond a quarter of the store's timeout it is given up, and
    /// sent to another node.
    pub(crate) longest_wait: f64,
}

const ONE_WAY: f64 = 0.000_5;

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Work {
    Event,
    Report,
}

pub(crate) fn publish(fleet: Fleet, costs: Costs) -> Publication {
    let Fleet { instances, nodes, cores, spread } = fleet;
    // Nanoseconds, so that the queue has an order; then who it is, which is spread over the nodes.
    let nanos = |seconds: f64| (seconds * 1e9) as u64;
    let mut queue: BinaryHeap<Reverse<(u64, Work, usize)>> =
        (0..instances).map(|instance| Reverse((0, Work::Event, instance))).collect();
    let mut free = vec![0_u64; nodes];
    let (mut adopted, mut reported, mut longest) = (Vec::with_capacity(instances), 0, 0);
    while let Some(Reverse((arrived, work, instance))) = queue.pop() {
        let busy = |share: f64, cost: f64| nanos(cost * share / cores);
        let node = instance % nodes;
        // A report is written by each node, and its cost is that of all; a watch is one node's.
        let served: Vec<(usize, u64)> = match work {
            Work::Event => vec![(node, busy(1.0, costs.event))],
            Work::Report => {
                (0..nodes).map(|node| (node, busy(1.0 / nodes as f64, costs.report))).collect()
            }
        };
        let mut done = 0;
        for (node, takes) in served {
            free[node] = free[node].max(arrived) + takes;
            done = done.max(free[node]);
        }
        let answered = done + nanos(ONE_WAY);
        match work {
            Work::Event => {
                adopted.push(answered);
                // Evenly, as chance does it.
                let share = (instance as f64 * 0.618_033_988_749_895).fract();
                let report = answered + nanos(share * spread + ONE_WAY);
                queue.push(Reverse((report, Work::Report, instance)));
            }
            Work::Report => {
                longest = longest.max(answered - arrived);
                reported = reported.max(answered);
            }
        }
    }
    adopted.sort_unstable();
    let seconds = |nanos: u64| nanos as f64 / 1e9;
    let at = |share: f64| {
        let at = ((instances as f64 * share).ceil() as usize).clamp(1, instances.max(1)) - 1;
        seconds(adopted.get(at).copied().unwrap_or(0))
    };
    Publication {
        p50: at(0.5),
        p99: at(0.99),
        last: at(1.0),
        reported: seconds(reported),
        longest_wait: seconds(longest),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COSTS: Costs = Costs { read: 0.000_3, report: 0.000_6, event: 0.000_03 };

    fn fleet(instances: usize, spread: f64) -> Fleet {
        Fleet { instances, nodes: 3, cores: 2.0, spread }
    }

    #[test]
    fn one_instance_waits_for_its_own_work_alone() {
        let alone = publish(fleet(1, 0.0), COSTS);
        let told = COSTS.event / 2.0 + ONE_WAY;
        assert!((alone.last - told).abs() < 1e-6, "{alone:?}");
        let report = COSTS.report / 3.0 / 2.0 + 2.0 * ONE_WAY;
        assert!((alone.reported - told - report).abs() < 1e-6, "{alone:?}");
    }

    #[test]
    fn a_fleet_waits_for_all_the_work_there_is() {
        let many = publish(fleet(30_000, 0.0), COSTS);
        // 10,000 instances a node, of which each has as many reports to write as all have.
        let work = 10_000.0 * (COSTS.event + COSTS.report) / 2.0;
        assert!((many.reported - work).abs() < 0.1, "{many:?} {work}");
        assert!(many.p50 < many.p99 && many.p99 <= many.last && many.last <= many.reported);
    }

    #[test]
    fn a_spread_longer_than_the_work_ends_the_queue_of_reports() {
        let (at_once, spread) =
            (publish(fleet(3_000, 0.0), COSTS), publish(fleet(3_000, 10.0), COSTS));
        assert!(at_once.longest_wait > 0.1, "{at_once:?}");
        // One that comes while the list is being told waits for that, and none for other reports.
        assert!(spread.longest_wait <= spread.last, "{spread:?}");
        assert!(spread.reported > 9.0, "{spread:?}");
    }
}
