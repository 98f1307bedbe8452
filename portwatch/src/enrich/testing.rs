//! What tests of this room share: a /proc of their own making, children, other namespaces.

use std::io::{Read, Write};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A /proc in a temporary directory.
pub(crate) struct FakeProc(tempfile::TempDir);

impl FakeProc {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn root(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn dir(&self, pid: u32) -> PathBuf {
        self.root().join(pid.to_string())
    }

    /// A running process without descriptors.
    pub(crate) fn process(&self, pid: u32, comm: &str, ticks: u64) {
        let dir = self.dir(pid);
        std::fs::create_dir_all(dir.join("fd")).unwrap();
        std::fs::write(dir.join("stat"), stat(pid, comm.as_bytes(), 'S', 1, ticks)).unwrap();
        std::fs::write(dir.join("status"), "Name:\tx\nUid:\t1\t167\t3\t4\n").unwrap();
        std::fs::write(dir.join("cgroup"), "0::/system.slice/app.service\n").unwrap();
        std::fs::write(dir.join("cmdline"), "python3\0app.py\0").unwrap();
        symlink("/usr/bin/python3 (deleted)", dir.join("exe")).unwrap();
    }

    pub(crate) fn descriptor(&self, pid: u32, fd: u32, target: &str) {
        symlink(target, self.dir(pid).join("fd").join(fd.to_string())).unwrap();
    }

    pub(crate) fn remove(&self, pid: u32) {
        std::fs::remove_dir_all(self.dir(pid)).unwrap();
    }
}

/// A line of /proc/PID/stat, made as fs/proc/array.c:do_task_stat does.
pub(crate) fn stat(pid: u32, comm: &[u8], state: char, threads: u32, ticks: u64) -> Vec<u8> {
    let mut line = format!("{pid} (").into_bytes();
    line.extend(comm);
    let rest = format!(
        ") {state} 811 812 811 0 -1 4194368 1 2 3 4 5 6 7 8 20 0 {threads} 0 {ticks} 1 2\n"
    );
    line.extend(rest.as_bytes());
    line
}

/// A child that copies its standard input to its output, as cat(1) does, killed at the end of the
/// test.
pub(crate) struct Waiting(Child);

impl Waiting {
    /// The child once it runs: until the end of exec it has neither name nor arguments of its own.
    /// `None` if it ends instead.
    pub(crate) fn spawn(command: &mut Command) -> Option<Self> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = Self(command.spawn().unwrap());
        child.0.stdin.as_mut()?.write_all(b"\n").ok()?;
        child.0.stdout.as_mut()?.read_exact(&mut [0]).ok()?;
        Some(child)
    }

    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// In the outer call: runs this one test again below `unshare OPTIONS` and is `false`. In the inner
/// call: `true`.
pub(crate) fn unshared(options: &[&str], test: &str) -> bool {
    below("unshare", options, test)
}

/// As [`unshared`], below `setpriv OPTIONS`.
pub(crate) fn with_privileges(options: &[&str], test: &str) -> bool {
    below("setpriv", options, test)
}

fn below(program: &str, options: &[&str], test: &str) -> bool {
    const INNER: &str = "PORTWATCH_TEST_BELOW";
    if std::env::var_os(INNER).is_some() {
        return true;
    }
    let can = Command::new(program).args(options).arg("true").output();
    if !can.is_ok_and(|output| output.status.success()) {
        println!(
            "SKIPPED: `{program} {}` is not allowed here",
            options.join(" ")
        );
        return false;
    }
    let inner = Command::new(program)
        .args(options)
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(INNER, "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&inner.stdout);
    assert!(
        inner.status.success() && text.contains("1 passed"),
        "{text}"
    );
    false
}

/// Whether the test runs as root; says so if not.
pub(crate) fn root() -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        println!("SKIPPED: needs root");
    }
    root
}
