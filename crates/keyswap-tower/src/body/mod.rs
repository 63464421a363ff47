//! Bodies that can be looked at and still reach the other side whole: collecting up to a limit, and
//! giving out what was collected in front of what was not.

mod answer;
mod gather;
mod replay;
mod request;

pub use answer::AnswerBody;
use gather::Held;
pub(crate) use gather::{Ended, Gather};
pub(crate) use replay::Replay;
pub use request::RequestBody;
pub(crate) use request::Source;

use bytes::{Buf, Bytes};
use http_body::Frame;

/// Free for bodies of `Bytes`, a copy for others.
fn into_bytes<D: Buf>(frame: Frame<D>) -> Frame<Bytes> {
    frame.map_data(|mut data| data.copy_to_bytes(data.remaining()))
}
