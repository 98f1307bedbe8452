//! The hook table, but for the functions of the kernel (`functions`): every program, where it goes,
//! and what is lost when the kernel refuses it. docs/architecture.md tells which event each serves.

use super::functions::ALL_SERVED;
use portwatch_common::{Config, HookId};

/// Name of the hook that counts under a [`HookId`], as `start` and `lost` tell it.
#[must_use]
pub fn name(hook: u32) -> &'static str {
    match hook {
        HookId::SYS_EXIT_BIND => "syscalls:sys_exit_bind",
        HookId::SYS_EXIT_LISTEN => "syscalls:sys_exit_listen",
        HookId::SYS_EXIT_CONNECT => "syscalls:sys_exit_connect",
        HookId::SYS_EXIT_SENDTO => "syscalls:sys_exit_sendto",
        HookId::SYS_EXIT_SENDMSG => "syscalls:sys_exit_sendmsg",
        HookId::SYS_EXIT_SENDMMSG => "syscalls:sys_exit_sendmmsg",
        HookId::SOCK_OPS => "sock_ops",
        HookId::SENDMSG4 => "sendmsg4",
        HookId::SENDMSG6 => "sendmsg6",
        HookId::SOCK_RELEASE => "sock_release",
        HookId::PROCESS_EXIT => "sched_process_exit",
        HookId::TASK_FILE => "task_file",
        HookId::BLIND_EXIT => "sys_exit",
        HookId::CSK_GET_PORT => "inet_csk_get_port",
        HookId::UDP_GET_PORT => "udp_lib_get_port",
        HookId::HASH_CONNECT => "inet_hash_connect",
        HookId::INET_BIND => "inet_bind",
        HookId::PUT_PORT => "inet_put_port",
        HookId::TWSK_UNHASH => "inet_twsk_bind_unhash",
        HookId::UDP_UNHASH => "udp_lib_unhash",
        _ => "unknown",
    }
}

