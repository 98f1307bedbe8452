//! What is resolved from the BTF of twelve kernels, and of the one that runs.
//!
//! The BTF in `tests/btf` is that of whole kernels, cut down by `examples/btf-strip.rs`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;

use portwatch::probe::btf::{self, Btf, Kind, LookupError, Shape};
use portwatch::probe::functions::DUTIES;
use portwatch::probe::offsets::{OffsetsError, resolve};
use portwatch_common::Offsets;
use portwatch_common::offsets::{ABSENT, Read, Want};
use proptest::prelude::*;

macro_rules! kernels {
    ($($release:literal)*) => {
        &[$(($release, include_bytes!(concat!("btf/vmlinux-", $release, ".btf")))),*]
    };
}

const KERNELS: &[(&str, &[u8])] = kernels!(
    "5.4" "5.11" "5.13" "5.16" "5.18" "5.19" "6.1" "6.6" "6.8" "6.11" "6.18" "7.1"
);

/// Functions that are or may become hooks.
const HOOKS: &[&str] = &[
    "inet_csk_get_port",
    "udp_lib_get_port",
    "inet_hash_connect",
    "inet6_hash_connect",
    "__inet_hash_connect",
    "inet_bind_sk",
    "inet6_bind_sk",
    "inet_bind",
    "inet6_bind",
    "__inet_listen_sk",
    "inet_listen",
    "inet_csk_listen_start",
    "inet_dgram_connect",
    "inet_put_port",
    "inet_twsk_bind_unhash",
    "udp_lib_unhash",
    "bpf_sock_from_file",
];

fn parsed() -> impl Iterator<Item = (&'static str, Btf<'static>)> {
    KERNELS.iter().map(|&(release, data)| {
        (
            release,
            Btf::parse(data).unwrap_or_else(|error| panic!("{release}: {error}")),
        )
    })
}

fn fixture(release: &str) -> Btf<'static> {
    parsed()
        .find(|&(other, _)| other == release)
        .expect("a kernel of the list")
        .1
}

fn values(offsets: Offsets) -> [u32; Offsets::TABLE.len()] {
    zerocopy::transmute!(offsets)
}

fn cell(want: Want, value: u32) -> String {
    match want {
        _ if value == ABSENT => "-".to_owned(),
        Want::Bits(..) => {
            let (byte, shift, width) = (value & 0xffff, value >> 16 & 0xff, value >> 24);
            format!("{byte}.{shift}:{width}")
        }
        Want::Member(..)
        | Want::IsPointer(..)
        | Want::Size(_)
        | Want::MemberSize(..)
        | Want::Enum(_) => value.to_string(),
    }
}

#[test]
fn offsets_of_each_kernel() {
    let mut table = format!("{:29}", "field");
    let mut columns = Vec::new();
    for (release, btf) in parsed() {
        if let Ok(offsets) = resolve(&btf, release) {
            write!(table, "{release:>9}").expect("a string");
            columns.push(values(offsets));
        }
    }
    for (index, entry) in Offsets::TABLE.iter().enumerate() {
        write!(table, "\n{:29}", entry.field).expect("a string");
        for column in &columns {
            write!(table, "{:>9}", cell(entry.want, column[index])).expect("a string");
        }
    }
    insta::assert_snapshot!(table);
}

#[test]
fn kernels_that_are_refused() {
    let refused: Vec<String> = parsed()
        .filter_map(|(release, btf)| resolve(&btf, release).err())
        .map(|error| error.to_string())
        .collect();
    insta::assert_snapshot!(refused.join("\n"), @"the probes cannot read kernel `5.4`: `task_struct.start_boottime`: no member `start_boottime` in `task_struct`; `sock.sk_protocol`: it is a bitfield; `net.net_cookie`: no member `net_cookie` in `net`");
}

#[test]
fn hooks_of_each_kernel() {
    let mut text = String::new();
    for &hook in HOOKS {
        let mut prototypes: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        for (release, btf) in parsed() {
            let line = match prototype(&btf, hook) {
                Ok(line) => line,
                Err(LookupError::NoFunction(_)) => "absent".to_owned(),
                Err(error) => panic!("{release}: {error}"),
            };
            prototypes.entry(line).or_default().push(release);
        }
        writeln!(text, "{hook}").expect("a string");
        for (prototype, releases) in prototypes {
            writeln!(text, "    {prototype}: {}", releases.join(" ")).expect("a string");
        }
    }
    insta::assert_snapshot!(text);
}

