//! Each kind and encoding on its own, then bytes that are no BTF.

use proptest::prelude::*;

use super::sample::*;
use super::{Btf, BtfError, Kind, LookupError, Member, Param, Shape};

fn plain(byte: u32, size: u32) -> Member {
    Member {
        bit_offset: byte * 8,
        bit_size: None,
        size,
        is_pointer: false,
    }
}

fn bitfield(bit_offset: u32, bits: u32, size: u32) -> Member {
    Member {
        bit_offset,
        bit_size: Some(bits),
        size,
        is_pointer: false,
    }
}

fn no_member(of: &str, path: &str) -> Result<Member, LookupError> {
    Err(LookupError::NoMember {
        of: of.to_owned(),
        path: path.to_owned(),
    })
}

/// Every kind once, and every way to a member.
fn kernel() -> Sample {
    let mut s = Sample::new();
    let u8_ = s.int("unsigned char", 1);
    let u32_ = s.int("unsigned int", 4);
    let signed = s.push(INT, "int", 0, 4, &[1 << 24 | 32]);
    let net_fwd = s.push(FWD, "net", 0, 0, &[]);
    let net_ptr = s.push(PTR, "", 0, net_fwd, &[]);
    let possible = s.composite(STRUCT, "", 8, &[("net", net_ptr, 0)]);
    let possible = s.push(TYPEDEF, "possible_net_t", 0, possible, &[]);
    let saddr = s.composite(
        STRUCT,
        "",
        8,
        &[("daddr", u32_, 0), ("rcv_saddr", u32_, 32)],
    );
    let wide = s.composite(UNION, "", 8, &[("addrpair", net_ptr, 0), ("", saddr, 0)]);
    let tagged = s.push(TYPE_TAG, "rcu", 0, possible, &[]);
    let volatile = s.push(VOLATILE, "", 0, tagged, &[]);
    let constant = s.push(CONST, "", 0, volatile, &[]);
    let array = s.push(ARRAY, "", 0, 0, &[u32_, u32_, 3]);
    let common = s.composite(
        STRUCT | FLAG,
        "common",
        64,
        &[
            ("", wide, 48 * 8),
            ("reuse", u8_, 4 << 24 | 152),
            ("v6only", u8_, 1 << 24 | 157),
            ("net", constant, 24 * 8),
            ("words", array, 40 * 8),
        ],
    );
    s.composite(
        STRUCT,
        "sock",
        96,
        &[("__common", common, 64), ("uid", u32_, 72 * 8)],
    );
    let nibble = s.push(INT, "unsigned char", 0, 1, &[4 << 16 | 4]);
    s.composite(STRUCT, "old", 4, &[("plain", u8_, 0), ("bits", nibble, 8)]);
    let flag = s.text("FLAG_A");
    let minus = s.text("MINUS");
    s.push(ENUM | FLAG, "flags", 2, 4, &[flag, 11, minus, u32::MAX]);
    let big = s.text("BIG");
    s.push(ENUM64, "wide_flags", 1, 8, &[big, 1, 2]);
    let sock_fwd = s.push(FWD, "sock", 0, 0, &[]);
    let sock_ptr = s.push(PTR, "", 0, sock_fwd, &[]);
    s.function("get_port", signed, &[("sk", sock_ptr), ("snum", u32_)]);
    s.function("print", 0, &[("to", net_ptr), ("", 0)]);
    s.push(FLOAT, "double", 0, 8, &[]);
    s.push(DECL_TAG, "tag", 0, common, &[u32::MAX]);
    let var = s.push(VAR, "init_net", 0, net_ptr, &[1]);
    s.push(DATASEC, ".data", 1, 8, &[var, 0, 8]);
    s.push(TYPEDEF, "btf_trace_sys_exit", 0, net_ptr, &[]);
    s
}

