//! The way of a rotation through its states.

use keyswap_admin::{Finished, State};

/// The states that it was in, in order. Where the machine is slow, a rotation at a server with several secrets may
/// find a program late to take up the list and publish it once more, which is left out.
pub(crate) fn course(finished: &Finished) -> Vec<State> {
    let mut course: Vec<_> = finished.states.iter().map(|(state, _)| *state).collect();
    let again = [State::Promoted, State::Confirmed, State::Promoted];
    while let Some(at) = course.windows(again.len()).position(|three| three == again) {
        course.drain(at..at + 2);
    }
    course
}
