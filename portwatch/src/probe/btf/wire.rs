//! The bytes: header, the head that all types share, and how long each kind is.

use super::BtfError;

const MAGIC: u16 = 0xeb9f;
const VERSION: u8 = 1;
/// Header as of 4.18; the layout section's place follows it from 7.1.
const HEADER: usize = 24;
const HEADER_WITH_LAYOUT: usize = 32;
/// name, info, size or type.
const TYPE_HEAD: usize = 12;

fn u16_at(data: &[u8], at: usize) -> Option<u16> {
    let bytes = data.get(at..)?.first_chunk()?;
    Some(u16::from_ne_bytes(*bytes))
}

pub(super) fn u32_at(data: &[u8], at: usize) -> Option<u32> {
    let bytes = data.get(at..)?.first_chunk()?;
    Some(u32::from_ne_bytes(*bytes))
}

/// The kernel's own limit is 512. It keeps types that share one endless name from taking for ever.
const LONGEST_NAME: usize = 4096;

/// The bytes at an offset of the strings up to the zero byte that ends them.
pub(super) fn text_at(strings: &[u8], offset: u32) -> Option<&[u8]> {
    let rest = strings.get(usize::try_from(offset).ok()?..)?;
    let rest = rest.get(..LONGEST_NAME).unwrap_or(rest);
    rest.split(|&byte| byte == 0)
        .next()
        .filter(|text| text.len() < rest.len())
}

/// FNV-1a. 0 stands for "no name" and is no other name's hash.
pub(super) fn hash(name: &[u8]) -> u32 {
    if name.is_empty() {
        return 0;
    }
    name.iter()
        .fold(HASH_SEED, |hash, &byte| hash_step(hash, byte))
        .max(1)
}

const HASH_SEED: u32 = 0x811c_9dc5;

fn hash_step(hash: u32, byte: u8) -> u32 {
    (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
}

/// [`hash`] of the string at an offset; `None` if there is none.
pub(super) fn hash_at(strings: &[u8], offset: u32) -> Option<u32> {
    // Not by way of `text_at`: that would read each name twice, which is most of a parse.
    let rest = strings.get(usize::try_from(offset).ok()?..)?;
    let mut hash = HASH_SEED;
    for (index, &byte) in rest.iter().take(LONGEST_NAME).enumerate() {
        if byte == 0 {
            return Some(if index == 0 { 0 } else { hash.max(1) });
        }
        hash = hash_step(hash, byte);
    }
    None
}

/// The sections, cut out of the data.
pub(super) struct Header<'a> {
    pub(super) types: &'a [u8],
    pub(super) strings: &'a [u8],
    /// Four bytes a kind: length of its fixed part, length of each element, flags.
    pub(super) layout: &'a [u8],
}

impl<'a> Header<'a> {
    pub(super) fn read(data: &'a [u8]) -> Result<Self, BtfError> {
        let short = || BtfError::Header { length: data.len() };
        let magic = u16_at(data, 0).ok_or_else(short)?;
        if magic == MAGIC.swap_bytes() {
            return Err(BtfError::ForeignOrder);
        }
        if magic != MAGIC {
            return Err(BtfError::Magic(magic));
        }
        let version = *data.get(2).ok_or_else(short)?;
        if version != VERSION {
            return Err(BtfError::Version(version));
        }
        let field = |at| -> Result<usize, BtfError> {
            let word = u32_at(data, at).ok_or_else(short)?;
            usize::try_from(word).map_err(|_| BtfError::TooLong)
        };
        let length = field(4)?;
        if length < HEADER {
            return Err(BtfError::Header { length });
        }
        let body = data.get(length..).ok_or_else(short)?;
        let section = |at, name| -> Result<&'a [u8], BtfError> {
            let (start, length) = (field(at)?, field(at + 4)?);
            start
                .checked_add(length)
                .and_then(|end| body.get(start..end))
                .ok_or(BtfError::Section(name))
        };
        let strings = section(16, "strings")?;
        if strings.first() != Some(&0) || strings.last() != Some(&0) {
            return Err(BtfError::Strings);
        }
        Ok(Self {
            types: section(8, "types")?,
            strings,
            layout: if length < HEADER_WITH_LAYOUT {
                &[]
            } else {
                section(24, "layout")?
            },
        })
    }
}

/// What a type is, `BTF_KIND_*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of `BTF_KIND_*`")]
pub enum Kind {
    Int,
    Ptr,
    Array,
    Struct,
    Union,
    Enum,
    Fwd,
    Typedef,
    Volatile,
    Const,
    Restrict,
    Func,
    FuncProto,
    Var,
    Datasec,
    Float,
    DeclTag,
    TypeTag,
    Enum64,
    /// Newer than this program; skipped by what the layout section says.
    Unknown(u8),
}

