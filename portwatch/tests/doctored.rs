//! Kernels that nobody has built: a fixture's BTF with a member moved, a member gone, a function that
//! the compiler made another of. What moved is followed, what is gone is named, and what is inlined or
//! cloned (`.isra`, `.constprop`) is no hook.

use std::process::Command;

use portwatch::probe::btf::Btf;
use portwatch::probe::offsets::resolve;
use portwatch::probe::support;
use portwatch::report::BackendName;

const FIXTURE: &[u8] = include_bytes!("btf/vmlinux-6.11.btf");

/// Where the string section begins, and its length (include/uapi/linux/btf.h, struct btf_header).
fn strings(data: &[u8]) -> (usize, usize) {
    let word = |at: usize| {
        let bytes = data[at..at + 4].try_into().expect("a word");
        u32::from_le_bytes(bytes) as usize
    };
    (word(4) + word(16), word(20))
}

/// The fixture with one name in place of another of the same length.
fn renamed(from: &str, to: &str) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut data = FIXTURE.to_vec();
    let at = offset_of(&data, from);
    let (begin, _) = strings(&data);
    data[begin + at..begin + at + to.len()].copy_from_slice(to.as_bytes());
    data
}

/// Offset of a name in the string section.
fn offset_of(data: &[u8], name: &str) -> usize {
    let (begin, length) = strings(data);
    let wanted = format!("\0{name}\0");
    data[begin..begin + length]
        .windows(wanted.len())
        .position(|window| window == wanted.as_bytes())
        .map(|at| at + 1)
        .unwrap_or_else(|| panic!("no `{name}`"))
}

/// The fixture with a member at another place, by its name, which only one struct may have.
fn moved(member: &str, by_bits: u32) -> Vec<u8> {
    let mut data = FIXTURE.to_vec();
    let name = u32::try_from(offset_of(&data, member))
        .expect("small")
        .to_le_bytes();
    let (end, _) = strings(&data);
    // A member is three words: name, type, offset in bits.
    let places: Vec<usize> = (24..end - 8)
        .step_by(4)
        .filter(|&at| data[at..at + 4] == name)
        .collect();
    let [at] = places.as_slice() else {
        panic!("`{member}` is named {} times", places.len());
    };
    let offset = &mut data[at + 8..at + 12];
    let bits = u32::from_le_bytes((&*offset).try_into().expect("a word")) + by_bits;
    offset.copy_from_slice(&bits.to_le_bytes());
    data
}

/// The fixture with a function of the prototype of another.
fn retyped(function: &str, like: &str) -> Vec<u8> {
    let mut data = FIXTURE.to_vec();
    let place = |data: &[u8], name: &str| {
        let name = u32::try_from(offset_of(data, name)).expect("small");
        let (end, _) = strings(data);
        // BTF_KIND_FUNC is 12: a name, kind and linkage, the type of its prototype.
        let function =
            |at: &usize| data[*at..at + 4] == name.to_le_bytes() && data[at + 7] & 0x1f == 12;
        let found = (24..end - 12).step_by(4).find(function);
        found.expect("a function of that name") + 8
    };
    let (to, from) = (place(&data, function), place(&data, like));
    data.copy_within(from..from + 4, to);
    data
}

/// The fixture with a member of the type of another; only one struct may have a member of that name.
fn recast(member: &str, like: &str) -> Vec<u8> {
    let mut data = FIXTURE.to_vec();
    let place = |data: &[u8], name: &str| {
        let name = u32::try_from(offset_of(data, name)).expect("small");
        let (end, _) = strings(data);
        let mut found = (24..end - 8)
            .step_by(4)
            .filter(|&at| data[at..at + 4] == name.to_le_bytes());
        let at = found.next().expect("a member of that name");
        assert_eq!(found.next(), None, "two members of that name");
        at + 4
    };
    let (to, from) = (place(&data, member), place(&data, like));
    data.copy_within(from..from + 4, to);
    data
}

/// What would be read of such a member is no fact.
#[test]
fn a_member_that_is_something_else_is_refused() {
    for (member, like, why) in [
        (
            "skc_num",
            "skc_state",
            "it is too short (bytes: 1; read: 2)",
        ),
        ("skc_prot", "skc_cookie", "it is no pointer"),
        ("skc_dport", "skc_prot", "it is a pointer"),
    ] {
        let data = recast(member, like);
        let error = resolve(&Btf::parse(&data).expect("BTF"), "doctored").expect_err(member);
        let text = error.to_string();
        assert!(text.contains(why) && text.contains(member), "{text}");
    }
    // A number that is wider begins as it did.
    let wider = recast("skc_bound_dev_if", "skc_cookie");
    assert!(resolve(&Btf::parse(&wider).expect("BTF"), "doctored").is_ok());
}

/// A program reads its arguments by their place: of another prototype they would be others.
#[test]
fn a_function_with_another_prototype_is_no_hook() {
    for (function, like) in [
        ("inet_csk_get_port", "inet_hash_connect"),
        ("udp_lib_get_port", "inet_csk_get_port"),
        ("inet_hash_connect", "inet_put_port"),
    ] {
        let data = retyped(function, like);
        let support = support::of(&Btf::parse(&data).expect("BTF"));
        assert_eq!(support.backend, Some(BackendName::Tracepoint), "{function}");
        let found = support.functions.iter().find(|one| one.name == function);
        assert!(found.is_some_and(|one| !one.present), "{function}");
    }
}

