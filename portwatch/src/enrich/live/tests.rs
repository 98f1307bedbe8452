use super::*;
use crate::decode::event::Comm;
use crate::enrich::testing::{self, FakeProc};
use std::sync::{Arc, Mutex};

/// Answers every search with the same, and writes down what was asked.
struct Finder {
    answer: Users,
    asked: Arc<Mutex<Vec<Vec<u64>>>>,
}

impl SocketFinder for Finder {
    fn users(&mut self, inodes: &[u64]) -> Users {
        self.asked.lock().unwrap().push(inodes.to_vec());
        let mut answer = self.answer.clone();
        answer.found.retain(|one| inodes.contains(&one.inode));
        answer
    }
}

struct Stage {
    fake: FakeProc,
    facts: LiveFacts,
    asked: Arc<Mutex<Vec<Vec<u64>>>>,
}

impl Stage {
    /// Process 7, started at tick 900, has the sockets 55 and 56; nobody has others.
    fn new(initial: bool, can_look: bool) -> Self {
        Self::with(initial, |users| {
            if !can_look {
                *users = Users::unseen();
            }
        })
    }

    fn with(initial: bool, change: impl FnOnce(&mut Users)) -> Self {
        let fake = FakeProc::new();
        fake.process(7, "web", 900);
        fake.descriptor(7, 5, "socket:[55]");
        fake.descriptor(7, 6, "socket:[56]");
        let user = SocketUser {
            tgid: Tgid(7),
            start: Ktime(9_000_000_000),
            comm: Comm::from(&b"web"[..]),
        };
        let had = [(5, 55), (6, 56)].map(|(fd, inode)| Descriptor {
            inode,
            fd,
            user: user.clone(),
        });
        let asked = Arc::default();
        let mut answer = Users {
            found: had.to_vec(),
            withheld: false,
        };
        change(&mut answer);
        let finder = Finder {
            answer,
            asked: Arc::clone(&asked),
        };
        let facts = LiveFacts::below(fake.root(), initial, Box::new(finder));
        Self { fake, facts, asked }
    }

    fn users(&mut self, inodes: &[u64]) -> Option<Vec<u64>> {
        self.users_at(inodes, Ktime(1))
    }

    fn users_at(&mut self, inodes: &[u64], at: Ktime) -> Option<Vec<u64>> {
        let lines = self.facts.socket_users(inodes, at)?;
        Some(lines.into_iter().map(|(inode, _)| inode).collect())
    }

    fn searches(&self) -> Vec<Vec<u64>> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }

    /// As if the remembered answers had been given that long ago.
    fn age(&mut self, by: Duration) {
        for answer in self.facts.users.values_mut() {
            answer.since = answer.since.checked_sub(by).unwrap();
        }
    }
}

#[test]
fn a_storm_over_one_port_searches_once() {
    let mut stage = Stage::new(true, true);
    // So young that no machine is slow enough to age it: the test must not depend on time.
    assert_eq!(stage.users(&[55, 99]), Some(vec![55]));
    let later = Instant::now() + Duration::from_secs(3600);
    for answer in stage.facts.users.values_mut() {
        answer.since = later;
    }
    for _ in 0..1000 {
        assert_eq!(stage.users(&[55, 99]), Some(vec![55]));
    }
    // What nobody has is searched for twice.
    assert_eq!(stage.searches(), [vec![55, 99], vec![99]]);
    assert_eq!(stage.users(&[55, 56]), Some(vec![55, 56]));
    assert_eq!(stage.searches(), [[56]]);
}

#[test]
fn an_old_answer_is_not_used() {
    let mut stage = Stage::new(true, true);
    assert_eq!(stage.users(&[55]), Some(vec![55]));
    stage.age(USERS_FRESH);
    assert_eq!(stage.users(&[55]), Some(vec![55]));
    assert_eq!(stage.searches(), [[55], [55]]);
}

#[test]
fn an_answer_that_names_a_dead_process_is_not_used() {
    let mut stage = Stage::new(true, true);
    assert_eq!(stage.users(&[55]), Some(vec![55]));
    stage.fake.remove(7);
    stage.users(&[55]);
    stage.fake.process(7, "stranger", 901);
    stage.users(&[55]);
    assert_eq!(stage.searches(), [[55], [55], [55]]);
}

