//! The founding case with the founding culprit: a ceph-osd's connection to another one has the
//! port that Flask wants.
//!
//! Two namespaces stand for the two hosts, 10.10.10.1 and 10.10.10.2, with a wire between them.
//! The first has an OSD and Flask, the second the monitor and another OSD; both OSDs keep their
//! data in memory. When the second OSD comes up, the first one connects to it.

use std::net::SocketAddr;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use portwatch_tests::netns::NetNs;
use portwatch_tests::program::Program;
use portwatch_tests::programs::python;
use portwatch_tests::puppet::Puppet;
use portwatch_tests::sockets::Transport;
use portwatch_tests::stage::{HERE, PORT, THERE, skip_without};
use portwatch_tests::tracer::Tracer;
use portwatch_tests::wait;

use crate::python::flask;
use crate::scene::{Holding, PATIENCE, Scene, verdict, wait_rows};

const NEEDS: [&str; 3] = ["/usr/bin/ceph-mon", "/usr/bin/ceph-osd", "/usr/bin/ceph"];
const CLUSTER: &str = "2c1f7a0e-6a4c-4f7e-9a51-6d1b1c0c6001";
const OSDS: [(&str, &str, &str); 2] = [
    ("0", HERE, "2c1f7a0e-6a4c-4f7e-9a51-6d1b1c0c0000"),
    ("1", THERE, "2c1f7a0e-6a4c-4f7e-9a51-6d1b1c0c0001"),
];

/// The monitor's host and what runs where.
struct Cluster<'a> {
    scene: &'a Scene,
    there: NetNs,
}

impl<'a> Cluster<'a> {
    /// Lays the wire, writes the configuration, makes the monitor's store.
    fn lay(scene: &'a Scene) -> Result<Self> {
        let there = NetNs::new()?;
        let wire = |address: &str| format!("{address}/24");
        scene.netns().wire(&wire(HERE), &there, &wire(THERE))?;
        let cluster = Self { scene, there };
        scene.write("ceph.conf", &configuration(&scene.path("")?))?;
        for folder in ["mon", "osd0", "osd1"] {
            std::fs::create_dir(scene.path(folder)?)?;
        }
        cluster.run(&[
            "ceph-authtool",
            "--create-keyring",
            "keyring",
            "--gen-key",
            "-n",
            "mon.",
        ])?;
        let monitor = format!("[v2:{THERE}:3300]");
        let map = [
            "monmaptool",
            "--create",
            "--fsid",
            CLUSTER,
            "--addv",
            "a",
            &monitor,
            "monmap",
        ];
        cluster.run(&map)?;
        let mkfs = [
            "ceph-mon",
            "--mkfs",
            "-i",
            "a",
            "--monmap",
            "monmap",
            "--keyring",
            "keyring",
        ];
        cluster.run(&mkfs)?;
        Ok(cluster)
    }

    fn command(&self, netns: &NetNs, words: &[&str]) -> Result<Command> {
        let (program, arguments) = words.split_first().context("no program")?;
        let mut command = self.scene.command_in(netns, program);
        command
            .args(arguments)
            .env("CEPH_CONF", self.scene.path("ceph.conf")?);
        Ok(command)
    }

    /// Runs a tool on the monitor's host to its end.
    fn run(&self, words: &[&str]) -> Result<String> {
        let mut program = Program::start(self.command(&self.there, words)?)?;
        let status = program.wait_exit(PATIENCE)?;
        ensure!(
            status.success(),
            "{words:?} ended with {status}:\n{}",
            program.output()
        );
        Ok(program.output())
    }

    fn start_monitor(&self) -> Result<Program> {
        let mut monitor =
            Program::start(self.command(&self.there, &["ceph-mon", "-f", "-i", "a"])?)?;
        monitor.wait_until("the monitor's port", PATIENCE, |_| {
            let rows = self.there.sockets()?;
            Ok(rows
                .iter()
                .any(|row| row.local.port() == 3300 && row.state == "listen"))
        })?;
        for (id, _, uuid) in OSDS {
            self.run(&["ceph", "osd", "new", uuid, id])?;
            self.run(&["ceph-osd", "--mkfs", "-i", id, "--osd-uuid", uuid])?;
        }
        Ok(monitor)
    }

    fn start_osd(&self, netns: &NetNs, id: &str) -> Result<Program> {
        Program::start(self.command(netns, &["ceph-osd", "-f", "-i", id])?)
    }

    fn wait_up(&self, osd: &mut Program) -> Result<()> {
        wait::until("the OSD in the monitor's map", PATIENCE, || {
            ensure!(osd.try_exit()?.is_none(), "it ended:\n{}", osd.output());
            let map = self.run(&["ceph", "osd", "stat"])?;
            Ok(map.contains("1 up").then_some(()))
        })
    }
}

