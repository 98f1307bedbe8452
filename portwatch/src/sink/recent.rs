//! What is remembered of open incidents, bounded: an incident whose end was lost must not stay for
//! ever.

use std::collections::{HashMap, VecDeque};

/// Incidents that are remembered at once.
pub const INCIDENTS: usize = 65_536;

/// A map from an incident's id that forgets the oldest entry when it is full.
#[derive(Debug)]
pub struct Recent<V> {
    limit: usize,
    entries: HashMap<String, (u64, V)>,
    /// Ids in order of their first insertion, each with its number: a removed id leaves a stale one.
    order: VecDeque<(u64, String)>,
    next: u64,
}

impl<V> Recent<V> {
    /// Remembers at most `limit` (at least 1) entries.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            limit: limit.max(1),
            entries: HashMap::new(),
            order: VecDeque::new(),
            next: 0,
        }
    }

    /// The entry of `id`.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<&V> {
        self.entries.get(id).map(|(_, value)| value)
    }

    /// Puts `value` at `id` and gives back what had to be forgotten for it.
    pub fn insert(&mut self, id: &str, value: V) -> Option<V> {
        if let Some((_, old)) = self.entries.get_mut(id) {
            *old = value;
            return None;
        }
        let forgotten = if self.entries.len() >= self.limit {
            self.forget_oldest()
        } else {
            None
        };
        self.order.push_back((self.next, id.to_owned()));
        self.entries.insert(id.to_owned(), (self.next, value));
        self.next += 1;
        if self.order.len() > 2 * self.limit {
            let entries = &self.entries;
            self.order
                .retain(|(number, id)| entries.get(id).is_some_and(|(n, _)| n == number));
        }
        forgotten
    }

    /// Takes the entry of `id` out.
    pub fn remove(&mut self, id: &str) -> Option<V> {
        self.entries.remove(id).map(|(_, value)| value)
    }

    /// Every entry, in no order.
    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.entries.values().map(|(_, value)| value)
    }

    fn forget_oldest(&mut self) -> Option<V> {
        while let Some((number, id)) = self.order.pop_front() {
            if self.entries.get(&id).is_some_and(|(n, _)| *n == number) {
                return self.remove(&id);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_is_forgotten() {
        let mut recent = Recent::new(2);
        assert_eq!(recent.insert("a", 1), None);
        assert_eq!(recent.insert("b", 2), None);
        assert_eq!(recent.insert("a", 3), None);
        assert_eq!(recent.insert("c", 4), Some(3));
        assert_eq!(
            (recent.get("a"), recent.get("b"), recent.get("c")),
            (None, Some(&2), Some(&4))
        );
    }

    #[test]
    fn an_id_that_came_back_is_young() {
        let mut recent = Recent::new(2);
        recent.insert("a", 1);
        recent.insert("b", 2);
        recent.remove("a");
        recent.insert("a", 3);
        assert_eq!(recent.insert("c", 4), Some(2));
        assert_eq!(recent.get("a"), Some(&3));
    }

    #[test]
    fn stale_ids_do_not_pile_up() {
        let mut recent = Recent::new(4);
        for n in 0..1000 {
            recent.insert(&n.to_string(), n);
            recent.remove(&n.to_string());
        }
        assert!(recent.order.len() <= 8);
        assert_eq!(recent.values().count(), 0);
    }
}
