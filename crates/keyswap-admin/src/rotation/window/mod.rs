//! The times in which a rotation may change something at the server.
//!
//! Everything else may be done at any time: both secrets are published and taken up before the window opens, so that
//! the change itself is all that is left for it.

mod step;
mod written;

use jiff::civil::{Date, Weekday};
use jiff::tz::TimeZone;

pub use self::written::InvalidWindow;
use super::policy::Timestamp;

const MINUTES_OF_A_DAY: u16 = 24 * 60;
const DAYS: [(&str, Weekday); 7] = [
    ("Mon", Weekday::Monday),
    ("Tue", Weekday::Tuesday),
    ("Wed", Weekday::Wednesday),
    ("Thu", Weekday::Thursday),
    ("Fri", Weekday::Friday),
    ("Sat", Weekday::Saturday),
    ("Sun", Weekday::Sunday),
];

/// When a rotation may change something at the server: one or several times of the week, each in a time zone.
///
/// Each is written `DAYS HH:MM-HH:MM ZONE`, and several with a `;` between them. The days are `daily`, names as in
/// `Sat` or `Mon,Wed`, or `Mon-Fri`, and every day if they are left out. The zone is a name of the IANA database
/// (`Europe/Berlin`), and `UTC` if it is left out. A time that ends before it begins goes on after midnight.
///
/// ```
/// use keyswap_admin::rotation::{ChangeWindows, Opening, Timestamp};
///
/// let windows: ChangeWindows = "Sat 02:00-04:00 Europe/Berlin".parse()?;
/// // Friday, 2026-11-27, noon.
/// let Opening::Closed { opens } = windows.at(Timestamp::from_milliseconds(1_795_780_800_000)) else { panic!() };
/// assert_eq!(opens.unwrap().to_string(), "2026-11-28T01:00:00Z");
/// # Ok::<(), keyswap_admin::rotation::InvalidWindow>(())
/// ```
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct ChangeWindows(Vec<Times>);

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
struct Times {
    /// One bit for each of [`DAYS`].
    days: u8,
    /// Minutes since midnight.
    from: u16,
    until: u16,
    zone: String,
}

/// Whether a change may be made now.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Opening {
    /// It may, until then.
    Open {
        /// When the window closes.
        until: Timestamp,
    },
    /// It may not.
    Closed {
        /// When the next window opens; `None` if that cannot be told.
        opens: Option<Timestamp>,
    },
}

impl ChangeWindows {
    /// Whether a change may be made at this moment.
    #[must_use]
    pub fn at(&self, now: Timestamp) -> Opening {
        let spans: Vec<_> = self.0.iter().flat_map(|times| times.around(now)).collect();
        let open = spans.iter().filter(|(from, until)| (*from..*until).contains(&now));
        if let Some(until) = open.map(|(_, until)| *until).max() {
            return Opening::Open { until };
        }
        let opens = spans.iter().map(|(from, _)| *from).filter(|from| *from > now).min();
        Opening::Closed { opens }
    }
}

impl Times {
    /// From yesterday on, for as long as it takes until each day of the week was there.
    fn around(&self, now: Timestamp) -> Vec<(Timestamp, Timestamp)> {
        // A zone that this machine does not know opens nothing.
        let Ok(zone) = TimeZone::get(&self.zone) else { return Vec::new() };
        let Ok(moment) = i64::try_from(now.milliseconds()) else { return Vec::new() };
        let Ok(moment) = jiff::Timestamp::from_millisecond(moment) else { return Vec::new() };
        let Ok(mut day) = moment.to_zoned_datetime(zone.clone()).date().yesterday() else {
            return Vec::new();
        };
        let mut spans = Vec::new();
        for _ in 0..9 {
            let Ok(next) = day.tomorrow() else { break };
            if self.has(day.weekday()) {
                let ends = if self.until <= self.from { next } else { day };
                let from = moment_of(day, self.from, &zone);
                // A change of the clocks may leave nothing of it.
                let span = from.zip(moment_of(ends, self.until, &zone));
                spans.extend(span.filter(|(from, until)| from < until));
            }
            day = next;
        }
        spans
    }

