//! One owner of the port that a failure wanted.

use crate::{Owner, RecordHeader, Sock};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// One socket found in the bind bucket (TCP) or hash slot (UDP) of a failure's port, joined in the
/// kernel with what is remembered of its owner.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct HolderRecord {
    /// Kind HOLDER; `id` is the failure's.
    pub header: RecordHeader,
    /// The socket.
    pub sock: Sock,
    /// Who took it, by cookie; all zeros without one.
    pub owner: Owner,
    /// One of [`crate::OwnerSource`]'s numbers.
    pub owner_source: u32,
    /// `inet_bind_bucket.l3mdev`: the VRF the port belongs to; 0 = none.
    pub l3mdev: u32,
    /// `fastreuse` of the owner's own bucket; 0 for UDP.
    pub fastreuse: i8,
    /// `fastreuseport` of the owner's own bucket; 0 for UDP.
    pub fastreuseport: i8,
    /// 1: some bind() has used the owner's bucket (`fastreuse` or `fastreuseport` is not -1), so that
    /// no connect() may share its port; 0 for UDP.
    pub bound_bucket: u8,
    /// Padding, 0.
    pub pad: [u8; 5],
    /// When a listener got the connection, CLOCK_BOOTTIME nanoseconds; 0 = that was not seen, or it is
    /// none.
    pub accepted_at: u64,
    /// Of a socket of the kernel: the function that gets what arrives there, as the kernel writes it
    /// (`wg_receive [wireguard]`), NUL-padded; zeros for others, and before Linux 5.13.
    pub kernel_function: [u64; 6],
}
