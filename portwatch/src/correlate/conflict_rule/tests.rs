//! The rule against what kernels were seen to do (`tcp_matrix.md`: 6.1.176, 6.12.111, 6.18.44;
//! `udp_matrix.txt`: 6.18.44), and the branches that no experiment reaches.

use super::*;
use crate::correlate::testing::{connect, failure, holder, ip, orphan, socket, tcp};
use crate::decode::event::Wanted;

/// The caller `options address` of a column, as its failed bind() would be recorded.
fn binder(transport: Transport, options: &str, address: &str) -> Binder {
    let (address, v6only) = match address {
        "lo" => ("127.0.0.1", false),
        "any" => ("0.0.0.0", false),
        ".2" => ("127.0.0.2", false),
        "[::]dual" => ("::", false),
        "[::]v6only" => ("::", true),
        "[::1]" => ("::1", false),
        address => (address, false),
    };
    let mut failure = failure(transport, address, Vec::new());
    failure.socket.v6only = v6only;
    set(&mut failure.socket, options);
    Binder::of(&failure).unwrap()
}

fn set(socket: &mut Socket, options: &str) {
    match options {
        "none" | "-" => {}
        "RA" | "ra" => socket.reuse = true,
        "RP" | "rp" => socket.reuseport = true,
        other => panic!("{other}"),
    }
}

/// The socket of a row of the TCP table.
fn tcp_row(kind: &str) -> Socket {
    let (kind, address) = match kind.strip_suffix(')').and_then(|kind| kind.split_once('(')) {
        Some((kind @ ("LISTEN" | "BOUND"), address)) => (kind, address),
        Some((kind, _)) => (kind, "127.0.0.1"),
        None => panic!("{kind}"),
    };
    let (address, v6only) = match address {
        "[::] dual" => ("::", false),
        "[::] v6only" => ("::", true),
        address => (address, false),
    };
    let state = match kind {
        "LISTEN" => State::Listen,
        "BOUND" => State::Close,
        "ESTAB-out" | "ESTAB-in" => State::Established,
        "CLOSE_WAIT-out" | "CLOSE_WAIT-in" => State::CloseWait,
        "FIN_WAIT2-out" => return orphan(tcp(address, State::FinWait2)),
        "TIME_WAIT-out" | "TIME_WAIT-in" => State::TimeWait,
        "SYN_SENT" => State::SynSent,
        other => panic!("{other}"),
    };
    let mut socket = tcp(address, state);
    socket.v6only = v6only;
    socket
}

fn cells(line: &str) -> Vec<&str> {
    line.trim()
        .trim_matches('|')
        .split('|')
        .map(str::trim)
        .collect()
}

#[test]
fn tcp_does_what_the_kernels_did() {
    let mut lines = include_str!("tcp_matrix.md")
        .lines()
        .filter(|line| line.starts_with('|'));
    let columns = cells(lines.next().unwrap());
    let mut checked = 0;
    for line in lines.skip(1) {
        let row = cells(line);
        let mut socket = tcp_row(row[0]);
        set(&mut socket, row[1]);
        let holder = holder(socket);
        for (column, said) in columns[2..].iter().zip(&row[2..]) {
            let (options, address) = column.split_once(' ').unwrap();
            let outcome = judge(&binder(Transport::Tcp, options, address), &holder, 1);
            match *said {
                "**bind**" => assert_eq!(outcome, Outcome::Blocks, "{line}: {column}"),
                "ok" => assert!(matches!(outcome, Outcome::Free(_)), "{line}: {column}"),
                other => panic!("{other}"),
            }
            checked += 1;
        }
    }
    assert_eq!(checked, 48 * 11);
}

#[test]
fn udp_does_what_the_kernel_did() {
    let mut checked = 0;
    for line in include_str!("udp_matrix.txt").lines() {
        let (row, said) = line.split_once(" :: ").unwrap();
        let (kind, option) = row.rsplit_once(' ').unwrap();
        let mut socket = match kind {
            "connected autobind" => {
                let mut socket = socket(Transport::Udp, "127.0.0.1");
                connect(&mut socket, "127.0.0.1", 4001);
                socket.state = State::Established;
                socket
            }
            "bound [::] dual" => socket(Transport::Udp, "::"),
            bound => socket(Transport::Udp, bound.strip_prefix("bound ").unwrap()),
        };
        set(&mut socket, option);
        let holder = holder(socket);
        for cell in said.split(", ") {
            let (column, errno) = cell.split_once('=').unwrap();
            let (options, address) = column.split_once(' ').unwrap();
            let outcome = judge(&binder(Transport::Udp, options, address), &holder, 1);
            match errno {
                "EADDRINUSE" => assert_eq!(outcome, Outcome::Blocks, "{row}: {column}"),
                "ok" => assert!(matches!(outcome, Outcome::Free(_)), "{row}: {column}"),
                other => panic!("{other}"),
            }
            checked += 1;
        }
    }
    assert_eq!(checked, 12 * 7);
}

