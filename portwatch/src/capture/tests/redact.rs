//! What `--redact` takes out of a capture.

use super::super::block::Codec;
use super::super::fact::{Answer, Fact, Question};
use super::super::{Recorder, Redaction, WriteOptions};
use super::header;
use super::live::{raw, replayed};
use super::made::{assign, bytes, comm, failure, holder};
use crate::decode::event::{Comm, Ktime, NetnsId, Tgid};
use crate::enrich::facts::{NetnsFacts, NetnsReach, ProcessFacts, SocketUser};
use crate::enrich::kernel_user::KernelUser;
use crate::sink::filter::EventName;
use std::fs;

/// What is to be kept out, in each place that can hold a text.
const SECRETS: [&str; 3] = ["4242", "10.55.0.1", "10.9.8.4"];

fn process() -> ProcessFacts {
    let name = Comm::from(&b"at 10.55.0.1"[..]);
    ProcessFacts {
        uid: Some(4242),
        exe: Some(b"/srv/10.55.0.1/python3".to_vec()),
        cmdline: Some(vec![b"peer=10.9.8.4\xff".to_vec()]),
        cgroup: Some("/user.slice/user-4242.slice/user@4242.service/a".to_owned()),
        systemd_unit: Some(Some("user@4242.service".to_owned())),
        socket_unit: Some("sshd@1-10.55.0.1:22-10.9.8.4:5.service".to_owned()),
        container_name: Some("of-10.55.0.1".to_owned()),
        ..ProcessFacts::named(Tgid(5), Ktime(7), name)
    }
}

fn answers() -> Vec<(Question, Answer)> {
    let netns = NetnsId(1);
    let name = Comm::from(&b"at 10.55.0.1"[..]);
    let user = SocketUser {
        tgid: Tgid(5),
        start: Ktime(7),
        comm: name,
    };
    let path = NetnsReach::Path("/run/user/4242/netns/10.55.0.1".to_owned());
    vec![
        (
            Question::Process(Tgid(5), Ktime(7)),
            Answer::Process(Some(process())),
        ),
        (
            Question::Users(vec![1], Ktime(7)),
            Answer::Users(Some(vec![(1, user)])),
        ),
        (
            Question::Netns(netns, None),
            Answer::Netns(NetnsFacts {
                reserved: None,
                reach: Some(path),
            }),
        ),
        (
            Question::Cgroup(5),
            Answer::Cgroup(Some("/user.slice/user-4242.slice".to_owned())),
        ),
        (
            Question::Device(netns, 1),
            Answer::Device(Some("to10.55.0.1".to_owned())),
        ),
        (
            Question::Tunnel(netns, Tgid(5), 1),
            Answer::KernelUser(Some(KernelUser {
                kind: "vxlan".to_owned(),
                name: "to10.55.0.1".to_owned(),
                address: Some([10, 9, 8, 4].into()),
            })),
        ),
    ]
}

#[test]
fn answers_hold_nothing_of_it() {
    let mut redaction = Redaction::new(false, true, true);
    for (question, answer) in answers() {
        let mut fact = Fact { question, answer };
        let before = format!("{fact:?}");
        redaction.fact(&mut fact);
        assert_ne!(format!("{fact:?}"), before, "it says something");
        let told = rmp_serde::to_vec_named(&fact).unwrap();
        let told = String::from_utf8_lossy(&told);
        for secret in SECRETS {
            assert!(!told.contains(secret), "{secret} in {told:?}");
        }
        if let Answer::Process(Some(process)) = &fact.answer {
            assert_eq!(process.comm.bytes(), b"at 240.0.0.1");
            let Some([argument]) = process.cmdline.as_deref() else {
                panic!("another number of arguments")
            };
            assert_eq!(argument, "peer=240.0.0.2\u{fffd}".as_bytes());
            let uid = process.uid.unwrap();
            let unit = process.systemd_unit.clone().flatten().unwrap();
            assert_eq!(
                unit,
                format!("user@{uid}.service"),
                "one user, one pseudonym"
            );
        }
        if let Answer::KernelUser(Some(user)) = &fact.answer {
            assert_eq!(user.address, Some([240, 0, 0, 2].into()));
        }
    }
}

/// Whoever closed a socket has a name as well.
#[test]
fn names_of_closers() {
    use crate::correlate::testing::owner;
    use crate::decode::event::OwnerSource;
    let mut closer = owner(OwnerSource::Release, None);
    closer.comm = Comm::from(&b"at 10.55.0.1"[..]);
    let mut fact = Fact {
        question: Question::Closers(vec![1]),
        answer: Answer::Closers(vec![(1, closer)]),
    };
    Redaction::new(false, true, false).fact(&mut fact);
    let Answer::Closers(closers) = fact.answer else {
        panic!("another answer")
    };
    assert_eq!(closers[0].1.comm.bytes(), b"at 240.0.0.1");
}

#[test]
fn records_hold_no_address_in_a_name() {
    let mut redaction = Redaction::new(false, true, false);
    for (before, after) in [
        ("at 10.55.0.1", "at 240.0.0.1"),
        ("to-peer 2.9.1.4", "to-peer *"),
        ("nginx\x0010.55.0.1", "nginx"),
    ] {
        let mut failure = failure(1, 1, 5, 1);
        failure.task.comm = comm(before);
        let mut assign = assign(1, 5, 1, 1);
        assign.task.comm = comm(before);
        let mut holder = holder(1, 1, 5);
        holder.owner.comm = comm(before);
        let records = [bytes(&failure), bytes(&assign), bytes(&holder)];
        for mut record in records {
            redaction.record(&mut record);
            let [first, second] = comm(after).map(u64::to_ne_bytes);
            let name = [first, second].concat();
            assert!(record.windows(16).any(|part| part == name), "{before}");
        }
    }
}

#[test]
fn the_header_tells_whether_there_was_a_key() {
    let key = "00112233445566778899aabbccddeeff".parse().ok();
    let words = |redaction: Redaction| redaction.words();
    let address = || Redaction::new(false, true, false);
    assert_eq!(words(address()), ["address"]);
    assert_eq!(words(address().keyed(key)), ["address", "address-key"]);
    assert_eq!(
        words(Redaction::new(true, false, true).keyed(key)),
        ["cmdline", "uid"]
    );
    let mut header = header();
    address().keyed(key).header(&mut header);
    assert!(header.has_pseudonyms() && header.is_keyed());
    assert!(header.taken_out().eq(["address"]));
}

#[test]
fn the_header_tells_no_filter_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a");
    let mut header = header();
    let filters = [
        ("cgroup", "/user.slice/user-4242.slice"),
        ("comm", "a10.9.8.4"),
    ];
    let filters = filters.map(|(name, value)| (name.to_owned(), value.to_owned()));
    header.filtered = filters.clone().into();
    header.begin.start.filters = filters.into();
    let options = WriteOptions {
        path: path.clone(),
        codec: Codec::None,
        ..WriteOptions::default()
    };
    let recorder = Recorder::create(options, header, Redaction::new(false, true, true)).unwrap();
    recorder.record(&raw(bytes(&assign(1, 5, 1, 1))));
    assert_eq!(recorder.finish(), None);
    let file = fs::read(&path).unwrap();
    let text = String::from_utf8_lossy(&file);
    for secret in SECRETS {
        assert!(!text.contains(secret), "{secret} is in the file");
    }
    let (told, _) = replayed(&[path], &EventName::ALL);
    assert!(told.contains("user-4000000000.slice"), "{told}");
}
