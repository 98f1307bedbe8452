use super::*;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

fn places(root: &Path) -> Places {
    Places {
        docker: vec![root.join("none.sock"), root.join("docker.sock")],
        podman: vec![root.join("podman.sock")],
        crio: vec![root.join("crio.sock")],
        containerd: root.join("bundles"),
    }
}

/// An engine that answers each question with the next of `answers`; it tells what it was asked.
fn engine(socket: &Path, answers: Receiver<String>) -> Receiver<String> {
    let listener = UnixListener::bind(socket).unwrap();
    let (asked, questions): (Sender<String>, _) = channel();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut line = String::new();
            BufReader::new(stream.try_clone().unwrap())
                .read_line(&mut line)
                .unwrap();
            let _ = asked.send(line.trim_end().to_owned());
            let Ok(answer) = answers.recv() else { return };
            stream.write_all(answer.as_bytes()).unwrap();
        }
    });
    questions
}

fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{body}")
}

#[test]
fn docker_names_a_container_once() {
    let dir = tempfile::tempdir().unwrap();
    let (answer, answers) = channel();
    let asked = engine(&dir.path().join("docker.sock"), answers);
    answer.send(ok(r#"{"Id":"x","Name":"/web"}"#)).unwrap();
    let mut engines = Engines::at(places(dir.path()));
    let name = loop {
        // The machine may be slower than our patience.
        engines.slow_since = None;
        if let Some(name) = engines.name(ID, Some("docker")) {
            break name;
        }
    };
    assert_eq!(name, "web");
    assert_eq!(engines.name(ID, Some("docker")).as_deref(), Some("web"));
    let question = asked.recv().unwrap();
    assert_eq!(question, format!("GET /containers/{ID}/json HTTP/1.0"));
    assert!(asked.try_recv().is_err());
}

/// Nobody waits for an engine that does not answer; its answer serves later.
#[test]
fn an_engine_that_hangs_costs_a_moment_once() {
    let dir = tempfile::tempdir().unwrap();
    let (answer, answers) = channel();
    let asked = engine(&dir.path().join("docker.sock"), answers);
    let mut engines = Engines::at(places(dir.path()));
    assert_eq!(engines.name(ID, Some("docker")), None);
    assert!(engines.slow_since.is_some());
    // From now on without waiting, for any container.
    assert_eq!(engines.name("another", Some("docker")), None);
    asked.recv().unwrap();
    answer.send(ok(r#"{"Name":"/late"}"#)).unwrap();
    answer.send(ok("{}")).unwrap();
    let found = Arc::clone(&engines.found);
    let names = found.names.lock().unwrap();
    let names = found
        .news
        .wait_while(names, |names| !names.contains_key(ID))
        .unwrap();
    drop(names);
    assert_eq!(engines.name(ID, Some("docker")).as_deref(), Some("late"));
}

#[test]
fn what_is_no_answer_is_no_name() {
    for answer in [
        "HTTP/1.1 404 Not Found\r\n\r\n{\"Name\":\"/x\"}",
        "HTTP/1.1 200 OK\r\n\r\nnot json",
        "HTTP/1.1 200 OK\r\n\r\n{\"Name\":7}",
        "garbage",
        "",
    ] {
        let dir = tempfile::tempdir().unwrap();
        let (sender, answers) = channel();
        engine(&dir.path().join("docker.sock"), answers);
        sender.send(answer.to_owned()).unwrap();
        assert_eq!(
            places(dir.path()).name(ID, Some("docker")),
            None,
            "{answer}"
        );
    }
}

#[test]
fn each_engine_is_asked_its_own_way() {
    let dir = tempfile::tempdir().unwrap();
    for (socket, runtime, body) in [
        ("podman.sock", "podman", r#"{"Name":"db"}"#),
        ("crio.sock", "cri-o", r#"{"name":"k8s_web_pod"}"#),
    ] {
        let (sender, answers) = channel();
        engine(&dir.path().join(socket), answers);
        sender.send(ok(body)).unwrap();
        assert!(
            places(dir.path()).name(ID, Some(runtime)).is_some(),
            "{runtime}"
        );
    }
    let bundle = dir.path().join("bundles/k8s.io").join(ID);
    std::fs::create_dir_all(&bundle).unwrap();
    let notes = r#"{"annotations":{"io.kubernetes.cri.container-name":"web",
        "io.kubernetes.cri.sandbox-name":"web-7d4","io.kubernetes.cri.sandbox-namespace":"shop"}}"#;
    std::fs::write(bundle.join("config.json"), notes).unwrap();
    for runtime in [Some("containerd"), None] {
        let name = places(dir.path()).name(ID, runtime);
        assert_eq!(name.as_deref(), Some("shop/web-7d4/web"));
    }
    assert_eq!(places(dir.path()).name("none", Some("containerd")), None);
}
