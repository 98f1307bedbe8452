//! Every identifier of docs/causes.md that this stage may say, from the socket that is it.

use super::*;
use crate::correlate::conflict_rule::Binder;
use crate::correlate::testing::{connect, failure, orphan, socket, tcp};

fn read(wanted: &str, socket: &Socket, origin: Option<Origin>) -> Reading {
    let binder = Binder::of(&failure(socket.transport, wanted, Vec::new())).unwrap();
    cause(
        socket,
        Taken {
            origin,
            proof: Proof::Proven,
        },
        &binder,
    )
}

fn read_as(socket: &Socket, origin: Option<Origin>) -> Reading {
    read("0.0.0.0", socket, origin)
}

#[test]
fn a_live_connection_is_what_its_origin_says() {
    let live = [
        tcp("10.10.10.1", State::Established),
        tcp("10.10.10.1", State::SynSent),
        tcp("10.10.10.1", State::CloseWait),
        tcp("10.10.10.1", State::FinWait1),
        tcp("10.10.10.1", State::FinWait2),
        tcp("10.10.10.1", State::LastAck),
        tcp("10.10.10.1", State::Closing),
    ];
    for socket in live {
        let cases = [
            (Some(Origin::EphemeralConnect), Cause::OutboundConnection),
            (Some(Origin::EphemeralBind), Cause::EphemeralBind),
            (Some(Origin::ExplicitBind), Cause::BoundNotListening),
            (Some(Origin::Accepted), Cause::AcceptedConnection),
            (None, Cause::Unknown),
        ];
        for (origin, cause) in cases {
            assert_eq!(
                read_as(&socket, origin).cause,
                cause,
                "{:?} {origin:?}",
                socket.state
            );
        }
    }
}

#[test]
fn without_a_process_a_closing_connection_is_an_orphan() {
    for state in [
        State::FinWait1,
        State::FinWait2,
        State::LastAck,
        State::Closing,
    ] {
        let socket = orphan(tcp("10.10.10.1", state));
        for origin in [Some(Origin::EphemeralConnect), Some(Origin::Accepted), None] {
            assert_eq!(read_as(&socket, origin), Reading::proven(Cause::Orphan));
        }
    }
    // An unaccepted child is not one.
    let queued = orphan(tcp("10.10.10.1", State::Established));
    assert_eq!(
        read_as(&queued, Some(Origin::Accepted)).cause,
        Cause::AcceptedConnection
    );
}

#[test]
fn time_wait_has_two_sides_and_neither_is_guessed() {
    let socket = tcp("10.10.10.1", State::TimeWait);
    let cases = [
        (
            Some(Origin::EphemeralConnect),
            Cause::OutboundTimeWait,
            None,
        ),
        (Some(Origin::Accepted), Cause::ServerTimeWait, None),
        (Some(Origin::EphemeralBind), Cause::EphemeralBind, None),
        (Some(Origin::ExplicitBind), Cause::OutboundTimeWait, None),
        (None, Cause::Unknown, Some(Gap::OriginUnproven)),
    ];
    for (origin, cause, gap) in cases {
        let reading = read_as(&socket, origin);
        assert_eq!((reading.cause, reading.gap), (cause, gap), "{origin:?}");
    }
}

#[test]
fn whatever_gave_it_the_port_a_listener_is_a_listener() {
    let socket = tcp("10.10.10.1", State::Listen);
    for origin in [
        Some(Origin::ExplicitBind),
        Some(Origin::EphemeralBind),
        Some(Origin::EphemeralAutobind),
        None,
    ] {
        assert_eq!(read_as(&socket, origin), Reading::proven(Cause::Listener));
    }
}

#[test]
fn dual_stack_is_said_where_two_families_meet() {
    let listener = |local: &str| tcp(local, State::Listen);
    let cause = |wanted, socket: &Socket| read(wanted, socket, None).cause;
    for wanted in ["0.0.0.0", "127.0.0.1"] {
        assert_eq!(cause(wanted, &listener("::")), Cause::DualStackListener);
        assert_eq!(cause(wanted, &listener("0.0.0.0")), Cause::Listener);
    }
    assert_eq!(cause("::", &listener("0.0.0.0")), Cause::DualStackListener);
    assert_eq!(cause("::", &listener("::")), Cause::Listener);
    assert_eq!(cause("::", &listener("127.0.0.1")), Cause::Listener);
    assert_eq!(cause("::1", &listener("::")), Cause::Listener);

    let mut mapped = failure(Transport::Tcp, "::", Vec::new());
    mapped.wanted.addr = Some("127.0.0.1".parse().unwrap());
    let binder = Binder::of(&mapped).unwrap();
    let taken = Taken {
        origin: None,
        proof: Proof::Proven,
    };
    let reading = super::cause(&listener("::"), taken, &binder);
    assert_eq!(reading.cause, Cause::DualStackListener);
}

#[test]
fn bound_sockets() {
    let socket = tcp("10.10.10.1", State::Close);
    let explicit = read_as(&socket, Some(Origin::ExplicitBind));
    assert_eq!(explicit, Reading::proven(Cause::BoundNotListening));
    let picked = read_as(&socket, Some(Origin::EphemeralBind));
    assert_eq!(picked, Reading::proven(Cause::EphemeralBind));
    assert_eq!(
        read_as(&socket, None),
        Reading::deduced(Cause::EphemeralBind)
    );
    assert_eq!(
        read_as(&socket, Some(Origin::Accepted)).cause,
        Cause::Unknown
    );
}

#[test]
fn udp_is_outbound_only_when_the_kernel_picked_the_port() {
    let mut socket = socket(Transport::Udp, "10.10.10.1");
    connect(&mut socket, "10.10.10.2", 53);
    for state in [State::Established, State::Close] {
        socket.state = state;
        for origin in [Origin::EphemeralConnect, Origin::EphemeralAutobind] {
            let reading = read_as(&socket, Some(origin));
            assert_eq!(reading, Reading::proven(Cause::OutboundConnection));
        }
        let bound = read_as(&socket, Some(Origin::EphemeralBind));
        assert_eq!(bound, Reading::proven(Cause::EphemeralBind));
        let explicit = read_as(&socket, Some(Origin::ExplicitBind));
        assert_eq!(explicit, Reading::proven(Cause::UdpSocket));
        assert_eq!(read_as(&socket, None), Reading::deduced(Cause::UdpSocket));
    }
}

#[test]
fn the_kernels_own_sockets_are_not_guessed_at() {
    let mut socket = tcp("10.10.10.1", State::Listen);
    socket.kernel = true;
    assert_eq!(read_as(&socket, None), Reading::proven(Cause::KernelSocket));
    // `inet_timewait_sock` leaves that bit as it found it.
    let mut closed = tcp("10.10.10.1", State::TimeWait);
    closed.kernel = true;
    let reading = read_as(&closed, Some(Origin::EphemeralConnect));
    assert_eq!(reading.cause, Cause::OutboundTimeWait);
}
