//! The crash matrix at a server that holds two secrets a client: a process that dies before and after each of
//! its acts, crossed with what the server answers to each of the three changes, adding the new secret and
//! deactivating and removing the old one. And a part of it for rotations whose old secret is compromised, and for
//! those that a person holds between their death and their end.

mod common;

use common::{Answer, Case, Kind, Then, all, points, try_each};
use keyswap_crash_tests::{Act, Point, Server};
use tokio::task::JoinSet;

/// Each point, resumed, or taken back at another one.
fn cases(kind: Kind, answer: Answer, points: &[Point]) -> Vec<Case> {
    let after = |position: usize| Then::RollBack(points[(position * 7 + 3) % points.len()]);
    let each = points.iter().enumerate().flat_map(|(position, point)| {
        [Then::Resume, after(position)].map(|then| (kind, answer, *point, then))
    });
    each.collect()
}

/// The points of each, found at once.
async fn points_of(
    asked: impl IntoIterator<Item = (Kind, Answer)>,
) -> Vec<(Kind, Answer, Vec<Point>)> {
    let mut finding = JoinSet::new();
    for (position, (kind, answer)) in asked.into_iter().enumerate() {
        finding.spawn(async move { (position, (kind, answer, points(kind, answer).await)) });
    }
    let mut found = finding.join_all().await;
    found.sort_by_key(|(position, _)| *position);
    found.into_iter().map(|(_, found)| found).collect()
}

fn is_a_change(act: Act) -> bool {
    matches!(act, Act::AddSecret | Act::SetActive | Act::RemoveSecret)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotation_that_dies_at_a_server_with_two_secrets_ends_well_whatever_it_answers() {
    let kind = Kind::planned(Server::Okta);
    let mut chosen = Vec::new();
    let mut possible = 0;
    for (kind, answer, points) in points_of(Answer::ALL.map(|answer| (kind, answer))).await {
        let cases = cases(kind, answer, &points);
        possible += cases.len();
        let applied = matches!(answer, Answer::Applied);
        chosen.extend(cases.into_iter().enumerate().filter_map(|(position, case)| {
            // All of them around the changes, and here and there in the rest.
            let (_, _, point, then) = case;
            let whole = is_a_change(point.act) || position % if applied { 5 } else { 53 } == 0;
            let part = applied && is_a_change(point.act) && matches!(then, Then::Resume);
            (if all() { whole } else { part || position % 79 == 0 }).then_some(case)
        }));
    }
    let (cases, killed, back) = try_each("crash matrix, two secrets", chosen, possible).await;
    assert!(killed as usize * 10 > cases * 8, "{killed} of {cases}");
    assert!(back > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_compromised_or_held_rotation_that_dies_ends_well() {
    let kinds = [Server::Auth0, Server::Okta].into_iter().flat_map(|server| {
        [true, false].map(|compromised| Kind { server, compromised, held: !compromised })
    });
    let asked = kinds
        .flat_map(|kind| [Answer::Applied, Answer::AppliedAndLost].map(|answer| (kind, answer)));
    let (every, mut chosen, mut possible) = (if all() { 23 } else { 61 }, Vec::new(), 0);
    for (kind, answer, points) in points_of(asked).await {
        let cases = cases(kind, answer, &points);
        possible += cases.len();
        chosen.extend(cases.into_iter().step_by(every));
    }
    let (cases, killed, _) = try_each("crash matrix, compromised or held", chosen, possible).await;
    assert!(killed as usize * 10 > cases * 8, "{killed} of {cases}");
}
