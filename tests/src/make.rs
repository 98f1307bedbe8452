//! Made holders: every way in which a process can have a port, each brought about by the calls
//! that bring it about in life, and checked against /proc before the test goes on.

use std::net::SocketAddr;

use anyhow::{Context, Result, bail, ensure};

use crate::netns::NetNs;
use crate::puppet::Puppet;
use crate::sockets::Transport;
use crate::stage::{HERE, PORT, THERE};
use crate::wait;

/// Where the made server of an outbound connection listens, outside the range.
const SERVICE: &str = "10.10.10.2:7000";
/// An address whose packets nobody takes.
const NOWHERE: &str = "10.66.0.9";

/// A holder of port 60001, and the processes that keep it so.
#[derive(Debug)]
pub struct Made {
    /// The process that took the port; it may have exited since.
    pub holder: Puppet,
    /// The remote end of its socket.
    pub peer: Option<SocketAddr>,
    /// The socket's inode while its process has it.
    pub inode: Option<u64>,
    /// Whether that process still runs.
    pub alive: bool,
    /// The other end, kept alive.
    pub others: Vec<Puppet>,
}

impl Made {
    /// Ends the holder's process; what it leaves in the kernel stays.
    pub fn exit_holder(&mut self) -> Result<()> {
        self.alive = false;
        self.inode = None;
        self.holder.exit()
    }

    /// The process at the other end of the connection.
    pub fn other_end(&mut self) -> Result<&mut Puppet> {
        self.others.first_mut().context("no other end was made")
    }
}

fn made(mut holder: Puppet, socket: &str, peer: Option<SocketAddr>) -> Result<Made> {
    let inode = Some(holder.tell_number(&format!("inode {socket}"))?);
    Ok(Made {
        holder,
        peer,
        inode,
        alive: true,
        others: Vec::new(),
    })
}

/// A client whose source port the kernel picked; the server has accepted it as `a`.
pub fn established(netns: &NetNs) -> Result<Made> {
    connected(netns, PORT, "connect c")
}

/// The same with another port than the founding case's.
pub fn established_on(netns: &NetNs, port: u16) -> Result<Made> {
    connected(netns, port, "connect c")
}

/// The same by a thread of another name than the process.
pub fn established_by_thread(netns: &NetNs) -> Result<Made> {
    connected(netns, PORT, "in-thread msgr-worker-0 connect c")
}

fn connected(netns: &NetNs, port: u16, connect: &str) -> Result<Made> {
    let mut server = Puppet::start(netns, "made-server")?;
    server.listener("l", "tcp4", &["reuseaddr"], SERVICE)?;
    let mut client = Puppet::start(netns, "made-client")?;
    client.open("c", "tcp4", &[])?;
    let pinned = netns.pin(port)?;
    let local = client.tell_address(&format!("{connect} {SERVICE}"))?;
    drop(pinned);
    ensure!(local.port() == port, "the kernel picked {local}");
    server.tell("accept l a")?;
    let mut made = made(client, "c", Some(SERVICE.parse()?))?;
    made.others.push(server);
    Ok(made)
}

/// A client that drew its own destination as its source port and so connected to itself.
pub fn connected_to_itself(netns: &NetNs) -> Result<Made> {
    let peer: SocketAddr = format!("{HERE}:{PORT}").parse()?;
    let mut client = Puppet::start(netns, "made-client")?;
    client.open("c", "tcp4", &[])?;
    let pinned = netns.pin(PORT)?;
    let local = client.tell_address(&format!("connect c {peer}"))?;
    drop(pinned);
    ensure!(local == peer, "connected from {local} to {peer}");
    made(client, "c", Some(peer))
}

/// A client that bound to port 0 before it connected.
pub fn bound_then_connected(netns: &NetNs) -> Result<Made> {
    let mut made = ephemeral_bind(netns)?;
    let mut server = Puppet::start(netns, "made-server")?;
    server.listener("l", "tcp4", &["reuseaddr"], SERVICE)?;
    made.holder.tell(&format!("connect s {SERVICE}"))?;
    server.tell("accept l a")?;
    made.peer = Some(SERVICE.parse()?);
    made.others.push(server);
    Ok(made)
}

/// A listener behind hundreds of connections that it accepted; in the kernel's list it is last.
pub fn crowd(netns: &NetNs, connections: usize) -> Result<Made> {
    let mut made = listener(netns)?;
    let mut client = Puppet::start(netns, "made-clients")?;
    for number in 0..connections {
        client.open(&format!("c{number}"), "tcp4", &[])?;
        client.tell(&format!("connect c{number} {HERE}:{PORT}"))?;
        made.holder.tell(&format!("accept s a{number}"))?;
    }
    made.others.push(client);
    Ok(made)
}

