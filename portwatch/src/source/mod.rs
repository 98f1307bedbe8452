//! Where records come from. Live and replay meet right here, at the bytes.

pub mod live;
pub mod replay;
pub mod runs;

use bytes::Bytes;

/// One record as it was captured: bytes, nothing believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawRecord(Bytes);

impl RawRecord {
    /// A record's bytes, header first.
    #[must_use]
    pub fn new(bytes: Bytes) -> Self {
        Self(bytes)
    }

    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}
