//! How a rotation tells what it does: a live line on a terminal, plain lines elsewhere, JSON for
//! machines.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::ProgressBar;
use keyswap_admin::rotation::{Direction, State};
use keyswap_admin::{Finished, Progress};
use serde_json::json;

use crate::exit::Failure;
use crate::window;

/// Shows [`Progress`] to whoever looks.
pub(crate) struct Presenter {
    form: Form,
    /// Of how many clients it tells, if there are several, and how many are at their end.
    several: Option<(usize, usize)>,
}

enum Form {
    /// A spinner on standard error with the present state, and a line for each state behind it.
    Terminal(ProgressBar),
    /// A line on standard error for each news.
    Plain,
    /// An object a line on standard output.
    Json,
}

impl Presenter {
    pub(crate) fn new(json: bool) -> Self {
        let form = if json {
            Form::Json
        } else if std::io::stderr().is_terminal() {
            let bar = ProgressBar::new_spinner()
                .with_style(window::progress_style("{spinner} {wide_msg}"));
            bar.enable_steady_tick(Duration::from_millis(100));
            Form::Terminal(bar)
        } else {
            Form::Plain
        };
        Self { form, several: None }
    }

    /// Names the client in every line, since so many of them are rotated.
    pub(crate) fn of_several(mut self, clients: usize) -> Self {
        self.several = Some((clients, 0));
        self
    }

    pub(crate) fn shared(self) -> Shared {
        std::sync::Arc::new(std::sync::Mutex::new(self))
    }

    pub(crate) fn show(&self, client: &str, progress: &Progress) {
        match (&self.form, self.several) {
            (Form::Json, _) => println!("{}", as_json(client, progress)),
            (Form::Plain, None) => eprintln!("{progress}"),
            (Form::Plain, Some(_)) => eprintln!("{client}: {progress}"),
            (Form::Terminal(bar), None) => match progress {
                Progress::Entered { .. }
                | Progress::TakenUp { .. }
                | Progress::Broken(_)
                | Progress::Note(_) => {
                    bar.println(window::broken(&progress.to_string()));
                    bar.set_message(now(progress).unwrap_or_default());
                }
                _ => bar.set_message(progress.to_string().trim_start().to_owned()),
            },
            (Form::Terminal(bar), Some((clients, ended))) => {
                bar.println(window::broken(&format!("{client}: {progress}")));
                bar.set_message(format!("{ended} of {clients} clients at their end"));
            }
        }
    }

    /// A rotation among several that came to no good end. The one of a command with a single client is
    /// the command's own failure.
    pub(crate) fn fail(&mut self, client: &str, failure: &Failure) {
        let code = failure.code() as u8;
        match &self.form {
            Form::Json => println!(
                "{}",
                json!({ "event": "failed", "client": client, "exit_code": code, "reason": failure.to_string() })
            ),
            Form::Plain => eprintln!("{client}: stopped ({code}): {failure}"),
            Form::Terminal(bar) => {
                bar.println(window::broken(&format!("{client}: stopped ({code}): {failure}")));
            }
        }
        self.one_ended();
    }

    fn one_ended(&mut self) {
        if let Some((_, ended)) = &mut self.several {
            *ended += 1;
        }
    }

    /// The end of a rotation.
    pub(crate) fn finish(&mut self, client: &str, finished: &Finished) {
        match self.several {
            // The others go on.
            Some(_) => self.one_ended(),
            None => self.clear(),
        }
        let total: Duration = finished.states.iter().map(|(_, duration)| *duration).sum();
        if matches!(self.form, Form::Json) {
            println!(
                "{}",
                json!({
                    "event": "finished",
                    "client": client,
                    "old": finished.old,
                    "new": finished.new,
                    "rolled_back": finished.rolled_back,
                    "revision": finished.revision,
                    "total_ms": milliseconds(total),
                    "states_ms": states_as_json(&finished.states),
                })
            );
            return;
        }
        if finished.rolled_back {
            self.say(format!(
                "client {client}: rolled back. {} is in force as before, published alone (revision \
                 {}), {} is out of use; {:.1} s",
                finished.new,
                finished.revision,
                finished.old,
                total.as_secs_f64()
            ));
            return;
        }
        self.say(format!(
            "client {client}: every instance holds {} alone (revision {}), {} is retired; {:.1} s",
            finished.new,
            finished.revision,
            finished.old,
            total.as_secs_f64()
        ));
    }

    fn say(&self, line: String) {
        match &self.form {
            Form::Terminal(bar) => bar.suspend(|| println!("{}", window::broken(&line))),
            _ => println!("{line}"),
        }
    }

    /// Takes the live line away, so that what follows starts on a line of its own.
    pub(crate) fn clear(&self) {
        if let Form::Terminal(bar) = &self.form {
            bar.finish_and_clear();
        }
    }
}

pub(crate) fn states_as_json(states: &[(State, Duration)]) -> serde_json::Value {
    // A rotation that goes back, or was stuck, is in some states more than once.
    let mut lasted = serde_json::Map::new();
    for (state, duration) in states {
        let before = lasted.get(state.name()).and_then(serde_json::Value::as_u64).unwrap_or(0);
        lasted.insert(state.name().to_owned(), json!(before + milliseconds(*duration)));
    }
    lasted.into()
}

pub(crate) fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn as_json(client: &str, progress: &Progress) -> serde_json::Value {
    let mut line = match progress {
        Progress::Checking => json!({ "event": "checking" }),
        Progress::Entered { state, direction, after, hurries, .. } => json!({
            "event": "entered",
            "state": state,
            "direction": direction,
            "after_ms": after.map(milliseconds),
            "compromised": hurries,
        }),
        Progress::TakenUp { state, direction } => {
            json!({ "event": "taken_up", "state": state, "direction": direction })
        }
        Progress::Waiting { state, since, missing } => {
            json!({ "event": "waiting", "state": state, "since": since, "missing": missing })
        }
        Progress::Broken(missing) => json!({ "event": "broken", "missing": missing }),
        Progress::Note(text) => json!({ "event": "note", "text": text }),
        _ => json!({ "event": "other" }),
    };
    line["client"] = client.into();
    line
}

/// What is done now that the state is entered.
fn now(progress: &Progress) -> Option<String> {
    let Progress::Entered { state, direction, .. } = progress else { return None };
    let (target, source) = match direction {
        Direction::Forward => ("new", "old"),
        Direction::Back => ("old", "new"),
    };
    Some(match state {
        State::Staged => "waiting until every instance holds both secrets".to_owned(),
        State::CuttingOver => "changing the secret at the server".to_owned(),
        State::CutOver => format!("proving the {target} secret throughout the propagation window"),
        State::Promoted => format!("waiting until nobody uses the {source} secret"),
        State::Retired => format!("waiting until every instance holds the {target} secret alone"),
        _ => String::new(),
    })
}

/// A presenter that a rotator, and whoever ends its output, both tell.
pub(crate) type Shared = std::sync::Arc<std::sync::Mutex<Presenter>>;

/// Does this with a shared presenter.
pub(crate) fn with<T>(shared: &Shared, act: impl FnOnce(&mut Presenter) -> T) -> T {
    act(&mut shared.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
}