#[test]
fn members_lie_where_the_compiler_put_them() {
    let data = kernel().bytes();
    let btf = Btf::parse(&data).expect("well-formed");
    let pointer = Member {
        is_pointer: true,
        ..plain(8 + 24, 8)
    };
    assert_eq!(btf.member("sock", "uid"), Ok(plain(72, 4)));
    assert_eq!(
        btf.member("sock", "__common.rcv_saddr"),
        Ok(plain(8 + 48 + 4, 4)),
        "unnamed in unnamed"
    );
    assert_eq!(
        btf.member("sock", "__common.net.net"),
        Ok(pointer),
        "through qualifiers"
    );
    assert_eq!(btf.member("common", "words"), Ok(plain(40, 12)));
    assert_eq!(btf.member("common", "reuse"), Ok(bitfield(152, 4, 1)));
    assert_eq!(
        btf.member("sock", "__common.v6only"),
        Ok(bitfield(64 + 157, 1, 1))
    );
    assert_eq!(
        btf.member("old", "bits"),
        Ok(bitfield(12, 4, 1)),
        "without the kind flag"
    );
    assert_eq!(btf.member("old", "plain"), Ok(plain(0, 1)));
    assert_eq!(
        btf.member("possible_net_t", "net"),
        Ok(Member {
            is_pointer: true,
            ..plain(0, 8)
        })
    );
}

#[test]
fn absence_is_told_from_damage() {
    let data = kernel().bytes();
    let btf = Btf::parse(&data).expect("well-formed");
    assert_eq!(btf.member("sock", "gone"), no_member("sock", "gone"));
    assert_eq!(
        btf.member("sock", "__common.net.net.inum"),
        no_member("sock", "__common.net.net.inum")
    );
    assert_eq!(btf.member("sock", "uid.val"), no_member("sock", "uid.val"));
    assert_eq!(btf.member("sock", ""), no_member("sock", ""));
    let no_type = LookupError::NoType("sockk".to_owned());
    assert_eq!(btf.member("sockk", "uid"), Err(no_type.clone()));
    assert!(no_type.is_absence());
    assert!(!LookupError::Malformed(1).is_absence());
}

#[test]
fn sizes_enumerators_and_kinds() {
    let data = kernel().bytes();
    let btf = Btf::parse(&data).expect("well-formed");
    assert_eq!(
        btf.size("sock"),
        Ok(96),
        "not that of the forward declaration"
    );
    assert_eq!(btf.size("possible_net_t"), Ok(8));
    assert_eq!(btf.size("double"), Ok(8));
    assert_eq!(btf.size("wide_flags"), Ok(8));
    assert_eq!(btf.enumerator("FLAG_A"), Ok(11));
    assert_eq!(btf.enumerator("MINUS"), Ok(-1));
    assert_eq!(btf.enumerator("BIG"), Ok(0x2_0000_0001));
    assert_eq!(
        btf.enumerator("FLAG"),
        Err(LookupError::NoEnumerator("FLAG".to_owned()))
    );
    assert!(btf.has(Kind::Typedef, "btf_trace_sys_exit"));
    assert!(!btf.has(Kind::Struct, "btf_trace_sys_exit"));
    assert!(!btf.has(Kind::Struct, ""));
}

#[test]
fn prototypes() {
    let data = kernel().bytes();
    let btf = Btf::parse(&data).expect("well-formed");
    let found = btf.function("get_port").expect("is there");
    let unsigned = Shape::Int {
        size: 4,
        signed: false,
    };
    assert_eq!(
        found.params[0],
        Param {
            name: "sk",
            shape: Shape::Pointer("sock")
        }
    );
    assert_eq!(
        found.params[1],
        Param {
            name: "snum",
            shape: unsigned
        }
    );
    assert_eq!((found.params.len(), found.variadic), (2, false));
    assert_eq!(
        found.result,
        Shape::Int {
            size: 4,
            signed: true
        }
    );
    let found = btf.function("print").expect("is there");
    assert_eq!(
        (found.params.len(), found.variadic, found.result),
        (1, true, Shape::Void)
    );
    assert_eq!(
        btf.function("sock"),
        Err(LookupError::NoFunction("sock".to_owned()))
    );
}

