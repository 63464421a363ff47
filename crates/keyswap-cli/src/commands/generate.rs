//! `keyswap generate`: a strong random secret.

use std::io::Write;

use keyswap_core::Generator;
use zeroize::Zeroizing;

use super::write_private;
use crate::arguments::Generate;
use crate::exit::Failure;

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
            std::io::stdout()
                .write_all(&line)
                .map_err(|error| Failure::failed(format!("standard output: {error}")))?;
            eprintln!("{} bits of entropy", generator.entropy_bits());
        }
    }
    Ok(())
}
