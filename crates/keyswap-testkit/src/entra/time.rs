//! Times as a caller writes them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// `2026-11-27T10:00:00Z`, also with a part of a second.
pub(super) fn parse(text: &str) -> Option<SystemTime> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let time = time.split_once('.').map_or(time, |(whole, _)| whole);
    let [year, month, day] = numbers(date, '-')?;
    let [hour, minute, second] = numbers(time, ':')?;
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || year < 1970 {
        return None;
    }
    // Counted from 1 March of the year 0, so that a leap day is the last one of its year.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1;
    let days = days.checked_sub(719_468)?;
    let seconds = days * 86_400 + hour * 3600 + minute * 60 + second;
    Some(UNIX_EPOCH + Duration::from_secs(seconds))
}

fn numbers(text: &str, between: char) -> Option<[u64; 3]> {
    let mut parts = text.split(between).map(|part| part.parse().ok());
    let all = [parts.next()??, parts.next()??, parts.next()??];
    parts.next().is_none().then_some(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::timestamp;

    #[test]
    fn a_time_that_is_written_is_read_again() {
        for seconds in [0, 951_782_400, 951_868_800, 1_677_010_104, 4_102_444_799_u64] {
            let time = UNIX_EPOCH + Duration::from_secs(seconds);
            assert_eq!(parse(&timestamp(time)), Some(time));
        }
        for text in ["", "2026-11-27", "2026-11-27T10:00:00", "2026-13-01T00:00:00Z", "xTyZ"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
