//! The running kernel's [`Offsets`], resolved from its BTF by [`Offsets::TABLE`].
//!
//! All or nothing: an offset that is missing unnoticed makes the probes read garbage and report it
//! as a fact. So whatever a kernel may not lack is an error that names it, and of members that
//! are read together either all are there or none is.

use std::fmt;

use portwatch_common::Offsets;
use portwatch_common::offsets::{ABSENT, Entry, Read, Want, pack_bits};

use super::btf::{Btf, LookupError, Member};

#[cfg(test)]
mod tests;

/// Why the probes cannot read this kernel.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OffsetsError {
    /// The kernel lacks something that every kernel this program knows has.
    #[error("the probes cannot read kernel `{release}`: {}", list(.missing))]
    Missing {
        /// The kernel's release.
        release: String,
        /// Everything it lacks, in the order of the table.
        missing: Vec<Missing>,
    },
    /// Nothing leads from the kernel's port table to the sockets that hold a port.
    #[error("the probes cannot read kernel `{release}`: {gap}")]
    Gap {
        /// The kernel's release.
        release: String,
        /// The step that is missing.
        gap: Gap,
    },
}

/// One field of [`Offsets`] that has no value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// The field.
    pub field: &'static str,
    /// What stands for it in the kernel.
    pub want: Want,
    /// Why it has none.
    pub cause: Cause,
}

/// Why a field has no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Cause {
    /// The BTF does not say.
    #[error(transparent)]
    Lookup(#[from] LookupError),
    /// A member that the probes read as bytes became a bitfield.
    #[error("it is a bitfield")]
    Bitfield,
    /// A bitfield that the probes read from one byte does not lie in one.
    #[error("its bits do not lie within one byte")]
    Bits,
    /// A member that the probes read as a number is a pointer.
    #[error("it is a pointer")]
    Pointer,
    /// A pointer that the probes follow is none.
    #[error("it is no pointer")]
    NoPointer,
    /// A member is shorter than what the probes read of it.
    #[error("it is too short (bytes: {found}; read: {read})")]
    Narrow {
        /// Its size.
        found: u32,
        /// What is read.
        read: u32,
    },
    /// A value that the table has no room for.
    #[error("its value does not fit")]
    Value,
}

/// Steps of the walk that some members serve on some kernels and others on others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Gap {
    /// From a port's bucket to its sockets.
    #[error(
        "neither `inet_bind_bucket.owners` nor `inet_bind_bucket.bhash2` with \
         `inet_bind2_bucket.bhash_node` and `inet_bind2_bucket.owners`"
    )]
    Owners,
    /// From a network namespace to TCP's port table.
    #[error(
        "`net.ipv4.tcp_death_row` is neither a struct with `hashinfo` nor a pointer to \
         `inet_timewait_death_row`"
    )]
    Hashinfo,
    /// From a socket to UDP's port table.
    #[error("neither `proto.h.udp_table` nor `net.ipv4.udp_table`")]
    UdpTable,
    /// To the arguments of a system call.
    #[error(
        "`pt_regs` has neither the registers of x86-64 (`orig_ax`, `di`, `si`, `r8`) nor those of \
         arm64 (`syscallno`, `orig_x0`, `regs`): portwatch knows no other processor"
    )]
    Registers,
}

fn list(missing: &[Missing]) -> String {
    missing
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("; ")
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.want {
            Want::Member(of, path, _)
            | Want::Bits(of, path)
            | Want::IsPointer(of, path)
            | Want::MemberSize(of, path) => write!(f, "`{of}.{path}`")?,
            Want::Size(name) | Want::Enum(name) => write!(f, "`{name}`")?,
        }
        write!(f, ": {}", self.cause)
    }
}

/// Resolves every entry of the table. `release` is only for the error's text.
///
/// The options of an inet socket are the members that no step of a walk needs: where the kernel
/// has neither all of the one form nor all of the other, both read as absent, and the probes leave
/// them unknown.
///
/// # Errors
///
/// The kernel lacks something that is not optional (all of it is named), or a step of the walk has
/// no complete form.
pub fn resolve(btf: &Btf<'_>, release: &str) -> Result<Offsets, OffsetsError> {
    let mut values = [ABSENT; Offsets::TABLE.len()];
    let mut missing = Vec::new();
    for (entry, value) in Offsets::TABLE.iter().zip(&mut values) {
        match entry_value(btf, entry) {
            Ok(found) => *value = found,
            Err(cause) => {
                missing.push(Missing {
                    field: entry.field,
                    want: entry.want,
                    cause,
                });
            }
        }
    }
    if !missing.is_empty() {
        return Err(OffsetsError::Missing {
            release: release.to_owned(),
            missing,
        });
    }
    let mut offsets: Offsets = zerocopy::transmute!(values);
    check(&offsets).map_err(|gap| OffsetsError::Gap {
        release: release.to_owned(),
        gap,
    })?;
    all_or_none(&mut offsets);
    Ok(offsets)
}

