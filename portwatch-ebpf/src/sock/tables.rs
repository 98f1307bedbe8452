//! The kernel's port tables: from a port to the head of its list, from a list's node to its socket.

use super::read;
use crate::config::off;
use portwatch_common::{ReleaseRecord, Sock, offsets::ABSENT};

field!(next: u64 = list_next);
field!(bucket_net: u64 = tb_net);
field!(bucket_port: u16 = tb_port);
field!(bucket_l3mdev: u32 = tb_l3mdev);
field!(bucket_fastreuse: i8 = tb_fastreuse);
field!(bucket_fastreuseport: i8 = tb_fastreuseport);

/// First node of the chain that holds TCP's bind bucket of a port
/// (include/net/inet_hashtables.h:inet_bhashfn, unchanged 5.10 to 6.18).
#[inline(always)]
pub(crate) fn tcp_chain(net: u64, port: u16) -> u64 {
    let mix: u32 = read(net, off!(net_hash_mix));
    let index = u32::from(port).wrapping_add(mix) & tcp_buckets(net).wrapping_sub(1);
    tcp_chain_at(net, index)
}

/// Buckets of TCP's bind table, which all namespaces share.
#[inline(always)]
pub(crate) fn tcp_buckets(net: u64) -> u32 {
    read(tcp_hashinfo(net), off!(hashinfo_bhash_size))
}

/// First node of a chain of TCP's bind table.
#[inline(always)]
pub(crate) fn tcp_chain_at(net: u64, index: u32) -> u64 {
    let table: u64 = read(tcp_hashinfo(net), off!(hashinfo_bhash));
    let bucket = table.wrapping_add(u64::from(index) * u64::from(off!(bhash_bucket_size)));
    read(bucket, off!(bhash_bucket_chain))
}

/// TCP's `struct inet_hashinfo` of a namespace.
#[inline(always)]
fn tcp_hashinfo(net: u64) -> u64 {
    if off!(net_tcp_death_row_is_pointer) == 1 {
        let row: u64 = read(net, off!(net_tcp_death_row));
        return read(row, off!(death_row_hashinfo));
    }
    read(
        net,
        off!(net_tcp_death_row).wrapping_add(off!(death_row_hashinfo)),
    )
}

/// First node of UDP's hash slot of a port (net/ipv4/udp.c:udp_get_table_prot, udp_hashfn).
#[inline(always)]
pub(crate) fn udp_chain(sk: u64, net: u64, port: u16) -> u64 {
    let mut table = 0;
    // Gone in 7.1.
    if off!(proto_udp_table) != ABSENT {
        let prot: u64 = read(sk, off!(skc_prot));
        table = read(prot, off!(proto_udp_table));
    }
    if table == 0 {
        table = udp_table(net);
    }
    let mask: u32 = read(table, off!(udp_table_mask));
    let mix: u32 = read(net, off!(net_hash_mix));
    udp_slot(table, u32::from(port).wrapping_add(mix) & mask)
}

/// UDP's table of a namespace; 0 on kernels (6.1 and older) where only its protocol knows it.
#[inline(always)]
pub(crate) fn udp_table(net: u64) -> u64 {
    if off!(net_udp_table) == ABSENT {
        return 0;
    }
    read(net, off!(net_udp_table))
}

/// Slots of a UDP table.
#[inline(always)]
pub(crate) fn udp_slots(table: u64) -> u32 {
    let mask: u32 = read(table, off!(udp_table_mask));
    mask.wrapping_add(1)
}

/// First node of a slot of a UDP table.
#[inline(always)]
pub(crate) fn udp_slot(table: u64, index: u32) -> u64 {
    let slots: u64 = read(table, off!(udp_table_hash));
    let slot = slots.wrapping_add(u64::from(index) * u64::from(off!(udp_hslot_size)));
    read(slot, off!(udp_hslot_head))
}

/// The bind bucket that holds a node of the chain.
#[inline(always)]
pub(crate) fn bucket_of(node: u64) -> u64 {
    node.wrapping_sub(u64::from(off!(tb_node)))
}

/// The first list under a bucket: its second-level buckets (6.8 and later) or its owners.
/// The second value is true for owners.
#[inline(always)]
pub(crate) fn bucket_list(bucket: u64) -> (u64, bool) {
    if off!(tb_bhash2) != ABSENT {
        (read(bucket, off!(tb_bhash2)), false)
    } else {
        (read(bucket, off!(tb_owners)), true)
    }
}

/// First owner under a second-level bucket's node.
#[inline(always)]
pub(crate) fn bucket2_owners(node: u64) -> u64 {
    let bucket = node.wrapping_sub(u64::from(off!(tb2_bhash_node)));
    read(bucket, off!(tb2_owners))
}

/// The socket that a node of an owners' list belongs to.
#[inline(always)]
pub(crate) fn owner_of(node: u64) -> u64 {
    node.wrapping_sub(u64::from(off!(skc_bind_node)))
}

/// The socket that a node of a UDP slot belongs to.
#[inline(always)]
pub(crate) fn udp_socket_of(node: u64) -> u64 {
    node.wrapping_sub(u64::from(off!(skc_node)))
}

/// What is left of the port of a TCP socket that is about to lose it, as bits of
/// [`ReleaseRecord`]; 0 = not known.
#[inline(always)]
pub(crate) fn after_put(sk: u64) -> u32 {
    let bucket: u64 = read(sk, off!(icsk_bind_hash));
    // TIME_WAIT takes its socket's place at the head of the list
    // (net/ipv4/inet_timewait_sock.c:inet_twsk_hashdance), then the socket gives its own up.
    let first: u64 = if off!(tb_bhash2) == ABSENT {
        read(bucket, off!(tb_owners))
    } else if off!(icsk_bind2_hash) == ABSENT {
        return 0;
    } else {
        let bucket2: u64 = read(sk, off!(icsk_bind2_hash));
        read(bucket2, off!(tb2_owners))
    };
    let head = owner_of(first);
    let cookie = super::cookie(sk);
    if first != 0
        && super::state(head) == Sock::STATE_TIME_WAIT
        && cookie != 0
        && super::cookie(head) == cookie
    {
        return ReleaseRecord::LEFT_TIME_WAIT;
    }
    others(bucket, sk)
}

/// The same of a TIME_WAIT socket; `None` if it has lost its port already.
#[inline(always)]
pub(crate) fn after_time_wait(tw: u64) -> Option<u32> {
    let bucket: u64 = read(tw, off!(tw_tb));
    if bucket == 0 {
        return None;
    }
    Some(others(bucket, tw))
}

/// Whether a bucket has other owners than this one.
#[inline(always)]
fn others(bucket: u64, sk: u64) -> u32 {
    if bucket == 0 {
        return 0;
    }
    let own = sk.wrapping_add(u64::from(off!(skc_bind_node)));
    let (list, owners) = bucket_list(bucket);
    let first = if owners { list } else { bucket2_owners(list) };
    let more = next(own) != 0 || (!owners && next(list) != 0);
    if first == own && !more {
        ReleaseRecord::FREE
    } else {
        ReleaseRecord::SHARED
    }
}
