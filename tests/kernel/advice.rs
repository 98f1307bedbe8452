//! Advice that works as printed.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use portwatch_tests::make;
use portwatch_tests::puppet::Puppet;
use portwatch_tests::stage::{PORT, Stage};
use portwatch_tests::tracer::{self, Tracer};

use crate::play::refused;

const RESERVED: &str = "net/ipv4/ip_local_reserved_ports";

/// The printed command, run as it stands on the host, reserves the port in the namespace of the
/// conflict, keeps what is reserved there, and leaves the host alone.
#[test]
fn the_command_reserves_the_port_where_the_conflict_was() -> Result<()> {
    let Some(stage) = Stage::set()? else {
        return Ok(());
    };
    stage.netns.sysctl(RESERVED, "7000-7001,8080")?;
    let host = format!("/proc/sys/{RESERVED}");
    let before = fs::read_to_string(&host)?;
    let mut tracer = Tracer::start(&stage.netns, &[])?;
    let _made = make::established(&stage.netns)?;
    let mut binder = Puppet::start(&stage.netns, "made-binder")?;
    refused(&mut binder, "tcp4")?;
    let event = tracer.wait_conflict(PORT)?;
    let advice = &event.conflict().context("no conflict")?.advice;
    let command = advice
        .iter()
        .filter_map(|advice| advice.command.as_deref())
        .find(|command| command.contains("ip_local_reserved_ports"))
        .with_context(|| format!("no command that reserves: {advice:#?}"))?;
    // Without it the command would act on the host: it is not even tried.
    ensure!(
        command.starts_with("nsenter"),
        "not in the namespace: {command}"
    );
    let output = Command::new("sh").args(["-c", command]).output()?;
    ensure!(output.status.success(), "{command}: {output:?}");
    let there = stage.netns.run("cat", &[&host])?;
    ensure!(
        there.trim() == "7000-7001,8080,60001",
        "{command} made it `{}`",
        there.trim()
    );
    ensure!(
        fs::read_to_string(&host)? == before,
        "{command} changed the host"
    );
    tracer.finish()?.check(true)
}

/// Every command of the page about causes runs as it stands, while a holder of its port is there.
#[test]
fn the_commands_of_the_page_run() -> Result<()> {
    let Some(stage) = Stage::set()? else {
        return Ok(());
    };
    let page = tracer::output(&["generate", "causes"])?;
    ensure!(page.status.success(), "{page:?}");
    let page = String::from_utf8(page.stdout)?;
    let _made = make::established(&stage.netns)?;
    let mut commands: Vec<&str> = page
        .split("```sh\n")
        .skip(1)
        .filter_map(|block| block.split("```").next())
        .flat_map(str::lines)
        .collect();
    commands.sort_unstable();
    commands.dedup();
    ensure!(commands.len() > 4, "{commands:?}");
    for command in commands {
        let said = stage.netns.run("sh", &["-c", command])?;
        if command == "ss -tanp 'sport = :60001'" {
            ensure!(said.contains("10.10.10.2:7000"), "{said}");
        }
    }
    Ok(())
}
