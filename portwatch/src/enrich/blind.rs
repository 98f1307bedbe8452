//! A failure that the kernel side told blindly, completed by what can be asked afterwards.

use super::facts::Facts;
use crate::decode::DecodeError;
use crate::decode::blind::{Blind, failing, socket};
use crate::decode::event::{Call, EphemeralRange, Failure, Holder, Walk};

/// The failure with the sockets that have its port now. `walk.made` stays false: nothing of it was
/// read from the kernel's own table, and `correlate` proves nothing by it.
///
/// # Errors
/// None that a decoded record leads to.
pub fn failure(blind: Blind, facts: &mut dyn Facts) -> Result<Failure, DecodeError> {
    let mut own = failing(&blind)?;
    // No transport: no socket is of the same table, whatever it is.
    own.protocol = blind.protocol.unwrap_or_default();
    let told = facts
        .port(
            blind.netns,
            blind.task.tgid,
            blind.protocol,
            blind.wanted.port,
        )
        .unwrap_or_default();
    let mut holders = Vec::new();
    for seen in &told.sockets {
        holders.push(Holder {
            socket: socket(seen)?,
            owner: None,
            l3mdev: 0,
            connect_only_bucket: false,
            bound_bucket: false,
            accepted_at: None,
            kernel_function: None,
            older: false,
        });
    }
    let (low, high) = told.range.unwrap_or_default();
    Ok(Failure {
        time: blind.time,
        call: Call::Bind,
        errno: blind.errno,
        task: blind.task,
        socket: own,
        wanted: blind.wanted,
        netns: blind.netns,
        netns_cookie: blind.netns_cookie,
        range: EphemeralRange {
            low,
            high,
            of_socket: false,
            reserved: None,
        },
        walk: Walk {
            made: false,
            total: told.total,
            skipped: 0,
            lost: 0,
            truncated: false,
            buckets: 0,
        },
        holders,
    })
}
