//! Wall time as the reader's own clock shows it.

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// Local time with its offset, to the millisecond: `2026-11-22 11:15:00.123+01:00`.
#[must_use]
pub fn local(at: Timestamp, zone: &TimeZone) -> String {
    at.to_zoned(zone.clone())
        .strftime("%Y-%m-%d %H:%M:%S%.3f%:z")
        .to_string()
}

/// Local time of day to the second, with its offset: `11:15:00+01:00`.
#[must_use]
pub fn local_clock(at: Timestamp, zone: &TimeZone) -> String {
    at.to_zoned(zone.clone())
        .strftime("%H:%M:%S%:z")
        .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_time_carries_its_offset() {
        let zone = TimeZone::fixed(jiff::tz::offset(1));
        let at = Timestamp::new(1_795_342_500, 123_456_789).unwrap();
        assert_eq!(local(at, &zone), "2026-11-22 11:15:00.123+01:00");
        assert_eq!(local_clock(at, &zone), "11:15:00+01:00");
    }
}
