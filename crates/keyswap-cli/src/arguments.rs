//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use keyswap_admin::rotation::Timestamp;

const EXIT_CODES: &str = "\
Exit codes:
  0    done
  1    failed, and nothing was changed at the server
  2    the command line or the configuration is wrong
  3    waiting; safe to run again
  4    credentials or permissions are missing
  5    whether the server took the change is not known: run `keyswap resume`
  6    a person has to look: the server or the store is not as it should be, or another rotator took over
  130  interrupted: run `keyswap resume`
Of several clients the worst counts, in this order: 0, 3, 1, 2, 4, 5, 6.

Secrets come from files, standard input or the environment, never from arguments.
RUST_LOG=debug logs to standard error; the log holds ids of secrets, never their values.";

const AUTHORITIES: &str = "\
Example:
  keyswap authorities --json | grep '\"kind\":\"okta\"'

`kind` is what [authority] in keyswap.toml names. A kind that holds one secret, and whose server chooses its
value, has a gap at each rotation (`keyswap rotate --accept-gap`). A kind `exec` is whatever your program says.";

const VERIFY: &str = "\
Example:
  keyswap verify --json | grep '\"level\":\"error\"'

Each line is `error`, `warning` or `ok`, the worst first. An error keeps `keyswap rotate` from beginning, or
programs from signing in, and decides about the exit code as it would there; with warnings alone that is 0.
Nothing is changed, at the server or in the store; the server is asked for tokens.";

/// Change a client_secret with no failed request.
#[derive(Debug, Parser)]
#[command(name = "keyswap", version, after_help = EXIT_CODES)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show what each kind of authorization server can do, and what a rotation there needs
    #[command(after_help = AUTHORITIES)]
    Authorities(Authorities),
    /// Show a whole rotation under load, on an embedded server
    Demo(Demo),
    /// One program of the demo
    #[command(hide = true)]
    DemoInstance(DemoInstance),
    /// Run an authorization server on loopback, to try keyswap against
    DevServer(DevServer),
    /// Make a strong random secret
    Generate(Generate),
    /// Show what was done and why, or verify that nothing in it was changed
    History(History),
    /// Say "not now": no rotation begins, and one that is under way stops before its next act
    Hold(Hold),
    /// Write a commented keyswap.toml, and put the present secret into the store
    Init(Init),
    /// Say for an application that cannot report what a rotation waits to know, or that one instance is not
    /// waited for
    Confirm(Confirm),
    /// Go on with a rotation that was interrupted, waited or lost its answer
    Resume(Resume),
    /// Retire the old secret of a rotation that was begun with --hold-at drained
    Retire(Retire),
    /// Take a rotation back to where it began, as long as programs hold both secrets
    Rollback(Rollback),
    /// Rotate the secret of the client that keyswap.toml names, or of several
    Rotate(Begin),
    /// Seal a store that is in use at once, or write it in the open again
    Seal(Seal),
    /// Show where the rotation stands, and what each instance holds
    Status(Status),
    /// Look whether a rotation would begin, and what it would meet; changes nothing
    #[command(after_help = VERIFY)]
    Verify(Verify),
}

#[derive(Args, Debug)]
pub(crate) struct Authorities {
    /// Print one JSON object a line
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Demo {
    /// Programs that sign in, each a process of its own
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub(crate) instances: u32,
    /// Sign-ins a second of each program
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=2000))]
    pub(crate) rate: u32,
    /// How long the server's nodes take to agree after a change
    #[arg(long, default_value = "3s", value_parser = duration)]
    pub(crate) window: Duration,
    /// How often the secret is rotated
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) rotations: u32,
    /// Kill the rotating process in every state, and let the server fail around the change
    #[arg(long)]
    pub(crate) chaos: bool,
    /// Sign in the ordinary way, with one secret and no fallback, to see what fails then
    #[arg(long, conflicts_with = "chaos")]
    pub(crate) without_fallback: bool,
    /// Print one JSON object a line
    #[arg(long)]
    pub(crate) json: bool,
    /// Keep the store of the demo in this directory, to look at afterwards
    #[arg(long)]
    pub(crate) directory: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(crate) struct DemoInstance {
    #[arg(long)]
    pub(crate) store: PathBuf,
    #[arg(long)]
    pub(crate) client: String,
    #[arg(long)]
    pub(crate) application: String,
    #[arg(long)]
    pub(crate) token_endpoint: url::Url,
    #[arg(long)]
    pub(crate) audience: String,
    #[arg(long)]
    pub(crate) rate: u32,
    #[arg(long, value_parser = duration)]
    pub(crate) window: Duration,
    #[arg(long, value_enum)]
    pub(crate) way: Way,
}

