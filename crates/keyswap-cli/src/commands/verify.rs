//! `keyswap verify`: whether a rotation would begin, and what it would meet, without changing anything.

use keyswap_admin::{
    Authority, Finding, Findings, Level, Rotator, Status, Subject, several, verify_server,
};
use keyswap_store::SecretStore;
use serde_json::{Value, json};

use super::open_store;
use super::rotate::{tell_each, way_out};
use crate::arguments;
use crate::authority::{Purpose, Shared};
use crate::configuration::{Configuration, OfClient};
use crate::exit::{Code, Failure};

/// How many clients are looked at at once.
const AT_ONCE: usize = 4;

/// One line: how bad it is, what it is about, the text, and of an error the exit code.
struct Line {
    level: Level,
    subject: Subject,
    text: String,
    code: Option<Code>,
}

pub(crate) async fn run(options: arguments::Verify) -> Result<(), Failure> {
    let configuration = Configuration::load(&options.configured.config)?;
    configuration.check_filled_in()?;
    let clients = configuration.chosen(&options.chosen)?;
    let server = Shared::to(Purpose::Looks, &configuration).await;
    let look = async |client: &OfClient<'_>| {
        let looked = Looked::at(client, server.as_ref()).await;
        Ok::<_, Failure>(looked)
    };
    let looked = several(AT_ONCE, &clients, look, |_| false).await;
    let mut outcomes = Vec::with_capacity(clients.len());
    for (position, looked) in looked.into_iter().flatten().flatten().enumerate() {
        let between = if position > 0 && !options.json { "\n" } else { "" };
        let text = if options.json { looked.as_json() } else { looked.as_text() };
        print!("{between}{text}");
        outcomes.push(Some(looked.outcome().map(|()| String::new())));
    }
    tell_each(&clients, outcomes, "", "are not as a rotation needs them")
}

/// What was found of one client.
struct Looked {
    client: String,
    /// The worst first.
    lines: Vec<Line>,
    not_looked_at: Vec<Subject>,
}

impl Looked {
    /// What cannot be made or opened hides nothing of the rest.
    async fn at(client: &OfClient<'_>, server: Result<&Shared<'_>, &Failure>) -> Self {
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
                let window = authority.capabilities().propagation_window;
                Rotator::new(authority, store).verify(&client.rotation_policy(window)).await
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
        Self { client: client.id().to_owned(), lines, not_looked_at: found.not_looked_at }
    }

    fn as_text(&self) -> String {
        let mut text = format!("client {}\n", self.client);
        for Line { level, subject, text: line, .. } in &self.lines {
            text.push_str(&format!("{:8} {subject:13} {line}\n", word(*level)));
        }
        if !self.not_looked_at.is_empty() {
            let names: Vec<_> = self.not_looked_at.iter().map(ToString::to_string).collect();
            text.push_str(&format!(
                "not looked at before the errors are mended: {}\n",
                names.join(", ")
            ));
        }
        text
    }

    fn as_json(&self) -> String {
        let findings: Vec<Value> = self
            .lines
            .iter()
            .map(|line| json!({ "level": line.level, "about": line.subject, "text": line.text }))
            .collect();
        let worst = self.lines.iter().map(|line| line.level).max().unwrap_or(Level::Ok);
        let line = json!({
            "client": self.client,
            "level": worst,
            "findings": findings,
            "not_looked_at": self.not_looked_at,
        });
        format!("{line}\n")
    }

    /// Warnings alone are no failure. Of several errors the worst code counts.
    fn outcome(&self) -> Result<(), Failure> {
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
