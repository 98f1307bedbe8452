//! Every read of a kernel struct's field, and only those. Offsets come from the kernel's BTF.
//!
//! Addresses are plain `u64`: each read is a `bpf_probe_read_kernel`, which fails with zeros on a
//! bad address instead of faulting.

use crate::config::off;
use aya_ebpf::helpers::generated::bpf_probe_read_kernel;
use core::{ffi::c_void, mem::MaybeUninit};
use portwatch_common::{FailureRecord, PortKey, Sock, offsets::ABSENT};

pub(crate) const AF_INET: u16 = 2;
pub(crate) const AF_INET6: u16 = 10;
pub(crate) const IPPROTO_TCP: u16 = 6;
pub(crate) const IPPROTO_UDP: u16 = 17;
pub(crate) const IPPROTO_UDPLITE: u16 = 136;
pub(crate) const IPPROTO_MPTCP: u16 = 262;

/// A `T` at `base + offset`; zeros if the address is bad.
#[inline(always)]
pub(crate) fn read<T: Copy>(base: u64, offset: u32) -> T {
    let mut value = MaybeUninit::<T>::zeroed();
    // SAFETY: the destination is a local of that size; every `T` used here is an integer.
    unsafe {
        bpf_probe_read_kernel(
            value.as_mut_ptr().cast(),
            size_of::<T>() as u32,
            base.wrapping_add(u64::from(offset)) as *const c_void,
        );
        value.assume_init()
    }
}

/// `N` bytes at `base + offset` into `to`; zeros if the address is bad.
///
/// # Safety
/// `to` is valid for writes of `N` bytes.
#[inline(always)]
pub(crate) unsafe fn copy<const N: usize>(to: *mut [u8; N], base: u64, offset: u32) {
    // SAFETY: the caller's promise; the helper zeroes the destination on a fault.
    unsafe {
        bpf_probe_read_kernel(
            to.cast(),
            N as u32,
            base.wrapping_add(u64::from(offset)) as *const c_void,
        );
    }
}

/// A bitfield by its packed position (`portwatch_common::offsets::pack_bits`).
#[inline(always)]
fn bits(base: u64, packed: u32) -> u8 {
    let word: u16 = read(base, packed & 0xffff);
    let shift = (packed >> 16) & 0xf;
    let mask = (1u16 << ((packed >> 24) & 0xf)).wrapping_sub(1);
    ((word >> shift) & mask) as u8
}

