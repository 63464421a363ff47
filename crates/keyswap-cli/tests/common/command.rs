//! Running the command, and what it said.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::{AUDIENCE, AtTerminal, CLIENT, LONGEST_RUN, Site, Vault, eventually, within};

/// The command: the one that was built with the tests, or another that is named, for instance one that was installed.
pub fn keyswap() -> PathBuf {
    std::env::var_os("KEYSWAP_INSTALLED")
        .map_or(env!("CARGO_BIN_EXE_keyswap").into(), PathBuf::from)
}

/// A run of `keyswap`. What it says is searched for secrets.
pub struct Command {
    command: std::process::Command,
    input: Vec<u8>,
    vault: Vault,
}

impl Command {
    pub fn new(vault: &Vault, arguments: &[&str]) -> Self {
        let mut command = std::process::Command::new(keyswap());
        command.args(arguments).env_remove("RUST_LOG").env_remove("KEYSWAP_CONFIG");
        // Tables are drawn as on most machines.
        command.env("LC_ALL", "C.UTF-8");
        Self { command, input: Vec::new(), vault: vault.clone() }
    }

    pub fn argument(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.command.arg(argument);
        self
    }

    pub fn environment(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    pub fn directory(mut self, directory: &Path) -> Self {
        self.command.current_dir(directory);
        self
    }

    /// What the end of its terminal is to it: the `default`, or `ignore` as below `nohup`, whatever it is to these tests.
    pub fn hang_up(mut self, action: &str) -> Self {
        self.command = behind(["env", &format!("--{action}-signal=HUP")], &self.command);
        self
    }

    pub fn input(mut self, input: impl Into<Vec<u8>>) -> Self {
        self.input = input.into();
        self
    }

    /// Runs it at a terminal of so many columns.
    pub fn at_terminal(self, columns: u16) -> AtTerminal {
        self.vault.look();
        AtTerminal::run(&self.vault, columns, self.command, false)
    }

    /// Runs it at a terminal that is its own, as a person's shell does, so that it hears when that goes away.
    pub fn at_its_own_terminal(self) -> AtTerminal {
        self.vault.look();
        AtTerminal::run(&self.vault, 80, self.command, true)
    }

    /// Runs it to its end.
    pub fn run(self) -> Output {
        self.spawn().wait()
    }

    pub fn spawn(mut self) -> Running {
        self.vault.look();
        let mut child = self
            .command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        // A command that ends before it reads all of it is no fault of the test.
        let _ = stdin.write_all(&self.input);
        let stdin = if self.input.is_empty() { Some(stdin) } else { None };
        let (stdout, stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        Running {
            child: Process(child),
            stdin,
            stdout: Heard::listen(stdout),
            stderr: Heard::listen(stderr),
            vault: self.vault,
            shown: format!("{:?}", self.command.get_args()),
        }
    }
}

/// The command, run by another program with this argument.
pub fn behind(
    [program, argument]: [&str; 2],
    command: &std::process::Command,
) -> std::process::Command {
    let mut behind = std::process::Command::new(program);
    behind.arg(argument).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => behind.env(name, value),
            None => behind.env_remove(name),
        };
    }
    if let Some(directory) = command.get_current_dir() {
        behind.current_dir(directory);
    }
    behind
}

/// What came out of one end so far.
struct Heard {
    text: Arc<Mutex<Vec<u8>>>,
    end: JoinHandle<()>,
}

impl Heard {
    fn listen(source: impl Read + Send + 'static) -> Self {
        let text = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&text);
        let end = std::thread::spawn(move || {
            let mut source = BufReader::new(source);
            loop {
                let piece = source.fill_buf().unwrap_or_default();
                if piece.is_empty() {
                    return;
                }
                let length = piece.len();
                heard.lock().unwrap().extend_from_slice(piece);
                source.consume(length);
            }
        });
        Self { text, end }
    }

    fn so_far(&self) -> String {
        String::from_utf8_lossy(&self.text.lock().unwrap()).into_owned()
    }

    fn all(self) -> String {
        self.end.join().unwrap();
        String::from_utf8(std::mem::take(&mut *self.text.lock().unwrap())).unwrap()
    }
}

/// A process that does not outlive the test.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail when it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Sends a signal by its name. By a call and not by a program: until that runs, what is to be stopped goes on.
pub(super) fn send(child: &Child, name: &str) {
    let signal = match name {
        "CONT" => Signal::CONT,
        "HUP" => Signal::HUP,
        "INT" => Signal::INT,
        "STOP" => Signal::STOP,
        "TERM" => Signal::TERM,
        _ => panic!("no signal {name}"),
    };
    kill_process(Pid::from_child(child), signal).unwrap();
}

/// A run that goes on. It is killed when this is dropped.
pub struct Running {
    child: Process,
    stdin: Option<ChildStdin>,
    stdout: Heard,
    stderr: Heard,
    vault: Vault,
    shown: String,
}

impl Running {
    pub fn ended(&mut self) -> bool {
        self.child.0.try_wait().unwrap().is_some()
    }

