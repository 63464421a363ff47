//! Times that processes can compare, and what is told of many of them.

use std::time::Duration;

/// Nanoseconds by the clock that all processes of a machine share.
pub(crate) fn clock() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    u64::try_from(now.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap_or(0)
}

/// Times, in order.
#[derive(Debug)]
pub(crate) struct Times(Vec<Duration>);

impl Times {
    pub(crate) fn new(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        Self(times)
    }

    /// The least time that this share of them does not pass; nothing of none.
    pub(crate) fn quantile(&self, share: f64) -> Duration {
        let at = (self.0.len() as f64 * share).ceil() as usize;
        self.0.get(at.clamp(1, self.0.len().max(1)) - 1).copied().unwrap_or_default()
    }

    pub(crate) fn median(&self) -> Duration {
        self.quantile(0.5)
    }

    pub(crate) fn max(&self) -> Duration {
        self.quantile(1.0)
    }
}

pub(crate) fn ms(time: Duration) -> String {
    match time.as_secs_f64() * 1e3 {
        ms if ms < 10.0 => format!("{ms:.1} ms"),
        ms => format!("{ms:.0} ms"),
    }
}

pub(crate) fn kb(bytes: f64) -> String {
    format!("{:.1} kB", bytes / 1e3)
}

/// What the machine had to do besides: the mean of the last minute, of which our own work is a part.
pub(crate) fn load() -> String {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split(' ').next().unwrap_or("unknown").to_owned()
}

/// A field of `/proc/self/status`, in bytes: `VmRSS`, `VmHWM`.
pub(crate) fn memory(field: &str) -> crate::Outcome<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    let kibibytes = line.and_then(|line| line.trim().strip_suffix(" kB")).ok_or("no such field")?;
    Ok(kibibytes.trim().parse::<u64>()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_times_that_were_measured() {
        let times = Times::new((1..=200).rev().map(Duration::from_millis).collect());
        assert_eq!(times.median(), Duration::from_millis(100));
        assert_eq!(times.quantile(0.99), Duration::from_millis(198));
        assert_eq!(times.max(), Duration::from_millis(200));
        assert_eq!(Times::new(Vec::new()).max(), Duration::ZERO);
    }
}
