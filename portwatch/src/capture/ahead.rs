//! The records that come next in a block, with the numbers of their contexts and sockets.
//!
//! The contexts lie anywhere in megabytes. Touched for several records at once they are brought near
//! at once; each in its turn would wait for its own.

use super::contexts::Patterns;
use super::pack::{NUMBERS, RECORD};
use super::plan::Plan;
use super::streams::{Streams, Wrong};
use crate::decode::Traffic;

/// Records that are looked at together.
const AHEAD: usize = 16;

/// One of them.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Next {
    pub(super) layout: usize,
    pub(super) new_context: bool,
    pub(super) new_socket: bool,
    /// Numbers of those that are not new; 0 where the layout has none.
    pub(super) context: usize,
    pub(super) socket: usize,
    /// What it is, if its context tells: then nothing else of it is needed.
    pub(super) traffic: Option<Traffic>,
}

/// Those that are known and were not taken yet.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    records: [Next; AHEAD],
    at: usize,
    end: usize,
}

impl Ahead {
    pub(super) fn clear(&mut self) {
        (self.at, self.end) = (0, 0);
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.at == self.end
    }

    /// The next one.
    #[inline]
    pub(super) fn take(&mut self) -> Option<Next> {
        let next = self.records.get(self.at).filter(|_| self.at < self.end)?;
        self.at += 1;
        Some(*next)
    }

    /// Looks at the records that come next, up to the first other operation. One that is wrong is
    /// told when it is the next.
    pub(super) fn look(
        &mut self,
        streams: &mut Streams,
        plans: &[Plan],
        contexts: &Patterns,
    ) -> Result<(), Wrong> {
        self.clear();
        for place in &mut self.records {
            let Some(op @ RECORD..) = streams.peek() else {
                break;
            };
            let mark = streams.mark(NUMBERS);
            match next(op, streams, plans, contexts) {
                Ok(next) => {
                    streams.op();
                    self.end += 1;
                    *place = next;
                }
                Err(wrong) if self.end == 0 => return Err(wrong),
                Err(_) => {
                    streams.back(NUMBERS, mark);
                    break;
                }
            }
        }
        // By itself: the shorter this is, the more of them are on their way together.
        let mut touched = 0;
        let records = self.records.iter().take(self.end);
        for next in records.filter(|next| next.traffic.is_none()) {
            touched ^= contexts.touch(next.context);
        }
        std::hint::black_box(touched);
        Ok(())
    }
}

#[inline]
fn next(op: u8, streams: &mut Streams, plans: &[Plan], contexts: &Patterns) -> Result<Next, Wrong> {
    let op = usize::from(op - RECORD);
    let layout = op / 4;
    let plan = plans.get(layout).ok_or(Wrong::Layout)?;
    let (new_context, new_socket) = (op & 2 != 0, op & 1 != 0);
    let mut next = Next {
        layout,
        new_context,
        new_socket,
        ..Next::default()
    };
    if !new_context && plan.context.len > 0 {
        next.context = streams.index(NUMBERS)?;
        next.traffic = contexts.told(next.context, layout);
    }
    if !new_socket && plan.socket.len > 0 {
        next.socket = streams.index(NUMBERS)?;
    }
    Ok(next)
}
