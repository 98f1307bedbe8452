//! What waits to be written: bounded in bytes, with an order of what goes first when it is full.

use super::super::line::{Class, Line};
use super::super::outlet::Loss;
use std::collections::VecDeque;
use std::io::Write;

/// Bytes that essential lines (start, lost, summary) may take beyond the capacity.
const RESERVE: usize = 1 << 20;

/// Bytes that are handed to the writer at once: what it has in hand can no longer give way.
const BATCH: usize = 64 << 10;

/// One thing for the writer to do.
pub(super) enum Item {
    Line(Line),
    /// Go on in another file.
    Replace(Box<dyn Write + Send>),
}

pub(super) struct Backlog {
    items: VecDeque<Item>,
    capacity: usize,
    bytes: usize,
    /// Waiting lines per class, in the order of [`Class`].
    waiting: [usize; 4],
    /// Lines that tell of the untold losses.
    notice: Vec<Line>,
    loss: Loss,
}

impl Backlog {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            items: VecDeque::new(),
            capacity,
            bytes: 0,
            waiting: [0; 4],
            notice: Vec::new(),
            loss: Loss::default(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty() && self.notice.is_empty()
    }

    /// Lines that wait.
    pub(super) fn len(&self) -> usize {
        self.items.len() + self.notice.len()
    }

    pub(super) fn loss(&self) -> Loss {
        self.loss
    }

    /// Takes `line`, or drops it or others; true if something was dropped.
    pub(super) fn push(&mut self, line: Line) -> bool {
        let reserve = if line.class == Class::Essential {
            RESERVE
        } else {
            0
        };
        let limit = self.capacity + reserve;
        let mut dropped = false;
        while self.bytes + line.size() > limit && self.give_way(line.class) {
            dropped = true;
        }
        if self.bytes + line.size() > limit {
            self.count(line.class);
            return true;
        }
        self.bytes += line.size();
        self.waiting[line.class as usize] += 1;
        self.items.push_back(Item::Line(line));
        dropped
    }

    /// The lines that tell of every untold loss, instead of those that are there for it.
    pub(super) fn tell(&mut self, lines: Vec<Line>) {
        self.notice = lines;
    }

    pub(super) fn replace(&mut self, data: Box<dyn Write + Send>) {
        self.items.push_back(Item::Replace(data));
    }

    /// The next items in order, the notice of losses first: those are told from now on.
    pub(super) fn take(&mut self) -> Vec<Item> {
        let mut batch = Vec::new();
        if !self.notice.is_empty() {
            batch.extend(self.notice.drain(..).map(Item::Line));
            self.loss.untold = 0;
            self.loss.untold_verdicts = 0;
        }
        let mut bytes = 0;
        while bytes < BATCH
            && let Some(item) = self.items.pop_front()
        {
            if let Item::Line(line) = &item {
                bytes += line.size();
                self.waiting[line.class as usize] -= 1;
            }
            batch.push(item);
        }
        self.bytes -= bytes;
        batch
    }

    pub(super) fn clear(&mut self) {
        *self = Self {
            loss: self.loss,
            ..Self::new(self.capacity)
        };
    }

    /// Drops the oldest line of the lowest class below `class`; false if there is none.
    fn give_way(&mut self, class: Class) -> bool {
        let Some(lowest) = (0..class as usize).find(|&class| self.waiting[class] > 0) else {
            return false;
        };
        let is_lowest =
            |item: &Item| matches!(item, Item::Line(line) if line.class as usize == lowest);
        let Some(Item::Line(line)) = self
            .items
            .iter()
            .position(is_lowest)
            .and_then(|at| self.items.remove(at))
        else {
            return false;
        };
        self.bytes -= line.size();
        self.waiting[lowest] -= 1;
        self.count(line.class);
        true
    }

    fn count(&mut self, class: Class) {
        self.loss.untold += 1;
        self.loss.total += 1;
        self.loss.untold_verdicts += u64::from(class == Class::Verdict);
    }
}
