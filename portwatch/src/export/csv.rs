//! CSV: a line of names, then a line for each row. Lists are JSON in their cell, times RFC 3339.

use super::row::Row;
use jiff::Timestamp;
use serde_json::Value;
use std::io::{self, Write};

/// Columns of microseconds, which are text here.
pub(super) const TIMES: &[&str] = &["time", "start_time", "holder_since"];

/// Writes rows.
pub(super) struct Csv<W: Write> {
    writer: csv::Writer<W>,
    /// Left out: it stands in the path.
    without: &'static [&'static str],
    named: bool,
}

impl<W: Write> Csv<W> {
    pub(super) fn new(out: W, without: &'static [&'static str]) -> Self {
        Self {
            writer: csv::Writer::from_writer(out),
            without,
            named: false,
        }
    }

    pub(super) fn write(&mut self, rows: &[Row]) -> io::Result<()> {
        for row in rows {
            let Value::Object(fields) = serde_json::to_value(row)? else {
                unreachable!("a struct serializes as an object");
            };
            let cells = fields
                .iter()
                .filter(|(name, _)| !self.without.contains(&name.as_str()));
            if !self.named {
                self.writer
                    .write_record(cells.clone().map(|(name, _)| name))?;
                self.named = true;
            }
            self.writer
                .write_record(cells.map(|(name, value)| cell(name, value)))?;
        }
        Ok(())
    }

    pub(super) fn finish(mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

fn cell(name: &str, value: &Value) -> String {
    let time = value.as_i64().filter(|_| TIMES.contains(&name));
    match (value, time.map(Timestamp::from_microsecond)) {
        (_, Some(Ok(time))) => format!("{time:.6}"),
        (Value::Null, _) => String::new(),
        (Value::String(text), _) => text.clone(),
        (other, _) => other.to_string(),
    }
}
