//! Rows of a track: things that overlap in time stand in different lanes.

use std::collections::BTreeSet;

/// The lanes of one track; each remembers until when it is taken.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    taken: BTreeSet<(i64, u32)>,
}

impl Lanes {
    /// A lane that is free from `since` on, and whether it is new; it is taken until `until` then.
    /// Of those that are free the one that was last in use. What ends first comes first.
    pub(super) fn place(&mut self, since: i64, until: i64) -> (u32, bool) {
        let free = self.taken.range(..=(since, u32::MAX)).next_back().copied();
        let lane = match free {
            Some(entry) => {
                self.taken.remove(&entry);
                entry.1
            }
            None => u32::try_from(self.taken.len()).unwrap_or(u32::MAX),
        };
        self.taken.insert((until, lane));
        (lane, free.is_none())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_overlaps_gets_a_lane_of_its_own() {
        let mut lanes = Lanes::default();
        assert_eq!(lanes.place(0, 10), (0, true));
        assert_eq!(lanes.place(5, 20), (1, true));
        assert_eq!(lanes.place(10, 30), (0, false));
        assert_eq!(lanes.place(20, 31), (1, false));
        assert_eq!(lanes.place(20, 32), (2, true));
    }
}
