//! How a rotation tells what it does: a live line on a terminal, plain lines elsewhere, JSON for
//! machines.

use std::io::IsTerminal;
use std::sync::Mutex;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use keyswap_admin::rotation::{Direction, State};
use keyswap_admin::{Finished, Progress};
use serde_json::json;

/// Shows [`Progress`] to whoever looks.
pub(crate) struct Presenter {
    form: Form,
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
            let bar = ProgressBar::new_spinner();
            if let Ok(style) = ProgressStyle::with_template("{spinner} {wide_msg}") {
                bar.set_style(style);
            }
            bar.enable_steady_tick(Duration::from_millis(100));
            Form::Terminal(bar)
        } else {
            Form::Plain
        };
        Self { form }
    }

    pub(crate) fn show(&self, progress: &Progress) {
        match &self.form {
            Form::Json => println!("{}", as_json(progress)),
            Form::Plain => eprintln!("{progress}"),
            Form::Terminal(bar) => match progress {
                Progress::Entered { .. } | Progress::TakenUp { .. } | Progress::Note(_) => {
                    bar.println(progress.to_string());
                    bar.set_message(now(progress).unwrap_or_default());
                }
                _ => bar.set_message(progress.to_string().trim_start().to_owned()),
            },
        }
    }

    /// The end of a rotation.
    pub(crate) fn finish(&self, client: &str, finished: &Finished) {
        self.clear();
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
            println!(
                "client {client}: rolled back. {} is in force as before, published alone (revision \
                 {}), {} is out of use; {:.1} s",
                finished.new,
                finished.revision,
                finished.old,
                total.as_secs_f64()
            );
            return;
        }
        println!(
            "client {client}: every instance holds {} alone (revision {}), {} is retired; {:.1} s",
            finished.new,
            finished.revision,
            finished.old,
            total.as_secs_f64()
        );
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

fn as_json(progress: &Progress) -> serde_json::Value {
    match progress {
        Progress::Checking => json!({ "event": "checking" }),
        Progress::Entered { state, direction, after } => json!({
            "event": "entered",
            "state": state,
            "direction": direction,
            "after_ms": after.map(milliseconds),
        }),
        Progress::TakenUp { state, direction } => {
            json!({ "event": "taken_up", "state": state, "direction": direction })
        }
        Progress::Waiting { state, since, missing } => {
            json!({ "event": "waiting", "state": state, "since": since, "missing": missing })
        }
        Progress::Note(text) => json!({ "event": "note", "text": text }),
        _ => json!({ "event": "other" }),
    }
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

/// Shares a presenter between a rotator and whoever ends its output.
pub(crate) fn shared(json: bool) -> std::sync::Arc<Mutex<Presenter>> {
    std::sync::Arc::new(Mutex::new(Presenter::new(json)))
}
