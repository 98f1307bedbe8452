//! The other end of `actor`: a process that makes any socket call a test thinks of, thousands of
//! times a second.
//!
//! Beside [`crate::puppet`], whose words are for people, this one speaks a closed set of calls in
//! JSON, so that a property test can drive it without parsing text.

use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};

use crate::netns::NetNs;

/// What a call is about: one of the actor's sockets.
pub type Slot = u32;

/// A kind of socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the kernel's names")]
pub enum Kind {
    Tcp,
    Udp,
    Mptcp,
}

/// An option that is on or off, or has a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the kernel's names")]
pub enum Opt {
    Reuseaddr,
    Reuseport,
    V6only,
    BindAddressNoPort,
    Freebind,
    /// Seconds of FIN_WAIT2: above 60 the kernel keeps a full socket, not a small one.
    Linger2,
    /// TCP_FASTOPEN_CONNECT: the first send makes the SYN.
    FastopenConnect,
}

/// One call.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Op {
    /// `socket()`, as another user if told.
    Open {
        /// The new socket.
        slot: Slot,
        /// Its kind.
        kind: Kind,
        /// AF_INET6.
        v6: bool,
        /// Whose socket it is.
        uid: u32,
    },
    /// `setsockopt()` of a number.
    Set(Slot, Opt, i32),
    /// SO_BINDTODEVICE.
    Device(Slot, String),
    /// `bind()`.
    Bind(Slot, SocketAddr),
    /// `listen()`.
    Listen(Slot),
    /// `listen()` with a backlog.
    Backlog(Slot, i32),
    /// So many connections to the first from the second, kept until the end.
    Crowd(SocketAddr, IpAddr, u32),
    /// So many `accept()`s, kept until the end.
    AcceptMany(Slot, u32),
    /// `connect()`; one that is under way counts as done if told so.
    Connect(Slot, SocketAddr, bool),
    /// `connect()` to AF_UNSPEC.
    Disconnect(Slot),
    /// `accept()` from the first into the second, if a connection comes soon.
    Accept(Slot, Slot),
    /// A connection waits at this listener.
    Waits(Slot),
    /// Sets the range that the kernel picks ports from.
    Range(u16, u16),
    /// `sendto()` one byte.
    Send(Slot, SocketAddr),
    /// `shutdown(SHUT_WR)`.
    Shutdown(Slot),
    /// `close()`, the usual way.
    Close(Slot),
    /// `close()` with SO_LINGER 0: nothing is left behind.
    Abort(Slot),
    /// Everything is closed that way.
    AbortAll,
    /// What the socket is.
    Look(Slot),
    /// Its cookie, which it has from then on.
    Cookie(Slot),
    /// SOCK_DESTROY of a socket that no descriptor leads to.
    Destroy {
        /// AF_INET6.
        v6: bool,
        /// The device that it is bound to; without it a listener would be found instead.
        device: Option<String>,
        /// Its end.
        local: SocketAddr,
        /// The other end.
        peer: SocketAddr,
    },
    /// `fork()`: a child that has all the sockets and does nothing.
    Fork,
    /// `dup2()` of the first over the second.
    Dup2(Slot, Slot),
    /// Sends a descriptor through a socket pair, always the same, and does not receive it.
    Fly(Slot),
    /// Closes both ends of that pair: a child that has them has the messages alone.
    LetFly,
    /// `fchown()` of the socket.
    Chown(Slot, u32),
    /// The calls in a thread of their own; with a descriptor table of its own if told. The last
    /// one's answer counts.
    Thread(Vec<Op>, bool),
    /// `execve()` of itself; the listed sockets stay open, under their names.
    Exec(Vec<Slot>),
}

/// What is known of a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[expect(missing_docs, reason = "named as the calls that tell it")]
pub struct Look {
    pub inode: u64,
    pub local: Option<SocketAddr>,
    pub peer: Option<SocketAddr>,
    pub listens: bool,
}

/// What a call gave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// It succeeded.
    Done,
    /// The kernel's errno.
    Refused(i32),
    /// Of `Look`.
    Seen(Look),
    /// A cookie, or a process id.
    Number(u64),
}

/// A running actor.
#[derive(Debug)]
pub struct Actor {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    name: String,
}

impl Actor {
    /// Starts one in `netns` under a name.
    pub fn start(netns: &NetNs, name: &str) -> Result<Self> {
        let mut child = netns
            .command(&executable()?)
            .arg(name)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("could not start an actor")?;
        let stdin = child.stdin.take().context("no stdin")?;
        let stdout = BufReader::new(child.stdout.take().context("no stdout")?);
        let mut actor = Self {
            child,
            stdin,
            stdout,
            name: name.to_owned(),
        };
        // Its first word: it has replaced the wrappers and has its name.
        actor.tell(&Op::AbortAll)?;
        Ok(actor)
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Makes a call and says what came of it.
    pub fn ask(&mut self, op: &Op) -> Result<Reply> {
        let mut line = serde_json::to_string(op)?;
        line.push('\n');
        self.stdin.write_all(line.as_bytes())?;
        let mut answer = String::new();
        self.stdout.read_line(&mut answer)?;
        serde_json::from_str(&answer)
            .with_context(|| format!("{} answered `{answer}` to {op:?}", self.name))
    }

    /// Makes a call that must succeed.
    pub fn tell(&mut self, op: &Op) -> Result<()> {
        let reply = self.ask(op)?;
        ensure!(reply == Reply::Done, "{}: {op:?} gave {reply:?}", self.name);
        Ok(())
    }

    /// A number that the call must give.
    pub fn number(&mut self, op: &Op) -> Result<u64> {
        let reply = self.ask(op)?;
        let Reply::Number(number) = reply else {
            bail!("{}: {op:?} gave {reply:?}", self.name);
        };
        Ok(number)
    }

    /// What a socket is.
    pub fn look(&mut self, slot: Slot) -> Result<Look> {
        let reply = self.ask(&Op::Look(slot))?;
        let Reply::Seen(look) = reply else {
            bail!("{}: looking gave {reply:?}", self.name);
        };
        Ok(look)
    }

    /// Ends it at once.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}

/// Cargo builds the binary with the tests, into the directory above theirs.
fn executable() -> Result<String> {
    let test = std::env::current_exe()?;
    let path: PathBuf = test
        .ancestors()
        .map(|folder| folder.join("actor"))
        .find(|path| path.is_file())
        .context("no `actor` beside the test binary")?;
    let path = path.to_str().context("the build path is not UTF-8")?;
    Ok(path.to_owned())
}
