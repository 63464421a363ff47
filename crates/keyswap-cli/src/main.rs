//! The `keyswap` command.
#![forbid(unsafe_code)]

#[macro_use]
mod output;

mod arguments;
mod authority;
mod command_line;
mod commands;
mod configuration;
mod demo;
mod embedded;
#[cfg(test)]
mod example;
mod exit;
mod fleet;
mod in_words;
mod interruption;
mod nearest;
mod outcomes;
mod presenter;
mod question;
mod rotating;
mod secret_source;
mod store;
mod temporary;
mod window;

use std::process::ExitCode;

use clap::Parser;

use crate::command_line::{Arguments, Command};
use crate::exit::Failure;
pub(crate) use crate::interruption::interruption;
use crate::interruption::{interruptible, stoppable};

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // What serves for months says by itself what is wrong.
    let level = if matches!(arguments.command, Command::Proxy(_)) { "warn" } else { "off" };
    start_log(level);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            return Failure::failed(format!("no runtime could be started: {error}")).report();
        }
    };
    let outcome = runtime.block_on(run(arguments));
    // A read of standard input that nobody waits for any more must not hold the process.
    runtime.shutdown_background();
    match outcome.and_then(|()| output::finish()) {
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
        Command::Completions(options) => commands::completions::completions(&options),
        Command::Confirm(options) => commands::confirm::run(options).await,
        Command::Demo(options) => interruptible(demo::run(options), EMBEDDED).await,
        Command::DemoInstance(options) => demo::instance::run(options).await,
        Command::DevServer(options) => commands::dev_server::run(options).await,
        Command::Generate(options) => commands::generate::run(options),
        Command::History(options) => commands::history::run(options).await,
        Command::Hold(options) => commands::hold::run(options).await,
        Command::Init(options) => interruptible(commands::init::run(options), AGAIN).await,
        Command::Man(options) => commands::completions::man(&options),
        Command::Plan(options) => commands::plan::run(options).await,
        Command::Proxy(options) => commands::proxy::run(options).await,
        Command::Rehearse(options) => {
            interruptible(commands::rehearse::run(options), EMBEDDED).await
        }
        Command::Report(options) => commands::report::run(options).await,
        Command::Resume(options) => stoppable(|stop| commands::resume::run(options, stop)).await,
        Command::Retire(options) => stoppable(|stop| commands::retire::run(options, stop)).await,
        Command::Rollback(options) => {
            stoppable(|stop| commands::rollback::run(options, stop)).await
        }
        Command::Rotate(options) => stoppable(|stop| commands::rotate::run(options, stop)).await,
        Command::Seal(options) => interruptible(commands::seal::run(options), AGAIN).await,
        Command::Status(options) => commands::status::run(options).await,
        Command::Verify(options) => commands::verify::run(options).await,
        Command::Watch(options) => commands::watch::run(options).await,
    }
}

const EMBEDDED: &str = "It was all on this machine, and nothing of yours was touched";
const AGAIN: &str = "Each file is as it was or as it is to be: run the same command again";

/// `RUST_LOG` says how much is logged; it goes to standard error and holds ids only.
fn start_log(level: &str) {
    use tracing_subscriber::EnvFilter;
    use tracing_subscriber::fmt::format::FmtSpan;
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        // Of the proxy: a request each.
        .with_span_events(FmtSpan::CLOSE)
        .with_ansi(window::shows_colours(&std::io::stderr()))
        .with_writer(std::io::stderr)
        // It would panic where standard error is closed.
        .log_internal_errors(false)
        .init();
}
