//! Where a test plays: its own namespace, one of two slots, and a loud word when it cannot run.

use std::io::{self, Write};
use std::path::Path;
use std::sync::{Condvar, Mutex, PoisonError};

use anyhow::Result;
use rustix::process::geteuid;

use crate::netns::NetNs;

/// The port of the founding case; it lies in the default range.
pub const PORT: u16 = 60001;
/// The host's own address of the founding case.
pub const HERE: &str = "10.10.10.1";
/// The address of the peer.
pub const THERE: &str = "10.10.10.2";

const SLOTS: usize = 2;
static TAKEN: Mutex<usize> = Mutex::new(0);
static FREED: Condvar = Condvar::new();

/// A namespace with the founding case's two addresses.
#[derive(Debug)]
pub struct Stage {
    /// Where everything of this test happens.
    pub netns: NetNs,
    _slot: Slot,
}

impl Stage {
    /// Sets the stage, or says `SKIPPED: <reason>` and returns `None`.
    ///
    /// At most two stages exist at a time, however many threads the test runner has.
    pub fn set() -> Result<Option<Self>> {
        let stage = Self::bare()?;
        if let Some(stage) = &stage {
            for address in [HERE, THERE] {
                stage.netns.add_address(&format!("{address}/32"))?;
            }
        }
        Ok(stage)
    }

    /// The same without the two addresses.
    pub fn bare() -> Result<Option<Self>> {
        Self::on(Slot::take)
    }

    /// The same, bare, while no other stage exists: for what every tracer of the machine tells.
    pub fn alone() -> Result<Option<Self>> {
        Self::on(Slot::take_all)
    }

    fn on(slot: impl FnOnce() -> Slot) -> Result<Option<Self>> {
        if let Some(reason) = hindrance() {
            // Not a print macro: the test runner hides those of tests that pass.
            writeln!(io::stderr(), "SKIPPED: {reason}")?;
            return Ok(None);
        }
        let slot = slot();
        let netns = NetNs::new()?;
        Ok(Some(Self { netns, _slot: slot }))
    }
}

fn hindrance() -> Option<&'static str> {
    if !geteuid().is_root() {
        return Some("not root: network namespaces and BPF need it");
    }
    if !Path::new("/sys/kernel/btf/vmlinux").exists() {
        return Some("this kernel has no BTF, so no tracer runs on it");
    }
    None
}

/// Says `SKIPPED` for a test whose program is not installed.
pub fn skip_without(program: &str) -> Result<()> {
    writeln!(
        io::stderr(),
        "SKIPPED: `{program}` is missing; `cargo run -p portwatch-tests --bin install-programs` installs it"
    )?;
    Ok(())
}

/// So many of the slots.
#[derive(Debug)]
struct Slot(usize);

impl Slot {
    fn take() -> Self {
        Self::take_several(1)
    }

    fn take_all() -> Self {
        Self::take_several(SLOTS)
    }

    fn take_several(wanted: usize) -> Self {
        let mut taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
        while *taken + wanted > SLOTS {
            taken = FREED.wait(taken).unwrap_or_else(PoisonError::into_inner);
        }
        *taken += wanted;
        Self(wanted)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        *TAKEN.lock().unwrap_or_else(PoisonError::into_inner) -= self.0;
        FREED.notify_all();
    }
}
