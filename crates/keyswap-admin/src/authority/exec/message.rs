//! What goes to a program and what comes back: version 1 of the protocol, which `docs/exec.md` describes.

use std::time::Duration;

use keyswap_core::{Secret, SecretId};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::authority::{AuthorityErrorKind, Capabilities, SlotId, ValueRules};

/// The version of the protocol that is spoken here.
pub(super) const VERSION: u64 = 1;
/// The longest propagation window that a program may declare.
const LONGEST_WINDOW: f64 = 86_400.0;

/// What a program is asked.
#[derive(Clone, Copy)]
pub(super) enum Ask<'a> {
    Describe,
    Check,
    Probe(&'a Secret),
    SetSecret(&'a Secret),
    ReadBack,
    ListSecrets,
    AddSecret(&'a SecretId, Option<&'a Secret>),
    RegenerateSecret(&'a SecretId),
    SetActive(&'a SlotId, bool),
    RemoveSecret(&'a SlotId),
}

#[derive(Serialize)]
struct Request<'a> {
    keyswap: u64,
    request: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<&'a str>,
    timeout_seconds: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<Offered<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    slot: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    active: Option<bool>,
}

#[derive(Serialize)]
struct Offered<'a> {
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<&'a str>,
}

impl<'a> Ask<'a> {
    /// The name of the request.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Describe => "describe",
            Self::Check => "check",
            Self::Probe(_) => "probe",
            Self::SetSecret(_) => "set_secret",
            Self::ReadBack => "read_back",
            Self::ListSecrets => "list_secrets",
            Self::AddSecret(..) => "add_secret",
            Self::RegenerateSecret(_) => "regenerate_secret",
            Self::SetActive(..) => "set_active",
            Self::RemoveSecret(_) => "remove_secret",
        }
    }

    /// Whether it counts for the pace of management requests.
    pub(super) fn is_management(self) -> bool {
        !matches!(self, Self::Probe(_))
    }

    /// The secret that the program gets to know.
    pub(super) fn secret(self) -> Option<&'a Secret> {
        match self {
            Self::Probe(secret) | Self::SetSecret(secret) => Some(secret),
            Self::AddSecret(_, secret) => secret,
            _ => None,
        }
    }

    /// One line of JSON, in a buffer that is wiped.
    pub(super) fn to_line(self, client: &str, timeout: Duration) -> Zeroizing<Vec<u8>> {
        let id = match self {
            Self::AddSecret(id, _) | Self::RegenerateSecret(id) => Some(id),
            _ => self.secret().map(Secret::id),
        };
        let value = self.secret().map(Secret::expose);
        let (slot, active) = match self {
            Self::SetActive(slot, active) => (Some(slot.as_str()), Some(active)),
            Self::RemoveSecret(slot) => (Some(slot.as_str()), None),
            _ => (None, None),
        };
        let request = Request {
            keyswap: VERSION,
            request: self.name(),
            client: (!matches!(self, Self::Describe)).then_some(client),
            timeout_seconds: timeout.as_secs_f64(),
            secret: id.map(|id| Offered { id: id.as_str(), value }),
            slot,
            active,
        };
        // Large enough for every character escaped, since a buffer that grows leaves a copy behind.
        let texts = client.len() + value.map_or(0, str::len) + slot.map_or(0, str::len);
        let mut line = Zeroizing::new(Vec::with_capacity(512 + 6 * texts));
        // Strings and numbers always serialize, and a Vec always takes them.
        let _ = serde_json::to_writer(&mut *line, &request);
        line.push(b'\n');
        line
    }
}

/// What a program answers. Values are in it: no `Debug`.
#[derive(Deserialize)]
pub(super) struct Answer {
    keyswap: u64,
    pub(super) outcome: Outcome,
    error: Option<String>,
    pub(super) reason: Option<Zeroizing<String>>,
    retry_after_seconds: Option<f64>,
    pub(super) capabilities: Option<serde_json::Value>,
    pub(super) slot: Option<SlotId>,
    pub(super) value: Option<Zeroizing<String>>,
    pub(super) secrets: Option<Vec<Shown>>,
}

/// How a request went.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "snake_case")]
pub(super) enum Outcome {
    /// Asked and answered.
    Ok,
    /// Asked and not answered.
    Error,
    /// A change was made.
    Applied,
    /// A change was not made, for certain.
    NotApplied,
    /// Whether a change was made is open.
    Unknown,
    /// A secret was accepted.
    Accepted,
    /// A secret was refused.
    Refused,
    /// Of a secret nothing is certain.
    Inconclusive,
}

/// One of a client's secrets.
#[derive(Deserialize)]
pub(super) struct Shown {
    pub(super) slot: SlotId,
    #[serde(default = "yes")]
    pub(super) active: bool,
    pub(super) value: Option<Zeroizing<String>>,
    pub(super) made_for: Option<String>,
}

fn yes() -> bool {
    true
}

