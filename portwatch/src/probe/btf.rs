//! A reader of BTF, the type information a kernel carries about itself.
//!
//! One pass over the types notes where each begins and hashes the names; every look-up reads the
//! bytes again. So a kernel's 5 MB take a few milliseconds, nearly all of it spent on the names.
//! No general BTF library: it answers what the probes must know of the running kernel (offsets,
//! sizes, enumerators, prototypes) and says so when it cannot. It believes nothing of what it
//! reads: any bytes give an answer or a typed error, in bounded time.
//!
//! Format: `Documentation/bpf/btf.rst` and `include/uapi/linux/btf.h` of the kernel. The layout
//! section is from 7.1, wider kinds and counts are from 7.2.

mod error;
mod function;
mod lookup;
#[cfg(test)]
mod sample;
#[cfg(test)]
mod tests;
mod wire;

pub use error::{BtfError, LookupError};
pub use function::{Param, Prototype, Shape};
pub use lookup::Member;
pub use wire::{Kind, Type};

use wire::Header;

/// Where a kernel shows its own BTF.
pub const KERNEL: &str = "/sys/kernel/btf/vmlinux";

/// BTF that was read once from front to back: every type lies within the data and has a name that
/// does. What types refer to is not checked before it is looked up.
#[derive(Debug)]
pub struct Btf<'a> {
    types: &'a [u8],
    strings: &'a [u8],
    /// Start of each type in `types`. Type ids start at 1, as 0 is `void`.
    starts: Vec<u32>,
    /// Every type that has enumerators: they have no index of their own.
    enums: Vec<u32>,
    names: Names,
}

impl<'a> Btf<'a> {
    /// Reads BTF of this machine's byte order.
    ///
    /// # Errors
    ///
    /// Anything that is not BTF, is cut off, or has a type kind whose length nobody states.
    pub fn parse(data: &'a [u8]) -> Result<Self, BtfError> {
        let header = Header::read(data)?;
        let (types, strings) = (header.types, header.strings);
        let mut btf = Self {
            types,
            strings,
            starts: Vec::with_capacity(types.len() / 24),
            enums: Vec::new(),
            names: Names::for_bytes(types.len()),
        };
        let mut at = 0;
        while at < types.len() {
            let id = u32::try_from(btf.starts.len() + 1).map_err(|_| BtfError::TooLong)?;
            let start = u32::try_from(at).map_err(|_| BtfError::TooLong)?;
            let (ty, length) = Type::read(types, at, id, header.layout)?;
            at += length;
            btf.starts.push(start);
            let hash = wire::hash_at(strings, ty.name).ok_or(BtfError::Name { id })?;
            btf.names.push(hash, id);
            if matches!(ty.kind, Kind::Enum | Kind::Enum64) {
                btf.enums.push(id);
            }
        }
        Ok(btf)
    }

    /// The type of an id; `None` for `void` and for an id that no type has.
    #[must_use]
    pub fn get(&self, id: u32) -> Option<Type<'a>> {
        let index = usize::try_from(id.checked_sub(1)?).ok()?;
        let start = usize::try_from(*self.starts.get(index)?).ok()?;
        let end = match self.starts.get(index + 1) {
            Some(next) => usize::try_from(*next).ok()?,
            None => self.types.len(),
        };
        Type::view(self.types.get(start..end)?, id)
    }

    /// The text at an offset of the string section: a name of a type, member or parameter.
    #[must_use]
    pub fn text(&self, offset: u32) -> Option<&'a str> {
        std::str::from_utf8(wire::text_at(self.strings, offset)?).ok()
    }

    /// Every type of that name, whatever its kind.
    pub fn named<'s>(&'s self, name: &'s str) -> impl Iterator<Item = Type<'a>> + 's {
        self.names
            .of(wire::hash(name.as_bytes()))
            .filter_map(|id| self.get(id))
            .filter(move |ty| self.is_text(ty.name, name))
    }

    /// Whether a type of that kind and name exists, as `btf_trace_sys_exit` (a typedef) does where
    /// the tracepoint does.
    #[must_use]
    pub fn has(&self, kind: Kind, name: &str) -> bool {
        self.named(name).any(|ty| ty.kind == kind)
    }

    fn is_text(&self, offset: u32, text: &str) -> bool {
        usize::try_from(offset)
            .ok()
            .and_then(|at| self.strings.get(at..))
            .and_then(|rest| rest.strip_prefix(text.as_bytes()))
            .is_some_and(|rest| rest.first() == Some(&0))
    }
}

/// Ids by the hash of their name: one list a bucket, linked through `next`.
#[derive(Debug)]
struct Names {
    buckets: Vec<u32>,
    /// The next id of the same bucket, by id - 1; 0 ends the list.
    next: Vec<u32>,
}

impl Names {
    fn for_bytes(length: usize) -> Self {
        Self {
            buckets: vec![0; (length / 24).next_power_of_two().max(16)],
            next: Vec::with_capacity(length / 24),
        }
    }

    fn bucket(&self, hash: u32) -> usize {
        usize::try_from(hash).unwrap_or(0) & (self.buckets.len() - 1)
    }

    /// Ids come in order, without a gap; 0 as hash is "no name".
    fn push(&mut self, hash: u32, id: u32) {
        let bucket = self.bucket(hash);
        let head = match self.buckets.get_mut(bucket) {
            Some(head) if hash != 0 => std::mem::replace(head, id),
            _ => 0,
        };
        self.next.push(head);
    }

    /// Newest first. Ends, because an id's successor is always a smaller one.
    fn of(&self, hash: u32) -> impl Iterator<Item = u32> + '_ {
        let first = self.buckets.get(self.bucket(hash)).copied().unwrap_or(0);
        std::iter::successors(Some(first), |&id| {
            let index = usize::try_from(id.checked_sub(1)?).ok()?;
            self.next.get(index).copied()
        })
        .take_while(|&id| id != 0)
    }
}
