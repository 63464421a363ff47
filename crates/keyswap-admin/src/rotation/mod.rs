//! The rotation protocol as pure functions, for servers that hold one secret or several.
//!
//! [`Rotation::step`] takes what happened and the time, and says what is written to the journal and
//! what is done next. It does no IO: a live rotation, a rehearsal and a model checker all call it.

mod back;
mod change;
mod compromised;
mod confirmation;
mod course;
mod event;
mod evidence;
mod gate;
mod held;
mod journal;
mod newest;
mod overrides;
mod plan;
mod policy;
mod readmitted;
mod record;
mod regenerate;
mod retiring;
mod room;
mod slots;
mod state;
mod step;
mod uses;
mod window;

pub use back::{Direction, Rollback, WayBack};
pub use compromised::{Broken, Compromised};
pub use confirmation::{Confirmation, Gate, NothingToConfirm};
pub use course::{Act, Course, Step, Wait};
pub use event::{Effect, Ending, Event, SlotChange, Which};
pub use evidence::{Asker, Attested, Evidence, Proof, Unused, Wish, Word};
pub use gate::{Fleet, Missing, Quiet, UnreadableReport, not_adopted};
pub use journal::JournalError;
pub use plan::{Plan, Slots};
pub use policy::{Application, RotationPolicy, Timestamp};
pub use readmitted::Readmitted;
pub use record::{Change, Entered, Record, RetiredSecret};
pub use regenerate::{Gap, Regeneration};
pub use room::Removal;
pub use state::{State, StuckReason};
pub use step::Rotation;
pub use uses::{Counts, Use, Uses};
pub use window::{ChangeWindows, InvalidWindow, Opening};
