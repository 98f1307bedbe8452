//! What is left of the founding case.

use super::super::test_support::*;
use super::*;
use crate::report::Holder;

fn redacted(mut redact: Redact, body: impl IntoBody) -> Body {
    let mut report = report(body);
    redact.apply(&mut report);
    report.body
}

fn conflict_of(body: Body) -> Box<Conflict> {
    let Body::Conflict(conflict) = body else {
        panic!("{body:?}")
    };
    conflict
}

#[test]
fn nothing_is_taken_out_unasked() {
    let full = redacted(Redact::new(Cmdline::Full, false, false), conflict());
    assert_eq!(*conflict_of(full), conflict());
}

#[test]
fn no_command_line() {
    let mut before = evil();
    before.requester.cmdline_truncated = true;
    before.requester.cmdline_bytes = Some(vec!["AA==".into()]);
    let after = conflict_of(redacted(Redact::new(Cmdline::None, false, false), before));
    for process in &after.holders[0].processes {
        assert_eq!((&process.cmdline, &process.cmdline_bytes), (&None, &None));
        assert!(process.exe.is_some(), "only the command line goes");
    }
    let Process {
        cmdline,
        cmdline_bytes,
        cmdline_truncated,
        ..
    } = &after.requester;
    assert_eq!(
        (cmdline, cmdline_bytes, cmdline_truncated),
        (&None, &None, &false)
    );
}

#[test]
fn the_first_argument_alone() {
    let argv0 = |text: &[&str], bytes: Option<&[&str]>, truncated| {
        let owned = |texts: &[&str]| {
            texts
                .iter()
                .map(|text| (*text).to_owned())
                .collect::<Vec<_>>()
        };
        let (mut text, mut bytes) = (Some(owned(text)), bytes.map(owned));
        let mut truncated = truncated;
        Cmdline::Argv0.apply(&mut text, &mut bytes, &mut truncated);
        (text.unwrap(), bytes, truncated)
    };
    assert_eq!(
        argv0(&["a", "b"], None, true),
        (vec!["a".into()], None, false)
    );
    assert_eq!(argv0(&["a"], None, true), (vec!["a".into()], None, true));
    assert_eq!(
        argv0(&["a", "?"], Some(&["YQ==", "/w=="]), false),
        (vec!["a".into()], None, false)
    );
    assert_eq!(
        argv0(&["?", "b"], Some(&["/w==", "Yg=="]), false),
        (vec!["?".into()], Some(vec!["/w==".into()]), false)
    );
}

#[test]
fn addresses_become_the_same_pseudonyms_everywhere() {
    let after = conflict_of(redacted(
        Redact::new(Cmdline::Full, true, false),
        conflict(),
    ));
    let Holder { local, peer, .. } = &after.holders[0];
    assert_eq!(after.wanted.address, "0.0.0.0");
    assert_eq!(local.address, "240.0.0.1");
    assert_eq!(peer.as_ref().unwrap().address, "240.0.0.2");
    assert!(
        after.message.contains("0.0.0.0:60001/tcp"),
        "{}",
        after.message
    );
    assert!(
        after.message.contains("connection to 240.0.0.2:6836, 2d"),
        "{}",
        after.message
    );
    assert_eq!(after.advice, conflict().advice, "there was none in it");
}

#[test]
fn addresses_in_other_lines_names_and_arguments() {
    let mut before = assign();
    before.process.comm = "10.9.9.9".into();
    before.process.comm_bytes = Some("MTAuOS45Ljk=".into());
    before.process.cmdline = Some(vec!["curl".into(), "http://10.10.10.2/".into()]);
    before.process.systemd_unit = Some(Some("sshd@1-10.10.10.1:22-10.10.10.2:4.service".into()));
    let Body::Assign(after) = redacted(Redact::new(Cmdline::Full, true, false), before) else {
        panic!("another line");
    };
    assert_eq!(after.process.cmdline.unwrap()[1], "http://240.0.0.2/");
    assert_eq!(
        after.process.systemd_unit,
        Some(Some("sshd@1-240.0.0.1:22-240.0.0.2:4.service".into()))
    );
    assert_eq!(
        (after.process.comm.as_str(), after.process.comm_bytes),
        ("240.0.0.3", None)
    );
    let Body::Release(after) = redacted(Redact::new(Cmdline::Full, true, false), release()) else {
        panic!("another line");
    };
    assert_eq!(after.local.address, "240.0.0.1");
}