fn prototype(btf: &Btf<'_>, function: &str) -> Result<String, LookupError> {
    let found = btf.function(function)?;
    let params = found.params.iter();
    let params: Vec<_> = params
        .map(|param| format!("{}: {}", param.name, show(param.shape)))
        .collect();
    Ok(format!("({}) -> {}", params.join(", "), show(found.result)))
}

/// What the hook table says of a function is what every kernel says that has it: a program reads its
/// arguments and its result by their place.
#[test]
fn hooked_functions_have_the_prototypes_of_the_table() {
    let mut met = BTreeMap::new();
    for function in DUTIES.iter().flat_map(|duty| duty.ways).copied().flatten() {
        for (release, btf) in parsed().filter(|(release, btf)| resolve(btf, release).is_ok()) {
            match prototype(&btf, function.name) {
                // Since 7.1 the kernel calls its addresses so.
                Ok(found) => {
                    let found = found.replace("*sockaddr_unsized", "*sockaddr");
                    assert_eq!(
                        found, function.prototype,
                        "`{}` of {release}",
                        function.name
                    );
                    *met.entry(function.name).or_insert(0) += 1;
                }
                Err(LookupError::NoFunction(_)) => {}
                Err(error) => panic!("{release}: {error}"),
            }
        }
        assert!(
            met.contains_key(function.name),
            "no kernel has `{}`",
            function.name
        );
    }
}

/// Every kernel that is supported has a function for every duty.
#[test]
fn every_kernel_has_a_function_for_every_duty() {
    for (release, btf) in parsed().filter(|(release, btf)| resolve(btf, release).is_ok()) {
        for duty in DUTIES {
            let served = duty.ways.iter().any(|way| {
                way.iter()
                    .all(|function| btf.function(function.name).is_ok())
            });
            assert!(served, "{}: {release}", duty.what);
        }
    }
}

fn show(shape: Shape<'_>) -> String {
    match shape {
        Shape::Void => "()".to_owned(),
        Shape::Int { size, signed } => format!("{}{}", if signed { 'i' } else { 'u' }, size * 8),
        Shape::Enum { size } => format!("enum of {size}"),
        Shape::Float { size } => format!("f{}", size * 8),
        Shape::Pointer(to) => format!("*{to}"),
        Shape::Composite { name, .. } => name.to_owned(),
    }
}

/// Numbers that were verified by running probes on 6.18, and do not hang on its configuration.
#[test]
fn offsets_that_were_verified_by_running() {
    let offsets = resolve(&fixture("6.18"), "6.18").expect("is supported");
    for (found, verified) in [
        (offsets.skc_net, 48),
        (offsets.net_hash_mix, 432),
        (offsets.net_inum, 152 + 24),
        (offsets.hashinfo_bhash, 32),
        (offsets.hashinfo_bhash_size, 56),
        (offsets.bhash_bucket_size, 16),
        (offsets.bhash_bucket_chain, 8),
        (offsets.tb_node, 48),
        (offsets.tb_net, 0),
        (offsets.tb_port, 12),
        (offsets.tb_l3mdev, 8),
        (offsets.tb_bhash2, 64),
        (offsets.tb2_bhash_node, 48),
        (offsets.tb2_owners, 64),
        (offsets.skc_bind_node, 24),
        (offsets.skc_node, 104),
        (offsets.udp_hslot_size, 16),
        (offsets.udp_hslot_head, 0),
        (offsets.skc_reuse, 19 | 4 << 24),
        (offsets.skc_reuseport, 19 | 4 << 16 | 1 << 24),
    ] {
        assert_eq!(found, verified);
    }
}

