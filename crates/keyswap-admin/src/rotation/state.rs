//! Where a rotation stands, by name.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Where a rotation stands.
///
/// The journal names a state durably before the act that the state announces. On the
/// [way back](super::Direction::Back) the old and the new secret have exchanged their roles from
/// [`Adopted`](Self::Adopted) to [`Retired`](Self::Retired).
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum State {
    /// The new secret is in the journal and known to nobody else.
    Generated,
    /// A secret that a person named may be out of force or gone, to make room for the new one.
    MakingRoom,
    /// The server may have the new secret beside the old one; where it holds one and chooses its value,
    /// in the place of the old one.
    Adding,
    /// The server has the new secret, and nobody else knows it.
    Added,
    /// The list with the new secret behind the old one is published; in front of it, where the server holds
    /// one and has chosen its value.
    Staged,
    /// Every expected instance holds both.
    Adopted,
    /// The change may have been made.
    CuttingOver,
    /// The new secret was seen to be accepted.
    CutOver,
    /// The new secret was accepted throughout the propagation window.
    Confirmed,
    /// The list with the new secret in front is published.
    Promoted,
    /// The old secret is unused, on evidence.
    Drained,
    /// The old secret may be out of force; it can be put back.
    Deactivating,
    /// The old secret is out of force; it can be put back.
    Deactivated,
    /// The list with the new secret alone may have been published: from here there is no way back.
    Retiring,
    /// The list with the new secret alone is published.
    Retired,
    /// The secret that nobody holds any more may be gone at the server.
    Removing,
    /// Everybody holds the new secret alone.
    Done,
    /// On the way back before the change was sent: the new secret is being taken out of the list.
    Withdrawing,
    /// On the way back, at its end: everybody is to hold the old secret alone, as before.
    RolledBack,
    /// A person has to look; both values are kept.
    Stuck,
}

impl State {
    /// The states of a rotation that comes to its end at a server that holds one secret, in order.
    pub const PATH: [Self; 11] = [
        Self::Generated,
        Self::Staged,
        Self::Adopted,
        Self::CuttingOver,
        Self::CutOver,
        Self::Confirmed,
        Self::Promoted,
        Self::Drained,
        Self::Retiring,
        Self::Retired,
        Self::Done,
    ];

    /// The states of a rotation that comes to its end at a server that holds several secrets, in order.
    /// [`Deactivating`](Self::Deactivating) and [`Deactivated`](Self::Deactivated) are left out where a
    /// server has no such thing; [`MakingRoom`](Self::MakingRoom) comes before [`Adding`](Self::Adding)
    /// where a person named a secret that goes.
    pub const PATH_WITH_SLOTS: [Self; 14] = [
        Self::Generated,
        Self::Adding,
        Self::Added,
        Self::Staged,
        Self::Adopted,
        Self::Confirmed,
        Self::Promoted,
        Self::Drained,
        Self::Deactivating,
        Self::Deactivated,
        Self::Retiring,
        Self::Retired,
        Self::Removing,
        Self::Done,
    ];

    /// The states of a rotation that comes to its end at a server that holds one secret and chooses its
    /// value itself, in order.
    pub const PATH_WITH_A_GAP: [Self; 11] = [
        Self::Generated,
        Self::Adding,
        Self::Added,
        Self::Staged,
        Self::Adopted,
        Self::Confirmed,
        Self::Promoted,
        Self::Drained,
        Self::Retiring,
        Self::Retired,
        Self::Done,
    ];

