//! Makes the fixtures in `portwatch/tests/btf` from the BTF of whole kernels.
//!
//! ```text
//! cargo run -p portwatch --example btf-strip -- portwatch/tests/btf vmlinux-6.18.btf.xz ...
//! ```
//!
//! Kept are the types that the offsets, the hooks' prototypes and the iterators are read from, with
//! all their members. A pointer leads to a forward declaration or to nothing, so that a struct does
//! not bring half of the kernel along. What a kernel lacks, its fixture lacks; that it was looked
//! for is told by a typedef `sought_NAME`, so that a fixture older than the table gives itself away.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use portwatch::probe::btf::{Btf, Kind, Type};
use portwatch::probe::functions::DUTIES;
use portwatch_common::Offsets;
use portwatch_common::offsets::Want;

/// Functions that are or may become hooks, and such whose presence tells what a kernel can do.
const FUNCTIONS: &[&str] = &[
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
    "inet_put_port",
    "inet_twsk_bind_unhash",
    "udp_lib_unhash",
    "bpf_sock_from_file",
    "bpf_get_socket_cookie",
    "bpf_get_socket_ptr_cookie",
];

/// Types beside those of the offsets' table.
const TYPES: &[&str] = &[
    "bpf_iter__task_file",
    "btf_bpf_sock_from_file",
    "btf_bpf_get_socket_cookie",
    "btf_bpf_get_socket_ptr_cookie",
    "bpf_func_id",
    "bpf_map_type",
    "bpf_attach_type",
    "pt_regs",
    "btf_trace_sys_enter",
    "btf_trace_sys_exit",
    "btf_trace_inet_sock_set_state",
    "trace_event_raw_sys_exit",
    "trace_event_raw_inet_sock_set_state",
];

const FLAG: u32 = 1 << 31;
const FWD: u32 = 7 << 24;
const TYPEDEF: u32 = 8 << 24;

fn main() -> Result<()> {
    let mut args = std::env::args_os().skip(1).map(PathBuf::from);
    let out = args.next().context("usage: btf-strip DIRECTORY BTF...")?;
    for path in args {
        let data = read(&path).with_context(|| format!("`{}`", path.display()))?;
        let stripped = strip(&data).with_context(|| format!("`{}`", path.display()))?;
        let name = path.file_name().context("no file name")?.to_string_lossy();
        let target = out.join(name.trim_end_matches(".xz"));
        std::fs::write(&target, &stripped)?;
        println!(
            "{} bytes of {}: {}",
            stripped.len(),
            data.len(),
            target.display()
        );
    }
    Ok(())
}

fn read(path: &Path) -> Result<Vec<u8>> {
    if path.extension().is_none_or(|extension| extension != "xz") {
        return Ok(std::fs::read(path)?);
    }
    let output = Command::new("xz")
        .arg("-dc")
        .arg(path)
        .output()
        .context("`xz`")?;
    ensure!(
        output.status.success(),
        "`xz`: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(output.stdout)
}

fn strip(data: &[u8]) -> Result<Vec<u8>> {
    let btf = Btf::parse(data)?;
    let mut strip = Strip {
        btf: &btf,
        ids: HashMap::new(),
        queue: Vec::new(),
        types: Vec::new(),
        strings: vec![0],
        offsets: HashMap::from([(String::new(), 0)]),
    };
    strip.roots()?;
    let mut next = 0;
    while let Some(&item) = strip.queue.get(next) {
        strip.emit(item)?;
        next += 1;
    }
    strip.mark_sought()?;
    let stripped = strip.finish(layout(data))?;
    Btf::parse(&stripped).context("the result is malformed")?;
    Ok(stripped)
}

/// The layout section, where there is one.
fn layout(data: &[u8]) -> Option<&[u8]> {
    let word = |at: usize| -> Option<usize> {
        let bytes = data.get(at..)?.first_chunk()?;
        usize::try_from(u32::from_le_bytes(*bytes)).ok()
    };
    let header = word(4)?;
    if header < 32 {
        return None;
    }
    let start = header.checked_add(word(24)?)?;
    data.get(start..start.checked_add(word(28)?)?)
}

/// A type of the result.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Item {
    /// One of the input.
    Whole(u32),
    /// A forward declaration in place of one.
    Forward(u32),
}

