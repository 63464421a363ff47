//! The rotation protocol for servers that hold one secret, as pure functions.
//!
//! [`Rotation::step`] takes what happened and the time, and says what is written to the journal and
//! what is done next. It does no IO: a live rotation, a rehearsal and a model checker all call it.

mod back;
mod change;
mod confirmation;
mod event;
mod gate;
mod journal;
mod policy;
mod record;
mod state;
mod step;

pub use back::{Direction, Rollback, WayBack};
pub use confirmation::{Confirmation, Gate, NothingToConfirm};
pub use event::{Effect, Ending, Event, Which};
pub use gate::{Fleet, Missing, Quiet, not_adopted};
pub use journal::JournalError;
pub use policy::{Application, RotationPolicy, Timestamp};
pub use record::{Change, Entered, Record, RetiredSecret};
pub use state::{State, StuckReason};
pub use step::Rotation;
