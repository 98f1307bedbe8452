//! The other end of `sockpuppet`: a process whose sockets a test moves one call at a time.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use rustix::process::{Resource, getrlimit, setrlimit};

use crate::netns::NetNs;
use crate::program::Program;
use crate::wait;

/// A sockpuppet process of a chosen name.
#[derive(Debug)]
pub struct Puppet {
    program: Program,
    answered: usize,
    comm: String,
}

/// Why a call failed, as the errno's name.
pub type Refusal = String;

impl Puppet {
    /// Starts one in `netns` and names it; the name shows in /proc/PID/comm.
    pub fn start(netns: &NetNs, comm: &str) -> Result<Self> {
        Self::start_with(netns, comm, &[])
    }

    /// The same with arguments, which it ignores.
    pub fn start_with(netns: &NetNs, comm: &str, arguments: &[String]) -> Result<Self> {
        // As many sockets as there may be: a shell starts with fewer.
        let mut limit = getrlimit(Resource::Nofile);
        limit.current = limit.maximum;
        setrlimit(Resource::Nofile, limit)?;
        let mut command = netns.command(&executable()?);
        command.args(arguments);
        let mut puppet = Self {
            program: Program::start(command)?,
            answered: 0,
            comm: String::new(),
        };
        puppet.rename(comm.as_bytes())?;
        Ok(puppet)
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.program.pid()
    }

    /// Its name, as far as it is text.
    #[must_use]
    pub fn comm(&self) -> &str {
        &self.comm
    }

    /// Gives it another name, of any bytes.
    pub fn rename(&mut self, comm: &[u8]) -> Result<()> {
        let hex: String = comm.iter().map(|byte| format!("{byte:02x}")).collect();
        self.tell(&format!("comm-hex {hex}"))?;
        self.comm = String::from_utf8_lossy(comm).into_owned();
        Ok(())
    }

    /// Gives a command that must work and returns its value.
    pub fn tell(&mut self, command: &str) -> Result<String> {
        self.ask(command)?
            .map_err(|errno| anyhow!("`{command}` of {} failed with {errno}", self.comm))
    }

    /// Gives a command that may fail: its value, or the errno's name.
    pub fn ask(&mut self, command: &str) -> Result<Result<String, Refusal>> {
        self.start_command(command)?;
        self.answer(command)
    }

    /// Gives a command and does not wait; [`Self::answer`] takes the answer.
    pub fn start_command(&mut self, command: &str) -> Result<()> {
        self.program.write_line(command)
    }

    /// Waits for the answer to the last command.
    pub fn answer(&mut self, command: &str) -> Result<Result<String, Refusal>> {
        let index = self.answered;
        let line = |program: &Program| program.output().lines().nth(index).map(str::to_owned);
        self.program.wait_until(
            &format!("the answer to `{command}`"),
            wait::PATIENCE,
            |program| Ok(line(program).is_some()),
        )?;
        let answer = line(&self.program).context("the answer is gone")?;
        self.answered += 1;
        match answer.split_once(' ') {
            None if answer == "ok" => Ok(Ok(String::new())),
            Some(("ok", value)) => Ok(Ok(value.to_owned())),
            Some(("err", errno)) => Ok(Err(errno.to_owned())),
            _ => bail!("`{command}` was answered `{answer}`"),
        }
    }

    /// Gives a command whose value is an address.
    pub fn tell_address(&mut self, command: &str) -> Result<SocketAddr> {
        let value = self.tell(command)?;
        value
            .parse()
            .with_context(|| format!("`{command}` gave `{value}`"))
    }

    /// Gives a command whose value is a number.
    pub fn tell_number(&mut self, command: &str) -> Result<u64> {
        let value = self.tell(command)?;
        value
            .parse()
            .with_context(|| format!("`{command}` gave `{value}`"))
    }

    /// Opens a socket, sets its options and binds it: `Err` holds the errno's name.
    pub fn try_bind(
        &mut self,
        socket: &str,
        kind: &str,
        options: &[&str],
        address: &str,
    ) -> Result<Result<SocketAddr, Refusal>> {
        self.open(socket, kind, options)?;
        let answer = self.ask(&format!("bind {socket} {address}"))?;
        match answer {
            Ok(value) => Ok(Ok(value.parse()?)),
            Err(errno) => Ok(Err(errno)),
        }
    }

    /// Opens a socket and sets options; `v6only` stands for 1, `dual` for v6only 0.
    pub fn open(&mut self, socket: &str, kind: &str, options: &[&str]) -> Result<()> {
        self.tell(&format!("open {socket} {kind}"))?;
        for option in options {
            let setting = if *option == "dual" {
                "v6only 0".to_owned()
            } else {
                format!("{option} 1")
            };
            self.tell(&format!("set {socket} {setting}"))?;
        }
        Ok(())
    }

    /// Makes a listener and returns its address.
    pub fn listener(
        &mut self,
        socket: &str,
        kind: &str,
        options: &[&str],
        address: &str,
    ) -> Result<SocketAddr> {
        if let Err(errno) = self.try_bind(socket, kind, options, address)? {
            bail!("{} could not bind {address}: {errno}", self.comm);
        }
        self.tell_address(&format!("listen {socket} 64"))
    }

    /// Ends it and waits until it is gone.
    pub fn exit(&mut self) -> Result<()> {
        self.program.write_line("exit")?;
        self.program.wait_exit(Duration::from_secs(10))?;
        Ok(())
    }
}

/// Cargo builds the binary with the tests, into the directory above theirs.
fn executable() -> Result<String> {
    let test = std::env::current_exe()?;
    let path: PathBuf = test
        .ancestors()
        .map(|folder| folder.join("sockpuppet"))
        .find(|path| path.is_file())
        .context("no `sockpuppet` beside the test binary")?;
    Ok(path
        .to_str()
        .context("the build path is not UTF-8")?
        .to_owned())
}
