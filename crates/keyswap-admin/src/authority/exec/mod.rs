//! Any server, by way of a program of your own that speaks JSON on its standard input and output.
//!
//! What the program is asked and what it may answer is in `docs/exec.md`. One process a request: nothing of
//! one request can spoil the next, a process that hangs or dies takes nothing with it, and its author needs no
//! loop, no framing and no state. A rotation makes some tens of requests in minutes, so what it costs to start a
//! process does not matter.

mod message;
mod process;
mod redact;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use keyswap_core::{Secret, SecretId};

use self::message::{Answer, Ask, Outcome};
use self::process::{Ended, Fault, Program, Said, Value};
use self::redact::Redactor;
use super::described::{Asked, Request};
use super::http::{DEFAULT_PAUSE, MOST_ASKED, REQUEST_TIMEOUT};
use super::pace::{Said as SaidOfLimit, Turns};
use super::{
    AddAnswer, Authority, AuthorityError, AuthorityErrorKind, Capabilities, ChangeAnswer, Listed,
    NewSecret, Pace, Probe, ReadBack, Slot, SlotId,
};

/// What a process gets of the environment without being told so: where programs are, and in which words to
/// speak.
const PASSED_ON: [&str; 6] = ["HOME", "LANG", "LC_ALL", "PATH", "TMPDIR", "TZ"];
/// The value of a variable that is shorter is too common a text to be hidden.
const SHORTEST_HIDDEN: usize = 8;
/// How long a request may take.
const TIMEOUTS: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(100)..=Duration::from_secs(300);

/// One client of a server that a program of yours administers.
///
/// The program is started once for each request, with the request on its standard input; its answer is what it
/// writes to its standard output, one JSON object. It says itself what its server can do, and the rotation
/// follows from that. A change of which no certain answer comes, since the program died, hung or wrote
/// something else, may have been made, and is found out about, as with any other server.
///
/// ```no_run
/// # async fn example() -> Result<(), keyswap_admin::AuthorityError> {
/// use keyswap_admin::Exec;
///
/// let exec = Exec::builder("./our-server", "billing")
///     .arguments(["--realm", "shop"])
///     .environment("OUR_SERVER_TOKEN")
///     .describe()
///     .await?;
/// # Ok(())
/// # }
/// ```
pub struct Exec {
    shared: Arc<Shared>,
    client: String,
    turns: Turns,
}

/// What all clients of a program share.
struct Shared {
    program: Program,
    capabilities: Capabilities,
    listener: Listener,
}

type Listener = Arc<dyn Fn(&str) + Send + Sync>;

/// Makes an [`Exec`].
#[must_use]
pub struct ExecBuilder {
    command: PathBuf,
    arguments: Vec<OsString>,
    directory: Option<PathBuf>,
    environment: Vec<String>,
    variables: Vec<(String, OsString)>,
    timeout: Duration,
    client: String,
    pace: Pace,
    listener: Listener,
}

impl Exec {
    /// The client `client_id` of the server that `command` administers: a path, or a name that is looked up in
    /// `PATH`.
    pub fn builder(command: impl Into<PathBuf>, client_id: impl Into<String>) -> ExecBuilder {
        ExecBuilder {
            command: command.into(),
            arguments: Vec::new(),
            directory: None,
            environment: Vec::new(),
            variables: Vec::new(),
            timeout: REQUEST_TIMEOUT,
            client: client_id.into(),
            pace: Pace::new(),
            listener: Arc::new(|_| {}),
        }
    }

    /// Another client of the same server, which shares the [`Pace`] with this one. The program is not asked
    /// again what its server can do.
    #[must_use]
    pub fn another(&self, client_id: impl Into<String>) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            client: client_id.into(),
            turns: Turns::new(self.turns.pace.clone()),
        }
    }
}

impl ExecBuilder {
    /// What the program is started with. No secret belongs here: everybody on the machine can read it.
    pub fn arguments(mut self, arguments: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        self.arguments = arguments.into_iter().map(Into::into).collect();
        self
    }

    /// Where the program is started. By default where this process is.
    pub fn directory(mut self, directory: impl Into<PathBuf>) -> Self {
        self.directory = Some(directory.into());
        self
    }

