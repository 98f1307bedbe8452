//! From a port to the sockets that have it: one flat state machine over the kernel's own lists.
//!
//! Three levels for TCP since 6.8 (chain of buckets, second-level buckets, owners), two before, one
//! for UDP. Driven by `bpf_loop`; every step visits one node. Nodes may be freed meanwhile: each
//! read is a probe read, the count is bounded, and port and namespace are checked again per node.

mod visit;

use crate::{maps::WALKS, sock, stats};
use aya_ebpf::helpers::generated::bpf_get_smp_processor_id;
#[cfg(not(feature = "flat"))]
use aya_ebpf::helpers::generated::bpf_loop;
#[cfg(not(feature = "flat"))]
use core::ffi::c_void;
use portwatch_common::RecordHeader;
use visit::visit;

/// Nodes visited at most: past a proxy port with 100 000 connections.
const MAX_STEPS: u32 = 1 << 17;

/// Programs that walk.
pub(crate) const PROGRAMS: u32 = 11;
/// Walks of one program that may be under way on a CPU at once: a program does not run twice there
/// (kernel/bpf/trampoline.c:__bpf_prog_enter_recur).
#[cfg(not(feature = "flat"))]
pub(crate) const DEPTH: u32 = 1;
/// Below Linux 5.12 a trampoline lets it, for a task that preempts another one.
#[cfg(feature = "flat")]
pub(crate) const DEPTH: u32 = 4;

/// State of a walk and its result.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Walk {
    /// 1: a walk is under way in this slot.
    busy: u64,
    bucket_node: u64,
    bucket2_node: u64,
    owner_node: u64,
    net: u64,
    /// The failing socket, which is an owner itself when listen() fails.
    own: u64,
    own_cookie: u64,
    id: u64,
    time: u64,
    l3mdev: u32,
    hook: u32,
    /// Counted owners, the failing socket excepted.
    pub(crate) total: u32,
    /// Holder records written.
    pub(crate) emitted: u32,
    /// Holder records that found no room.
    pub(crate) lost: u32,
    /// Nodes visited.
    pub(crate) steps: u32,
    /// Bind buckets of the port.
    pub(crate) buckets: u32,
    /// Owners that may block and were not sent.
    pub(crate) skipped: u32,
    blocking: u32,
    listeners: u32,
    bound: u32,
    neighbours: u32,
    /// connect() only: the address that it wants to reach, in the two words of its family.
    peer: [u64; 2],
    port: u16,
    protocol: u16,
    /// connect() only: the port that it wants to reach, network order; 0 = not known.
    peer_port_be: u16,
    own_reuse: u8,
    /// 1: connect() with a port of its own, which only such a connection refuses.
    connects: u8,
    /// `fastreuse` of the last bucket.
    pub(crate) fastreuse: i8,
    /// `fastreuseport` of the last bucket.
    pub(crate) fastreuseport: i8,
    /// 1: the end of the lists was reached.
    pub(crate) finished: u8,
}

/// The call that a walk is made for.
#[derive(Clone, Copy)]
pub(crate) struct Asker {
    /// One of `portwatch_common::HookId`'s numbers.
    pub(crate) hook: u32,
    /// The failing socket.
    pub(crate) own: u64,
    /// Its namespace.
    pub(crate) net: u64,
    /// The port that it wants, or has.
    pub(crate) port: u16,
    /// connect(): it has its port, and wants to reach one.
    pub(crate) connects: bool,
    /// The port that connect() wants to reach; 0 = not known.
    pub(crate) peer_port: u16,
    /// Id of the failure.
    pub(crate) id: u64,
    /// Its time.
    pub(crate) time: u64,
}

/// A slot of this program in which no walk is under way, and its number; null if there is none. One that
/// looks while another one does lets both pass it by.
#[inline(always)]
fn free(program: u32) -> (*mut Walk, u32) {
    let mut slot = program;
    while slot < PROGRAMS * DEPTH {
        let Some(walk) = WALKS.get_ptr_mut(slot) else {
            break;
        };
        // SAFETY: a value of our own map; `busy` is only ever changed like this.
        unsafe {
            let busy = &raw mut (*walk).busy;
            stats::add(busy, 1);
            if busy.read_volatile() == 1 {
                return (walk, slot);
            }
            stats::add(busy, u64::MAX);
        }
        slot = slot.wrapping_add(PROGRAMS);
    }
    (core::ptr::null_mut(), 0)
}

/// The result of a walk was read.
#[inline(always)]
pub(crate) fn done(walk: *mut Walk) {
    // SAFETY: the slot that `walk` gave.
    unsafe { stats::add(&raw mut (*walk).busy, u64::MAX) }
}

