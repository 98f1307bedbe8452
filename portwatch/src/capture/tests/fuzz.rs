//! Random damage to real captures, for as long as `PORTWATCH_FUZZ_SECONDS` says (1 by default; CI: 60
//! for each target). A panic ends the test with the input on disk. No checksum is in the way of the
//! targets behind the first: what they get was damaged after it was checked.
//!
//! Not guided by coverage: that takes a nightly toolchain with its own runtime, which not every
//! machine has that builds portwatch.

use super::super::reader::CaptureReader;
use super::super::unpack::Unpacker;
use super::super::{Input, Piece};
use super::live::{Page, stages};
use crate::capture::fact::Told;
use crate::decode::Decoder;
use crate::decode::event::Ktime;
use crate::sink::filter::EventName;
use crate::sink::tally::EndReason;
use crate::source::RawRecord;
use bytes::Bytes;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

/// xorshift64*: the run can be repeated from the seed it prints.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, limit: usize) -> usize {
        let limit = u64::try_from(limit.max(1)).unwrap();
        usize::try_from(self.next() % limit).unwrap()
    }

    fn byte(&mut self) -> u8 {
        // Bytes at the ends of their range find more than those between.
        match self.below(4) {
            0 => [0, 1, 0x7f, 0x80, 0xff][self.below(5)],
            _ => self.next().to_le_bytes()[7],
        }
    }

    /// One change: a bit, a byte, a number, a piece cut out, repeated, or put in from elsewhere.
    fn damage(&mut self, bytes: &mut Vec<u8>, other: &[u8]) {
        if bytes.is_empty() {
            bytes.push(self.byte());
        }
        let at = self.below(bytes.len());
        let end = (at + self.below(64)).min(bytes.len());
        match self.below(8) {
            0 => bytes[at] ^= 1 << self.below(8),
            1 => bytes[at] = self.byte(),
            2 => {
                let number = self.next().to_le_bytes();
                let width = [1, 2, 4, 8][self.below(4)].min(bytes.len() - at);
                bytes[at..at + width].copy_from_slice(&number[..width]);
            }
            3 => drop(bytes.drain(at..end)),
            4 => {
                let piece = bytes[at..end].to_vec();
                bytes.splice(at..at, piece);
            }
            5 => {
                let from = self.below(other.len());
                let to = (from + self.below(64)).min(other.len());
                bytes.splice(at..end, other[from..to].iter().copied());
            }
            6 => bytes.truncate(at),
            _ => bytes[at..end].fill(self.byte()),
        }
    }
}

/// The captures that the goldens are made of.
fn seeds() -> Vec<Vec<u8>> {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/captures");
    let files = std::fs::read_dir(dir).expect("portwatch/tests/captures is in the tree");
    let mut files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    files.sort();
    let captures = files
        .iter()
        .filter(|path| path.extension().is_some_and(|end| end == "pwcap"));
    captures.map(|path| std::fs::read(path).unwrap()).collect()
}

/// Throws damaged inputs at `target` until the time is over.
fn fuzz(name: &str, inputs: &[Vec<u8>], mut target: impl FnMut(&[u8])) {
    assert!(!inputs.is_empty(), "nothing to begin with");
    let seconds = std::env::var("PORTWATCH_FUZZ_SECONDS").ok();
    let seconds = seconds.and_then(|text| text.parse().ok()).unwrap_or(1);
    let seed = std::env::var("PORTWATCH_FUZZ_SEED").ok();
    let seed = seed
        .and_then(|text| text.parse().ok())
        .unwrap_or_else(|| u64::from_le_bytes(super::super::random().unwrap()) | 1);
    let mut dice = Dice(seed);
    let until = Instant::now() + Duration::from_secs(seconds);
    let mut runs = 0_u64;
    while Instant::now() < until {
        let mut input = inputs[dice.below(inputs.len())].clone();
        let other = &inputs[dice.below(inputs.len())];
        for _ in 0..=dice.below(6) {
            dice.damage(&mut input, other);
        }
        if catch_unwind(AssertUnwindSafe(|| target(&input))).is_err() {
            let path = std::env::temp_dir().join(format!("portwatch-fuzz-{name}"));
            std::fs::write(&path, &input).unwrap();
            panic!(
                "{name} panics with {} (seed {seed}, run {runs})",
                path.display()
            );
        }
        runs += 1;
    }
    println!("{name}: {runs} inputs in {seconds} s, seed {seed}");
}

