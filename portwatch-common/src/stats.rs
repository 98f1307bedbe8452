//! Counters of the kernel side: a row for each hook, so that a loss tells where it happened.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// One hook's counters: a value of the per-CPU array STATS, whose index is a [`HookId`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Counters {
    /// By [`Counter`].
    pub values: [u64; Counter::COUNT as usize],
}

/// Index into STATS: the program that counts. Numbers are never reused.
#[derive(Clone, Copy, Debug)]
pub struct HookId;

impl HookId {
    /// `syscalls:sys_exit_bind`.
    pub const SYS_EXIT_BIND: u32 = 0;
    /// `syscalls:sys_exit_listen`.
    pub const SYS_EXIT_LISTEN: u32 = 1;
    /// `syscalls:sys_exit_connect`.
    pub const SYS_EXIT_CONNECT: u32 = 2;
    /// `syscalls:sys_exit_sendto`.
    pub const SYS_EXIT_SENDTO: u32 = 3;
    /// `syscalls:sys_exit_sendmsg`.
    pub const SYS_EXIT_SENDMSG: u32 = 4;
    /// `syscalls:sys_exit_sendmmsg`.
    pub const SYS_EXIT_SENDMMSG: u32 = 5;
    /// sock_ops.
    pub const SOCK_OPS: u32 = 6;
    /// `cgroup/sendmsg4`.
    pub const SENDMSG4: u32 = 7;
    /// `cgroup/sendmsg6`.
    pub const SENDMSG6: u32 = 8;
    /// `cgroup/sock_release`.
    pub const SOCK_RELEASE: u32 = 9;
    /// `tp_btf/sched_process_exit`.
    pub const PROCESS_EXIT: u32 = 10;
    /// `iter/task_file`.
    pub const TASK_FILE: u32 = 11;
    /// `tp_btf/sys_exit`, under lockdown=confidentiality.
    pub const BLIND_EXIT: u32 = 12;
    /// The function `inet_csk_get_port`.
    pub const CSK_GET_PORT: u32 = 13;
    /// The function `udp_lib_get_port`.
    pub const UDP_GET_PORT: u32 = 14;
    /// The functions `inet_hash_connect` and `inet6_hash_connect`.
    pub const HASH_CONNECT: u32 = 15;
    /// The functions `inet_bind_sk`, `inet_bind` and their IPv6 twins.
    pub const INET_BIND: u32 = 16;
    /// The function `inet_put_port`.
    pub const PUT_PORT: u32 = 17;
    /// The function `inet_twsk_bind_unhash`.
    pub const TWSK_UNHASH: u32 = 18;
    /// The function `udp_lib_unhash`.
    pub const UDP_UNHASH: u32 = 19;
    /// How many there are.
    pub const COUNT: u32 = 20;
}

/// Index into [`Counters::values`]. Numbers are never reused.
///
/// Conservation, checked by a test: for each kind, triggered = emitted + dropped + filtered.
#[derive(Clone, Copy, Debug)]
pub struct Counter;

impl Counter {
    /// Calls that failed for want of a port.
    pub const FAILURES_TRIGGERED: u32 = 0;
    /// Of these, written to the FAILURES ring.
    pub const FAILURES_EMITTED: u32 = 1;
    /// Of these, lost because the ring was full.
    pub const FAILURES_DROPPED: u32 = 2;
    /// Holders that were to be written.
    pub const HOLDERS_TRIGGERED: u32 = 3;
    /// Of these, written.
    pub const HOLDERS_EMITTED: u32 = 4;
    /// Of these, lost because the ring was full, or nearly, which is for others then.
    pub const HOLDERS_DROPPED: u32 = 5;
    /// Calls refused for another reason.
    pub const REFUSED_TRIGGERED: u32 = 6;
    /// Of these, written.
    pub const REFUSED_EMITTED: u32 = 7;
    /// Of these, lost because the ring was full.
    pub const REFUSED_DROPPED: u32 = 8;
    /// Of these, nobody asked for.
    pub const REFUSED_FILTERED: u32 = 9;
    /// Ports taken.
    pub const ASSIGN_TRIGGERED: u32 = 10;
    /// Of these, written to the TRAFFIC ring.
    pub const ASSIGN_EMITTED: u32 = 11;
    /// Of these, lost because the ring was full.
    pub const ASSIGN_DROPPED: u32 = 12;
    /// Of these, nobody asked for.
    pub const ASSIGN_FILTERED: u32 = 13;
    /// Sockets with a port closed.
    pub const RELEASE_TRIGGERED: u32 = 14;
    /// Of these, written to the TRAFFIC ring.
    pub const RELEASE_EMITTED: u32 = 15;
    /// Of these, lost because the ring was full.
    pub const RELEASE_DROPPED: u32 = 16;
    /// Of these, nobody asked for.
    pub const RELEASE_FILTERED: u32 = 17;
    /// Ends of incidents (assign, release, exit of watched keys) that were to be written.
    pub const WATCHED_TRIGGERED: u32 = 18;
    /// Of these, written to the FAILURES ring.
    pub const WATCHED_EMITTED: u32 = 19;
    /// Of these, lost because the ring was full.
    pub const WATCHED_DROPPED: u32 = 20;
    /// Entries that did not fit into OWNERS.
    pub const OWNERS_FULL: u32 = 21;
    /// Keys that did not fit into WATCHED.
    pub const WATCHED_FULL: u32 = 22;
    /// Entries moved from OWNERS to PAST; PAST forgets the oldest by itself.
    pub const PAST_WRITTEN: u32 = 23;
    /// Calls whose socket could not be found from the descriptor.
    pub const SOCKET_UNREADABLE: u32 = 24;
    /// Sockets without a cookie when their port was taken: not remembered.
    pub const NO_COOKIE: u32 = 25;
    /// Failed calls in network namespaces that nobody asked for (`--netns`).
    pub const FAILURES_FILTERED: u32 = 26;
    /// Sends that may have failed for want of a port (UDP's EAGAIN is a full buffer as well), whose
    /// socket could not be found from the descriptor.
    pub const SENDS_UNREADABLE: u32 = 27;
    /// Calls of a function whose return probe did not run.
    pub const RETURNS_MISSED: u32 = 28;
    /// Calls whose beginning did not fit into NOTES or WANTED, whatever they came to.
    pub const NOTES_FULL: u32 = 29;
    /// How many counters there are.
    pub const COUNT: u32 = 30;
}
