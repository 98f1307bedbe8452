//! Reads a capture: every whole block of it, and what is missing between them.
//!
//! Reads forward only, so a pipe will do. Memory is bounded by one block and one header, whatever
//! the file says.

use super::block::{CLOSED, CONTINUED, HEAD, Head, MAGIC as BLOCK_MAGIC};
use super::buffer::{Buffer, CHUNK};
use super::error::{CaptureError, Damage};
use super::header::{CaptureHeader, MAGIC as FILE_MAGIC};
use super::input::{Input, Step};
use super::unpack::{Passed, Unpacker};
use crate::decode::Traffic;
use std::collections::VecDeque;
use std::io::Read;

/// What a capture gives.
#[derive(Debug)]
pub enum Piece {
    /// Another file begins, in a stream of several; the first one's header is
    /// [`CaptureReader::header`].
    Header(Box<CaptureHeader>),
    /// What the pipeline took next.
    Step(Step),
    /// Something is missing here.
    Damage(Damage),
}

/// How a file ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// Not yet.
    Open,
    /// The run goes on in another file.
    Continued,
    /// The run was closed.
    Closed,
}

/// Reads one stream of captures.
pub struct CaptureReader<R> {
    buffer: Buffer<R>,
    header: CaptureHeader,
    salt: u32,
    unpacker: Unpacker,
    zstd: zstd::bulk::Decompressor<'static>,
    /// Where the next block is unpacked.
    payload: Vec<u8>,
    expected: u64,
    /// What could not be read since the last whole block.
    gap: Option<Gap>,
    /// Kernel time of the last input.
    last: u64,
    end: End,
    told: VecDeque<Piece>,
    block: Block,
    /// Records of blocks that were there already, and not told yet.
    repeated: u64,
    unknown: u64,
    done: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Gap {
    blocks: u64,
    records: u64,
    bytes: u64,
    /// The latest time in what is missing, as far as that can be read.
    last: u64,
    /// Number of the first of the blocks.
    first: Option<u64>,
}

/// The block that is read.
#[derive(Clone, Copy, Debug, Default)]
struct Block {
    /// Inputs that it has still to give, by its head.
    left: u64,
    /// The latest time in it.
    last: u64,
}

impl<R: Read> CaptureReader<R> {
    /// Reads the header.
    ///
    /// # Errors
    /// It is no capture, or not one that this build can read.
    pub fn new(source: R) -> Result<Self, CaptureError> {
        let mut buffer = Buffer::new(source);
        let (header, salt) = buffer.header()?;
        let unpacker = Unpacker::new(&header.layouts, header.abi);
        Ok(Self {
            expected: header.first_block,
            header,
            salt,
            unpacker,
            zstd: zstd::bulk::Decompressor::new().map_err(CaptureError::Read)?,
            payload: Vec::new(),
            buffer,
            gap: None,
            last: 0,
            end: End::Open,
            told: VecDeque::new(),
            block: Block::default(),
            repeated: 0,
            unknown: 0,
            done: false,
        })
    }

    /// The header of the file that is being read.
    pub fn header(&self) -> &CaptureHeader {
        &self.header
    }

    /// The run was closed in this stream, or goes on in another file (`Some(true)`); `None`: it was
    /// cut off.
    pub fn ended(&self) -> Option<bool> {
        match self.end {
            End::Open => None,
            End::Continued => Some(true),
            End::Closed => Some(false),
        }
    }

    /// The next piece; `None` at the end.
    ///
    /// # Errors
    /// Reading failed. Damage is no error.
    pub fn next_piece(&mut self) -> Result<Option<Piece>, CaptureError> {
        loop {
            if let Some(piece) = self.told.pop_front() {
                return Ok(Some(piece));
            }
            match self.unpacker.next() {
                Ok(Some(step)) => {
                    self.block.left = self.block.left.saturating_sub(1);
                    self.last = self.last.max(step.time.0);
                    if let Input::Unknown(what) = &step.input {
                        self.unknown += 1;
                        if self.unknown > 1 {
                            continue;
                        }
                        let what = what.clone();
                        return Ok(Some(Piece::Damage(Damage::Unknown { count: 1, what })));
                    }
                    return Ok(Some(Piece::Step(step)));
                }
                // Its head says that there is more in it.
                Ok(None) if self.block.left > 0 => self.spoiled(),
                Ok(None) => {}
                Err(_) => self.spoiled(),
            }
            if self.done {
                return Ok(None);
            }
            self.advance()?;
        }
    }