    /// Passes this variable of the environment on. Without that the program gets `HOME`, `LANG`, `LC_ALL`,
    /// `PATH`, `TMPDIR` and `TZ`, and nothing else.
    pub fn environment(mut self, name: impl Into<String>) -> Self {
        self.environment.push(name.into());
        self
    }

    /// Sets this variable in the environment of the program: for instance to a token that the program needs for
    /// its requests. What it says is shown without the value.
    pub fn variable(mut self, name: impl Into<String>, value: impl Into<OsString>) -> Self {
        self.variables.push((name.into(), value.into()));
        self
    }

    /// How long a request may take, from 100 ms to 5 minutes; 30 s by default. Then the process is ended, with
    /// all that it has started.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The pace of the requests, which others at the same server may share. Requests that prove a secret are not
    /// counted.
    pub fn pace(mut self, pace: Pace) -> Self {
        self.pace = pace;
        self
    }

    /// Takes what the program says on its standard error, a line a call, without secrets.
    pub fn on_said(mut self, listener: impl Fn(&str) + Send + Sync + 'static) -> Self {
        self.listener = Arc::new(listener);
        self
    }

    /// The authority: asks the program what its server can do.
    ///
    /// # Errors
    ///
    /// [`AuthorityErrorKind::Configuration`] if the program cannot be started, a variable is not set, or what it
    /// declares does not hold together; another kind if it does not answer as it should.
    pub async fn describe(self) -> Result<Exec, AuthorityError> {
        let name = self.command.display().to_string();
        let configuration = |message: String| {
            let message = format!("the program {name}: {message}");
            AuthorityError::new(AuthorityErrorKind::Configuration, message)
        };
        if self.command.as_os_str().is_empty() {
            return Err(AuthorityError::new(
                AuthorityErrorKind::Configuration,
                "exec: the command names no program",
            ));
        }
        if !TIMEOUTS.contains(&self.timeout) {
            return Err(configuration("its timeout is from 100ms to 5m".to_owned()));
        }
        let mut environment = BTreeMap::new();
        for name in PASSED_ON {
            if let Some(value) = std::env::var_os(name) {
                environment.insert(name.to_owned(), Value(value));
            }
        }
        for name in self.environment {
            let value = std::env::var_os(&name).ok_or_else(|| {
                let way_out = "set it, or take its name out of `environment`";
                configuration(format!("the environment variable {name} is not set: {way_out}"))
            })?;
            environment.insert(name, Value(value));
        }
        let given = self.variables.into_iter();
        environment.extend(given.map(|(name, value)| (name, Value(value))));
        let (command, arguments) = (self.command, self.arguments);
        let program = Program {
            command,
            arguments,
            directory: self.directory,
            environment,
            timeout: self.timeout,
        };
        // Only to ask with: nobody looks at its capabilities.
        let capabilities = Capabilities::new("exec");
        let asked = Exec {
            shared: Arc::new(Shared { program, capabilities, listener: self.listener }),
            client: self.client,
            turns: Turns::new(self.pace),
        };
        let answer = asked.query(Ask::Describe).await?;
        let declared = answer.capabilities.ok_or_else(|| {
            configuration("its answer to describe holds no `capabilities`".to_owned())
        })?;
        let capabilities = message::capabilities(declared)
            .map_err(|reason| configuration(format!("its `capabilities`: {reason}")))?;
        let Exec { shared, client, turns } = asked;
        let shared = Arc::into_inner(shared)
            .ok_or_else(|| configuration("it is used elsewhere".to_owned()))?;
        Ok(Exec { shared: Arc::new(Shared { capabilities, ..shared }), client, turns })
    }
}

/// A request without an answer that can be used.
struct Failed {
    fault: Option<Fault>,
    /// What was wrong, and the way out.
    message: String,
}

impl Failed {
    /// Whether the program did nothing, for certain.
    fn did_nothing(&self) -> bool {
        matches!(self.fault, Some(Fault::NotStarted(_)))
    }

    fn into_error(self) -> AuthorityError {
        let kind = match self.fault {
            Some(Fault::NotStarted(_)) => AuthorityErrorKind::Configuration,
            Some(Fault::TimedOut | Fault::LeaseOver) => AuthorityErrorKind::Unreachable,
            _ => AuthorityErrorKind::Unexpected,
        };
        AuthorityError::new(kind, self.message)
    }
}

