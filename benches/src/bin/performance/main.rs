//! Measures everything and writes `docs/performance.md` to its standard output.
//!
//! ```text
//! performance            the whole page
//! performance --check    only the instructions, compared with what is recorded in goals.rs
//! ```
//!
//! With `--check` it fails when one of keyswap's paths got worse by more than a twentieth; where a goal
//! is a difference, by more than ten instructions as well.
#![forbid(unsafe_code)]

mod goals;
mod page;
mod tools;

use std::error::Error;
use std::process::ExitCode;

use goals::{Change, INSTRUCTIONS};
use keyswap_benches::{groups, loopback, replace, time, warm_path};
use page::Figures;

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [] => print!("{}", page::write(&measure()?)?),
        ["--check"] => return check(),
        _ => {
            eprintln!("usage: performance [--check]");
            return Ok(ExitCode::from(2));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Minutes, so that it says where it is.
fn measure() -> Result<Figures, Box<dyn Error>> {
    tools::build()?;
    let mut groups = groups();
    eprintln!("instructions");
    let names: Vec<&str> =
        groups.iter().flat_map(|group| &group.variants).map(|variant| variant.name()).collect();
    let instructions = tools::instructions(&names)?;
    eprintln!("allocations");
    let allocations = tools::allocations()?;
    eprintln!("time");
    let times = groups.iter_mut().map(time::one_thread).collect();
    eprintln!("time, two threads");
    let two_threads = time::two_threads(&mut warm_path());
    eprintln!("loopback");
    let loopback = loopback();
    eprintln!("lists that are replaced");
    let replaced =
        [0, 2, 64].map(|readers| (readers, replace::ring(readers), replace::rw_lock(readers)));
    eprintln!("rotations");
    let rotation = tools::rotation()?;
    Ok(Figures {
        groups,
        instructions,
        allocations,
        times,
        two_threads,
        loopback,
        replaced,
        rotation,
    })
}

fn check() -> Result<ExitCode, Box<dyn Error>> {
    tools::build()?;
    let mut names: Vec<&str> =
        INSTRUCTIONS.iter().flat_map(|goal| goal.ours.iter().copied().chain([goal.peer])).collect();
    names.sort_unstable();
    names.dedup();
    let counted = tools::instructions(&names)?;
    let mut worse = false;
    for goal in INSTRUCTIONS {
        let measured = goal.measured(|name| counted[name]);
        let change = goal.change(measured);
        worse |= change == Change::Worse;
        let verdict = match change {
            Change::Worse => "WORSE than recorded",
            Change::None => "as recorded",
            Change::Better => "better: lower what is recorded in goals.rs",
        };
        let (measured, recorded) = (goal.written(measured), goal.written(goal.recorded));
        println!(
            "{measured:>7} (recorded {recorded:>7}, goal {:>7}) {}: {verdict}",
            goal.written(goal.at_most),
            goal.path
        );
    }
    Ok(if worse { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
