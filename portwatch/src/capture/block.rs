//! Frames: a block's head and its stored bytes, both with a checksum.
//!
//! The checksums begin with the file's own random salt: a traced program whose command line looks
//! like a block cannot make a reader take it for one.

use super::error::CaptureError;
use crc32fast::Hasher;
use std::io;

/// First bytes of a block.
pub(super) const MAGIC: [u8; 4] = *b"\xf5PWB";

/// Bytes of a head.
pub(super) const HEAD: usize = 56;

/// Bytes that a block has at most, stored or unpacked: a reader needs no more memory than this,
/// whatever a file claims.
pub(super) const BLOCK_MAX: usize = 8 << 20;

/// Flag: the last block of a file, and the run goes on in the next.
pub(super) const CONTINUED: u8 = 1;

/// Flag: the last block of a run that was closed.
pub(super) const CLOSED: u8 = 2;

/// How stored bytes are packed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Codec {
    /// Not at all
    None,
    /// zstd, level 1
    #[default]
    Zstd,
}

/// What a head says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) codec: u8,
    pub(super) flags: u8,
    /// Of the run, from 0.
    pub(super) number: u64,
    pub(super) stored: usize,
    pub(super) unpacked: usize,
    /// Records, ticks and the like.
    pub(super) inputs: u32,
    pub(super) first: u64,
    pub(super) last: u64,
    checksum: u32,
}

/// What goes into a block.
#[derive(Clone, Debug, Default)]
pub(super) struct Content {
    pub(super) payload: Vec<u8>,
    pub(super) inputs: u32,
    pub(super) first: u64,
    pub(super) last: u64,
}

/// The checksum of `bytes` in a file with this salt.
pub(super) fn checksum(salt: u32, bytes: &[u8]) -> u32 {
    let mut hasher = Hasher::new_with_initial(salt);
    hasher.update(bytes);
    hasher.finalize()
}

/// Makes blocks.
pub(super) struct Framer {
    salt: u32,
    zstd: Option<zstd::bulk::Compressor<'static>>,
    packed: Vec<u8>,
}

impl Framer {
    pub(super) fn new(codec: Codec, salt: u32) -> io::Result<Self> {
        let zstd = match codec {
            Codec::None => None,
            Codec::Zstd => Some(zstd::bulk::Compressor::new(1)?),
        };
        Ok(Self {
            salt,
            zstd,
            packed: Vec::new(),
        })
    }

    /// The block's head and its stored bytes. Content that zstd makes no smaller is stored as it is.
    pub(super) fn frame<'a>(
        &'a mut self,
        number: u64,
        flags: u8,
        content: &'a Content,
    ) -> io::Result<(Vec<u8>, &'a [u8])> {
        let Self { salt, zstd, packed } = self;
        let payload = &content.payload[..];
        let (mut codec, mut stored) = (0, payload);
        if let Some(zstd) = zstd {
            packed.clear();
            packed.reserve(zstd::zstd_safe::compress_bound(payload.len()));
            zstd.compress_to_buffer(payload, packed)?;
            if packed.len() < payload.len() {
                (codec, stored) = (1, packed);
            }
        }
        let size = |bytes: &[u8]| u32::try_from(bytes.len()).map_err(io::Error::other);
        let mut head = Vec::with_capacity(HEAD);
        head.extend_from_slice(&MAGIC);
        head.extend_from_slice(&[codec, flags, 0, 0]);
        head.extend_from_slice(&number.to_le_bytes());
        head.extend_from_slice(&size(stored)?.to_le_bytes());
        head.extend_from_slice(&size(payload)?.to_le_bytes());
        head.extend_from_slice(&content.inputs.to_le_bytes());
        head.extend_from_slice(&[0; 4]);
        head.extend_from_slice(&content.first.to_le_bytes());
        head.extend_from_slice(&content.last.to_le_bytes());
        head.extend_from_slice(&checksum(*salt, stored).to_le_bytes());
        let sum = checksum(*salt, &head);
        head.extend_from_slice(&sum.to_le_bytes());
        Ok((head, stored))
    }
}

