use super::*;
use crate::enrich::testing::{FakeProc, Waiting, stat};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::{Pid, geteuid, getppid, mkfifo};
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

fn proc() -> Proc {
    Proc::new(Path::new("/proc"))
}

/// The process as /proc has it now, with the start that it has.
fn look(pid: u32) -> ProcessFacts {
    let start = proc().stat(Tgid(pid)).unwrap().start;
    proc().process(Tgid(pid), start).unwrap()
}

#[test]
fn our_own_process() {
    let own = look(std::process::id());
    let exe = std::env::current_exe().unwrap();
    assert_eq!(own.exe.as_deref(), Some(exe.as_os_str().as_bytes()));
    assert_eq!(own.uid, Some(geteuid().as_raw()));
    let parent = u32::try_from(getppid().as_raw()).unwrap();
    assert_eq!(own.ppid, Some(Tgid(parent)));
    let arguments: Vec<Vec<u8>> = std::env::args_os().map(OsStringExt::into_vec).collect();
    assert_eq!(own.cmdline, Some(arguments));
    assert!(!own.cmdline_truncated);
    let comm = std::fs::read(format!("/proc/{}/comm", own.tgid.0)).unwrap();
    assert_eq!(Some(own.comm.bytes()), comm.strip_suffix(b"\n"));
}

#[test]
fn a_start_of_nanoseconds_matches_and_another_does_not() {
    let own = Tgid(std::process::id());
    let start = proc().stat(own).unwrap().start;
    let exact = Ktime(start.0 + TICK_NS - 1);
    assert_eq!(proc().process(own, exact).unwrap().start, start);
    for other in [start.0 + TICK_NS, start.0 - 1, 0, u64::MAX] {
        assert_eq!(proc().process(own, Ktime(other)), None);
    }
}