fn configuration(folder: &str) -> String {
    let mut text = format!(
        "[global]\n\
         fsid = {CLUSTER}\n\
         mon host = v2:{THERE}:3300\n\
         mon initial members = a\n\
         public network = 10.10.10.0/24\n\
         auth cluster required = none\n\
         auth service required = none\n\
         auth client required = none\n\
         osd objectstore = memstore\n\
         memstore device bytes = 67108864\n\
         osd crush chooseleaf type = 0\n\
         ms bind ipv6 = false\n\
         run dir = {folder}\n\
         admin socket = {folder}/$name.asok\n\
         pid file = {folder}/$name.pid\n\
         log file = {folder}/$name.log\n\
         mon data = {folder}/mon\n\
         osd data = {folder}/osd$id\n\
         [mon.a]\n\
         public addr = v2:{THERE}:3300\n"
    );
    for (id, address, _) in OSDS {
        text += &format!("[osd.{id}]\npublic addr = {address}\ncluster addr = {address}\n");
    }
    text
}

#[test]
fn a_ceph_osd_has_the_port_that_flask_wants() -> Result<()> {
    if !python("flask").exists() {
        return skip_without("flask");
    }
    let Some(scene) = Scene::bare(&NEEDS)? else {
        return Ok(());
    };
    let cluster = Cluster::lay(&scene)?;
    let _monitor = cluster.start_monitor()?;
    // An OSD looks for its own ports by failing to bind those that it has already.
    let early = Tracer::start(scene.netns(), &["--port", "60001"])?;
    let mut here = cluster.start_osd(scene.netns(), "0")?;
    cluster.wait_up(&mut here)?;
    // All that connects on this host from now on is the OSD to the other one.
    let pinned = scene.netns().pin(PORT)?;
    let _there = cluster.start_osd(&cluster.there, "1")?;
    let rows = wait::until("a connection to the other OSD", PATIENCE, || {
        let rows = wait_rows(scene.netns(), Transport::Tcp, "established")?;
        Ok(rows.iter().any(|row| is_osd(row.peer)).then_some(rows))
    })?;
    drop(pinned);
    let holding = Holding::found(&rows)?;
    ensure!(
        (holding.pid, holding.comm.as_str()) == (here.pid(), "ceph-osd"),
        "not the OSD's"
    );
    // Its connections share the port: they differ by the peer's. More came meanwhile.
    let rows = wait_rows(scene.netns(), Transport::Tcp, "established")?;
    let holding = Holding {
        peers: rows.iter().map(|row| row.peer).collect(),
        ..holding
    };
    verdict(early, flask(&scene)?, &holding).context("the tracer came first")?;
    let late = Tracer::start(scene.netns(), &["--port", "60001"])?;
    verdict(late, flask(&scene)?, &holding.late()).context("the OSD came first")
}

/// A port that an OSD listens on, at the other host.
fn is_osd(peer: SocketAddr) -> bool {
    peer.ip().to_string() == THERE && (6800..=7300).contains(&peer.port())
}

/// An OSD looks for a port of each of its messengers from 6800 on, over what others and it itself
/// have already.
#[test]
fn a_ceph_osd_goes_through_its_range() -> Result<()> {
    let Some(scene) = Scene::bare(&NEEDS)? else {
        return Ok(());
    };
    let cluster = Cluster::lay(&scene)?;
    let _monitor = cluster.start_monitor()?;
    let mut holder = Puppet::start(scene.netns(), "made-range")?;
    for port in 6800..6803_u16 {
        holder.listener(&format!("l{port}"), "tcp4", &[], &format!("0.0.0.0:{port}"))?;
    }
    let mut tracer = Tracer::start(scene.netns(), &["--port", "6800-7300"])?;
    let mut here = cluster.start_osd(scene.netns(), "0")?;
    let event = tracer.wait_for("the end", PATIENCE, |event| event.resolved().is_some())?;
    cluster.wait_up(&mut here)?;
    let trace = tracer.finish()?;
    trace.check(true)?;
    let end = event.resolved().context("no end")?;
    let tried = end.port_range.as_ref().context("no range")?;
    ensure!(
        end.how == "other-port"
            && end.port.is_some_and(|port| port > 6802)
            && tried.low == 6800
            && tried.high >= 6802
            && end.requester.pid == here.pid()
            && trace.incidents().len() == 1,
        "{end:#?}"
    );
    let conflicts = trace.conflicts();
    for conflict in conflicts
        .iter()
        .filter(|conflict| conflict.wanted.port < Some(6803))
    {
        ensure!(
            conflict.cause == "listener" && conflict.holders[0].processes[0].pid == holder.pid(),
            "{conflict:#?}"
        );
    }
    Ok(())
}
