//! Ports wanted on ways that are no system call of 64 bits: io_uring, 32-bit programs, sockets of the
//! kernel, subflows of MPTCP. Functions of the kernel see all of them; the exits of system calls see
//! none, and say so at the start (docs/kernel-support.md). A holder is found either way.

use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use portwatch_tests::contract::Conflict;
use portwatch_tests::machine::{Started, kernel_before};
use portwatch_tests::puppet::Puppet;
use portwatch_tests::stage::{HERE, PORT, Stage};
use portwatch_tests::trace::Trace;
use portwatch_tests::tracer::Tracer;

/// A conflict that every backend sees: what came before it has been told.
fn fence(stage: &Stage, tracer: &mut Tracer) -> Result<()> {
    let address = format!("127.0.0.1:{}", PORT + 7);
    let mut holder = Puppet::start(&stage.netns, "fence-holder")?;
    holder.listener("l", "tcp4", &[], &address)?;
    let mut binder = Puppet::start(&stage.netns, "fence-binder")?;
    let answer = binder.try_bind("b", "tcp4", &[], &address)?;
    ensure!(answer.is_err(), "two listeners on one port");
    tracer.wait_conflict(PORT + 7)?;
    Ok(())
}

/// What was told of a process: with functions of the kernel each of `calls`, once and in order, with
/// the holder's name; with tracepoints nothing, and that was said before.
fn judge(trace: &Trace, pid: u32, calls: &[&str], spot: &str, holder: &Puppet) -> Result<()> {
    trace.check(true)?;
    let started = Started::of(trace)?;
    let all = trace.conflicts();
    let told: Vec<&Conflict> = all
        .iter()
        .filter(|conflict| conflict.requester.pid == pid)
        .copied()
        .collect();
    if !started.hooks().contains(&"inet_csk_get_port") {
        ensure!(told.is_empty(), "a tracepoint saw it: {told:#?}");
        let spots = started.blind_spots().join("\n");
        ensure!(spots.contains(spot), "`{spot}` is not in: {spots}");
        return Ok(());
    }
    let seen: Vec<&str> = told.iter().map(|conflict| conflict.call.as_str()).collect();
    ensure!(seen == calls, "{seen:?}, not {calls:?}: {told:#?}");
    for conflict in told.iter().filter(|told| told.wanted.port.is_some()) {
        let processes = conflict.holders.first().map(|held| &held.processes);
        let named =
            processes.is_some_and(|all| all.iter().any(|process| process.pid == holder.pid()));
        ensure!(
            named && conflict.certainty == "exact" && conflict.wanted.port == Some(PORT),
            "{conflict:#?}"
        );
    }
    Ok(())
}