    /// The name in the journal, in reports and on the screen, for instance `cutting_over`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Generated => "generated",
            Self::MakingRoom => "making_room",
            Self::Adding => "adding",
            Self::Added => "added",
            Self::Staged => "staged",
            Self::Adopted => "adopted",
            Self::CuttingOver => "cutting_over",
            Self::CutOver => "cut_over",
            Self::Confirmed => "confirmed",
            Self::Promoted => "promoted",
            Self::Drained => "drained",
            Self::Deactivating => "deactivating",
            Self::Deactivated => "deactivated",
            Self::Retiring => "retiring",
            Self::Retired => "retired",
            Self::Removing => "removing",
            Self::Done => "done",
            Self::Withdrawing => "withdrawing",
            Self::RolledBack => "rolled_back",
            Self::Stuck => "stuck",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why a rotation stopped for a person.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum StuckReason {
    /// The server holds neither the old secret nor the new one: somebody else changed it.
    ForeignSecret,
    /// The server holds the secret again that it held before the change.
    OldSecretReturned,
    /// The server still accepts the secret that it held before the change, although it should hold one
    /// only.
    OldSecretStillAccepted,
    /// The server holds a secret that an earlier rotation retired, and the list does not. Earlier versions
    /// stopped at that.
    RetiredSecretReturned,
    /// The server held a secret when no rotation was under way that an earlier one had retired. It is in the
    /// list again.
    RetiredSecretPublished,
    /// The server was found in mid-rotation to hold a secret that an earlier one had retired. It is in the
    /// list again.
    RetiredSecretPublishedMidway,
    /// Somebody else published another list.
    ForeignList,
    /// One of the two secrets is not among those that the server has in force for the client.
    SecretGone,
    /// The server lists a secret that was not there when the rotation began, and nothing tells whether a
    /// request of it that had no answer made that.
    SecretAppeared,
    /// The server holds a secret that it chose itself, and whose value nobody here knows.
    ValueUnknown,
}

impl fmt::Display for StuckReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ForeignSecret => {
                "the server accepts neither the old secret nor the new one: somebody else changed it. \
                 Set the client's secret at the server to the one that the programs hold, or find out \
                 who changed it; then resume, or roll back: that sets the old secret again"
            }
            Self::OldSecretReturned => {
                "the server accepts the secret again that the change had taken out of force: somebody \
                 put it back, or a delayed request did. The programs hold both; find out who, then \
                 resume or roll back"
            }
            Self::OldSecretStillAccepted => {
                "the server still accepts the secret that the change should have taken out of force, \
                 although it should hold one only. The programs keep both; check the client at the \
                 server, then resume or roll back"
            }
            Self::RetiredSecretReturned => {
                "the server holds a secret that an earlier rotation retired: somebody put it back, or a \
                 delayed request did. Set the client's secret at the server to the one that the \
                 programs hold; then resume, or roll back: that sets the old secret again"
            }
            Self::RetiredSecretPublished => {
                "the server holds a secret that an earlier rotation retired: somebody put it back, or a \
                 delayed request did. It is in the list again, in front of the one that the programs had, so \
                 that they sign in with either. Find out who; then resume: that sets the one that they had \
                 at the server again, with the care of a rotation, and takes the other one out of the list"
            }
            Self::RetiredSecretPublishedMidway => {
                "the server holds a secret that an earlier rotation retired: somebody put it back, or a \
                 delayed request did. It is in the list again, in front of both secrets of this rotation, so \
                 that programs sign in with any of them. Find out who; then resume, and the rotation goes on, \
                 or roll back: either sets its own secret at the server, and takes the returned one out of \
                 the list when nobody uses it any more"
            }
            Self::ForeignList => {
                "the published list is not the one that this rotation published: somebody else wrote \
                 it. Put the list of the journal back, then resume"
            }
            Self::SecretGone => {
                "the server does not list a secret of this rotation as in force: somebody removed or \
                 deactivated it there. The programs keep what they hold; find out who, put it back where \
                 that is possible, then resume or roll back"
            }
            Self::SecretAppeared => {
                "the server lists a secret that was not there when the rotation began, and a request to \
                 add one had no answer. It is never removed without a person's word: remove it at the \
                 server if it is nobody's; then resume, and what is still there is left alone"
            }
            Self::ValueUnknown => {
                "the server accepts neither the old secret nor the new one: it was asked for another value, \
                 which nobody here knows and no server says again, so programs may be without a secret that it \
                 takes. Find out who asked for it and whether they use it; then resume: that asks for a value \
                 in its place, and hands it out"
            }
        })
    }
}
