//! The head of a file: what it is, and all that a reader has to know before the first block.

use super::block::checksum;
use super::compat;
use super::error::CaptureError;
use super::layout::{LAYOUTS_MAX, Layout};
use super::note::Begin;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

/// First bytes of a file: no text, and a copy that mangled line ends or the eighth bit shows.
pub(super) const MAGIC: [u8; 8] = *b"\x89PWC\r\n\x1a\n";

/// The format that is written.
pub(super) const VERSION: u16 = 1;

/// `1 2 3 4` in the byte order of the machine whose records these are.
const ORDER: u32 = 0x0403_0201;

/// Bytes before the header's body.
pub(super) const PRELUDE: usize = 28;

/// Bytes that a header's body has at most.
pub(super) const HEADER_MAX: usize = 32 << 20;

/// Words of [`CaptureHeader::redacted`]: addresses, and that their pseudonyms are from a key.
pub(super) const ADDRESS: &str = "address";
pub(super) const KEYED: &str = "address-key";

/// The header's body: a map in `MessagePack`, so that fields can be added.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CaptureHeader {
    /// The run that was captured: the same in every file of a rotation.
    pub run: String,
    /// The file's number in the rotation, from 0.
    pub part: u32,
    /// The number of its first block.
    pub first_block: u64,
    /// Name of the machine.
    pub host: String,
    /// Its architecture.
    pub arch: String,
    /// Version of the records ([`compat::ABI`]).
    pub abi: u32,
    /// How the records are packed.
    pub layouts: Vec<Layout>,
    /// Filters that kept records out (`--capture-filtered`); empty = every record is there.
    #[serde(default)]
    pub filtered: BTreeMap<String, String>,
    /// What was taken out (`--redact`).
    #[serde(default)]
    pub redacted: Vec<String>,
    /// How the run began.
    pub begin: Begin,
}

impl CaptureHeader {
    /// The file begins as a capture does.
    #[must_use]
    pub fn begins(path: &Path) -> bool {
        let mut head = [0; MAGIC.len()];
        let read = File::open(path).and_then(|mut file| file.read_exact(&mut head));
        read.is_ok() && head == MAGIC
    }

    /// What was taken out, in the words of `--redact`.
    pub fn taken_out(&self) -> impl Iterator<Item = &str> {
        let words = self.redacted.iter().map(String::as_str);
        words.filter(|word| *word != KEYED)
    }

    /// Its addresses are pseudonyms.
    #[must_use]
    pub fn has_pseudonyms(&self) -> bool {
        self.redacted.iter().any(|word| word == ADDRESS)
    }

    /// They are from a key. The first builds did not tell.
    #[must_use]
    pub fn is_keyed(&self) -> bool {
        self.redacted.iter().any(|word| word == KEYED)
    }

    /// The bytes that a file begins with.
    ///
    /// # Errors
    /// It is larger than a header may be.
    pub(super) fn to_bytes(&self, salt: u32) -> Result<Vec<u8>, CaptureError> {
        let body = rmp_serde::to_vec_named(self)?;
        if body.len() > HEADER_MAX {
            return Err(CaptureError::Header("it is too large".to_owned()));
        }
        let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
        let mut bytes = Vec::with_capacity(PRELUDE + body.len());
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&ORDER.to_ne_bytes());
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&[0; 2]);
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(&salt.to_le_bytes());
        bytes.extend_from_slice(&sum(salt, &bytes, &body).to_le_bytes());
        bytes.extend_from_slice(&body);
        Ok(bytes)
    }

    fn check(self) -> Result<Self, CaptureError> {
        if self.abi > compat::ABI {
            return Err(CaptureError::Abi {
                found: self.abi,
                known: compat::ABI,
            });
        }
        if self.layouts.len() > LAYOUTS_MAX || !self.layouts.iter().all(Layout::is_sound) {
            return Err(CaptureError::Header("its layouts make no sense".to_owned()));
        }
        Ok(self)
    }
}

/// The prelude of a file, checked as far as it goes without the body.
#[derive(Clone, Copy, Debug)]
pub(super) struct Prelude {
    bytes: [u8; PRELUDE],
    pub(super) salt: u32,
    /// Bytes of the body.
    pub(super) length: usize,
}

impl Prelude {
    /// Reads the first bytes of a file, fewer than [`PRELUDE`] if it has no more.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, CaptureError> {
        if bytes.is_empty() {
            return Err(CaptureError::Empty);
        }
        if !bytes.starts_with(&MAGIC) {
            return Err(match MAGIC.starts_with(bytes) {
                true => CaptureError::Header("it is cut".to_owned()),
                false => CaptureError::Foreign,
            });
        }
        let Some(&bytes) = bytes.first_chunk::<PRELUDE>() else {
            return Err(CaptureError::Header("it is cut".to_owned()));
        };
        let [
            _,
            _,
            _,
            _,
            _,
            _,
            _,
            _,
            a,
            b,
            c,
            d,
            v,
            w,
            _,
            _,
            l,
            m,
            n,
            o,
            s,
            t,
            u,
            x,
            ..,
        ] = bytes;
        let order = u32::from_ne_bytes([a, b, c, d]);
        if order == ORDER.swap_bytes() {
            return Err(CaptureError::ByteOrder);
        }
        let found = u16::from_le_bytes([v, w]);
        if order == ORDER && found > VERSION {
            let known = VERSION;
            return Err(CaptureError::Version { found, known });
        }
        let length = u32::from_le_bytes([l, m, n, o]) as usize;
        if order != ORDER || found == 0 || length > HEADER_MAX {
            return Err(CaptureError::Header("its first bytes are wrong".to_owned()));
        }
        Ok(Self {
            bytes,
            salt: u32::from_le_bytes([s, t, u, x]),
            length,
        })
    }

    /// The header, from the body that follows.
    pub(super) fn header(&self, body: &[u8]) -> Result<CaptureHeader, CaptureError> {
        if body.len() < self.length {
            return Err(CaptureError::Header("it is cut".to_owned()));
        }
        let (head, stored) = self.bytes.split_at(PRELUDE - 4);
        if sum(self.salt, head, body).to_le_bytes() != stored {
            return Err(CaptureError::Header(
                "its checksum does not agree".to_owned(),
            ));
        }
        rmp_serde::from_slice::<CaptureHeader>(body)
            .map_err(|error| CaptureError::Header(format!("it makes no sense: {error}")))?
            .check()
    }
}

fn sum(salt: u32, head: &[u8], body: &[u8]) -> u32 {
    checksum(checksum(salt, head), body)
}
