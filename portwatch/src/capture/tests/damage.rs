//! Every way in which a file can be broken: an error with a name or a part that is missing, and
//! never a panic.

use super::super::block::{Codec, HEAD};
use super::super::fact::{Answer, Fact, Question};
use super::super::header::PRELUDE;
use super::super::note::Note;
use super::super::pack::Packer;
use super::super::varint::take;
use super::super::{CaptureError, CaptureReader, Damage, Input};
use super::made::{assign, bytes, failure, holder, release};
use super::pack::process;
use super::{Made, Seen, header, read};
use crate::decode::event::{Ktime, Tgid};
use proptest::prelude::*;

/// A file of four blocks.
fn four(codec: Codec) -> Made {
    let mut made = Made::new(codec);
    for block in 0..4_u64 {
        made = made.block(|packer| {
            some(packer, block);
        });
    }
    made.closed()
}

fn some(packer: &mut Packer, block: u64) {
    for n in 0..5 {
        let time = block * 1000 + n;
        packer.record(&bytes(&assign(time, 5, n, 0)));
        let question = Question::Process(Tgid(5), Ktime(5));
        let answer = Answer::Process(Some(process(5, b"a")));
        packer.fact(Fact { question, answer }).unwrap();
        packer.record(&bytes(&release(time + 1, 5, n)));
    }
    packer.record(&bytes(&failure(block * 1000 + 10, block, 6, 1)));
    packer.record(&bytes(&holder(block * 1000 + 10, block, 5)));
    packer.tick(Ktime(1_000_000_000_000 + block * 1000 + 20));
}

fn whole() -> Seen {
    read(&four(Codec::Zstd).bytes).unwrap()
}

/// Where the last stream's length stands in a payload.
fn last_length(payload: &[u8]) -> usize {
    let mut rest = payload;
    let streams = take(&mut rest).unwrap();
    let mut last = rest;
    for _ in 0..2 * streams {
        last = rest;
        take(&mut rest).unwrap();
    }
    payload.len() - last.len()
}

/// The checksums are right and the streams are not: nothing of the block before comes again.
#[test]
fn a_block_whose_streams_make_no_sense() {
    let sound = |packer: &mut Packer| some(packer, 0);
    let too_long = |payload: &mut Vec<u8>| {
        let at = last_length(payload);
        payload[at] = payload[at] % 0x40 + 0x40;
    };
    let first = Made::new(Codec::None).forged(sound, too_long).closed();
    let seen = read(&first.bytes).unwrap();
    assert_eq!((seen.inputs.len(), seen.damage.len()), (0, 1));
    let second = Made::new(Codec::None).block(sound).forged(sound, too_long);
    let seen = read(&second.closed().bytes).unwrap();
    let alone = read(&Made::new(Codec::None).block(sound).closed().bytes).unwrap();
    assert_eq!(seen.inputs, alone.inputs);
    let hole = &seen.damage[..];
    assert!(matches!(hole, [Damage::Hole { blocks: 1, .. }]), "{hole:?}");
}

/// A block whose head promises more than there is: what is there is played, the rest is a hole.
#[test]
fn a_block_that_ends_too_early_is_a_hole() {
    let ticks =
        |count: u64| move |packer: &mut Packer| (1..=count).for_each(|at| packer.tick(Ktime(at)));
    let bytes = Made::new(Codec::None).block(ticks(3)).closed().bytes;
    let three = CaptureReader::new(&bytes[..]).unwrap().payloads().remove(0);
    let made = Made::new(Codec::None).forged(ticks(5), |payload| *payload = three);
    let seen = read(&made.block(ticks(2)).closed().bytes).unwrap();
    assert_eq!(seen.inputs.len(), 5);
    let [
        Damage::Hole {
            blocks, records, ..
        },
    ] = seen.damage[..]
    else {
        panic!("{:?}", seen.damage);
    };
    assert_eq!((blocks, records), (1, 2));
}

#[test]
fn cut_at_every_byte() {
    for codec in [Codec::Zstd, Codec::None] {
        let made = four(codec);
        let whole = whole().inputs;
        for end in 0..made.bytes.len() {
            let seen = match read(&made.bytes[..end]) {
                Ok(seen) => seen,
                Err(CaptureError::Empty) => {
                    assert_eq!(end, 0);
                    continue;
                }
                Err(CaptureError::Header(_)) => {
                    assert!(end < made.ends[0], "{end}");
                    continue;
                }
                Err(error) => panic!("{end}: {error}"),
            };
            let blocks = made.ends.iter().filter(|at| **at <= end).count() - 1;
            let left = end - made.ends[blocks];
            assert_eq!(seen.inputs, whole[..blocks * 13], "{end}");
            assert!(
                matches!(seen.damage[..], [Damage::Torn { bytes, .. }] if bytes == left as u64),
                "{end}: {:?}",
                seen.damage
            );
        }
    }
}

