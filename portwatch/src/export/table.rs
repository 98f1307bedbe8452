//! Reports as rows of a table, in one file or in directories by date and host.

use super::Place;
use super::csv::Csv;
use super::draft::Draft;
use super::parquet::Parquet;
use super::partition::{COLUMNS, date, path};
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
    /// With directories: the file of each run's present day.
    days: HashMap<Place, Day>,
    /// Files that each day of a run has had.
    numbers: HashMap<(Place, String), u32>,
}

struct Day {
    date: String,
    file: OneFile,
    draft: Draft,
}

impl Day {
    fn finish(self) -> io::Result<()> {
        self.file.finish()?;
        self.draft.keep()
    }
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
        Ok(Self(Arc::new(Mutex::new(Files {
            format,
            one,
            dir,
            days: HashMap::new(),
            numbers: HashMap::new(),
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
        for (place, day) in files.days.drain() {
            let name = format!("{} of {}", day.date, place.host);
            day.finish().map_err(failed(&name))?;
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
        if let Some(day) = self.days.get_mut(place).filter(|day| day.date == today) {
            return day.file.push(row).map_err(failed(&today));
        }
        if let Some(day) = self.days.remove(place) {
            let date = day.date.clone();
            day.finish().map_err(failed(&date))?;
        }
        let files = self.numbers.entry((place.clone(), today.clone()));
        let files = files.or_default();
        let number = *files;
        *files += 1;
        let end = match self.format {
            TableFormat::Parquet => "parquet",
            TableFormat::Csv => "csv",
        };
        let path = path(dir, &today, place, number, end);
        let name = format!("`{}`", path.display());
        let (out, draft) = Draft::create(&path).map_err(failed(&name))?;
        let mut file = OneFile::new(self.format, Box::new(out), COLUMNS).map_err(failed(&name))?;
        file.push(row).map_err(failed(&name))?;
        let date = today;
        self.days.insert(place.clone(), Day { date, file, draft });
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
