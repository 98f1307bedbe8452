//! Keys of the map WATCHED. A plain number is the cookie of a holder's socket: cookies are counted
//! up from 1 (lib/gen_cookie), so they never come near the two highest bits.

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

/// The key is one of [`wanted`]'s or [`destination`]'s for this process.
#[must_use]
pub const fn is_wanted_by(key: u64, tgid: u32) -> bool {
    (key >> 62 == 1 || key >> 61 == 1) && key & 0xffff_ffff == tgid as u64
}
