//! What identifies things inside the pipeline: never a bare number.

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

/// Thread-group id (what users call a pid) in the initial pid namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Tgid(pub u32);

/// Id of one thread in the initial pid namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Tid(pub u32);

/// Inode number of a network namespace, as `readlink /proc/PID/ns/net` shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct NetnsId(pub u32);

impl NetnsId {
    /// No namespace has it: which one it is, is not known.
    pub const UNKNOWN: Self = Self(0);
}

/// CLOCK_BOOTTIME, nanoseconds since boot. The only time inside the pipeline.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
pub struct Ktime(pub u64);

impl Ktime {
    /// Nanoseconds since `earlier`; 0 if that lies ahead (records of two rings have no order).
    #[must_use]
    pub fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// A thread name as the kernel keeps it: at most 15 bytes, any bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Comm(SmallVec<[u8; 16]>);

impl From<&[u8]> for Comm {
    fn from(name: &[u8]) -> Self {
        Self(SmallVec::from_slice(name))
    }
}

impl Comm {
    /// The bytes of the name.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// The name with invalid UTF-8 replaced; control characters are left for the sink to escape.
    #[must_use]
    pub fn lossy(&self) -> String {
        String::from_utf8_lossy(&self.0).into_owned()
    }
}
