//! A call that the kernel refused: the record, the walk, the watch.

use crate::{config, maps::FAILURES, owners, sock, stats, task, walk, walk::Asker, watched};
use aya_ebpf::{
    bindings::BPF_RB_FORCE_WAKEUP,
    helpers::generated::{bpf_get_smp_processor_id, bpf_probe_read_kernel, bpf_probe_read_user},
};
use core::ffi::c_void;
use portwatch_common::{Call, Counter, FailureRecord, RecordKind, SockAddr};

/// Where the address of a call stands.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum AddrFrom {
    /// In the caller's memory: a `struct sockaddr`.
    Caller,
    /// In the kernel's memory: a `struct sockaddr`.
    Kernel,
    /// In the socket: its own end.
    OwnEnd,
    /// In the socket: its peer's end.
    PeerEnd,
    /// Nowhere.
    Nothing,
}

/// What the end of a call told.
#[derive(Clone, Copy)]
pub(crate) struct Refusal {
    /// The socket of the call's descriptor.
    pub(crate) sk: u64,
    /// The current task.
    pub(crate) task: u64,
    /// The `struct sockaddr`; 0 if the call has none.
    pub(crate) addr: u64,
    /// Where the address stands.
    pub(crate) from: AddrFrom,
    /// The wanted port, where the probe has it; where `from` is the caller, 0.
    pub(crate) port: u16,
    /// Positive errno.
    pub(crate) errno: u32,
    /// One of `portwatch_common::Call`'s numbers.
    pub(crate) call: u8,
    /// One of `portwatch_common::HookId`'s numbers.
    pub(crate) hook: u32,
}

/// Reports a call that failed for want of a port, with every holder.
#[inline(always)]
pub(crate) fn conflict<const SLOT: u32>(refusal: Refusal) {
    let Some(counters) = stats::row(refusal.hook) else {
        return;
    };
    counters.count(Counter::FAILURES_TRIGGERED);
    if !config::wants_netns(sock::net_inum(sock::net(refusal.sk))) {
        counters.count(Counter::FAILURES_FILTERED);
        return;
    }
    let Some(mut record) = FAILURES.reserve::<FailureRecord>(0) else {
        counters.count(Counter::FAILURES_DROPPED);
        return;
    };
    let to = record.as_mut_ptr();
    let time = owners::now();
    // SAFETY: a helper without arguments.
    let id = time << 8 | u64::from(unsafe { bpf_get_smp_processor_id() } & 0xff);
    // SAFETY: the reserved record; every byte is written.
    let port = unsafe {
        fill(to, refusal, RecordKind::FAILURE, time, id);
        let port = wanted_port(to, refusal);
        if port == 0 {
            (*to).flags |= FailureRecord::FLAG_NO_WALK;
        } else {
            let own = sock::port_socket(refusal.sk);
            let net = sock::net(own);
            (*to).flags |= sock::reserved_flags(net, port);
            let result = walk::walk::<SLOT>(Asker {
                hook: refusal.hook,
                own,
                net,
                port,
                connects: refusal.call == Call::CONNECT,
                peer_port: (*to).addr.port,
                id,
                time,
            });
            if result.is_null() {
                (*to).flags |= FailureRecord::FLAG_TRUNCATED;
            } else {
                (*to).total = (*result).total;
                (*to).emitted = (*result).emitted;
                (*to).lost = (*result).lost;
                (*to).steps = (*result).steps;
                (*to).buckets = (*result).buckets;
                (*to).skipped = (*result).skipped;
                (*to).fastreuse = (*result).fastreuse;
                (*to).fastreuseport = (*result).fastreuseport;
                if (*result).finished == 0 {
                    (*to).flags |= FailureRecord::FLAG_TRUNCATED;
                }
                walk::done(result);
            }
        }
        port
    };
    let tgid = task::tgid(refusal.task);
    watched::requester(refusal.hook, tgid, port);
    let own = sock::port_socket(refusal.sk);
    if refusal.call == Call::CONNECT && sock::protocol(own) == sock::IPPROTO_TCP {
        // SAFETY: the reserved record, filled.
        let peer_port = unsafe { (*to).addr.port };
        watched::destination(refusal.hook, tgid, sock::peer_words(own), peer_port.to_be());
    }
    record.submit(u64::from(BPF_RB_FORCE_WAKEUP));
    counters.count(Counter::FAILURES_EMITTED);
}

/// Reports a call that failed for another reason, if that is wanted.
#[inline(always)]
pub(crate) fn refused(refusal: Refusal) {
    let Some(counters) = stats::row(refusal.hook) else {
        return;
    };
    counters.count(Counter::REFUSED_TRIGGERED);
    let wanted = config::refused() && config::wants_netns(sock::net_inum(sock::net(refusal.sk)));
    if !wanted {
        counters.count(Counter::REFUSED_FILTERED);
        return;
    }
    let Some(mut record) = FAILURES.reserve::<FailureRecord>(0) else {
        counters.count(Counter::REFUSED_DROPPED);
        return;
    };
    let to = record.as_mut_ptr();
    // SAFETY: the reserved record; every byte is written.
    unsafe {
        fill(to, refusal, RecordKind::REFUSED, owners::now(), 0);
        (*to).flags |= FailureRecord::FLAG_NO_WALK;
    }
    record.submit(u64::from(BPF_RB_FORCE_WAKEUP));
    counters.count(Counter::REFUSED_EMITTED);
}