/// How a program of the demo signs in.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Way {
    /// The middleware for reqwest-middleware.
    Middleware,
    /// The tower layer around a reqwest client.
    Layer,
    /// One secret, replaced when the list is, and no fallback.
    Ordinary,
}

#[derive(Args, Debug)]
pub(crate) struct DevServer {
    /// Whose server it is like
    #[arg(long, value_enum, default_value_t = Vendor::Auth0, value_name = "VENDOR")]
    pub(crate) provider: Vendor,
    /// Where to listen: loopback only; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:4400")]
    pub(crate) listen: SocketAddr,
    /// Where to put the client's secret, that of the management requests and a keyswap.toml to go
    /// with them
    #[arg(long, default_value = "keyswap-dev")]
    pub(crate) directory: PathBuf,
    /// Nodes that take up a change one after the other
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub(crate) nodes: u32,
    /// How long the nodes take to agree after a change
    #[arg(long, default_value = "3s", value_parser = duration)]
    pub(crate) window: Duration,
}

/// The vendor as which the server answers.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Vendor {
    /// One secret a client
    Auth0,
    /// Several secrets an application, which the server chooses
    Entra,
    /// Two secrets a client
    Okta,
    /// One secret an application, which the server chooses
    Zitadel,
}

#[derive(Args, Debug)]
pub(crate) struct Generate {
    /// Characters of [A-Za-z0-9]: 43 (256 bits) to 1024
    #[arg(long, default_value_t = 64, conflicts_with = "base64")]
    pub(crate) length: usize,
    /// Random bytes in standard base64 instead, 32 to 768; Auth0's page shows 48
    #[arg(long, value_name = "BYTES")]
    pub(crate) base64: Option<usize>,
    /// Write the secret to this new file, readable by its owner alone, instead of standard output
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(crate) struct Configured {
    /// The configuration
    #[arg(
        long,
        short,
        default_value = "keyswap.toml",
        env = "KEYSWAP_CONFIG",
        global = true,
        value_name = "FILE"
    )]
    pub(crate) config: PathBuf,
}

#[derive(Args, Debug)]
pub(crate) struct Init {
    #[command(flatten)]
    pub(crate) configured: Configured,
    /// The client whose secret is rotated
    #[arg(long, value_name = "ID")]
    pub(crate) client_id: Option<String>,
    /// Read the present secret from this file; one line end behind it is left out
    #[arg(long, value_name = "FILE", group = "secret")]
    pub(crate) secret_file: Option<PathBuf>,
    /// Read the present secret from standard input
    #[arg(long, group = "secret")]
    pub(crate) secret_stdin: bool,
    /// Read the present secret from this environment variable
    #[arg(long, value_name = "NAME", group = "secret")]
    pub(crate) secret_env: Option<String>,
    /// Put the client's registration access token from this file into the store, in place of the one that is
    /// there (kind = "registration")
    #[arg(long, value_name = "FILE", conflicts_with = "secret")]
    pub(crate) registration_token_file: Option<PathBuf>,
}