/// Every record and every answer of the seeds.
fn pieces() -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
    let (mut records, mut answers) = (Vec::new(), Vec::new());
    for seed in seeds() {
        let mut reader = CaptureReader::new(&seed[..]).unwrap();
        while let Some(piece) = reader.next_piece().unwrap() {
            if let Piece::Step(step) = piece {
                answers.extend(step.answers.all().iter().map(|bytes| bytes.to_vec()));
                if let Input::Record(record) = step.input {
                    records.push(record.bytes().to_vec());
                }
            }
        }
    }
    (records, answers)
}

#[test]
fn fuzz_reader() {
    fuzz("reader", &seeds(), |bytes| {
        if let Ok(mut reader) = CaptureReader::new(bytes) {
            while let Ok(Some(_)) = reader.next_piece() {}
        }
    });
}

/// The contents of blocks, behind their checksums.
#[test]
fn fuzz_unpack() {
    let header = super::header();
    let mut payloads = Vec::new();
    for seed in seeds() {
        payloads.extend(CaptureReader::new(&seed[..]).unwrap().payloads());
    }
    fuzz("unpack", &payloads, |bytes| {
        let mut unpacker = Unpacker::new(&header.layouts, header.abi);
        if unpacker.load(&mut bytes.to_vec()).is_ok() {
            while let Ok(Some(step)) = unpacker.next() {
                let mut told = Told::default();
                told.next(step.answers.clone());
                let _ = crate::enrich::facts::Facts::device(
                    &mut told,
                    crate::decode::event::NetnsId(1),
                    1,
                );
            }
        }
    });
}

#[test]
fn fuzz_decode() {
    let (records, _) = pieces();
    let mut decoder = Decoder::new();
    fuzz("decode", &records, |bytes| {
        let _ = decoder.record(&RawRecord::new(Bytes::copy_from_slice(bytes)));
        if bytes.len() % 7 == 0 {
            decoder.drained();
        }
    });
}

/// Runs of records through the whole pipeline: none may bring it down, whatever it says.
#[test]
fn fuzz_correlate() {
    let (records, _) = pieces();
    let header = super::header();
    // Several records in one input, each with its length before it.
    let runs: Vec<Vec<u8>> = records
        .chunks(12)
        .map(|some| {
            let framed = some.iter().map(|record| {
                let length = u16::try_from(record.len()).unwrap().to_le_bytes();
                [&length[..], record].concat()
            });
            framed.collect::<Vec<_>>().concat()
        })
        .collect();
    fuzz("correlate", &runs, |bytes| {
        let page = Page::default();
        let facts = Box::new(super::moody::Moody::default());
        let mut pipeline = stages(&header, facts, &EventName::ALL, &page);
        let mut rest = bytes;
        while let Some((length, behind)) = rest.split_first_chunk() {
            let length = usize::from(u16::from_le_bytes(*length)).min(behind.len());
            let (record, behind) = behind.split_at(length);
            pipeline
                .record(&RawRecord::new(Bytes::copy_from_slice(record)))
                .unwrap();
            rest = behind;
        }
        pipeline.drained().unwrap();
        pipeline.tick(Ktime(u64::MAX)).unwrap();
        pipeline.summary(Ktime(1), EndReason::EndOfInput).unwrap();
        for line in page.text().lines() {
            let _: serde_json::Value = serde_json::from_str(line).expect("a line is no JSON");
        }
    });
}
