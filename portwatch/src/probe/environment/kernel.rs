//! The running kernel: its release, and what it withholds.

use std::fmt;

/// `uname -r`, and the version in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelRelease {
    text: String,
    version: (u32, u32),
}

impl KernelRelease {
    /// That of the running kernel.
    #[must_use]
    pub fn running() -> Self {
        let release = nix::sys::utsname::uname()
            .map(|name| name.release().to_string_lossy().into_owned())
            .unwrap_or_default();
        Self::parse(&release)
    }

    /// Reads `6.1.0-28-amd64`. What has no version in front counts as 0.0, older than all.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let number = |part: Option<&str>| {
            let part = part.unwrap_or_default();
            let end = part
                .find(|digit: char| !digit.is_ascii_digit())
                .unwrap_or(part.len());
            part.get(..end)
                .unwrap_or_default()
                .parse::<u32>()
                .unwrap_or(0)
        };
        let mut parts = text.trim().split('.');
        let version = (number(parts.next()), number(parts.next()));
        Self {
            text: text.trim().to_owned(),
            version,
        }
    }

    /// As `uname -r` shows it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Major and minor version. Distributions port features back: prefer asking for the feature.
    #[must_use]
    pub fn version(&self) -> (u32, u32) {
        self.version
    }

    /// Older than this version.
    #[must_use]
    pub fn before(&self, major: u32, minor: u32) -> bool {
        self.version < (major, minor)
    }
}

impl fmt::Display for KernelRelease {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.text)
    }
}

/// What the kernel withholds from root (kernel_lockdown.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lockdown {
    /// Nothing.
    None,
    /// Changes to the running kernel; tracing programs may still read.
    Integrity,
    /// Its memory too: programs may not read sockets, so no walk is possible.
    Confidentiality,
}

impl Lockdown {
    /// Reads `none [integrity] confidentiality`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (_, rest) = text.split_once('[')?;
        match rest.split_once(']')?.0 {
            "none" => Some(Self::None),
            "integrity" => Some(Self::Integrity),
            "confidentiality" => Some(Self::Confidentiality),
            _ => None,
        }
    }
}