/// A client that waits for an answer that never comes.
pub fn syn_sent(netns: &NetNs) -> Result<Made> {
    // The usual six give up after two minutes, which an emulated machine may need.
    netns.sysctl("net/ipv4/tcp_syn_retries", "12")?;
    netns.black_hole(NOWHERE.parse()?)?;
    let peer: SocketAddr = format!("{NOWHERE}:80").parse()?;
    let mut client = Puppet::start(netns, "made-client")?;
    client.open("c", "tcp4!", &[])?;
    let pinned = netns.pin(PORT)?;
    client.tell(&format!("connect c {peer}"))?;
    drop(pinned);
    wait_state(netns, Transport::Tcp, "syn_sent")?;
    made(client, "c", Some(peer))
}

/// Seconds that FIN_WAIT2 lasts without a process: longer than a test in an emulated machine.
const FIN_TIMEOUT: &str = "600";

/// A client that did not close after its server did. The server's end is an orphan then, and where the
/// last acknowledgement finds it still owned by `close()`, the kernel resets it after `tcp_fin_timeout`,
/// which ends the client's socket too; over 60 s it makes TIME_WAIT of it instead
/// (net/ipv4/tcp_timer.c:tcp_keepalive_timer, v6.12). An emulated machine runs into the former.
pub fn close_wait(netns: &NetNs) -> Result<Made> {
    netns.sysctl("net/ipv4/tcp_fin_timeout", FIN_TIMEOUT)?;
    let mut made = established(netns)?;
    made.other_end()?.tell("close a")?;
    wait_state(netns, Transport::Tcp, "close_wait")?;
    Ok(made)
}

/// A client that shut its side down and keeps its descriptor.
pub fn fin_wait(netns: &NetNs) -> Result<Made> {
    let mut made = established(netns)?;
    made.holder.tell("shutdown c")?;
    wait_state(netns, Transport::Tcp, "fin_wait2")?;
    Ok(made)
}

/// A closed client connection; the process lives on.
pub fn time_wait(netns: &NetNs) -> Result<Made> {
    let mut made = established(netns)?;
    close_client_first(netns, &mut made)?;
    Ok(made)
}

/// Closes an established connection so that TIME_WAIT is the client's.
pub fn close_client_first(netns: &NetNs, made: &mut Made) -> Result<()> {
    close_client_first_on(netns, made, PORT)
}

/// The same of one made by [`established_on`].
pub fn close_client_first_on(netns: &NetNs, made: &mut Made, port: u16) -> Result<()> {
    made.holder.tell("close c")?;
    made.inode = None;
    let length = made.other_end()?.tell_number("recv a")?;
    ensure!(length == 0, "{length} bytes instead of the end");
    made.other_end()?.tell("close a")?;
    wait_state_on(netns, Transport::Tcp, port, "time_wait")
}

/// A closed client connection of a process that is gone.
pub fn time_wait_of_the_dead(netns: &NetNs) -> Result<Made> {
    let mut made = time_wait(netns)?;
    made.exit_holder()?;
    Ok(made)
}

/// A closed connection whose server never closes its side; `tcp_fin_timeout` over 60 s makes the
/// kernel keep the whole socket, below that it keeps a small one in the same state.
pub fn orphan(netns: &NetNs) -> Result<Made> {
    netns.sysctl("net/ipv4/tcp_fin_timeout", FIN_TIMEOUT)?;
    orphan_by_default(netns)
}

/// The same with the host's usual `tcp_fin_timeout`.
pub fn orphan_by_default(netns: &NetNs) -> Result<Made> {
    let mut made = established(netns)?;
    made.holder.tell("close c")?;
    made.inode = None;
    wait_state(netns, Transport::Tcp, "fin_wait2")?;
    Ok(made)
}

/// A server with one accepted connection `a`; the client is the peer.
fn serving(netns: &NetNs) -> Result<Made> {
    let mut server = Puppet::start(netns, "made-server")?;
    server.listener("l", "tcp4", &[], &format!("{HERE}:{PORT}"))?;
    let mut client = Puppet::start(netns, "made-client")?;
    client.open("c", "tcp4", &[])?;
    client.tell(&format!("connect c {HERE}:{PORT}"))?;
    let peer = server.tell_address("accept l a")?;
    let mut made = made(server, "a", Some(peer))?;
    made.others.push(client);
    Ok(made)
}