    fn has(&self, day: Weekday) -> bool {
        DAYS.iter().position(|(_, one)| *one == day).is_some_and(|at| self.days >> at & 1 == 1)
    }
}

/// A time that a change of the clocks leaves out is as much later; one that is there twice is the first.
fn moment_of(day: Date, minutes: u16, zone: &TimeZone) -> Option<Timestamp> {
    let (day, minutes) = match minutes {
        MINUTES_OF_A_DAY => (day.tomorrow().ok()?, 0),
        minutes => (day, minutes),
    };
    let (hour, minute) = (i8::try_from(minutes / 60).ok()?, i8::try_from(minutes % 60).ok()?);
    let moment = day.at(hour, minute, 0, 0).to_zoned_datetime(zone.clone()).ok()?.timestamp();
    u64::try_from(moment.as_millisecond()).ok().map(Timestamp::from_milliseconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::from_utc(text).unwrap()
    }

    /// Until when it is open, or when it opens.
    fn opening(windows: &str, now: &str) -> String {
        let windows: ChangeWindows = windows.parse().unwrap();
        match windows.at(at(now)) {
            Opening::Open { until } => format!("open until {until}"),
            Opening::Closed { opens } => format!("opens {}", opens.unwrap()),
        }
    }

    #[test]
    fn a_window_is_open_from_its_first_moment_to_its_last_and_not_at_its_end() {
        let saturday = "Sat 02:00-04:00";
        assert_eq!(opening(saturday, "2026-11-27T12:00:00Z"), "opens 2026-11-28T02:00:00Z");
        assert_eq!(opening(saturday, "2026-11-28T01:59:59Z"), "opens 2026-11-28T02:00:00Z");
        assert_eq!(opening(saturday, "2026-11-28T02:00:00Z"), "open until 2026-11-28T04:00:00Z");
        assert_eq!(opening(saturday, "2026-11-28T03:59:59Z"), "open until 2026-11-28T04:00:00Z");
        assert_eq!(opening(saturday, "2026-11-28T04:00:00Z"), "opens 2026-12-05T02:00:00Z");
    }

    #[test]
    fn a_window_past_midnight_belongs_to_the_day_on_which_it_begins() {
        let night = "Sat 22:00-02:00";
        assert_eq!(opening(night, "2026-11-29T01:00:00Z"), "open until 2026-11-29T02:00:00Z");
        assert_eq!(opening(night, "2026-11-28T01:00:00Z"), "opens 2026-11-28T22:00:00Z");
        assert_eq!(
            opening("Sun 00:00-24:00", "2026-11-29T23:59:59Z"),
            "open until 2026-11-30T00:00:00Z"
        );
    }

    #[test]
    fn a_window_keeps_to_the_clocks_of_its_zone_also_when_they_change() {
        let berlin = "daily 02:30-03:30 Europe/Berlin";
        assert_eq!(opening(berlin, "2026-07-01T00:00:00Z"), "opens 2026-07-01T00:30:00Z");
        assert_eq!(opening(berlin, "2026-12-01T00:00:00Z"), "opens 2026-12-01T01:30:00Z");
        // 02:30 is left out on 2026-03-29, and is there twice on 2026-10-25.
        assert_eq!(opening(berlin, "2026-03-29T00:00:00Z"), "opens 2026-03-30T00:30:00Z");
        assert_eq!(opening(berlin, "2026-10-25T00:45:00Z"), "open until 2026-10-25T02:30:00Z");
    }

    #[test]
    fn of_several_windows_any_is_enough_and_the_next_one_opens() {
        let several = "Mon-Fri 03:00-04:00 UTC; Sat,Sun 10:00-12:00 Asia/Tokyo";
        assert_eq!(opening(several, "2026-11-27T05:00:00Z"), "opens 2026-11-28T01:00:00Z");
        assert_eq!(opening(several, "2026-11-28T02:00:00Z"), "open until 2026-11-28T03:00:00Z");
        assert_eq!(opening("03:00-04:00", "2026-11-28T05:00:00Z"), "opens 2026-11-29T03:00:00Z");
        // Sunday is between Sat and Mon.
        assert_eq!(
            opening("Sat-Mon 03:00-04:00", "2026-11-29T03:00:00Z"),
            "open until 2026-11-29T04:00:00Z"
        );
    }
}
