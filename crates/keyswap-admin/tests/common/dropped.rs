//! A rotator that is dropped in a state, as a crash would drop it, and what a person asks of the next one.

use keyswap_admin::authority::Authority;
use keyswap_admin::{
    Finished, Progress, RotateError, RotateErrorKind, RotationPolicy, Rotator, State,
};
use keyswap_store::FileStore;
use keyswap_testkit::{AuthorizationServer, Fault, Times};

/// Tries each case, three at a time: each waits most of the time.
pub(crate) async fn each<T>(cases: impl IntoIterator<Item = T>, case: impl AsyncFn(T)) {
    let cases = std::cell::RefCell::new(cases.into_iter().fuse());
    let worker = || async {
        loop {
            let next = cases.borrow_mut().next();
            match next {
                Some(one) => case(one).await,
                None => return,
            }
        }
    };
    tokio::join!(worker(), worker(), worker());
}

/// Lets this go wrong at the server so often, from when a rotation enters the state of which it tells.
#[allow(dead_code, reason = "not every test does it")]
pub(crate) fn injecting(
    server: &AuthorizationServer,
    state: State,
    (fault, times): (&Fault, Times),
) -> impl Fn(Progress) + Send + Sync + 'static {
    let (server, fault) = (server.clone(), fault.clone());
    move |progress| {
        if let Progress::Entered { state: entered, .. } = progress
            && entered == state
        {
            server.inject(fault.clone(), times);
        }
    }
}

/// What a person asks of a rotator.
#[derive(Debug)]
pub(crate) enum Wanted {
    Run(RotationPolicy),
    Resume,
    Rollback,
}

impl Wanted {
    pub(crate) async fn of<A: Authority>(
        &self,
        rotator: &Rotator<A, FileStore>,
    ) -> Result<Finished, RotateError> {
        // A rotator that was dropped may be in the middle of a write, which keeps the lease until it is
        // done.
        loop {
            let ended = match self {
                Self::Run(policy) => rotator.run(policy.clone()).await,
                Self::Resume => rotator.resume(None).await,
                Self::Rollback => rotator.rollback(None).await,
            };
            match ended {
                Err(error) if matches!(error.kind(), RotateErrorKind::Busy) => {
                    tokio::task::yield_now().await;
                }
                ended => return ended,
            }
        }
    }

    /// Drops the rotator when it enters this state, as a crash would.
    pub(crate) async fn dropped_at<A: Authority>(
        &self,
        rotator: Rotator<A, FileStore>,
        wanted: State,
    ) {
        let (reached, mut at) = tokio::sync::mpsc::unbounded_channel();
        let rotator = rotator.on_progress(move |progress| {
            if let Progress::Entered { state, .. } = progress
                && state == wanted
            {
                let _ = reached.send(());
            }
        });
        tokio::select! {
            ended = self.of(&rotator) => panic!("{self:?} did not reach {wanted}: {ended:?}"),
            _ = at.recv() => {}
        }
    }
}
