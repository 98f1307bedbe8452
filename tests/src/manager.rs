//! A real systemd that runs units of a test's own: the machine's, where it is the first process, or
//! else one in namespaces of its own, as in a container.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::cgroup::Cgroup;
use crate::netns::NetNs;
use crate::program::Program;
use crate::wait::{self, PATIENCE};

/// Where a manager looks for units that nobody installed.
const UNITS: &str = "/run/systemd/system";

/// What becomes the first process of a container. Nothing of the machine can be changed from there but
/// its own cgroup; `$0` is the folder of the units.
const INIT: &str = "set -e
mount -t tmpfs tmpfs /run
mkdir -p /run/systemd/system
mount --bind \"$0\" /run/systemd/system
mount -t proc proc /proc
mount --bind /proc/sys /proc/sys
mount -o remount,bind,ro /proc/sys
mount -t sysfs -o ro sysfs /sys
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t tmpfs tmpfs /tmp
exec env -i container=portwatch NOTIFY_SOCKET=/run/systemd/system/ready PATH=/usr/sbin:/usr/bin:/sbin:/bin \
    /lib/systemd/systemd --system --unit=pw-scene.target --log-target=console --show-status=no
";

/// Where a container begins.
const TARGET: &str = "[Unit]\nDefaultDependencies=no\n";

/// Who runs the units.
#[derive(Debug)]
pub struct Manager {
    folder: PathBuf,
    units: Vec<String>,
    place: String,
    container: Option<Container>,
}

/// Dropped in this order: first the processes, then what they were in.
#[derive(Debug)]
struct Container {
    pid: u32,
    _program: Program,
    _cgroup: Cgroup,
    folder: TempDir,
}

impl Manager {
    /// The machine's own manager, or one that is made; what its units open is in `netns`.
    pub fn of(netns: &NetNs) -> Result<Self> {
        if fs::read_to_string("/proc/1/comm")?.trim_end() == "systemd" {
            fs::create_dir_all(UNITS)?;
            return Ok(Self {
                folder: UNITS.into(),
                units: Vec::new(),
                place: format!("NetworkNamespacePath={}\n", netns.path().display()),
                container: None,
            });
        }
        let container = Container::start(netns)?;
        Ok(Self {
            folder: container.folder.path().to_owned(),
            units: Vec::new(),
            place: String::new(),
            container: Some(container),
        })
    }

    /// The manager's process, where it is not the machine's first.
    #[must_use]
    pub fn container(&self) -> Option<u32> {
        self.container.as_ref().map(|container| container.pid)
    }

    /// Writes a unit; `text` is of its own section.
    pub fn unit(&mut self, name: &str, section: &str, text: &str) -> Result<()> {
        let place = &self.place;
        let whole = format!("[Unit]\nDefaultDependencies=no\n[{section}]\n{place}{text}");
        fs::write(self.folder.join(name), whole)?;
        self.units.push(name.to_owned());
        self.systemctl(&["daemon-reload"]).map(drop)
    }

    /// `systemctl`, where the manager is.
    pub fn systemctl(&self, arguments: &[&str]) -> Result<String> {
        let output = systemctl(self.container(), arguments)?;
        ensure!(
            output.status.success(),
            "systemctl {arguments:?}: {output:?}"
        );
        Ok(String::from_utf8(output.stdout)?)
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        if self.container.is_some() {
            return;
        }
        let units: Vec<&str> = self.units.iter().map(String::as_str).collect();
        let stopped = self.systemctl(&[&["stop"], units.as_slice()].concat());
        for unit in &units {
            let _ = fs::remove_file(Path::new(UNITS).join(unit));
        }
        if let Err(error) = stopped.and_then(|_| self.systemctl(&["daemon-reload"])) {
            eprintln!("the units {units:?} may be left: {error:#}");
        }
    }
}

impl Container {
    fn start(netns: &NetNs) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        fs::write(folder.path().join("pw-scene.target"), TARGET)?;
        let ready = UnixDatagram::bind(folder.path().join("ready"))?;
        ready.set_read_timeout(Some(wait::patient(PATIENCE)))?;
        let cgroup = Cgroup::new()?;
        let path = folder.path().to_str().context("a path that is not UTF-8")?;
        let unshare = "exec unshare --mount --pid --fork --kill-child --cgroup --uts --ipc \
                       --propagation private -- sh -c \"$0\" \"$1\"";
        let mut command = netns.command("sh");
        command.args(["-c", &format!("{}; {unshare}", cgroup.join()), INIT, path]);
        let program = Program::start(command)?;
        let mut told = [0; 4096];
        loop {
            let length = ready.recv(&mut told).with_context(|| program.output())?;
            let told = String::from_utf8_lossy(&told[..length]);
            if told.lines().any(|line| line == "READY=1") {
                break;
            }
        }
        let children = format!("/proc/{0}/task/{0}/children", program.pid());
        let pid = fs::read_to_string(children)?.trim().parse()?;
        Ok(Self {
            pid,
            _program: program,
            _cgroup: cgroup,
            folder,
        })
    }
}

fn systemctl(container: Option<u32>, arguments: &[&str]) -> Result<Output> {
    let mut command = match container {
        Some(pid) => {
            let mut enter = Command::new("nsenter");
            enter.args(["--target", &pid.to_string(), "--all", "systemctl"]);
            enter
        }
        None => Command::new("systemctl"),
    };
    Ok(command.args(arguments).output()?)
}
