//! How a rotation tells what it does: a live line on a terminal, plain lines elsewhere, JSON for
//! machines.

use std::io::IsTerminal;
use std::sync::Mutex;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use keyswap_admin::rotation::{Missing, State};
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
            Form::Plain => eprintln!("{}", as_line(progress)),
            Form::Terminal(bar) => match progress {
                Progress::Entered { .. } | Progress::TakenUp { .. } | Progress::Note(_) => {
                    bar.println(as_line(progress));
                    bar.set_message(now(progress).unwrap_or_default());
                }
                _ => bar.set_message(as_line(progress)),
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

fn as_line(progress: &Progress) -> String {
    match progress {
        Progress::Checking => "checking the server, the store and the present secret".to_owned(),
        Progress::Entered { state, after } => {
            let after = after.map_or(0.0, |after| after.as_secs_f64());
            format!("{:<13} {} ({after:.1} s)", state.name(), reached(*state))
        }
        Progress::TakenUp { state } => format!("taken up again in state {state}"),
        Progress::Waiting { missing, .. } => format!("  waiting: {}", summary(missing)),
        Progress::Note(text) => format!("  note: {text}"),
        _ => String::new(),
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

fn reached(state: State) -> &'static str {
    match state {
        State::Generated => "a new secret is in the journal",
        State::Staged => "both secrets are published, the old one first",
        State::Adopted => "every instance holds both",
        State::CuttingOver => "the server is asked to take the new secret",
        State::CutOver => "the server has the new secret",
        State::Confirmed => "it was accepted throughout the propagation window",
        State::Promoted => "both secrets are published, the new one first",
        State::Drained => "every instance attests that the old secret is unused",
        State::Retired => "the new secret is published alone; the server refuses the old one",
        State::Done => "every instance holds the new secret alone",
        _ => "a person has to look",
    }
}

/// The first few reasons, and how many more there are.
fn summary(missing: &[Missing]) -> String {
    let mut text = missing.iter().take(3).map(ToString::to_string).collect::<Vec<_>>().join("; ");
    if missing.len() > 3 {
        text.push_str(&format!("; and {} more", missing.len() - 3));
    }
    text
}

/// Shares a presenter between a rotator and whoever ends its output.
pub(crate) fn shared(json: bool) -> std::sync::Arc<Mutex<Presenter>> {
    std::sync::Arc::new(Mutex::new(Presenter::new(json)))
}
