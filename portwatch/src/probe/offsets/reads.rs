//! What the probes read of each member: a pointer, or so many bytes. A kernel that made something
//! else of a member is refused like one that lacks it: what was read of it would be no fact.

use super::Cause;
use crate::probe::btf::Member;
use Read::{Bytes, Place, Pointer};

/// What is read of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    /// A pointer.
    Pointer,
    /// Its first bytes, as many at least; the lower ones of a wider number on a machine that has
    /// those first.
    Bytes(u32),
    /// Only where it is.
    Place,
}

/// Every member of the table, by its field.
pub const READS: &[(&str, Read)] = &[
    ("task_tgid", Bytes(4)),
    ("task_pid", Bytes(4)),
    ("task_flags", Bytes(4)),
    ("task_files", Pointer),
    ("task_group_leader", Pointer),
    ("task_real_parent", Pointer),
    ("task_start_boottime", Bytes(8)),
    ("task_comm", Bytes(16)),
    ("task_signal", Pointer),
    ("task_cred", Pointer),
    ("task_cgroups", Pointer),
    ("task_nsproxy", Pointer),
    ("nsproxy_net", Pointer),
    ("signal_live", Bytes(4)),
    ("cred_euid", Bytes(4)),
    ("css_set_dfl_cgrp", Pointer),
    ("cgroup_kn", Pointer),
    ("kernfs_node_id", Bytes(8)),
    ("list_next", Pointer),
    ("files_fdt", Pointer),
    ("fdt_fd", Pointer),
    ("fdt_max_fds", Bytes(4)),
    ("file_private_data", Pointer),
    ("file_f_cred", Pointer),
    ("socket_sk", Pointer),
    ("socket_file", Pointer),
    ("socket_alloc_socket", Place),
    ("socket_alloc_inode", Place),
    ("inode_ino", Bytes(8)),
    ("skc_net", Pointer),
    ("skc_family", Bytes(2)),
    ("skc_state", Bytes(1)),
    ("skc_bound_dev_if", Bytes(4)),
    ("skc_bind_node", Bytes(16)),
    ("skc_node", Bytes(16)),
    ("skc_prot", Pointer),
    ("skc_rcv_saddr", Bytes(4)),
    ("skc_daddr", Bytes(4)),
    ("skc_num", Bytes(2)),
    ("skc_dport", Bytes(2)),
    ("skc_v6_rcv_saddr", Bytes(16)),
    ("skc_v6_daddr", Bytes(16)),
    ("skc_cookie", Bytes(8)),
    ("sk_protocol", Bytes(2)),
    ("sk_socket", Pointer),
    ("sk_data_ready", Pointer),
    ("udp_encap_rcv", Pointer),
    ("sk_uid", Bytes(4)),
    ("sk_reuseport_cb", Pointer),
    ("sk_gso_type", Bytes(2)),
    ("tw_substate", Bytes(1)),
    ("tw_tb", Pointer),
    ("icsk_bind_hash", Pointer),
    ("icsk_bind2_hash", Pointer),
    ("inet_flags", Bytes(8)),
    ("inet_local_port_range", Bytes(4)),
    ("net_inum", Bytes(4)),
    ("net_cookie", Bytes(8)),
    ("net_hash_mix", Bytes(4)),
    ("net_hashinfo", Pointer),
    ("net_tcp_death_row", Place),
    ("death_row_hashinfo", Pointer),
    ("net_port_range", Bytes(4)),
    ("net_reserved_ports", Pointer),
    ("net_udp_table", Pointer),
    ("hashinfo_bhash", Pointer),
    ("hashinfo_bhash_size", Bytes(4)),
    ("bhash_bucket_chain", Bytes(8)),
    ("tb_net", Pointer),
    ("tb_l3mdev", Bytes(4)),
    ("tb_port", Bytes(2)),
    ("tb_fastreuse", Bytes(1)),
    ("tb_fastreuseport", Bytes(1)),
    ("tb_node", Bytes(16)),
    ("tb_owners", Bytes(8)),
    ("tb_bhash2", Bytes(8)),
    ("tb2_bhash_node", Bytes(16)),
    ("tb2_owners", Bytes(8)),
    ("proto_udp_table", Pointer),
    ("udp_table_hash", Pointer),
    ("udp_table_mask", Bytes(4)),
    ("udp_hslot_head", Bytes(8)),
    ("sock_ops_sk", Pointer),
    ("sock_addr_sk", Pointer),
    ("regs_orig_ax", Bytes(8)),
    ("regs_di", Bytes(8)),
    ("regs_si", Bytes(8)),
    ("regs_r8", Bytes(8)),
    ("regs_syscallno", Bytes(4)),
    ("regs_orig_x0", Bytes(8)),
    ("regs_array", Bytes(8)),
    ("mptcp_first", Pointer),
];

impl Read {
    /// What is read of a field of the table.
    #[must_use]
    pub fn of(field: &str) -> Option<Self> {
        let found = READS.iter().find(|(name, _)| *name == field)?;
        Some(found.1)
    }

    /// Whether a kernel's member can be read so.
    ///
    /// # Errors
    /// It is something else.
    pub fn check(self, member: &Member) -> Result<(), Cause> {
        match self {
            Place => Ok(()),
            Pointer if member.is_pointer => Ok(()),
            Pointer => Err(Cause::NoPointer),
            Bytes(_) if member.is_pointer => Err(Cause::Pointer),
            Bytes(read) if member.size < read => Err(Cause::Narrow {
                found: member.size,
                read,
            }),
            Bytes(_) => Ok(()),
        }
    }
}