    pub fn stdout(&self) -> String {
        self.stdout.so_far()
    }

    pub fn stderr(&self) -> String {
        self.stderr.so_far()
    }

    /// Waits until standard error holds this text.
    pub fn until_stderr(&mut self, text: &str) {
        eventually(text, || {
            if self.stderr().contains(text) {
                return Some(());
            }
            assert!(!self.ended(), "{} ended before {text:?}: {}", self.shown, self.stderr());
            None
        });
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        self.child.0.kill().unwrap();
    }

    /// Sends a signal by its name, for instance `INT`.
    pub fn signal(&self, name: &str) {
        send(&self.child.0, name);
    }

    pub fn close_stdin(&mut self) {
        self.stdin = None;
    }

    /// Waits for its end, and searches what it said.
    pub fn wait(mut self) -> Output {
        self.close_stdin();
        let status = within(LONGEST_RUN, &format!("the end of {}", self.shown), || {
            self.vault.look();
            let status = self.child.0.try_wait().unwrap();
            if status.is_none() {
                std::thread::sleep(Duration::from_millis(5));
            }
            status
        });
        let output = Output {
            status,
            stdout: self.stdout.all(),
            stderr: self.stderr.all(),
            shown: self.shown,
        };
        self.vault.look();
        self.vault.search(&format!("standard output of {}", output.shown), &output.stdout);
        self.vault.search(&format!("standard error of {}", output.shown), &output.stderr);
        output
    }
}

/// What a run said and ended with.
#[derive(Debug)]
pub struct Output {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
    shown: String,
}

impl Output {
    /// Fails unless it ended with this exit code.
    #[track_caller]
    pub fn ends_with(&self, code: i32) -> &Self {
        assert_eq!(self.status.code(), Some(code), "{self:#?}");
        self
    }

    /// Fails unless it ended with this exit code, and the last thing on standard error is one paragraph
    /// that holds each of these texts.
    #[track_caller]
    pub fn says(&self, code: i32, texts: &[&str]) -> &Self {
        self.ends_with(code);
        let paragraph = self.paragraph();
        for text in texts {
            assert!(paragraph.contains(text), "{text:?} is not in: {paragraph}");
        }
        self
    }

    /// The error: one line that begins with the name of the command, and nothing behind it.
    #[track_caller]
    pub fn paragraph(&self) -> &str {
        let lines: Vec<_> =
            self.stderr.lines().filter(|line| line.starts_with("keyswap: ")).collect();
        assert_eq!(lines.len(), 1, "one paragraph is expected: {self:#?}");
        assert_eq!(self.stderr.lines().last(), Some(lines[0]), "{self:#?}");
        lines[0]
    }

    /// Standard output as one JSON value a line.
    #[track_caller]
    pub fn json_lines(&self) -> Vec<Value> {
        let parse = |line: &str| {
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in line {line:?}"))
        };
        self.stdout.lines().map(parse).collect()
    }
}

/// Programs that sign in at a steady rate, each a process of its own that follows the store.
pub struct Programs {
    running: Vec<Running>,
}

impl Programs {
    /// Starts `count` instances of `application`, and waits until each holds the list.
    pub fn start(site: &Site, application: &str, count: usize, rate: u32) -> Self {
        let store = site.store();
        let running = (0..count).map(|number| {
            let way = if number % 2 == 0 { "middleware" } else { "layer" };
            let rate = rate.to_string();
            let token_endpoint = format!("{}/oauth/token", site.url);
            let arguments = [
                "demo-instance",
                "--client",
                CLIENT,
                "--application",
                application,
                "--token-endpoint",
                &token_endpoint,
                "--audience",
                AUDIENCE,
                "--rate",
                &rate,
                "--window",
                "300ms",
                "--way",
                way,
                "--store",
            ];
            Command::new(&site.vault, &arguments).argument(&store).spawn()
        });
        let programs = Self { running: running.collect() };
        eventually("the programs read the list", || {
            let ready =
                site.status().instances.into_iter().filter(|one| {
                    one.live && one.application == application && one.revision.is_some()
                });
            (ready.count() >= count).then_some(())
        });
        programs
    }

    /// Sends each of them a signal by its name.
    pub fn signal(&self, name: &str) {
        self.running.iter().for_each(|program| program.signal(name));
    }

    /// `kill -9`.
    pub fn kill(mut self) {
        self.running.iter_mut().for_each(Running::kill);
    }

    /// Ends them, and adds up what they counted: requests, failed, saved by the fallback.
    pub fn stop(mut self) -> (u64, u64, u64) {
        self.running.iter_mut().for_each(Running::close_stdin);
        let mut total = (0, 0, 0);
        for program in self.running {
            let output = program.wait();
            output.ends_with(0);
            let tally = &output.json_lines()[0];
            let count = |name: &str| tally[name].as_u64().unwrap();
            if count("failed") > 0 {
                eprintln!("what failed: {}", tally["failures"]);
            }
            total =
                (total.0 + count("requests"), total.1 + count("failed"), total.2 + count("saved"));
        }
        total
    }
}
