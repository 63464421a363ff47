//! `keyswap verify`: whether a rotation would begin, and what it would meet, without changing anything.

use std::time::Duration;

use clap::Args;
use keyswap_admin::{
    Authority, Finding, Findings, Level, Rotator, Status, Subject, several, verify_server,
};
use keyswap_store::SecretStore;
use serde_json::{Value, json};

use crate::arguments::{Chosen, Configured};
use crate::authority::{ConfiguredAuthority, Purpose, Shared};
use crate::configuration::{Configuration, OfClient};
use crate::exit::{Code, Failure};
use crate::outcomes::tell_each;
use crate::rotating::way_out;
use crate::store::{ConfiguredStore, open_store};
use crate::window::{paragraph, window};

const EXAMPLE: &str = "\
Example:
  keyswap verify --json | grep '\"level\":\"error\"'

Each line is `error`, `warning` or `ok`, the worst first. An error keeps `keyswap rotate` from beginning, or
programs from signing in, and decides about the exit code as it would there; with warnings alone that is 0.
Nothing is changed, at the server or in the store; the server is asked for tokens.";

#[derive(Args, Debug)]
#[command(after_help = EXAMPLE)]
pub(crate) struct Verify {
    #[command(flatten)]
    configured: Configured,
    #[command(flatten)]
    chosen: Chosen,
    /// Print one JSON object a client
    #[arg(long)]
    json: bool,
}

/// How many clients are looked at at once.
const AT_ONCE: usize = 4;

/// One line: how bad it is, what it is about, the text, and of an error the exit code.
pub(super) struct Line {
    pub(super) level: Level,
    pub(super) subject: Subject,
    pub(super) text: String,
    code: Option<Code>,
}

pub(crate) async fn run(options: Verify) -> Result<(), Failure> {
    let configuration = Configuration::load(&options.configured.config)?;
    configuration.check_filled_in()?;
    let clients = configuration.chosen(&options.chosen)?;
    let server = Shared::to(Purpose::Looks, &configuration).await;
    let look = async |client: &OfClient<'_>| {
        let verify = async |rotator: Rotator<_, _>, window, _| {
            (rotator.verify(&client.rotation_policy(window)).await, None::<()>)
        };
        Ok::<_, Failure>(Looked::with(client, server.as_ref(), verify).await.0)
    };
    let looked = several(AT_ONCE, &clients, look, |_| false).await;
    let mut outcomes = Vec::with_capacity(clients.len());
    for (position, looked) in looked.into_iter().flatten().flatten().enumerate() {
        let between = if position > 0 && !options.json { "\n" } else { "" };
        let text = match options.json {
            true => format!("{}\n", looked.to_json()),
            false => looked.as_text(window()),
        };
        print!("{between}{text}");
        outcomes.push(Some(looked.outcome().map(|()| String::new())));
    }
    tell_each(&clients, outcomes, "", "are not as a rotation needs them")
}

/// What was found of one client.
pub(super) struct Looked {
    client: String,
    /// The worst first.
    lines: Vec<Line>,
    not_looked_at: Vec<Subject>,
}

