//! What the tests of each authority ask of an answer.

use keyswap_admin::authority::{Listed, Slot};
use keyswap_admin::{AuthorityErrorKind, RotateError, RotateErrorKind};
use keyswap_core::SecretId;

/// Of which kind the authority's error is. It shows none of these secrets.
pub(crate) fn authority_kind(error: &RotateError, secrets: &[&str]) -> AuthorityErrorKind {
    for secret in secrets {
        assert!(!format!("{error} {error:?}").contains(secret), "{error:?}");
    }
    match error.kind() {
        RotateErrorKind::Authority(error) => error.kind(),
        other => panic!("{other:?}: {error}"),
    }
}

/// Each secret that is listed: its name, whose it is by what this takes of it, and whether it is in force.
#[allow(dead_code, reason = "not every server lists its secrets")]
pub(crate) fn listed(
    listed: Listed,
    whose: impl Fn(&Slot) -> Option<SecretId>,
) -> Vec<(String, Option<SecretId>, bool)> {
    match listed {
        Listed::Slots(slots) => slots
            .iter()
            .map(|slot| (slot.id.as_str().to_owned(), whose(slot), slot.active))
            .collect(),
        other => panic!("{other:?}"),
    }
}