#[test]
fn a_block_that_is_not_there() {
    let made = four(Codec::Zstd);
    let mut bytes = made.bytes.clone();
    bytes.drain(made.ends[1]..made.ends[2]);
    let seen = read(&bytes).unwrap();
    assert_eq!(seen.inputs.len(), 39);
    let start = 1_000_000_000_000;
    assert_eq!(
        seen.damage,
        [Damage::Hole {
            blocks: 1,
            records: 0,
            bytes: 0,
            after: start + 20,
            until: start + 2000,
        }]
    );
    assert!(
        seen.damage[0].to_string().contains("1 blocks"),
        "{}",
        seen.damage[0]
    );
}

#[test]
fn a_block_that_is_damaged_in_any_place() {
    let made = four(Codec::Zstd);
    let whole = whole().inputs;
    for at in made.ends[1]..made.ends[2] {
        for value in [0, 0xff, made.bytes[at] ^ 1] {
            let mut bytes = made.bytes.clone();
            if std::mem::replace(&mut bytes[at], value) == value {
                continue;
            }
            let seen = read(&bytes).unwrap();
            assert_eq!(seen.inputs[..13], whole[..13], "{at}");
            assert_eq!(seen.inputs[13..], whole[26..], "{at}");
            assert!(
                matches!(seen.damage[..], [Damage::Hole { blocks: 1, .. }]),
                "{at}: {:?}",
                seen.damage
            );
        }
    }
}

#[test]
fn the_same_block_twice_counts_once() {
    let made = four(Codec::Zstd);
    let mut bytes = made.bytes[..made.ends[2]].to_vec();
    bytes.extend_from_slice(&made.bytes[made.ends[1]..]);
    let seen = read(&bytes).unwrap();
    assert_eq!(seen.inputs, whole().inputs);
    assert!(matches!(seen.damage[..], [Damage::Repeated { count: 13 }]));
}

#[test]
fn rubbish_between_blocks_and_behind_them() {
    let made = four(Codec::Zstd);
    let mut bytes = made.bytes.clone();
    bytes.splice(made.ends[1]..made.ends[1], [0xf5; 3000]);
    let seen = read(&bytes).unwrap();
    assert_eq!(seen.inputs, whole().inputs);
    assert!(matches!(
        seen.damage[..],
        [Damage::Hole {
            bytes: 3000,
            blocks: 0,
            ..
        }]
    ));
    let mut bytes = made.bytes;
    bytes.extend_from_slice(b"\x89PWC\r\n\x1a\n and no header");
    let seen = read(&bytes).unwrap();
    assert_eq!(seen.inputs, whole().inputs);
    assert!(
        matches!(seen.damage[..], [Damage::Torn { bytes: 22, .. }]),
        "{:?}",
        seen.damage
    );
}

#[test]
fn heads_that_lie() {
    // Made well, checksum and all, by somebody who wants our memory.
    let made = four(Codec::None);
    for at in [16, 20] {
        let mut bytes = made.bytes.clone();
        let head = made.ends[1];
        bytes[head + at..head + at + 4].copy_from_slice(&u32::MAX.to_le_bytes());
        let sum = super::super::block::checksum(super::SALT, &bytes[head..head + HEAD - 4]);
        bytes[head + HEAD - 4..head + HEAD].copy_from_slice(&sum.to_le_bytes());
        let seen = read(&bytes).unwrap();
        assert_eq!(seen.inputs.len(), 39);
        assert!(matches!(seen.damage[..], [Damage::Hole { blocks: 1, .. }]));
    }
    let mut bytes = made.bytes;
    bytes[16..20].copy_from_slice(&u32::MAX.to_le_bytes());
    assert!(matches!(read(&bytes), Err(CaptureError::Header(_))));
}

