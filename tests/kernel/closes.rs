//! Who closed a socket is not who had it: the kernel runs the last close in whatever process drops
//! the last reference, a tracer's own iterator over all descriptors included.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use anyhow::{Context, Result, anyhow, ensure};
use portwatch_tests::puppet::Puppet;
use portwatch_tests::stage::Stage;
use portwatch_tests::tracer::Tracer;

const CONNECTIONS: usize = 900;
const SERVICE: &str = "10.10.10.2:7000";

/// Connections older than the tracer are closed while conflicts make it look through all
/// descriptors again and again; then somebody wants each port that is left in TIME_WAIT.
#[test]
fn a_close_during_a_scan_is_not_the_scanners() -> Result<()> {
    let Some(stage) = Stage::set()? else {
        return Ok(());
    };
    let mut server = Puppet::start(&stage.netns, "made-server")?;
    server.listener("l", "tcp4", &[], SERVICE)?;
    let mut client = Puppet::start(&stage.netns, "made-client")?;
    let mut ports = Vec::new();
    for number in 0..CONNECTIONS {
        client.open(&format!("c{number}"), "tcp4", &[])?;
        let local = client.tell_address(&format!("connect c{number} {SERVICE}"))?;
        server.tell(&format!("accept l a{number}"))?;
        ports.push(local.port());
    }
    let mut tracer = Tracer::start(&stage.netns, &[])?;
    let mut churn = Puppet::start(&stage.netns, "made-churn")?;
    let done = AtomicBool::new(false);
    thread::scope(|scope| -> Result<()> {
        let failing = scope.spawn(|| -> Result<()> {
            while !done.load(Ordering::Relaxed) {
                // A holder never seen before: its processes have to be looked for. The last one may
                // still have the port: any tracer's scan that shows a socket delays its close.
                let address = "127.0.0.1:7500";
                if churn.try_bind("h", "tcp4", &[], address)?.is_err() {
                    churn.tell("close h")?;
                    continue;
                }
                churn.tell_address("listen h 64")?;
                let answer = churn.try_bind("b", "tcp4", &[], address)?;
                ensure!(answer.is_err(), "two listeners on one port");
                churn.tell("close b")?;
                churn.tell("close h")?;
            }
            Ok(())
        });
        let closing = (0..CONNECTIONS).try_for_each(|number| {
            client.tell(&format!("close c{number}"))?;
            // The close may be late: a scan has the file at that moment.
            server.tell(&format!("recv a{number}"))?;
            server.tell(&format!("close a{number}")).map(drop)
        });
        done.store(true, Ordering::Relaxed);
        failing
            .join()
            .map_err(|_| anyhow!("the binder's thread panicked"))??;
        closing
    })?;
    let mut late = Puppet::start(&stage.netns, "late-binder")?;
    let mut wrong = Vec::new();
    for port in ports {
        let address = format!("0.0.0.0:{port}");
        let answer = late.try_bind("b", "tcp4", &["reuseaddr"], &address)?;
        if answer.is_ok() {
            // A few lose their TIME_WAIT to a reset when both ends close at once.
            late.tell("close b")?;
            continue;
        }
        let event = tracer.wait_conflict(port)?;
        let conflict = event.conflict().context("no conflict")?;
        for process in conflict.holders.iter().flat_map(|holder| &holder.processes) {
            if process.pid != client.pid() {
                wrong.push(format!("{port}: {} (pid {})", process.comm, process.pid));
            }
        }
    }
    tracer.finish()?;
    ensure!(
        wrong.is_empty(),
        "not {} (pid {}): {wrong:#?}",
        client.comm(),
        client.pid()
    );
    Ok(())
}
