//! The crash matrix: a rotating process that dies by `kill -9` before and after each of its acts, crossed with
//! what the server answers to the change, under load. After its death the rotation is taken up, or taken back by a
//! process that dies as well. Every case has to end with one accepted secret that everybody holds, and with no
//! failed request.
//!
//! `cargo test` runs a part of it. All of it, as `.ci/run` does:
//!
//! ```console
//! KEYSWAP_CRASH_MATRIX=all cargo test -p keyswap-crash-tests
//! ```

mod common;

use common::{Answer, Kind, Then, all, points, try_each};
use keyswap_crash_tests::{Act, Point, Server};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotation_that_dies_before_or_after_any_act_ends_well_whatever_the_server_answers() {
    let kind = Kind::planned(Server::Auth0);
    let mut cases = Vec::new();
    for answer in Answer::ALL {
        let points = points(kind, answer).await;
        for (position, point) in points.iter().enumerate() {
            cases.push((kind, answer, *point, Then::Resume));
            // The way back goes through the same acts: each case another one of them.
            let second = points[(position * 7 + 3) % points.len()];
            cases.push((kind, answer, *point, Then::RollBack(second)));
        }
    }
    let possible = cases.len();
    // Around what the protocol rests on, and here and there in the rest.
    let telling = |answer, point: Point| {
        matches!(answer, Answer::Applied) && matches!(point.act, Act::Publish | Act::SetSecret)
            || matches!(answer, Answer::AppliedAndLost) && point.act == Act::SaveJournal
    };
    let mut position = 0;
    cases.retain(|(_, answer, point, then)| {
        position += 1;
        let telling = telling(*answer, *point) && matches!(then, Then::Resume);
        all() || telling || position % 23 == 0
    });
    let (cases, killed, back) = try_each("crash matrix", cases, possible).await;
    // A few points are not met, since probes vary in number.
    assert!(killed as usize * 10 > cases * 9, "{killed} of {cases}");
    assert!(back > 0);
}