impl Exec {
    /// Runs the program once.
    async fn run(&self, ask: Ask<'_>) -> Result<(Answer, Redactor), Failed> {
        if ask.is_management() {
            self.turns.turn().await;
        }
        let program = &self.shared.program;
        let request = ask.to_line(&self.client, program.timeout);
        let Ended { answer, said } = process::run(program, &request).await;
        let mut redactor = Redactor::default();
        if let Some(secret) = ask.secret() {
            redactor.hide(&self.client, secret.expose());
        }
        let own =
            program.environment.iter().filter(|(name, _)| !PASSED_ON.contains(&name.as_str()));
        for (_, Value(value)) in own {
            let value = value.to_str().filter(|value| value.len() >= SHORTEST_HIDDEN);
            value.iter().for_each(|value| redactor.hide(&self.client, value));
        }
        let parsed = answer.map_err(|fault| (self.describe_fault(&fault), Some(fault)));
        let parsed = parsed.and_then(|text| Answer::parse(&text).map_err(|reason| (reason, None)));
        if let Ok(answer) = &parsed {
            let shown = answer.secrets.iter().flatten().filter_map(|shown| shown.value.as_ref());
            for value in shown.chain(&answer.value) {
                redactor.hide(&self.client, value);
            }
            if let Some(pause) = answer.turned_away(DEFAULT_PAUSE) {
                let turned_away = Some(pause);
                self.turns.pace.told(&SaidOfLimit { turned_away, ..SaidOfLimit::default() });
            }
        }
        let last = self.pass_on(&said, &redactor);
        match parsed {
            Ok(answer) => Ok((answer, redactor)),
            Err((reason, fault)) => {
                let said = last.map(|line| format!(". It said: {line}")).unwrap_or_default();
                let reason = redactor.line(&reason);
                let message =
                    format!("the program {}, asked to {}: {reason}{said}", self.name(), ask.name());
                Err(Failed { fault, message })
            }
        }
    }

    /// Tells what the program said, and gives its last line.
    fn pass_on(&self, said: &Said, redactor: &Redactor) -> Option<String> {
        let lines = redactor.lines(&said.text);
        for line in &lines {
            (self.shared.listener)(line);
        }
        if said.cut_off {
            (self.shared.listener)("(it said more, which is left out)");
        }
        lines.into_iter().last()
    }

    fn describe_fault(&self, fault: &Fault) -> String {
        let timeout = self.shared.program.timeout.as_secs_f64();
        match fault {
            Fault::NotStarted(error) => format!(
                "it cannot be started ({error}): check `command`, that the file is there and executable, and \
                 that a script begins with #! and the path of its interpreter"
            ),
            Fault::LeaseOver => "nothing was asked, since the rotation lease is over".to_owned(),
            Fault::TimedOut => format!(
                "no answer within {timeout} s, so it was ended: let it answer in less, or give it a longer \
                 `timeout`"
            ),
            Fault::TooLong => format!(
                "its answer is longer than {} bytes, so it was ended: print one JSON object",
                process::LONGEST_ANSWER
            ),
            Fault::Failed(status) => format!(
                "it ended with {status} and not with success: let it say what is wrong in its answer, and end \
                 with 0"
            ),
            Fault::Unreadable(error) => format!("its answer could not be read ({error})"),
            Fault::Silent(false) => {
                "it answered nothing: let it print one JSON object to standard output".to_owned()
            }
            Fault::Silent(true) => {
                "it closed its standard input before it had read the request, and \
                                    answered nothing: let it read its standard input to the end"
                    .to_owned()
            }
        }
    }

    /// Asks for something that changes nothing, and asks again while the server has no time.
    async fn query(&self, ask: Ask<'_>) -> Result<Answer, AuthorityError> {
        let mut asked = 1;
        loop {
            let (answer, redactor) = self.run(ask).await.map_err(Failed::into_error)?;
            if answer.outcome == Outcome::Ok {
                return Ok(answer);
            }
            let busy = answer.error().0 == AuthorityErrorKind::Throttled;
            // The pace has taken in how long to wait.
            if !busy || answer.outcome != Outcome::Error || asked == MOST_ASKED {
                return Err(self.refused(ask, &answer, &redactor));
            }
            asked += 1;
        }
    }

