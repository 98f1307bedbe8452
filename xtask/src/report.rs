//! What has not passed, told once more behind everything: the middle of a long log is read last.

use std::env;

use anyhow::{Result, bail};

use crate::step::say;

/// What marks a test that did not run.
const SKIPPED: &str = "SKIPPED:";

/// Lines of a failed test that are told again at most.
const SAID: usize = 40;

/// What has not passed.
#[derive(Debug, Default)]
pub(crate) struct Report {
    failed: Vec<String>,
    skipped: Vec<String>,
    tests: Vec<Failure>,
    place: Place,
}

/// A test that failed, and what it said.
#[derive(Debug, PartialEq, Eq)]
struct Failure {
    test: String,
    said: Vec<String>,
}

/// Where in a test runner's output we are.
#[derive(Debug, Default, PartialEq, Eq)]
enum Place {
    #[default]
    Running,
    /// Behind the first `failures:`, where each failed test's output is.
    Failures,
    /// In such an output.
    Output,
}

/// The first line of a test runner: the one before may have died.
fn begins(line: &str) -> bool {
    line.strip_prefix("running ")
        .is_some_and(|rest| rest.ends_with(" tests") || rest.ends_with(" test"))
}

impl Report {
    /// Reads a line of a test runner.
    pub(crate) fn read(&mut self, line: &str) {
        // Without capture the harness's own `test NAME ... ` stands before the first line of a test.
        let told = line
            .strip_prefix("test ")
            .and_then(|rest| rest.split_once(" ... "))
            .map_or(line, |(_, told)| told)
            .trim();
        if let Some(why) = told.strip_prefix(SKIPPED) {
            self.skipped.push(why.trim().to_owned());
        }
        self.follow(line.trim_end());
    }

    /// Keeps what failed tests said.
    fn follow(&mut self, line: &str) {
        let header = line
            .strip_prefix("---- ")
            .and_then(|rest| rest.strip_suffix(" stdout ----"));
        match (&self.place, line) {
            (Place::Running, "failures:") => self.place = Place::Failures,
            (Place::Running, _) => {}
            // The second `failures:` is the list of their names.
            (_, "failures:") => self.place = Place::Running,
            (_, _) if line.starts_with("test result:") || begins(line) => {
                self.place = Place::Running;
            }
            _ => match header {
                Some(test) => {
                    self.place = Place::Output;
                    self.tests.push(Failure {
                        test: test.to_owned(),
                        said: Vec::new(),
                    });
                }
                None if self.place == Place::Output && !line.trim().is_empty() => {
                    if let Some(failure) = self.tests.last_mut() {
                        failure.said.push(line.to_owned());
                    }
                }
                None => {}
            },
        }
    }

    /// Takes what another has noted, `whence` before the names of its tests.
    pub(crate) fn merge(&mut self, other: Self, whence: &str) {
        self.failed.extend(other.failed);
        self.skipped.extend(other.skipped);
        self.tests
            .extend(other.tests.into_iter().map(|failure| Failure {
                test: format!("{whence}: {}", failure.test),
                ..failure
            }));
    }

    /// Notes what we skip ourselves, and says it at once.
    pub(crate) fn skip(&mut self, why: String) {
        say(format_args!("{SKIPPED} {why}"));
        self.skipped.push(why);
    }

    /// Notes what failed; why was said already.
    pub(crate) fn fail(&mut self, what: &str) {
        self.failed.push(what.to_owned());
    }

    /// Success only when nothing failed and, with `strict`, nothing was skipped.
    ///
    /// Silent when all is well: the last lines are then the test runner's own.
    pub(crate) fn judge(&self, strict: bool) -> Result<()> {
        if !self.skipped.is_empty() {
            say(format_args!("{} skipped:", self.skipped.len()));
            for why in &self.skipped {
                say(format_args!("  {why}"));
            }
        }
        for Failure { test, said } in &self.tests {
            say(format_args!("the test {test} failed:"));
            // The end of it says why.
            for line in &said[said.len().saturating_sub(SAID)..] {
                say(format_args!("  {line}"));
            }
        }
        if !self.failed.is_empty() {
            bail!("failed: {}", self.failed.join(", "));
        }
        if strict && !self.skipped.is_empty() {
            bail!(
                "{} skipped, and with CI={} everything has to run\n  what to do: give this machine \
                 what the lines above name",
                self.skipped.len(),
                env::var("CI").unwrap_or_default()
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Failure, Report};

    fn read(lines: &[&str]) -> Report {
        let mut report = Report::default();
        for line in lines {
            report.read(line);
        }
        report
    }

    #[test]
    fn skipped_lines_are_found_where_a_harness_puts_them() {
        let report = read(&[
            "running 3 tests\n",
            "SKIPPED: no kprobes\n",
            "test trampoline::attaches ... SKIPPED: this kernel refuses trampolines\n",
            "test quiet ... ok\n",
            "we never print SKIPPED: in the middle\n",
        ]);
        assert_eq!(
            report.skipped,
            ["no kprobes", "this kernel refuses trampolines"]
        );
    }

    #[test]
    fn a_skip_fails_only_where_everything_has_to_run() {
        let skipped = read(&["SKIPPED: no root\n"]);
        assert!(skipped.judge(false).is_ok());
        assert!(skipped.judge(true).is_err());
        assert!(read(&["test a ... ok\n"]).judge(true).is_ok());
    }

    #[test]
    fn a_failure_is_a_failure_everywhere() {
        let failed = Report {
            failed: vec!["kernel".to_owned()],
            ..Report::default()
        };
        assert!(failed.judge(false).is_err());
    }

    #[test]
    fn what_a_failed_test_said_is_kept() {
        let mut guest = read(&[
            "test good::one ... ok\n",
            "test bad::one ... FAILED\n",
            "\n",
            "successes:\n",
            "---- good::one stdout ----\n",
            "all is well\n",
            "\n",
            "failures:\n",
            "\n",
            "---- bad::one stdout ----\n",
            "Error: 3 of 4\n",
            "\n",
            "failures:\n",
            "    bad::one\n",
            "\n",
            "test result: FAILED. 1 passed; 1 failed\n",
            "portwatch-vm: kernel suite, kprobe status 101\n",
        ]);
        let mut report = Report::default();
        report.merge(std::mem::take(&mut guest), "6.1");
        assert_eq!(
            report.tests,
            [Failure {
                test: "6.1: bad::one".to_owned(),
                said: vec!["Error: 3 of 4".to_owned()],
            }]
        );
    }
}
