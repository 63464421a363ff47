//! What other programs say: valgrind, the counting allocator, Cargo's lock file, the machine.

use std::collections::BTreeMap;
use std::fs;
use std::num::NonZero;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Mutex;
use std::thread;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// Enough for the same figure each time; start and end of the process cancel out.
const FEW: u64 = 4_000;
const MANY: u64 = 14_000;

/// Builds the programs that are run from here. They lie beside this one.
pub(crate) fn build() -> Outcome<()> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let mut build = Command::new(cargo);
    build.args(["build", "--quiet", "--profile", "bench", "-p", "keyswap-benches"]);
    build.args(["--bin", "instructions", "--bin", "allocations", "--bin", "rotation"]);
    build.current_dir(env!("CARGO_MANIFEST_DIR"));
    if !build.status()?.success() {
        return Err("the programs that are measured do not build".into());
    }
    Ok(())
}

fn beside(name: &str) -> Outcome<PathBuf> {
    Ok(std::env::current_exe()?.with_file_name(name))
}

fn output(command: &mut Command) -> Outcome<(String, String)> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|error| format!("{name} does not run: {error}"))?;
    let read = |bytes| String::from_utf8_lossy(bytes).into_owned();
    let errors = read(&output.stderr);
    if !output.status.success() {
        return Err(format!("{name} failed: {errors}").into());
    }
    Ok((read(&output.stdout), errors))
}

/// Instructions a call of these variants, by callgrind.
pub(crate) fn instructions(names: &[&str]) -> Outcome<BTreeMap<String, f64>> {
    output(Command::new("valgrind").arg("--version"))
        .map_err(|error| format!("{error}; install valgrind"))?;
    let left = Mutex::new(names.iter());
    let counted = Mutex::new(BTreeMap::new());
    let work = || -> Result<(), String> {
        loop {
            let Some(name) = left.lock().expect("no worker panicked").next() else { return Ok(()) };
            let count = |calls| collected(name, calls).map_err(|error| error.to_string());
            let a_call = (count(MANY)? - count(FEW)?) as f64 / (MANY - FEW) as f64;
            counted.lock().expect("no worker panicked").insert((*name).to_owned(), a_call.round());
        }
    };
    // Counts do not depend on what else runs.
    thread::scope(|scope| {
        let workers: Vec<_> = (0..cores()).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| worker.join().expect("no worker panicked"))
    })?;
    Ok(counted.into_inner().expect("no worker panicked"))
}

fn collected(name: &str, calls: u64) -> Outcome<u64> {
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]);
    valgrind.arg(beside("instructions")?).args([name, &calls.to_string()]);
    let (_, errors) = output(&mut valgrind)?;
    let line = errors.lines().find_map(|line| line.split_once("Collected :"));
    let (_, count) = line.ok_or("callgrind says nothing about what it collected")?;
    Ok(count.trim().parse()?)
}

/// Allocations and bytes a call of all variants.
pub(crate) fn allocations() -> Outcome<BTreeMap<String, (f64, f64)>> {
    let (lines, _) = output(&mut Command::new(beside("allocations")?))?;
    lines
        .lines()
        .map(|line| {
            let mut fields = line.split('\t');
            let mut field = || fields.next().ok_or("a line of `allocations` is too short");
            Ok((field()?.to_owned(), (field()?.parse()?, field()?.parse()?)))
        })
        .collect()
}

/// The part of the page about a rotation.
pub(crate) fn rotation() -> Outcome<String> {
    Ok(output(&mut Command::new(beside("rotation")?))?.0)
}

/// What a package of Cargo.lock depends on, each with its version.
pub(crate) fn dependencies(of: &str) -> Outcome<BTreeMap<String, String>> {
    let lock = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.lock"))?;
    let lock: toml::Table = lock.parse()?;
    let packages = lock.get("package").and_then(toml::Value::as_array);
    let packages = packages.ok_or("Cargo.lock names no package")?;
    let text = |package: &toml::Value, name: &str| {
        package.get(name).and_then(toml::Value::as_str).unwrap_or_default().to_owned()
    };
    let found = packages.iter().find(|package| text(package, "name") == of);
    let list = found.and_then(|found| found.get("dependencies")).and_then(toml::Value::as_array);
    let list = list.ok_or_else(|| format!("Cargo.lock says nothing about {of}"))?;
    let versions = list.iter().filter_map(toml::Value::as_str).map(|dependency| {
        // The version is there only where several are in use.
        let (name, version) = match dependency.split_once(' ') {
            Some((name, version)) => (name, Some(version.to_owned())),
            None => (dependency, None),
        };
        let only = || packages.iter().find(|package| text(package, "name") == name);
        let version = version.or_else(|| only().map(|package| text(package, "version")));
        (name.to_owned(), version.unwrap_or_default())
    });
    Ok(versions.collect())
}

/// In general words: cores, family of the processor, system, compiler.
pub(crate) fn machine() -> Outcome<String> {
    let processor = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = |name: &str| {
        let lines = processor.lines().filter_map(|line| line.split_once(':'));
        lines
            .into_iter()
            .find(|(key, _)| key.trim() == name)
            .map(|(_, value)| value.trim().to_owned())
    };
    // The words of the family: neither the number of the model nor what a hypervisor adds.
    let family = line("model name").unwrap_or_default();
    let family: Vec<&str> = family
        .split_whitespace()
        .take_while(|word| word.chars().all(|c| c.is_alphabetic() || "()-".contains(c)))
        .collect();
    let family =
        if family.is_empty() { std::env::consts::ARCH.to_owned() } else { family.join(" ") };
    let hypervisor = line("flags").is_some_and(|flags| flags.contains("hypervisor"));
    let kind = if hypervisor { "of a virtual machine" } else { "of a machine" };
    let (compiler, _) = output(Command::new("rustc").arg("--version"))?;
    let compiler: Vec<&str> = compiler.split_whitespace().take(2).collect();
    let (valgrind, _) = output(Command::new("valgrind").arg("--version"))?;
    Ok(format!(
        "{} cores {kind} ({family}, {}), {}, {}, {}",
        cores(),
        std::env::consts::ARCH,
        std::env::consts::OS,
        compiler.join(" "),
        valgrind.trim().replace('-', " "),
    ))
}

fn cores() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dependencies_have_the_versions_that_are_in_use() {
        let ours = dependencies("keyswap-benches").unwrap();
        let theirs = dependencies("oauth2").unwrap();
        assert!(ours["reqwest"].starts_with("0.13."), "{ours:?}");
        assert!(theirs["reqwest"].starts_with("0.12."), "{theirs:?}");
        assert!(!ours["tower"].is_empty());
        assert!(dependencies("no-such-package").is_err());
    }
}
