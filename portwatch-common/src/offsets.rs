//! Every kernel fact that differs between kernels and that the probes need: member offsets, bit
//! positions, sizes, enum values. User space resolves them from the running kernel's BTF and hands
//! them to the object as one read-only global; nothing is compiled in.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// What one field of [`Offsets`] stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// Byte offset of a member, and what is read there; the path may pass through nested and unnamed
    /// members.
    Member(&'static str, &'static str, Read),
    /// A bitfield member: byte offset, shift and width packed by [`pack_bits`].
    Bits(&'static str, &'static str),
    /// 1 if the member is a pointer, 0 if it is embedded.
    IsPointer(&'static str, &'static str),
    /// Size of a type in bytes.
    Size(&'static str),
    /// Size of a member in bytes.
    MemberSize(&'static str, &'static str),
    /// Value of an enumerator.
    Enum(&'static str),
}

/// What the probes read of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    /// A pointer.
    Pointer,
    /// Its first bytes: it has as many at least.
    Bytes(u32),
    /// Only where it is.
    Place,
}

/// What a kernel lacks reads as this.
pub const ABSENT: u32 = u32::MAX;

/// Packs the position of a bitfield into one word: byte offset (16 bits), shift (8), width (8).
#[must_use]
pub const fn pack_bits(byte: u32, shift: u32, width: u32) -> u32 {
    byte | shift << 16 | width << 24
}

/// One line of the table: the field's name, what it stands for, and whether a kernel may lack it.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// Name of the field of [`Offsets`].
    pub field: &'static str,
    /// What to look up.
    pub want: Want,
    /// A kernel may lack it: then the field is [`ABSENT`]. Everything else missing is an error.
    pub optional: bool,
}

macro_rules! offsets {
    (@optional) => { false };
    (@optional optional) => { true };
    ($($field:ident = $want:expr $(, $optional:ident)?;)*) => {
        /// The table as the probes read it. The fields' meaning is [`Offsets::TABLE`].
        #[repr(C)]
        #[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
        #[expect(missing_docs, reason = "`TABLE` names the struct and member of each field")]
        pub struct Offsets { $(pub $field: u32,)* }

        impl Offsets {
            /// One entry a field, in the order of the fields.
            pub const TABLE: &[Entry] = &[$(Entry {
                field: stringify!($field),
                want: $want,
                optional: offsets!(@optional $($optional)?),
            },)*];

            /// Nothing resolved yet.
            pub const ZERO: Self = Self { $($field: 0,)* };
        }
    };
}

use Read::{Bytes, Place, Pointer};
use Want::{Bits, Enum, IsPointer, Member, MemberSize, Size};

