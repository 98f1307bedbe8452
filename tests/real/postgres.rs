//! PostgreSQL as binder, psql's connection to it as holder.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use portwatch_tests::program::Program;
use portwatch_tests::sockets::Transport;
use portwatch_tests::stage::PORT;
use portwatch_tests::tracer::Tracer;

use crate::scene::{Binder, Holding, PATIENCE, Scene, against_made, file, verdict, wait_rows};
use crate::servers::node_server;

pub(crate) const POSTGRES: &str = "/usr/lib/postgresql/*/bin/postgres";
pub(crate) const INITDB: &str = "/usr/lib/postgresql/*/bin/initdb";
const PSQL: &str = "/usr/lib/postgresql/*/bin/psql";

/// A fresh cluster, and the command that serves it; PostgreSQL refuses to run as root.
pub(crate) fn server(scene: &Scene, port: &str) -> Result<Command> {
    let data = scene.path("data")?;
    let owner = ["-d", "-o", "postgres", "-g", "postgres", "-m", "700", &data];
    scene.netns().run("install", &owner)?;
    let mut initdb = scene.command_as("postgres", &file(INITDB)?);
    initdb.args([
        "--auth=trust",
        "--no-sync",
        "--encoding=UTF8",
        "--locale=C",
        &data,
    ]);
    let mut initdb = Program::start(initdb)?;
    let status = initdb.wait_exit(PATIENCE)?;
    ensure!(status.success(), "initdb failed:\n{}", initdb.output());
    let mut command = scene.command_as("postgres", &file(POSTGRES)?);
    command.args(["-D", &data, "-p", port, "-k", &data, "-F"]);
    command.args(["-c", "listen_addresses=0.0.0.0"]);
    Ok(command)
}

#[test]
fn postgresql() -> Result<()> {
    let Some(scene) = Scene::set(&[POSTGRES, INITDB])? else {
        return Ok(());
    };
    let command = server(&scene, "60001")?;
    against_made(
        &scene,
        Binder::new(command, "postgres", "Address already in use"),
    )
}

#[test]
fn the_connection_of_psql_holds() -> Result<()> {
    let Some(scene) = Scene::set(&[POSTGRES, INITDB, PSQL, "/usr/bin/node"])? else {
        return Ok(());
    };
    let early = Tracer::start(scene.netns(), &[])?;
    let mut postgres = Program::start(server(&scene, "5432")?)?;
    postgres.wait_output("ready to accept connections", PATIENCE)?;
    let mut command = scene.command(&file(PSQL)?);
    command.args([
        "-h",
        "127.0.0.1",
        "-U",
        "postgres",
        "-c",
        "select pg_sleep(600)",
    ]);
    let pinned = scene.netns().pin(PORT)?;
    let psql = Program::start(command)?;
    let rows = wait_rows(scene.netns(), Transport::Tcp, "established")?;
    drop(pinned);
    let holding = Holding::found(&rows)?;
    ensure!(
        (holding.pid, holding.comm.as_str()) == (psql.pid(), "psql"),
        "not psql's"
    );
    verdict(early, node_server(&scene), &holding).context("the tracer came first")?;
    let late = Tracer::start(scene.netns(), &[])?;
    verdict(late, node_server(&scene), &holding.late()).context("psql came first")
}
