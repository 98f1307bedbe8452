//! Records made by hand: what the kernel side writes, and everything it never would.

use super::event::{Call, Comm, Event, Family, Origin, OwnerSource, State};
use super::*;
use bytes::Bytes;
use portwatch_common as wire;
use proptest::prelude::*;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use zerocopy::{FromZeros, IntoBytes};

fn raw<T: IntoBytes + zerocopy::Immutable>(record: &T) -> RawRecord {
    RawRecord::new(Bytes::copy_from_slice(record.as_bytes()))
}

fn comm(name: &[u8]) -> [u64; 2] {
    let mut bytes = [0; 16];
    bytes[..name.len()].copy_from_slice(name);
    [
        u64::from_ne_bytes(bytes[..8].try_into().unwrap()),
        u64::from_ne_bytes(bytes[8..].try_into().unwrap()),
    ]
}

fn sock(family: u16, port: u16) -> wire::Sock {
    wire::Sock {
        family,
        protocol: 6,
        port,
        state: wire::Sock::STATE_CLOSE,
        ..wire::Sock::new_zeroed()
    }
}

/// A failed bind() whose socket has forgotten its port, as the kernel leaves it.
fn failure(id: u64, emitted: u32) -> wire::FailureRecord {
    let mut record = wire::FailureRecord::new_zeroed();
    record.header.kind = RecordKind::FAILURE;
    record.header.id = id;
    record.header.time = 1_000 + id;
    record.task.comm = comm(b"flask");
    record.sock = sock(2, 0);
    record.addr.family = 2;
    record.addr.port = 60001;
    record.errno = 98;
    record.call = wire::Call::BIND;
    record.emitted = emitted;
    record.total = emitted;
    record
}

fn holder(id: u64, port: u16) -> wire::HolderRecord {
    let mut record = wire::HolderRecord::new_zeroed();
    record.header.kind = RecordKind::HOLDER;
    record.header.id = id;
    record.sock = sock(2, port);
    record
}

fn told(event: Option<Event>) -> Box<event::Failure> {
    match event {
        Some(Event::Failure(failure)) => failure,
        Some(Event::Refused(_) | Event::Assign(_) | Event::Release(_) | Event::Exit(_)) | None => {
            panic!("{event:?} instead of a failure")
        }
    }
}

#[test]
fn what_gets_the_input_of_a_socket_of_the_kernel_is_text_or_nothing() {
    let mut decoder = Decoder::new();
    decoder.record(&raw(&failure(1, 1))).unwrap();
    let mut record = holder(1, 51820);
    record.kernel_function.as_mut_bytes()[..22].copy_from_slice(b"wg_receive [wireguard]");
    let failure = told(decoder.record(&raw(&record)).unwrap());
    let told = failure.holders[0].kernel_function.as_deref();
    assert_eq!(told, Some("wg_receive [wireguard]"));
    record.kernel_function = [0x1b1b_1b1b; 6];
    decoder.record(&raw(&self::failure(1, 1))).unwrap();
    let failure = self::told(decoder.record(&raw(&record)).unwrap());
    assert_eq!(failure.holders[0].kernel_function, None);
}

#[test]
fn a_failed_bind_never_shows_port_0() {
    let failure = told(Decoder::new().record(&raw(&failure(1, 0))).unwrap());
    assert_eq!(failure.socket.port, 0);
    assert_eq!(failure.wanted.port, Some(60001));
    assert_eq!(failure.wanted.addr, Some(IpAddr::V4(Ipv4Addr::UNSPECIFIED)));
    assert_eq!(failure.task.comm, Comm::from(&b"flask"[..]));
}

#[test]
fn a_failed_listen_wants_what_its_socket_has() {
    let mut record = failure(1, 0);
    record.call = wire::Call::LISTEN;
    record.flags = wire::FailureRecord::FLAG_NO_ADDR;
    record.sock.port = 8080;
    record.sock.rcv_saddr = [127, 0, 0, 1];
    let failure = told(Decoder::new().record(&raw(&record)).unwrap());
    assert_eq!(failure.call, Call::Listen);
    assert_eq!(failure.wanted.port, Some(8080));
    assert_eq!(failure.wanted.addr, Some(IpAddr::V4(Ipv4Addr::LOCALHOST)));
}

#[test]
fn a_mapped_address_is_ipv4_on_an_ipv6_socket() {
    let mut record = failure(1, 0);
    record.sock.family = 10;
    record.addr.family = 10;
    record.addr.addr = Ipv4Addr::LOCALHOST.to_ipv6_mapped().octets();
    let mapped = told(Decoder::new().record(&raw(&record)).unwrap());
    assert_eq!(mapped.socket.family, Family::Ipv6);
    assert_eq!(mapped.wanted.addr, Some(IpAddr::V4(Ipv4Addr::LOCALHOST)));
    record.addr.addr = Ipv6Addr::LOCALHOST.octets();
    let native = told(Decoder::new().record(&raw(&record)).unwrap());
    assert_eq!(native.wanted.addr, Some(IpAddr::V6(Ipv6Addr::LOCALHOST)));
}

