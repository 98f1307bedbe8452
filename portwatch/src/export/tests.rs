use super::holdings::{End, Holding, Holdings, Since};
use super::row::Row;
use super::table::Target;
use super::{Place, Table, TableFormat, Timeline, wall_ns};
use crate::report::{Body, Conflict, HolderKind, OriginName, Report, StateName};
use crate::sink::Sink;
use crate::sink::test_support::{
    ANCHOR, assign, conflict, lost, refused, release, report_at, resolved, start, summary,
};
use serde_json::Value;
use std::io::Write;
use std::sync::{Arc, Mutex};

const S: u64 = 1_000_000_000;

#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Shared {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn place() -> Place {
    Place {
        host: "node-7".to_owned(),
        run: "r1".to_owned(),
    }
}

/// One of each kind.
fn reports() -> Vec<Report> {
    let mut begin = start();
    begin.clock = ANCHOR;
    vec![
        report_at(0, begin),
        report_at(S, assign()),
        report_at(2 * S, conflict()),
        report_at(3 * S, resolved()),
        report_at(4 * S, refused()),
        report_at(5 * S, release()),
        report_at(6 * S, lost(3)),
        report_at(7 * S, summary()),
    ]
}

fn tell(sink: &mut dyn Sink) {
    for report in reports() {
        sink.report(&report).unwrap();
    }
}

#[test]
fn csv_has_a_line_for_each_report_and_every_column_is_documented() {
    let out = Shared::default();
    let target = Target::One(Box::new(out.clone()), "memory".to_owned());
    let table = Table::new(TableFormat::Csv, target).unwrap();
    tell(&mut table.sink(place()));
    table.finish().unwrap();
    let text = out.text();
    let mut reader = ::csv::Reader::from_reader(text.as_bytes());
    let names: Vec<String> = reader
        .headers()
        .unwrap()
        .iter()
        .map(str::to_owned)
        .collect();
    let rows: Vec<_> = reader.records().map(Result::unwrap).collect();
    let column = |name: &str| names.iter().position(|known| known == name).unwrap();
    let types: Vec<&str> = rows.iter().map(|row| &row[column("type")]).collect();
    let expected = [
        "start", "assign", "conflict", "resolved", "refused", "release", "lost", "summary",
    ];
    assert_eq!(types, expected);
    assert_eq!(&rows[2][column("time")], "2026-11-22T10:15:02.000000Z");
    assert_eq!(&rows[2][column("port")], "60001");
    assert_eq!(&rows[2][column("holder_comm")], "ceph-osd");
    let holders: Value = serde_json::from_str(&rows[2][column("holders")]).unwrap();
    assert_eq!(holders[0]["processes"][0]["comm"], "ceph-osd");
    let page = include_str!("../../../docs/fleet.md");
    for name in &names {
        assert!(
            page.contains(&format!("`{name}`")),
            "`{name}` is not in docs/fleet.md"
        );
    }
}

/// The columns and how many rows.
fn read(parquet: Vec<u8>) -> (Vec<(String, String)>, usize) {
    use ::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
    let bytes = bytes::Bytes::from(parquet);
    let builder = ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap();
    let columns = builder.schema().fields().iter();
    let columns = columns
        .map(|field| (field.name().clone(), field.data_type().to_string()))
        .collect();
    let rows = builder
        .build()
        .unwrap()
        .map(|batch| batch.unwrap().num_rows());
    (columns, rows.sum())
}

#[test]
fn parquet_has_typed_columns_and_every_row() {
    let out = Shared::default();
    let target = Target::One(Box::new(out.clone()), "memory".to_owned());
    let table = Table::new(TableFormat::Parquet, target).unwrap();
    // More than one batch.
    for _ in 0..300 {
        tell(&mut table.sink(place()));
    }
    table.finish().unwrap();
    let (columns, rows) = read(out.0.lock().unwrap().clone());
    assert_eq!(rows, 300 * 8);
    let of = |name: &str| {
        let column = columns.iter().find(|(known, _)| known == name);
        column.map(|(_, kind)| kind.as_str()).unwrap_or_default()
    };
    assert_eq!(of("time"), "Timestamp(µs, \"UTC\")");
    let plain = [of("port"), of("cookie"), of("host"), of("complete")];
    assert_eq!(plain, ["Int32", "Int64", "Utf8", "Boolean"]);
    // Words of a closed list: the file holds strings.
    assert_eq!(of("cause"), "Dictionary(UInt32, Utf8)");
    assert!(of("holders").contains("Struct"), "{}", of("holders"));
}

