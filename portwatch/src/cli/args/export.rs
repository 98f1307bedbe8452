//! Options of `export` and `report`.

use super::{CapturesArgs, EventChoice, RedactArgs, parse};
use clap::{Args, ValueEnum};
use std::path::PathBuf;

/// Everything `export` takes.
#[derive(Clone, Debug, Args)]
pub struct ExportArgs {
    /// What to make of them
    #[arg(
        long,
        env = "PORTWATCH_FORMAT",
        value_name = "FORMAT",
        help_heading = "Output"
    )]
    pub format: ExportFormat,

    /// Write here instead of to standard output; what stands there is replaced
    #[arg(
        short,
        long,
        env = "PORTWATCH_OUTPUT",
        value_name = "PATH",
        help_heading = "Output"
    )]
    pub output: Option<PathBuf>,

    /// A file for each day and host, in directories date=.../host=... below --output
    #[arg(long, env = "PORTWATCH_PARTITION", requires = "output", help_heading = "Output",
          value_parser = parse::flag)]
    pub partition: bool,

    /// What to export: conflicts, ports taken, ports let go, binds refused for another reason
    #[arg(
        long,
        env = "PORTWATCH_EVENTS",
        value_delimiter = ',',
        default_value = "all",
        help_heading = "Filters"
    )]
    pub events: Vec<EventChoice>,

    /// What is left out.
    #[command(flatten)]
    pub redact: RedactArgs,
    /// What is read, and how well.
    #[command(flatten)]
    pub from: CapturesArgs,
}

/// A word of `export --format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ExportFormat {
    /// A table with typed columns, for DuckDB, Spark and their like
    Parquet,
    /// The same table as text
    Csv,
    /// The lines of `replay --json --events all --neighbours`
    Ndjson,
    /// A Chrome trace: a timeline to look at in ui.perfetto.dev
    Perfetto,
}

impl ExportArgs {
    /// Two options that cannot both be meant.
    pub(super) fn contradiction(&self) -> Option<String> {
        let table = matches!(self.format, ExportFormat::Parquet | ExportFormat::Csv);
        let partition = "--partition is for tables: --format parquet or csv";
        let of_format = (self.partition && !table).then(|| partition.to_owned());
        of_format.or_else(|| self.redact.contradiction())
    }
}

/// Everything `report` takes.
#[derive(Clone, Debug, Args)]
pub struct ReportArgs {
    /// Write the page here instead of to standard output; what stands there is replaced
    #[arg(
        short,
        long,
        env = "PORTWATCH_OUTPUT",
        value_name = "PATH",
        help_heading = "Output"
    )]
    pub output: Option<PathBuf>,

    /// What is left out.
    #[command(flatten)]
    pub redact: RedactArgs,
    /// What is read, and how well.
    #[command(flatten)]
    pub from: CapturesArgs,
}
