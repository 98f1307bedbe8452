//! Keys of the map WATCHED. A plain number is the cookie of a holder's socket: cookies are counted
//! up from 1 (lib/gen_cookie), so they never come near the three highest bits.

/// A process, whatever it binds.
#[must_use]
pub const fn process(tgid: u32) -> u64 {
    1 << 63 | tgid as u64
}

/// A process and a port that it wanted.
#[must_use]
pub const fn wanted(tgid: u32, port: u16) -> u64 {
    1 << 62 | (port as u64) << 32 | tgid as u64
}

/// A process and where it could not connect to: 29 bits of a hash of the peer's address (IPv4 alone
/// in the second word) and port (network order). Two destinations of one hash only cost a needless
/// record.
#[must_use]
pub const fn destination(tgid: u32, peer: [u64; 2], port_be: u16) -> u64 {
    let mixed = peer[0] ^ peer[1].rotate_left(23) ^ (port_be as u64) << 13;
    // The multiplier of Fibonacci hashing: its high bits depend on all of the input.
    let hash = mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 35;
    1 << 61 | hash << 32 | tgid as u64
}

/// The process of a key of [`process`]'s, [`wanted`]'s or [`destination`]'s.
#[must_use]
pub const fn of_process(key: u64) -> Option<u32> {
    match key >> 61 {
        0 => None,
        _ => Some((key & 0xffff_ffff) as u32),
    }
}