#[test]
fn a_partition_is_a_file_for_each_day_without_what_its_path_says() {
    let dir = tempfile::tempdir().unwrap();
    let table = Table::new(
        TableFormat::Parquet,
        Target::Partitioned(dir.path().to_owned()),
    )
    .unwrap();
    let mut sink = table.sink(place());
    tell(&mut sink);
    // The next day, and the clock is set back.
    sink.report(&report_at(86_400 * S, assign())).unwrap();
    sink.report(&report_at(S, assign())).unwrap();
    let last = dir.path().join("date=2026-11-22/host=node-7/r1-1.parquet");
    assert!(!last.exists(), "a file that is not whole has its name");
    table.finish().unwrap();
    for (path, expected) in [
        ("date=2026-11-22/host=node-7/r1-0.parquet", 8),
        ("date=2026-11-23/host=node-7/r1-0.parquet", 1),
        ("date=2026-11-22/host=node-7/r1-1.parquet", 1),
    ] {
        let (columns, rows) = read(std::fs::read(dir.path().join(path)).unwrap());
        assert_eq!(rows, expected, "{path}");
        assert!(columns.iter().all(|(name, _)| name != "host"));
    }
}

#[test]
fn a_row_says_what_its_report_says() {
    let all = reports();
    let row = |number: usize| Row::of(&all[number], &place(), ANCHOR);
    let taken = row(1);
    assert_eq!(taken.time_ns, ANCHOR.realtime_ns + 1_000_000_000);
    assert_eq!(taken.time * 1000, taken.time_ns);
    let Body::Conflict(conflict) = &all[2].body else {
        panic!("another report")
    };
    let failed = row(2);
    assert_eq!(failed.message.as_deref(), Some(&conflict.message[..]));
    assert_eq!(failed.holders.unwrap().len(), conflict.holders.len());
    assert_eq!(row(6).lost, Some(3));
}

#[test]
fn a_hold_is_taken_and_let_go() {
    let [mut taken, mut closed] = [assign(), assign()];
    (taken.cookie, closed.cookie) = (Some(1), Some(2));
    let mut let_go = release();
    let_go.cookie = Some(1);
    let mut holdings = Holdings::new(0);
    assert!(
        holdings
            .report(&Body::Assign(Box::new(taken.clone())), 10)
            .is_empty()
    );
    assert!(
        holdings
            .report(&Body::Assign(Box::new(closed)), 20)
            .is_empty()
    );
    // listen() on a socket that is bound: nothing new.
    assert!(
        holdings
            .report(&Body::Assign(Box::new(taken.clone())), 25)
            .is_empty()
    );
    let held = holdings
        .report(&Body::Release(Box::new(let_go.clone())), 30)
        .remove(0);
    assert_eq!(
        (held.since, held.until, held.end),
        (Since::Taken(10), 30, End::LetGo)
    );
    assert_eq!(held.who.pid, taken.process.pid);
    let rest: Vec<_> = holdings.rest(40).collect();
    assert_eq!(
        (rest.len(), rest[0].since, rest[0].end),
        (1, Since::Taken(20), End::Open)
    );
}

/// What nobody saw taken: its beginning is told by the release, or is not known.
#[test]
fn an_older_hold_has_no_beginning() {
    let mut let_go = release();
    (let_go.cookie, let_go.origin) = (Some(9), Some(OriginName::EphemeralConnect));
    let_go.held_ms = Some(2);
    let mut holdings = Holdings::new(5);
    let body = |release: &crate::report::Release| Body::Release(Box::new(release.clone()));
    let held = holdings.report(&body(&let_go), 30_000_000).remove(0);
    assert_eq!(held.since, Since::Taken(28_000_000));
    let_go.held_ms = None;
    let held = holdings.report(&body(&let_go), 30_000_000).remove(0);
    assert_eq!(held.since, Since::Before(5));
    // Accepted, or not known: no hold of a port of its own.
    for origin in [None, Some(OriginName::Accepted)] {
        let_go.origin = origin;
        assert!(holdings.report(&body(&let_go), 30_000_000).is_empty());
    }
}