#[test]
fn of_equal_names_the_one_that_can_answer_counts() {
    let mut s = Sample::new();
    let int = s.int("int", 4);
    s.composite(STRUCT, "twice", 4, &[("a", int, 0)]);
    s.composite(STRUCT, "twice", 0, &[]);
    s.composite(STRUCT, "twice", 8, &[("a", int, 0), ("b", int, 32)]);
    s.composite(STRUCT, "differs", 8, &[("a", int, 32)]);
    s.composite(STRUCT, "differs", 8, &[("a", int, 0)]);
    s.composite(STRUCT, "opaque", 24, &[]);
    let data = s.bytes();
    let btf = Btf::parse(&data).expect("well-formed");
    assert_eq!(btf.member("twice", "a"), Ok(plain(0, 4)));
    assert_eq!(btf.member("twice", "b"), Ok(plain(4, 4)));
    let ambiguous = |what: &str| LookupError::Ambiguous(what.to_owned());
    assert_eq!(btf.size("twice"), Err(ambiguous("twice")));
    assert_eq!(btf.member("differs", "a"), Err(ambiguous("differs.a")));
    assert_eq!(btf.size("opaque"), Ok(24));
    assert_eq!(btf.member("opaque", "a"), no_member("opaque", "a"));
}

#[test]
fn types_that_contain_themselves_end() {
    let mut s = Sample::new();
    let int = s.int("int", 4);
    // Ids come one after the other: 2 and 3 contain each other twice, 5 and 6 are one another.
    s.composite(STRUCT, "loop", 8, &[("", 3, 0), ("", 3, 0)]);
    s.composite(STRUCT, "", 8, &[("", 2, 0), ("", 2, 0)]);
    s.composite(
        STRUCT,
        "holds",
        8,
        &[("me", 5, 0), ("void", 0, 0), ("gone", 99, 0)],
    );
    s.push(TYPEDEF, "first", 0, 6, &[]);
    s.push(TYPEDEF, "second", 0, 5, &[]);
    s.push(ARRAY, "", 0, 0, &[7, int, 1]);
    s.composite(STRUCT, "rows", 8, &[("row", 7, 0)]);
    let data = s.bytes();
    let btf = Btf::parse(&data).expect("well-formed");
    let endless = |what: &str| LookupError::Endless(what.to_owned());
    assert_eq!(btf.member("loop", "a"), Err(endless("loop.a")));
    assert_eq!(btf.member("holds", "me"), Err(endless("holds.me")));
    assert_eq!(btf.member("rows", "row"), Err(endless("rows.row")));
    assert_eq!(btf.size("first"), Err(endless("first")));
    assert_eq!(btf.member("holds", "gone"), Err(LookupError::Malformed(99)));
    assert_eq!(btf.member("holds", "void"), Err(LookupError::Malformed(4)));
}

#[test]
fn an_unknown_kind_is_skipped_only_where_its_length_is_stated() {
    let mut s = Sample::new();
    s.push(20, "new", 2, 0, &[7, 8, 9, 10, 11]);
    s.composite(STRUCT, "after", 4, &[]);
    let unknown = BtfError::UnknownKind { id: 1, kind: 20 };
    assert_eq!(Btf::parse(&s.bytes()).err(), Some(unknown.clone()));
    s.layout(&[(0, 0); 20]);
    assert_eq!(
        Btf::parse(&s.bytes()).err(),
        Some(unknown),
        "the layout ends before it"
    );
    let mut lengths = vec![(0, 0); 20];
    lengths.push((4, 8));
    s.layout(&lengths);
    let data = s.bytes();
    assert_eq!(Btf::parse(&data).expect("skipped").size("after"), Ok(4));
}

#[test]
fn a_name_without_end_is_none() {
    let mut s = Sample::new();
    s.int(&"x".repeat(4095), 4);
    assert!(Btf::parse(&s.bytes()).is_ok());
    s.int(&"x".repeat(4096), 4);
    assert_eq!(Btf::parse(&s.bytes()).err(), Some(BtfError::Name { id: 2 }));
}