/// Which of several clients.
#[derive(Args, Debug)]
pub(crate) struct Chosen {
    /// Of several clients in the configuration, this one; may be given again
    #[arg(long = "client", value_name = "ID", conflicts_with = "all")]
    pub(crate) clients: Vec<String>,
    /// Every client in the configuration
    #[arg(long)]
    pub(crate) all: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Rotate {
    #[command(flatten)]
    pub(crate) configured: Configured,
    #[command(flatten)]
    pub(crate) chosen: Chosen,
    /// Of several clients, how many are under way at once
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) at_once: u16,
    /// Of several clients, begin no further one after one has failed; those that only wait do not count
    #[arg(long)]
    pub(crate) stop_on_failure: bool,
    /// How long to stay in one state before stopping with exit code 3 (default: the configuration's, or
    /// 15 minutes)
    #[arg(long, value_parser = duration)]
    pub(crate) patience: Option<Duration>,
    /// Print one JSON object a line
    #[arg(long)]
    pub(crate) json: bool,
    /// Go on from each state when a line comes on standard input: `demo --chaos` kills it there
    #[arg(long, hide = true)]
    pub(crate) step: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Begin {
    #[command(flatten)]
    pub(crate) rotate: Rotate,
    #[command(flatten)]
    pub(crate) asked: Asked,
    /// Stop with exit code 3 in this state, for a person to go on with `keyswap retire`
    #[arg(long, value_enum, value_name = "STATE", conflicts_with = "compromised")]
    pub(crate) hold_at: Option<HoldAt>,
    /// At a server that holds one secret and chooses its value itself: accept that token requests fail from
    /// its change on until programs have taken up the new value; needs a reason
    #[arg(long, requires = "reason")]
    pub(crate) accept_gap: bool,
    /// At a server that has as many secrets as it can: this one goes first, by the name that the server gives
    /// it; needs a reason
    #[arg(long, value_name = "NAME", requires = "reason", conflicts_with = "all", value_parser = said)]
    pub(crate) remove: Option<String>,
    #[command(flatten)]
    pub(crate) hurry: Hurry,
}

#[derive(Args, Debug)]
pub(crate) struct Resume {
    #[command(flatten)]
    pub(crate) rotate: Rotate,
    /// Why; only with --compromised
    #[arg(long, value_name = "TEXT", value_parser = said, requires = "compromised")]
    pub(crate) reason: Option<String>,
    /// Who says so
    #[arg(long, env = "USER", value_name = "NAME", value_parser = said)]
    pub(crate) by: Option<String>,
    #[command(flatten)]
    pub(crate) hurry: Hurry,
}

/// An old secret that is to be dead soon.
#[derive(Args, Debug)]
pub(crate) struct Hurry {
    /// The old secret is known to others: wait for nobody longer than the deadline, and for no quiet period.
    /// Who does not hold the new secret by then loses access, and is named; needs a reason
    #[arg(long, requires = "reason")]
    pub(crate) compromised: bool,
    /// How long programs have to take up both secrets, from when they are published (default: 60s)
    #[arg(long, value_name = "DURATION", value_parser = duration, requires = "compromised")]
    pub(crate) deadline: Option<Duration>,
    /// Go on although this person put a hold on the rotations
    #[arg(long, value_name = "NAME", requires = "compromised")]
    pub(crate) despite_hold_of: Option<String>,
    /// Do not ask; without a terminal nobody is asked
    #[arg(long)]
    pub(crate) yes: bool,
}

impl Hurry {
    /// How long programs have, if the old secret is compromised.
    pub(crate) fn patience(&self) -> Option<Duration> {
        self.compromised.then(|| self.deadline.unwrap_or(Duration::from_secs(60)))
    }
}

/// Who asks for something, and why.
#[derive(Args, Debug)]
pub(crate) struct Asked {
    /// Why; it is kept in the journal and the history
    #[arg(long, value_name = "TEXT", value_parser = said)]
    pub(crate) reason: Option<String>,
    /// Who says so
    #[arg(long, env = "USER", value_name = "NAME", value_parser = said)]
    pub(crate) by: Option<String>,
}

#[derive(Args, Debug)]
pub(crate) struct Retire {
    #[command(flatten)]
    pub(crate) rotate: Rotate,
    #[command(flatten)]
    pub(crate) asked: Asked,
}

#[derive(Args, Debug)]
pub(crate) struct Hold {
    #[command(flatten)]
    pub(crate) configured: Configured,
    #[command(flatten)]
    pub(crate) chosen: Chosen,
    /// Why; whoever wants to rotate is told
    #[arg(long, value_name = "TEXT", value_parser = said, required_unless_present = "release")]
    pub(crate) reason: Option<String>,
    /// Who says so
    #[arg(long, env = "USER", value_name = "NAME", value_parser = said)]
    pub(crate) by: Option<String>,
    /// Until when: 2026-12-01T08:00:00Z, or with another offset
    #[arg(long, value_name = "TIME", value_parser = moment, conflicts_with = "lasts")]
    pub(crate) until: Option<Timestamp>,
    /// For how long
    #[arg(long = "for", value_name = "DURATION", value_parser = duration)]
    pub(crate) lasts: Option<Duration>,
    /// Take the hold away
    #[arg(long, conflicts_with_all = ["reason", "until", "lasts"])]
    pub(crate) release: bool,
}

#[derive(Args, Debug)]
pub(crate) struct History {
    #[command(subcommand)]
    pub(crate) act: Option<HistoryAct>,
    #[command(flatten)]
    pub(crate) configured: Configured,
    #[command(flatten)]
    pub(crate) chosen: Chosen,
    /// Print one JSON object a line
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum HistoryAct {
    /// Print each record, oldest first
    Show,
    /// Check that every record is as it was written and none is missing; exit code 6 if not
    Verify,
}

/// Where a rotation can stop for a person.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum HoldAt {
    /// The old secret is unused; until it is retired, there is a way back
    Drained,
}

#[derive(Args, Debug)]
pub(crate) struct Rollback {
    #[command(flatten)]
    pub(crate) rotate: Rotate,
    #[command(flatten)]
    pub(crate) asked: Asked,
    /// Go back although this person put a hold on the rotations; needs a reason
    #[arg(long, value_name = "NAME", requires = "reason")]
    pub(crate) despite_hold_of: Option<String>,
    /// Do not ask; without a terminal nobody is asked
    #[arg(long)]
    pub(crate) yes: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Confirm {
    #[command(flatten)]
    pub(crate) configured: Configured,
    #[command(flatten)]
    pub(crate) chosen: Chosen,
    /// The application, which the configuration declares with `manual = true`; with --instance, any
    pub(crate) application: String,
    /// Do not wait for this instance, which `keyswap status` names, at the gate that the rotation stands
    /// before. It may lose access: it may not hold the secret that is set then, or still use the one that is
    /// taken away. No other instance is meant, and no other gate
    #[arg(long, value_name = "ID", value_parser = said)]
    pub(crate) instance: Option<String>,
    /// Do not ask; without a terminal nobody is asked
    #[arg(long, requires = "instance")]
    pub(crate) yes: bool,
    /// How you know; it is kept in the journal and the history
    #[arg(long, value_name = "TEXT", value_parser = said)]
    pub(crate) reason: String,
    /// Who says so
    #[arg(long, env = "USER", value_name = "NAME", value_parser = said)]
    pub(crate) by: String,
}

#[derive(Args, Debug)]
pub(crate) struct Seal {
    #[command(flatten)]
    pub(crate) configured: Configured,
    #[command(flatten)]
    pub(crate) chosen: Chosen,
    /// The way back: write the list and the journal so that they can be read without the identity
    #[arg(long)]
    pub(crate) open: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Status {
    #[command(flatten)]
    pub(crate) configured: Configured,
    #[command(flatten)]
    pub(crate) chosen: Chosen,
    /// Print one JSON object a client
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Verify {
    #[command(flatten)]
    pub(crate) configured: Configured,
    #[command(flatten)]
    pub(crate) chosen: Chosen,
    /// Print one JSON object a client
    #[arg(long)]
    pub(crate) json: bool,
}

/// A duration as people write it: `300ms`, `3s`, `5m`, `1h 30m`.
fn duration(text: &str) -> Result<Duration, String> {
    let parser = jiff::fmt::friendly::SpanParser::new();
    match parser.parse_unsigned_duration(text) {
        Ok(duration) if duration.is_zero() => Err("it must be more than zero".to_owned()),
        Ok(duration) => Ok(duration),
        Err(_) => Err("a duration is a number and a unit: 300ms, 3s, 5m, 1h".to_owned()),
    }
}

/// A moment as RFC 3339 has it.
fn moment(text: &str) -> Result<Timestamp, String> {
    let moment: jiff::Timestamp = text.parse().map_err(|_| {
        "a time is a date, a time and an offset: 2026-12-01T08:00:00Z, 2026-12-01T09:00:00+01:00"
            .to_owned()
    })?;
    let milliseconds = u64::try_from(moment.as_millisecond());
    milliseconds.map(Timestamp::from_milliseconds).map_err(|_| "it is before 1970".to_owned())
}

/// What a person says: something, and not a whole file.
fn said(text: &str) -> Result<String, String> {
    match text.trim() {
        "" => Err("it must not be empty".to_owned()),
        text if text.len() > 1000 => Err("it must not be longer than 1000 bytes".to_owned()),
        text => Ok(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_holds_together() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn durations_are_read_as_people_write_them() {
        assert_eq!(duration("300ms"), Ok(Duration::from_millis(300)));
        assert_eq!(duration("1h 30m"), Ok(Duration::from_secs(5400)));
        for wrong in ["", "0s", "3", "-3s", "soon"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }
}