#[test]
fn user_ids() {
    let mut before = conflict();
    before.requester.cgroup = Some("/user.slice/user-1000.slice/user@1000.service/a".into());
    before.requester.systemd_unit = Some(Some("user@1000.service".into()));
    let after = conflict_of(redacted(Redact::new(Cmdline::Full, false, true), before));
    assert_eq!(after.requester.uid, None);
    assert_eq!(
        (after.holders[0].uid, after.holders[0].processes[0].uid),
        (None, None)
    );
    let cgroup = after.requester.cgroup.as_deref();
    assert_eq!(
        cgroup,
        Some("/user.slice/user-UID.slice/user@UID.service/a")
    );
    assert_eq!(
        after.requester.systemd_unit,
        Some(Some("user@UID.service".into()))
    );
}

#[test]
fn ends_and_refusals_too() {
    let mut redact = Redact::new(Cmdline::None, true, true);
    let mut end = resolved();
    end.wanted.address = "10.1.1.1".into();
    end.message = "python3 (pid 812) got 10.1.1.1:60001/tcp".into();
    let mut told = report(end);
    redact.apply(&mut told);
    let Body::Resolved(end) = told.body else {
        panic!("another line")
    };
    assert_eq!(end.message, "python3 (pid 812) got 240.0.0.1:60001/tcp");
    assert_eq!((end.requester.uid, end.requester.cmdline), (None, None));
    let mut told = report(refused());
    redact.apply(&mut told);
    let Body::Refused(refused) = told.body else {
        panic!("another line")
    };
    assert_eq!(
        (refused.requester.uid, refused.requester.cmdline),
        (None, None)
    );
}

#[test]
fn every_text_goes_through_it() {
    let mut before = conflict();
    before.wanted.netns_path = Some("/run/user/4242/netns/10.1.2.3".into());
    before.wanted.device = Some(Some("to10.1.2.3".into()));
    let holder = &mut before.holders[0];
    holder.device = Some("to10.1.2.3".into());
    holder.kernel_user = Some("vxlan to10.1.2.3".into());
    let process = &mut holder.processes[0];
    process.socket_unit = Some("user@4242.service".into());
    process.container_name = Some("of-10.1.2.3".into());
    process.exe = Some("/run/user/4242/a".into());
    process.exe_bytes = Some("L3J1bi91c2VyLzQyNDIv/w==".into());
    before.message = "held in user-4242.slice by 10.1.2.3".into();
    let after = conflict_of(redacted(Redact::new(Cmdline::Full, true, true), before));
    let told = serde_json::to_string(&after).unwrap();
    for secret in ["4242", "10.1.2.3", "L3J1"] {
        assert!(!told.contains(secret), "{secret} in {told}");
    }
    let path = after.wanted.netns_path.as_deref();
    assert!(path.is_some_and(|path| path.starts_with("/run/user/UID/netns/240.0.0.")));
}

#[test]
fn filters_of_the_start_line() {
    let mut told = report(start());
    let Body::Start(start) = &mut told.body else {
        panic!("another line")
    };
    let filter = (
        "cgroup".to_owned(),
        "/a,/user.slice/user-4242.slice".to_owned(),
    );
    start.filters = [filter].into();
    Redact::new(Cmdline::Full, false, true).apply(&mut told);
    let Body::Start(start) = told.body else {
        panic!("another line")
    };
    assert_eq!(start.filters["cgroup"], "/a,/user.slice/user-UID.slice");
}
