//! A server that is one of the others, and it is not known which.

use super::{Answer, Finding, Profile};

/// Refused where one of the servers means that and none of them is known to say the same about something
/// else. So an answer in Entra's form is read by its numbers alone, and Hydra's `invalid_client` about the
/// method is no refusal, though it would be one by RFC 6749.
pub(super) fn judge(answer: &Answer<'_>) -> Finding {
    let mut finding = Finding::Nothing;
    for profile in Profile::ALL.iter().filter(|profile| **profile != Profile::Auto) {
        match profile.judge(answer) {
            Finding::OtherCause => return Finding::OtherCause,
            // The same words may come from a server whose order is not known.
            Finding::Refused | Finding::RefusedBeforeGrant => finding = Finding::Refused,
            Finding::Nothing => {}
        }
    }
    finding
}
