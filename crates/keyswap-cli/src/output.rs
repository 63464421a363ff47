//! Standard output and error that may go away: a reader that has enough, a full disk, a terminal that is closed.
//!
//! The macros of the standard library panic then. These have the same names and take their place in the whole
//! command: what cannot be written any more is left out, and the work goes on, since a rotation must not end because
//! nobody looks. [`finish`] says at the end what came of it.

use std::fmt::Arguments;
use std::io::{Error, ErrorKind, Write};
use std::sync::OnceLock;

use crate::exit::Failure;

macro_rules! print {
    ($($text:tt)*) => { $crate::output::write(format_args!($($text)*)) };
}

macro_rules! println {
    ($($text:tt)*) => { $crate::output::write(format_args!("{}\n", format_args!($($text)*))) };
}

macro_rules! eprint {
    ($($text:tt)*) => { $crate::output::write_error(format_args!($($text)*)) };
}

macro_rules! eprintln {
    ($($text:tt)*) => { $crate::output::write_error(format_args!("{}\n", format_args!($($text)*))) };
}

/// Why nothing is written to standard output any more.
static GONE: OnceLock<Error> = OnceLock::new();

pub(crate) fn write(text: Arguments<'_>) {
    if GONE.get().is_none() {
        note(std::io::stdout().write_fmt(text));
    }
}

/// There is no place left to say that this failed.
pub(crate) fn write_error(text: Arguments<'_>) {
    let _ = std::io::stderr().write_fmt(text);
}

fn note(written: Result<(), Error>) {
    if let Err(error) = written {
        let _ = GONE.set(error);
    }
}

/// Whether all was written that somebody wants to read. A closed pipe is no failure: its reader has what it wanted.
pub(crate) fn finish() -> Result<(), Failure> {
    note(std::io::stdout().flush());
    match GONE.get() {
        Some(error) if error.kind() != ErrorKind::BrokenPipe => Err(Failure::failed(format!(
            "standard output cannot be written: {error}. What the command had to do is done; what it had to say is \
             lost from there on"
        ))),
        _ => Ok(()),
    }
}
