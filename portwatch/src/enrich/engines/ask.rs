//! The questions themselves, each with its own time limit: for the thread that may wait.

use serde_json::Value;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long an engine may take to answer at all.
const PATIENCE: Duration = Duration::from_secs(2);

/// Longest answer that is read.
const ANSWER_MAX: u64 = 1 << 20;

/// Where engines answer.
#[derive(Clone, Debug)]
pub(super) struct Places {
    /// Docker's API.
    pub(super) docker: Vec<PathBuf>,
    /// Podman's API, which is Docker's.
    pub(super) podman: Vec<PathBuf>,
    /// CRI-O's own API.
    pub(super) crio: Vec<PathBuf>,
    /// Where containerd keeps bundles: NAMESPACE/ID/config.json.
    pub(super) containerd: PathBuf,
}

impl Places {
    pub(super) fn of_this_machine() -> Self {
        let paths = |list: &[&str]| list.iter().map(PathBuf::from).collect();
        Self {
            docker: paths(&["/run/docker.sock", "/var/run/docker.sock"]),
            podman: paths(&["/run/podman/podman.sock"]),
            crio: paths(&["/run/crio/crio.sock", "/var/run/crio/crio.sock"]),
            containerd: PathBuf::from("/run/containerd/io.containerd.runtime.v2.task"),
        }
    }

    /// The name of a container; `None` if nobody says it.
    pub(super) fn name(&self, id: &str, runtime: Option<&str>) -> Option<String> {
        let docker = || first(&self.docker, &format!("/containers/{id}/json"), "Name");
        let podman = || first(&self.podman, &format!("/containers/{id}/json"), "Name");
        let crio = || first(&self.crio, &format!("/containers/{id}"), "name");
        let containerd = || self.bundle(id);
        match runtime {
            Some("docker") => docker(),
            Some("podman") => podman(),
            Some("cri-o") => crio(),
            Some("containerd") => containerd(),
            Some(_) | None => containerd().or_else(docker).or_else(podman).or_else(crio),
        }
    }

    /// What containerd's CRI plugin and nerdctl write into the runtime's configuration.
    fn bundle(&self, id: &str) -> Option<String> {
        let namespaces = std::fs::read_dir(&self.containerd).ok()?;
        namespaces.flatten().find_map(|namespace| {
            let config = namespace.path().join(id).join("config.json");
            let config: Value = serde_json::from_slice(&read(&config).ok()?).ok()?;
            let notes = config.get("annotations")?;
            let note = |key: &str| notes.get(key)?.as_str();
            if let Some(name) = note("nerdctl/name") {
                return Some(name.to_owned());
            }
            let parts = [
                note("io.kubernetes.cri.sandbox-namespace"),
                note("io.kubernetes.cri.sandbox-name"),
                Some(note("io.kubernetes.cri.container-name")?),
            ];
            let parts: Vec<&str> = parts.into_iter().flatten().collect();
            Some(parts.join("/"))
        })
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    std::fs::File::open(path)?
        .take(ANSWER_MAX)
        .read_to_end(&mut text)?;
    Ok(text)
}

/// A member of the answer of the first engine that has one.
fn first(sockets: &[PathBuf], path: &str, member: &str) -> Option<String> {
    sockets.iter().find_map(|socket| {
        let answer = get(socket, path).ok()??;
        let answer: Value = serde_json::from_slice(&answer).ok()?;
        // Docker puts a slash before the name.
        let name = answer.get(member)?.as_str()?.trim_start_matches('/');
        (!name.is_empty()).then(|| name.to_owned())
    })
}

/// The body of an answer with status 200. HTTP/1.0, so that the end of the answer is that of the
/// connection.
fn get(socket: &Path, path: &str) -> io::Result<Option<Vec<u8>>> {
    let mut engine = UnixStream::connect(socket)?;
    engine.set_read_timeout(Some(PATIENCE))?;
    engine.set_write_timeout(Some(PATIENCE))?;
    engine.write_all(format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").as_bytes())?;
    let mut answer = Vec::new();
    engine.take(ANSWER_MAX).read_to_end(&mut answer)?;
    let found = answer
        .starts_with(b"HTTP/1.")
        .then(|| answer.windows(4).position(|bytes| bytes == b"\r\n\r\n"))
        .flatten()
        .filter(|_| answer.get(9..12) == Some(b"200"));
    Ok(found.and_then(|at| answer.get(at + 4..).map(<[u8]>::to_vec)))
}
