//! `cargo xtask bench`: what captures cost, as ratios that were measured in one run.
//!
//! The machine's speed cancels out of a ratio and nothing else does: times are those of this run.
//! A goal that is missed is a failure.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};

use crate::{
    machine, setup,
    step::{Step, say},
};

/// Processes that take ports, at random: those of a host with very many, and of a usual one.
const PROCESSES: &str = "2000";
const FEW: &str = "50";

/// Records of the large capture.
const MANY: u64 = 10_000_000;
/// Records that are also written as NDJSON, some 700 bytes each.
const SOME: u64 = 500_000;

/// Times that the codecs are measured, and the readers, in turn.
const ROUNDS: usize = 3;

/// What DuckDB needs to read the NDJSON: `python3 -m pip install duckdb`.
const DUCKDB: &str = "import duckdb, sys, time
began = time.process_time()
con = duckdb.connect(config={'threads': 1})
rows = con.execute(f\"select count(*) from read_json('{sys.argv[1]}', format='newline_delimited') where type = 'assign' or type = 'release'\").fetchone()[0]
print(rows / (time.process_time() - began))";

/// Builds, measures and judges.
pub(crate) fn bench() -> Result<()> {
    setup::ensure()?;
    let mut cargo = machine::cargo();
    cargo.args(["build", "--release", "--package", "portwatch"]);
    cargo.args(["--example", "capture-bench"]);
    Step::new("build the benchmark", cargo)
        .fix("read the compiler's message above")
        .aloud()?;
    let dir = machine::scratch().join("bench");
    fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let done = Bench { dir: dir.clone() }.run();
    // Hundreds of megabytes.
    let _ = fs::remove_dir_all(dir);
    done
}

struct Bench {
    dir: PathBuf,
}

impl Bench {
    fn run(&self) -> Result<()> {
        let mut goals = Goals::default();
        let assigns = self.example(&["assigns", "1000000", PROCESSES, "zstd"], &["assigns"])?;
        goals.most(
            "bytes of an assignment (zstd)",
            field(&assigns, "bytes_per_record")?,
            24.0,
        );

        // What a block has to tell of each process that takes ports counts as well.
        let ways = [
            ("none", FEW, 0.1),
            ("none", PROCESSES, 0.1),
            ("zstd", PROCESSES, 0.3),
        ];
        let mut costs = ways.map(|_| Vec::new());
        for _ in 0..ROUNDS {
            for ((codec, processes, _), costs) in ways.iter().zip(&mut costs) {
                let told = self.example(&["generate", "2000000", processes, codec], &["some"])?;
                costs.push(field(&told, "all_us")?);
            }
        }
        let mut cost = 0.0;
        for ((codec, processes, goal), mut costs) in ways.into_iter().zip(costs) {
            cost = median(&mut costs).context("no round was captured")?;
            let what = format!(
                "us of CPU a captured record ({codec}, {processes} processes, all threads)"
            );
            goals.most(&what, cost, goal);
        }

        self.example(
            &["generate", &MANY.to_string(), PROCESSES, "zstd"],
            &["many"],
        )?;
        self.example(
            &["generate", &SOME.to_string(), PROCESSES, "zstd"],
            &["some"],
        )?;
        let told = self.example(&["json"], &["some", "some.json"])?;
        let json_cost = 1e6 / field(&told, "per_cpu_second")?;
        goals.least(
            "times the capture's cost is that of JSON",
            json_cost / cost,
            1.0,
        );
        let json = self.dir.join("some.json");

        // In turn, so that what else the machine does meets all of them; the median of each.
        let mut speeds = Vec::new();
        let mut peaks = Vec::new();
        let mut jqs = Vec::new();
        let mut duckdbs = Vec::new();
        for _ in 0..ROUNDS {
            let played = self.example(&["replay"], &["many"])?;
            speeds.push(field(&played, "per_cpu_second")?);
            peaks.push(field(&played, "peak_kib")? / 1024.0);
            jqs.extend(jq(&json)?);
            duckdbs.extend(duckdb(&json)?);
        }
        let speed = median(&mut speeds).context("no round was played")?;
        goals.least("inputs replayed a second of one core", speed, 5e6);
        goals.most(
            "MiB of memory at most",
            median(&mut peaks).unwrap_or(0.0),
            64.0,
        );
        match median(&mut jqs) {
            Some(rate) => goals.least("times as fast as jq", speed / rate, 100.0),
            None => goals.skip("jq is not installed: `apt-get install jq`"),
        }
        match median(&mut duckdbs) {
            Some(rate) => goals.least("times as fast as DuckDB", speed / rate, 3.0),
            None => goals.skip("no duckdb for python3: `python3 -m pip install duckdb`"),
        }
        goals.judge()
    }

    /// One step of the example, which answers with a line of JSON.
    fn example(&self, words: &[&str], files: &[&str]) -> Result<String> {
        say(format_args!("{} {}", words.join(" "), files.join(" ")));
        let output = Command::new(machine::target().join("release/examples/capture-bench"))
            .args(words)
            .args(files.iter().map(|file| self.dir.join(file)))
            .stderr(Stdio::inherit())
            .output()
            .context("the benchmark does not start")?;
        let told = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        if !output.status.success() {
            bail!("the benchmark ended with {}", output.status);
        }
        say(format_args!("  {told}"));
        Ok(told)
    }
}

/// A number of a flat JSON object.
fn field(json: &str, name: &str) -> Result<f64> {
    let found = json
        .split_once(&format!("\"{name}\":"))
        .map(|(_, rest)| rest);
    let number = found.and_then(|rest| rest.split([',', '}']).next());
    number
        .and_then(|number| number.parse().ok())
        .with_context(|| format!("no number `{name}` in `{json}`"))
}

/// Lines that `jq -c .` reads a second of CPU time.
fn jq(json: &Path) -> Result<Option<f64>> {
    if !machine::has("jq") {
        return Ok(None);
    }
    let lines = fs::read(json)?
        .iter()
        .filter(|byte| **byte == b'\n')
        .count();
    // The shell tells its children's CPU time, user and system, in its second line.
    let output = Command::new("sh")
        .args(["-c", r#"jq -c . "$0" >/dev/null && times"#])
        .arg(json)
        .output()?;
    if !output.status.success() {
        bail!("jq ended with {}", output.status);
    }
    let told = String::from_utf8_lossy(&output.stdout);
    let line = told.lines().nth(1).context("`times` tells nothing")?;
    let seconds: Option<f64> = line.split_whitespace().map(seconds).sum();
    let seconds = seconds.with_context(|| format!("`times` tells `{line}`"))?;
    Ok(Some(lines as f64 / seconds))
}

/// Seconds of `1m2.5s`.
fn seconds(time: &str) -> Option<f64> {
    let (minutes, seconds) = time.strip_suffix('s')?.split_once('m')?;
    Some(minutes.parse::<f64>().ok()? * 60.0 + seconds.parse::<f64>().ok()?)
}

/// The Python that the real suite installs DuckDB for, where that was done.
fn python() -> PathBuf {
    let own = machine::target().join("programs/python/bin/python");
    match own.exists() {
        true => own,
        false => PathBuf::from("python3"),
    }
}

fn median(values: &mut [f64]) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

/// Lines that DuckDB's read_json reads a second of CPU time, on one thread.
fn duckdb(json: &Path) -> Result<Option<f64>> {
    let python = python();
    let there = Command::new(&python).args(["-c", "import duckdb"]).output();
    if !there.is_ok_and(|output| output.status.success()) {
        return Ok(None);
    }
    let output = Command::new(&python)
        .args(["-c", DUCKDB])
        .arg(json)
        .output()?;
    let told = String::from_utf8_lossy(&output.stdout);
    Ok(Some(told.trim().parse().with_context(|| {
        format!("DuckDB: {}", String::from_utf8_lossy(&output.stderr))
    })?))
}

/// What was reached and what was not.
#[derive(Default)]
struct Goals {
    missed: usize,
}

impl Goals {
    fn most(&mut self, what: &str, is: f64, goal: f64) {
        self.say(what, is, &format!("at most {goal}"), is <= goal);
    }

    fn least(&mut self, what: &str, is: f64, goal: f64) {
        self.say(what, is, &format!("at least {goal}"), is >= goal);
    }

    fn say(&mut self, what: &str, is: f64, goal: &str, met: bool) {
        self.missed += usize::from(!met);
        println!(
            "{} {what}: {is:.2} ({goal})",
            if met { "ok  " } else { "MISS" }
        );
    }

    fn skip(&mut self, why: &str) {
        println!("SKIPPED: {why}");
    }

    fn judge(self) -> Result<()> {
        match self.missed {
            0 => Ok(()),
            missed => bail!("{missed} goals were missed"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{field, median, seconds};

    #[test]
    fn numbers_are_found() {
        let json = r#"{"bytes":5,"bytes_per_record":17.25}"#;
        assert!((field(json, "bytes_per_record").unwrap() - 17.25).abs() < 1e-9);
        assert!((field(json, "bytes").unwrap() - 5.0).abs() < 1e-9);
        assert!(field(json, "seconds").is_err());
        assert_eq!(seconds("1m2.5s"), Some(62.5));
        assert_eq!(seconds("2.5"), None);
        assert_eq!(median(&mut [3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&mut []), None);
    }
}