fn tcp_binder(address: &str) -> Binder {
    binder(Transport::Tcp, "none", address)
}

#[test]
fn the_callers_fields_are_those_of_the_check() {
    let mut failure = failure(Transport::Tcp, "2001:db8::1", Vec::new());
    let native = Binder::of(&failure).unwrap();
    assert_eq!(native.rcv_saddr, LOOPBACK4_IPV6);
    assert!(native.v6only && !native.wants_ipv4() && !native.dual_stack());

    failure.wanted.addr = Some(ip("10.10.10.1"));
    let mapped = Binder::of(&failure).unwrap();
    assert_eq!(mapped.family, Family::Ipv6);
    assert_eq!(mapped.v6_rcv_saddr.to_string(), "::ffff:10.10.10.1");
    assert!(mapped.wants_ipv4() && !mapped.v6only);

    failure.wanted.addr = Some(ip("::ffff:10.10.10.1"));
    assert_eq!(Binder::of(&failure).unwrap(), mapped);

    failure.wanted.addr = Some(ip("::"));
    assert!(Binder::of(&failure).unwrap().dual_stack());

    failure.wanted = Wanted {
        addr: None,
        port: Some(1),
        destination: None,
    };
    assert_eq!(Binder::of(&failure), Err(Uncertain::NoAddress));
    failure.call = Call::Connect;
    assert_eq!(Binder::of(&failure), Err(Uncertain::OtherCall));
}

#[test]
fn listen_compares_the_sockets_own_fields() {
    let mut failure = failure(Transport::Tcp, "0.0.0.0", Vec::new());
    failure.call = Call::Listen;
    failure.socket = tcp("127.0.0.1", State::Close);
    failure.socket.reuse = true;
    let binder = Binder::of(&failure).unwrap();
    let mut other = tcp("127.0.0.1", State::Close);
    other.reuse = true;
    let free = Outcome::Free(Free::SharedReuseaddr);
    assert_eq!(judge(&binder, &holder(other.clone()), 1), free);
    other.state = State::Listen;
    assert_eq!(judge(&binder, &holder(other), 1), Outcome::Blocks);
    let elsewhere = holder(tcp("127.0.0.2", State::Listen));
    assert_eq!(
        judge(&binder, &elsewhere, 1),
        Outcome::Free(Free::OtherAddress)
    );
}

/// A native IPv6 connection carries 127.0.0.6 and is not v6only: 0.0.0.0 meets it.
#[test]
fn the_ipv4_wildcard_meets_native_ipv6_connections() {
    let mut native = tcp("2001:db8::1", State::Established);
    connect(&mut native, "2001:db8::2", 443);
    let connection = holder(native);
    assert_eq!(
        judge(&tcp_binder("0.0.0.0"), &connection, 1),
        Outcome::Blocks
    );
    assert_eq!(judge(&tcp_binder("::"), &connection, 1), Outcome::Blocks);
    let free = Outcome::Free(Free::OtherAddress);
    assert_eq!(judge(&tcp_binder("10.10.10.1"), &connection, 1), free);
    assert_eq!(judge(&tcp_binder("2001:db8::9"), &connection, 1), free);
    let doubt = Outcome::Uncertain(Uncertain::Loopback4);
    assert_eq!(judge(&tcp_binder("127.0.0.6"), &connection, 1), doubt);
    // 6.18: a UDP bind to it fails.
    let mut udp = socket(Transport::Udp, "::1");
    connect(&mut udp, "::1", 53);
    let loopback4 = binder(Transport::Udp, "none", "127.0.0.6");
    assert_eq!(judge(&loopback4, &holder(udp), 1), Outcome::Blocks);
    let mut bound = connection;
    bound.socket.v6only = true;
    assert_eq!(judge(&tcp_binder("0.0.0.0"), &bound, 1), free);
}

#[test]
fn mapped_addresses_are_ipv4() {
    let mapped = {
        let mut failure = failure(Transport::Tcp, "::", Vec::new());
        failure.wanted.addr = Some(ip("::ffff:127.0.0.1"));
        Binder::of(&failure).unwrap()
    };
    let on = |local| judge(&mapped, &holder(tcp(local, State::Listen)), 1);
    assert_eq!(on("127.0.0.1"), Outcome::Blocks);
    assert_eq!(on("::ffff:127.0.0.1"), Outcome::Blocks);
    assert_eq!(on("0.0.0.0"), Outcome::Blocks);
    assert_eq!(on("::"), Outcome::Blocks);
    assert_eq!(on("127.0.0.2"), Outcome::Free(Free::OtherAddress));
    assert_eq!(on("::1"), Outcome::Free(Free::OtherAddress));
    let mut only = tcp("::", State::Listen);
    only.v6only = true;
    assert_eq!(
        judge(&mapped, &holder(only), 1),
        Outcome::Free(Free::OtherAddress)
    );
}