/// The value of one field. Only what a kernel plainly does not have is [`ABSENT`]: an answer that
/// cannot be believed is an error for an optional field as well.
fn entry_value(btf: &Btf<'_>, entry: &Entry) -> Result<u32, Cause> {
    let value = match value(btf, entry.want) {
        Err(Cause::Lookup(error)) if entry.optional && error.is_absence() => return Ok(ABSENT),
        other => other?,
    };
    if value == ABSENT {
        Err(Cause::Value)
    } else {
        Ok(value)
    }
}

fn value(btf: &Btf<'_>, want: Want) -> Result<u32, Cause> {
    match want {
        Want::Member(of, path, read) => {
            let member = btf.member(of, path)?;
            if member.bit_size.is_some() || member.bit_offset % 8 != 0 {
                return Err(Cause::Bitfield);
            }
            readable(&member, read)?;
            Ok(member.bit_offset / 8)
        }
        Want::Bits(of, path) => bits(&btf.member(of, path)?),
        Want::IsPointer(of, path) => Ok(u32::from(btf.member(of, path)?.is_pointer)),
        Want::Size(name) => Ok(btf.size(name)?),
        Want::MemberSize(of, path) => Ok(btf.member(of, path)?.size),
        Want::Enum(name) => u32::try_from(btf.enumerator(name)?).map_err(|_| Cause::Value),
    }
}

/// Whether a kernel's member can be read as the probes do it: of one that became something else, what
/// is read is no fact.
fn readable(member: &Member, read: Read) -> Result<(), Cause> {
    match read {
        Read::Pointer if !member.is_pointer => Err(Cause::NoPointer),
        Read::Bytes(_) if member.is_pointer => Err(Cause::Pointer),
        Read::Bytes(read) if member.size < read => Err(Cause::Narrow {
            found: member.size,
            read,
        }),
        Read::Pointer | Read::Bytes(_) | Read::Place => Ok(()),
    }
}

/// Packs a bitfield. One that became a plain byte is a bitfield of eight.
fn bits(member: &Member) -> Result<u32, Cause> {
    let width = member.bit_size.unwrap_or(member.size.saturating_mul(8));
    let (byte, first) = (member.bit_offset / 8, member.bit_offset % 8);
    // The width comes first: it is any number, the sum must not overflow.
    if !(1..=8).contains(&width) || first + width > 8 {
        return Err(Cause::Bits);
    }
    if byte > u32::from(u16::MAX) {
        return Err(Cause::Value);
    }
    // BTF counts bits as the machine numbers them: from the top where the top byte is first.
    let shift = if cfg!(target_endian = "big") {
        8 - first - width
    } else {
        first
    };
    Ok(pack_bits(byte, shift, width))
}

fn has(value: u32) -> bool {
    value != ABSENT
}

fn check(offsets: &Offsets) -> Result<(), Gap> {
    let one_level = has(offsets.tb_owners);
    let two_levels =
        has(offsets.tb_bhash2) && has(offsets.tb2_bhash_node) && has(offsets.tb2_owners);
    if !one_level && !two_levels {
        return Err(Gap::Owners);
    }
    let pointer = offsets.net_tcp_death_row_is_pointer == 1 && has(offsets.death_row_hashinfo);
    if !pointer && !has(offsets.net_hashinfo) {
        return Err(Gap::Hashinfo);
    }
    if !has(offsets.proto_udp_table) && !has(offsets.net_udp_table) {
        return Err(Gap::UdpTable);
    }
    let x86 = [
        offsets.regs_orig_ax,
        offsets.regs_di,
        offsets.regs_si,
        offsets.regs_r8,
    ];
    let arm64 = [
        offsets.regs_syscallno,
        offsets.regs_orig_x0,
        offsets.regs_array,
    ];
    // The probes tell them by the first.
    let known = if has(offsets.regs_orig_ax) {
        x86.into_iter().all(has)
    } else {
        arm64.into_iter().all(has)
    };
    if !known {
        return Err(Gap::Registers);
    }
    Ok(())
}

/// Takes away what is only half there.
fn all_or_none(offsets: &mut Offsets) {
    let keep_all = |fields: &mut [&mut u32]| {
        if fields.iter().any(|field| !has(**field)) {
            fields.iter_mut().for_each(|field| **field = ABSENT);
        }
    };
    keep_all(&mut [
        &mut offsets.inet_flags,
        &mut offsets.inet_flag_freebind,
        &mut offsets.inet_flag_transparent,
        &mut offsets.inet_flag_no_port,
    ]);
    keep_all(&mut [
        &mut offsets.inet_freebind,
        &mut offsets.inet_transparent,
        &mut offsets.inet_no_port,
    ]);
    // 6.1 and 6.6 have a second table that does not lead to all owners: the first one does.
    if has(offsets.tb_owners) {
        offsets.tb_bhash2 = ABSENT;
        offsets.tb2_bhash_node = ABSENT;
        offsets.tb2_owners = ABSENT;
    } else {
        keep_all(&mut [
            &mut offsets.tb_bhash2,
            &mut offsets.tb2_bhash_node,
            &mut offsets.tb2_owners,
        ]);
    }
}
