//! What stands still in a block: the fields of a part as they were last, so that only what changes
//! is read.
//!
//! Most fields of most sockets are those of the socket before them. A field whose column goes on
//! with many zeros sleeps for so long.

use super::layout::Code;
use super::plan::Part;
use super::streams::Column;

/// Zeros from which on a field sleeps.
const NAP: usize = 32;

/// A part of one layout.
#[derive(Debug, Default)]
pub(super) struct Still {
    /// The bytes of the part, as they were last; at first 0.
    pub(super) bytes: Vec<u8>,
    /// Numbers of the steps that are to be read.
    pub(super) awake: Vec<u16>,
    asleep: Vec<Sleeper>,
    /// Parts read so far, and the number at which the next field wakes.
    count: usize,
    wake: usize,
}

#[derive(Clone, Copy, Debug)]
struct Sleeper {
    step: u16,
    wake: usize,
    /// Zeros that it sleeps through.
    zeros: usize,
}

impl Still {
    /// A block begins.
    pub(super) fn begin(&mut self, part: &Part) {
        self.bytes.clear();
        self.bytes.resize(part.len, 0);
        self.awake.clear();
        self.awake.extend((0..).take(part.steps.len()));
        self.asleep.clear();
        (self.count, self.wake) = (0, usize::MAX);
    }

    /// One more part is read: who has slept enough is awake.
    #[inline]
    pub(super) fn next(&mut self, part: &Part, columns: &mut [Column]) -> &mut Self {
        if self.count == self.wake {
            self.rouse(part, columns);
        }
        self.count += 1;
        self
    }

    fn rouse(&mut self, part: &Part, columns: &mut [Column]) {
        let now = self.count;
        for sleeper in self.asleep.extract_if(.., |sleeper| sleeper.wake == now) {
            columns[part.steps[usize::from(sleeper.step)].column]
                .left
                .at += sleeper.zeros;
            self.awake.push(sleeper.step);
        }
        self.awake.sort_unstable();
        self.wake = self.next_wake();
    }

    /// Lets those sleep whose columns go on with zeros.
    #[cold]
    pub(super) fn lull(&mut self, part: &Part, columns: &[Column], payload: &[u8]) {
        let (now, asleep) = (self.count, &mut self.asleep);
        self.awake.retain(|&step| {
            let known = &part.steps[usize::from(step)];
            let column = columns[known.column].left;
            let ahead = payload.get(column.at..column.end).unwrap_or_default();
            if known.code != Code::Last || !naps(ahead) {
                return true;
            }
            let zeros = zeros(ahead);
            let wake = now + zeros;
            asleep.push(Sleeper { step, wake, zeros });
            false
        });
        self.wake = self.next_wake();
    }

    fn next_wake(&self) -> usize {
        let wakes = self.asleep.iter().map(|sleeper| sleeper.wake);
        wakes.min().unwrap_or(usize::MAX)
    }
}

/// Whether a column that goes on like this may sleep.
#[inline]
pub(super) fn naps(ahead: &[u8]) -> bool {
    ahead.starts_with(&[0; NAP])
}

/// How many zeros are ahead.
fn zeros(ahead: &[u8]) -> usize {
    let (whole, _) = ahead.as_chunks::<NAP>();
    let whole = whole.iter().take_while(|chunk| **chunk == [0; NAP]).count() * NAP;
    let rest = ahead.get(whole..).unwrap_or_default();
    whole + rest.iter().take_while(|byte| **byte == 0).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_are_counted_to_the_last() {
        for length in [0, 1, 31, 32, 33, 64, 100] {
            let mut bytes = vec![0; length];
            assert_eq!((zeros(&bytes), naps(&bytes)), (length, length >= NAP));
            bytes.extend([1, 0, 0]);
            assert_eq!(zeros(&bytes), length);
        }
    }
}