/// What only a failure tells: until its close, the end of TIME_WAIT, what freed it, or the end.
#[test]
fn a_holder_that_only_a_conflict_tells() {
    const S: i64 = 1_000_000_000;
    let mut failed = conflict();
    let holder = &mut failed.holders[0];
    (holder.held_ms, holder.held_at_least_ms) = (None, Some(2_000));
    let tell = |failed: &Conflict, at: i64| {
        let mut holdings = Holdings::new(0);
        assert!(
            holdings
                .report(&Body::Conflict(Box::new(failed.clone())), at)
                .is_empty()
        );
        holdings
    };
    let ends = |held: Vec<Holding>| {
        let held = held
            .iter()
            .map(|held| (held.who.pid, held.since, held.until, held.end));
        held.collect::<Vec<_>>()
    };
    let (pid, since) = (3_013_825, Since::Before(3 * S));
    let rest = tell(&failed, 5 * S).rest(20 * S).collect();
    assert_eq!(ends(rest), [(pid, since, 20 * S, End::Open)]);

    let mut let_go = release();
    (let_go.cookie, let_go.origin) = (Some(487), None);
    let_go.local = failed.holders[0].local.clone();
    let mut holdings = tell(&failed, 5 * S);
    let held = holdings.report(&Body::Release(Box::new(let_go)), 17 * S);
    assert_eq!(ends(held), [(pid, since, 17 * S, End::LetGo)]);
    assert_eq!(holdings.rest(20 * S).count(), 0);

    let freed = Body::Resolved(Box::new(resolved()));
    let held = tell(&failed, 5 * S).report(&freed, 9 * S);
    assert_eq!(ends(held), [(pid, since, 9 * S, End::Gone)]);

    let holder = &mut failed.holders[0];
    (holder.kind, holder.state) = (HolderKind::TimeWait, StateName::TimeWait);
    (holder.closed_ms, holder.time_wait_left_ms) = (Some(1_000), Some(10_000));
    let since = Since::Closed(4 * S);
    let rest = tell(&failed, 5 * S).rest(20 * S).collect();
    assert_eq!(ends(rest), [(pid, since, 15 * S, End::TimeWait)]);
    let rest = tell(&failed, 5 * S).rest(12 * S).collect();
    assert_eq!(ends(rest), [(pid, since, 12 * S, End::Open)]);
    failed.holders[0].time_wait_left_ms = None;
    let rest = tell(&failed, 5 * S).rest(20 * S).collect();
    assert_eq!(ends(rest), [(pid, since, 5 * S, End::NotSeen)]);
}

#[test]
fn a_timeline_is_json_whatever_the_names() {
    let out = Shared::default();
    let timeline = Timeline::new(Box::new(out.clone()), "memory");
    let mut sink = timeline.sink(place());
    let mut all = reports();
    if let Body::Assign(assign) = &mut all[1].body {
        assign.process.comm = "\"},{\"\u{202e}\\".to_owned();
    }
    for report in &all {
        sink.report(report).unwrap();
    }
    timeline.finish().unwrap();
    let text = out.text();
    assert!(!text.contains('\u{202e}'));
    let trace: Value = serde_json::from_str(&text).unwrap();
    let events = trace["traceEvents"].as_array().unwrap();
    let of = |phase: &str| events.iter().filter(|event| event["ph"] == phase).count();
    assert_eq!((of("i"), of("X") >= 2), (1, true), "{text}");
    let conflict = events.iter().find(|event| event["ph"] == "i").unwrap();
    assert_eq!(conflict["ts"], 2_000_000.0);
    assert!(conflict["name"].as_str().unwrap().contains("60001/tcp"));
    assert_eq!(wall_ns(ANCHOR, all[0].at), ANCHOR.realtime_ns);
}

#[test]
fn an_empty_timeline_is_json_too() {
    let out = Shared::default();
    let timeline = Timeline::new(Box::new(out.clone()), "memory");
    timeline.finish().unwrap();
    let trace: Value = serde_json::from_str(&out.text()).unwrap();
    assert_eq!(trace["traceEvents"], serde_json::json!([]));
}