#[test]
fn headers_that_are_not_ours() {
    let good = kernel().bytes();
    let with = |at: usize, byte: u8| {
        let mut data = good.clone();
        data[at] = byte;
        Btf::parse(&data).err()
    };
    let mut swapped = good.clone();
    swapped.swap(0, 1);
    assert_eq!(Btf::parse(&swapped).err(), Some(BtfError::ForeignOrder));
    assert!(matches!(with(0, 0x7f), Some(BtfError::Magic(_))));
    assert_eq!(with(2, 2), Some(BtfError::Version(2)));
    assert_eq!(with(4, 8), Some(BtfError::Header { length: 8 }));
    assert_eq!(with(15, 0x7f), Some(BtfError::Section("types")));
    assert_eq!(with(23, 0x7f), Some(BtfError::Section("strings")));
    assert_eq!(with(good.len() - 1, b'x'), Some(BtfError::Strings));
    assert_eq!(Btf::parse(&[]).err(), Some(BtfError::Header { length: 0 }));
    assert_eq!(with(27, 0x7f), Some(BtfError::Name { id: 1 }));
}

/// Asks everything that can be asked, for the sake of what must not happen.
fn interrogate(data: &[u8]) {
    let Ok(btf) = Btf::parse(data) else { return };
    for id in 0..64 {
        let Some(name) = btf.get(id).and_then(|ty| btf.text(ty.name)) else {
            continue;
        };
        for path in ["net", "__common.net.net", "", "rcv_saddr", "bits", "a.a"] {
            drop(btf.member(name, path));
        }
        drop((btf.size(name), btf.function(name), btf.enumerator(name)));
    }
}

#[test]
fn every_cut_is_noticed() {
    for with_layout in [false, true] {
        let mut sample = kernel();
        if with_layout {
            sample.layout(&[(0, 0); 20]);
        }
        let data = sample.bytes();
        assert!(Btf::parse(&data).is_ok());
        for end in 0..data.len() {
            assert!(
                Btf::parse(&data[..end]).is_err(),
                "cut at {end} of {}",
                data.len()
            );
        }
    }
}

#[test]
fn every_byte_may_be_any_byte() {
    let mut data = kernel().bytes();
    for at in 0..data.len() {
        let byte = data[at];
        for other in (0..8).map(|bit| byte ^ 1 << bit).chain([0, 0xff]) {
            data[at] = other;
            interrogate(&data);
        }
        data[at] = byte;
    }
}

proptest! {
    #[test]
    fn any_bytes_give_an_answer(body in proptest::collection::vec(any::<u8>(), 0..512)) {
        interrogate(&body);
        let types = u32::try_from(body.len()).expect("small");
        let words = [24, 0, types, types, 2];
        let mut data = [&0xeb9f_u16.to_ne_bytes()[..], &[1, 0]].concat();
        data.extend(words.iter().flat_map(|word: &u32| word.to_ne_bytes()));
        data.extend(body);
        data.extend([0, 0]);
        interrogate(&data);
    }

    /// Right kinds, so that the parse gets through, with references to anywhere.
    #[test]
    fn any_graph_gives_an_answer(
        types in proptest::collection::vec((1_u32..20, 0_usize..5, any::<bool>(), 0_u32..24), 1..24),
        fill in proptest::collection::vec(0_u32..24, 15),
    ) {
        let mut sample = Sample::new();
        for (kind, count, flag, target) in types {
            let words = match kind {
                INT | VAR | DECL_TAG => 1,
                ARRAY => 3,
                STRUCT | UNION | DATASEC | ENUM64 => 3 * count,
                ENUM | FUNC_PROTO => 2 * count,
                _ => 0,
            };
            let kind = if flag { kind | FLAG } else { kind };
            sample.push(kind, "net", count, target, &fill[..words]);
        }
        let data = sample.bytes();
        prop_assert!(Btf::parse(&data).is_ok());
        interrogate(&data);
    }
}