/// connect() since Linux 5.5; bind() and listen() since 6.11, refused before.
#[test]
fn io_uring() -> Result<()> {
    let Some(stage) = Stage::set()? else {
        return Ok(());
    };
    let mut tracer = Tracer::start(&stage.netns, &[])?;
    let address = format!("{HERE}:{PORT}");
    let mut holder = Puppet::start(&stage.netns, "ring-holder")?;
    let mut binder = Puppet::start(&stage.netns, "ring-binder")?;
    holder.open("l", "tcp4", &["reuseaddr"])?;
    let rings_bind = holder.ask(&format!("ring bind l {address}"))? != Err("EINVAL".to_owned());
    let mut calls = Vec::new();
    if rings_bind {
        // Both are bound; the first to listen has it.
        binder.open("b", "tcp4", &["reuseaddr"])?;
        binder.tell(&format!("ring bind b {address}"))?;
        holder.tell("ring listen l 1")?;
        let refused = binder.ask("ring listen b 1")?;
        ensure!(refused == Err("EADDRINUSE".to_owned()), "{refused:?}");
        binder.tell("close b")?;
        binder.open("c", "tcp4", &[])?;
        let refused = binder.ask(&format!("ring bind c {address}"))?;
        ensure!(refused == Err("EADDRINUSE".to_owned()), "{refused:?}");
        calls.extend(["listen", "bind"]);
    } else {
        ensure!(kernel_before((6, 11))?, "this kernel has no bind()");
        holder.tell(&format!("bind l {address}"))?;
        holder.tell("listen l 1")?;
    }
    // One port, and that is taken.
    stage.netns.set_range((PORT, PORT))?;
    binder.open("x", "tcp4", &[])?;
    let refused = binder.ask(&format!("ring connect x {address}"))?;
    ensure!(refused == Err("EADDRNOTAVAIL".to_owned()), "{refused:?}");
    calls.push("connect");
    fence(&stage, &mut tracer)?;
    // What a ring took is found by a system call that fails, with every backend.
    let mut other = Puppet::start(&stage.netns, "plain-binder")?;
    let answer = other.try_bind("b", "tcp4", &[], &address)?;
    ensure!(answer.is_err(), "two listeners on one port");
    tracer.wait_for("a plain bind()", portwatch_tests::wait::PATIENCE, |event| {
        event.conflict().is_some_and(|conflict| {
            let held = conflict.holders.iter().flat_map(|held| &held.processes);
            conflict.requester.pid == other.pid()
                && held.into_iter().any(|process| process.pid == holder.pid())
        })
    })?;
    judge(
        &tracer.finish()?,
        binder.pid(),
        &calls,
        "through io_uring",
        &holder,
    )
}

/// Two binds of i386: by `bind` (361) and, as older C libraries do, by `socketcall` (102). Says 98s,
/// then waits for the end of its input.
const I386: &str = r#"
static int call(int n, int a, int b, int c) {
    int r;
    __asm__ volatile("int $0x80" : "=a"(r) : "a"(n), "b"(a), "c"(b), "d"(c) : "memory");
    return r;
}
static unsigned char address[16] = {2, 0, PORT_HIGH, PORT_LOW, 0, 0, 0, 0};
void _start(void) {
    char told[2];
    int direct = call(359, 2, 1, 0);
    told[0] = call(361, direct, (int)address, 16) == -98 ? 'y' : 'n';
    int arguments[3] = {2, 1, 0};
    int old = call(102, 1, (int)arguments, 0);
    int bind[3] = {old, (int)address, 16};
    told[1] = call(102, 2, (int)bind, 0) == -98 ? 'y' : 'n';
    call(4, 1, (int)told, 2);
    call(3, 0, (int)told, 1);
    call(1, 0, 0, 0);
}
"#;

/// A static program of 32 bits: no C library is linked, so that none of 32 bits has to be there.
fn compile_i386(folder: &Path) -> Result<String> {
    let (source, program) = (folder.join("bind32.c"), folder.join("bind32"));
    fs::write(&source, I386)?;
    let status = Command::new("gcc")
        .args(["-m32", "-O1", "-static", "-nostdlib", "-ffreestanding"])
        .args(["-fno-pic", "-no-pie", "-fno-stack-protector"])
        .arg(format!("-DPORT_HIGH={}", PORT >> 8))
        .arg(format!("-DPORT_LOW={}", PORT & 0xff))
        .arg("-o")
        .args([&program, &source])
        .status()
        .context("`gcc` does not start")?;
    ensure!(status.success(), "gcc: {status}");
    let program = program.to_str().context("not UTF-8")?;
    Ok(program.to_owned())
}

#[test]
fn a_program_of_32_bits() -> Result<()> {
    let Some(stage) = Stage::set()? else {
        return Ok(());
    };
    let folder = tempfile::tempdir()?;
    let program = compile_i386(folder.path())?;
    let mut tracer = Tracer::start(&stage.netns, &[])?;
    let mut holder = Puppet::start(&stage.netns, "made-holder")?;
    holder.listener("l", "tcp4", &[], &format!("0.0.0.0:{PORT}"))?;
    let mut child = stage
        .netns
        .command(&program)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut told = [0; 2];
    let stdout = child.stdout.as_mut().context("no stdout")?;
    stdout.read_exact(&mut told)?;
    ensure!(told == *b"yy", "the kernel let it bind: {told:?}");
    fence(&stage, &mut tracer)?;
    let pid = child.id();
    drop(child.stdin.take());
    ensure!(child.wait()?.success(), "it failed");
    judge(
        &tracer.finish()?,
        pid,
        &["bind", "bind"],
        "of 32-bit processes",
        &holder,
    )
}

