//! The rotation protocol for servers that hold one secret, as pure functions.
//!
//! [`Rotation::step`] takes what happened and the time, and says what is written to the journal and
//! what is done next. It does no IO: a live rotation, a rehearsal and a model checker all call it.

mod gate;
mod journal;
mod policy;
mod record;
mod step;

pub use gate::{Fleet, Missing, Quiet, not_adopted};
pub use journal::JournalError;
pub use policy::{Application, RotationPolicy, Timestamp};
pub use record::{Change, Entered, Record, RetiredSecret, State, StuckReason};
pub use step::{Effect, Ending, Event, Rotation, Which};