    /// Asks for a change, once.
    async fn change(&self, ask: Ask<'_>) -> Result<Answer, ChangeAnswer> {
        let (answer, redactor) =
            self.run(ask).await.map_err(|failed| match failed.did_nothing() {
                true => ChangeAnswer::Refused(failed.into_error()),
                false => ChangeAnswer::Unknown(failed.message),
            })?;
        if let Some(pause) = answer.turned_away(DEFAULT_PAUSE) {
            // An error is not the certain word that nothing was done.
            if answer.outcome == Outcome::NotApplied {
                return Err(ChangeAnswer::RetryAfter(pause));
            }
        }
        match answer.outcome {
            Outcome::Applied => Ok(answer),
            Outcome::NotApplied => {
                Err(ChangeAnswer::Refused(self.refused(ask, &answer, &redactor)))
            }
            _ => {
                let reason = self.reason(&answer, &redactor);
                Err(ChangeAnswer::Unknown(format!(
                    "the program {}, asked to {}, does not know: {reason}",
                    self.name(),
                    ask.name()
                )))
            }
        }
    }

    /// What the program says of its answer.
    fn reason(&self, answer: &Answer, redactor: &Redactor) -> String {
        match answer.reason.as_ref().map(|reason| redactor.line(reason)) {
            Some(reason) if !reason.trim().is_empty() => reason,
            _ => "it gives no reason".to_owned(),
        }
    }

    fn refused(&self, ask: Ask<'_>, answer: &Answer, redactor: &Redactor) -> AuthorityError {
        let (kind, error) = answer.error();
        let (name, client, asked) = (self.name(), &self.client, ask.name());
        let (error, reason) = (redactor.line(error), self.reason(answer, redactor));
        AuthorityError::new(
            kind,
            format!("the program {name}, asked to {asked} for client {client}: {error}: {reason}"),
        )
    }

    fn name(&self) -> std::path::Display<'_> {
        self.shared.program.command.display()
    }

    /// Whether an answer names another value than the one that was asked for.
    fn names_another(answer: &Answer, secret: &Secret) -> bool {
        answer.value.as_ref().is_some_and(|value| !secret.matches(value))
    }
}

impl Authority for Exec {
    fn capabilities(&self) -> Capabilities {
        self.shared.capabilities.clone()
    }

    async fn check(&self) -> Result<(), AuthorityError> {
        self.query(Ask::Check).await.map(drop)
    }

    async fn ready(&self) {
        self.turns.take_ahead().await;
    }

    /// The program is not run: what it would get is what is shown.
    async fn describe(&self, asked: &Asked<'_>) -> Vec<Request> {
        let ask = match *asked {
            Asked::Probe(secret) => Ask::Probe(secret),
            Asked::ReadBack if !self.shared.capabilities.read_back => return Vec::new(),
            Asked::ReadBack => Ask::ReadBack,
            Asked::List(_) => Ask::ListSecrets,
            Asked::Set(secret) => Ask::SetSecret(secret),
            Asked::Add(new) => Ask::AddSecret(new.id(), new.secret()),
            Asked::Regenerate(id) => Ask::RegenerateSecret(id),
            Asked::SetActive(slot, active) => Ask::SetActive(slot, active),
            Asked::Remove(slot, _) => Ask::RemoveSecret(slot),
        };
        let program = &self.shared.program;
        let line = ask.to_line(&self.client, program.timeout);
        let line = String::from_utf8_lossy(&line);
        vec![Request::new("RUN", program.command.display().to_string()).body(line.trim_end())]
    }

    async fn probe(&self, secret: &Secret) -> Probe {
        let (answer, redactor) = match self.run(Ask::Probe(secret)).await {
            Ok(answered) => answered,
            Err(failed) => return Probe::Inconclusive(failed.message),
        };
        match answer.outcome {
            Outcome::Accepted => Probe::Accepted,
            Outcome::Refused => Probe::Refused,
            _ => Probe::Inconclusive(self.reason(&answer, &redactor)),
        }
    }

    async fn set_secret(&self, secret: &Secret) -> ChangeAnswer {
        match self.change(Ask::SetSecret(secret)).await {
            Ok(answer) if Self::names_another(&answer, secret) => {
                ChangeAnswer::Unknown("the answer names another secret".to_owned())
            }
            Ok(_) => ChangeAnswer::Applied,
            Err(answer) => answer,
        }
    }

