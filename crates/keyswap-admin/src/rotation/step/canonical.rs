//! A rotation without what its next steps cannot tell apart, for a checker that must come to an end.
//!
//! Times count from now and no further back than the protocol looks, counters stop where their
//! comparison does. Each struct is taken apart by name, so that a field that is added has to be
//! thought of here.

use std::time::Duration;

use super::{Rotation, Seen};
use crate::rotation::back::Rollback;
use crate::rotation::compromised::Compromised;
use crate::rotation::evidence::Evidence;
use crate::rotation::plan::Plan;
use crate::rotation::policy::Timestamp;
use crate::rotation::record::{Change, Record};
use crate::rotation::regenerate::{Gap, Regeneration};

impl Rotation {
    /// A rotation that, at the moment `at`, steps like this one does at the moment `now`: one for all
    /// those that differ in nothing that matters from there on.
    ///
    /// `at` is later than any period of the policy is long. What instances have reported so far
    /// becomes number 0 with a count of 0, so reports that follow are numbered from there.
    #[doc(hidden)]
    pub fn canonical(mut self, now: Timestamp, at: Timestamp) -> Self {
        let policy = &self.record.policy;
        let (quiet_period, in_flight) = (policy.quiet(), policy.in_flight_bound);
        // Compared with the window, and it makes a difference whether it is longer.
        let past_window = policy.window() + Duration::from_millis(1);
        // On the way back doubts last for three windows, and a late change shows a window later.
        let longest_doubt = policy.window() * 3 + Duration::from_millis(1);
        let longest_flight = past_window + in_flight;
        let moved = |time: &mut Timestamp, longest: Duration| {
            let age = now.since(*time).min(longest);
            let ahead = time.since(now);
            let age = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
            *time =
                Timestamp::from_milliseconds(at.milliseconds().saturating_sub(age)).after(ahead);
        };
        let Record {
            client: _,
            policy,
            state: _,
            entered,
            old: _,
            new: _,
            plan,
            revision: _,
            change: Change { sends: _, last_sent, unresolved: _ },
            stuck: _,
            doubted: _,
            rollback,
            confirmations: _,
            left_out_at_gates,
            compromised,
            evidence,
            retired,
            readmitted,
            history,
        } = &mut self.record;
        // At a server with several secrets, states are looked at for longer.
        let longest_state = match plan.adds() {
            true => past_window.max(policy.observation()).max(policy.quiet() * 2 + policy.window()),
            false => past_window,
        };
        if let Plan::Regenerate(Regeneration { requests: _, gaps }) = plan {
            // Whether the last one is over counts, and not when they were.
            gaps.drain(..gaps.len().saturating_sub(1));
            for Gap { from, until } in gaps {
                moved(from, Duration::ZERO);
                until.iter_mut().for_each(|until| moved(until, Duration::ZERO));
            }
        }
        // Said to whoever asks, and not looked at again.
        if let Plan::Add(slots) = plan {
            (slots.old_expires, slots.new_expires) = (None, None);
        }
        // When states were entered is for the history alone.
        entered.drain(..entered.len().saturating_sub(1));
        entered.iter_mut().for_each(|entered| moved(&mut entered.at, longest_state));
        moved(last_sent, longest_flight);
        if let Some(Rollback { from: _, at, forward, stuck: _ }) = rollback {
            moved(at, Duration::ZERO);
            moved(&mut forward.last_sent, longest_flight);
        }
        if let Some(Compromised { patience: _, deadline, broken }) = compromised {
            moved(deadline, Duration::ZERO);
            // Who is named counts, and not since when.
            broken.iter_mut().for_each(|one| moved(&mut one.at, Duration::ZERO));
        }
        readmitted.iter_mut().for_each(|one| moved(&mut one.at, longest_flight));
        left_out_at_gates.iter_mut().for_each(|one| moved(&mut one.at, Duration::ZERO));
        retired.iter_mut().for_each(|kept| moved(&mut kept.until, Duration::ZERO));
        *history = None;
        // Said to whoever asks afterwards, and not looked at again.
        *evidence = Evidence::default();

        let Seen {
            quiet,
            accepted,
            accepted_since,
            neither_since,
            no_retired_since,
            probed_target,
            probing,
            doubted,
            held_since,
            looking,
            listing,
            both_since,
            proved,
            missing,
            may_retire: _,
            throttled: _,
            asked: _,
            appeared: _,
            refused: _,
            appeared_is_known: _,
            slot_change,
            out_of_force_since,
        } = &mut self.seen;
        quiet.make_canonical(looking.as_mut(), quiet_period, (now, at));
        if let Some(sent) = slot_change {
            moved(&mut sent.at, past_window);
        }
        *accepted = (*accepted).min(policy.probes);
        let proofs = [accepted_since, both_since, proved, doubted, held_since, listing, probing];
        for time in proofs.into_iter().flatten() {
            moved(time, past_window);
        }
        for time in [neither_since, no_retired_since, probed_target].into_iter().flatten() {
            moved(time, longest_doubt);
        }
        if let Some(since) = out_of_force_since {
            moved(since, longest_state);
        }
        // Told to whoever watches, and not looked at again.
        missing.clear();
        self
    }
}