/// A server's own closed connection; its listener is closed too.
pub fn server_time_wait(netns: &NetNs) -> Result<Made> {
    let mut made = serving(netns)?;
    made.holder.tell("close a")?;
    let client = made.other_end()?;
    client.tell("recv c")?;
    client.tell("close c")?;
    wait_state(netns, Transport::Tcp, "time_wait")?;
    made.holder.tell("close l")?;
    made.inode = None;
    Ok(made)
}

/// An accepted connection that outlived its listener.
pub fn accepted(netns: &NetNs) -> Result<Made> {
    let mut made = serving(netns)?;
    made.holder.tell("close l")?;
    Ok(made)
}

/// A listener on every address.
pub fn listener(netns: &NetNs) -> Result<Made> {
    bound(
        netns,
        "tcp4",
        &["reuseaddr"],
        &format!("0.0.0.0:{PORT}"),
        true,
    )
}

/// A listener on `::` that takes IPv4 too.
pub fn dual_stack_listener(netns: &NetNs) -> Result<Made> {
    bound(
        netns,
        "tcp6",
        &["reuseaddr", "dual"],
        &format!("[::]:{PORT}"),
        true,
    )
}

/// A socket that is bound and neither listens nor connects.
pub fn bound_only(netns: &NetNs) -> Result<Made> {
    bound(netns, "tcp4", &[], &format!("{HERE}:{PORT}"), false)
}

/// A socket bound to port 0.
pub fn ephemeral_bind(netns: &NetNs) -> Result<Made> {
    let _pinned = netns.pin(PORT)?;
    bound(netns, "tcp4", &[], &format!("{HERE}:0"), false)
}

/// A socket that listens without bind(), so that listen() picks the port.
pub fn autobound_listener(netns: &NetNs) -> Result<Made> {
    let mut holder = Puppet::start(netns, "made-holder")?;
    holder.open("s", "tcp4", &[])?;
    let _pinned = netns.pin(PORT)?;
    let local = holder.tell_address("listen s 8")?;
    ensure!(local.port() == PORT, "the kernel picked {local}");
    made(holder, "s", None)
}

/// A UDP service.
pub fn udp_bound(netns: &NetNs) -> Result<Made> {
    bound(netns, "udp4", &[], &format!("0.0.0.0:{PORT}"), false)
}

/// A UDP client with a peer.
pub fn udp_connected(netns: &NetNs) -> Result<Made> {
    udp_client(netns, "connect", Some(SERVICE.parse()?))
}

/// A UDP client that got its port by sending.
pub fn udp_autobound(netns: &NetNs) -> Result<Made> {
    udp_client(netns, "sendto", None)
}

fn udp_client(netns: &NetNs, call: &str, peer: Option<SocketAddr>) -> Result<Made> {
    let mut holder = Puppet::start(netns, "made-client")?;
    holder.open("c", "udp4", &[])?;
    let _pinned = netns.pin(PORT)?;
    let local = holder.tell_address(&format!("{call} c {SERVICE}"))?;
    ensure!(local.port() == PORT, "the kernel picked {local}");
    made(holder, "c", peer)
}

fn bound(netns: &NetNs, kind: &str, options: &[&str], address: &str, listen: bool) -> Result<Made> {
    let mut holder = Puppet::start(netns, "made-holder")?;
    let local = if listen {
        holder.listener("s", kind, options, address)?
    } else {
        match holder.try_bind("s", kind, options, address)? {
            Ok(local) => local,
            Err(errno) => bail!("could not bind {address}: {errno}"),
        }
    };
    ensure!(local.port() == PORT, "it got {local}");
    made(holder, "s", None)
}

/// Waits until the socket on the wanted port is in `state`.
pub fn wait_state(netns: &NetNs, transport: Transport, state: &str) -> Result<()> {
    wait_state_on(netns, transport, PORT, state)
}

/// The same of another port.
fn wait_state_on(netns: &NetNs, transport: Transport, port: u16, state: &str) -> Result<()> {
    wait::until(&format!("port {port} in {state}"), wait::PATIENCE, || {
        let rows = netns.sockets()?;
        let there = rows.iter().any(|row| {
            row.transport == transport && row.local.port() == port && row.state == state
        });
        Ok(there.then_some(()))
    })
}

/// The address of the peer host with a port.
#[must_use]
pub fn there(port: u16) -> String {
    format!("{THERE}:{port}")
}
