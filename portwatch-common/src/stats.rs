//! Counters of the kernel side.

/// Index into the per-CPU array STATS (u64 each). Numbers are never reused.
///
/// Conservation, checked by a test: for each ring, triggered = emitted + dropped + filtered.
#[derive(Clone, Copy, Debug)]
pub struct Counter;

impl Counter {
    /// Calls that failed for want of a port.
    pub const FAILURES_TRIGGERED: u32 = 0;
    /// Of these, written to the FAILURES ring.
    pub const FAILURES_EMITTED: u32 = 1;
    /// Of these, lost because the ring was full.
    pub const FAILURES_DROPPED: u32 = 2;
    /// Holders that were to be written.
    pub const HOLDERS_TRIGGERED: u32 = 3;
    /// Of these, written.
    pub const HOLDERS_EMITTED: u32 = 4;
    /// Of these, lost because the ring was full.
    pub const HOLDERS_DROPPED: u32 = 5;
    /// Calls refused for another reason.
    pub const REFUSED_TRIGGERED: u32 = 6;
    /// Of these, written.
    pub const REFUSED_EMITTED: u32 = 7;
    /// Of these, lost because the ring was full.
    pub const REFUSED_DROPPED: u32 = 8;
    /// Of these, nobody asked for.
    pub const REFUSED_FILTERED: u32 = 9;
    /// Ports taken.
    pub const ASSIGN_TRIGGERED: u32 = 10;
    /// Of these, written to the TRAFFIC ring.
    pub const ASSIGN_EMITTED: u32 = 11;
    /// Of these, lost because the ring was full.
    pub const ASSIGN_DROPPED: u32 = 12;
    /// Of these, nobody asked for.
    pub const ASSIGN_FILTERED: u32 = 13;
    /// Sockets with a port closed.
    pub const RELEASE_TRIGGERED: u32 = 14;
    /// Of these, written to the TRAFFIC ring.
    pub const RELEASE_EMITTED: u32 = 15;
    /// Of these, lost because the ring was full.
    pub const RELEASE_DROPPED: u32 = 16;
    /// Of these, nobody asked for.
    pub const RELEASE_FILTERED: u32 = 17;
    /// Ends of incidents (assign, release, exit of watched keys) that were to be written.
    pub const WATCHED_TRIGGERED: u32 = 18;
    /// Of these, written to the FAILURES ring.
    pub const WATCHED_EMITTED: u32 = 19;
    /// Of these, lost because the ring was full.
    pub const WATCHED_DROPPED: u32 = 20;
    /// Entries that did not fit into OWNERS.
    pub const OWNERS_FULL: u32 = 21;
    /// Keys that did not fit into WATCHED.
    pub const WATCHED_FULL: u32 = 22;
    /// Entries moved from OWNERS to PAST; PAST forgets the oldest by itself.
    pub const PAST_WRITTEN: u32 = 23;
    /// Calls whose socket could not be found from the descriptor.
    pub const SOCKET_UNREADABLE: u32 = 24;
    /// Sockets without a cookie when their port was taken: not remembered.
    pub const NO_COOKIE: u32 = 25;
    /// Failed calls in network namespaces that nobody asked for (`--netns`).
    pub const FAILURES_FILTERED: u32 = 26;
    /// How many counters there are.
    pub const COUNT: u32 = 27;
}