/// What a program reads of a member is what every kernel has there, no more and no less.
#[test]
fn members_are_what_the_programs_read() {
    // `int [2]` until 6.7, then one `u32`: `net_port_range_size` tells them apart. `int`, then `u16`:
    // the flags that matter are in the low half. The rest of the registers has one for each.
    let wider = ["net_port_range", "sk_gso_type", "regs_array"];
    for entry in Offsets::TABLE {
        let Want::Member(of, path, read) = entry.want else {
            continue;
        };
        for (release, btf) in parsed().filter(|(release, btf)| resolve(btf, release).is_ok()) {
            let Ok(member) = btf.member(of, path) else {
                continue;
            };
            let there = match read {
                Read::Place => read,
                Read::Bytes(size) if wider.contains(&entry.field) && member.size >= size => read,
                Read::Pointer | Read::Bytes(_) if member.is_pointer => Read::Pointer,
                Read::Pointer | Read::Bytes(_) => Read::Bytes(member.size),
            };
            assert_eq!(there, read, "`{}` of {release}", entry.field);
        }
    }
}

#[test]
fn fixtures_know_of_every_entry_of_the_table() {
    for (release, btf) in parsed() {
        for entry in Offsets::TABLE {
            let (Want::Member(name, _, _)
            | Want::Bits(name, _)
            | Want::IsPointer(name, _)
            | Want::MemberSize(name, _)
            | Want::Size(name)
            | Want::Enum(name)) = entry.want;
            assert!(
                btf.has(Kind::Typedef, &format!("sought_{name}")),
                "the fixture of {release} was made before `{name}` came into the table: make the \
                 fixtures anew by `cargo run -p portwatch --example btf-strip`"
            );
        }
    }
}

#[test]
fn a_kernel_that_has_nothing_is_told_all_it_lacks() {
    let empty = [&[0x9f, 0xeb, 1, 0, 24][..], &[0; 15], &[1, 0, 0, 0, 0]].concat();
    let btf = Btf::parse(&empty).expect("no types at all");
    let error = resolve(&btf, "9.9.9-odd").expect_err("nothing is there");
    let text = error.to_string();
    let OffsetsError::Missing { release, missing } = error else {
        panic!("{text}")
    };
    assert_eq!(release, "9.9.9-odd");
    assert!(text.contains("`9.9.9-odd`"), "{text}");
    assert!(text.contains("`net.ns.inum`: no type `net`; "), "{text}");
    let required = Offsets::TABLE.iter().filter(|entry| !entry.optional);
    assert!(
        required
            .map(|entry| entry.field)
            .eq(missing.iter().map(|missing| missing.field))
    );
}

#[test]
fn the_running_kernel() {
    let read = |path: &str| std::fs::read(path);
    let data = match read(btf::KERNEL) {
        Ok(data) => data,
        Err(error) => {
            // Past the capture of a test's output: a skipped test must not look like a passed one.
            let mut err = std::io::stderr().lock();
            let line = format!("SKIPPED: the_running_kernel: `{}`: {error}\n", btf::KERNEL);
            err.write_all(line.as_bytes()).expect("stderr");
            return;
        }
    };
    let release = read("/proc/sys/kernel/osrelease").expect("procfs");
    let release = String::from_utf8_lossy(&release).trim().to_owned();
    let btf = Btf::parse(&data).unwrap_or_else(|error| panic!("{release}: {error}"));
    resolve(&btf, &release).unwrap_or_else(|error| panic!("{error}"));
    let prototype = btf.function("inet_csk_get_port").expect("TCP is built in");
    assert_eq!(
        prototype.params.first().map(|param| param.shape),
        Some(Shape::Pointer("sock"))
    );
    assert!(btf.has(Kind::Typedef, "btf_trace_sys_exit"));
}

#[test]
fn a_cut_fixture_is_no_btf() {
    let data = KERNELS[0].1;
    for end in (0..data.len()).step_by(61) {
        assert!(Btf::parse(&data[..end]).is_err(), "cut at {end}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Whatever the damage: an answer or an error, and soon.
    #[test]
    fn damaged_fixtures_give_an_answer(
        kernel in 0..KERNELS.len(),
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..64),
    ) {
        let mut data = KERNELS[kernel].1.to_vec();
        for (at, byte) in damage {
            // Past the magic number, which would end it before it began.
            let at = 2 + at.index(data.len() - 2);
            data[at] = byte;
        }
        if let Ok(btf) = Btf::parse(&data) {
            drop(resolve(&btf, "damaged"));
            HOOKS.iter().for_each(|hook| drop(btf.function(hook)));
        }
    }
}
