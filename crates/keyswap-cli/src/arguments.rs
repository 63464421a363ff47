//! Arguments that several commands share, and how they are read.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use keyswap_admin::Fingerprint;
use keyswap_admin::rotation::{ChangeWindows, Timestamp};

/// Which configuration.
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

/// How the rotations of the chosen clients go on.
#[derive(Args, Debug)]
pub(crate) struct Rotating {
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
    /// 15 minutes, or a quarter more than the longest time that has to pass)
    #[arg(long, value_parser = duration)]
    pub(crate) patience: Option<Duration>,
    /// Print one JSON object a line
    #[arg(long)]
    pub(crate) json: bool,
    /// Go on from each state when a line comes on standard input: `demo --chaos` kills it there
    #[arg(long, hide = true)]
    pub(crate) step: bool,
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

/// Where a rotation can stop for a person.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum HoldAt {
    /// The old secret is unused; until it is retired, there is a way back
    Drained,
}

/// A duration as people write it: `300ms`, `3s`, `5m`, `1h 30m`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let parser = jiff::fmt::friendly::SpanParser::new();
    match parser.parse_unsigned_duration(text) {
        Ok(duration) if duration.is_zero() => Err("it must be more than zero".to_owned()),
        Ok(duration) => Ok(duration),
        Err(_) => Err("a duration is a number and a unit: 300ms, 3s, 5m, 1h".to_owned()),
    }
}

/// Times of the week: `Sat 02:00-04:00 Europe/Berlin`.
pub(crate) fn windows(text: &str) -> Result<ChangeWindows, String> {
    text.parse().map_err(|error: keyswap_admin::rotation::InvalidWindow| error.to_string())
}

/// The last line of a plan.
pub(crate) fn fingerprint(text: &str) -> Result<Fingerprint, String> {
    text.parse().map_err(|error: keyswap_admin::NotAFingerprint| error.to_string())
}

/// An age: `90d`, `12w`, `36h`. A day has 24 hours.
pub(crate) fn age(text: &str) -> Result<Duration, String> {
    let days = |number: &str, days: u64| number.parse::<u64>().ok()?.checked_mul(days * 86_400);
    let seconds = match (text.strip_suffix('d'), text.strip_suffix('w')) {
        (Some(number), _) => days(number, 1),
        (_, Some(number)) => days(number, 7),
        _ => return duration(text),
    };
    match seconds {
        Some(0) => Err("it must be more than zero".to_owned()),
        Some(seconds) => Ok(Duration::from_secs(seconds)),
        None => Err("an age is a number and a unit: 90d, 12w, 36h".to_owned()),
    }
}

/// A moment as RFC 3339 has it.
pub(crate) fn moment(text: &str) -> Result<Timestamp, String> {
    let moment: jiff::Timestamp = text.parse().map_err(|_| {
        "a time is a date, a time and an offset: 2026-12-01T08:00:00Z, 2026-12-01T09:00:00+01:00"
            .to_owned()
    })?;
    let milliseconds = u64::try_from(moment.as_millisecond());
    milliseconds.map(Timestamp::from_milliseconds).map_err(|_| "it is before 1970".to_owned())
}

/// What a person says: something, and not a whole file.
pub(crate) fn said(text: &str) -> Result<String, String> {
    match text.trim() {
        "" => Err("it must not be empty".to_owned()),
        text if text.len() > 1000 => Err("it must not be longer than 1000 bytes".to_owned()),
        text => Ok(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_read_in_days_and_weeks_as_well() {
        let day = Duration::from_secs(86_400);
        assert_eq!(age("90d"), Ok(90 * day));
        assert_eq!(age("2w"), Ok(14 * day));
        assert_eq!(age("36h"), Ok(day + day / 2));
        for wrong in ["", "0d", "d", "90", "1.5d", "99999999999999999999d", "soon"] {
            assert!(age(wrong).is_err(), "{wrong}");
        }
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
