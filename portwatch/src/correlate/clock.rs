//! Kernel time as wall time, through the anchor. Nothing here reads a clock.

use crate::decode::event::Ktime;
use crate::report::ClockAnchor;
use jiff::Timestamp;

/// The moment as RFC 3339 in UTC with nanoseconds. A moment outside the calendar's years -9999 to
/// 9999 (a broken anchor) is shown as its nearest end.
#[must_use]
pub fn rfc3339(anchor: ClockAnchor, at: Ktime) -> String {
    format!("{:.9}", wall(anchor, at))
}

/// The time of day in UTC, `10:12:03`.
#[must_use]
pub fn time_of_day(anchor: ClockAnchor, at: Ktime) -> String {
    wall(anchor, at).strftime("%H:%M:%S").to_string()
}

fn wall(anchor: ClockAnchor, at: Ktime) -> Timestamp {
    let nanos = i128::from(anchor.realtime_ns) + i128::from(at.0) - i128::from(anchor.boottime_ns);
    Timestamp::from_nanosecond(nanos).unwrap_or(if nanos < 0 {
        Timestamp::MIN
    } else {
        Timestamp::MAX
    })
}

/// Whole milliseconds from `from` to `to`; 0 if `to` lies before.
#[must_use]
pub fn millis(from: Ktime, to: Ktime) -> u64 {
    to.since(from) / 1_000_000
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANCHOR: ClockAnchor = ClockAnchor {
        boottime_ns: 1_000_000_000,
        realtime_ns: 1_795_342_500_000_000_000,
    };

    #[test]
    fn nanoseconds_are_kept_to_the_last() {
        let at = Ktime(1_123_456_789);
        assert_eq!(rfc3339(ANCHOR, at), "2026-11-22T10:15:00.123456789Z");
        assert_eq!(
            rfc3339(ANCHOR, Ktime(1_000_000_000)),
            "2026-11-22T10:15:00.000000000Z"
        );
        assert_eq!(time_of_day(ANCHOR, at), "10:15:00");
    }

    #[test]
    fn a_moment_before_the_anchor_is_not_lost() {
        assert_eq!(rfc3339(ANCHOR, Ktime(0)), "2026-11-22T10:14:59.000000000Z");
    }

    #[test]
    fn durations_never_run_backwards() {
        assert_eq!(millis(Ktime(5_999_999), Ktime(8_000_000)), 2);
        assert_eq!(millis(Ktime(8_000_000), Ktime(5_000_000)), 0);
    }
}
