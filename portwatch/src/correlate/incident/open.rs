//! The open incidents, and what is looked for among them at every failure: where failures storm,
//! there are many.

use super::MAX_OPEN;
use super::one::Incident;
use crate::correlate::verdict::Verdict;
use crate::decode::event::{Failure, Ktime, Tgid};
use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};

/// Open incidents in the order in which they were opened.
#[derive(Debug, Default)]
pub(super) struct Open {
    places: Vec<Place>,
    /// By cookie: how many of them wait for the socket.
    waiting: HashMap<u64, usize>,
}

/// An incident, and what is compared first: the incident itself lies elsewhere.
#[derive(Debug)]
struct Place {
    tgid: Tgid,
    last: Ktime,
    incident: Box<Incident>,
}

impl Open {
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Incident> {
        self.places.iter().map(|place| &*place.incident)
    }

    /// To be changed, but neither their sockets nor their last tries.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Incident> {
        self.places.iter_mut().map(|place| &mut *place.incident)
    }

    /// The first incident of a process that `is` the one.
    pub(super) fn position(&self, tgid: Tgid, is: impl Fn(&Incident) -> bool) -> Option<usize> {
        let found = |place: &Place| place.tgid == tgid && is(&place.incident);
        self.places.iter().position(found)
    }

    /// Whether a process has an incident.
    pub(super) fn has(&self, tgid: Tgid) -> bool {
        self.places.iter().any(|place| place.tgid == tgid)
    }

    /// Whether an incident waits for a socket.
    pub(super) fn waits_for(&self, cookie: u64) -> bool {
        self.waiting.contains_key(&cookie)
    }

    /// One that has no try yet; its number.
    pub(super) fn push(&mut self, incident: Incident) -> usize {
        self.places.push(Place {
            tgid: incident.key.tgid,
            last: incident.last,
            incident: Box::new(incident),
        });
        self.places.len() - 1
    }

    /// Counts a try of the incident with this number. Returns it, and the sockets that have left the
    /// port since its last try.
    pub(super) fn tried(
        &mut self,
        index: usize,
        failure: &Failure,
        verdict: &Verdict,
    ) -> Option<(&Incident, BTreeSet<u64>)> {
        let Self { places, waiting } = self;
        let place = places.get_mut(index)?;
        forget(waiting, &place.incident.cookies);
        let left = place.incident.tried(failure, verdict);
        for cookie in &place.incident.cookies {
            *waiting.entry(*cookie).or_default() += 1;
        }
        place.last = place.incident.last;
        Some((&place.incident, left))
    }

    /// Takes out those that `is` names.
    pub(super) fn extract(&mut self, is: impl Fn(&Incident) -> bool) -> Vec<Incident> {
        let Self { places, waiting } = self;
        places
            .extract_if(.., |place| is(&place.incident))
            .map(|place| {
                forget(waiting, &place.incident.cookies);
                *place.incident
            })
            .collect()
    }

    /// Takes out the one whose last try is the oldest, if there is no room for one more.
    pub(super) fn make_room(&mut self) -> Option<Incident> {
        if self.places.len() < MAX_OPEN {
            return None;
        }
        let last = |index: &usize| self.places.get(*index).map(|place| place.last);
        let oldest = (0..self.places.len()).min_by_key(last)?;
        let place = self.places.remove(oldest);
        forget(&mut self.waiting, &place.incident.cookies);
        Some(*place.incident)
    }
}

/// One incident less waits for these sockets.
fn forget(waiting: &mut HashMap<u64, usize>, cookies: &BTreeSet<u64>) {
    for cookie in cookies {
        if let Entry::Occupied(mut count) = waiting.entry(*cookie) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}