impl Looked {
    /// What cannot be made or opened hides nothing of the rest. Where all can be, `look` looks, and may see more
    /// than it finds.
    pub(super) async fn with<T>(
        client: &OfClient<'_>,
        server: Result<&Shared<'_>, &Failure>,
        look: impl AsyncFnOnce(
            Rotator<ConfiguredAuthority, ConfiguredStore>,
            Duration,
            &'static str,
        ) -> (Findings, Option<T>),
    ) -> (Self, Option<T>) {
        let mut seen = None;
        let mut lines = Vec::new();
        if let Err(failure) = client.check_management() {
            lines.push(Line::of(Subject::Configuration, &failure));
        }
        let authority = match server {
            Ok(server) => {
                server.authority(client).map_err(|failure| Line::of(Subject::Server, &failure))
            }
            Err(failure) => Err(Line::of(Subject::Server, failure)),
        };
        let store = open_store(client).map_err(|failure| Line::of(Subject::Store, &failure));
        let found = match (authority, store) {
            (Ok(authority), Ok(store)) => {
                let capabilities = authority.capabilities();
                let (window, kind) = (capabilities.propagation_window, capabilities.name);
                let (found, more) = look(Rotator::new(authority, store), window, kind).await;
                seen = more;
                found
            }
            (Ok(authority), Err(line)) => {
                lines.push(line);
                verify_server(&authority).await
            }
            (Err(line), Ok(store)) => {
                lines.push(line);
                lines.push(match Status::read(&store).await {
                    Ok(_) => {
                        let text = format!("{} can be read", store.describe());
                        Line::from(&Finding::ok(Subject::Store, text))
                    }
                    Err(error) => Line::of(Subject::Store, &Failure::from(error)),
                });
                nothing_but_errors()
            }
            (Err(one), Err(other)) => {
                lines.extend([one, other]);
                nothing_but_errors()
            }
        };
        lines.extend(found.found.iter().map(Line::from));
        // Those that are as bad stay in the order in which they were found.
        lines.sort_by_key(|line| std::cmp::Reverse(line.level));
        let client = client.id().to_owned();
        (Self { client, lines, not_looked_at: found.not_looked_at }, seen)
    }

    /// The worst first.
    pub(super) fn lines(&self) -> impl Iterator<Item = &Line> {
        self.lines.iter()
    }

    fn as_text(&self, window: Option<usize>) -> String {
        let mut text = format!("client {}\n", self.client);
        let mut say = |line: &str| paragraph(&mut text, 0, line, window.unwrap_or(usize::MAX));
        for Line { level, subject, text: line, .. } in &self.lines {
            say(&format!("{:8} {subject:13} {line}", word(*level)));
        }
        if !self.not_looked_at.is_empty() {
            let names: Vec<_> = self.not_looked_at.iter().map(ToString::to_string).collect();
            say(&format!("not looked at before the errors are mended: {}", names.join(", ")));
        }
        text
    }

    pub(super) fn to_json(&self) -> Value {
        let findings: Vec<Value> = self
            .lines
            .iter()
            .map(|line| json!({ "level": line.level, "about": line.subject, "text": line.text }))
            .collect();
        let worst = self.lines.iter().map(|line| line.level).max().unwrap_or(Level::Ok);
        json!({
            "client": self.client,
            "level": worst,
            "findings": findings,
            "not_looked_at": self.not_looked_at,
        })
    }

    /// Warnings alone are no failure. Of several errors the worst code counts.
    pub(super) fn outcome(&self) -> Result<(), Failure> {
        let errors = || self.lines.iter().filter_map(|line| Some((line, line.code?)));
        let worst = errors().map(|(_, code)| code).max_by_key(|code| code.severity());
        let Some(worst) = worst else { return Ok(()) };
        let about: Vec<_> = errors().map(|(line, _)| line.subject.to_string()).collect();
        let message = format!(
            "client {}: a rotation does not begin, or programs cannot sign in, as this is: {}. What to do \
             stands above, at each `error`; nothing was changed",
            self.client,
            about.join(", ")
        );
        Err(Failure::new(worst, message))
    }
}

impl Line {
    fn of(subject: Subject, failure: &Failure) -> Self {
        Self { level: Level::Error, subject, text: failure.to_string(), code: Some(failure.code()) }
    }
}

impl From<&Finding> for Line {
    fn from(finding: &Finding) -> Self {
        let (level, subject) = (finding.level(), finding.subject());
        let kind = finding.error_kind();
        let way_out = kind.map(way_out).unwrap_or_default();
        let text = format!("{finding}{way_out}");
        let code = kind.filter(|_| level == Level::Error).map(Code::from);
        Self { level, subject, text, code }
    }
}

fn nothing_but_errors() -> Findings {
    let mut findings = Findings::default();
    findings.not_looked_at.extend([Subject::Secret, Subject::Applications]);
    findings
}

fn word(level: Level) -> &'static str {
    match level {
        Level::Error => "error",
        Level::Warning => "warning",
        _ => "ok",
    }
}