impl Kind {
    fn new(number: u8) -> Self {
        match number {
            1 => Self::Int,
            2 => Self::Ptr,
            3 => Self::Array,
            4 => Self::Struct,
            5 => Self::Union,
            6 => Self::Enum,
            7 => Self::Fwd,
            8 => Self::Typedef,
            9 => Self::Volatile,
            10 => Self::Const,
            11 => Self::Restrict,
            12 => Self::Func,
            13 => Self::FuncProto,
            14 => Self::Var,
            15 => Self::Datasec,
            16 => Self::Float,
            17 => Self::DeclTag,
            18 => Self::TypeTag,
            19 => Self::Enum64,
            other => Self::Unknown(other),
        }
    }

    /// Bytes after the head: a fixed part, and so many for each element. The number of a kind is
    /// the error where nobody states them.
    fn lengths(self, layout: &[u8]) -> Result<(usize, usize), u8> {
        match self {
            Self::Int | Self::Var | Self::DeclTag => Ok((4, 0)),
            Self::Array => Ok((12, 0)),
            Self::Struct | Self::Union | Self::Datasec | Self::Enum64 => Ok((0, 12)),
            Self::Enum | Self::FuncProto => Ok((0, 8)),
            Self::Ptr
            | Self::Fwd
            | Self::Typedef
            | Self::Volatile
            | Self::Const
            | Self::Restrict
            | Self::Func
            | Self::Float
            | Self::TypeTag => Ok((0, 0)),
            Self::Unknown(kind) => stated(layout, kind).ok_or(kind),
        }
    }

    /// Names another type, or says something of it, without being one of its own.
    pub(super) fn is_modifier(self) -> bool {
        matches!(
            self,
            Self::Typedef | Self::Volatile | Self::Const | Self::Restrict | Self::TypeTag
        )
    }
}

/// One type: its head, decoded, and the bytes after it.
#[derive(Clone, Copy, Debug)]
pub struct Type<'a> {
    /// Id, counted from 1.
    pub id: u32,
    /// What it is.
    pub kind: Kind,
    /// Offset of the name in the strings; 0 is no name.
    pub name: u32,
    /// The kind flag: bitfields stand in the members (struct, union), signed (enum), union (fwd).
    pub flag: bool,
    /// Elements (members, enumerators, parameters, variables), or the linkage of a function.
    pub count: u32,
    /// Size in bytes, or the type this one refers to: the kind decides.
    pub size_or_type: u32,
    /// What follows the head.
    pub tail: &'a [u8],
}

impl<'a> Type<'a> {
    /// The type at `at`, and its length.
    pub(super) fn read(
        types: &'a [u8],
        at: usize,
        id: u32,
        layout: &[u8],
    ) -> Result<(Self, usize), BtfError> {
        let cut = BtfError::Truncated { id };
        let Some(rest) = types.get(at..) else {
            return Err(cut);
        };
        let Some(mut ty) = Self::view(rest, id) else {
            return Err(cut);
        };
        let (fixed, each) = ty
            .kind
            .lengths(layout)
            .map_err(|kind| BtfError::UnknownKind { id, kind })?;
        let length = usize::try_from(ty.count)
            .ok()
            .and_then(|count| count.checked_mul(each))
            .and_then(|elements| elements.checked_add(fixed));
        let Some(tail) = length.and_then(|length| ty.tail.get(..length)) else {
            return Err(cut);
        };
        ty.tail = tail;
        Ok((ty, TYPE_HEAD + tail.len()))
    }

    /// A type whose tail is all that follows its head.
    pub(super) fn view(bytes: &'a [u8], id: u32) -> Option<Self> {
        let head: &[u8; TYPE_HEAD] = bytes.first_chunk()?;
        let info = u32_at(head, 4)?;
        Some(Self {
            id,
            kind: Kind::new(u8::try_from(info >> 24 & 0x7f).ok()?),
            name: u32_at(head, 0)?,
            flag: info >> 31 != 0,
            count: info & 0x00ff_ffff,
            size_or_type: u32_at(head, 8)?,
            tail: bytes.get(TYPE_HEAD..)?,
        })
    }

    /// The elements after the head, each of `N` words.
    pub fn elements<const N: usize>(&self) -> impl Iterator<Item = [u32; N]> + use<'a, N> {
        self.tail
            .chunks_exact(N * 4)
            .map(|chunk| std::array::from_fn(|index| u32_at(chunk, index * 4).unwrap_or_default()))
    }
}

/// What the layout section says of a kind: fixed part, each element.
fn stated(layout: &[u8], kind: u8) -> Option<(usize, usize)> {
    let entry = layout.get(usize::from(kind) * 4..)?.first_chunk::<4>()?;
    Some((usize::from(entry[0]), usize::from(entry[1])))
}
