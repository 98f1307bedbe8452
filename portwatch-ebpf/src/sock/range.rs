//! Per-namespace settings of the ephemeral ports.

use super::{net, read};
use crate::config::off;
use portwatch_common::{FailureRecord, offsets::ABSENT};

/// Range of the ports that the kernel picks from for a socket
/// (include/net/ip.h:inet_sk_get_local_port_range): low, high, and whether it is the socket's own.
#[inline(always)]
pub(crate) fn range(sk: u64) -> (u16, u16, bool) {
    let net = net(sk);
    let (mut low, mut high) = if off!(net_port_range_size) == 4 {
        let packed: u32 = read(net, off!(net_port_range));
        (packed as u16, (packed >> 16) as u16)
    } else {
        let low: u32 = read(net, off!(net_port_range));
        let high: u32 = read(net, off!(net_port_range).wrapping_add(4));
        (low as u16, high as u16)
    };
    if off!(inet_local_port_range) == ABSENT {
        return (low, high, false);
    }
    let own: u32 = read(sk, off!(inet_local_port_range));
    let (own_low, own_high) = (own as u16, (own >> 16) as u16);
    if own == 0 {
        return (low, high, false);
    }
    let (net_low, net_high) = (low, high);
    if net_low <= own_low && own_low <= net_high {
        low = own_low;
    }
    if net_low <= own_high && own_high <= net_high {
        high = own_high;
    }
    (low, high, true)
}

/// Flags of a failure that tell whether `port` is in `ip_local_reserved_ports`.
#[inline(always)]
pub(crate) fn reserved_flags(net: u64, port: u16) -> u8 {
    let bitmap: u64 = read(net, off!(net_reserved_ports));
    if bitmap == 0 {
        return FailureRecord::FLAG_RESERVED_UNKNOWN;
    }
    let word: u64 = read(bitmap.wrapping_add(u64::from(port >> 6) * 8), 0);
    if word >> (port & 63) & 1 != 0 {
        FailureRecord::FLAG_RESERVED
    } else {
        0
    }
}