#[test]
fn what_the_probes_can_do_without_is_told_one_by_one() {
    for (gone, with, name) in [
        (
            "local_port_range",
            "local_port_rangE",
            "IP_LOCAL_PORT_RANGE",
        ),
        ("mptcp_sock", "mptcp_socK", "MPTCP"),
        ("encap_rcv", "encap_rcV", "udp_sock.encap_rcv"),
        ("sk_data_ready", "sk_data_readY", "sock.sk_data_ready"),
        ("inet_flags", "inet_flagS", "options of inet sockets"),
    ] {
        let there = |data: &[u8]| {
            let support = support::of(&Btf::parse(data).expect("BTF"));
            assert_eq!(support.refused, None, "{name}");
            let field = support.fields.iter().find(|field| field.name == name);
            field.expect("is told").present
        };
        assert!(there(FIXTURE), "{name}");
        assert!(!there(&renamed(gone, with)), "{name}");
    }
}

#[test]
fn a_member_that_moved_is_followed() {
    let before = resolve(&Btf::parse(FIXTURE).expect("BTF"), "6.11").expect("offsets");
    let data = moved("skc_state", 8 * 640);
    let after = resolve(&Btf::parse(&data).expect("BTF"), "6.11").expect("offsets");
    assert_eq!(after.skc_state, before.skc_state + 640);
    assert_eq!(after.skc_family, before.skc_family);
}

/// Garbage that is not noticed would be a wrong culprit: every field that has to be there is named.
#[test]
fn a_member_that_is_gone_is_named() {
    for (member, path) in [
        ("skc_state", "sock_common.skc_state"),
        ("bhash_size", "inet_hashinfo.bhash_size"),
        ("start_boottime", "task_struct.start_boottime"),
        ("hash_mix", "net.hash_mix"),
    ] {
        let gone = member.replace('_', "-");
        let data = renamed(member, &gone);
        let error = resolve(&Btf::parse(&data).expect("BTF"), "6.11").expect_err(member);
        let told = error.to_string();
        assert!(told.contains(&format!("`{path}`")), "{member}: {told}");
        let support = support::of(&Btf::parse(&data).expect("BTF"));
        assert!(
            support.refused.is_some_and(|why| why.contains(path)),
            "{member}"
        );
        assert_eq!(support.backend, None, "{member}");
    }
}

/// Both forms of the owners' list gone: the walk would find nobody, without an error.
#[test]
fn a_bucket_without_any_list_of_owners_is_refused() {
    let data = renamed("bhash2", "bhash3");
    let error = resolve(&Btf::parse(&data).expect("BTF"), "6.11").expect_err("no owners");
    assert!(error.to_string().contains("owners"), "{error}");
}

/// What the compiler makes of a function is no hook: another arity, or no function at all.
#[test]
fn a_function_that_was_inlined_or_cloned_is_no_hook() {
    for (function, clone) in [
        ("inet_csk_get_port", "inet_csk_get.isra"),
        ("inet_hash_connect", "inet_ha.constprop"),
    ] {
        let data = renamed(function, clone);
        let support = support::of(&Btf::parse(&data).expect("BTF"));
        assert_eq!(support.refused, None, "{function}");
        assert_eq!(support.backend, Some(BackendName::Tracepoint), "{function}");
        let found = support
            .functions
            .iter()
            .find(|found| found.name == function)
            .expect("a function of the table");
        assert!(!found.present, "{function}");
    }
    // The older pair serves bind() where the newer is inlined; without ends of TIME_WAIT the rest is
    // served all the same.
    for (function, clone) in [
        ("inet_bind_sk", "inet_bi.isra"),
        ("inet_put_port", "inet_put.isra"),
    ] {
        let data = renamed(function, clone);
        let support = support::of(&Btf::parse(&data).expect("BTF"));
        assert_eq!(support.backend, Some(BackendName::Trampoline), "{function}");
    }
}

#[test]
fn the_doctor_names_what_is_lacking() {
    let folder = tempfile::tempdir().expect("a folder");
    let doctor = |data: &[u8]| {
        let file = folder.path().join("vmlinux");
        std::fs::write(&file, data).expect("a file");
        let done = Command::new(env!("CARGO_BIN_EXE_portwatch"))
            .args(["doctor", "--btf"])
            .arg(&file)
            .output()
            .expect("portwatch");
        let told = String::from_utf8_lossy(&done.stdout).into_owned();
        (done.status.code(), told)
    };
    let (status, told) = doctor(&renamed("inet_csk_get_port", "inet_csk_get.isra"));
    assert_eq!(status, Some(0), "{told}");
    let line = told.lines().find(|line| line.contains("inet_csk_get_port"));
    assert!(line.is_some_and(|line| line.contains("LACKS")), "{told}");
    let (status, told) = doctor(&renamed("skc_state", "skc-state"));
    assert_eq!(status, Some(2), "{told}");
    assert!(told.contains("`sock_common.skc_state`"), "{told}");
}
