//! `keyswap completions` and `keyswap man`: what a shell and a reader want to know of the command line itself.

use std::io::{ErrorKind, Write};
use std::path::PathBuf;

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::command_line::Arguments;
use crate::exit::Failure;

const COMPLETIONS: &str = "\
Examples:
  keyswap completions bash > /etc/bash_completion.d/keyswap
  keyswap completions zsh > ~/.zfunc/_keyswap
  keyswap completions fish > ~/.config/fish/completions/keyswap.fish";

const MAN: &str = "\
Example:
  keyswap man /usr/local/share/man/man1 && man keyswap-rotate";

#[derive(Args, Debug)]
#[command(after_help = COMPLETIONS)]
pub(crate) struct Completions {
    /// For which shell
    shell: Shell,
}

#[derive(Args, Debug)]
#[command(after_help = MAN)]
pub(crate) struct Man {
    /// Where to put the pages; files of these names there are written over
    directory: PathBuf,
}

/// Prints what the shell reads.
pub(crate) fn completions(options: &Completions) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(options.shell, &mut Arguments::command(), "keyswap", &mut script);
    match std::io::stdout().write_all(&script) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::failed(format!("standard output: {error}")))
        }
        _ => Ok(()),
    }
}

/// Writes a page for the command and one for each of its commands.
pub(crate) fn man(options: &Man) -> Result<(), Failure> {
    let directory = &options.directory;
    let written = clap_mangen::generate_to(Arguments::command(), directory);
    written.map_err(|error| {
        let way_out = match error.kind() {
            ErrorKind::NotFound => "; make that directory first",
            _ => "",
        };
        Failure::failed(format!(
            "no page can be written to {}: {error}{way_out}",
            directory.display()
        ))
    })?;
    println!("the pages are in {}", directory.display());
    Ok(())
}