offsets! {
    task_tgid = Member("task_struct", "tgid", Bytes(4));
    task_pid = Member("task_struct", "pid", Bytes(4));
    task_flags = Member("task_struct", "flags", Bytes(4));
    task_files = Member("task_struct", "files", Pointer);
    task_group_leader = Member("task_struct", "group_leader", Pointer);
    task_real_parent = Member("task_struct", "real_parent", Pointer);
    task_start_boottime = Member("task_struct", "start_boottime", Bytes(8));
    task_comm = Member("task_struct", "comm", Bytes(16));
    task_signal = Member("task_struct", "signal", Pointer);
    task_cred = Member("task_struct", "cred", Pointer);
    task_cgroups = Member("task_struct", "cgroups", Pointer);
    task_nsproxy = Member("task_struct", "nsproxy", Pointer);
    nsproxy_net = Member("nsproxy", "net_ns", Pointer);
    signal_live = Member("signal_struct", "live", Bytes(4));
    cred_euid = Member("cred", "euid", Bytes(4));
    css_set_dfl_cgrp = Member("css_set", "dfl_cgrp", Pointer);
    cgroup_kn = Member("cgroup", "kn", Pointer);
    kernfs_node_id = Member("kernfs_node", "id", Bytes(8));

    list_next = Member("hlist_node", "next", Pointer);

    files_fdt = Member("files_struct", "fdt", Pointer);
    fdt_fd = Member("fdtable", "fd", Pointer);
    fdt_max_fds = Member("fdtable", "max_fds", Bytes(4));
    file_private_data = Member("file", "private_data", Pointer);
    file_f_cred = Member("file", "f_cred", Pointer);
    socket_sk = Member("socket", "sk", Pointer);
    socket_file = Member("socket", "file", Pointer);
    socket_alloc_socket = Member("socket_alloc", "socket", Place);
    socket_alloc_inode = Member("socket_alloc", "vfs_inode", Place);
    inode_ino = Member("inode", "i_ino", Bytes(8));

    skc_net = Member("sock_common", "skc_net.net", Pointer);
    skc_family = Member("sock_common", "skc_family", Bytes(2));
    skc_state = Member("sock_common", "skc_state", Bytes(1));
    skc_reuse = Bits("sock_common", "skc_reuse");
    skc_reuseport = Bits("sock_common", "skc_reuseport");
    skc_ipv6only = Bits("sock_common", "skc_ipv6only");
    skc_net_refcnt = Bits("sock_common", "skc_net_refcnt");
    skc_bound_dev_if = Member("sock_common", "skc_bound_dev_if", Bytes(4));
    skc_bind_node = Member("sock_common", "skc_bind_node", Bytes(16));
    skc_node = Member("sock_common", "skc_node", Bytes(16));
    skc_prot = Member("sock_common", "skc_prot", Pointer);
    skc_rcv_saddr = Member("sock_common", "skc_rcv_saddr", Bytes(4));
    skc_daddr = Member("sock_common", "skc_daddr", Bytes(4));
    skc_num = Member("sock_common", "skc_num", Bytes(2));
    skc_dport = Member("sock_common", "skc_dport", Bytes(2));
    skc_v6_rcv_saddr = Member("sock_common", "skc_v6_rcv_saddr", Bytes(16));
    skc_v6_daddr = Member("sock_common", "skc_v6_daddr", Bytes(16));
    skc_cookie = Member("sock_common", "skc_cookie", Bytes(8));
    sk_protocol = Member("sock", "sk_protocol", Bytes(2));
    sk_socket = Member("sock", "sk_socket", Pointer);
    sk_data_ready = Member("sock", "sk_data_ready", Pointer), optional;
    udp_encap_rcv = Member("udp_sock", "encap_rcv", Pointer), optional;
    sk_uid = Member("sock", "sk_uid", Bytes(4));
    sk_userlocks = Bits("sock", "sk_userlocks");
    sk_reuseport_cb = Member("sock", "sk_reuseport_cb", Pointer);
    sk_gso_type = Member("sock", "sk_gso_type", Bytes(2));
    tw_substate = Member("inet_timewait_sock", "tw_substate", Bytes(1));
    tw_tb = Member("inet_timewait_sock", "tw_tb", Pointer);
    icsk_bind_hash = Member("inet_connection_sock", "icsk_bind_hash", Pointer);
    icsk_bind2_hash = Member("inet_connection_sock", "icsk_bind2_hash", Pointer), optional;
    tw_connect_bind = Bits("inet_timewait_sock", "tw_connect_bind"), optional;
    inet_flags = Member("inet_sock", "inet_flags", Bytes(8)), optional;
    inet_flag_freebind = Enum("INET_FLAGS_FREEBIND"), optional;
    inet_flag_transparent = Enum("INET_FLAGS_TRANSPARENT"), optional;
    inet_flag_no_port = Enum("INET_FLAGS_BIND_ADDRESS_NO_PORT"), optional;
    inet_freebind = Bits("inet_sock", "freebind"), optional;
    inet_transparent = Bits("inet_sock", "transparent"), optional;
    inet_no_port = Bits("inet_sock", "bind_address_no_port"), optional;
    inet_local_port_range = Member("inet_sock", "local_port_range", Bytes(4)), optional;

    net_inum = Member("net", "ns.inum", Bytes(4));
    net_cookie = Member("net", "net_cookie", Bytes(8));
    net_hash_mix = Member("net", "hash_mix", Bytes(4));
    net_hashinfo = Member("net", "ipv4.tcp_death_row.hashinfo", Pointer), optional;
    net_tcp_death_row = Member("net", "ipv4.tcp_death_row", Place);
    net_tcp_death_row_is_pointer = IsPointer("net", "ipv4.tcp_death_row");
    death_row_hashinfo = Member("inet_timewait_death_row", "hashinfo", Pointer);
    net_port_range = Member("net", "ipv4.ip_local_ports.range", Bytes(4));
    net_port_range_size = MemberSize("net", "ipv4.ip_local_ports.range");
    net_reserved_ports = Member("net", "ipv4.sysctl_local_reserved_ports", Pointer);
    net_udp_table = Member("net", "ipv4.udp_table", Pointer), optional;

    hashinfo_bhash = Member("inet_hashinfo", "bhash", Pointer);
    hashinfo_bhash_size = Member("inet_hashinfo", "bhash_size", Bytes(4));
    bhash_bucket_size = Size("inet_bind_hashbucket");
    bhash_bucket_chain = Member("inet_bind_hashbucket", "chain", Bytes(8));
    tb_net = Member("inet_bind_bucket", "ib_net.net", Pointer);
    tb_l3mdev = Member("inet_bind_bucket", "l3mdev", Bytes(4));
    tb_port = Member("inet_bind_bucket", "port", Bytes(2));
    tb_fastreuse = Member("inet_bind_bucket", "fastreuse", Bytes(1));
    tb_fastreuseport = Member("inet_bind_bucket", "fastreuseport", Bytes(1));
    tb_node = Member("inet_bind_bucket", "node", Bytes(16));
    tb_owners = Member("inet_bind_bucket", "owners", Bytes(8)), optional;
    tb_bhash2 = Member("inet_bind_bucket", "bhash2", Bytes(8)), optional;
    tb2_bhash_node = Member("inet_bind2_bucket", "bhash_node", Bytes(16)), optional;
    tb2_owners = Member("inet_bind2_bucket", "owners", Bytes(8)), optional;

    proto_udp_table = Member("proto", "h.udp_table", Pointer), optional;
    udp_table_hash = Member("udp_table", "hash", Pointer);
    udp_table_mask = Member("udp_table", "mask", Bytes(4));
    udp_hslot_size = Size("udp_hslot");
    udp_hslot_head = Member("udp_hslot", "head", Bytes(8));

    sock_ops_sk = Member("bpf_sock_ops_kern", "sk", Pointer);
    sock_addr_sk = Member("bpf_sock_addr_kern", "sk", Pointer);
    regs_orig_ax = Member("pt_regs", "orig_ax", Bytes(8)), optional;
    regs_di = Member("pt_regs", "di", Bytes(8)), optional;
    regs_si = Member("pt_regs", "si", Bytes(8)), optional;
    regs_r8 = Member("pt_regs", "r8", Bytes(8)), optional;
    regs_syscallno = Member("pt_regs", "syscallno", Bytes(4)), optional;
    regs_orig_x0 = Member("pt_regs", "orig_x0", Bytes(8)), optional;
    regs_array = Member("pt_regs", "regs", Bytes(8)), optional;
    mptcp_first = Member("mptcp_sock", "first", Pointer), optional;
}