#[test]
fn a_failure_waits_for_its_holders_only() {
    let mut decoder = Decoder::new();
    assert_eq!(decoder.record(&raw(&failure(1, 2))), Ok(None));
    assert_eq!(decoder.record(&raw(&holder(1, 60001))), Ok(None));
    assert_eq!(
        decoder.record(&raw(&holder(9, 60001))),
        Ok(None),
        "of no failure"
    );
    let second = told(decoder.record(&raw(&failure(2, 0))).unwrap());
    assert_eq!(second.holders.len(), 0);
    let first = told(decoder.record(&raw(&holder(1, 60001))).unwrap());
    assert_eq!(first.holders.len(), 2);
    assert!(first.walk.complete());
    assert_eq!(decoder.drained(), []);
}

#[test]
fn missing_holders_are_counted_not_waited_for() {
    let mut decoder = Decoder::new();
    decoder.record(&raw(&failure(1, 3))).unwrap();
    decoder.record(&raw(&holder(1, 60001))).unwrap();
    let mut broken = holder(1, 60001);
    broken.sock.state = 77;
    assert!(decoder.record(&raw(&broken)).is_err());
    let events = decoder.drained();
    let failure = told(events.into_iter().next());
    assert_eq!(failure.walk.lost, 2);
    assert!(!failure.walk.complete());
}

#[test]
fn an_unreadable_last_holder_gives_the_failure_out() {
    let mut decoder = Decoder::new();
    decoder.record(&raw(&failure(1, 1))).unwrap();
    let mut broken = holder(1, 60001);
    broken.sock.family = 99;
    assert_eq!(
        decoder.record(&raw(&broken)),
        Err(DecodeError::BadField {
            field: "family",
            value: 99
        })
    );
    assert_eq!(told(decoder.drained().into_iter().next()).walk.lost, 1);
}

#[test]
fn an_owner_seen_before_the_scan_proves_no_ephemeral_connect() {
    let mut record = holder(1, 60001);
    record.owner.origin = wire::Origin::EPHEMERAL_CONNECT;
    record.owner.tgid = 7;
    record.owner_source = u32::from(wire::OwnerSource::CALL);
    let origin = |record: &wire::HolderRecord| {
        let mut decoder = Decoder::new();
        decoder.record(&raw(&failure(1, 1))).unwrap();
        let failure = told(decoder.record(&raw(record)).unwrap());
        let owner = failure.holders[0].owner.clone().unwrap();
        assert_eq!(owner.source, OwnerSource::Call);
        owner.origin
    };
    assert_eq!(origin(&record), Some(Origin::EphemeralConnect));
    record.owner.unproven = 1;
    assert_eq!(origin(&record), None);
}

#[test]
fn a_socket_that_is_not_full_has_no_uid() {
    let mut record = holder(1, 60001);
    record.sock.state = wire::Sock::STATE_TIME_WAIT;
    let mut decoder = Decoder::new();
    decoder.record(&raw(&failure(1, 1))).unwrap();
    let failure = told(decoder.record(&raw(&record)).unwrap());
    let socket = &failure.holders[0].socket;
    assert_eq!((socket.state, socket.uid), (State::TimeWait, None));
}

#[test]
fn short_and_unknown_records_are_errors() {
    let whole = failure(1, 0);
    let bytes = whole.as_bytes();
    for length in 0..bytes.len() {
        let cut = RawRecord::new(Bytes::copy_from_slice(&bytes[..length]));
        let error = Decoder::new().record(&cut).unwrap_err();
        assert!(
            matches!(error, DecodeError::Short { .. }),
            "{length}: {error}"
        );
    }
    let mut unknown = whole;
    unknown.header.kind = 999;
    assert_eq!(
        Decoder::new().record(&raw(&unknown)),
        Err(DecodeError::UnknownKind(999))
    );
}

#[test]
fn a_newer_writers_longer_record_is_read() {
    let mut bytes = failure(1, 0).as_bytes().to_vec();
    bytes.extend([0xff; 16]);
    let record = RawRecord::new(Bytes::from(bytes));
    assert!(Decoder::new().record(&record).unwrap().is_some());
}

proptest! {
    #[test]
    fn no_bytes_panic(kind in 0_u16..9, bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let mut bytes = bytes;
        if bytes.len() >= 2 {
            bytes[..2].copy_from_slice(&kind.to_ne_bytes());
        }
        let record = RawRecord::new(Bytes::from(bytes));
        let mut decoder = Decoder::new();
        let _ = decoder.record(&record);
        let _ = decoder.drained();
        let _ = found(&record);
    }
}
