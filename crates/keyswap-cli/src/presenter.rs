//! How a rotation tells what it does: a live line on a terminal, plain lines elsewhere, JSON for
//! machines.

use std::io::IsTerminal;
use std::sync::Mutex;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use keyswap_admin::rotation::State;
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
                    "revision": finished.revision,
                    "total_ms": milliseconds(total),
                    "states_ms": states_as_json(&finished.states),
                })
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
    states
        .iter()
        .map(|(state, duration)| (state.name().to_owned(), json!(milliseconds(*duration))))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

pub(crate) fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn as_json(progress: &Progress) -> serde_json::Value {
    match progress {
        Progress::Checking => json!({ "event": "checking" }),
        Progress::Entered { state, after } => {
            json!({ "event": "entered", "state": state, "after_ms": after.map(milliseconds) })
        }
        Progress::TakenUp { state } => json!({ "event": "taken_up", "state": state }),
        Progress::Waiting { state, missing } => {
            json!({ "event": "waiting", "state": state, "missing": missing })
        }
        Progress::Note(text) => json!({ "event": "note", "text": text }),
        _ => json!({ "event": "other" }),
    }
}

/// What is done now that the state is entered.
fn now(progress: &Progress) -> Option<String> {
    let Progress::Entered { state, .. } = progress else { return None };
    Some(match state {
        State::Staged => "waiting until every instance holds both secrets".to_owned(),
        State::CuttingOver => "changing the secret at the server".to_owned(),
        State::CutOver => "proving the new secret throughout the propagation window".to_owned(),
        State::Promoted => "waiting until nobody uses the old secret".to_owned(),
        State::Retired => "waiting until every instance holds the new secret alone".to_owned(),
        _ => String::new(),
    })
}

/// Shares a presenter between a rotator and whoever ends its output.
pub(crate) fn shared(json: bool) -> std::sync::Arc<Mutex<Presenter>> {
    std::sync::Arc::new(Mutex::new(Presenter::new(json)))
}