#[test]
fn an_answer_with_a_closed_descriptor_is_not_used() {
    let mut stage = Stage::new(true, true);
    assert_eq!(stage.users(&[55]), Some(vec![55]));
    std::fs::remove_file(stage.fake.dir(7).join("fd/5")).unwrap();
    stage.users(&[55]);
    assert_eq!(stage.searches(), [[55], [55]]);
}

#[test]
fn that_nobody_has_it_holds_for_the_past_only() {
    let mut stage = Stage::new(true, true);
    let before = clock::now().unwrap();
    assert_eq!(stage.users_at(&[99], before), Some(vec![]));
    for answer in stage.facts.users.values_mut() {
        answer.since = Instant::now() + Duration::from_secs(3600);
    }
    stage.searches();
    assert_eq!(stage.users_at(&[99], before), Some(vec![]));
    assert_eq!(stage.searches(), Vec::<Vec<u64>>::new());
    stage.users_at(&[99], clock::now().unwrap());
    assert_eq!(stage.searches(), [[99], [99]]);
}

#[test]
fn nobody_could_look() {
    let mut stage = Stage::new(true, false);
    assert_eq!(stage.users(&[55]), None);
    assert_eq!(stage.searches(), [[55], [55]]);
    // That is no answer to go by later.
    stage.age(USERS_FRESH);
    assert_eq!(stage.users(&[55]), None);
    assert_eq!(stage.searches(), [[55], [55]]);
}

/// Process 1 of some hosts shows that it has descriptors and not of what: a socket that nobody else
/// has is not nobody's.
#[test]
fn what_was_withheld_may_be_the_socket() {
    let mut stage = Stage::with(true, |users| users.withheld = true);
    let before = clock::now().unwrap();
    assert_eq!(stage.users_at(&[55, 56], before), Some(vec![55, 56]));
    assert_eq!(stage.users_at(&[55, 99], before), None);
    for answer in stage.facts.users.values_mut() {
        answer.since = Instant::now() + Duration::from_secs(3600);
    }
    stage.searches();
    // Each alone is answered from what is remembered.
    assert_eq!(stage.users_at(&[99], before), None);
    assert_eq!(stage.users_at(&[55], before), Some(vec![55]));
    assert_eq!(stage.searches(), Vec::<Vec<u64>>::new());
}

#[test]
fn what_is_remembered_is_bounded() {
    let mut stage = Stage::new(true, true);
    for inode in 0..3 * u64::try_from(USERS_MAX).unwrap() {
        stage.users(&[inode]);
    }
    let many: Vec<u64> = (0..3 * u64::try_from(USERS_MAX).unwrap()).collect();
    assert_eq!(stage.users(&many).map(|found| found.len()), Some(2));
    assert!(stage.facts.users.len() <= USERS_MAX);
}

#[test]
fn in_a_pid_namespace_of_its_own_nobody_is_looked_up() {
    let mut stage = Stage::new(false, true);
    assert_eq!(stage.facts.process(Tgid(7), Ktime(9_000_000_000)), None);
    assert_eq!(stage.users(&[55]), None);
    assert_eq!(stage.searches(), Vec::<Vec<u64>>::new());
    assert!(!stage.facts.sees_processes());

    let mut stage = Stage::new(true, true);
    assert!(stage.facts.sees_processes());
    assert!(stage.facts.process(Tgid(7), Ktime(9_000_000_000)).is_some());
}

#[test]
fn a_real_pid_namespace_is_noticed() {
    let name = "enrich::live::tests::a_real_pid_namespace_is_noticed";
    if testing::unshared(&["--pid", "--fork", "--mount-proc"], name) {
        let mut facts = LiveFacts::new();
        assert!(!facts.pid_namespace_is_initial());
        let own = Tgid(std::process::id());
        let start = Proc::new(Path::new("/proc")).stat(own).unwrap().start;
        assert_eq!(facts.process(own, start), None);
    }
}
