//! A guest: what makes its image is installed where it is missing, QEMU is run and listened to.

use std::{
    env,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};

use super::{guest, kernel::Kernel, qemu::Qemu};
use crate::{
    debian, machine,
    report::Report,
    step::{Step, say},
};

/// Program and package of what makes an image.
const TOOLS: [(&str, &str); 4] = [
    ("cpio", "cpio"),
    ("depmod", "kmod"),
    ("xz", "xz-utils"),
    ("busybox", "busybox-static"),
];

/// How long a guest may run, all backends together.
const LIMIT: Duration = Duration::from_secs(3 * 3600);

/// Why no guest can be made here.
pub(super) fn hindrance() -> Option<&'static str> {
    if env::consts::ARCH != "x86_64" {
        return Some("the host's programs run in the guest, whose processor is an x86-64");
    }
    if !machine::has("apt-get") {
        return Some("no apt-get here, and the kernels are Debian's packages");
    }
    None
}

/// Installs what is missing.
pub(super) fn install() -> Result<()> {
    let missing: Vec<&str> = TOOLS
        .into_iter()
        .filter(|(program, _)| !machine::has_with_sbin(program))
        .map(|(_, package)| package)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    debian::apt_get("fetch the package lists", &["update"])?;
    debian::apt_install("install what makes images for QEMU", &missing)
}

/// Runs a guest to its end; its console is shown as it comes, and kept.
pub(super) fn boot(qemu: &Qemu, kernel: &Kernel, image: &Path, report: &mut Report) -> Result<()> {
    let log = super::folder()
        .join(kernel.series.name())
        .join("serial.log");
    let mut qemu = qemu.command()?;
    // One thread for both processors: with two, one may run into an int3 that the other has just
    // taken out of the kernel's text (a tracepoint's switch), and the guest panics.
    qemu.args(["-M", "q35", "-accel", "tcg,thread=single", "-cpu", "max"])
        .args(["-smp", "2", "-m", "3G"])
        .args(["-nodefaults", "-no-user-config", "-display", "none"])
        .arg("-no-reboot")
        .arg("-chardev")
        .arg(format!("stdio,id=console,logfile={}", log.display()))
        .args(["-serial", "chardev:console"])
        .args(["-virtfs", guest::SHARE])
        .arg("-kernel")
        .arg(kernel.image())
        .arg("-initrd")
        .arg(image)
        .args(["-append", guest::COMMAND_LINE]);
    let mut listener = Listener::default();
    let start = Instant::now();
    let ended = Step::new(
        format!(
            "boot Linux {} in an emulated machine ({})",
            kernel.release,
            log.display()
        ),
        qemu,
    )
    .fix(format!("read {}", log.display()))
    .prefix(format!("{} | ", kernel.series.name()))
    .limit(LIMIT)
    .watched(|line| {
        let line = line.trim_end();
        listener.read(line);
        report.read(line);
    });
    say(format_args!(
        "Linux {}: {} after {} s",
        kernel.release,
        listener.told(),
        start.elapsed().as_secs()
    ));
    ended?;
    listener.judge(&log)
}

/// What the guest's console told.
#[derive(Debug, Default)]
struct Listener {
    parts: Vec<(String, i32)>,
    done: bool,
}

impl Listener {
    fn read(&mut self, line: &str) {
        let Some(told) = line.strip_prefix(guest::MARK) else {
            return;
        };
        match told.trim().rsplit_once(" status ") {
            Some((part, status)) => self
                .parts
                .push((part.to_owned(), status.parse().unwrap_or(-1))),
            None => self.done |= told.trim() == "done",
        }
    }

    fn told(&self) -> String {
        let parts: Vec<String> = self
            .parts
            .iter()
            .map(|(part, status)| match status {
                0 => format!("{part} passed"),
                status => format!("{part} FAILED ({status})"),
            })
            .collect();
        if parts.is_empty() {
            return "nothing was run".to_owned();
        }
        parts.join(", ")
    }

    fn judge(&self, log: &Path) -> Result<()> {
        if !self.done || self.parts.is_empty() {
            bail!(
                "the guest ended before its tests did; its last words are in {}",
                log.display()
            );
        }
        if self.parts.iter().any(|(_, status)| *status != 0) {
            bail!("{}; see {}", self.told(), log.display());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Listener, guest};
    use std::path::Path;

    fn heard(lines: &[&str]) -> Listener {
        let mut listener = Listener::default();
        for line in lines {
            listener.read(line);
        }
        listener
    }

    #[test]
    fn a_guest_that_dies_has_failed() {
        let passed = format!("{}kernel suite, tracepoint status 0", guest::MARK);
        let done = format!("{}done", guest::MARK);
        assert!(heard(&[&passed]).judge(Path::new("log")).is_err());
        assert!(heard(&[&done]).judge(Path::new("log")).is_err());
        assert!(heard(&[&passed, &done]).judge(Path::new("log")).is_ok());
    }

    #[test]
    fn a_failed_part_is_named() {
        let failed = format!("{}kernel suite, kprobe status 101", guest::MARK);
        let done = format!("{}done", guest::MARK);
        let error = heard(&[&failed, &done])
            .judge(Path::new("log"))
            .unwrap_err();
        assert!(
            error
                .to_string()
                .contains("kernel suite, kprobe FAILED (101)"),
            "{error}"
        );
    }
}
