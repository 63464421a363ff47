//! The command line: which commands there are. The arguments of each stand in its own file.

use clap::{Parser, Subcommand};

use crate::commands::{
    authorities, completions, confirm, dev_server, generate, history, hold, init, plan, proxy,
    rehearse, report, resume, retire, rollback, rotate, seal, status, verify, watch,
};
use crate::demo;

const EXIT_CODES: &str = "\
Exit codes:
  0    done
  1    failed, and nothing was changed at the server
  2    the command line or the configuration is wrong
  3    waiting, or interrupted at a safe point; safe to run again
  4    credentials or permissions are missing
  5    whether the server took the change is not known: run `keyswap resume`
  6    a person has to look: the server or the store is not as it should be, or another rotator took over
  130  interrupted at once: run `keyswap resume`
Of several clients the worst counts, in this order: 0, 3, 1, 2, 4, 5, 6.

Secrets come from files, standard input or the environment, never from arguments.
RUST_LOG=debug logs to standard error; the log holds ids of secrets, never their values.";

/// Change a client_secret with no failed request.
#[derive(Debug, Parser)]
#[command(name = "keyswap", version, after_help = EXIT_CODES)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show what each kind of authorization server can do, and what a rotation there needs
    Authorities(authorities::Authorities),
    /// Print what a shell needs to complete the command line
    Completions(completions::Completions),
    /// Say for an application that cannot report what a rotation waits to know, or that one instance is not
    /// waited for
    Confirm(confirm::Confirm),
    /// Show a whole rotation under load, on an embedded server
    Demo(demo::Demo),
    /// One program of the demo
    #[command(hide = true)]
    DemoInstance(demo::instance::DemoInstance),
    /// Run an authorization server on loopback, to try keyswap against
    DevServer(dev_server::DevServer),
    /// Make a strong random secret
    Generate(generate::Generate),
    /// Show what was done and why, or verify that nothing in it was changed
    History(history::History),
    /// Say "not now": no rotation begins, and one that is under way stops before its next act
    Hold(hold::Hold),
    /// Write a commented keyswap.toml, and put the present secret into the store
    Init(init::Init),
    /// Write the manual pages into a directory
    Man(completions::Man),
    /// Show what a rotation would do, step by step, with the requests that it would send; changes nothing
    Plan(plan::Plan),
    /// Put the client's secret on token requests of programs on this machine, in any language
    Proxy(proxy::Proxy),
    /// Make the rotation on an embedded server that is like yours, with everything that may go wrong; touches
    /// nothing of yours
    Rehearse(rehearse::Rehearse),
    /// Write what is on record of a rotation as a page: its states, who used which secret, the evidence
    Report(report::Report),
    /// Go on with a rotation that was interrupted, waited or lost its answer
    Resume(resume::Resume),
    /// Retire the old secret of a rotation that was begun with --hold-at drained
    Retire(retire::Retire),
    /// Take a rotation back to where it began, as long as programs hold both secrets
    Rollback(rollback::Rollback),
    /// Rotate the secret of the client that keyswap.toml names, or of several
    Rotate(rotate::Rotate),
    /// Seal a store that is in use at once, or write it in the open again
    Seal(seal::Seal),
    /// Show where the rotation stands, and what each instance holds
    Status(status::Status),
    /// Look whether a rotation would begin, and what it would meet; changes nothing
    Verify(verify::Verify),
    /// Show a rotation while it happens: its state, who is waited for, who uses which secret
    Watch(watch::Watch),
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_holds_together() {
        Arguments::command().debug_assert();
    }
}