impl Head {
    /// The head at the start of `bytes`; `None` if there is none, or it is damaged.
    pub(super) fn read(salt: u32, bytes: &[u8]) -> Option<Self> {
        let head: &[u8; HEAD] = bytes.first_chunk()?;
        let half = |at: usize| -> Option<u32> {
            head.get(at..at + 4)?
                .first_chunk()
                .map(|four| u32::from_le_bytes(*four))
        };
        let whole = |at: usize| -> Option<u64> {
            head.get(at..at + 8)?
                .first_chunk()
                .map(|eight| u64::from_le_bytes(*eight))
        };
        if !head.starts_with(&MAGIC) || half(HEAD - 4)? != checksum(salt, &head[..HEAD - 4]) {
            return None;
        }
        Some(Self {
            codec: head[4],
            flags: head[5],
            number: whole(8)?,
            stored: usize::try_from(half(16)?).ok()?,
            unpacked: usize::try_from(half(20)?).ok()?,
            inputs: half(24)?,
            first: whole(32)?,
            last: whole(40)?,
            checksum: half(48)?,
        })
    }

    /// Whether a reader may take memory for it.
    pub(super) fn fits(&self) -> bool {
        self.stored <= BLOCK_MAX && self.unpacked <= BLOCK_MAX
    }

    /// These are its stored bytes, whole.
    pub(super) fn is_of(&self, salt: u32, stored: &[u8]) -> bool {
        checksum(salt, stored) == self.checksum
    }

    /// The content of the stored bytes.
    pub(super) fn unpack(
        &self,
        stored: &[u8],
        zstd: &mut zstd::bulk::Decompressor<'_>,
        payload: &mut Vec<u8>,
    ) -> Result<(), CaptureError> {
        payload.clear();
        match self.codec {
            0 => payload.extend_from_slice(stored),
            // Never more than there is room for, which `fits`: a bomb is an error.
            1 => {
                payload.reserve(self.unpacked);
                zstd.decompress_to_buffer(stored, payload)
                    .map_err(|_| CaptureError::Content("a block does not unpack to its size"))?;
            }
            _ => return Err(CaptureError::Content("a block is packed in an unknown way")),
        }
        if payload.len() != self.unpacked {
            return Err(CaptureError::Content("a block does not unpack to its size"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(payload: Vec<u8>) -> Content {
        Content {
            payload,
            inputs: 3,
            first: 10,
            last: 20,
        }
    }

    fn read(bytes: &[u8]) -> Result<Vec<u8>, CaptureError> {
        let head = Head::read(7, bytes).ok_or(CaptureError::Foreign)?;
        let mut zstd = zstd::bulk::Decompressor::new().map_err(CaptureError::Read)?;
        let mut payload = Vec::new();
        if !head.is_of(7, &bytes[HEAD..]) {
            return Err(CaptureError::Content("a checksum does not agree"));
        }
        head.unpack(&bytes[HEAD..], &mut zstd, &mut payload)?;
        Ok(payload)
    }

    fn framed(codec: Codec, flags: u8, payload: Vec<u8>) -> Vec<u8> {
        let mut framer = Framer::new(codec, 7).unwrap();
        let content = content(payload);
        let (head, stored) = framer.frame(9, flags, &content).unwrap();
        [&head[..], stored].concat()
    }

    #[test]
    fn a_block_comes_back() {
        for codec in [Codec::None, Codec::Zstd] {
            for payload in [vec![], vec![1], vec![5; 10_000], (0..=255).collect()] {
                let bytes = &framed(codec, CLOSED, payload.clone())[..];
                let head = Head::read(7, bytes).unwrap();
                assert_eq!((head.number, head.flags, head.inputs), (9, CLOSED, 3));
                assert_eq!((head.first, head.last), (10, 20));
                assert!(head.fits());
                assert_eq!(read(bytes).unwrap(), payload);
                assert!(Head::read(8, bytes).is_none());
            }
        }
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let bytes = framed(Codec::Zstd, 0, vec![5; 300]);
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(read(&damaged).is_err(), "bit {bit}");
        }
        for end in 0..bytes.len() {
            assert!(read(&bytes[..end]).is_err(), "{end} bytes");
        }
    }

    /// A head may be well made and lie.
    #[test]
    fn a_bomb_does_not_go_off() {
        let mut bytes = framed(Codec::Zstd, 0, vec![0; 7 << 20]);
        assert!(bytes.len() < 4096);
        bytes[20..24].copy_from_slice(&100_u32.to_le_bytes());
        let sum = checksum(7, &bytes[..52]);
        bytes[52..56].copy_from_slice(&sum.to_le_bytes());
        assert!(matches!(read(&bytes), Err(CaptureError::Content(_))));
        bytes[20..24].copy_from_slice(&u32::MAX.to_le_bytes());
        let sum = checksum(7, &bytes[..52]);
        bytes[52..56].copy_from_slice(&sum.to_le_bytes());
        assert!(!Head::read(7, &bytes).unwrap().fits());
    }
}
