//! A live run and its replay: the same lines, byte for byte.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use portwatch_tests::machine::reachable_binary;
use portwatch_tests::make;
use portwatch_tests::puppet::Puppet;
use portwatch_tests::stage::{HERE, PORT, Stage};
use portwatch_tests::tracer::{Bare, Tracer};
use portwatch_tests::wait::{self, PATIENCE};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::play::{refused, two_conflicts};

/// A live run whose output and capture are files.
struct Live {
    tracer: Bare,
    dir: TempDir,
    options: Vec<String>,
}

impl Live {
    fn start(stage: &Stage, options: &[&str], more: &[&str]) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let capture = dir.path().join("run.pwcap");
        let capture = capture.to_str().context("the directory's name is odd")?;
        let mut all = vec!["--format", "json", "--capture", capture];
        all.extend(options);
        all.extend(more);
        let out = File::create(dir.path().join("live.json"))?;
        let tracer = Bare::start(&stage.netns, &all, Stdio::from(out))?;
        let mut options: Vec<String> = options.iter().map(|text| (*text).to_owned()).collect();
        options.extend(["--netns".to_owned(), stage.netns.inode().to_string()]);
        Ok(Self {
            tracer,
            dir,
            options,
        })
    }

    fn capture(&self) -> PathBuf {
        self.dir.path().join("run.pwcap")
    }

    /// What it told so far.
    fn told(&self) -> Result<String> {
        Ok(fs::read_to_string(self.dir.path().join("live.json"))?)
    }

    /// Waits until it told `count` lines with `part`.
    fn wait_for(&self, part: &str, count: usize) -> Result<()> {
        let told = self.dir.path().join("live.json");
        wait::file(
            &format!("{count} lines with {part}"),
            PATIENCE,
            &told,
            || Ok((self.told()?.matches(part).count() >= count).then_some(())),
        )
        .with_context(|| format!("it told:\n{}", self.told().unwrap_or_default()))
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        Ok(kill_process(Pid::from_child(&self.tracer.child), signal)?)
    }

    /// Ends it as Ctrl-C does, and compares.
    fn same(mut self) -> Result<String> {
        let status = self.tracer.end(Some(Signal::INT))?;
        ensure!(status.success(), "it ended with {status}");
        let told = self.told()?;
        let (again, talk) = self.replay(&[])?;
        // What was lost live is said aloud again, and nothing else.
        let only_losses = talk.lines().all(|line| {
            line.starts_with("portwatch: lost ") || line.contains("found no room in the ring")
        });
        ensure!(only_losses, "the replay complains: {talk}");
        compare(&told, &again)?;
        ensure!(
            told.lines()
                .last()
                .is_some_and(|line| line.contains(r#""type":"summary""#)),
            "no summary: {told}"
        );
        Ok(told)
    }

    /// The replay's lines and its talk; `--strict` sees nothing wrong unless told otherwise.
    fn replay(&self, more: &[&str]) -> Result<(String, String)> {
        let options: Vec<&str> = self.options.iter().map(String::as_str).collect();
        replay(&[&options[..], more].concat(), &self.capture())
    }
}

fn replay(options: &[&str], capture: &Path) -> Result<(String, String)> {
    // As whoever it is sent to: without any privilege, on files that they may read.
    let (dir, program) = reachable_binary()?;
    let file = dir.path().join("run.pwcap");
    fs::copy(capture, &file)?;
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644))?;
    let output = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .args(["--inh-caps=-all", "--bounding-set=-all", "--no-new-privs"])
        .arg(&program)
        .args(["replay", "--json"])
        .args(options)
        .arg(&file)
        .output()
        .context("could not run the replay")?;
    let talk = String::from_utf8(output.stderr)?;
    ensure!(
        output.status.success(),
        "the replay ended with {}: {talk}",
        output.status
    );
    Ok((String::from_utf8(output.stdout)?, talk))
}

fn compare(live: &str, again: &str) -> Result<()> {
    for (number, (one, other)) in live.lines().zip(again.lines()).enumerate() {
        ensure!(
            one == other,
            "line {number} differs:\nlive   {one}\nreplay {other}"
        );
    }
    ensure!(
        live == again,
        "{} lines live, {} replayed",
        live.lines().count(),
        again.lines().count()
    );
    Ok(())
}