/// The port that the call was about: 0 if the kernel was to pick one.
///
/// # Safety
/// `to` was filled.
#[inline(always)]
unsafe fn wanted_port(to: *const FailureRecord, refusal: Refusal) -> u16 {
    if refusal.from != AddrFrom::Caller {
        refusal.port
    } else if refusal.call == Call::BIND {
        // A failed bind() has cleared the socket's port (net/ipv4/af_inet.c:__inet_bind).
        // SAFETY: the caller's promise.
        unsafe { (*to).addr.port }
    } else {
        sock::port(sock::port_socket(refusal.sk))
    }
}

/// Writes everything that does not come from the walk.
///
/// # Safety
/// `to` is valid for writes.
#[inline(always)]
unsafe fn fill(to: *mut FailureRecord, refusal: Refusal, kind: u16, time: u64, id: u64) {
    let own = sock::port_socket(refusal.sk);
    let net = sock::net(own);
    let (low, high, of_socket) = sock::range(own);
    // SAFETY: the caller's promise.
    unsafe {
        (*to).header = walk::header::<FailureRecord>(kind, time, id);
        task::fill(&raw mut (*to).task, refusal.task);
        sock::fill(&raw mut (*to).sock, own, sock::protocol(own));
        (*to).netns_cookie = sock::net_cookie(net);
        (*to).netns = sock::net_inum(net);
        (*to).errno = refusal.errno;
        (*to).total = 0;
        (*to).emitted = 0;
        (*to).lost = 0;
        (*to).steps = 0;
        (*to).buckets = 0;
        (*to).skipped = 0;
        (*to).fastreuse = 0;
        (*to).fastreuseport = 0;
        (*to).call = refusal.call;
        (*to).range_low = low;
        (*to).range_high = high;
        (*to).flags = if of_socket {
            FailureRecord::FLAG_SOCK_RANGE
        } else {
            0
        };
        let addr = &raw mut (*to).addr;
        let told = match refusal.from {
            AddrFrom::Caller => sockaddr::<true>(addr, refusal.addr),
            AddrFrom::Kernel => sockaddr::<false>(addr, refusal.addr),
            AddrFrom::OwnEnd => end_of_socket::<true>(addr, own, refusal.port),
            AddrFrom::PeerEnd => {
                end_of_socket::<false>(addr, own, u16::from_be(sock::peer_port_be(own)))
            }
            AddrFrom::Nothing => sockaddr::<true>(addr, 0),
        };
        if !told {
            (*to).flags |= FailureRecord::FLAG_NO_ADDR;
        }
    }
}

/// Writes one end of a socket as the `sockaddr` that named it.
///
/// # Safety
/// `to` is valid for writes.
#[inline(always)]
unsafe fn end_of_socket<const OWN: bool>(to: *mut SockAddr, sk: u64, port: u16) -> bool {
    let family = sock::family(sk);
    // SAFETY: the caller's promise.
    unsafe {
        sock::fill_address::<OWN>(&raw mut (*to).addr, sk);
        (*to).scope = sock::bound_dev(sk);
        (*to).family = family;
        (*to).port = port;
    }
    true
}

/// `size` bytes of the caller's memory or of the kernel's; false if they are not readable.
///
/// # Safety
/// `to` is valid for writes of `size` bytes.
#[inline(always)]
unsafe fn read<const USER: bool>(to: *mut c_void, size: u32, from: u64) -> bool {
    // SAFETY: the caller's promise.
    unsafe {
        if USER {
            bpf_probe_read_user(to, size, from as *const c_void) == 0
        } else {
            bpf_probe_read_kernel(to, size, from as *const c_void) == 0
        }
    }
}

/// Reads a `sockaddr`; false if there is none or it is not readable.
///
/// # Safety
/// `to` is valid for writes.
#[inline(always)]
unsafe fn sockaddr<const USER: bool>(to: *mut SockAddr, from: u64) -> bool {
    /// Head of `sockaddr_in` and `sockaddr_in6`.
    #[repr(C)]
    #[derive(Clone, Copy)]
    struct Raw {
        family: u16,
        port_be: u16,
        word: [u8; 4],
    }
    // SAFETY: the caller's promise; `raw` is a local of that size.
    unsafe {
        sock::zero16(&raw mut (*to).addr);
        (*to).scope = 0;
        (*to).family = 0;
        (*to).port = 0;
        if from == 0 {
            return false;
        }
        let mut raw = Raw {
            family: 0,
            port_be: 0,
            word: [0; 4],
        };
        if !read::<USER>((&raw mut raw).cast(), 8, from) {
            return false;
        }
        (*to).family = raw.family;
        (*to).port = u16::from_be(raw.port_be);
        if raw.family == sock::AF_INET6 {
            if !read::<USER>((&raw mut (*to).addr).cast(), 16, from.wrapping_add(8)) {
                return false;
            }
            // A 24-byte sockaddr_in6 (RFC 2133) ends before the scope: 0 then.
            read::<USER>((&raw mut (*to).scope).cast(), 4, from.wrapping_add(24));
        } else {
            (*to).addr[0] = raw.word[0];
            (*to).addr[1] = raw.word[1];
            (*to).addr[2] = raw.word[2];
            (*to).addr[3] = raw.word[3];
        }
    }
    true
}