#[test]
fn a_process_that_is_gone() {
    let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
    let start = look(child.id()).start;
    let tgid = Tgid(child.id());
    drop(child.stdin.take());

    // Dead but not reaped: it has a number, and runs no more.
    let pid = Pid::from_raw(i32::try_from(tgid.0).unwrap());
    waitid(Id::Pid(pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT).unwrap();
    assert!(proc().stat(tgid).unwrap().leader_exited);
    assert_eq!(proc().process(tgid, start), None);

    child.wait().unwrap();
    assert_eq!(proc().process(tgid, start), None);
}

#[test]
fn a_name_of_any_bytes() {
    let name = b"a) S 1 \x1b[2J\n\xff";
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(std::ffi::OsStr::from_bytes(name));
    std::os::unix::fs::symlink("/bin/cat", &path).unwrap();
    let child = Waiting::spawn(&mut Command::new(&path)).unwrap();
    let facts = look(child.id());
    assert_eq!(facts.comm, Comm::from(&name[..]));
    assert_eq!(facts.ppid, Some(Tgid(std::process::id())));
    assert_eq!(facts.cmdline, Some(vec![path.into_os_string().into_vec()]));
}

#[test]
fn a_command_line_of_a_megabyte_is_cut_and_marked() {
    let long = "é".repeat(50_000);
    let mut command = Command::new("/bin/sh");
    command.args(["-c", "cat; :", "sh"]).args([&long; 10]);
    let child = Waiting::spawn(&mut command).unwrap();
    let facts = look(child.id());
    let list = facts.cmdline.unwrap();
    assert!(facts.cmdline_truncated);
    let head: Vec<&[u8]> = list.iter().take(4).map(Vec::as_slice).collect();
    assert_eq!(head, [&b"/bin/sh"[..], b"-c", b"cat; :", b"sh"]);
    assert_eq!(list.len(), 5);
    let all: usize = list.iter().map(|argument| argument.len() + 1).sum();
    assert!((CMDLINE_MAX - 1..=CMDLINE_MAX + 1).contains(&all), "{all}");
    let last = String::from_utf8(list.last().unwrap().clone()).expect("cut between characters");
    assert!(long.starts_with(&last));
}

#[test]
fn arguments_end_where_the_padding_begins() {
    let split = |text: &str| arguments(text.as_bytes().to_vec()).0;
    assert_eq!(split("a\0b c\0"), [b"a".to_vec(), b"b c".to_vec()]);
    assert_eq!(split("a\0\0b\0"), [b"a".to_vec(), vec![], b"b".to_vec()]);
    assert_eq!(split("nginx: master\0\0\0\0"), [b"nginx: master".to_vec()]);
    assert_eq!(split("no end"), [b"no end".to_vec()]);
    assert_eq!(split(""), Vec::<Vec<u8>>::new());
    assert_eq!(split("\0\0"), Vec::<Vec<u8>>::new());
    let (list, cut) = arguments(vec![b'x'; CMDLINE_MAX]);
    assert_eq!((list.len(), cut), (1, false));
}

#[test]
fn a_stat_line_of_any_name() {
    for name in [
        &b"sh"[..],
        b"",
        b"((sd-pam)",
        b"a) R 9 (b",
        b"\x1b]0;x\x07",
        b"\xff\xfe",
        b") ",
    ] {
        let found = Stat::parse(&stat(5, name, 'S', 3, 71)).unwrap();
        assert_eq!(found.comm, Comm::from(name));
        assert_eq!((found.ppid, found.threads), (Tgid(811), 3));
        assert_eq!(found.start, Ktime(710_000_000));
        assert!(found.runs());
    }
    for broken in [&b""[..], b"1", b"1 (a", b"1 a) S 1", b"1 (a) S 1 2", b")("] {
        assert_eq!(Stat::parse(broken), None, "{broken:?}");
    }
    let line = String::from_utf8(stat(5, b"x", 'S', 1, u64::MAX)).unwrap();
    assert_eq!(
        Stat::parse(line.as_bytes()),
        None,
        "a start past the end of time"
    );
}

#[test]
fn a_kernel_workers_long_name_is_cut() {
    let found = Stat::parse(&stat(5, b"kworker/u8:3-events_unbound", 'I', 1, 1)).unwrap();
    assert_eq!(found.comm, Comm::from(&b"kworker/u8:3-ev"[..]));
}

#[test]
fn every_field_of_a_process() {
    let fake = FakeProc::new();
    fake.process(812, "python3", 900);
    let facts = Proc::new(fake.root())
        .process(Tgid(812), Ktime(9_001_234_567))
        .unwrap();
    let expected = ProcessFacts {
        tgid: Tgid(812),
        start: Ktime(9_000_000_000),
        comm: Comm::from(&b"python3"[..]),
        ppid: Some(Tgid(811)),
        session: Some(Tgid(811)),
        group: Some(Tgid(812)),
        forked_only: true,
        uid: Some(167),
        exe: Some(b"/usr/bin/python3 (deleted)".to_vec()),
        cmdline: Some(vec![b"python3".to_vec(), b"app.py".to_vec()]),
        cmdline_truncated: false,
        cgroup: Some("/system.slice/app.service".to_owned()),
        systemd_unit: Some(Some("app.service".to_owned())),
        socket_unit: None,
        container: Some(None),
        container_runtime: None,
        container_name: None,
        pod_uid: None,
    };
    assert_eq!(facts, expected);
}

#[test]
fn what_cannot_be_read_is_not_known() {
    let fake = FakeProc::new();
    fake.process(812, "python3", 900);
    for name in ["status", "cgroup", "cmdline", "exe"] {
        std::fs::remove_file(fake.dir(812).join(name)).unwrap();
    }
    let facts = Proc::new(fake.root())
        .process(Tgid(812), Ktime(9_000_000_000))
        .unwrap();
    assert_eq!((facts.uid, facts.exe, facts.cmdline), (None, None, None));
    assert_eq!(
        (facts.cgroup, facts.systemd_unit, facts.container),
        (None, None, None)
    );
}

#[test]
fn a_process_whose_leader_has_exited_is_read_through_a_thread() {
    let fake = FakeProc::new();
    fake.process(812, "main", 900);
    fake.process(815, "worker", 905);
    let tasks = fake.dir(812).join("task");
    std::fs::create_dir(&tasks).unwrap();
    std::fs::rename(fake.dir(815), tasks.join("815")).unwrap();
    std::fs::remove_file(fake.dir(812).join("exe")).unwrap();
    std::fs::write(fake.dir(812).join("cmdline"), "").unwrap();
    std::fs::write(fake.dir(812).join("stat"), stat(812, b"main", 'Z', 2, 900)).unwrap();
    let facts = Proc::new(fake.root())
        .process(Tgid(812), Ktime(9_000_000_000))
        .unwrap();
    assert_eq!(facts.comm, Comm::from(&b"main"[..]));
    assert_eq!(
        facts.exe.as_deref(),
        Some(&b"/usr/bin/python3 (deleted)"[..])
    );
    assert_eq!(facts.cmdline.map(|list| list.len()), Some(2));
}

/// Two pipes in place of `stat` and `status` make the order of the reads visible: `stat` is that of
/// the old process before `status` is read, and that of a new one after it.
#[test]
fn a_number_that_changes_hands_meanwhile_names_nobody() {
    let fake = FakeProc::new();
    fake.process(812, "old", 900);
    for name in ["stat", "status"] {
        std::fs::remove_file(fake.dir(812).join(name)).unwrap();
        mkfifo(&fake.dir(812).join(name), Mode::S_IRWXU).unwrap();
    }
    let dir = fake.dir(812);
    let writer = std::thread::spawn(move || {
        for (name, text) in [
            ("stat", stat(812, b"old", 'S', 1, 900)),
            ("status", b"Uid:\t0\t0\t0\t0\n".to_vec()),
            ("stat", stat(812, b"new", 'S', 1, 901)),
        ] {
            let mut pipe = OpenOptions::new().write(true).open(dir.join(name)).unwrap();
            pipe.write_all(&text).unwrap();
        }
    });
    let facts = Proc::new(fake.root()).process(Tgid(812), Ktime(9_000_000_000));
    // Before the writer, who would wait for ever for a second look that never came.
    assert_eq!(facts, None);
    writer.join().unwrap();
}

/// A pipe that nobody writes to stands for a process whose mmap_lock is held for ever.
#[test]
fn a_stuck_process_costs_its_command_line_only() {
    let fake = FakeProc::new();
    fake.process(812, "stuck", 900);
    fake.process(813, "other", 900);
    let path = fake.dir(812).join("cmdline");
    std::fs::remove_file(&path).unwrap();
    mkfifo(&path, Mode::S_IRWXU).unwrap();
    let mut pipe = OpenOptions::new()
        .read(true)
        .write(true)
        .open(&path)
        .unwrap();

    let mut proc = Proc::new(fake.root());
    let start = Ktime(9_000_000_000);
    let stuck = proc.process(Tgid(812), start).unwrap();
    assert_eq!(stuck.cmdline, None);
    assert_eq!(stuck.cgroup.as_deref(), Some("/system.slice/app.service"));
    assert!(proc.process(Tgid(813), start).unwrap().cmdline.is_some());

    // While the first read is stuck, the process is not asked again: neither time nor a thread.
    let began = Instant::now();
    for _ in 0..100 {
        assert_eq!(proc.process(Tgid(812), start).unwrap().cmdline, None);
    }
    assert!(began.elapsed() < Duration::from_secs(2));
    let other = proc.process(Tgid(813), start).unwrap();
    assert!(other.cmdline.is_some(), "readers were used up");

    // The process comes back: the reader sees the end of the file and is done.
    pipe.write_all(b"a\0").unwrap();
    drop(pipe);
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, "b\0").unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    while proc.process(Tgid(812), start).unwrap().cmdline.is_none() {
        assert!(Instant::now() < deadline, "never read again");
        std::thread::yield_now();
    }
}
