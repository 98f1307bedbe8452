use super::*;
use crate::decode::event::Comm;
use crate::enrich::testing::{FakeProc, stat};

struct Stage {
    fake: FakeProc,
    proc: Proc,
    lately: Lately,
    now: Instant,
}

impl Stage {
    /// Process 7, started at tick 900.
    fn new() -> Self {
        let fake = FakeProc::new();
        fake.process(7, "web", 900);
        let proc = Proc::new(fake.root());
        Self {
            fake,
            proc,
            lately: Lately::default(),
            now: Instant::now(),
        }
    }

    fn ask(&mut self) -> Option<ProcessFacts> {
        self.ask_for(7)
    }

    fn ask_for(&mut self, pid: u32) -> Option<ProcessFacts> {
        let start = Ktime(9_000_000_123);
        self.lately
            .process(&mut self.proc, Tgid(pid), start, self.now)
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        std::fs::write(self.fake.dir(7).join(name), text).unwrap();
    }
}

#[test]
fn a_process_is_not_read_again_at_once() {
    let mut stage = Stage::new();
    let first = stage.ask().unwrap();
    assert_eq!(first, stage.proc.process(Tgid(7), first.start).unwrap());
    stage.write("cmdline", "other\0");
    assert_eq!(stage.ask().unwrap(), first);
    stage.now += LATELY;
    let later = stage.ask().unwrap();
    assert_eq!(later.cmdline, Some(vec![b"other".to_vec()]));
}

#[test]
fn threads_come_and_go() {
    let mut stage = Stage::new();
    let first = stage.ask();
    stage.write("cmdline", "other\0");
    stage.write("stat", stat(7, b"web", 'R', 9, 900));
    assert_eq!(stage.ask(), first);
}

#[test]
fn another_program_is_read_at_once() {
    let mut stage = Stage::new();
    let line = |program: &str| {
        let mut line = stat(7, b"web", 'S', 1, 900);
        line.pop();
        // The fields up to the 24th are there: 25 to 52 of proc(5).
        line.extend(
            format!(" 0 {program} 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 7 8 0 0 0\n").bytes(),
        );
        line
    };
    stage.write("stat", line("1 2"));
    stage.ask().unwrap();
    stage.write("cmdline", "other\0");
    stage.write("stat", line("1 3"));
    let found = stage.ask().unwrap();
    assert_eq!(found.cmdline, Some(vec![b"other".to_vec()]));

    stage.write("cmdline", "third\0");
    stage.write("stat", stat(7, b"renamed", 'S', 1, 900));
    let found = stage.ask().unwrap();
    assert_eq!(found.cmdline, Some(vec![b"third".to_vec()]));
    assert_eq!(found.comm, Comm::from(&b"renamed"[..]));
}

#[test]
fn who_is_gone_is_gone_at_once() {
    let mut stage = Stage::new();
    stage.ask().unwrap();
    stage.write("stat", stat(7, b"web", 'Z', 1, 900));
    assert_eq!(stage.ask(), None);
    stage.write("stat", stat(7, b"web", 'S', 1, 901));
    assert_eq!(stage.ask(), None);
    stage.fake.remove(7);
    assert_eq!(stage.ask(), None);
}

#[test]
fn so_many_are_remembered() {
    let mut stage = Stage::new();
    let many = 100..=100 + u32::try_from(REMEMBERED).unwrap();
    for pid in many {
        stage.fake.process(pid, "many", 900);
        assert_eq!(stage.ask_for(pid).unwrap().tgid, Tgid(pid));
    }
    assert_eq!(stage.lately.known.len(), REMEMBERED);
    stage.now += LATELY;
    stage.ask().unwrap();
    assert_eq!(stage.lately.known.len(), 1);
}