/// Walks to every socket that has the port, writing a holder record for each; the result stands in
/// the slot's map value until [`done`] is told. Null if every slot is taken: nothing was walked.
#[inline(always)]
pub(crate) fn walk<const SLOT: u32>(asker: Asker) -> *mut Walk {
    let Asker {
        hook,
        own,
        net,
        port,
        connects,
        peer_port,
        id,
        time,
    } = asker;
    let (walk, slot) = free(SLOT);
    if walk.is_null() {
        return walk;
    }
    let udp = matches!(
        sock::protocol(own),
        sock::IPPROTO_UDP | sock::IPPROTO_UDPLITE
    );
    // SAFETY: this CPU's slot of this program.
    let state = unsafe { &mut *walk };
    state.bucket2_node = 0;
    state.net = net;
    state.own = own;
    state.own_cookie = sock::cookie(own);
    state.id = id;
    state.time = time;
    state.l3mdev = 0;
    state.hook = hook;
    state.total = 0;
    state.emitted = 0;
    state.lost = 0;
    state.steps = 0;
    state.buckets = 0;
    state.skipped = 0;
    state.blocking = 0;
    state.listeners = 0;
    state.bound = 0;
    state.neighbours = 0;
    state.port = port;
    state.connects = u8::from(connects);
    state.peer_port_be = peer_port.to_be();
    state.peer = if connects {
        sock::peer_words(own)
    } else {
        [0; 2]
    };
    state.own_reuse = sock::reuse(own);
    state.fastreuse = 0;
    state.fastreuseport = 0;
    state.finished = 0;
    if udp {
        state.protocol = sock::protocol(own);
        state.bucket_node = 0;
        state.owner_node = sock::udp_chain(own, net, port);
    } else {
        state.protocol = sock::IPPROTO_TCP;
        state.bucket_node = sock::tcp_chain(net, port);
        state.owner_node = 0;
    }
    drive::<SLOT>(slot);
    walk
}

/// Steps to the end of the lists, or to the bound.
#[cfg(not(feature = "flat"))]
#[inline(always)]
fn drive<const SLOT: u32>(_slot: u32) {
    // SAFETY: a static callback without context; there is one slot.
    unsafe {
        bpf_loop(
            MAX_STEPS,
            step::<SLOT> as *mut c_void,
            core::ptr::null_mut(),
            0,
        )
    };
}

/// The same without `bpf_loop`: the verifier follows every turn. It goes through a global function
/// once, whoever calls it (Linux 5.6, kernel/bpf/verifier.c:do_check_subprogs), so a turn is a call and
/// no more; inside the loop, a step would be verified as often as there are turns.
#[cfg(feature = "flat")]
#[inline(never)]
fn drive<const SLOT: u32>(slot: u32) {
    let mut turn = 0;
    while turn < MAX_STEPS / FLAT_PART {
        if flat_part(slot) != 0 {
            return;
        }
        turn = turn.wrapping_add(1);
    }
}

/// Steps of [`flat_part`]. Turns of turns: one loop of so many would be more than a verifier follows.
#[cfg(feature = "flat")]
const FLAT_PART: u32 = 1 << 10;

/// Some steps of the walk in a slot: 0 goes on, 1 ends.
#[cfg(feature = "flat")]
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn flat_part(slot: u32) -> i32 {
    let mut turn = 0;
    while turn < FLAT_PART {
        if flat_step(slot) != 0 {
            return 1;
        }
        turn = turn.wrapping_add(1);
    }
    0
}

/// One step of the walk in a slot: 0 goes on, 1 ends. Not mangled, since what has a public name stays
/// global.
#[cfg(feature = "flat")]
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn flat_step(slot: u32) -> i32 {
    match WALKS.get_ptr_mut(slot) {
        // SAFETY: as in `walk`.
        Some(walk) => advance(unsafe { &mut *walk }) as i32,
        None => 1,
    }
}

/// One step of `bpf_loop`: 0 goes on, 1 ends.
#[cfg(not(feature = "flat"))]
unsafe extern "C" fn step<const SLOT: u32>(_index: u64, _context: *mut c_void) -> i64 {
    match WALKS.get_ptr_mut(SLOT) {
        // SAFETY: as in `walk`.
        Some(walk) => advance(unsafe { &mut *walk }),
        None => 1,
    }
}

#[inline(always)]
fn advance(walk: &mut Walk) -> i64 {
    walk.steps = walk.steps.wrapping_add(1);
    if walk.owner_node != 0 {
        let node = walk.owner_node;
        let sk = if walk.protocol == sock::IPPROTO_TCP {
            sock::owner_of(node)
        } else {
            sock::udp_socket_of(node)
        };
        walk.owner_node = sock::next(node);
        // A UDP slot mixes ports and namespaces; a freed node may belong to anything.
        if sock::port(sk) == walk.port && sock::net(sk) == walk.net && sk != walk.own {
            visit(walk, sk);
        }
        return 0;
    }
    if walk.bucket2_node != 0 {
        let node = walk.bucket2_node;
        walk.owner_node = sock::bucket2_owners(node);
        walk.bucket2_node = sock::next(node);
        return 0;
    }
    let node = walk.bucket_node;
    if node == 0 {
        walk.finished = 1;
        return 1;
    }
    let bucket = sock::bucket_of(node);
    walk.bucket_node = sock::next(node);
    if sock::bucket_port(bucket) == walk.port && sock::bucket_net(bucket) == walk.net {
        walk.buckets = walk.buckets.wrapping_add(1);
        walk.l3mdev = sock::bucket_l3mdev(bucket);
        walk.fastreuse = sock::bucket_fastreuse(bucket);
        walk.fastreuseport = sock::bucket_fastreuseport(bucket);
        let (list, owners) = sock::bucket_list(bucket);
        if owners {
            walk.owner_node = list;
        } else {
            walk.bucket2_node = list;
        }
    }
    0
}

/// The head of a record.
#[inline(always)]
pub(crate) fn header<T>(kind: u16, time: u64, id: u64) -> RecordHeader {
    RecordHeader {
        kind,
        size: size_of::<T>() as u16,
        // SAFETY: a helper without arguments.
        cpu: unsafe { bpf_get_smp_processor_id() },
        time,
        id,
    }
}
