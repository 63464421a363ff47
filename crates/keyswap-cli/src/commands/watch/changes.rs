//! What is new since the last look, for whoever reads lines: a pure function from what was told and what is.

use std::collections::BTreeMap;

use keyswap_admin::rotation::{Direction, State};
use serde_json::{Value, json};

use super::screen::View;
use crate::fleet::{Application, applications};

/// What was told.
#[derive(Default)]
pub(super) struct Seen {
    /// That none is under way.
    none: bool,
    state: Option<(State, Direction, usize)>,
    applications: BTreeMap<String, Application>,
    missing: Vec<String>,
    hold: Option<String>,
    failure: Option<String>,
}

/// A piece of news, for a program and for a person.
struct News(Value, String);

/// How many of those that a rotation waits for one line names.
const MOST_NAMED: usize = 3;

impl Seen {
    /// The news as lines for a person.
    pub(super) fn plain(&mut self, view: &View<'_>) -> Vec<String> {
        let now = view.now;
        self.news(view).into_iter().map(|news| format!("{now} {}", news.1)).collect()
    }

    /// The news as JSON.
    pub(super) fn json(&mut self, view: &View<'_>) -> Vec<String> {
        let with = |mut value: Value| {
            value["client"] = view.client.into();
            value["at_ms"] = view.now.milliseconds().into();
            value.to_string()
        };
        self.news(view).into_iter().map(|news| with(news.0)).collect()
    }

    /// A store that cannot be read; told once.
    pub(super) fn failed(&mut self, error: &str) -> Option<String> {
        let news = self.failure.as_deref() != Some(error);
        self.failure = Some(error.to_owned());
        news.then(|| error.to_owned())
    }

    fn news(&mut self, view: &View<'_>) -> Vec<News> {
        self.failure = None;
        let mut news = Vec::new();
        self.of_state(view, &mut news);
        self.of_applications(view, &mut news);
        self.of_waiting(view, &mut news);
        self.of_hold(view, &mut news);
        news
    }

    fn of_state(&mut self, view: &View<'_>, news: &mut Vec<News>) {
        let Some(record) = &view.status.record else {
            if !std::mem::replace(&mut self.none, true) {
                let text = "no rotation is under way".to_owned();
                news.push(News(json!({ "event": "none" }), text));
            }
            return;
        };
        let state = (record.state, record.direction(), record.entered.len());
        if self.state == Some(state) {
            return;
        }
        self.state = Some(state);
        let back = if record.direction() == Direction::Back { " on the way back" } else { "" };
        let (target, source) = (record.id(record.target()), record.id(record.source()));
        let value = json!({
            "event": "entered", "state": record.state, "direction": record.direction(), "since": record.since(),
            "old": record.old.id(), "new": record.new.id(), "over": record.is_over(),
            "stuck": record.stuck.map(|(_, reason)| reason),
        });
        let text = format!("{}{back}: {target} takes the place of {source}", record.state);
        news.push(News(value, text));
    }

    fn of_applications(&mut self, view: &View<'_>, news: &mut Vec<News>) {
        let present = applications(view.status);
        for (name, one) in &present {
            // More refusals alone are news as well: they are what somebody watches for.
            if self.applications.get(*name) == Some(one) {
                continue;
            }
            let value = json!({
                "event": "application", "application": name, "live": one.live, "ready": one.ready,
                "refused": one.refused, "expected": one.expected, "manual": one.manual,
            });
            let refused = match one.refused {
                0 => String::new(),
                refused => format!(", {refused} attempts refused since they started"),
            };
            let text = format!("{name}: {} live, {} ready{refused}", one.live, one.ready);
            news.push(News(value, text));
        }
        let gone: Vec<String> = self
            .applications
            .keys()
            .filter(|name| !present.contains_key(name.as_str()))
            .cloned()
            .collect();
        for name in gone {
            let value =
                json!({ "event": "application", "application": name, "live": 0, "ready": 0 });
            news.push(News(value, format!("{name}: 0 live")));
        }
        self.applications = present.into_iter().map(|(name, one)| (name.to_owned(), one)).collect();
    }

    fn of_waiting(&mut self, view: &View<'_>, news: &mut Vec<News>) {
        let who: Vec<String> = view.missing.iter().map(|(one, _)| one.who()).collect();
        if who == self.missing {
            return;
        }
        self.missing = who;
        if view.missing.is_empty() {
            return;
        }
        let named = view.missing.iter().take(MOST_NAMED).map(|(one, _)| one.to_string());
        let mut text = format!("waiting: {}", named.collect::<Vec<_>>().join("; "));
        let more = view.missing.len().saturating_sub(MOST_NAMED);
        if more > 0 {
            text.push_str(&format!("; and {more} more"));
        }
        let missing: Vec<_> = view.missing.iter().take(100).map(|(one, _)| one).collect();
        let value = json!({ "event": "waiting", "missing": missing, "count": view.missing.len() });
        news.push(News(value, text));
    }

    fn of_hold(&mut self, view: &View<'_>, news: &mut Vec<News>) {
        let hold = view.status.hold.as_ref();
        let hold = hold.filter(|hold| hold.is_in_force(view.now.milliseconds()));
        let told = hold.map(|hold| format!("{} {}", hold.by, hold.reason));
        if told == self.hold {
            return;
        }
        self.hold = told;
        let text = match hold {
            Some(hold) => format!("held by {}: {}", hold.by, hold.reason),
            None => "the hold is released".to_owned(),
        };
        news.push(News(json!({ "event": "hold", "hold": hold }), text));
    }
}