/// Conflicts of two requesters, repeated, one resolved and one not.
#[test]
fn conflicts_and_incidents() -> Result<()> {
    let Some(stage) = Stage::set()? else {
        return Ok(());
    };
    let live = Live::start(&stage, &[], &[])?;
    let mut two = two_conflicts(&stage)?;
    live.wait_for(r#""type":"conflict""#, 2)?;
    let [first, second] = &mut two.binders;
    for _ in 0..3 {
        let _ = first.try_bind("again", "tcp4", &[], &format!("0.0.0.0:{PORT}"))?;
        first.tell("close again")?;
    }
    let other = first.try_bind("other", "tcp4", &[], &format!("0.0.0.0:{}", PORT + 5))?;
    ensure!(other.is_ok(), "{other:?}");
    first.tell("listen other 8")?;
    second.exit()?;
    live.wait_for(r#""type":"resolved""#, 1)?;
    let told = live.same()?;
    ensure!(told.matches(r#""type":"conflict""#).count() >= 5, "{told}");
    Ok(())
}

/// Holders of several kinds, older ones among them, and all of the traffic.
#[test]
fn traffic_and_holders_of_all_kinds() -> Result<()> {
    for make in [
        make::time_wait,
        make::orphan,
        make::bound_only,
        make::udp_connected,
    ] {
        let Some(stage) = Stage::set()? else {
            return Ok(());
        };
        let mut older = Puppet::start(&stage.netns, "made-older")?;
        older.listener("l", "tcp4", &[], &format!("0.0.0.0:{}", PORT + 1))?;
        let live = Live::start(&stage, &["--events", "all", "--neighbours"], &[])?;
        let made = make(&stage.netns)?;
        let mut binder = Puppet::start(&stage.netns, "made-binder")?;
        for (number, kind) in ["tcp4", "udp4"].into_iter().enumerate() {
            let _ =
                binder.try_bind(&format!("b{number}"), kind, &[], &format!("0.0.0.0:{PORT}"))?;
        }
        let taken = binder.try_bind("c", "tcp4", &[], &format!("0.0.0.0:{}", PORT + 1))?;
        ensure!(taken.is_err(), "an older listener does not hold its port");
        drop((made, older));
        live.wait_for(r#""type":"conflict""#, 2)?;
        let told = live.same()?;
        ensure!(told.contains(r#""type":"assign""#), "no traffic: {told}");
    }
    Ok(())
}

/// The clock is set while it runs, a summary is asked for, and rings too small lose records.
#[test]
fn steps_of_the_clock_summaries_and_losses() -> Result<()> {
    let Some(stage) = Stage::set()? else {
        return Ok(());
    };
    let live = Live::start(&stage, &["--events", "all"], &["--ring-size", "4096"])?;
    let mut holder = Puppet::start(&stage.netns, "made-holder")?;
    holder.listener("l", "tcp4", &[], &format!("0.0.0.0:{PORT}"))?;
    let mut binder = Puppet::start(&stage.netns, "made-binder")?;
    refused(&mut binder, "tcp4")?;
    live.wait_for(r#""type":"conflict""#, 1)?;
    // Set to what it is: the kernel tells everybody who waits for a step all the same.
    let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_REALTIME)?;
    nix::time::clock_settime(nix::time::ClockId::CLOCK_REALTIME, now)?;
    live.signal(Signal::USR1)?;
    live.wait_for(r#""reason":"so-far""#, 1)?;
    // Nobody empties the rings meanwhile, however slow the machine is.
    live.signal(Signal::STOP)?;
    for number in 0..200 {
        binder.open(&format!("s{number}"), "tcp4", &[])?;
        binder.tell(&format!("bind s{number} {HERE}:0"))?;
    }
    live.signal(Signal::CONT)?;
    live.wait_for(r#""type":"lost""#, 1)?;
    let told = live.same()?;
    let summary: Value = serde_json::from_str(told.lines().last().context("no line")?)?;
    ensure!(summary["complete"] == false, "{summary}");
    Ok(())
}

/// A capture holds everything, whatever was told live.
#[test]
fn a_replay_may_ask_for_more() -> Result<()> {
    let Some(stage) = Stage::set()? else {
        return Ok(());
    };
    let mut live = Live::start(&stage, &["--port", "1"], &[])?;
    let made = make::established(&stage.netns)?;
    let mut binder = Puppet::start(&stage.netns, "made-binder")?;
    refused(&mut binder, "tcp4")?;
    live.tracer.end(Some(Signal::INT))?;
    ensure!(
        live.told()?.lines().count() == 2,
        "more than start and summary: {}",
        live.told()?
    );
    let netns = stage.netns.inode().to_string();
    let options = ["--events", "all", "--netns", &netns];
    let (more, _) = replay(&options, &live.capture())?;
    let lines = more.lines().map(serde_json::from_str::<Value>);
    let lines = lines.collect::<Result<Vec<_>, _>>()?;
    let conflict = lines.iter().find(|line| line["type"] == "conflict");
    let holder = conflict.map(|line| &line["holders"][0]["processes"][0]["pid"]);
    ensure!(holder == Some(&Value::from(made.holder.pid())), "{more}");
    let taken = lines
        .iter()
        .find(|line| line["type"] == "assign" && line["process"]["pid"] == made.holder.pid());
    let known = taken.is_some_and(|line| line["process"]["exe"].is_string());
    ensure!(known, "the connection's process is not known: {more}");
    Ok(())
}

/// `kill -9`: at most a second is lost, the rest is the same, and the summary says so.
#[test]
fn a_kill_loses_a_second_at_most() -> Result<()> {
    let Some(stage) = Stage::set()? else {
        return Ok(());
    };
    let mut live = Live::start(&stage, &[], &[])?;
    let _two = two_conflicts(&stage)?;
    live.wait_for(r#""type":"conflict""#, 2)?;
    wait::file("both on disk", PATIENCE, &live.capture(), || {
        let (so_far, _) = live.replay(&[])?;
        let conflicts = so_far.matches(r#""type":"conflict""#).count();
        Ok((conflicts == 2).then_some(()))
    })?;
    let mode = live.capture().metadata()?.permissions().mode();
    ensure!(mode & 0o777 == 0o600, "mode {mode:o}");
    live.tracer.end(Some(Signal::KILL))?;
    let told = live.told()?;
    let (again, talk) = live.replay(&[])?;
    ensure!(talk.contains("has no end"), "{talk}");
    ensure!(again.starts_with(&told), "live\n{told}\nreplay\n{again}");
    ensure!(again.contains(r#""complete":false"#), "{again}");
    let strict = live.replay(&["--strict"]);
    ensure!(strict.is_err_and(|error| error.to_string().contains("exit status: 2")));
    Ok(())
}

/// Verdicts go on when the disk is full, and the user is told.
#[test]
fn a_full_disk_does_not_stop_the_tracer() -> Result<()> {
    let Some(stage) = Stage::set()? else {
        return Ok(());
    };
    let mut tracer = Tracer::start(&stage.netns, &["--capture", "/dev/full"])?;
    let mut made = make::listener(&stage.netns)?;
    refused(&mut Puppet::start(&stage.netns, "made-binder")?, "tcp4")?;
    tracer.wait_conflict(PORT)?;
    made.exit_holder()?;
    let trace = tracer.finish()?;
    trace.check(true)?;
    ensure!(trace.talk.contains("No space left"), "{}", trace.talk);
    Ok(())
}

/// The lines would stand in the middle of the blocks.
#[test]
fn lines_and_records_do_not_share_a_file() -> Result<()> {
    let Some(_stage) = Stage::set()? else {
        return Ok(());
    };
    let dir = tempfile::tempdir()?;
    let (one, other) = (dir.path().join("one"), dir.path().join("other"));
    std::os::unix::fs::symlink(&one, &other)?;
    fs::write(&one, "a line of before\n")?;
    let output = Command::new(portwatch_tests::tracer::binary())
        .args(["--duration", "1s", "--capture"])
        .arg(&other)
        .arg("--output")
        .arg(&one)
        .output()?;
    let talk = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.code() == Some(2), "{talk}");
    ensure!(talk.contains("--capture and --output are both"), "{talk}");
    ensure!(fs::read_to_string(&one)? == "a line of before\n");
    Ok(())
}
