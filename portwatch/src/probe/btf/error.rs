//! What can be wrong with BTF, and with a question to it.

/// Why bytes are not BTF that can be read here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BtfError {
    /// Fewer bytes than a header has.
    #[error("{length} bytes are too few for a BTF header")]
    Header {
        /// Bytes there are.
        length: usize,
    },
    /// Something else, or BTF within an ELF file.
    #[error("not BTF: the magic number is `{0:#06x}`")]
    Magic(u16),
    /// BTF of a machine with the other byte order.
    #[error("the BTF has the other byte order than this machine")]
    ForeignOrder,
    /// A version after the only one there is.
    #[error("BTF version `{0}` is unknown")]
    Version(u8),
    /// The header places a section where no data is.
    #[error("the BTF section `{0}` reaches past the data")]
    Section(&'static str),
    /// Names are ended by a zero byte, and the first one is empty, but in the BTF of a module, which
    /// goes on where that of its kernel ends.
    #[error(
        "the BTF section `strings` does not begin and end with a zero byte: it is damaged, or the BTF \
         of a module, and the kernel's own is wanted (`/sys/kernel/btf/vmlinux` there)"
    )]
    Strings,
    /// The last type reaches past the end of its section.
    #[error("BTF type `{id}` is cut off")]
    Truncated {
        /// Id of the type.
        id: u32,
    },
    /// A kind from a newer kernel, and the BTF does not say how long it is.
    #[error("BTF type `{id}` is of the unknown kind `{kind}` and of unknown length")]
    UnknownKind {
        /// Id of the type.
        id: u32,
        /// Number of the kind.
        kind: u8,
    },
    /// A type's name lies outside of the strings, or is longer than any name.
    #[error("the name of BTF type `{id}` has no end within the strings")]
    Name {
        /// Id of the type.
        id: u32,
    },
    /// Ids and positions have 32 bits.
    #[error("the BTF is longer than 4 GiB")]
    TooLong,
}

/// Why a question has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LookupError {
    /// No type of this name with the wanted kind.
    #[error("no type `{0}`")]
    NoType(String),
    /// The type is there, the member is not.
    #[error("no member `{path}` in `{of}`")]
    NoMember {
        /// Name of the struct or union.
        of: String,
        /// Path of the member.
        path: String,
    },
    /// No enum has this enumerator.
    #[error("no enumerator `{0}`")]
    NoEnumerator(String),
    /// No function of this name.
    #[error("no function `{0}`")]
    NoFunction(String),
    /// Several types of one name, and they answer differently.
    #[error("`{0}` is ambiguous: types of that name differ")]
    Ambiguous(String),
    /// Types that contain themselves, or far more than a kernel has.
    #[error("the types of `{0}` nest without end")]
    Endless(String),
    /// A type refers to one that does not exist or cannot stand there.
    #[error("BTF type `{0}` is malformed")]
    Malformed(u32),
}

impl LookupError {
    /// The kernel has no such thing; everything else is BTF that cannot be believed.
    #[must_use]
    pub fn is_absence(&self) -> bool {
        match self {
            Self::NoType(_)
            | Self::NoMember { .. }
            | Self::NoEnumerator(_)
            | Self::NoFunction(_) => true,
            Self::Ambiguous(_) | Self::Endless(_) | Self::Malformed(_) => false,
        }
    }
}
