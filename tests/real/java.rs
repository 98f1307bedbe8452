//! Java as holder and as binder: its threads have names of their own, the process is `java`.

use anyhow::{Context, Result, ensure};
use portwatch_tests::program::Program;
use portwatch_tests::puppet::Puppet;
use portwatch_tests::sockets::Transport;
use portwatch_tests::stage::PORT;
use portwatch_tests::tracer::Tracer;

use crate::python::http_server;
use crate::scene::{Binder, Holding, Scene, against_made, verdict, wait_rows};

const NEEDS: [&str; 2] = ["/usr/bin/java", "/usr/bin/javac"];

const HOLD: &str = r#"
public class Hold {
    public static void main(String[] arguments) throws Exception {
        Thread thread = new Thread(() -> {
            try (java.net.Socket socket = new java.net.Socket("10.10.10.2", 7000)) {
                Thread.sleep(600_000);
            } catch (Exception error) {
                error.printStackTrace();
            }
        }, "nioEventLoop-1");
        thread.start();
        thread.join();
    }
}
"#;

const BIND: &str = r#"
public class Bind {
    public static void main(String[] arguments) throws Exception {
        new java.net.ServerSocket(60001).accept();
    }
}
"#;

fn java(scene: &Scene, class: &str, source: &str) -> Result<std::process::Command> {
    let name = format!("{class}.java");
    scene.write(&name, source)?;
    let mut command = scene.command("/usr/bin/java");
    command.args(["-XX:TieredStopAtLevel=1", "-Xmx64m", &name]);
    Ok(command)
}

#[test]
fn a_java_thread_binds() -> Result<()> {
    let Some(scene) = Scene::set(&NEEDS)? else {
        return Ok(());
    };
    let command = java(&scene, "Bind", BIND)?;
    against_made(
        &scene,
        Binder::new(command, "java", "Address already in use"),
    )
}

#[test]
fn a_java_thread_holds() -> Result<()> {
    let Some(scene) = Scene::set(&NEEDS)? else {
        return Ok(());
    };
    let early = Tracer::start(scene.netns(), &[])?;
    let mut service = Puppet::start(scene.netns(), "made-service")?;
    service.listener("l", "tcp4", &[], "10.10.10.2:7000")?;
    let pinned = scene.netns().pin(PORT)?;
    let java = Program::start(java(&scene, "Hold", HOLD)?)?;
    let rows = wait_rows(scene.netns(), Transport::Tcp, "established")?;
    drop(pinned);
    let holding = Holding::found(&rows)?;
    ensure!(
        (holding.pid, holding.comm.as_str()) == (java.pid(), "java"),
        "not java's"
    );
    verdict(early, http_server(&scene, PORT), &holding).context("the tracer came first")?;
    let late = Tracer::start(scene.netns(), &[])?;
    verdict(late, http_server(&scene, PORT), &holding.late()).context("java came first")
}
