//! How times of the week are written and read.

use std::fmt;
use std::str::FromStr;

use jiff::tz::TimeZone;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{ChangeWindows, DAYS, MINUTES_OF_A_DAY, Times};

/// Why a text names no times of the week.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct InvalidWindow(String);

impl fmt::Display for InvalidWindow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: a window is DAYS HH:MM-HH:MM ZONE, for instance \"Sat 02:00-04:00 Europe/Berlin\", \"daily \
             22:00-02:00\" or \"Mon-Fri 03:00-05:00; Sun 00:00-24:00\"; without a zone it is in UTC",
            self.0
        )
    }
}

impl std::error::Error for InvalidWindow {}

impl FromStr for ChangeWindows {
    type Err = InvalidWindow;

    fn from_str(text: &str) -> Result<Self, InvalidWindow> {
        text.split(';').map(Times::parse).collect::<Result<_, _>>().map(Self)
    }
}

impl Times {
    fn parse(text: &str) -> Result<Self, InvalidWindow> {
        let invalid = |reason: String| Err(InvalidWindow(reason));
        let words: Vec<_> = text.split_whitespace().collect();
        let is_span = |word: &&str| word.contains(':');
        let Some(at) = words.iter().position(is_span) else {
            return invalid(format!("{:?} holds no time", text.trim()));
        };
        let (days, zone) = match (&words[..at], &words[at + 1..]) {
            ([], zone) => (Ok(0x7f), zone),
            ([days], zone) => (days_of(days), zone),
            _ => return invalid(format!("{:?} has more than days before the time", text.trim())),
        };
        let zone = match zone {
            [] => "UTC",
            [zone] => zone,
            _ => return invalid(format!("{:?} has more than a zone behind the time", text.trim())),
        };
        let Ok(zone) = TimeZone::get(zone) else {
            return invalid(format!("{zone:?} is no time zone that is known here"));
        };
        let zone = zone.iana_name().unwrap_or("UTC").to_owned();
        let span = words[at].split_once('-');
        let minutes = span.and_then(|(from, until)| minutes_of(from).zip(minutes_of(until)));
        match minutes {
            None => invalid(format!("{:?} is no time from HH:MM to HH:MM", words[at])),
            Some((from, until)) if from == until => {
                invalid(format!("{:?} ends when it begins", words[at]))
            }
            Some((MINUTES_OF_A_DAY, _)) => invalid("no day begins at 24:00".to_owned()),
            Some((from, until)) => Ok(Self { days: days?, from, until, zone }),
        }
    }
}

fn minutes_of(text: &str) -> Option<u16> {
    let (hours, minutes) = text.split_once(':')?;
    let two_digits = |text: &str| {
        let is_one = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<u16>().ok().filter(|_| is_one)
    };
    let (hours, minutes) = (two_digits(hours)?, two_digits(minutes)?);
    let all = hours * 60 + minutes;
    (minutes < 60 && all <= MINUTES_OF_A_DAY).then_some(all)
}

fn days_of(text: &str) -> Result<u8, InvalidWindow> {
    if text.eq_ignore_ascii_case("daily") {
        return Ok(0x7f);
    }
    let unknown = || InvalidWindow(format!("{text:?} names no days"));
    let number = |name: &str| {
        let found = DAYS.iter().position(|(day, _)| day.eq_ignore_ascii_case(name));
        found.ok_or_else(unknown)
    };
    let mut days = 0_u8;
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (mut at, last) = (number(first)?, number(last)?);
        loop {
            days |= 1 << at;
            if at == last {
                break;
            }
            at = (at + 1) % DAYS.len();
        }
    }
    Ok(days)
}

impl fmt::Display for ChangeWindows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, times) in self.0.iter().enumerate() {
            let between = if position == 0 { "" } else { "; " };
            write!(f, "{between}{times}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = DAYS.iter().enumerate().filter(|(at, _)| self.days >> at & 1 == 1);
        let named: Vec<_> = named.map(|(_, (name, _))| *name).collect();
        let days = if named.len() == DAYS.len() { "daily".to_owned() } else { named.join(",") };
        let (from, until) = (self.from, self.until);
        write!(f, "{days} {:02}:{:02}-", from / 60, from % 60)?;
        write!(f, "{:02}:{:02} {}", until / 60, until % 60, self.zone)
    }
}

impl Serialize for ChangeWindows {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ChangeWindows {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back_the_same() {
        for (text, written) in [
            ("sat 02:00-04:00", "Sat 02:00-04:00 UTC"),
            ("02:00-04:00 europe/berlin", "daily 02:00-04:00 Europe/Berlin"),
            ("Mon-Wed,Fri 22:00-02:00", "Mon,Tue,Wed,Fri 22:00-02:00 UTC"),
            ("daily 00:00-24:00;Sun 01:00-02:00", "daily 00:00-24:00 UTC; Sun 01:00-02:00 UTC"),
        ] {
            let windows: ChangeWindows = text.parse().unwrap();
            assert_eq!(windows.to_string(), written);
            assert_eq!(written.parse(), Ok(windows));
        }
    }

    #[test]
    fn what_is_no_window_is_refused_with_the_reason_and_an_example() {
        for (text, reason) in [
            ("", "holds no time"),
            ("Sat", "holds no time"),
            ("Sat 2:00-04:00", "no time from"),
            ("Sat 02:00", "no time from"),
            ("Sat 02:00-02:00", "ends when it begins"),
            ("Sat 24:00-02:00", "24:00"),
            ("Sat 02:60-04:00", "no time from"),
            ("Sat 02:00-24:01", "no time from"),
            ("Someday 02:00-04:00", "names no days"),
            ("Sat Sun 02:00-04:00", "more than days"),
            ("Sat 02:00-04:00 Europe/Atlantis", "no time zone"),
            ("Sat 02:00-04:00 UTC UTC", "more than a zone"),
            ("Sat 02:00-04:00;", "holds no time"),
        ] {
            let error = text.parse::<ChangeWindows>().unwrap_err().to_string();
            assert!(error.contains(reason) && error.contains("Europe/Berlin"), "{text}: {error}");
        }
    }
}
