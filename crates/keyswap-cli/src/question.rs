//! A question to the person at the terminal.

use std::io::{IsTerminal, Write};

use crate::exit::Failure;

/// Whether there is somebody to ask.
pub(crate) fn is_somebody_there() -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

/// Fails unless the person at the terminal wants that, before anything was done.
pub(crate) async fn agreed(question: &str) -> Result<(), Failure> {
    match agrees(question).await {
        true => Ok(()),
        false => Err(Failure::failed("nothing was changed; all is as it was")),
    }
}

/// Whether the person at the terminal wants that.
pub(crate) async fn agrees(question: &str) -> bool {
    eprint!("{question} [y/N] ");
    let _ = std::io::stderr().flush();
    let answer = tokio::task::spawn_blocking(|| {
        let mut answer = String::new();
        std::io::stdin().read_line(&mut answer).map(|_| answer)
    });
    matches!(answer.await, Ok(Ok(answer)) if ["y", "yes"].contains(&answer.trim().to_lowercase().as_str()))
}
