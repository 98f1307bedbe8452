//! A network namespace that lives as long as its guard.
//!
//! Commands enter it with `nsenter --net`: `ip netns exec` would mount a fresh /sys over it and
//! hide tracefs, bpffs and the cgroups from the tracer.

use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::{self, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, bail};

use crate::sockets::{self, Row};

static NEXT: AtomicU32 = AtomicU32::new(0);

/// The namespace's whole range, for a test that does not care.
pub const DEFAULT_RANGE: (u16, u16) = (32768, 60999);

/// A network namespace with `lo` up, removed on drop.
#[derive(Debug)]
pub struct NetNs {
    name: String,
    inode: u64,
}

impl NetNs {
    /// Makes `pw-<pid>-<n>`.
    pub fn new() -> Result<Self> {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("pw-{}-{number}", process::id());
        run(Command::new("ip").args(["netns", "add", &name]))?;
        // From here on the guard removes it, whatever fails.
        let mut netns = Self { name, inode: 0 };
        netns.inode = fs::metadata(netns.path())
            .context("the namespace has no file in /var/run/netns")?
            .ino();
        netns.ip(&["link", "set", "lo", "up"])?;
        netns.set_range(DEFAULT_RANGE)?;
        Ok(netns)
    }

    /// The number that JSON events and `--netns` use.
    #[must_use]
    pub fn inode(&self) -> u64 {
        self.inode
    }

    /// The file that `nsenter --net=` and `portwatch --netns` take.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        PathBuf::from("/var/run/netns").join(&self.name)
    }

    /// A command inside the namespace. It dies with the thread that starts it, so that a killed
    /// test leaves nothing behind.
    #[must_use]
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL", "nsenter"])
            .arg(format!("--net={}", self.path().display()))
            .args(["--", program]);
        command
    }

    /// Runs a command inside the namespace to its end and returns its output.
    pub fn run(&self, program: &str, arguments: &[&str]) -> Result<String> {
        run(self.command(program).args(arguments))
    }

    /// Adds an address, `10.10.10.1/32`, to `lo`.
    pub fn add_address(&self, address: &str) -> Result<()> {
        self.ip(&["address", "add", address, "dev", "lo"])
    }

    /// Makes a destination a black hole: its packets leave on `lo` and nobody takes them.
    pub fn black_hole(&self, destination: IpAddr) -> Result<()> {
        self.ip(&["route", "add", &destination.to_string(), "dev", "lo"])
    }

    /// Joins two namespaces like two hosts on one wire.
    pub fn wire(&self, address: &str, other: &Self, other_address: &str) -> Result<()> {
        let peer = ["peer", "name", "wire", "netns", &other.name];
        let mut link = vec!["link", "add", "wire", "type", "veth"];
        link.extend(peer);
        self.ip(&link)?;
        for (netns, address) in [(self, address), (other, other_address)] {
            netns.ip(&["address", "add", address, "dev", "wire"])?;
            netns.ip(&["link", "set", "wire", "up"])?;
        }
        Ok(())
    }

    /// Moves an interface into another namespace.
    pub fn give(&self, interface: &str, other: &Self) -> Result<()> {
        self.ip(&["link", "set", interface, "netns", &other.name])
    }

    /// Sets a sysctl of the namespace, `net/ipv4/tcp_fin_timeout`.
    pub fn sysctl(&self, key: &str, value: &str) -> Result<()> {
        let script = r#"printf %s "$2" > "/proc/sys/$1""#;
        self.run("sh", &["-c", script, "sh", key, value])?;
        Ok(())
    }

    /// Sets the range from which the kernel picks source ports.
    pub fn set_range(&self, (low, high): (u16, u16)) -> Result<()> {
        self.sysctl("net/ipv4/ip_local_port_range", &format!("{low} {high}"))
    }

    /// Leaves the kernel one port to pick until the guard is dropped.
    pub fn pin(&self, port: u16) -> Result<Pinned<'_>> {
        self.set_range((port, port))?;
        Ok(Pinned { netns: self })
    }

    /// The TCP and UDP sockets of the namespace that /proc shows.
    pub fn sockets(&self) -> Result<Vec<Row>> {
        let script = "for t in tcp tcp6 udp udp6; do echo \"# $t\"; cat /proc/net/$t; done";
        sockets::parse(&self.run("sh", &["-c", script])?)
    }

    fn ip(&self, arguments: &[&str]) -> Result<()> {
        run(Command::new("ip").args(["-n", &self.name]).args(arguments))?;
        Ok(())
    }
}

impl Drop for NetNs {
    fn drop(&mut self) {
        if let Err(error) = run(Command::new("ip").args(["netns", "del", &self.name])) {
            eprintln!("could not remove the network namespace: {error:#}");
        }
    }
}

/// The range is narrowed to one port while this lives.
#[derive(Debug)]
pub struct Pinned<'a> {
    netns: &'a NetNs,
}

impl Drop for Pinned<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.netns.set_range(DEFAULT_RANGE) {
            eprintln!("could not widen the port range again: {error:#}");
        }
    }
}

fn run(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("could not start {command:?}"))?;
    if !output.status.success() {
        bail!(
            "{command:?} ended with {}: {}",
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
