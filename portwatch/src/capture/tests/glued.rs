//! Files behind one another in one stream, whole and broken.

use super::super::Damage;
use super::super::block::Codec;
use super::super::fact::{Answer, Fact, Question};
use super::super::header::CaptureHeader;
use super::super::pack::Written;
use super::made::{assign, bytes, failure};
use super::pack::process;
use super::{Made, header, read};
use crate::decode::event::{Ktime, Tgid};
use std::sync::Arc;

/// A file of four blocks of one record, of the run with this first digit.
fn run(digit: &str) -> Made {
    let header = CaptureHeader {
        run: digit.repeat(32),
        ..header()
    };
    let mut made = Made::of(Codec::None, &header);
    for block in 0..4 {
        made = made.block(|packer| {
            packer.record(&bytes(&assign(block, 5, block, 0)));
        });
    }
    made.closed()
}

/// What is no capture between two of them is told, wherever it comes from.
#[test]
fn what_stands_between_files_is_told() {
    let (first, last) = (run("a").bytes, run("c").bytes);
    // Its blocks would be those of a run with the same salt, which no two runs have.
    let Made {
        bytes: mut broken,
        ends,
        ..
    } = run("b");
    broken.truncate(ends[0]);
    broken[40] ^= 1;
    for between in [broken, vec![b'x'; 1000]] {
        let seen = read(&[&first[..], &between, &last].concat()).unwrap();
        assert_eq!((seen.inputs.len(), seen.headers), (8, 1));
        let told = matches!(seen.damage[..], [Damage::Torn { bytes, .. }] if bytes == between.len() as u64);
        assert!(told, "{:?}", seen.damage);
    }
}

/// A block whose end is missing takes nothing with it of what stands behind.
#[test]
fn a_torn_block_takes_no_other_with_it() {
    let made = run("a");
    let whole = read(&made.bytes).unwrap().inputs;
    let (start, end) = (made.ends[2], made.ends[3]);
    let cut = (start + end) / 2;
    // In the middle of a file.
    let seen = read(&[&made.bytes[..cut], &made.bytes[end..]].concat()).unwrap();
    assert_eq!(seen.inputs, [&whole[..2], &whole[3..]].concat());
    let [Damage::Hole { blocks, .. }] = seen.damage[..] else {
        panic!("{:?}", seen.damage);
    };
    assert_eq!(blocks, 1);
    // Before another run, and before a whole copy of its own.
    let seen = read(&[&made.bytes[..cut], &run("b").bytes].concat()).unwrap();
    assert_eq!(seen.inputs.len(), 2 + 4);
    let left = (cut - start) as u64;
    let [Damage::Hole { bytes, .. }, Damage::Torn { .. }] = seen.damage[..] else {
        panic!("{:?}", seen.damage);
    };
    assert_eq!(bytes, left);
    let seen = read(&[&made.bytes[..cut], &made.bytes].concat()).unwrap();
    assert_eq!(seen.inputs, whole);
}

/// A bit that flipped in one copy is whole in the next.
#[test]
fn the_same_file_again_fills_a_hole() {
    let made = run("a");
    let whole = read(&made.bytes).unwrap().inputs;
    let mut flipped = made.bytes.clone();
    flipped[made.ends[4] - 1] ^= 1;
    let open = &flipped[..made.ends[4]];
    let seen = read(&[open, &made.bytes].concat()).unwrap();
    assert_eq!(seen.inputs, whole);
}

/// Nothing is told twice.
#[test]
fn the_same_file_twice_is_played_once() {
    let made = run("a");
    let whole = read(&made.bytes).unwrap().inputs;
    let seen = read(&[&made.bytes[..], &made.bytes].concat()).unwrap();
    assert_eq!(seen.inputs, whole);
    let [Damage::Repeated { count }] = seen.damage[..] else {
        panic!("{:?}", seen.damage);
    };
    assert_eq!(count, 4);
}

/// One answer may be referred to again and again: what that takes is bounded.
#[test]
fn an_answer_a_thousand_times_is_not_taken() {
    let mut named = process(5, b"a");
    named.cmdline = Some(vec![vec![b'x'; 1 << 20]]);
    let fact = |tgid: u32| Fact {
        question: Question::Process(Tgid(tgid), Ktime(5)),
        answer: Answer::Process(Some(named.clone())),
    };
    let second = Arc::new(Written::new(fact(2)).unwrap());
    let packed = |times: u32| {
        let made = Made::new(Codec::Zstd).block(|packer| {
            packer.record(&bytes(&failure(3, 9, 6, 0)));
            // Another before it, or it would be the usual one.
            packer.fact(fact(1)).unwrap();
            (0..times).for_each(|_| packer.fact_again(&second));
        });
        made.closed().bytes
    };
    let seen = read(&packed(3)).unwrap();
    assert_eq!((seen.inputs.len(), seen.damage.len()), (1, 0));
    let seen = read(&packed(100)).unwrap();
    assert_eq!(seen.inputs.len(), 0);
    let [Damage::Hole { records, .. }] = seen.damage[..] else {
        panic!("{:?}", seen.damage);
    };
    assert_eq!(records, 1);
}
