//! Parquet, zstd inside. The schema is made from [`Row`] itself.

use super::csv::TIMES;
use super::row::Row;
use arrow_schema::{FieldRef, Schema};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use serde_arrow::ArrayBuilder;
use serde_arrow::schema::{SchemaLike, SerdeArrowSchema, TracingOptions};
use serde_json::json;
use std::io::{self, Write};
use std::sync::Arc;

/// Rows of a group: a group is in memory until it is written.
const GROUP: usize = 1 << 16;

/// Writes rows.
pub(super) struct Parquet<W: Write + Send> {
    builder: ArrayBuilder,
    writer: ArrowWriter<W>,
}

impl<W: Write + Send> Parquet<W> {
    pub(super) fn new(out: W, without: &[&str]) -> io::Result<Self> {
        let fields = fields(without).map_err(io::Error::other)?;
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_max_row_group_row_count(Some(GROUP))
            .set_created_by(format!("portwatch {}", env!("CARGO_PKG_VERSION")))
            .build();
        let schema = Arc::new(Schema::new(fields.clone()));
        let builder = SerdeArrowSchema::try_from(fields.as_slice())
            .and_then(ArrayBuilder::new)
            .map_err(io::Error::other)?;
        let writer = ArrowWriter::try_new(out, schema, Some(properties)).map_err(failed)?;
        Ok(Self { builder, writer })
    }

    pub(super) fn write(&mut self, rows: &[Row]) -> io::Result<()> {
        self.builder.extend(rows).map_err(io::Error::other)?;
        let batch = self.builder.to_record_batch().map_err(io::Error::other)?;
        self.writer.write(&batch).map_err(failed)
    }

    pub(super) fn finish(self) -> io::Result<()> {
        self.writer.close().map(drop).map_err(failed)
    }
}

/// The columns of a row but those `without`.
fn fields(without: &[&str]) -> serde_arrow::Result<Vec<FieldRef>> {
    let mut options = TracingOptions::default()
        .enums_without_data_as_strings(true)
        .strings_as_large_utf8(false)
        .sequence_as_large_list(false)
        .from_type_budget(1000);
    for time in TIMES {
        let nullable = *time != "time";
        options = options.overwrite(
            *time,
            json!({"name": time, "data_type": "Timestamp(Microsecond, Some(\"UTC\"))", "nullable": nullable}),
        )?;
    }
    let fields = Vec::<FieldRef>::from_type::<Row>(options)?;
    Ok(fields
        .into_iter()
        .filter(|field| !without.contains(&field.name().as_str()))
        .collect())
}

/// The system's own error where there is one: a reader that is gone is told apart.
fn failed(error: ParquetError) -> io::Error {
    let ParquetError::External(source) = error else {
        return io::Error::other(error);
    };
    match source.downcast::<io::Error>() {
        Ok(source) => *source,
        Err(source) => io::Error::other(source),
    }
}