macro_rules! field {
    ($(#[$meta:meta])* $name:ident: $type:ty = $offset:ident) => {
        $(#[$meta])*
        #[inline(always)]
        pub(crate) fn $name(base: u64) -> $type {
            read(base, off!($offset))
        }
    };
}

field!(net: u64 = skc_net);
field!(family: u16 = skc_family);
field!(state: u8 = skc_state);
field!(port: u16 = skc_num);
field!(peer_port_be: u16 = skc_dport);
field!(cookie: u64 = skc_cookie);
field!(protocol: u16 = sk_protocol);
field!(next: u64 = list_next);
field!(net_inum: u32 = net_inum);
field!(net_cookie: u64 = net_cookie);
field!(bucket_net: u64 = tb_net);
field!(bucket_port: u16 = tb_port);
field!(bucket_l3mdev: u32 = tb_l3mdev);
field!(bucket_fastreuse: i8 = tb_fastreuse);
field!(bucket_fastreuseport: i8 = tb_fastreuseport);

/// SO_REUSEADDR of a socket, TIME_WAIT included.
#[inline(always)]
pub(crate) fn reuse(sk: u64) -> u8 {
    bits(sk, off!(skc_reuse))
}

/// `sk_userlocks` of a full socket.
#[inline(always)]
pub(crate) fn userlocks(sk: u64) -> u8 {
    bits(sk, off!(sk_userlocks))
}

/// The kernel records in `sk_userlocks` and in TIME_WAIT that connect() took the port (6.18,
/// net/ipv4/inet_hashtables.c:__inet_hash_connect).
#[inline(always)]
pub(crate) fn has_connect_bind() -> bool {
    off!(tw_connect_bind) != ABSENT
}

/// AF_INET or AF_INET6 over TCP, UDP, UDP-Lite or MPTCP.
#[inline(always)]
pub(crate) fn is_port_socket(sk: u64) -> bool {
    let family = family(sk);
    (family == AF_INET || family == AF_INET6)
        && matches!(
            protocol(sk),
            IPPROTO_TCP | IPPROTO_UDP | IPPROTO_UDPLITE | IPPROTO_MPTCP
        )
}

/// The socket that really takes the port: the first subflow of an MPTCP socket, else itself.
#[inline(always)]
pub(crate) fn port_socket(sk: u64) -> u64 {
    let first = off!(mptcp_first);
    if first == ABSENT || protocol(sk) != IPPROTO_MPTCP {
        return sk;
    }
    let subflow: u64 = read(sk, first);
    if subflow == 0 { sk } else { subflow }
}

/// `struct sock` of a descriptor of the current task; 0 if it is no socket.
#[inline(always)]
pub(crate) fn from_fd(task: u64, fd: u32) -> u64 {
    let files: u64 = read(task, off!(task_files));
    let table: u64 = read(files, off!(files_fdt));
    let max: u32 = read(table, off!(fdt_max_fds));
    if fd >= max {
        return 0;
    }
    let array: u64 = read(table, off!(fdt_fd));
    let file: u64 = read(array.wrapping_add(u64::from(fd) * 8), 0);
    let socket: u64 = read(file, off!(file_private_data));
    // A socket's file points back at its socket (net/socket.c:sock_alloc_file).
    let back: u64 = read(socket, off!(socket_file));
    if file == 0 || back != file {
        return 0;
    }
    read(socket, off!(socket_sk))
}

/// Writes every field of `to`.
///
/// `protocol` is that of the table the socket was found in: a TIME_WAIT socket has none of its own.
///
/// # Safety
/// `to` is valid for writes.
#[inline(always)]
pub(crate) unsafe fn fill(to: *mut Sock, sk: u64, protocol: u16) {
    let state = state(sk);
    let family = family(sk);
    let mut flags = 0;
    let mut uid = 0;
    let mut inode = 0;
    let mut locks = 0;
    if bits(sk, off!(skc_ipv6only)) != 0 {
        flags |= Sock::FLAG_V6ONLY;
    }
    if bits(sk, off!(skc_net_refcnt)) == 0 {
        flags |= Sock::FLAG_KERNEL;
    }
    // TIME_WAIT is a `struct inet_timewait_sock`, NEW_SYN_RECV a `struct request_sock`: nothing
    // behind `struct sock_common` may be read of them as a `struct sock`.
    if state == Sock::STATE_TIME_WAIT {
        flags &= !Sock::FLAG_KERNEL;
        if has_connect_bind() && bits(sk, off!(tw_connect_bind)) != 0 {
            flags |= Sock::FLAG_CONNECT_BIND;
        }
    } else if state != Sock::STATE_NEW_SYN_RECV {
        flags |= Sock::FLAG_FULL | full_flags(sk);
        uid = read(sk, off!(sk_uid));
        locks = userlocks(sk);
        if has_connect_bind() && locks & Sock::CONNECT_BIND != 0 {
            flags |= Sock::FLAG_CONNECT_BIND;
        }
        let socket: u64 = read(sk, off!(sk_socket));
        if socket != 0 {
            flags |= Sock::FLAG_HAS_SOCKET;
            let file: u64 = read(socket, off!(socket_file));
            if file != 0 {
                flags |= Sock::FLAG_HAS_FILE;
            }
            let alloc = socket.wrapping_sub(u64::from(off!(socket_alloc_socket)));
            inode = read(
                alloc.wrapping_add(u64::from(off!(socket_alloc_inode))),
                off!(inode_ino),
            );
        }
    }
    // SAFETY: the caller's promise.
    unsafe {
        (*to).sk = sk;
        (*to).cookie = cookie(sk);
        (*to).inode = inode;
        if family == AF_INET6 {
            copy(&raw mut (*to).v6_rcv_saddr, sk, off!(skc_v6_rcv_saddr));
            copy(&raw mut (*to).v6_daddr, sk, off!(skc_v6_daddr));
        } else {
            zero16(&raw mut (*to).v6_rcv_saddr);
            zero16(&raw mut (*to).v6_daddr);
        }
        copy(&raw mut (*to).rcv_saddr, sk, off!(skc_rcv_saddr));
        copy(&raw mut (*to).daddr, sk, off!(skc_daddr));
        (*to).bound_dev = read(sk, off!(skc_bound_dev_if));
        (*to).uid = uid;
        (*to).family = family;
        (*to).protocol = protocol;
        (*to).port = port(sk);
        (*to).peer_port = u16::from_be(peer_port_be(sk));
        (*to).state = state;
        (*to).reuse = reuse(sk);
        (*to).reuseport = bits(sk, off!(skc_reuseport));
        (*to).userlocks = locks;
        (*to).flags = flags;
    }
}

/// Sixteen zero bytes.
///
/// # Safety
/// `to` is valid for writes.
#[inline(always)]
pub(crate) unsafe fn zero16(to: *mut [u8; 16]) {
    // SAFETY: the caller's promise; unaligned since the field may stand anywhere.
    unsafe {
        to.cast::<u64>().write_unaligned(0);
        to.cast::<u64>().add(1).write_unaligned(0);
    }
}

/// Flags behind `struct sock_common`.
#[inline(always)]
fn full_flags(sk: u64) -> u32 {
    let mut flags = 0;
    let group: u64 = read(sk, off!(sk_reuseport_cb));
    if group != 0 {
        flags |= Sock::FLAG_REUSEPORT_GROUP;
    }
    if off!(inet_flags) != ABSENT {
        let word: u64 = read(sk, off!(inet_flags));
        if word >> (off!(inet_flag_no_port) & 63) & 1 != 0 {
            flags |= Sock::FLAG_BIND_NO_PORT;
        }
        if word >> (off!(inet_flag_freebind) & 63) & 1 != 0 {
            flags |= Sock::FLAG_FREEBIND;
        }
        if word >> (off!(inet_flag_transparent) & 63) & 1 != 0 {
            flags |= Sock::FLAG_TRANSPARENT;
        }
    } else if off!(inet_no_port) != ABSENT {
        if bits(sk, off!(inet_no_port)) != 0 {
            flags |= Sock::FLAG_BIND_NO_PORT;
        }
        if bits(sk, off!(inet_freebind)) != 0 {
            flags |= Sock::FLAG_FREEBIND;
        }
        if bits(sk, off!(inet_transparent)) != 0 {
            flags |= Sock::FLAG_TRANSPARENT;
        }
    }
    flags
}

/// The key under which a listener of this socket's address and port is remembered.
#[inline(always)]
pub(crate) fn listener_key(sk: u64) -> PortKey {
    let mut key = PortKey {
        addr: [0; 16],
        netns: net_inum(net(sk)),
        protocol: IPPROTO_TCP,
        port: port(sk),
    };
    if family(sk) == AF_INET6 {
        // SAFETY: a local of that size.
        unsafe { copy(&raw mut key.addr, sk, off!(skc_v6_rcv_saddr)) };
    } else {
        let v4: [u8; 4] = read(sk, off!(skc_rcv_saddr));
        key.addr = mapped(v4);
    }
    key
}

/// `::ffff:a.b.c.d`.
#[inline(always)]
pub(crate) fn mapped(v4: [u8; 4]) -> [u8; 16] {
    [
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, v4[0], v4[1], v4[2], v4[3],
    ]
}

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

/// First node of the chain that holds TCP's bind bucket of a port
/// (include/net/inet_hashtables.h:inet_bhashfn, unchanged 5.10 to 6.18).
#[inline(always)]
pub(crate) fn tcp_chain(net: u64, port: u16) -> u64 {
    let hashinfo = tcp_hashinfo(net);
    let size: u32 = read(hashinfo, off!(hashinfo_bhash_size));
    let mix: u32 = read(net, off!(net_hash_mix));
    let index = u32::from(port).wrapping_add(mix) & size.wrapping_sub(1);
    let table: u64 = read(hashinfo, off!(hashinfo_bhash));
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
    if table == 0 && off!(net_udp_table) != ABSENT {
        table = read(net, off!(net_udp_table));
    }
    let mask: u32 = read(table, off!(udp_table_mask));
    let mix: u32 = read(net, off!(net_hash_mix));
    let index = u32::from(port).wrapping_add(mix) & mask;
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
