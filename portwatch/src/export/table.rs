//! Reports as rows of a table, in one file or in directories by date and host.

use super::Place;
use super::csv::Csv;
use super::parquet::Parquet;
use super::partition::{COLUMNS, create, date, path};
use super::row::Row;
use crate::advise::PortList;
use crate::report::{Body, ClockAnchor, Report};
use crate::sink::{Sink, SinkError, outlet};
use std::collections::HashMap;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

/// Rows that are turned into columns together.
const BATCH: usize = 1024;

/// Of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableFormat {
    /// Apache Parquet.
    Parquet,
    /// Comma-separated values.
    Csv,
}

/// Where a table goes.
pub enum Target {
    /// All rows to one place, whose name errors tell.
    One(Box<dyn Write + Send>, String),
    /// Directories below this one.
    Partitioned(PathBuf),
}

/// A table that several runs write to.
#[derive(Clone)]
pub struct Table(Arc<Mutex<Files>>);

struct Files {
    format: TableFormat,
    one: Option<(OneFile, String)>,
    dir: Option<PathBuf>,
    /// With directories: the file of each run's present day, and how many it has had.
    days: HashMap<Place, (String, u32, OneFile)>,
}

impl Table {
    /// An empty table.
    ///
    /// # Errors
    /// [`SinkError::Write`].
    pub fn new(format: TableFormat, target: Target) -> Result<Self, SinkError> {
        let (one, dir) = match target {
            Target::One(out, name) => {
                let file = OneFile::new(format, out, &[]).map_err(failed(&name))?;
                (Some((file, name)), None)
            }
            Target::Partitioned(dir) => (None, Some(dir)),
        };
        let days = HashMap::new();
        Ok(Self(Arc::new(Mutex::new(Files {
            format,
            one,
            dir,
            days,
        }))))
    }

    /// The sink of one run.
    #[must_use]
    pub fn sink(&self, place: Place) -> TableSink {
        TableSink {
            table: self.clone(),
            place,
            anchor: ClockAnchor {
                boottime_ns: 0,
                realtime_ns: 0,
            },
            ranges: HashMap::new(),
        }
    }

    /// Writes the rest and the ends of the files.
    ///
    /// # Errors
    /// [`SinkError::Write`].
    pub fn finish(&self) -> Result<(), SinkError> {
        let mut files = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((file, name)) = files.one.take() {
            file.finish().map_err(failed(&name))?;
        }
        for (place, (date, _, file)) in files.days.drain() {
            file.finish()
                .map_err(failed(&format!("{date} of {}", place.host)))?;
        }
        Ok(())
    }
}

impl Files {
    fn write(&mut self, row: Row, place: &Place) -> Result<(), SinkError> {
        if let Some((file, name)) = &mut self.one {
            return file.push(row).map_err(failed(name));
        }
        let Some(dir) = &self.dir else {
            return Ok(());
        };
        let today = date(row.time_ns);
        let number = match self.days.get_mut(place) {
            Some((date, _, file)) if *date == today => {
                return file.push(row).map_err(failed(date));
            }
            Some((_, number, _)) => *number + 1,
            None => 0,
        };
        if let Some((date, _, file)) = self.days.remove(place) {
            file.finish().map_err(failed(&date))?;
        }
        let end = match self.format {
            TableFormat::Parquet => "parquet",
            TableFormat::Csv => "csv",
        };
        let path = path(dir, &today, place, number, end);
        let name = format!("`{}`", path.display());
        let mut file = create(&path)
            .and_then(|out| OneFile::new(self.format, Box::new(out), COLUMNS))
            .map_err(failed(&name))?;
        file.push(row).map_err(failed(&name))?;
        self.days.insert(place.clone(), (today, number, file));
        Ok(())
    }
}

/// One file and the rows that wait for it.
struct OneFile {
    rows: Vec<Row>,
    writer: Writer,
}

enum Writer {
    Parquet(Box<Parquet<Box<dyn Write + Send>>>),
    Csv(Box<Csv<Box<dyn Write + Send>>>),
}

impl OneFile {
    fn new(
        format: TableFormat,
        out: Box<dyn Write + Send>,
        without: &'static [&'static str],
    ) -> io::Result<Self> {
        let writer = match format {
            TableFormat::Parquet => Writer::Parquet(Box::new(Parquet::new(out, without)?)),
            TableFormat::Csv => Writer::Csv(Box::new(Csv::new(out, without))),
        };
        Ok(Self {
            rows: Vec::new(),
            writer,
        })
    }

    fn push(&mut self, row: Row) -> io::Result<()> {
        self.rows.push(row);
        match self.rows.len() < BATCH {
            true => Ok(()),
            false => self.write(),
        }
    }

    fn write(&mut self) -> io::Result<()> {
        match &mut self.writer {
            Writer::Parquet(parquet) => parquet.write(&self.rows)?,
            Writer::Csv(csv) => csv.write(&self.rows)?,
        }
        self.rows.clear();
        Ok(())
    }

    fn finish(mut self) -> io::Result<()> {
        self.write()?;
        match self.writer {
            Writer::Parquet(parquet) => parquet.finish(),
            Writer::Csv(csv) => csv.finish(),
        }
    }
}

fn failed(name: &str) -> impl FnOnce(io::Error) -> SinkError + '_ {
    move |source| outlet::failed(name, source)
}

/// One run's way into the table.
pub struct TableSink {
    table: Table,
    place: Place,
    anchor: ClockAnchor,
    /// Of the namespaces that the start line tells.
    ranges: HashMap<u32, (u16, u16, PortList)>,
}

impl TableSink {
    /// Ports taken and let go do not tell their range: it is that of the run's beginning.
    fn range(&self, row: &mut Row, netns: u32, port: u16) {
        let Some(range) = self.ranges.get(&netns) else {
            return;
        };
        let (low, high, reserved) = range;
        row.range_low = Some((*low).into());
        row.range_high = Some((*high).into());
        row.range_contains_port = Some((*low..=*high).contains(&port));
        row.range_reserved = Some(reserved.contains(port));
    }
}

impl Sink for TableSink {
    fn report(&mut self, report: &Report) -> Result<(), SinkError> {
        if let Body::Start(start) = &report.body {
            self.anchor = start.clock;
            let ranges = start.namespaces.iter();
            self.ranges = ranges
                .map(|range| {
                    let reserved = range.reserved.parse().unwrap_or_default();
                    (range.netns, (range.low, range.high, reserved))
                })
                .collect();
        }
        let mut row = Row::of(report, &self.place, self.anchor);
        match &report.body {
            Body::Assign(assign) => self.range(&mut row, assign.netns, assign.local.port),
            Body::Release(release) => self.range(&mut row, release.netns, release.local.port),
            Body::Start(_)
            | Body::Conflict(_)
            | Body::Resolved(_)
            | Body::Refused(_)
            | Body::Lost(_)
            | Body::Summary(_) => {}
        }
        let mut files = self.table.0.lock().unwrap_or_else(PoisonError::into_inner);
        files.write(row, &self.place)
    }

    fn anchor(&mut self, anchor: ClockAnchor) {
        self.anchor = anchor;
    }

    fn flush(&mut self) -> Result<(), SinkError> {
        Ok(())
    }

    fn reopen(&mut self) -> Result<(), SinkError> {
        Ok(())
    }
}
