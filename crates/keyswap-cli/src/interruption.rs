//! Ctrl-C, a supervisor that ends the process, a terminal that is closed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use crate::exit::{Code, Failure};

/// Comes back on SIGINT or SIGTERM, and on SIGHUP, from the call on: who says that it is ready calls it before.
pub(crate) fn interruption() -> impl Future<Output = ()> + Send {
    let mut signals = Signals::listen();
    async move { signals.next().await }
}

/// Ends the work at its next await when a person or a supervisor asks for it, and says what is left of it.
pub(crate) async fn interruptible(
    work: impl Future<Output = Result<(), Failure>>,
    left: &str,
) -> Result<(), Failure> {
    tokio::select! {
        outcome = work => outcome,
        () = interruption() => Err(Failure::interrupted(left)),
    }
}

/// Asks the work to stop, if it [heeds](Stop::heeded) that by now, and ends it otherwise: it has changed nothing yet.
/// Who asks once more does not wait.
pub(crate) async fn stoppable<W>(work: impl FnOnce(Stop) -> W) -> Result<(), Failure>
where
    W: Future<Output = Result<(), Failure>>,
{
    let (ask, asked) = watch::channel(false);
    let stop = Stop { asked, heeds: Arc::new(AtomicBool::new(false)) };
    let work = work(stop.clone());
    let mut signals = Signals::listen();
    let heeds = Arc::clone(&stop.heeds);
    // A task of its own, which is there also while the work has its thread.
    tokio::spawn(async move {
        signals.next().await;
        if heeds.load(Ordering::SeqCst) {
            eprintln!(
                "interrupted: stopping at the next safe point. Once more stops at once, which is safe as well"
            );
        }
        ask.send_replace(true);
        signals.again().await;
        let left = "A rotation that was under way is in the journal: go on with `keyswap resume`";
        let _ = Failure::interrupted(left).report();
        std::process::exit(Code::Interrupted as i32);
    });
    let unheeded = async {
        stop.asked().await;
        if stop.heeds.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        outcome = work => outcome,
        () = unheeded => Err(Failure::new(
            Code::Waiting,
            "interrupted before anything was begun; nothing was changed",
        )),
    }
}

/// Whether somebody asked the command to stop.
#[derive(Clone, Debug)]
pub(crate) struct Stop {
    asked: watch::Receiver<bool>,
    heeds: Arc<AtomicBool>,
}

impl Stop {
    /// From here on the work itself looks whether it is [asked](Self::asked), and says where it stands.
    pub(crate) fn heeded(&self) {
        self.heeds.store(true, Ordering::SeqCst);
    }

    /// Whether somebody has asked by now.
    pub(crate) fn is_asked(&self) -> bool {
        *self.asked.borrow()
    }

    /// Comes back when somebody asks.
    pub(crate) fn asked(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut asked = self.asked.clone();
        async move {
            if asked.wait_for(|asked| *asked).await.is_err() {
                std::future::pending().await
            }
        }
    }
}

struct Signals {
    interrupt: Option<Signal>,
    terminate: Option<Signal>,
    /// Not if it is ignored: `nohup` says so.
    hang_up: Option<Signal>,
}

impl Signals {
    fn listen() -> Self {
        let ignored =
            std::fs::read_to_string("/proc/self/status").map(|text| ignores_hang_up(&text));
        let hang_up = match ignored {
            Ok(Some(false)) => signal(SignalKind::hangup()).ok(),
            // Where that cannot be told, it keeps the meaning that it came with.
            _ => None,
        };
        Self {
            interrupt: signal(SignalKind::interrupt()).ok(),
            terminate: signal(SignalKind::terminate()).ok(),
            hang_up,
        }
    }

    async fn next(&mut self) {
        tokio::select! {
            () = one(&mut self.interrupt) => {}
            () = one(&mut self.terminate) => {}
            () = one(&mut self.hang_up) => {}
        }
    }

    /// A terminal that is closed may say so more than once, so that does not count.
    async fn again(&mut self) {
        tokio::select! {
            () = one(&mut self.interrupt) => {}
            () = one(&mut self.terminate) => {}
        }
    }
}

async fn one(signal: &mut Option<Signal>) {
    if let Some(signal) = signal
        && signal.recv().await.is_some()
    {
        return;
    }
    std::future::pending().await
}

/// What `/proc/self/status` says of SIGHUP.
fn ignores_hang_up(status: &str) -> Option<bool> {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"))?;
    let mask = u64::from_str_radix(mask.trim(), 16).ok()?;
    // Signal 1 is the lowest bit.
    Some(mask & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_ignores_the_end_of_its_terminal_is_left_alone() {
        let status =
            |mask: &str| format!("Name:\tkeyswap\nSigBlk:\t0000000000000001\nSigIgn:\t{mask}\n");
        assert_eq!(ignores_hang_up(&status("0000000000001001")), Some(true));
        assert_eq!(ignores_hang_up(&status("0000000000001000")), Some(false));
        assert_eq!(ignores_hang_up("Name:\tkeyswap\n"), None);
    }
}
