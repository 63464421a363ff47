//! The numbers of a rotation: how long, how often, and for whom it waits.

use std::fmt;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::window::ChangeWindows;

/// A moment on the rotator's clock, in milliseconds since 1970-01-01T00:00Z.
///
/// Wall-clock time, since a rotation may be resumed by another process on another day. A clock that
/// is set back makes a rotation wait longer and never shorter.
#[derive(
    Clone, Copy, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize,
)]
#[serde(transparent)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The moment so many milliseconds after 1970-01-01T00:00Z.
    #[must_use]
    pub const fn from_milliseconds(milliseconds: u64) -> Self {
        Self(milliseconds)
    }

    /// Milliseconds since 1970-01-01T00:00Z.
    #[must_use]
    pub const fn milliseconds(self) -> u64 {
        self.0
    }

    /// What the system's clock says.
    #[must_use]
    pub fn now() -> Self {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }

    /// A moment as RFC 3339 has it, in UTC and to the second; what is less than that is left out.
    pub(crate) fn from_utc(text: &str) -> Option<Self> {
        let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
        let time = time.split_once('.').map_or(time, |(seconds, _)| seconds);
        let [year, month, day] = numbers(date, '-')?;
        let [hour, minute, second] = numbers(time, ':')?;
        let is_one = (1970..=9999).contains(&year)
            && (1..=12).contains(&month)
            && (1..=31).contains(&day)
            && (hour < 24 && minute < 60 && second <= 60);
        let seconds = is_one.then(|| days(year, month, day) * 86_400)?;
        Some(Self((seconds + hour * 3600 + minute * 60 + second) * 1000))
    }

    /// How long ago `earlier` was; zero if it is in the future.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// This moment and so much time.
    #[must_use]
    pub fn after(self, time: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(time.as_millis()).unwrap_or(u64::MAX)))
    }
}

/// As RFC 3339 has it, in UTC and to the second: `2026-11-27T10:26:15Z`.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0 / 1000;
        let (year, month, day) = date(seconds / 86_400);
        let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
    }
}

/// The date so many days after 1970-01-01, in the Gregorian calendar: counted from 1 March of the year 0,
/// in eras of 400 years, so that a leap day is the last one of its year.
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

/// How many days after 1970-01-01 a date is, counted in the same way.
fn days(year: u64, month: u64, day: u64) -> u64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1;
    days - 719_468
}

fn numbers(text: &str, between: char) -> Option<[u64; 3]> {
    let mut parts = text.split(between).map(|part| part.parse().ok());
    let all = [parts.next()??, parts.next()??, parts.next()??];
    parts.next().is_none().then_some(all)
}

/// An application that uses the client, and how many instances of it must have the new secret before
/// the server's is changed.
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Application {
    /// The name under which its instances report.
    pub name: String,
    /// The least number of live instances that is expected: 1 or more.
    pub instances: u32,
    /// Whether it cannot report, so that a person has to [confirm](super::Record::confirm) at each gate
    /// what its instances hold and use.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub manual: bool,
}

impl Application {
    /// An application with at least one live instance.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), instances: 1, manual: false }
    }

    /// With at least so many live instances.
    #[must_use]
    pub fn instances(mut self, instances: u32) -> Self {
        self.instances = instances.max(1);
        self
    }

    /// One that cannot report: a person confirms for it.
    #[must_use]
    pub fn manual(mut self) -> Self {
        self.manual = true;
        self
    }
}

/// How a rotation behaves. It is kept in the journal, so that a rotation that is resumed goes on as it
/// was begun.
///
/// ```
/// use std::time::Duration;
/// use keyswap_admin::{Application, RotationPolicy};
///
/// let policy = RotationPolicy::new([Application::new("billing").instances(3)])
///     .quiet_period(Duration::from_secs(3600));
/// assert_eq!(policy.applications[0].instances, 3);
/// ```
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[non_exhaustive]
#[must_use]
pub struct RotationPolicy {
    /// Every application that uses the client. One that is missing here loses its access.
    pub applications: Vec<Application>,
    /// How long after a change the nodes of the server may disagree; `None`: what the authority says.
    #[serde(with = "milliseconds_or_none")]
    pub propagation_window: Option<Duration>,
    /// How long no instance may have used the old secret before it is retired; never less than the
    /// propagation window.
    #[serde(with = "milliseconds")]
    pub quiet_period: Duration,
    /// How many times in a row, spread over the propagation window, the server must accept the new
    /// secret before it is promoted.
    pub probes: u32,
    /// How often instances are looked at, and an unknown outcome is asked for again.
    #[serde(with = "milliseconds")]
    pub poll_every: Duration,
    /// How often the same change may be sent.
    pub sends: u32,
    /// How long a change that was given up may still be applied by whatever is on the way.
    #[serde(with = "milliseconds")]
    pub in_flight_bound: Duration,
    /// How long a retired value stays in the journal, so that it is recognised if it comes back.
    #[serde(with = "milliseconds")]
    pub late_write_bound: Duration,
    /// How long an old secret that is unused stays deactivated at a server that can put it back, before
    /// it is taken away; `None`: as long as the quiet period.
    #[serde(default, with = "milliseconds_or_none", skip_serializing_if = "Option::is_none")]
    pub observation_period: Option<Duration>,
    /// Whether to stop when the old secret is unused, and to retire it only when a person
    /// [says so](super::Event::RetireWanted).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub hold_at_drained: bool,
    /// The times in which something may be changed at the server; `None`: at any time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change_windows: Option<ChangeWindows>,
}

const USUAL_PATIENCE: Duration = Duration::from_secs(900);