/// A socket that the kernel opens for itself: the end of a VXLAN tunnel, which has its port for every
/// address. As the holder it has no process; as the binder it is seen in the process that brings the
/// tunnel up.
#[test]
fn a_socket_of_the_kernel() -> Result<()> {
    let Some(stage) = Stage::set()? else {
        return Ok(());
    };
    let mut tracer = Tracer::start(&stage.netns, &[])?;
    let mut user = Puppet::start(&stage.netns, "made-holder")?;
    user.open("u", "udp4", &[])?;
    user.tell(&format!("bind u 0.0.0.0:{PORT}"))?;
    let port = PORT.to_string();
    let add = [
        "link", "add", "tunnel", "type", "vxlan", "id", "7", "dstport", &port,
    ];
    stage
        .netns
        .run("ip", &[add.as_slice(), &["local", "127.0.0.1"]].concat())?;
    let up = stage.netns.run("ip", &["link", "set", "tunnel", "up"]);
    ensure!(up.is_err(), "the tunnel came up");
    fence(&stage, &mut tracer)?;
    user.tell("close u")?;
    stage.netns.run("ip", &["link", "set", "tunnel", "up"])?;
    let mut binder = Puppet::start(&stage.netns, "made-binder")?;
    let answer = binder.try_bind("b", "udp4", &[], &format!("0.0.0.0:{PORT}"))?;
    ensure!(answer.is_err(), "two sockets on one port");
    let event = tracer.wait_for(
        "a kernel's socket",
        portwatch_tests::wait::PATIENCE,
        |event| {
            event
                .conflict()
                .is_some_and(|told| told.requester.pid == binder.pid())
        },
    )?;
    let held = event.conflict().and_then(|told| told.holders.first());
    ensure!(
        held.is_some_and(|held| held.kind == "kernel" && held.blocking),
        "{:#}",
        event.raw
    );
    let trace = tracer.finish()?;
    let of_ip = trace
        .conflicts()
        .into_iter()
        .find(|told| told.requester.comm == "ip");
    let pid = of_ip.map_or(0, |told| told.requester.pid);
    judge(&trace, pid, &["bind"], "kernel's own sockets", &user)
}

/// The port belongs to the subflow, the process to the socket above it. A system call ends here, so
/// every backend tells it, once.
#[test]
fn a_subflow_of_mptcp() -> Result<()> {
    let Some(stage) = Stage::set()? else {
        return Ok(());
    };
    let mut tracer = Tracer::start(&stage.netns, &[])?;
    let address = format!("{HERE}:{PORT}");
    let mut holder = Puppet::start(&stage.netns, "made-holder")?;
    holder.listener("l", "mptcp4", &[], &address)?;
    let mut binder = Puppet::start(&stage.netns, "made-binder")?;
    let answer = binder.try_bind("b", "mptcp4", &[], &address)?;
    ensure!(answer.is_err(), "two listeners on one port");
    tracer.wait_conflict(PORT)?;
    let trace = tracer.finish()?;
    trace.check(true)?;
    let all = trace.conflicts();
    let [conflict] = all.as_slice() else {
        bail!("{all:#?}");
    };
    let named = conflict
        .holders
        .iter()
        .flat_map(|held| &held.processes)
        .any(|process| process.pid == holder.pid());
    ensure!(
        named && conflict.requester.pid == binder.pid() && conflict.certainty == "exact",
        "{conflict:#?}"
    );
    Ok(())
}