impl Answer {
    /// Reads what stood on a standard output.
    ///
    /// # Errors
    ///
    /// What stood there in place of an answer, in words, without its values.
    pub(super) fn parse(text: &[u8]) -> Result<Self, String> {
        let begins = |with: &str| {
            let text = text.trim_ascii_start();
            text.len() >= with.len() && text[..with.len()].eq_ignore_ascii_case(with.as_bytes())
        };
        if begins("<!doctype") || begins("<html") || begins("<?xml") {
            return Err(
                "it answered with a page (HTML or XML) in place of a JSON object: print what the \
                        server says to standard error, and the answer alone to standard output"
                    .to_owned(),
            );
        }
        let answer: Self = serde_json::from_slice(text).map_err(|error| {
            format!(
                "its answer is not the one JSON object that it should be ({}): print that to standard \
                 output, and everything else to standard error",
                without_values(&error.to_string())
            )
        })?;
        if answer.keyswap != VERSION {
            return Err(format!(
                "it speaks version {} of the protocol, and this keyswap version {VERSION}: use a program and a \
                 keyswap that go together",
                answer.keyswap
            ));
        }
        if answer.slots().any(|slot| slot.as_str().is_empty() || slot.as_str().len() > 200) {
            return Err("it names a secret with no text, or with more than 200 bytes".to_owned());
        }
        Ok(answer)
    }

    fn slots(&self) -> impl Iterator<Item = &SlotId> {
        self.secrets.iter().flatten().map(|shown| &shown.slot).chain(&self.slot)
    }

    /// The kind of an error, and the name that the program gave it.
    pub(super) fn error(&self) -> (AuthorityErrorKind, &str) {
        let kind = match self.error.as_deref() {
            Some("credentials") => AuthorityErrorKind::Credentials,
            Some("permission") => AuthorityErrorKind::Permissions,
            Some("no_such_client") => AuthorityErrorKind::NoSuchClient,
            Some("unsupported_client") => AuthorityErrorKind::UnsupportedClient,
            Some("busy") => AuthorityErrorKind::Throttled,
            Some("unreachable") => AuthorityErrorKind::Unreachable,
            Some("configuration") => AuthorityErrorKind::Configuration,
            _ => AuthorityErrorKind::Refused,
        };
        (kind, self.error.as_deref().unwrap_or("refused"))
    }

    /// How long to wait, where the server has no time for requests, or cannot be reached.
    pub(super) fn turned_away(&self, default: Duration) -> Option<Duration> {
        let is_later = matches!(
            self.error().0,
            AuthorityErrorKind::Throttled | AuthorityErrorKind::Unreachable
        );
        let seconds = self.retry_after_seconds.filter(|seconds| *seconds > 0.0);
        let asked = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        is_later.then(|| asked.unwrap_or(default))
    }
}

/// A parser's message without the values that it repeats: `invalid type: string "x"` holds x.
fn without_values(message: &str) -> String {
    let mut parts = message.split('"');
    let mut text = parts.next().unwrap_or_default().to_owned();
    while parts.next().is_some() {
        text.push('…');
        text.push_str(parts.next().unwrap_or_default());
    }
    text
}

/// What a program says of its server.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Declared {
    secrets: u32,
    value_chosen_by: Chooser,
    #[serde(default)]
    read_back: bool,
    #[serde(default)]
    deactivation: bool,
    propagation_window_seconds: f64,
    #[serde(default)]
    value: DeclaredValue,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Chooser {
    Caller,
    Server,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct DeclaredValue {
    shortest: Option<usize>,
    longest: Option<usize>,
    characters: Option<String>,
}

/// What a server can do, as its program declares it.
///
/// # Errors
///
/// What does not hold together, in words.
pub(super) fn capabilities(declared: serde_json::Value) -> Result<Capabilities, String> {
    let declared: Declared =
        serde_json::from_value(declared).map_err(|error| without_values(&error.to_string()))?;
    let window = declared.propagation_window_seconds;
    if !(0.0..=LONGEST_WINDOW).contains(&window) {
        return Err(format!("`propagation_window_seconds` is from 0 to {LONGEST_WINDOW}"));
    }
    if declared.secrets == 0 {
        return Err("`secrets` is 1 or more: how many a client has at once".to_owned());
    }
    if declared.deactivation && declared.secrets == 1 {
        return Err("`deactivation` is for servers that hold 2 or more `secrets`".to_owned());
    }
    if declared.read_back && declared.secrets > 1 {
        return Err("`read_back` is for servers that hold 1 of `secrets`: of several, the list says what it can"
            .to_owned());
    }
    let any = ValueRules::default();
    let DeclaredValue { shortest, longest, characters } = declared.value;
    let (shortest, longest) = (shortest.unwrap_or(any.shortest), longest.unwrap_or(any.longest));
    let rules = any.length(shortest, longest);
    let rules = match characters {
        Some(characters) => rules.characters(characters),
        None => rules,
    };
    let by_caller = matches!(declared.value_chosen_by, Chooser::Caller);
    if by_caller {
        let _ = rules.generator().map_err(|error| format!("of `value`: {error}"))?;
    }
    Ok(Capabilities::new("exec")
        .slots(declared.secrets)
        .chosen_by_caller(by_caller)
        .read_back(declared.read_back)
        .deactivation(declared.deactivation)
        .value(rules)
        .propagation_window(Duration::from_secs_f64(window)))
}
