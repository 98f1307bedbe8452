//! Strings and numbers as the page shows them. The template escapes HTML; what would hide or turn
//! text around is escaped here.

use crate::sink::escape::escape;
use jiff::Timestamp;

/// A string of another process.
pub(super) fn text(text: &str) -> String {
    escape(text).into_owned()
}

/// 2026-11-28 00:15:19.938 (UTC).
pub(super) fn time(ns: i64) -> String {
    let time = Timestamp::from_nanosecond(ns.into()).unwrap_or_default();
    time.strftime("%Y-%m-%d %H:%M:%S%.3f").to_string()
}

/// For `datetime` of `<time>`.
pub(super) fn machine_time(ns: i64) -> String {
    let time = Timestamp::from_nanosecond(ns.into()).unwrap_or_default();
    format!("{time:.3}")
}

/// The time of day, as fine as a chart of that many nanoseconds needs it.
pub(super) fn short_time(ns: i64, whole: i64) -> String {
    const S: i64 = 1_000_000_000;
    let time = Timestamp::from_nanosecond(ns.into()).unwrap_or_default();
    let format = match whole / S {
        ..30 => "%H:%M:%S%.3f",
        30..172_800 => "%H:%M:%S",
        _ => "%m-%d %H:%M",
    };
    time.strftime(format).to_string()
}

/// 1 234 567.
pub(super) fn number(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push('\u{a0}');
        }
        out.push(digit);
    }
    out
}

/// `1 incident`, `2 incidents`.
pub(super) fn counted(count: u64, noun: &str) -> String {
    match count {
        1 => format!("1 {noun}"),
        _ => format!("{} {noun}s", number(count)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_people_read_them() {
        assert_eq!(number(1_234_567), "1\u{a0}234\u{a0}567");
        assert_eq!(number(123), "123");
        assert_eq!(counted(1, "incident"), "1 incident");
        assert_eq!(counted(1000, "port"), "1\u{a0}000 ports");
        let ns = 1_795_342_500_123_000_000;
        assert_eq!(time(ns), "2026-11-22 10:15:00.123");
        assert_eq!(machine_time(ns), "2026-11-22T10:15:00.123Z");
        assert_eq!(short_time(ns, 60_000_000_000), "10:15:00");
        assert_eq!(text("a\u{202e}b"), "a\\u{202e}b");
    }
}
