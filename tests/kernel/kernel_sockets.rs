//! Sockets that belong to no process: who in the kernel has them.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use portwatch_tests::actor::Kind;
use portwatch_tests::contract::{Conflict, Holder};
use portwatch_tests::sockets::{Row, Transport};
use portwatch_tests::stage::{PORT, Stage};
use portwatch_tests::wait;

use crate::adversary::duel::{Duel, any, is, only};
use crate::circumstance::run_advice;

/// Whoever made the kernel open it (here `ip`) has nothing of it.
#[test]
fn sockets_of_the_kernel_itself() -> Result<()> {
    let Some(mut duel) = Duel::traced()? else {
        return Ok(());
    };
    let netns = &duel.stage.netns;
    netns.run(
        "ip",
        &[
            "link", "add", "vx0", "type", "vxlan", "id", "42", "dstport", "60001",
        ],
    )?;
    netns.run("ip", &["link", "set", "vx0", "up"])?;
    let endpoint = [
        "mptcp",
        "endpoint",
        "add",
        "127.0.0.1",
        "port",
        "60002",
        "signal",
    ];
    netns.run("ip", &endpoint)?;
    for (kind, port) in [(Kind::Udp, PORT), (Kind::Tcp, PORT + 1)] {
        let conflict = duel.blocked(kind, any(port))?;
        is(&conflict, "kernel-socket", &[])?;
        let holder = only(&conflict)?;
        ensure!(
            holder.kind == "kernel" && holder.origin.as_deref() == Some("kernel"),
            "{conflict:#?}"
        );
        let user = match kind {
            Kind::Udp => "vxlan vx0",
            Kind::Tcp | Kind::Mptcp => "mptcp-endpoint 1",
        };
        ensure!(holder.kernel_user.as_deref() == Some(user), "{conflict:#?}");
        run_advice(&conflict, "kernel-socket")?;
        duel.free(kind, any(port))?;
    }
    duel.end()
}

/// An interface that was moved to another namespace leaves its socket behind, and nothing tells of it
/// there but the function that it has put into the socket.
#[test]
fn a_socket_of_the_kernel_that_only_its_function_knows() -> Result<()> {
    let Some(mut duel) = Duel::traced()? else {
        return Ok(());
    };
    let elsewhere = Stage::bare()?.context("no second namespace")?.netns;
    let netns = &duel.stage.netns;
    let link = "link add vx1 type vxlan id 43 dstport 60001";
    netns.run("ip", &link.split(' ').collect::<Vec<_>>())?;
    netns.give("vx1", &elsewhere)?;
    elsewhere.run("ip", &["link", "set", "vx1", "up"])?;
    let conflict = duel.blocked(Kind::Udp, any(PORT))?;
    is(&conflict, "kernel-socket", &[])?;
    let user = if std::path::Path::new("/sys/module/vxlan/initstate").exists() {
        "module vxlan"
    } else {
        "function vxlan_rcv"
    };
    let told = only(&conflict)?.kernel_user.as_deref();
    ensure!(told == Some(user), "not {user}: {conflict:#?}");
    duel.end()
}

/// WireGuard tells its port only with its key, which nobody asks for.
#[test]
fn a_port_of_wireguard() -> Result<()> {
    let Some(mut duel) = Duel::traced()? else {
        return Ok(());
    };
    let netns = &duel.stage.netns;
    let added = netns.run("ip", &["link", "add", "wg0", "type", "wireguard"]);
    if let Err(refused) = added {
        let told = format!("{refused:#}");
        ensure!(told.contains("Unknown device type"), "{told}");
        eprintln!("this kernel has no WireGuard: {told}");
        return duel.end();
    }
    netns.run("ip", &["link", "set", "wg0", "up"])?;
    let rows = netns.sockets()?;
    let udp = |row: &&Row| row.transport == Transport::Udp;
    let port = rows.iter().find(udp).context("no port")?.local.port();
    let conflict = duel.blocked(Kind::Udp, any(port))?;
    of_module(&conflict, "wireguard")?;
    duel.end()
}

/// Each holder, one for each family perhaps, is a socket of this module.
fn of_module(conflict: &Conflict, module: &str) -> Result<()> {
    let user = format!("module {module}");
    let told =
        |held: &Holder| held.kernel_user.as_deref() == Some(&*user) && held.processes.is_empty();
    let all = !conflict.holders.is_empty() && conflict.holders.iter().all(told);
    ensure!(all && conflict.cause == "kernel-socket", "{conflict:#?}");
    Ok(())
}

/// A kernel without it answers with an empty line.
const NFS_SERVER: &str = "\
    mount -t nfsd nfsd /proc/fs/nfsd 2>&1 || { echo; exit; }
    cd /proc/fs/nfsd && echo '-2 -3 +4' > versions && echo 'tcp 60001' > portlist || exit
    echo ready; read -r end; echo 0 > threads";

/// The server of NFS, as `rpc.nfsd` starts it, but for its threads.
#[test]
fn a_port_of_nfs() -> Result<()> {
    let Some(mut duel) = Duel::traced()? else {
        return Ok(());
    };
    let mut server = duel.stage.netns.command("unshare");
    server.args(["--mount", "sh", "-c", NFS_SERVER]);
    server.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut server = server.spawn()?;
    let output = server.stdout.take().context("no output")?;
    let mut told = String::new();
    BufReader::new(output).read_line(&mut told)?;
    if told != "ready\n" {
        wait::exit("the shell", wait::PATIENCE, &mut server)?;
        ensure!(told.contains("unknown filesystem type"), "{told}");
        eprintln!("this kernel has no server of NFS: {told}");
        return duel.end();
    }
    let conflict = duel.blocked(Kind::Tcp, any(PORT))?;
    of_module(&conflict, "sunrpc")?;
    ensure!(conflict.message.contains("NFS"), "{conflict:#?}");
    drop(server.stdin.take());
    wait::exit("the server", wait::PATIENCE, &mut server)?;
    duel.free(Kind::Tcp, any(PORT))?;
    duel.end()
}
