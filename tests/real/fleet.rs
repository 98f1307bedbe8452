//! docs/fleet.md, run: captures exported, and every question of the page asked of DuckDB and of Spark.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use portwatch_tests::programs::{find, python};
use portwatch_tests::stage::skip_without;
use portwatch_tests::tracer::binary;
use serde_json::Value;

const ASK: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/real/fleet/ask.py");
const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/fleet.md");
pub(crate) const CAPTURES: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../portwatch/tests/captures");

/// What portwatch prints with these arguments; they end well.
pub(crate) fn portwatch(arguments: &[&str]) -> Result<String> {
    let output = Command::new(binary())
        .args(arguments)
        .output()
        .context("portwatch does not start")?;
    let talk = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{arguments:?}: {talk}");
    Ok(String::from_utf8(output.stdout)?)
}

type Answers = Vec<(String, Vec<BTreeMap<String, Value>>)>;

/// Every question of the page and its rows.
fn ask(engine: &str, dir: &Path) -> Result<Answers> {
    let output = Command::new(python("python"))
        .args([ASK, engine, PAGE])
        .current_dir(dir)
        .output()
        .context("python does not start")?;
    let talk = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{engine}: {talk}");
    Ok(serde_json::from_slice(&output.stdout)?)
}

#[test]
fn every_question_is_answered_and_both_engines_agree() -> Result<()> {
    for needed in [python("python"), find("/usr/bin/java").unwrap_or_default()] {
        if !needed.exists() {
            return skip_without(&needed.display().to_string());
        }
    }
    let dir = tempfile::tempdir()?;
    let fleet = dir.path().join("fleet");
    let fleet = fleet.to_str().context("an odd path")?;
    portwatch(&[
        "export",
        "--format",
        "parquet",
        "--partition",
        "-o",
        fleet,
        CAPTURES,
    ])?;
    let duckdb = ask("duckdb", dir.path())?;
    let spark = ask("spark", dir.path())?;
    ensure!(duckdb == spark, "DuckDB {duckdb:?}\nSpark {spark:?}");
    ensure!(duckdb.len() >= 6, "{} questions", duckdb.len());
    for (question, rows) in &duckdb {
        ensure!(!rows.is_empty(), "no row: {question}");
    }

    // The same from the contract's lines, which the engines did not see.
    let lines = portwatch(&["export", "--format", "ndjson", CAPTURES])?;
    let lines = lines.lines().map(serde_json::from_str::<Value>);
    let lines = lines.collect::<Result<Vec<_>, _>>()?;
    let first = |line: &&Value| line["type"] == "conflict" && line["attempt"] == 1;
    let mut services: BTreeMap<(String, u64), u64> = BTreeMap::new();
    let mut clients: BTreeMap<String, u64> = BTreeMap::new();
    for line in lines.iter().filter(first) {
        let who = &line["requester"];
        let name = who["systemd_unit"].as_str().or(who["comm"].as_str());
        let port = line["wanted"]["port"].as_u64().context("no port")?;
        let name = name.context("no name")?.to_owned();
        *services.entry((name, port)).or_default() += 1;
        if line["cause"]
            .as_str()
            .is_some_and(|cause| cause.starts_with("outbound-"))
        {
            let holder = &line["holders"][0]["processes"][0]["comm"];
            let holder = holder.as_str().context("no holder")?;
            *clients.entry(holder.to_owned()).or_default() += 1;
        }
    }
    let number = |row: &BTreeMap<String, Value>, name: &str| row.get(name).and_then(Value::as_u64);
    let word = |row: &BTreeMap<String, Value>, name: &str| {
        row.get(name)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let mut told = BTreeMap::new();
    for row in &duckdb[0].1 {
        let port = number(row, "port").context("no port")?;
        told.insert(
            (word(row, "service"), port),
            number(row, "incidents").unwrap_or(0),
        );
    }
    ensure!(told == services, "told {told:?}\nare {services:?}");
    let mut told: BTreeMap<String, u64> = BTreeMap::new();
    for row in &duckdb[1].1 {
        *told.entry(word(row, "client")).or_default() += number(row, "incidents").unwrap_or(0);
    }
    ensure!(told == clients, "told {told:?}\nare {clients:?}");
    for row in &duckdb[2].1 {
        let [low, port, high] = ["low", "port", "high"].map(|name| number(row, name));
        ensure!(low <= port && port <= high && low.is_some(), "{row:?}");
    }
    Ok(())
}
