//! Several clients in one go, with a cap on how many are under way.

use std::collections::VecDeque;
use std::pin::pin;

use futures_util::stream::{FuturesUnordered, StreamExt};

/// Does `act` for each job, for at most `limit` of them at once (and for one at least), in their order.
///
/// Each job has its own outcome, in the order of the jobs, and one that fails ends none of the others. If
/// `stops` says of an error that it should, no further job is begun after it; those that are under way
/// come to their own end. `None` is the outcome of a job that was not begun.
///
/// Dropping the future drops what is under way, which is as safe for a
/// [`Rotator`](crate::Rotator) as killing its process.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// use keyswap_admin::several;
///
/// let clients = ["billing", "orders", "stock"];
/// let outcomes = several(2, &clients, async |client| match *client {
///     "orders" => Err("the server refuses"),
///     client => Ok(client.len()),
/// }, |_| false).await;
/// assert_eq!(outcomes, [Some(Ok(7)), Some(Err("the server refuses")), Some(Ok(5))]);
/// # });
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// With a [`Rotator`](crate::Rotator) for each client, over any authority and any store:
///
/// ```no_run
/// use keyswap_admin::{Authority, Finished, RotateError, RotationPolicy, Rotator, several};
/// use keyswap_store::SecretStore;
///
/// # async fn example<A: Authority, S: SecretStore>(rotators: &[Rotator<A, S>], policy: RotationPolicy) {
/// let outcomes: Vec<Option<Result<Finished, RotateError>>> = several(
///     4,
///     rotators,
///     async |rotator| rotator.run(policy.clone()).await,
///     |error| !error.is_waiting(),
/// )
/// .await;
/// # }
/// ```
pub async fn several<J, T, E>(
    limit: usize,
    jobs: &[J],
    act: impl AsyncFn(&J) -> Result<T, E>,
    stops: impl Fn(&E) -> bool,
) -> Vec<Option<Result<T, E>>> {
    let mut outcomes: Vec<Option<Result<T, E>>> = jobs.iter().map(|_| None).collect();
    let mut left: VecDeque<(usize, &J)> = jobs.iter().enumerate().collect();
    let begin = async |(position, job): (usize, &J)| (position, act(job).await);
    let mut under_way = pin!(FuturesUnordered::new());
    loop {
        while under_way.len() < limit.max(1)
            && let Some(next) = left.pop_front()
        {
            under_way.push(begin(next));
        }
        let Some((position, outcome)) = under_way.next().await else { return outcomes };
        if outcome.as_ref().is_err_and(&stops) {
            left.clear();
        }
        outcomes[position] = Some(outcome);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::time::Duration;

    use tokio::time::sleep;

    use super::*;

    /// How many were under way at most, and what came of each.
    async fn run(
        limit: usize,
        failing: &[u64],
        stops: bool,
    ) -> (usize, Vec<Option<Result<u64, u64>>>) {
        let (now, most) = (Cell::new(0_usize), Cell::new(0));
        let jobs: Vec<u64> = (1..=9).collect();
        let act = async |job: &u64| {
            now.set(now.get() + 1);
            most.set(now.get().max(most.get()));
            // The later ones are faster.
            sleep(Duration::from_secs(10 - job)).await;
            now.set(now.get() - 1);
            if failing.contains(job) { Err(*job) } else { Ok(*job) }
        };
        let outcomes = several(limit, &jobs, act, |_| stops).await;
        (most.get(), outcomes)
    }

    #[tokio::test(start_paused = true)]
    async fn as_many_as_allowed_are_under_way_and_each_has_its_outcome_in_order() {
        for limit in [1, 3, 9, 50] {
            let (most, outcomes) = run(limit, &[2, 5], false).await;
            assert_eq!(most, limit.min(9));
            let expected =
                (1..=9).map(|job| Some(if job == 2 || job == 5 { Err(job) } else { Ok(job) }));
            assert_eq!(outcomes, expected.collect::<Vec<_>>());
        }
        assert_eq!(run(0, &[], false).await.0, 1, "a limit of none would never end");
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_failure_that_stops_those_under_way_end_and_no_other_begins() {
        // 1, 2 and 3 begin; 3 ends first and 4 takes its place; then 2 fails.
        let (_, outcomes) = run(3, &[2], true).await;
        let ended: Vec<_> = outcomes.iter().map(Option::is_some).collect();
        assert_eq!(ended[..3], [true; 3]);
        assert_eq!(outcomes[1], Some(Err(2)));
        assert_eq!(outcomes[0], Some(Ok(1)), "it was under way");
        assert_eq!(outcomes[8], None);
    }
}
