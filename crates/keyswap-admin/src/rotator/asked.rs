//! Whether somebody asked a rotation to stop, and where it does.

use std::fmt;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Either, Shared, pending, select};

use crate::rotation::{Effect, Record, State};

#[derive(Clone)]
pub(super) struct Asked(Shared<BoxFuture<'static, ()>>);

impl Asked {
    pub(super) fn never() -> Self {
        Self::by(pending())
    }

    pub(super) fn by(asked: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(asked.boxed().shared())
    }

    pub(super) fn is_there(&self) -> bool {
        self.0.clone().now_or_never().is_some()
    }

    /// What `act` comes to, or `None` if it is asked to stop before that: `act` is dropped where it is.
    pub(super) async fn or<T>(&self, act: impl Future<Output = T>) -> Option<T> {
        match select(self.0.clone(), std::pin::pin!(act)).await {
            Either::Left(_) => None,
            Either::Right((done, _)) => Some(done),
        }
    }
}

impl fmt::Debug for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Asked").field(&self.is_there()).finish()
    }
}

/// Where a rotation stops that is asked to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Stops {
    /// Before the act and in the midst of it, which changes nothing.
    Within,
    /// Before the act, which has to come to its end once it is begun.
    Before,
    /// Not here: programs may have nothing until this is done, or it is the end by itself.
    No,
}

impl Stops {
    pub(super) fn at(effect: &Effect, record: &Record) -> Self {
        let in_a_gap = record.is_in_a_gap();
        // This request is announced; without it there would be none.
        let opens_a_gap =
            record.gaps().last().is_none_or(|gap| gap.until.is_some()) && !record.change.unresolved;
        // From then on programs alone can end it.
        let is_handed_out = !matches!(record.state, State::Adding | State::Added);
        match effect {
            Effect::Write | Effect::Stop(_) => Self::No,
            Effect::Add if opens_a_gap => Self::Before,
            Effect::Wait(..) | Effect::BackOff(_) if is_handed_out => Self::Within,
            _ if in_a_gap => Self::No,
            Effect::Send | Effect::Add | Effect::ChangeSlot(..) | Effect::Publish { .. } => {
                Self::Before
            }
            Effect::Wait(..)
            | Effect::BackOff(_)
            | Effect::Observe
            | Effect::List
            | Effect::ReadBack
            | Effect::Probe(_)
            | Effect::ProbeRetired(_) => Self::Within,
        }
    }
}
