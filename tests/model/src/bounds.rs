//! How much may go wrong in the world of a check, and how long things take in it.

use crate::mutation::Mutation;

/// What a server is like that holds several secrets.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Several {
    pub(crate) shows: Shows,
    /// Whether it chooses the value of a secret that is added.
    pub(crate) chooses: bool,
    pub(crate) deactivation: bool,
    /// Whether it never removes the one that was added last, and says which one that is when it is asked again.
    pub(crate) newest_stays: bool,
    /// How many it takes.
    pub(crate) room: usize,
    /// How long an old secret stays deactivated.
    pub(crate) observation: u8,
    /// What a person does at its console.
    pub(crate) console: Console,
}

/// What the server shows of a secret in its list.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Shows {
    Value,
    Text,
    Nothing,
}

/// What a person does at the console of the server, whom nobody asked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Console {
    Adds,
    RemovesNew,
    DeactivatesNew,
    RemovesOld,
    ActivatesOld,
}

impl Several {
    /// As WSO2 is.
    pub(crate) const NEWEST_STAYS: Self = Self {
        shows: Shows::Nothing,
        chooses: true,
        deactivation: false,
        newest_stays: true,
        room: 2,
        ..Self::LISTED
    };

    /// As Okta is, with more room.
    pub(crate) const LISTED: Self = Self {
        shows: Shows::Value,
        chooses: false,
        deactivation: true,
        newest_stays: false,
        room: 4,
        observation: 1,
        console: Console::Adds,
    };
}

/// One world. Times are ticks of its clock.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Bounds {
    /// `None`: the server holds one secret.
    pub(crate) several: Option<Several>,
    /// Rotations, one after the other.
    pub(crate) rotations: u8,
    /// Instances of the one application: 1 or 2.
    pub(crate) instances: usize,
    /// How many of them are declared.
    pub(crate) expected: u32,
    /// How long after a change the nodes of the server may disagree.
    pub(crate) window: u8,
    /// What the policy says of it: the same, unless that is what is broken.
    pub(crate) window_of_policy: u8,
    pub(crate) quiet: u8,
    pub(crate) probes: u32,
    /// How often a change may be sent.
    pub(crate) sends: u32,
    pub(crate) in_flight: u8,
    pub(crate) late_write: u8,
    /// For how long a request that was given up may still be applied; `None`: for ever.
    pub(crate) late: Option<u8>,
    /// Whether a request of the rotation before is on its way, which sets a secret that is retired by now.
    pub(crate) retired_late: bool,
    /// Whether the server says which secret it holds.
    pub(crate) read_back: bool,
    /// Whether time may pass between what the server or the store answers and its arrival.
    pub(crate) slow_answers: bool,
    /// Whether a person who looks at a rotation that is stuck resumes it, having set the right secret.
    pub(crate) mended: bool,

    /// How often the process of the rotation ends at any instant.
    pub(crate) crashes: u8,
    /// How often it is paused past its lease and goes on.
    pub(crate) pauses: u8,
    /// How often the store fails to write, or writes and does not say so.
    pub(crate) faults: u8,
    /// How many answers of the server to the change are lost.
    pub(crate) lost: u8,
    /// How often the server refuses the change.
    pub(crate) refused: u8,
    /// How often it asks to wait.
    pub(crate) throttled: u8,
    /// How many token requests of the rotator end in an error that says nothing.
    pub(crate) doubts: u8,
    /// How often a person changes the secret.
    pub(crate) foreign: u8,
    /// To what; where the server holds several, that says what is done there.
    pub(crate) foreign_value: u8,
    /// How many instances end and are replaced.
    pub(crate) deaths: u8,
    /// How many are paused past their lease and come back.
    pub(crate) naps: u8,
    /// How often instances use the old secret after the new one is preferred.
    pub(crate) uses: u8,

    /// How often a person wants the rotation to go back.
    pub(crate) rollbacks: u8,
    /// How often a person puts a hold on it.
    pub(crate) holds: u8,
    /// That the old secret is compromised, and how long instances have to take up both.
    pub(crate) compromised: Option<u8>,
    /// Whether the first instance never takes up another list.
    pub(crate) deaf: bool,

    /// What is broken on purpose.
    pub(crate) mutation: Option<Mutation>,
}

impl Bounds {
    /// A world of two nodes and two instances in which nothing goes wrong.
    pub(crate) const CALM: Self = Self {
        several: None,
        rotations: 1,
        instances: 2,
        expected: 2,
        window: 1,
        window_of_policy: 1,
        quiet: 1,
        probes: 2,
        sends: 3,
        in_flight: 2,
        late_write: 4,
        late: None,
        retired_late: false,
        read_back: true,
        slow_answers: false,
        mended: false,
        crashes: 0,
        pauses: 0,
        faults: 0,
        lost: 0,
        refused: 0,
        throttled: 0,
        doubts: 0,
        foreign: 0,
        foreign_value: crate::rotations::FOREIGN,
        deaths: 0,
        naps: 0,
        rollbacks: 0,
        holds: 0,
        compromised: None,
        deaf: false,
        uses: 0,
        mutation: None,
    };
}