#[test]
fn what_is_no_capture_of_ours() {
    let good = four(Codec::None).bytes;
    let changed = |at: usize, with: &[u8]| {
        let mut bytes = good.clone();
        bytes[at..at + with.len()].copy_from_slice(with);
        read(&bytes).unwrap_err()
    };
    assert!(matches!(read(b""), Err(CaptureError::Empty)));
    assert!(matches!(
        read(b"{\"schema\":1}"),
        Err(CaptureError::Foreign)
    ));
    assert!(matches!(read(&[0; 4096]), Err(CaptureError::Foreign)));
    assert!(matches!(read(&good[..5]), Err(CaptureError::Header(_))));
    assert!(matches!(changed(8, &[4, 3, 2, 1]), CaptureError::ByteOrder));
    assert!(matches!(
        changed(12, &[9, 0]),
        CaptureError::Version { found: 9, known: 1 }
    ));
    assert!(matches!(changed(12, &[0, 0]), CaptureError::Header(_)));
    for (at, byte) in good.iter().enumerate().take(400).skip(PRELUDE) {
        assert!(
            matches!(changed(at, &[byte ^ 4]), CaptureError::Header(_)),
            "{at}"
        );
    }
    let mut newer = header();
    newer.abi = 99;
    let error = read(&Made::of(Codec::None, &newer).bytes).unwrap_err();
    assert!(
        matches!(error, CaptureError::Abi { found: 99, .. }),
        "{error}"
    );
    let mut odd = header();
    odd.layouts[0].size = 7;
    let error = read(&Made::of(Codec::None, &odd).bytes).unwrap_err();
    assert!(matches!(error, CaptureError::Header(_)), "{error}");
}

#[test]
fn files_of_one_run_in_one_stream() {
    let made = Made::new(Codec::Zstd).block(|packer| some(packer, 0));
    let mut bytes = made.end(super::super::block::CONTINUED).bytes;
    let mut second = header();
    (second.part, second.first_block) = (1, 1);
    bytes.extend(
        Made::of(Codec::Zstd, &second)
            .block(|packer| some(packer, 1))
            .closed()
            .bytes,
    );
    let seen = read(&bytes).unwrap();
    assert_eq!(
        (seen.inputs.len(), seen.headers, &seen.damage[..]),
        (26, 1, &[][..])
    );
    let mut third = header();
    (third.part, third.first_block) = (3, 9);
    bytes.extend(
        Made::of(Codec::Zstd, &third)
            .block(|packer| some(packer, 2))
            .closed()
            .bytes,
    );
    let seen = read(&bytes).unwrap();
    assert_eq!(seen.damage, [Damage::Parts { first: 2, next: 3 }]);
}

#[test]
fn a_note_of_a_newer_build_is_skipped_and_counted() {
    let made = Made::new(Codec::None).block(|packer| {
        packer.note(&Note::Anchor(super::ANCHOR)).unwrap();
        packer.drained();
    });
    let at = made
        .bytes
        .windows(6)
        .rposition(|bytes| bytes == b"Anchor")
        .unwrap();
    let mut bytes = made.closed().bytes;
    bytes[at..at + 6].copy_from_slice(b"Weather".first_chunk::<6>().unwrap());
    // Mend the checksums: it is not damaged, only unknown.
    let head = bytes
        .windows(4)
        .position(|four| four == b"\xf5PWB")
        .unwrap();
    let stored = u32::from_le_bytes(bytes[head + 16..head + 20].try_into().unwrap()) as usize;
    let sum = |bytes: &[u8]| super::super::block::checksum(super::SALT, bytes).to_le_bytes();
    let payload = sum(&bytes[head + HEAD..head + HEAD + stored]);
    bytes[head + 48..head + 52].copy_from_slice(&payload);
    let whole = sum(&bytes[head..head + 52]);
    bytes[head + 52..head + 56].copy_from_slice(&whole);
    let seen = read(&bytes).unwrap();
    assert_eq!(seen.inputs, [(Input::Drained, vec![])]);
    assert!(
        matches!(&seen.damage[..], [Damage::Unknown { count: 1, what }] if what.contains("Weathe"))
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Also payloads whose checksums agree, which only a program with bad intent makes.
    #[test]
    fn no_payload_is_too_strange(
        seed in 0..4_u64,
        flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20),
        cut in any::<prop::sample::Index>(),
    ) {
        let header = header();
        let mut packer = Packer::new(&header.layouts);
        some(&mut packer, seed);
        let mut payload = packer.take().unwrap().payload;
        for (at, value) in flips {
            let at = at.index(payload.len());
            payload[at] = value;
        }
        payload.truncate(cut.index(payload.len() * 4) + 1);
        let mut unpacker = super::super::unpack::Unpacker::new(&header.layouts, 1);
        if unpacker.load(&mut payload).is_ok() {
            while let Ok(Some(_)) = unpacker.next() {}
        }
    }

    #[test]
    fn no_file_is_too_strange(
        edits in proptest::collection::vec(
            (any::<prop::sample::Index>(), 0..8_usize, proptest::collection::vec(any::<u8>(), 0..8)),
            1..6,
        ),
    ) {
        let mut bytes = four(Codec::Zstd).bytes;
        for (at, remove, insert) in edits {
            let at = at.index(bytes.len());
            let end = (at + remove).min(bytes.len());
            bytes.splice(at..end, insert);
        }
        if let Ok(seen) = read(&bytes) {
            prop_assert!(seen.inputs.len() <= 52);
        }
    }
}
