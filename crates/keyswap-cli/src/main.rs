//! The `keyswap` command.
#![forbid(unsafe_code)]

mod arguments;
mod authority;
mod commands;
mod configuration;
mod demo;
mod exit;
mod presenter;
mod secret_source;
mod store;

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::Parser;

use crate::arguments::{Arguments, Command};
use crate::exit::Failure;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    start_log();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            return Failure::failed(format!("no runtime could be started: {error}")).report();
        }
    };
    let outcome = runtime.block_on(run(arguments));
    // A read of standard input that nobody waits for any more must not hold the process.
    runtime.shutdown_background();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

async fn run(arguments: Arguments) -> Result<(), Failure> {
    match arguments.command {
        Command::Authorities(options) => {
            commands::authorities::run(&options);
            Ok(())
        }
        Command::Confirm(options) => commands::confirm::run(options).await,
        Command::Demo(options) => interruptible(demo::run(options)).await,
        Command::DemoInstance(options) => demo::instance::run(options).await,
        Command::DevServer(options) => commands::dev_server::run(options).await,
        Command::Generate(options) => commands::generate::run(options),
        Command::History(options) => commands::history::run(options).await,
        Command::Hold(options) => commands::hold::run(options).await,
        Command::Init(options) => interruptible(commands::init::run(options)).await,
        Command::Resume(options) => interruptible(commands::rotate::resume(options)).await,
        Command::Retire(options) => interruptible(commands::rotate::retire(options)).await,
        Command::Rollback(options) => interruptible(commands::rotate::rollback(options)).await,
        Command::Rotate(options) => interruptible(commands::rotate::rotate(options)).await,
        Command::Seal(options) => interruptible(commands::seal::run(options)).await,
        Command::Status(options) => commands::status::run(options).await,
        Command::Verify(options) => commands::verify::run(options).await,
    }
}

/// Ends the work at its next await when a person or a supervisor asks for it. That is as safe as a
/// crash, which is to say safe.
async fn interruptible(work: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    tokio::select! {
        outcome = work => outcome,
        () = interruption() => Err(Failure::interrupted()),
    }
}

/// Comes back on SIGINT or SIGTERM.
async fn interruption() {
    let terminated = async {
        match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
            Ok(mut signal) => signal.recv().await,
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminated => {}
    }
}

/// `RUST_LOG` switches the log on; it goes to standard error and holds ids only.
fn start_log() {
    use tracing_subscriber::EnvFilter;
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("off"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .init();
}
