//! Times and numbers in words, as people write and read them. jiff writes the times; how exact they are is decided here.

use std::time::Duration;

use jiff::fmt::friendly::SpanPrinter;

/// All of it, as a configuration or an argument takes it: `300ms`, `1h 30m`.
pub(crate) fn exactly(time: Duration) -> String {
    SpanPrinter::new().unsigned_duration_to_string(&time)
}

/// In whole seconds.
pub(crate) fn in_seconds(time: Duration) -> String {
    exactly(Duration::from_secs(time.as_secs()))
}

/// In whole days from one on: `90d`, `7h 5m`.
pub(crate) fn in_days(time: Duration) -> String {
    match time.as_secs() / 86_400 {
        0 => in_seconds(time),
        days => format!("{days}d"),
    }
}

/// A time as people write it, to the second where it is long.
pub(crate) fn rounded(time: Duration) -> String {
    let time = match time.as_secs() {
        10.. => Duration::from_secs((time.as_secs_f64()).round() as u64),
        _ => Duration::from_millis(u64::try_from(time.as_millis()).unwrap_or(u64::MAX)),
    };
    if time.is_zero() {
        return "0s".to_owned();
    }
    exactly(time)
}

/// How long something took: `40 ms`, `3.2 s`, `12 s`, `4m 10s`, `2d 3h`.
pub(crate) fn lasted(time: Duration) -> String {
    let seconds = time.as_secs();
    let in_words = |unit: u64| exactly(Duration::from_secs(seconds / unit * unit));
    match seconds {
        0 => format!("{} ms", time.as_millis()),
        1..=9 => format!("{:.1} s", time.as_secs_f64()),
        10..=59 => format!("{seconds} s"),
        60..=3599 => in_words(1),
        3600..=86_399 => in_words(60),
        _ => {
            let (days, hours) = (seconds / 86_400, seconds % 86_400 / 3600);
            format!("{days}d {hours}h")
        }
    }
}

/// With a comma before each three digits.
pub(crate) fn number(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 instance`, `2 instances`.
pub(crate) fn count(count: u64, what: &str) -> String {
    let end = if count == 1 { "" } else { "s" };
    format!("{} {what}{end}", number(count))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_as_exact_as_a_person_wants_them() {
        let of = |milliseconds| lasted(Duration::from_millis(milliseconds));
        assert_eq!(of(40), "40 ms");
        assert_eq!(of(3_249), "3.2 s");
        assert_eq!(of(59_900), "59 s");
        assert_eq!(of(250_000), "4m 10s");
        assert_eq!(of(3_600_000 + 125_000), "1h 2m");
        assert_eq!(of(86_400_000 * 2 + 3_600_000 * 3), "2d 3h");
    }

    #[test]
    fn times_are_written_as_people_do() {
        for (milliseconds, written) in [
            (0, "0s"),
            (250, "250ms"),
            (1_500, "1s 500ms"),
            (631_200, "10m 31s"),
            (3_600_000, "1h"),
        ] {
            assert_eq!(rounded(Duration::from_millis(milliseconds)), written);
        }
    }

    #[test]
    fn numbers_are_grouped_by_thousands() {
        assert_eq!([0, 999, 1000, 1_234_567].map(number), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!((count(1, "instance"), count(0, "instance")).1, "0 instances");
    }
}