/// Where a program is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// A tracepoint of the category `syscalls`.
    Syscall(&'static str),
    /// A BTF tracepoint.
    TpBtf(&'static str),
    /// `cgroup/sock` at the root of the cgroup2 hierarchy.
    CgroupSock(&'static str),
    /// `cgroup/sock_addr` there.
    CgroupSockAddr(&'static str),
    /// sock_ops there.
    SockOps,
    /// A trampoline at a function's entry.
    Fentry(&'static str),
    /// A trampoline at a function's exit.
    Fexit(&'static str),
    /// A kprobe.
    Kprobe(&'static str),
    /// A kretprobe.
    Kretprobe(&'static str),
}

impl Target {
    /// Kind of the program, as `start` and `doctor` name it.
    #[must_use]
    pub fn kind(self) -> &'static str {
        match self {
            Self::Syscall(_) => "tracepoint",
            Self::TpBtf(_) => "tp_btf",
            Self::CgroupSock(_) | Self::CgroupSockAddr(_) => "cgroup",
            Self::SockOps => "sock_ops",
            Self::Fentry(_) => "fentry",
            Self::Fexit(_) => "fexit",
            Self::Kprobe(_) => "kprobe",
            Self::Kretprobe(_) => "kretprobe",
        }
    }

    /// Where it is attached, as `start` and `doctor` name it.
    #[must_use]
    pub fn name(self) -> String {
        match self {
            Self::Syscall(name) => format!("syscalls:{name}"),
            Self::TpBtf(name)
            | Self::CgroupSock(name)
            | Self::CgroupSockAddr(name)
            | Self::Fentry(name)
            | Self::Fexit(name)
            | Self::Kprobe(name)
            | Self::Kretprobe(name) => name.to_owned(),
            Self::SockOps => "sock_ops".to_owned(),
        }
    }

    /// It needs the cgroup2 hierarchy.
    #[must_use]
    pub fn needs_cgroup(self) -> bool {
        match self {
            Self::Syscall(_)
            | Self::TpBtf(_)
            | Self::Fentry(_)
            | Self::Fexit(_)
            | Self::Kprobe(_)
            | Self::Kretprobe(_) => false,
            Self::CgroupSock(_) | Self::CgroupSockAddr(_) | Self::SockOps => true,
        }
    }
}

/// One program of the object.
#[derive(Clone, Copy, Debug)]
pub struct Hook {
    /// Name of the program: its function.
    pub program: &'static str,
    /// Where it goes.
    pub target: Target,
    /// Nothing can be told without it.
    pub core: bool,
    /// It only serves UDP autobind (`--no-udp-autobind` leaves it out).
    pub udp_autobind: bool,
    /// Not needed when functions of the kernel serve all of these bits of [`Config::served`]; 0 =
    /// always needed.
    pub unless: u32,
    /// What is lost without it.
    pub lost: &'static str,
}

const fn hook(program: &'static str, target: Target, lost: &'static str) -> Hook {
    Hook {
        program,
        target,
        core: false,
        udp_autobind: false,
        unless: 0,
        lost,
    }
}

/// What remembers who has which port, whatever tells the failures. Attached first: a failure that is
/// seen before them would miss its holder's name.
pub const OWNERS: &[Hook] = &[
    hook(
        "sock_ops",
        Target::SockOps,
        "who connected and who listens: TCP holders without a process have no name",
    ),
    hook(
        "sock_release",
        Target::CgroupSock("sock_release"),
        "who had a connection that is in TIME_WAIT now, and when a holder closed",
    ),
    hook(
        "process_exit",
        Target::TpBtf("sched_process_exit"),
        "that a requester exited: its incident ends as `gave-up`",
    ),
];

/// What asks sockets their cookies, for programs that may not: all but trampolines.
pub const COOKIES: &[Hook] = &[
    hook(
        "post_bind4",
        Target::CgroupSock("post_bind4"),
        "cookies of bound IPv4 sockets: their takers are not remembered",
    ),
    hook(
        "post_bind6",
        Target::CgroupSock("post_bind6"),
        "cookies of bound IPv6 sockets: their takers are not remembered",
    ),
    hook(
        "connect4",
        Target::CgroupSockAddr("connect4"),
        "cookies of connected IPv4 UDP sockets: their takers are not remembered",
    ),
    hook(
        "connect6",
        Target::CgroupSockAddr("connect6"),
        "cookies of connected IPv6 UDP sockets: their takers are not remembered",
    ),
    Hook {
        udp_autobind: true,
        ..hook(
            "sendmsg4",
            Target::CgroupSockAddr("sendmsg4"),
            "which process autobound an IPv4 UDP socket",
        )
    },
    Hook {
        udp_autobind: true,
        ..hook(
            "sendmsg6",
            Target::CgroupSockAddr("sendmsg6"),
            "which process autobound an IPv6 UDP socket",
        )
    },
];

/// Their entries, where an exit cannot read the saved registers (`bpf_task_pt_regs`, Linux 5.15).
pub const SYSCALL_ENTRIES: &[Hook] = &[
    entry(
        "sys_enter_bind",
        Config::SERVED_BIND | Config::SERVED_TCP_PORT | Config::SERVED_UDP_PORT,
    ),
    entry("sys_enter_listen", Config::SERVED_TCP_PORT),
    entry(
        "sys_enter_connect",
        Config::SERVED_UDP_PORT | Config::SERVED_CONNECT,
    ),
    entry_of_send("sys_enter_sendto"),
    entry_of_send("sys_enter_sendmsg"),
    entry_of_send("sys_enter_sendmmsg"),
];

const fn entry(program: &'static str, unless: u32) -> Hook {
    Hook {
        unless,
        ..hook(
            program,
            Target::Syscall(program),
            "what the exit of that system call tells",
        )
    }
}

const fn entry_of_send(program: &'static str) -> Hook {
    Hook {
        udp_autobind: true,
        ..entry(program, Config::SERVED_UDP_PORT)
    }
}

/// The exits of system calls, for what no function of the kernel tells.
pub const SYSCALLS: &[Hook] = &[
    Hook {
        core: true,
        unless: Config::SERVED_BIND | Config::SERVED_TCP_PORT | Config::SERVED_UDP_PORT,
        ..hook(
            "sys_exit_bind",
            Target::Syscall("sys_exit_bind"),
            "every failed bind()",
        )
    },
    Hook {
        unless: Config::SERVED_TCP_PORT,
        ..hook(
            "sys_exit_listen",
            Target::Syscall("sys_exit_listen"),
            "every failed listen()",
        )
    },
    Hook {
        unless: Config::SERVED_UDP_PORT | Config::SERVED_CONNECT,
        ..hook(
            "sys_exit_connect",
            Target::Syscall("sys_exit_connect"),
            "every failed connect(), and the ports of connected UDP sockets",
        )
    },
    Hook {
        udp_autobind: true,
        unless: Config::SERVED_UDP_PORT,
        ..hook(
            "sys_exit_sendto",
            Target::Syscall("sys_exit_sendto"),
            "failed autobinds of sendto()",
        )
    },
    Hook {
        udp_autobind: true,
        unless: Config::SERVED_UDP_PORT,
        ..hook(
            "sys_exit_sendmsg",
            Target::Syscall("sys_exit_sendmsg"),
            "failed autobinds of sendmsg()",
        )
    },
    Hook {
        udp_autobind: true,
        unless: Config::SERVED_UDP_PORT,
        ..hook(
            "sys_exit_sendmmsg",
            Target::Syscall("sys_exit_sendmmsg"),
            "failed autobinds of sendmmsg()",
        )
    },
];

/// All that is left under `lockdown=confidentiality`.
pub const BLIND: &[Hook] = &[
    Hook {
        core: true,
        ..hook(
            "blind_bind4",
            Target::CgroupSockAddr("bind4"),
            "failed binds to IPv4 addresses",
        )
    },
    hook(
        "blind_bind6",
        Target::CgroupSockAddr("bind6"),
        "failed binds to IPv6 addresses",
    ),
    Hook {
        core: true,
        ..hook(
            "blind_exit",
            Target::TpBtf("sys_exit"),
            "every failed bind()",
        )
    },
];

/// What is lost there, beside what no kernel shows.
pub const BLIND_BLIND_SPOTS: &[&str] = &[
    "the kernel's own table of ports: holders are asked for after the failure (sock_diag, /proc), \
     so one that has left by then is not found",
    "the options of sockets: only a listener is told as the holder, `inferred`; everything else is \
     `unknown` (--neighbours lists it)",
    "who took a port, how and when: no names for TIME_WAIT and orphans, no origins, no ages",
    "before Linux 6.8: TCP sockets that are bound and do not listen",
    "failed listen(), connect() and UDP sends",
    "where a socket belongs to another network namespace than its process (setns): which one, and so \
     who has the port; with --netns such failures are not told",
    "ports taken and let go, calls refused for other reasons, that a requester got its port or \
     ended: incidents end by --incident-timeout",
];

/// What the exits of system calls cannot see on any kernel.
pub const TRACEPOINT_BLIND_SPOTS: &[&str] = &[
    "bind, listen and connect through io_uring that fail",
    "bind, listen and connect of 32-bit processes that fail",
    "binds of the kernel's own sockets",
];

/// What functions of the kernel cannot see.
pub const FUNCTION_BLIND_SPOTS: &[&str] =
    &["binds that a security module refuses before the network sees them (--events refused)"];

/// What only functions of the kernel see.
pub const RELEASE_BLIND_SPOTS: &[&str] = &["when TIME_WAIT or an orphan lets go of a port"];

/// What cannot be told without `bpf_loop`.
pub const LOOP_BLIND_SPOTS: &[&str] = &[
    "before Linux 5.17: how old sockets without a descriptor are at least, and who holds a range of ports that is exhausted",
];

/// What cannot be seen when functions of the kernel serve these bits of [`Config::served`], with or
/// without `bpf_loop`.
#[must_use]
pub fn blind_spots(served: u32, bpf_loop: bool) -> Vec<String> {
    let mut spots: Vec<&str> = Vec::new();
    if served & ALL_SERVED != ALL_SERVED {
        spots.extend(TRACEPOINT_BLIND_SPOTS);
    }
    if served & Config::SERVED_BIND != 0 {
        spots.extend(FUNCTION_BLIND_SPOTS);
    }
    if served & Config::SERVED_RELEASE == 0 {
        spots.extend(RELEASE_BLIND_SPOTS);
    }
    if !bpf_loop {
        spots.extend(LOOP_BLIND_SPOTS);
    }
    spots.into_iter().map(str::to_owned).collect()
}
