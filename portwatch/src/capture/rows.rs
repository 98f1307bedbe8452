//! Records of one layout that wait until there are enough of them: a column is filled with many
//! values at once, which takes a fraction of the time that one value in each of many columns takes.

/// As many as wait.
pub(super) const BATCH: usize = 64;

/// The records, word by word.
#[derive(Debug)]
pub(super) struct Rows {
    /// By word of a record: those of all.
    words: Vec<[u64; BATCH]>,
    /// The block's clock before each.
    before: [u64; BATCH],
    /// The time of each.
    at: [u64; BATCH],
    /// The time of the record that brought its socket.
    born: [u64; BATCH],
    count: usize,
    /// Those whose context is new.
    pub(super) contexts: Chosen,
    /// Those whose socket is new.
    pub(super) sockets: Chosen,
}

/// Times of a record.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    pub(super) before: u64,
    pub(super) at: u64,
    pub(super) born: u64,
}

/// Which of them.
#[derive(Debug)]
pub(super) struct Chosen {
    rows: [u8; BATCH],
    count: usize,
}

impl Chosen {
    fn none() -> Self {
        Self {
            rows: [0; BATCH],
            count: 0,
        }
    }

    #[inline]
    fn push(&mut self, row: usize) {
        if let Some(place) = self.rows.get_mut(self.count) {
            *place = u8::try_from(row).unwrap_or(u8::MAX);
            self.count += 1;
        }
    }
}

impl Rows {
    /// For records of so many words.
    pub(super) fn new(words: usize) -> Self {
        Self {
            words: vec![[0; BATCH]; words],
            before: [0; BATCH],
            at: [0; BATCH],
            born: [0; BATCH],
            count: 0,
            contexts: Chosen::none(),
            sockets: Chosen::none(),
        }
    }

    pub(super) fn clear(&mut self) {
        self.count = 0;
        self.contexts.count = 0;
        self.sockets.count = 0;
    }

    /// One more, whose context and socket are new or not. True if no other has room.
    #[inline]
    pub(super) fn push(&mut self, record: &[[u8; 8]], times: Times, new: [bool; 2]) -> bool {
        let row = self.count;
        for (column, word) in self.words.iter_mut().zip(record) {
            if let Some(place) = column.get_mut(row) {
                *place = u64::from_le_bytes(*word);
            }
        }
        for (column, time) in [
            (&mut self.before, times.before),
            (&mut self.at, times.at),
            (&mut self.born, times.born),
        ] {
            if let Some(place) = column.get_mut(row) {
                *place = time;
            }
        }
        let [context, socket] = new;
        if context {
            self.contexts.push(row);
        }
        if socket {
            self.sockets.push(row);
        }
        self.count += 1;
        self.count >= BATCH
    }

    /// Bytes of what waits.
    pub(super) fn size(&self) -> usize {
        self.count * self.words.len() * 8
    }

    pub(super) fn all(&self) -> Sight<'_> {
        Sight {
            rows: self,
            chosen: None,
            count: self.count,
        }
    }

    pub(super) fn some<'a>(&'a self, chosen: &'a Chosen) -> Sight<'a> {
        let all = chosen.count == self.count;
        Sight {
            rows: self,
            chosen: (!all).then_some(chosen),
            count: chosen.count,
        }
    }
}

/// Some of the records, or all.
#[derive(Clone, Copy)]
pub(super) struct Sight<'a> {
    rows: &'a Rows,
    chosen: Option<&'a Chosen>,
    pub(super) count: usize,
}

impl Sight<'_> {
    /// This word of each.
    #[inline]
    pub(super) fn word<'a>(&'a self, word: usize, room: &'a mut [u64; BATCH]) -> &'a [u64] {
        match self.rows.words.get(word) {
            Some(column) => self.of(column, room),
            None => &[],
        }
    }

    pub(super) fn before<'a>(&'a self, room: &'a mut [u64; BATCH]) -> &'a [u64] {
        self.of(&self.rows.before, room)
    }

    pub(super) fn at<'a>(&'a self, room: &'a mut [u64; BATCH]) -> &'a [u64] {
        self.of(&self.rows.at, room)
    }

    pub(super) fn born<'a>(&'a self, room: &'a mut [u64; BATCH]) -> &'a [u64] {
        self.of(&self.rows.born, room)
    }

    #[inline]
    fn of<'a>(&self, column: &'a [u64; BATCH], room: &'a mut [u64; BATCH]) -> &'a [u64] {
        if let Some(chosen) = self.chosen {
            for (place, row) in room.iter_mut().zip(&chosen.rows).take(self.count) {
                *place = column.get(usize::from(*row)).copied().unwrap_or(0);
            }
            return room.get(..self.count).unwrap_or_default();
        }
        column.get(..self.count).unwrap_or_default()
    }
}
