//! A terminal for a command: what it asks there, and what it is answered.

use std::fs::File;
use std::io::{Read, Write};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use rustix::pty::{grantpt, ptsname, unlockpt};

use super::command::{behind, send};
use super::{LONGEST_RUN, Vault, eventually, within};

/// A command whose standard input, output and error are a terminal. It is killed when this is dropped.
pub struct AtTerminal {
    child: Child,
    keyboard: File,
    looking: JoinHandle<()>,
    looks_away: Arc<AtomicBool>,
    shown: Arc<Mutex<String>>,
    vault: Vault,
}

impl AtTerminal {
    /// What a command has said at the end may be lost with a `controlling` terminal: the system hangs that up when its
    /// first process ends.
    pub fn run(
        vault: &Vault,
        columns: u16,
        command: std::process::Command,
        controlling: bool,
    ) -> Self {
        // No process inherits it, so that the terminal goes away with it.
        let controller = File::options().read(true).write(true).open("/dev/ptmx").unwrap();
        grantpt(&controller).unwrap();
        unlockpt(&controller).unwrap();
        let name = ptsname(&controller, Vec::new()).unwrap();
        let terminal = File::options().read(true).write(true).open(name.to_str().unwrap()).unwrap();
        let mut size = rustix::termios::tcgetwinsize(&terminal).unwrap();
        (size.ws_col, size.ws_row) = (columns, 50);
        rustix::termios::tcsetwinsize(&terminal, size).unwrap();
        let end = || Stdio::from(terminal.try_clone().unwrap());
        // A session of its own, whose controlling terminal is what is to be its standard input.
        let mut command = match controlling {
            true => behind(["setsid", "-c"], &command),
            false => command,
        };
        let child = command.stdin(end()).stdout(end()).stderr(end()).spawn().unwrap();
        drop((command, terminal));
        let keyboard = controller;
        let mut screen = keyboard.try_clone().unwrap();
        let shown = Arc::new(Mutex::new(String::new()));
        let heard = Arc::clone(&shown);
        let looks_away = Arc::<AtomicBool>::default();
        let ends = Arc::clone(&looks_away);
        // It ends with an error when nobody has the terminal any more.
        let looking = std::thread::spawn(move || {
            let mut piece = [0; 4096];
            while let Ok(length @ 1..) = screen.read(&mut piece) {
                heard.lock().unwrap().push_str(&String::from_utf8_lossy(&piece[..length]));
                if ends.load(Ordering::SeqCst) {
                    return;
                }
            }
        });
        Self { child, keyboard, looking, looks_away, shown, vault: vault.clone() }
    }

    /// The terminal goes away, as a window that is closed or a connection that is lost. Gives the exit code of the
    /// command.
    pub fn goes_away(mut self) -> Option<i32> {
        self.looks_away.store(true, Ordering::SeqCst);
        // What is typed is shown, which ends the look at the screen; without a line end the command does not get it.
        let _ = self.keyboard.write_all(b" ");
        let Self { child, keyboard, looking, shown, vault, .. } = &mut self;
        eventually("the last look", || looking.is_finished().then_some(()));
        *keyboard = File::open("/dev/null").unwrap();
        let status = within(LONGEST_RUN, "its end", || child.try_wait().unwrap());
        vault.look();
        vault.search("the terminal", &shown.lock().unwrap());
        status.code()
    }

    pub fn shown(&self) -> String {
        self.shown.lock().unwrap().clone()
    }

    pub fn ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    pub fn until_shown(&mut self, text: &str) {
        eventually(text, || {
            let shown = self.shown();
            if shown.contains(text) {
                return Some(());
            }
            assert!(self.child.try_wait().unwrap().is_none(), "it ended before {text:?}: {shown}");
            None
        });
    }

    /// Fails if a line of these is wider, unless nothing in it could stand on another one. Those of a live line, which
    /// is drawn over itself, are not looked at.
    #[track_caller]
    pub fn fits(columns: usize, shown: &str) {
        let lines = shown.lines().map(str::trim_end).filter(|line| !line.contains('\u{1b}'));
        for line in lines {
            let words = line.split_whitespace().count();
            let width = console::measure_text_width(line);
            assert!(width <= columns || words <= 2, "{width} columns: {line:?} in {shown}");
        }
    }

    pub fn types(&mut self, line: &str) {
        self.keyboard.write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    /// Ctrl-C at the keyboard of a controlling terminal.
    pub fn interrupts(&mut self) {
        self.keyboard.write_all(b"\x03").unwrap();
    }

    /// Sends a signal by its name. Unless the terminal is the controlling one, no key does that.
    pub fn signal(&self, name: &str) {
        send(&self.child, name);
    }

    /// Waits for its end, and searches what it showed.
    pub fn ends_with(mut self, code: i32) -> String {
        let status = within(LONGEST_RUN, "its end", || self.child.try_wait().unwrap());
        eventually("all that it showed", || self.looking.is_finished().then_some(()));
        let shown = self.shown();
        self.vault.look();
        self.vault.search("the terminal", &shown);
        assert_eq!(status.code(), Some(code), "{shown}");
        shown
    }
}

impl Drop for AtTerminal {
    fn drop(&mut self) {
        // Both fail when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