    /// Goes behind the records that come next, stand in the block that is read, and of whose kind
    /// `passes` lets all go by: nobody needs them.
    pub fn pass_over(&mut self, passes: impl FnMut(Traffic) -> bool) -> Passed {
        let mut passed = Passed::default();
        if self.told.is_empty() {
            let gone = self.unpacker.pass_over(&mut passed, passes);
            self.block.left = self.block.left.saturating_sub(passed.records);
            if gone.is_err() {
                self.spoiled();
            }
        }
        self.last = self.last.max(passed.last.0);
        passed
    }

    /// The checksum agreed: made by something else than this writer. The block's rest is lost.
    fn spoiled(&mut self) {
        let Block { left, last } = std::mem::take(&mut self.block);
        let gap = self.gap.get_or_insert_default();
        gap.blocks += 1;
        gap.records += left;
        gap.last = gap.last.max(last);
        self.unpacker.abandon();
    }

    /// Reads on to the next block or the end.
    fn advance(&mut self) -> Result<(), CaptureError> {
        let bytes = self.buffer.peek(HEAD)?;
        if bytes.is_empty() {
            self.done = true;
            self.leave();
        } else if bytes.starts_with(&FILE_MAGIC) {
            self.another()?;
        } else {
            match Head::read(self.salt, bytes).filter(Head::fits) {
                Some(head) => self.block(head)?,
                None => self.resync()?,
            }
        }
        Ok(())
    }

    fn block(&mut self, head: Head) -> Result<(), CaptureError> {
        let bytes = self.buffer.peek(HEAD + head.stored)?;
        let stored = bytes.get(HEAD..HEAD + head.stored);
        let Some(stored) = stored.filter(|stored| head.is_of(self.salt, stored)) else {
            if stored.is_some() && head.number >= self.expected {
                self.missing_before(head.number);
                self.bad(&head);
            }
            // Its end may be missing, and whole blocks stand where it would be.
            self.gap.get_or_insert_default().bytes += HEAD as u64;
            self.buffer.skip(HEAD);
            return Ok(());
        };
        let unpacked = head.unpack(stored, &mut self.zstd, &mut self.payload);
        self.buffer.skip(HEAD + head.stored);
        if head.flags & (CLOSED | CONTINUED) != 0 && head.inputs == 0 {
            self.missing(head.number, self.last);
            self.end = match head.flags & CLOSED != 0 {
                true => End::Closed,
                false => End::Continued,
            };
            return Ok(());
        }
        if head.number < self.expected {
            // The same file twice, or glued together in the wrong order.
            self.repeated += u64::from(head.inputs);
            return Ok(());
        }
        match unpacked.and_then(|()| self.unpacker.load(&mut self.payload)) {
            Ok(()) => {
                self.missing(head.number, head.first);
                self.expected = head.number.saturating_add(1);
                self.block = Block {
                    left: u64::from(head.inputs),
                    last: head.last,
                };
            }
            Err(_) => {
                self.missing_before(head.number);
                self.bad(&head).bytes += (HEAD + head.stored) as u64;
            }
        }
        Ok(())
    }

    /// Counts a block whose head alone can be read.
    fn bad(&mut self, head: &Head) -> &mut Gap {
        self.expected = head.number.saturating_add(1);
        let gap = self.gap.get_or_insert_default();
        gap.first.get_or_insert(head.number);
        gap.blocks += 1;
        gap.records += u64::from(head.inputs);
        gap.last = gap.last.max(head.last);
        gap
    }

    /// Counts blocks that are not there.
    fn missing_before(&mut self, number: u64) {
        let missing = number.saturating_sub(self.expected);
        if missing > 0 {
            let gap = self.gap.get_or_insert_default();
            gap.first.get_or_insert(self.expected);
            gap.blocks += missing;
        }
    }

