//! Where rows go: one file, or `date=2026-11-28/host=node-7/RUN-0.parquet` below a directory.

use super::Place;
use jiff::Timestamp;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use std::path::{Path, PathBuf};

/// Hive's rule: what could be taken for a part of a path is escaped; both DuckDB and Spark undo it.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.');

/// Columns that stand in the path instead of in the file.
pub(super) const COLUMNS: &[&str] = &["host"];

/// The day of a row, UTC.
pub(super) fn date(time_ns: i64) -> String {
    let time = Timestamp::from_nanosecond(time_ns.into()).unwrap_or(Timestamp::UNIX_EPOCH);
    time.strftime("%Y-%m-%d").to_string()
}

/// The file of a day of a run. `number` counts those of one run and day: a clock that was set back
/// makes another one.
pub(super) fn path(dir: &Path, date: &str, place: &Place, number: u32, end: &str) -> PathBuf {
    let escaped = |text: &str| utf8_percent_encode(text, ESCAPED).to_string();
    dir.join(format!("date={date}"))
        .join(format!("host={}", escaped(&place.host)))
        .join(format!("{}-{number}.{end}", escaped(&place.run)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_host_leads_out_of_the_directory() {
        let place = |host: &str| Place {
            host: host.to_owned(),
            run: "r".to_owned(),
        };
        let of = |host| path(Path::new("d"), "2026-11-28", &place(host), 0, "csv");
        assert_eq!(
            of("node-7.a_b"),
            Path::new("d/date=2026-11-28/host=node-7.a_b/r-0.csv")
        );
        assert_eq!(
            of("../x=y"),
            Path::new("d/date=2026-11-28/host=..%2Fx%3Dy/r-0.csv")
        );
        assert_eq!(date(1_795_342_500_000_000_000), "2026-11-22");
        assert_eq!(date(-1), "1969-12-31");
    }
}
