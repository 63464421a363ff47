//! `keyswap generate`: a strong random secret.

use std::io::{ErrorKind, Write};
use std::path::PathBuf;

use clap::Args;
use keyswap_core::Generator;
use zeroize::Zeroizing;

use super::write_private;
use crate::exit::Failure;

#[derive(Args, Debug)]
pub(crate) struct Generate {
    /// Characters of [A-Za-z0-9]: 43 (256 bits) to 1024
    #[arg(long, default_value_t = 64, conflicts_with = "base64")]
    length: usize,
    /// Random bytes in standard base64 instead, 32 to 768; Auth0's page shows 48
    #[arg(long, value_name = "BYTES")]
    base64: Option<usize>,
    /// Write the secret to this new file, readable by its owner alone, instead of standard output
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub(crate) fn run(options: Generate) -> Result<(), Failure> {
    let generator = match options.base64 {
        Some(bytes) => Generator::base64(bytes),
        None => Generator::alphanumeric(options.length),
    }
    .map_err(|error| Failure::usage(error.to_string()))?;
    let secret = generator.generate().map_err(|error| Failure::failed(error.to_string()))?;
    let mut line = Zeroizing::new(Vec::with_capacity(secret.expose().len() + 1));
    line.extend_from_slice(secret.expose().as_bytes());
    line.push(b'\n');
    match options.out {
        Some(path) => {
            write_private(&path, &line)?;
            eprintln!(
                "{} bits of entropy, written to {}",
                generator.entropy_bits(),
                path.display()
            );
        }
        None => {
            // A reader that went away has no use for it, and nobody has seen it.
            match std::io::stdout().write_all(&line) {
                Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(()),
                written => written.map_err(|error| {
                    Failure::failed(format!(
                        "the secret cannot be written: standard output: {error}"
                    ))
                })?,
            }
            eprintln!("{} bits of entropy", generator.entropy_bits());
        }
    }
    Ok(())
}
