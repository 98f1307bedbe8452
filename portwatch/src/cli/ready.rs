//! `--ready-fd`: tells whoever started us that nothing is missed from now on.

use anyhow::{Context as _, Result};
use std::fs::File;
use std::io::Write as _;
use std::os::fd::{FromRawFd as _, OwnedFd, RawFd};
use std::path::Path;

/// The descriptor that was given to us, taken as soon as the command line is read.
#[derive(Debug)]
pub(super) struct Ready(Option<File>);

impl Ready {
    /// Takes the descriptor over.
    ///
    /// # Errors
    /// It is not open.
    pub(super) fn take(fd: Option<RawFd>) -> Result<Self> {
        let Some(fd) = fd else {
            return Ok(Self(None));
        };
        let here = Path::new("/proc/self/fd").join(fd.to_string());
        anyhow::ensure!(
            here.symlink_metadata().is_ok(),
            "--ready-fd {fd}: no such descriptor is open; start portwatch with it, e.g. `{fd}>ready`"
        );
        // SAFETY: it is open, it was given to us by number, and it is above the three standard ones,
        // so nothing else in this program owns it: this runs before anything is opened.
        let owned = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Self(Some(File::from(owned))))
    }

    /// Writes `ready` and closes it.
    ///
    /// # Errors
    /// It cannot be written to.
    pub(super) fn tell(&mut self) -> Result<()> {
        if let Some(mut file) = self.0.take() {
            file.write_all(b"ready\n")
                .context("--ready-fd cannot be written to")?;
        }
        Ok(())
    }
}
