use super::*;
use crate::correlate::testing::{connect, facts, failure, ip, socket, tcp};

#[test]
fn mapped_addresses_are_shown_as_ipv4() {
    let mut failure = failure(Transport::Tcp, "::", Vec::new());
    failure.wanted.addr = Some(ip("10.10.10.1"));
    let told = wanted(&failure, &facts(None));
    assert_eq!(
        (told.address.as_str(), told.family),
        ("10.10.10.1", FamilyName::Ipv4)
    );
    failure.wanted.addr = Some(ip("::ffff:10.10.10.1"));
    assert_eq!(wanted(&failure, &facts(None)), told);
    let mut mapped = tcp("::ffff:10.10.10.1", State::Established);
    connect(&mut mapped, "::ffff:10.10.10.2", 6836);
    assert_eq!(local(&mapped).address, "10.10.10.1");
    assert_eq!(peer(&mapped).unwrap().address, "10.10.10.2");
}

#[test]
fn ipv6_is_in_its_canonical_form() {
    let failure = failure(Transport::Udp, "2001:0db8:0:0:0:0:0:1", Vec::new());
    let told = wanted(&failure, &facts(None));
    assert_eq!(
        (told.address.as_str(), told.family),
        ("2001:db8::1", FamilyName::Ipv6)
    );
}

#[test]
fn a_call_without_an_address_wants_any_of_its_family() {
    let mut failure = failure(Transport::Tcp, "::", Vec::new());
    failure.wanted.addr = None;
    failure.wanted.port = None;
    let told = wanted(&failure, &facts(None));
    assert_eq!((told.address.as_str(), told.port), ("::", None));
    assert_eq!(range(&failure).reserved, None);
    assert!(!range(&failure).contains_port);
}

#[test]
fn a_device_is_named_null_or_absent() {
    let mut failure = failure(Transport::Tcp, "0.0.0.0", Vec::new());
    let mut facts = facts(None);
    assert_eq!(wanted(&failure, &facts).device, Some(None));
    failure.socket.device = 3;
    assert_eq!(wanted(&failure, &facts).device, None);
    facts.devices = vec![(2, "lo".to_owned()), (3, "eth0".to_owned())];
    assert_eq!(
        wanted(&failure, &facts).device,
        Some(Some("eth0".to_owned()))
    );
}

#[test]
fn options_stand_in_the_contracts_order() {
    let mut all = tcp("0.0.0.0", State::Close);
    all.bind_no_port = true;
    all.reuse = true;
    all.reuseport = true;
    all.v6only = true;
    all.freebind = true;
    all.transparent = true;
    assert_eq!(options(&all), OptionName::ALL);
}

#[test]
fn an_unbound_state_is_told_per_transport() {
    assert_eq!(state(&tcp("0.0.0.0", State::Close)), StateName::Bound);
    assert_eq!(
        state(&socket(Transport::Udp, "0.0.0.0")),
        StateName::Unconnected
    );
}

#[test]
fn errnos_have_their_names() {
    let names = [98, 99, 11, 13, 4095].map(errno);
    assert_eq!(
        names,
        [
            "EADDRINUSE",
            "EADDRNOTAVAIL",
            "EAGAIN",
            "EACCES",
            "errno 4095"
        ]
    );
}

#[test]
fn the_range_includes_its_ends() {
    let mut failure = failure(Transport::Tcp, "0.0.0.0", Vec::new());
    for (port, inside) in [(32767, false), (32768, true), (60999, true), (61000, false)] {
        failure.wanted.port = Some(port);
        assert_eq!(range(&failure).contains_port, inside, "{port}");
    }
}
