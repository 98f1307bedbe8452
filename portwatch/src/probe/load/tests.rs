//! What the object holds, read from its bytes (ELF-64, little endian).

use super::OBJECT;

fn number(bytes: &[u8], at: usize, length: usize) -> usize {
    let mut number = 0;
    for byte in bytes[at..at + length].iter().rev() {
        number = number << 8 | usize::from(*byte);
    }
    number
}

fn text(bytes: &[u8]) -> &str {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap();
    std::str::from_utf8(&bytes[..end]).unwrap()
}

struct Section {
    name: String,
    kind: usize,
    link: usize,
    bytes: &'static [u8],
}

fn sections() -> Vec<Section> {
    let headers = &OBJECT[number(OBJECT, 0x28, 8)..];
    let of = |index: usize| &headers[index * 64..(index + 1) * 64];
    let body = |header: &[u8]| {
        let start = number(header, 0x18, 8);
        &OBJECT[start..start + number(header, 0x20, 8)]
    };
    let names = body(of(number(OBJECT, 0x3e, 2)));
    (0..number(OBJECT, 0x3c, 2))
        .map(of)
        .map(|header| Section {
            name: text(&names[number(header, 0, 4)..]).to_owned(),
            kind: number(header, 4, 4),
            link: number(header, 0x28, 4),
            // SHT_NOBITS has no bytes.
            bytes: if number(header, 4, 4) == 8 {
                &[]
            } else {
                body(header)
            },
        })
        .collect()
}

/// Helpers and functions that the instructions of a section call.
fn calls(name: &str) -> (Vec<usize>, Vec<String>) {
    let sections = sections();
    let code = sections.iter().find(|section| section.name == name);
    let relocations = sections
        .iter()
        .find(|section| section.name == format!(".rel{name}"))
        .unwrap();
    let symbols = &sections[relocations.link];
    let strings = &sections[symbols.link];
    let function = |at: usize| {
        let entry = relocations
            .bytes
            .chunks(16)
            .find(|entry| number(entry, 0, 8) == at)
            .unwrap();
        let symbol = &symbols.bytes[number(entry, 12, 4) * 24..];
        text(&strings.bytes[number(symbol, 0, 4)..]).to_owned()
    };
    let (mut helpers, mut functions) = (Vec::new(), Vec::new());
    for (index, instruction) in code.unwrap().bytes.chunks(8).enumerate() {
        // BPF_JMP | BPF_CALL; the upper half of `registers` says whom.
        if instruction[0] == 0x85 {
            match instruction[1] >> 4 {
                0 => helpers.push(number(instruction, 4, 4)),
                _ => functions.push(function(index * 8)),
            }
        }
    }
    (helpers, functions)
}

/// `bpf_probe_read_kernel`, `_str`, and their older forms: lockdown=confidentiality refuses to load
/// what calls them (kernel/bpf/helpers.c:bpf_base_func_proto, kernel/trace/bpf_trace.c). Those for
/// the caller's memory, 112 and 114, become the older forms there (aya-obj).
const READ: [usize; 6] = [4, 45, 112, 113, 114, 115];

#[test]
fn the_blind_programs_read_no_memory_by_a_helper() {
    assert_eq!(sections().iter().filter(|s| s.kind == 2).count(), 1);
    for program in ["tp_btf/sys_exit", "cgroup/bind4", "cgroup/bind6"] {
        let (helpers, functions) = calls(program);
        assert!(!helpers.is_empty(), "{program}");
        assert!(
            !helpers.iter().any(|helper| READ.contains(helper)),
            "{program}: {helpers:?}"
        );
        assert!(
            functions
                .iter()
                .all(|name| matches!(name.as_str(), "memset" | "memcpy" | "memmove")),
            "{program}: {functions:?}"
        );
    }
    // The search finds such calls where they are.
    let (others, _) = calls("tp_btf/sched_process_exit");
    assert!(others.contains(&113), "{others:?}");
}
