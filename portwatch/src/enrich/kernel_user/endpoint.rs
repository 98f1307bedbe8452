//! Endpoints of MPTCP (`ip mptcp endpoint`): one with a port has a listening socket of the kernel
//! (net/mptcp/pm_netlink.c:mptcp_pm_nl_create_listen_socket, Linux 5.12).

use super::{Family, KernelUser};
use crate::enrich::netlink::{attribute, half};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const GET_ADDRESSES: u8 = 3; // MPTCP_PM_CMD_GET_ADDR
const ADDRESS: u16 = 1; // MPTCP_PM_ATTR_ADDR
const ID: u16 = 2; // MPTCP_PM_ADDR_ATTR_ID
const ADDR4: u16 = 3; // MPTCP_PM_ADDR_ATTR_ADDR4
const ADDR6: u16 = 4; // MPTCP_PM_ADDR_ATTR_ADDR6
const PORT: u16 = 5; // MPTCP_PM_ADDR_ATTR_PORT, in the host's order

/// The endpoint that has this TCP port.
pub(super) fn endpoint(port: u16) -> Option<KernelUser> {
    let mut found = None;
    Family::find("mptcp_pm")?.dump(GET_ADDRESSES, &[], |answer| {
        found = found.take().or_else(|| read(answer, port));
    })?;
    found
}

fn read(answer: &[u8], port: u16) -> Option<KernelUser> {
    let address = attribute(answer, ADDRESS)?;
    let own = half(attribute(address, PORT)?, 0)?;
    let id = attribute(address, ID)?.first()?;
    (own == port).then(|| KernelUser {
        kind: "mptcp-endpoint".to_owned(),
        name: id.to_string(),
        address: ip(address),
    })
}

fn ip(address: &[u8]) -> Option<IpAddr> {
    if let Some(bytes) = attribute(address, ADDR4) {
        return Some(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?).into());
    }
    let bytes = attribute(address, ADDR6)?;
    Some(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::enrich::netlink::attribute_of;

    #[test]
    fn the_endpoint_with_the_port() {
        let of = |kind, value: &[u8]| attribute_of(kind, value).unwrap();
        let inner = [
            of(ID, &[7]),
            of(ADDR4, &[127, 0, 0, 1]),
            of(PORT, &60002_u16.to_ne_bytes()),
        ]
        .concat();
        let answer = of(ADDRESS | 0x8000, &inner);
        let right = KernelUser {
            kind: "mptcp-endpoint".to_owned(),
            name: "7".to_owned(),
            address: Some(Ipv4Addr::LOCALHOST.into()),
        };
        assert_eq!(read(&answer, 60002), Some(right));
        assert_eq!(read(&answer, 60001), None);
        // Most endpoints have no port of their own.
        assert_eq!(read(&of(ADDRESS, &of(ID, &[7])), 0), None);
    }
}