    /// Tells of blocks that were there already.
    fn repeated(&mut self) {
        let count = std::mem::take(&mut self.repeated);
        if count > 0 {
            self.told
                .push_back(Piece::Damage(Damage::Repeated { count }));
        }
    }

    /// A whole block begins at kernel time `until`: tells what was missing before it.
    fn missing(&mut self, number: u64, until: u64) {
        self.missing_before(number);
        self.expected = self.expected.max(number);
        self.repeated();
        if let Some(gap) = self.gap.take() {
            self.hole(gap, until);
        }
    }

    fn hole(&mut self, gap: Gap, until: u64) {
        let after = self.last.max(self.header.begin.started.0);
        self.told.push_back(Piece::Damage(Damage::Hole {
            blocks: gap.blocks,
            records: gap.records,
            bytes: gap.bytes,
            after,
            until: until.max(gap.last).max(after),
        }));
    }

    /// Skips to where a block or a file may begin.
    fn resync(&mut self) -> Result<(), CaptureError> {
        let bytes = self.buffer.peek(CHUNK)?;
        let next = bytes
            .iter()
            .enumerate()
            .skip(1)
            .find(|(at, byte)| {
                let rest = &bytes[*at..];
                let magic: &[u8] = match **byte {
                    byte if byte == BLOCK_MAGIC[0] => &BLOCK_MAGIC,
                    byte if byte == FILE_MAGIC[0] => &FILE_MAGIC,
                    _ => return false,
                };
                rest.starts_with(magic) || magic.starts_with(rest)
            })
            .map_or(bytes.len(), |(at, _)| at);
        self.gap.get_or_insert_default().bytes += next as u64;
        self.buffer.skip(next);
        Ok(())
    }

    /// Another file follows in the same stream.
    fn another(&mut self) -> Result<(), CaptureError> {
        match self.buffer.header() {
            Ok((header, salt)) => {
                let same = header.run == self.header.run;
                let missing = self.gap.and_then(|gap| gap.first);
                self.leave();
                if !same {
                    self.expected = header.first_block;
                    self.last = 0;
                } else if header.part > self.header.part {
                    let first = self.header.part.saturating_add(1);
                    if header.part > first {
                        let next = header.part;
                        let parts = Damage::Parts { first, next };
                        self.told.push_back(Piece::Damage(parts));
                    }
                    // Blocks that are missing between the files were told as files.
                    self.expected = header.first_block;
                } else if let Some(missing) = missing {
                    // The same file again, which may have what was missing in the first.
                    self.expected = missing;
                }
                self.unpacker = Unpacker::new(&header.layouts, header.abi);
                self.salt = salt;
                self.end = End::Open;
                self.header = header.clone();
                self.told.push_back(Piece::Header(Box::new(header)));
                Ok(())
            }
            Err(CaptureError::Read(error)) => Err(CaptureError::Read(error)),
            Err(_) => self.resync(),
        }
    }

    /// The file is over.
    fn leave(&mut self) {
        self.repeated();
        let mut gap = self.gap.take().unwrap_or_default();
        if gap.blocks > 0 {
            self.hole(gap, self.last);
            gap.bytes = 0;
        }
        if self.end == End::Open || gap.bytes > 0 {
            let piece = self.torn(gap.bytes);
            self.told.push_back(piece);
        }
    }

    /// The contents of the blocks, checked and unpacked.
    #[cfg(test)]
    pub(super) fn payloads(mut self) -> Vec<Vec<u8>> {
        let mut payloads = Vec::new();
        while let Some(head) = Head::read(self.salt, self.buffer.peek(HEAD).unwrap()) {
            let bytes = self.buffer.peek(HEAD + head.stored).unwrap();
            let stored = &bytes[HEAD..HEAD + head.stored];
            head.unpack(stored, &mut self.zstd, &mut self.payload)
                .unwrap();
            payloads.push(self.payload.clone());
            self.buffer.skip(HEAD + head.stored);
        }
        payloads.retain(|payload| !payload.is_empty());
        payloads
    }

    fn torn(&self, bytes: u64) -> Piece {
        let after = self.last;
        Piece::Damage(Damage::Torn { bytes, after })
    }
}