    async fn read_back(&self, known: &[Secret]) -> ReadBack {
        if !self.shared.capabilities.read_back {
            return ReadBack::Unavailable(self.cannot("say which secret it holds").to_string());
        }
        let answer = match self.query(Ask::ReadBack).await {
            Ok(answer) => answer,
            Err(error) => return ReadBack::Unavailable(error.to_string()),
        };
        let Some(value) = answer.value else {
            let name = self.name();
            return ReadBack::Unavailable(format!(
                "the program {name} does not say which it holds"
            ));
        };
        match known.iter().find(|secret| secret.matches(&value)) {
            Some(secret) => ReadBack::Holds(secret.id().clone()),
            None => ReadBack::Other,
        }
    }

    async fn slots(&self, known: &[Secret]) -> Listed {
        let answer = match self.query(Ask::ListSecrets).await {
            Ok(answer) => answer,
            Err(error) => return Listed::Unavailable(error.to_string()),
        };
        let Some(shown) = answer.secrets else {
            let name = self.name();
            return Listed::Unavailable(format!("the program {name} lists no `secrets`"));
        };
        let slots = shown.into_iter().map(|shown| {
            let held = shown.value.as_ref().and_then(|value| {
                known.iter().find(|secret| secret.matches(value)).map(|secret| secret.id().clone())
            });
            let made_for = shown.made_for.and_then(|id| id.parse().ok());
            Slot::new(shown.slot).holding(held).active(shown.active).made_for(made_for)
        });
        Listed::Slots(slots.collect())
    }

    async fn add_secret(&self, new: &NewSecret) -> AddAnswer {
        let answer = match self.change(Ask::AddSecret(new.id(), new.secret())).await {
            Ok(answer) => answer,
            Err(answer) => return AddAnswer::without_a_secret(answer),
        };
        let unknown = |reason: &str| AddAnswer::Unknown(reason.to_owned());
        let Some(slot) = answer.slot.clone() else {
            return unknown("the answer does not say how the server names the secret (`slot`)");
        };
        match (new, answer.value.as_ref()) {
            (NewSecret::Known(secret), _) if Self::names_another(&answer, secret) => {
                unknown("the answer names another secret")
            }
            (NewSecret::Known(secret), _) => AddAnswer::Added(slot, secret.clone()),
            (NewSecret::Awaited(id), Some(value)) => {
                match Secret::new(id.clone(), value.as_str()) {
                    Ok(secret) => AddAnswer::Added(slot, secret),
                    Err(error) => {
                        AddAnswer::Unknown(format!("the answer holds no secret: {error}"))
                    }
                }
            }
            (NewSecret::Awaited(_), None) => unknown("the answer holds no secret (`value`)"),
        }
    }

    async fn regenerate_secret(&self, id: &SecretId) -> AddAnswer {
        let answer = match self.change(Ask::RegenerateSecret(id)).await {
            Ok(answer) => answer,
            Err(answer) => return AddAnswer::without_a_secret(answer),
        };
        let Some(value) = answer.value.as_ref() else {
            return AddAnswer::Unknown("the answer holds no secret (`value`)".to_owned());
        };
        match Secret::new(id.clone(), value.as_str()) {
            Ok(secret) => AddAnswer::Replaced(secret),
            Err(error) => AddAnswer::Unknown(format!("the answer holds no secret: {error}")),
        }
    }

    async fn set_active(&self, slot: &SlotId, active: bool) -> ChangeAnswer {
        match self.change(Ask::SetActive(slot, active)).await {
            Ok(_) => ChangeAnswer::Applied,
            Err(answer) => answer,
        }
    }

    async fn remove_secret(&self, slot: &SlotId) -> ChangeAnswer {
        match self.change(Ask::RemoveSecret(slot)).await {
            Ok(_) => ChangeAnswer::Applied,
            Err(answer) => answer,
        }
    }
}

impl fmt::Debug for Exec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exec")
            .field("program", &self.shared.program.command)
            .field("client", &self.client)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for ExecBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExecBuilder")
            .field("command", &self.command)
            .field("client", &self.client)
            .finish_non_exhaustive()
    }
}
