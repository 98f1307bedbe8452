use super::*;
use crate::correlate::testing::{held_by, holder, orphan, owner, socket, tcp};
use crate::decode::event::Ktime;

const NONE: &[&Socket] = &[];

fn taken(holder: &Holder) -> (Option<Origin>, Proof) {
    let taken = origin(holder, NONE);
    (taken.origin, taken.proof)
}

#[test]
fn the_call_that_was_seen_decides() {
    let mut held = held_by(
        tcp("10.10.10.1", State::Established),
        owner(OwnerSource::Call, Some(Origin::EphemeralBind)),
    );
    held.connect_only_bucket = true;
    assert_eq!(taken(&held), (Some(Origin::EphemeralBind), Proof::Proven));
}

#[test]
fn the_kernels_own_bits_prove_connect_and_bind() {
    let mut held = holder(tcp("10.10.10.1", State::Established));
    held.connect_only_bucket = true;
    assert_eq!(
        taken(&held),
        (Some(Origin::EphemeralConnect), Proof::Proven)
    );
    let mut held = holder(tcp("10.10.10.1", State::TimeWait));
    held.socket.connect_bound = true;
    assert_eq!(
        taken(&held),
        (Some(Origin::EphemeralConnect), Proof::Proven)
    );
    let mut held = holder(tcp("10.10.10.1", State::Established));
    held.socket.port_locked = true;
    assert_eq!(taken(&held), (Some(Origin::ExplicitBind), Proof::Proven));
}

/// The hook that saw a listener get it needs no listener that is still known.
#[test]
fn a_connection_that_a_listener_was_seen_to_get_is_accepted() {
    let mut held = holder(tcp("10.10.10.1", State::Established));
    assert_eq!(taken(&held).0, None);
    held.accepted_at = Some(Ktime(5));
    assert_eq!(taken(&held), (Some(Origin::Accepted), Proof::Proven));
}

/// Listener closed, accepted child left, tracer started late: an absent SOCK_BINDPORT_LOCK proves
/// nothing.
#[test]
fn nothing_known_is_nothing_proven() {
    let child = tcp("10.10.10.1", State::Established);
    assert_eq!(taken(&holder(child.clone())).0, None);
    let scanned = held_by(child, owner(OwnerSource::Snapshot, None));
    assert_eq!(taken(&scanned).0, None);
}

#[test]
fn a_connection_that_no_call_and_no_scan_met_was_accepted() {
    for state in [State::Established, State::CloseWait, State::TimeWait] {
        let held = held_by(
            tcp("10.10.10.1", state),
            owner(OwnerSource::LastListener, None),
        );
        assert_eq!(taken(&held), (Some(Origin::Accepted), Proof::Eliminated));
    }
    // That listener's own origin is not this socket's.
    let held = held_by(
        tcp("10.10.10.1", State::TimeWait),
        owner(OwnerSource::LastListener, Some(Origin::ExplicitBind)),
    );
    assert_eq!(taken(&held).0, Some(Origin::Accepted));
}

#[test]
fn proof_of_connect_beats_the_last_listener() {
    let mut held = held_by(
        tcp("10.10.10.1", State::TimeWait),
        owner(OwnerSource::LastListener, None),
    );
    held.socket.connect_bound = true;
    assert_eq!(
        taken(&held),
        (Some(Origin::EphemeralConnect), Proof::Proven)
    );
}

#[test]
fn states_that_no_accepted_child_has_are_not_accepted() {
    let listener = tcp("0.0.0.0", State::Listen);
    for state in [State::SynSent, State::Close] {
        let held = held_by(
            tcp("10.10.10.1", state),
            owner(OwnerSource::LastListener, None),
        );
        assert_eq!(origin(&held, &[&listener]).origin, None, "{state:?}");
    }
    let udp = holder(socket(Transport::Udp, "10.10.10.1"));
    assert_eq!(origin(&udp, &[&listener]).origin, None);
}

#[test]
fn a_live_listener_means_accepted_only_on_its_address() {
    let child = holder(tcp("10.10.10.1", State::Established));
    let of = |listener: &Socket| origin(&child, &[listener]);
    let deduced = Taken {
        origin: Some(Origin::Accepted),
        proof: Proof::Deduced,
    };
    assert_eq!(of(&tcp("0.0.0.0", State::Listen)), deduced);
    assert_eq!(of(&tcp("::", State::Listen)), deduced);
    assert_eq!(of(&tcp("10.10.10.1", State::Listen)), deduced);
    assert_eq!(of(&tcp("10.10.10.9", State::Listen)).origin, None);
    let mut v6only = tcp("::", State::Listen);
    v6only.v6only = true;
    assert_eq!(of(&v6only).origin, None);
    let v6 = holder(tcp("2001:db8::1", State::Established));
    assert_eq!(origin(&v6, &[&tcp("0.0.0.0", State::Listen)]).origin, None);
    assert_eq!(origin(&v6, &[&v6only]), deduced);
}

/// A connect() was seen before the scan was complete: an older bind(0) cannot be ruled out, but it
/// is the calling side.
#[test]
fn a_caller_was_not_accepted() {
    let held = held_by(
        tcp("10.10.10.1", State::Established),
        owner(OwnerSource::Call, None),
    );
    assert_eq!(
        origin(&held, &[&tcp("0.0.0.0", State::Listen)]).origin,
        None
    );
}

#[test]
fn the_kernel_bit_counts_in_full_sockets_only() {
    let mut full = tcp("10.10.10.1", State::Established);
    full.kernel = true;
    assert_eq!(taken(&holder(full)).0, Some(Origin::Kernel));
    let mut small = orphan(tcp("10.10.10.1", State::FinWait2));
    small.kernel = true;
    small.uid = None;
    assert_eq!(taken(&holder(small)).0, None);
}
