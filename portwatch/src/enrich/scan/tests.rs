use super::*;
use crate::decode::event::{Comm, Ktime};
use crate::enrich::testing::{FakeProc, Waiting, stat, with_privileges};
use std::net::TcpListener;
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::Command;

fn socket_55(fd: u32, pid: u32, comm: &str, ticks: u64) -> Descriptor {
    Descriptor {
        inode: 55,
        fd,
        user: SocketUser {
            tgid: Tgid(pid),
            start: Ktime(ticks * 10_000_000),
            comm: Comm::from(comm.as_bytes()),
        },
    }
}

#[test]
fn every_process_with_the_socket_once() {
    let fake = FakeProc::new();
    fake.process(7, "web", 900);
    fake.descriptor(7, 0, "/dev/null");
    fake.descriptor(7, 3, "socket:[55]");
    fake.descriptor(7, 4, "socket:[55]");
    fake.descriptor(7, 5, "socket:[56]");
    fake.process(8, "worker", 901);
    fake.descriptor(8, 9, "socket:[55]");
    fake.descriptor(8, 10, "pipe:[57]");
    fake.process(9, "idle", 902);
    std::fs::create_dir(fake.root().join("sys")).unwrap();
    let mut scan = ProcScan::new(fake.root());
    let Users {
        mut found,
        withheld,
    } = scan.users(&[55, 57, 58]);
    assert!(!withheld);
    found.sort_by_key(|one| one.user.tgid);
    // Which of two descriptors is told depends on the directory's order.
    let first = found[0].fd;
    assert!(first == 3 || first == 4, "{found:?}");
    assert_eq!(
        found,
        [
            socket_55(first, 7, "web", 900),
            socket_55(9, 8, "worker", 901)
        ]
    );
    assert_eq!(scan.users(&[58]), Users::default());
}

#[test]
fn descriptors_of_a_process_whose_leader_has_exited() {
    let fake = FakeProc::new();
    fake.process(7, "main", 900);
    fake.process(8, "thread", 905);
    fake.descriptor(8, 3, "socket:[55]");
    let tasks = fake.dir(7).join("task");
    std::fs::create_dir(&tasks).unwrap();
    std::fs::rename(fake.dir(8), tasks.join("8")).unwrap();
    std::fs::write(fake.dir(7).join("stat"), stat(7, b"main", 'Z', 2, 900)).unwrap();
    let found = ProcScan::new(fake.root()).users(&[55]);
    assert_eq!(found.found, [socket_55(3, 7, "main", 900)]);
}

#[test]
fn without_a_proc_nobody_could_look() {
    let dir = tempfile::tempdir().unwrap();
    let mut scan = ProcScan::new(&dir.path().join("none"));
    assert_eq!(scan.users(&[55]), Users::unseen());
}

/// Root without CAP_SYS_PTRACE may list the descriptors of processes that have it, and not see what
/// they are of: a socket that is not found may be theirs.
#[test]
fn descriptors_that_show_nothing_are_withheld() {
    let name = "enrich::scan::tests::descriptors_that_show_nothing_are_withheld";
    let without = ["--bounding-set", "-sys_ptrace"];
    if with_privileges(&without, name) {
        let own = TcpListener::bind("127.0.0.1:0").unwrap();
        let link = format!("/proc/self/fd/{}", own.as_raw_fd());
        let inode = socket_inode(Path::new(&link)).unwrap().unwrap();
        let users = ProcScan::new(Path::new("/proc")).users(&[inode, 1]);
        assert!(users.withheld, "{users:?}");
        assert_eq!(users.missing(&[inode, 1]), [1]);
    }
}

/// A socket that a child has as its standard error: both have it, each under its leader's name.
#[test]
fn a_real_socket_of_two_processes() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let link = format!("/proc/self/fd/{}", listener.as_raw_fd());
    let inode = socket_inode(Path::new(&link)).unwrap().unwrap();
    let copy = OwnedFd::from(listener.try_clone().unwrap());
    let child = Waiting::spawn(Command::new("cat").stderr(copy)).unwrap();

    let found = ProcScan::new(Path::new("/proc")).users(&[inode]).found;
    let proc = Proc::new(Path::new("/proc"));
    for (pid, comm) in [(std::process::id(), None), (child.id(), Some("cat"))] {
        let lines: Vec<_> = found
            .iter()
            .filter(|one| one.user.tgid == Tgid(pid))
            .collect();
        let [
            one @ Descriptor {
                inode: of, user, ..
            },
        ] = lines.as_slice()
        else {
            panic!("{pid} in {found:?}");
        };
        assert!(still_there(Path::new("/proc"), &proc, one));
        let leader = proc.stat(Tgid(pid)).unwrap();
        assert_eq!(
            (*of, user.start, &user.comm),
            (inode, leader.start, &leader.comm)
        );
        assert!(comm.is_none_or(|comm| user.comm.lossy() == comm));
    }
}

#[test]
fn a_descriptor_is_there_until_it_is_closed_or_its_process_is_another() {
    let fake = FakeProc::new();
    fake.process(7, "web", 900);
    fake.descriptor(7, 3, "socket:[55]");
    let one = socket_55(3, 7, "web", 900);
    let proc = Proc::new(fake.root());
    assert!(still_there(fake.root(), &proc, &one));
    fake.process(8, "stranger", 901);
    fake.descriptor(8, 3, "socket:[55]");
    assert!(!still_there(
        fake.root(),
        &proc,
        &socket_55(3, 8, "web", 900)
    ));
    std::fs::remove_file(fake.dir(7).join("fd/3")).unwrap();
    assert!(!still_there(fake.root(), &proc, &one));
    fake.descriptor(7, 3, "socket:[56]");
    assert!(!still_there(fake.root(), &proc, &one));
}

/// A thread that keeps a table of its own.
#[test]
fn a_descriptor_of_one_thread_is_its_processs() {
    let fake = FakeProc::new();
    fake.process(7, "main", 900);
    fake.process(8, "thread", 905);
    fake.descriptor(8, 3, "socket:[55]");
    let tasks = fake.dir(7).join("task");
    std::fs::create_dir(&tasks).unwrap();
    std::fs::rename(fake.dir(8), tasks.join("8")).unwrap();
    let found = ProcScan::new(fake.root()).users(&[55, 56]);
    assert_eq!(found.found, [socket_55(3, 7, "main", 900)]);
}
