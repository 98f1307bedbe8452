//! The scene: makes the namespace, then the case, and tells what it made.

use super::roles::Role;
use super::{CLIENT, Looked, Made, PEER, PORT, loopback};
use anyhow::{Context as _, Result};
use nix::sched::{CloneFlags, unshare};
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _, stdin, stdout};
use std::os::unix::fs::MetadataExt as _;
use std::process::{Child, Command, Stdio};

/// Range of a namespace's ephemeral ports.
const RANGE: &str = "/proc/sys/net/ipv4/ip_local_port_range";

/// A started part; it ends when its standard input is closed, at the latest with us.
struct Part {
    child: Child,
    line: String,
}

impl Part {
    /// Starts a part and waits for its first line.
    fn start(role: Role) -> Result<Self> {
        let mut child = Command::new("/proc/self/exe")
            .args(["demo", "--role", role.word()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("the {} cannot be started", role.word()))?;
        let out = child.stdout.take().context("no pipe")?;
        let mut line = String::new();
        BufReader::new(out).read_line(&mut line)?;
        anyhow::ensure!(
            !line.is_empty(),
            "the {} ended before it was ready",
            role.word()
        );
        let line = line.trim_end().to_owned();
        Ok(Self { child, line })
    }

    /// Ends it.
    fn end(mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// Tells the namespace's inode, waits for a line, plays, tells what was made, and holds it until
/// standard input is closed.
pub(super) fn play() -> Result<()> {
    unshare(CloneFlags::CLONE_NEWNET).context("no network namespace of our own")?;
    loopback::up().context("the loopback device cannot be brought up")?;
    loopback::address("lo:1", CLIENT.parse()?).context("no address for the client")?;
    loopback::address("lo:2", PEER.parse()?).context("no address for the peer")?;
    let netns = fs::metadata("/proc/self/ns/net")?.ino();
    say(&netns.to_string())?;
    let mut go = [0];
    if stdin().read(&mut go)? == 0 {
        return Ok(());
    }

    let peer = Part::start(Role::Peer)?;
    let usual = fs::read_to_string(RANGE).context("the range cannot be read")?;
    fs::write(RANGE, format!("{PORT} {PORT}")).context("the range cannot be narrowed")?;
    let client = Part::start(Role::Client)?;
    fs::write(RANGE, usual.trim_end()).context("the range cannot be restored")?;
    let server = Part::start(Role::Server)?;
    let made = Made {
        client: client.child.id(),
        server: server.child.id(),
        server_error: server.line.clone(),
        looked: look(),
    };
    say(&serde_json::to_string(&made)?)?;
    let mut rest = Vec::new();
    stdin().read_to_end(&mut rest)?;
    server.end();
    client.end();
    peer.end();
    Ok(())
}

/// What an engineer would type, if the tool is there.
fn look() -> Option<Looked> {
    [["netstat", "-tlnp"], ["ss", "-tlnp"]]
        .into_iter()
        .find_map(|[tool, options]| {
            let out = Command::new(tool).arg(options).output().ok()?;
            Some(Looked {
                command: format!("{tool} {options}"),
                output: String::from_utf8_lossy(&out.stdout).into_owned(),
            })
        })
}

fn say(line: &str) -> Result<()> {
    let mut out = stdout();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}
