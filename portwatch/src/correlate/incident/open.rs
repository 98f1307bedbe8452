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
    /// Numbers by the time of their last try.
    by_last: BTreeSet<(Ktime, u64)>,
    /// Numbers by process, in order.
    by_process: HashMap<Tgid, Vec<u64>>,
    /// By cookie: how many of them wait for the socket.
    waiting: HashMap<u64, usize>,
    opened: u64,
}

/// An incident and its number: the incident itself lies elsewhere.
#[derive(Debug)]
struct Place {
    number: u64,
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

    /// To be changed, but neither their processes, their sockets nor their last tries.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Incident> {
        self.places.iter_mut().map(|place| &mut *place.incident)
    }

    /// The number of the first incident of a process that `is` the one.
    pub(super) fn find(&self, tgid: Tgid, is: impl Fn(&Incident) -> bool) -> Option<u64> {
        let numbers = self.by_process.get(&tgid)?.iter().copied();
        let place = |number| self.places.get(self.index(number)?);
        let mut places = numbers.filter_map(place);
        let found = places.find(|place| is(&place.incident));
        found.map(|place| place.number)
    }

    /// Whether a process has an incident.
    pub(super) fn has(&self, tgid: Tgid) -> bool {
        self.by_process.contains_key(&tgid)
    }

    /// Whether an incident waits for a socket.
    pub(super) fn waits_for(&self, cookie: u64) -> bool {
        self.waiting.contains_key(&cookie)
    }

    /// One that has no try yet; its number.
    pub(super) fn push(&mut self, incident: Incident) -> u64 {
        let number = self.opened;
        self.opened += 1;
        self.by_last.insert((incident.last, number));
        let numbers = self.by_process.entry(incident.key.tgid).or_default();
        numbers.push(number);
        let incident = Box::new(incident);
        self.places.push(Place { number, incident });
        number
    }

    /// Counts a try of the incident with this number. Returns it, and the sockets that have left the
    /// port since its last try.
    pub(super) fn tried(
        &mut self,
        number: u64,
        failure: &Failure,
        verdict: &Verdict,
    ) -> Option<(&Incident, BTreeSet<u64>)> {
        let index = self.index(number)?;
        let incident = &mut self.places.get_mut(index)?.incident;
        release(&mut self.waiting, &incident.cookies);
        self.by_last.remove(&(incident.last, number));
        let left = incident.tried(failure, verdict);
        self.by_last.insert((incident.last, number));
        for cookie in &incident.cookies {
            *self.waiting.entry(*cookie).or_default() += 1;
        }
        Some((incident, left))
    }

    /// Takes out those that `is` names.
    pub(super) fn extract(&mut self, is: impl Fn(&Incident) -> bool) -> Vec<Incident> {
        let named = |place: &mut Place| is(&place.incident);
        let out: Vec<Place> = self.places.extract_if(.., named).collect();
        out.into_iter().map(|place| self.forget(place)).collect()
    }

    /// Takes out the one whose last try is the oldest, if there is no room for one more.
    pub(super) fn make_room(&mut self) -> Option<Incident> {
        if self.places.len() < MAX_OPEN {
            return None;
        }
        let &(_, oldest) = self.by_last.first()?;
        let place = self.places.remove(self.index(oldest)?);
        Some(self.forget(place))
    }

    /// Where the incident with this number is.
    fn index(&self, number: u64) -> Option<usize> {
        let numbered = |place: &Place| place.number;
        self.places.binary_search_by_key(&number, numbered).ok()
    }

    /// Takes what was taken out of the places out of the rest.
    fn forget(&mut self, place: Place) -> Incident {
        let Place { number, incident } = place;
        release(&mut self.waiting, &incident.cookies);
        self.by_last.remove(&(incident.last, number));
        if let Entry::Occupied(mut numbers) = self.by_process.entry(incident.key.tgid) {
            numbers.get_mut().retain(|one| *one != number);
            if numbers.get().is_empty() {
                numbers.remove();
            }
        }
        *incident
    }
}

/// One incident less waits for these sockets.
fn release(waiting: &mut HashMap<u64, usize>, cookies: &BTreeSet<u64>) {
    for cookie in cookies {
        if let Entry::Occupied(mut count) = waiting.entry(*cookie) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}
