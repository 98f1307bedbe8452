//! Kernel time as wall time, through the anchor, and lengths of time in words. Nothing here reads a
//! clock.

use super::ClockAnchor;
use crate::decode::event::Ktime;
use jiff::Timestamp;
use jiff::fmt::temporal::DateTimePrinter;

const NANOSECONDS: DateTimePrinter = DateTimePrinter::new().precision(Some(9));

/// Wall time of `at`; the ends of the calendar where that lies outside it.
#[must_use]
pub fn wall(anchor: ClockAnchor, at: Ktime) -> Timestamp {
    let ns = i128::from(anchor.realtime_ns) + i128::from(at.0) - i128::from(anchor.boottime_ns);
    let end = if ns < 0 {
        Timestamp::MIN
    } else {
        Timestamp::MAX
    };
    Timestamp::from_nanosecond(ns).unwrap_or(end)
}

/// RFC 3339, UTC, nine digits: `2026-11-22T10:15:00.123456789Z`.
#[must_use]
pub fn rfc3339(anchor: ClockAnchor, at: Ktime) -> String {
    NANOSECONDS.timestamp_to_string(&wall(anchor, at))
}

/// The time of day in UTC, `10:12:03`.
#[must_use]
pub fn time_of_day(anchor: ClockAnchor, at: Ktime) -> String {
    wall(anchor, at).strftime("%H:%M:%S").to_string()
}

/// Whole milliseconds from `from` to `to`; 0 if `to` lies before.
#[must_use]
pub fn millis(from: Ktime, to: Ktime) -> u64 {
    to.since(from) / 1_000_000
}

/// A length of time as people say it, two units at most: `187 ms`, `4.2 s`, `5m 12s`, `2d 4h`.
#[must_use]
pub fn human(ms: u64) -> String {
    let seconds = ms / 1000;
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    let two = |big: u64, unit: &str, small: u64, part: &str| match small {
        0 => format!("{big}{unit}"),
        _ => format!("{big}{unit} {small}{part}"),
    };
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..10_000 => format!("{seconds}.{} s", ms % 1000 / 100),
        10_000..60_000 => format!("{seconds} s"),
        60_000..3_600_000 => two(minutes, "m", seconds % 60, "s"),
        3_600_000..86_400_000 => two(hours, "h", minutes % 60, "m"),
        _ => two(days, "d", hours % 24, "h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANCHOR: ClockAnchor = ClockAnchor {
        boottime_ns: 5_000_000_000,
        realtime_ns: 1_795_342_500_000_000_000,
    };

    #[test]
    fn nine_digits_even_when_zero() {
        let at = Ktime(5_000_000_000);
        assert_eq!(rfc3339(ANCHOR, at), "2026-11-22T10:15:00.000000000Z");
        let at = Ktime(5_123_456_789);
        assert_eq!(rfc3339(ANCHOR, at), "2026-11-22T10:15:00.123456789Z");
        assert_eq!(time_of_day(ANCHOR, at), "10:15:00");
    }

    #[test]
    fn before_the_anchor_and_outside_the_calendar() {
        assert_eq!(rfc3339(ANCHOR, Ktime(0)), "2026-11-22T10:14:55.000000000Z");
        let far = ClockAnchor {
            boottime_ns: u64::MAX,
            realtime_ns: i64::MIN,
        };
        assert!(wall(far, Ktime(0)) < Timestamp::UNIX_EPOCH);
        assert!(wall(ANCHOR, Ktime(u64::MAX)) > Timestamp::UNIX_EPOCH);
    }

    #[test]
    fn durations_never_run_backwards() {
        assert_eq!(millis(Ktime(5_999_999), Ktime(8_000_000)), 2);
        assert_eq!(millis(Ktime(8_000_000), Ktime(5_000_000)), 0);
    }

    #[test]
    fn lengths_as_people_say_them() {
        for (ms, said) in [
            (0, "0 ms"),
            (187, "187 ms"),
            (4_250, "4.2 s"),
            (42_900, "42 s"),
            (60_000, "1m"),
            (312_000, "5m 12s"),
            (11_520_000, "3h 12m"),
            (187_654_321, "2d 4h"),
            (u64::MAX, "213503982334d 14h"),
        ] {
            assert_eq!(human(ms), said);
        }
    }
}