#[test]
fn devices_part_sockets() {
    let mut binder = tcp_binder("0.0.0.0");
    let mut held = holder(tcp("0.0.0.0", State::Listen));
    held.socket.device = 3;
    assert_eq!(judge(&binder, &held, 1), Outcome::Blocks);
    binder.device = 4;
    assert_eq!(judge(&binder, &held, 1), Outcome::Free(Free::OtherDevice));
    binder.device = 3;
    assert_eq!(judge(&binder, &held, 1), Outcome::Blocks);
}

#[test]
fn a_vrf_has_its_own_bucket() {
    let mut binder = tcp_binder("0.0.0.0");
    let mut held = holder(tcp("0.0.0.0", State::Listen));
    held.l3mdev = 9;
    held.socket.device = 9;
    assert_eq!(judge(&binder, &held, 2), Outcome::Free(Free::OtherBucket));
    binder.device = 9;
    assert_eq!(judge(&binder, &held, 1), Outcome::Blocks);
    let doubt = Outcome::Uncertain(Uncertain::SeveralBuckets);
    assert_eq!(judge(&binder, &held, 2), doubt);
    // What is free for another reason stays certain.
    held.socket.device = 3;
    assert_eq!(judge(&binder, &held, 2), Outcome::Free(Free::OtherDevice));
}

#[test]
fn udp_knows_no_vrf_buckets() {
    let mut held = holder(socket(Transport::Udp, "0.0.0.0"));
    held.l3mdev = 9;
    let binder = binder(Transport::Udp, "none", "0.0.0.0");
    assert_eq!(judge(&binder, &held, 2), Outcome::Blocks);
}

#[test]
fn reuseport_is_for_one_user() {
    let mut binder = tcp_binder("0.0.0.0");
    binder.reuseport = true;
    binder.uid = Some(1000);
    let mut held = holder(tcp("0.0.0.0", State::Listen));
    held.socket.reuseport = true;
    held.socket.uid = Some(1000);
    assert_eq!(
        judge(&binder, &held, 1),
        Outcome::Free(Free::SharedReuseport)
    );
    held.socket.uid = Some(0);
    assert_eq!(judge(&binder, &held, 1), Outcome::Blocks);

    let mut gone = holder(tcp("0.0.0.0", State::TimeWait));
    gone.socket.reuseport = true;
    assert_eq!(
        judge(&binder, &gone, 1),
        Outcome::Free(Free::SharedReuseport)
    );

    // Until 6.16 an orphan counts as root's, from then on as its creator's.
    let mut left = holder(orphan(tcp("10.10.10.1", State::FinWait2)));
    left.socket.reuseport = true;
    for (uid, outcome) in [
        (1000, Outcome::Uncertain(Uncertain::Uid)),
        (0, Outcome::Uncertain(Uncertain::Uid)),
        (999, Outcome::Blocks),
    ] {
        left.socket.uid = Some(if uid == 0 { 1000 } else { uid });
        binder.uid = Some(if uid == 0 { 0 } else { 1000 });
        assert_eq!(judge(&binder, &left, 1), outcome, "{uid}");
    }
    binder.uid = None;
    assert_eq!(judge(&binder, &left, 1), Outcome::Uncertain(Uncertain::Uid));
}

#[test]
fn a_callers_own_group_makes_reuseport_uncertain() {
    let mut binder = tcp_binder("0.0.0.0");
    binder.reuseport = true;
    binder.reuseport_group = true;
    let mut held = holder(tcp("0.0.0.0", State::Listen));
    held.socket.reuseport = true;
    let doubt = Outcome::Uncertain(Uncertain::ReuseportGroup);
    assert_eq!(judge(&binder, &held, 1), doubt);
    held.socket.reuseport = false;
    assert_eq!(judge(&binder, &held, 1), Outcome::Blocks);
    // udp.c asks only whether there is a group.
    let mut udp = socket(Transport::Udp, "0.0.0.0");
    udp.reuseport = true;
    binder.transport = Transport::Udp;
    assert_eq!(judge(&binder, &holder(udp), 1), Outcome::Blocks);
}

#[test]
fn repair_mode_is_never_blocked() {
    let mut binder = tcp_binder("0.0.0.0");
    binder.force_reuse = true;
    let held = holder(tcp("0.0.0.0", State::Listen));
    assert_eq!(judge(&binder, &held, 1), Outcome::Free(Free::ForceReuse));
}
