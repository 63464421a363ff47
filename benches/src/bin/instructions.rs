//! Makes calls of one variant and nothing else, for `valgrind --tool=callgrind` and `perf`.
//!
//! ```text
//! instructions VARIANT COUNT
//! ```
//!
//! Without arguments it lists the variants. `instructions.sh` runs it with two counts and subtracts.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use keyswap_benches::{Variant, variants};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut variants: Vec<Variant> = variants();
    if arguments.is_empty() {
        for variant in &variants {
            println!("{}", variant.name());
        }
        return ExitCode::SUCCESS;
    }
    let [name, count] = arguments.as_slice() else {
        eprintln!("usage: instructions VARIANT COUNT");
        return ExitCode::from(2);
    };
    let variant = variants.iter_mut().find(|variant| variant.name() == name);
    let (Some(variant), Ok(count)) = (variant, count.parse()) else {
        eprintln!(
            "{name} is not a variant, or {count} not a number; without arguments: all variants"
        );
        return ExitCode::from(2);
    };
    variant.run(count);
    ExitCode::SUCCESS
}
