//! The ids of incidents: PORT-TRANSPORT-NETNS-NUMBER, never the same twice in a run.

use crate::decode::event::{NetnsId, Transport};
use std::collections::HashMap;

/// Sequences that are remembered one by one.
const MAX_SEQUENCES: usize = 1 << 16;

/// One sequence of numbers a port, transport and namespace.
#[derive(Debug, Default)]
pub(super) struct Numbers {
    last: HashMap<(Option<u16>, Transport, NetnsId), u64>,
    /// A sequence that is not in `last` goes on after this: the highest number ever forgotten.
    floor: u64,
}

impl Numbers {
    /// The next id of a sequence.
    pub(super) fn next(
        &mut self,
        port: Option<u16>,
        transport: Transport,
        netns: NetnsId,
    ) -> String {
        let key = (port, transport, netns);
        if self.last.len() >= MAX_SEQUENCES && !self.last.contains_key(&key) {
            self.floor = self
                .last
                .values()
                .copied()
                .max()
                .unwrap_or(0)
                .max(self.floor);
            self.last.clear();
        }
        let number = self.last.entry(key).or_insert(self.floor);
        *number += 1;
        let port = port.map_or_else(|| "any".to_owned(), |port| port.to_string());
        let transport = match transport {
            Transport::Tcp => "tcp",
            Transport::Udp => "udp",
        };
        format!("{port}-{transport}-{}-{number}", netns.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_port_counts_for_itself() {
        let mut numbers = Numbers::default();
        let netns = NetnsId(4_026_531_840);
        let mut next = |port| numbers.next(port, Transport::Tcp, netns);
        assert_eq!(next(Some(60001)), "60001-tcp-4026531840-1");
        assert_eq!(next(Some(60001)), "60001-tcp-4026531840-2");
        assert_eq!(next(Some(60002)), "60002-tcp-4026531840-1");
        assert_eq!(next(None), "any-tcp-4026531840-1");
    }

    #[test]
    fn forgetting_sequences_never_repeats_an_id() {
        let mut numbers = Numbers::default();
        let mut seen = std::collections::HashSet::new();
        for round in 0..3 {
            for netns in 0..40_000 {
                let id = numbers.next(Some(1), Transport::Udp, NetnsId(netns));
                assert!(seen.insert(id), "round {round}");
            }
        }
        assert!(numbers.last.len() <= MAX_SEQUENCES);
    }
}
