//! Whether it is worth while to look for the sockets of records among those that a block has.
//!
//! A connection that lives for less than a few thousand records is found when it ends, which saves
//! its bytes. Where they live for longer, nearly none is, and looking costs a tenth of the packing.

/// Sockets that are looked for before that is judged.
const TRIAL: u32 = 512;

/// Of which at least one of so many has to be found.
const ENOUGH: u32 = 16;

/// Sockets that are not looked for where it is not worth while, before it is tried again.
const PAUSE: u32 = 7 * TRIAL;

/// The judgement, and what it rests on.
#[derive(Clone, Debug, Default)]
pub(super) struct Seek {
    tried: u32,
    found: u32,
    pause: u32,
}

impl Seek {
    /// Whether the next one is to be looked for.
    #[inline]
    pub(super) fn now(&mut self) -> bool {
        let now = self.pause == 0;
        self.pause = self.pause.saturating_sub(1);
        now
    }

    /// What became of one that was looked for.
    #[inline]
    pub(super) fn found(&mut self, it_was: bool) {
        self.tried += 1;
        self.found += u32::from(it_was);
        if self.tried == TRIAL {
            let worth = self.found * ENOUGH >= TRIAL;
            *self = Self {
                pause: if worth { 0 } else { PAUSE },
                ..Self::default()
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of so many sockets, how many are looked for, where one of `each` is found.
    fn sought(of: u32, each: u32) -> usize {
        let mut seek = Seek::default();
        let look = |n: &u32| {
            let now = seek.now();
            if now {
                seek.found(n.is_multiple_of(each));
            }
            now
        };
        (0..of).filter(look).count()
    }

    #[test]
    fn it_goes_on_as_long_as_some_are_found() {
        assert_eq!(sought(100_000, 2), 100_000);
        assert_eq!(sought(100_000, ENOUGH), 100_000);
        let few = sought(100_000, 100);
        assert!((11_000..14_000).contains(&few), "{few}");
    }
}