struct Strip<'a> {
    btf: &'a Btf<'a>,
    ids: HashMap<Item, u32>,
    queue: Vec<Item>,
    types: Vec<u32>,
    strings: Vec<u8>,
    offsets: HashMap<String, u32>,
}

impl Strip<'_> {
    fn roots(&mut self) -> Result<()> {
        for entry in Offsets::TABLE {
            match entry.want {
                Want::Member(name, _, _)
                | Want::Bits(name, _)
                | Want::IsPointer(name, _)
                | Want::MemberSize(name, _)
                | Want::Size(name) => self.add_named(name, |kind| kind != Kind::Fwd)?,
                Want::Enum(name) => self.add_enum_with(name)?,
            }
        }
        let hooked = DUTIES.iter().flat_map(|duty| duty.ways).copied().flatten();
        for name in FUNCTIONS
            .iter()
            .chain(hooked.map(|function| &function.name))
        {
            self.add_named(name, |kind| kind == Kind::Func)?;
        }
        for name in TYPES {
            self.add_named(name, |kind| {
                matches!(
                    kind,
                    Kind::Struct | Kind::Typedef | Kind::Enum | Kind::Enum64
                )
            })?;
        }
        Ok(())
    }

    /// After everything else: nothing refers to these.
    fn mark_sought(&mut self) -> Result<()> {
        let mut names: Vec<&str> = Offsets::TABLE
            .iter()
            .map(|entry| match entry.want {
                Want::Member(name, _, _)
                | Want::Bits(name, _)
                | Want::IsPointer(name, _)
                | Want::MemberSize(name, _)
                | Want::Size(name)
                | Want::Enum(name) => name,
            })
            .collect();
        names.sort_unstable();
        names.dedup();
        for name in names {
            let name = self.new_text(&format!("sought_{name}"))?;
            self.types.extend([name, TYPEDEF, 0]);
        }
        Ok(())
    }

    fn add_named(&mut self, name: &str, wanted: impl Fn(Kind) -> bool) -> Result<()> {
        let btf = self.btf;
        let mut ids: Vec<_> = btf
            .named(name)
            .filter(|ty| wanted(ty.kind))
            .map(|ty| ty.id)
            .collect();
        ids.sort_unstable();
        ids.into_iter().try_for_each(|id| self.whole(id).map(drop))
    }

    fn add_enum_with(&mut self, enumerator: &str) -> Result<()> {
        let btf = self.btf;
        for ty in (1..).map_while(|id| btf.get(id)) {
            let is_it = |text| btf.text(text) == Some(enumerator);
            let found = (ty.kind == Kind::Enum && ty.elements::<2>().any(|[text, _]| is_it(text)))
                || (ty.kind == Kind::Enum64 && ty.elements::<3>().any(|[text, ..]| is_it(text)));
            if found {
                self.whole(ty.id)?;
            }
        }
        Ok(())
    }

    fn item(&mut self, item: Item) -> Result<u32> {
        if let Some(&id) = self.ids.get(&item) {
            return Ok(id);
        }
        self.queue.push(item);
        let id = u32::try_from(self.queue.len())?;
        self.ids.insert(item, id);
        Ok(id)
    }

    fn whole(&mut self, id: u32) -> Result<u32> {
        if id == 0 {
            Ok(0)
        } else {
            self.item(Item::Whole(id))
        }
    }

    /// What a pointer may lead to: an integer, a declaration of a struct or union, or nothing.
    fn pointee(&mut self, id: u32) -> Result<u32> {
        let is_modifier = |ty: &Type<'_>| {
            matches!(
                ty.kind,
                Kind::Typedef | Kind::Const | Kind::Volatile | Kind::Restrict | Kind::TypeTag
            )
        };
        let mut target = self.btf.get(id);
        while let Some(ty) = target.filter(is_modifier) {
            target = self.btf.get(ty.size_or_type);
        }
        match target {
            Some(ty) if matches!(ty.kind, Kind::Int | Kind::Fwd) => self.whole(ty.id),
            Some(ty) if matches!(ty.kind, Kind::Struct | Kind::Union) && ty.name != 0 => {
                self.item(Item::Forward(ty.id))
            }
            _ => Ok(0),
        }
    }

    fn emit(&mut self, item: Item) -> Result<()> {
        let (Item::Whole(id) | Item::Forward(id)) = item;
        let ty = self.btf.get(id).with_context(|| format!("no type {id}"))?;
        let name = self.text(ty.name)?;
        if matches!(item, Item::Forward(_)) {
            let flag = if ty.kind == Kind::Union { FLAG } else { 0 };
            self.types.extend([name, FWD | flag, 0]);
            return Ok(());
        }
        let at = self.types.len();
        self.types.extend([name, info(&ty), ty.size_or_type]);
        match ty.kind {
            Kind::Int | Kind::Float | Kind::Fwd => self.types.extend(ty.elements::<1>().flatten()),
            Kind::Ptr => self.types[at + 2] = self.pointee(ty.size_or_type)?,
            Kind::Typedef
            | Kind::Volatile
            | Kind::Const
            | Kind::Restrict
            | Kind::TypeTag
            | Kind::Func => self.types[at + 2] = self.whole(ty.size_or_type)?,
            Kind::Array => {
                let [element, index, count] = ty.elements().next().context("array")?;
                let words = [self.whole(element)?, self.whole(index)?, count];
                self.types.extend(words);
            }
            Kind::Struct | Kind::Union => {
                for [text, member, offset] in ty.elements() {
                    let words = [self.text(text)?, self.whole(member)?, offset];
                    self.types.extend(words);
                }
            }
            Kind::Enum => {
                for [text, value] in ty.elements() {
                    let words = [self.text(text)?, value];
                    self.types.extend(words);
                }
            }
            Kind::Enum64 => {
                for [text, low, high] in ty.elements() {
                    let words = [self.text(text)?, low, high];
                    self.types.extend(words);
                }
            }
            Kind::FuncProto => {
                self.types[at + 2] = self.whole(ty.size_or_type)?;
                for [text, parameter] in ty.elements() {
                    let words = [self.text(text)?, self.whole(parameter)?];
                    self.types.extend(words);
                }
            }
            Kind::Var | Kind::Datasec | Kind::DeclTag | Kind::Unknown(_) => {
                bail!("type {id} of kind {:?} cannot be referred to", ty.kind)
            }
        }
        Ok(())
    }

    fn text(&mut self, offset: u32) -> Result<u32> {
        let text = self
            .btf
            .text(offset)
            .context("a name is outside of the strings")?;
        self.new_text(text)
    }

    fn new_text(&mut self, text: &str) -> Result<u32> {
        if let Some(&offset) = self.offsets.get(text) {
            return Ok(offset);
        }
        let offset = u32::try_from(self.strings.len())?;
        self.strings.extend_from_slice(text.as_bytes());
        self.strings.push(0);
        self.offsets.insert(text.to_owned(), offset);
        Ok(offset)
    }

    fn finish(self, layout: Option<&[u8]>) -> Result<Vec<u8>> {
        let types = u32::try_from(self.types.len() * 4)?;
        let strings = u32::try_from(self.strings.len())?;
        let mut header = vec![
            if layout.is_some() { 32 } else { 24 },
            0,
            types,
            types,
            strings,
        ];
        if let Some(layout) = layout {
            header.extend([types + strings, u32::try_from(layout.len())?]);
        }
        let mut data = vec![0x9f, 0xeb, 1, 0];
        data.extend(
            header
                .iter()
                .chain(&self.types)
                .flat_map(|word| word.to_le_bytes()),
        );
        data.extend(self.strings);
        data.extend(layout.unwrap_or_default());
        Ok(data)
    }
}

/// The second word of a type's head.
fn info(ty: &Type<'_>) -> u32 {
    let kind = match ty.kind {
        Kind::Int => 1,
        Kind::Ptr => 2,
        Kind::Array => 3,
        Kind::Struct => 4,
        Kind::Union => 5,
        Kind::Enum => 6,
        Kind::Fwd => 7,
        Kind::Typedef => 8,
        Kind::Volatile => 9,
        Kind::Const => 10,
        Kind::Restrict => 11,
        Kind::Func => 12,
        Kind::FuncProto => 13,
        Kind::Var => 14,
        Kind::Datasec => 15,
        Kind::Float => 16,
        Kind::DeclTag => 17,
        Kind::TypeTag => 18,
        Kind::Enum64 => 19,
        Kind::Unknown(number) => u32::from(number),
    };
    (if ty.flag { FLAG } else { 0 }) | kind << 24 | ty.count
}
