//! The hook table of the tracepoint backend: every program, where it goes, and what is lost when
//! the kernel refuses it. docs/architecture.md tells which event each serves.

use portwatch_common::HookId;

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
        }
    }

    /// Where it is attached, as `start` and `doctor` name it.
    #[must_use]
    pub fn name(self) -> String {
        match self {
            Self::Syscall(name) => format!("syscalls:{name}"),
            Self::TpBtf(name) | Self::CgroupSock(name) | Self::CgroupSockAddr(name) => {
                name.to_owned()
            }
            Self::SockOps => "sock_ops".to_owned(),
        }
    }

    /// It needs the cgroup2 hierarchy.
    #[must_use]
    pub fn needs_cgroup(self) -> bool {
        match self {
            Self::Syscall(_) | Self::TpBtf(_) => false,
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
    /// What is lost without it.
    pub lost: &'static str,
}

const fn hook(program: &'static str, target: Target, lost: &'static str) -> Hook {
    Hook {
        program,
        target,
        core: false,
        udp_autobind: false,
        lost,
    }
}

/// The tracepoint backend's programs. The owners' hooks come first: a failure that is seen while
/// they are not attached yet would miss its holder's name.
pub const TRACEPOINT: &[Hook] = &[
    hook(
        "sock_ops",
        Target::SockOps,
        "who connected and who listens: TCP holders without a process have no name",
    ),
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
    Hook {
        core: true,
        ..hook(
            "sys_exit_bind",
            Target::Syscall("sys_exit_bind"),
            "every failed bind()",
        )
    },
    hook(
        "sys_exit_listen",
        Target::Syscall("sys_exit_listen"),
        "every failed listen()",
    ),
    hook(
        "sys_exit_connect",
        Target::Syscall("sys_exit_connect"),
        "every failed connect(), and the ports of connected UDP sockets",
    ),
    Hook {
        udp_autobind: true,
        ..hook(
            "sys_exit_sendto",
            Target::Syscall("sys_exit_sendto"),
            "failed autobinds of sendto()",
        )
    },
    Hook {
        udp_autobind: true,
        ..hook(
            "sys_exit_sendmsg",
            Target::Syscall("sys_exit_sendmsg"),
            "failed autobinds of sendmsg()",
        )
    },
    Hook {
        udp_autobind: true,
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
    "ports taken and let go, calls refused for other reasons, that a requester got its port or \
     ended: incidents end by --incident-timeout",
];

/// What this backend cannot see on any kernel.
pub const TRACEPOINT_BLIND_SPOTS: &[&str] = &[
    "bind, listen and connect through io_uring that fail",
    "bind, listen and connect of 32-bit processes that fail",
    "binds of the kernel's own sockets",
    "when TIME_WAIT or an orphan lets go of a port",
];
