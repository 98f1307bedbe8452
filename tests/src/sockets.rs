//! Sockets as /proc/net shows them: what a test waits for before it lets the binder run.
//!
//! A socket that is bound and does not listen has no row there.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use anyhow::{Context, Result};

/// One line of /proc/net/{tcp,tcp6,udp,udp6}.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// `tcp` or `udp`, without the family.
    pub transport: Transport,
    /// The local end.
    pub local: SocketAddr,
    /// The remote end, port 0 when there is none.
    pub peer: SocketAddr,
    /// The state in the words of the JSON contract.
    pub state: &'static str,
    /// The socket's inode, 0 when no process has it.
    pub inode: u64,
}

/// A row's protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// TCP over either family.
    Tcp,
    /// UDP over either family.
    Udp,
}

/// The processes that have a socket open, by a look into every /proc/PID/fd: what a test compares
/// the tracer's answer with.
pub fn processes_of(inode: u64) -> Result<Vec<u32>> {
    let link = PathBuf::from(format!("socket:[{inode}]"));
    let mut processes = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        // It may have ended meanwhile, and a descriptor may have been closed.
        let Ok(descriptors) = fs::read_dir(format!("/proc/{pid}/fd")) else {
            continue;
        };
        let mut links = descriptors.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
        if links.any(|target| target == link) {
            processes.push(pid);
        }
    }
    Ok(processes)
}

/// Parses the four files, each under a line `# name`.
pub(crate) fn parse(text: &str) -> Result<Vec<Row>> {
    let mut transport = Transport::Tcp;
    let mut rows = Vec::new();
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("# ") {
            transport = if name.starts_with("udp") {
                Transport::Udp
            } else {
                Transport::Tcp
            };
        } else if !line.trim_start().starts_with("sl") {
            let row = row(transport, line).with_context(|| format!("/proc/net line `{line}`"))?;
            rows.push(row);
        }
    }
    Ok(rows)
}

fn row(transport: Transport, line: &str) -> Result<Row> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let field = |index: usize| fields.get(index).copied().context("too few fields");
    Ok(Row {
        transport,
        local: address(field(1)?)?,
        peer: address(field(2)?)?,
        state: state(transport, field(3)?),
        inode: field(9)?.parse()?,
    })
}

fn address(text: &str) -> Result<SocketAddr> {
    let (ip, port) = text.split_once(':').context("no colon")?;
    let port = u16::from_str_radix(port, 16)?;
    // Each 32-bit word is printed as the host's number.
    let mut bytes = Vec::new();
    for start in (0..ip.len()).step_by(8) {
        let word = ip.get(start..start + 8).context("odd address")?;
        bytes.extend(u32::from_str_radix(word, 16)?.to_ne_bytes());
    }
    let ip = if let Ok(four) = <[u8; 4]>::try_from(bytes.as_slice()) {
        IpAddr::V4(Ipv4Addr::from(four))
    } else {
        let sixteen = <[u8; 16]>::try_from(bytes.as_slice()).context("odd address")?;
        IpAddr::V6(Ipv6Addr::from(sixteen)).to_canonical()
    };
    Ok(SocketAddr::new(ip, port))
}

fn state(transport: Transport, code: &str) -> &'static str {
    match (transport, code) {
        (_, "01") => "established",
        (Transport::Udp, "07") => "unconnected",
        (Transport::Tcp, "02") => "syn_sent",
        (Transport::Tcp, "03") => "syn_recv",
        (Transport::Tcp, "04") => "fin_wait1",
        (Transport::Tcp, "05") => "fin_wait2",
        (Transport::Tcp, "06") => "time_wait",
        (Transport::Tcp, "08") => "close_wait",
        (Transport::Tcp, "09") => "last_ack",
        (Transport::Tcp, "0A") => "listen",
        (Transport::Tcp, "0B") => "closing",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_families_are_read() -> Result<()> {
        let text = "# tcp\n  sl  local_address rem_address   st ...\n   \
            0: 010A0A0A:EA61 020A0A0A:1AB4 01 00000000:00000000 00:00000000 00000000     0        0 71234 1\n\
            # udp6\n  sl  local_address ...\n  \
            1: 00000000000000000000000001000000:0035 00000000000000000000000000000000:0000 07 0:0 0:0 0 0 0 5 2\n";
        let rows = parse(text)?;
        assert_eq!(rows.len(), 2);
        assert_eq!(rows[0].local, "10.10.10.1:60001".parse()?);
        assert_eq!(rows[0].peer, "10.10.10.2:6836".parse()?);
        assert_eq!((rows[0].state, rows[0].inode), ("established", 71234));
        assert_eq!(rows[1].local, "[::1]:53".parse()?);
        assert_eq!(rows[1].state, "unconnected");
        Ok(())
    }
}
