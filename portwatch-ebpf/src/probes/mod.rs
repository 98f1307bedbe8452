//! The hooks: each turns its context into calls of `fail`, `owners` and `traffic`.
//!
//! | event | hook | tells |
//! |---|---|---|
//! | bind() | `syscalls:sys_exit_bind` | failure, explicit port, bind(0); `post_bind4/6` gives the cookie |
//! | listen() | `syscalls:sys_exit_listen`, sock_ops `TCP_LISTEN_CB` | failure; listener, autobind |
//! | connect() | `syscalls:sys_exit_connect`, sock_ops `TCP_CONNECT_CB` | failure; TCP's picked port |
//! | UDP connect | `connect4/6` gives the cookie, `sys_exit_connect` | autobind |
//! | UDP send | `sendmsg4/6`, `sys_exit_sendto/sendmsg/sendmmsg` | autobind; its failure |
//! | close | `cgroup/sock_release` | release |
//! | end of TIME_WAIT, of an orphan | `inet_put_port`, `inet_twsk_bind_unhash`, `udp_lib_unhash` (`release`) | release |
//! | exit | `tp_btf/sched_process_exit` | end of a requester |
//! | all of bind(), connect(), autobind | functions of the kernel (`function`) by `trampoline` or `kprobe` | the same, from inside |
//! | bind() under lockdown=confidentiality | `bind4/6`, `tp_btf/sys_exit` | failure without its holders |
//! | an exhausted range | scan of a bind table | its holders |
//! | older sockets | `iter/task_file`, scan of the bind tables | snapshot |
//!
//! A cgroup or sock_ops program can deny: every path here returns [`ALLOW`].

mod blind;
mod cgroup;
mod exit;
mod function;
mod kprobe;
#[cfg(not(feature = "flat"))]
mod range;
mod release;
#[cfg(not(feature = "flat"))]
mod scan;
mod sends;
mod snapshot;
mod sockops;
mod syscalls;
#[cfg(not(feature = "flat"))]
mod tables;
mod trampoline;

pub(crate) use blind::Wanted;

/// What every cgroup and sock_ops program returns.
const ALLOW: i32 = 1;