impl RotationPolicy {
    /// The defaults for these applications: a quiet period of 10 minutes, 8 probes, a look each
    /// second, 10 sends, 10 minutes for requests in flight, 24 hours for late writes.
    pub fn new(applications: impl IntoIterator<Item = Application>) -> Self {
        Self {
            applications: applications.into_iter().collect(),
            propagation_window: None,
            quiet_period: Duration::from_secs(600),
            probes: 8,
            poll_every: Duration::from_secs(1),
            sends: 10,
            in_flight_bound: Duration::from_secs(600),
            late_write_bound: Duration::from_secs(24 * 3600),
            observation_period: None,
            hold_at_drained: false,
            change_windows: None,
        }
    }

    /// Sets [`propagation_window`](Self::propagation_window).
    pub fn propagation_window(mut self, window: Duration) -> Self {
        self.propagation_window = Some(window);
        self
    }

    /// Sets [`quiet_period`](Self::quiet_period): at least the longest time between two uses of the
    /// secret by any application.
    pub fn quiet_period(mut self, period: Duration) -> Self {
        self.quiet_period = period;
        self
    }

    /// Sets [`poll_every`](Self::poll_every).
    pub fn poll_every(mut self, every: Duration) -> Self {
        self.poll_every = every;
        self
    }

    /// Sets [`hold_at_drained`](Self::hold_at_drained).
    pub fn hold_at_drained(mut self, hold: bool) -> Self {
        self.hold_at_drained = hold;
        self
    }

    /// Sets [`change_windows`](Self::change_windows).
    pub fn change_windows(mut self, windows: ChangeWindows) -> Self {
        self.change_windows = Some(windows);
        self
    }

    /// Sets [`observation_period`](Self::observation_period).
    pub fn observation_period(mut self, period: Duration) -> Self {
        self.observation_period = Some(period);
        self
    }

    /// How long a rotation stays in one state before it stops, unless it is told otherwise: 15 minutes, or a
    /// quarter more than the longest time that it has to let pass. With less it would stop in that state each
    /// time, and begin to wait anew when it is resumed.
    #[must_use]
    pub fn usual_patience(&self) -> Duration {
        let longest = self.quiet().max(self.observation()).max(self.in_flight_bound);
        USUAL_PATIENCE.max(longest + longest / 4)
    }

    /// The observation period in force.
    pub(crate) fn observation(&self) -> Duration {
        self.observation_period.unwrap_or(self.quiet())
    }

    /// The propagation window in force.
    pub(crate) fn window(&self) -> Duration {
        self.propagation_window.unwrap_or(Duration::from_secs(30))
    }

    /// The quiet period in force.
    pub(crate) fn quiet(&self) -> Duration {
        self.quiet_period.max(self.window())
    }

    /// How often an instance reports again while an old secret falls out of use: two reports at least
    /// the quiet period apart prove it, so the proof comes at most a quarter later than it could.
    pub(crate) fn attest_every(&self) -> Duration {
        (self.quiet() / 4).clamp(Duration::from_millis(100), Duration::from_secs(60))
    }

    /// The pause between two probes, so that `probes` of them span the window.
    pub(crate) fn probe_every(&self) -> Duration {
        let gaps = self.probes.saturating_sub(1).max(1);
        (self.window() / gaps).max(Duration::from_millis(50))
    }
}

pub(super) mod milliseconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(in crate::rotation) fn serialize<S: Serializer>(
        time: &Duration,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.serialize_u64(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
    }

    pub(in crate::rotation) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Duration, D::Error> {
        u64::deserialize(from).map(Duration::from_millis)
    }
}

mod milliseconds_or_none {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(
        time: &Option<Duration>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        time.map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX)).serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<Duration>, D::Error> {
        Ok(Option::<u64>::deserialize(from)?.map(Duration::from_millis))
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_rotation_is_patient_for_longer_than_it_has_to_wait() {
        let quiet = |seconds| {
            RotationPolicy::new([]).quiet_period(Duration::from_secs(seconds)).usual_patience()
        };
        assert_eq!(quiet(630), Duration::from_secs(900));
        assert_eq!(quiet(3600), Duration::from_secs(4500));
        let window = RotationPolicy::new([]).propagation_window(Duration::from_secs(7200));
        assert_eq!(window.usual_patience(), Duration::from_secs(9000));
    }

    use super::*;

    #[test]
    fn a_timestamp_is_shown_as_a_date_and_a_time_in_utc() {
        let cases = [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399_999, "2000-02-28T23:59:59Z"),
            (951_782_400_000, "2000-02-29T00:00:00Z"),
            (951_868_800_000, "2000-03-01T00:00:00Z"),
            (1_795_773_600_500, "2026-11-27T10:00:00Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00Z"),
        ];
        for (milliseconds, shown) in cases {
            assert_eq!(Timestamp::from_milliseconds(milliseconds).to_string(), shown);
            let seconds = milliseconds / 1000 * 1000;
            assert_eq!(Timestamp::from_utc(shown), Some(Timestamp::from_milliseconds(seconds)));
        }
    }

    #[test]
    fn what_is_no_moment_in_utc_is_not_taken_for_one() {
        let exact = Timestamp::from_utc("2021-09-09T19:50:29.3086381Z").unwrap();
        assert_eq!(exact.to_string(), "2021-09-09T19:50:29Z");
        for text in [
            "",
            "Z",
            "2026-11-27",
            "2026-11-27T10:00:00",
            "2026-11-27T10:00:00-08:00",
            "2026-13-01T00:00:00Z",
            "2026-00-01T00:00:00Z",
            "1969-12-31T23:59:59Z",
            "99999999999999999999-01-01T00:00:00Z",
            "2026-11-27T24:00:00Z",
        ] {
            assert_eq!(Timestamp::from_utc(text), None, "{text}");
        }
    }
}
