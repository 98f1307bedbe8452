//! The three players, each a process of its own.

use super::{CLIENT, PEER, PEER_PORT, PORT};
use anyhow::{Context as _, Result};
use std::io::{Read as _, Write as _, stdin, stdout};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};

/// Which part a process plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Role {
    /// Makes the namespace and starts the others.
    Scene,
    /// Listens at the peer's end.
    Peer,
    /// Connects; the kernel picks its port.
    Client,
    /// Binds the port and fails.
    Server,
}

impl Role {
    /// Name of the process.
    #[must_use]
    pub fn comm(self) -> &'static str {
        match self {
            Self::Scene => "demo-scene",
            Self::Peer => "demo-peer",
            Self::Client => "demo-ceph-osd",
            Self::Server => "demo-flask",
        }
    }

    /// As given to `--role`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Scene => "scene",
            Self::Peer => "peer",
            Self::Client => "client",
            Self::Server => "server",
        }
    }
}

/// Plays a part until the scene closes our standard input.
///
/// # Errors
/// The part cannot be played; the server's failing bind is not an error but what it is for.
pub fn play(role: Role) -> Result<()> {
    nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL)
        .context("the kernel does not tie a process to its parent")?;
    let name = std::ffi::CString::new(role.comm())?;
    nix::sys::prctl::set_name(&name).context("the process cannot be named")?;
    match role {
        Role::Scene => super::scene::play(),
        Role::Peer => {
            let peer = TcpListener::bind((PEER, PEER_PORT))
                .with_context(|| format!("cannot listen on {PEER}:{PEER_PORT}"))?;
            say("ready")?;
            let _connection = peer.accept().context("cannot accept the client")?;
            until_closed()
        }
        Role::Client => {
            let connection = TcpStream::connect((PEER, PEER_PORT))
                .with_context(|| format!("cannot connect to {PEER}:{PEER_PORT}"))?;
            let local = connection.local_addr()?;
            let wanted = SocketAddr::from((CLIENT.parse::<Ipv4Addr>()?, PORT));
            anyhow::ensure!(
                local == wanted,
                "the kernel picked {local} instead of {wanted}"
            );
            say("ready")?;
            until_closed()
        }
        Role::Server => {
            let outcome = match TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT)) {
                Ok(_) => "the bind succeeded".to_owned(),
                Err(error) => error.to_string(),
            };
            say(&outcome)?;
            until_closed()
        }
    }
}

/// One line to the scene.
fn say(line: &str) -> Result<()> {
    let mut out = stdout();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}

/// Holds everything open until the scene is over.
fn until_closed() -> Result<()> {
    let mut rest = Vec::new();
    stdin().read_to_end(&mut rest)?;
    Ok(())
}
