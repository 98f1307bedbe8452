//! A layout made ready for use: the steps of each home, and where their bytes lie.

use super::layout::{Code, Home, Layout};
use crate::decode::looked_at;
use std::ops::Range;

/// Bytes between two ranges that are copied along with them.
const LITTLE: usize = 64;

/// One field.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    pub(super) offset: usize,
    pub(super) width: usize,
    /// Its offset among the bytes of its part alone.
    pub(super) packed: usize,
    pub(super) code: Code,
    /// Offset and width of the other field of [`Code::Like`].
    pub(super) like: (usize, usize),
    /// Its column among those of all layouts.
    pub(super) column: usize,
}

/// The fields of one home.
#[derive(Clone, Debug, Default)]
pub(super) struct Part {
    /// Its number among those of all layouts.
    pub(super) number: usize,
    pub(super) steps: Vec<Step>,
    /// The bytes of these fields, neighbours joined.
    pub(super) ranges: Vec<Range<usize>>,
    /// The same with what lies between where that is little.
    pub(super) spans: Vec<Range<usize>>,
    /// How many bytes.
    pub(super) len: usize,
    /// No field needs anything but its own column.
    pub(super) plain: bool,
    /// The columns of the fields that set the clock.
    pub(super) clocks: Vec<usize>,
}

impl Part {
    /// Copies this part's bytes out of a record.
    #[inline]
    pub(super) fn gather(&self, record: &[u8], out: &mut Vec<u8>) {
        for range in &self.ranges {
            out.extend_from_slice(&record[range.clone()]);
        }
    }

    /// Copies this part's bytes into a record.
    #[inline]
    pub(super) fn scatter(&self, mut bytes: &[u8], record: &mut [u8]) {
        for range in &self.ranges {
            let (head, rest) = bytes.split_at(range.len());
            record[range.clone()].copy_from_slice(head);
            bytes = rest;
        }
    }
}

/// A layout made ready.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) kind: u16,
    pub(super) size: usize,
    pub(super) context: Part,
    pub(super) socket: Part,
    pub(super) own: Part,
    /// What [`crate::decode::traffic`] says of a record is a matter of its context alone, and its
    /// socket can be kept without it.
    pub(super) told_by_context: bool,
}

impl Plan {
    pub(super) fn parts(&self) -> [&Part; 3] {
        [&self.context, &self.socket, &self.own]
    }

    fn parts_mut(&mut self) -> [&mut Part; 3] {
        [&mut self.context, &mut self.socket, &mut self.own]
    }
}

/// The plans of sound layouts, in their order, and how many columns they have together.
pub(super) fn plans(layouts: &[Layout]) -> (Vec<Plan>, usize) {
    let mut columns = 0;
    let mut plans: Vec<Plan> = layouts
        .iter()
        .map(|layout| plan(layout, &mut columns))
        .collect();
    let parts = plans.iter_mut().flat_map(Plan::parts_mut);
    for (number, part) in parts.enumerate() {
        part.number = number;
    }
    (plans, columns)
}

fn plan(layout: &Layout, columns: &mut usize) -> Plan {
    let mut places = Vec::new();
    let mut end = 0;
    for field in &layout.fields {
        let width = field.width().unwrap_or(1);
        places.push((end, width));
        end += width;
    }
    let mut plan = Plan {
        kind: layout.kind,
        size: usize::from(layout.size),
        context: Part::default(),
        socket: Part::default(),
        own: Part::default(),
        told_by_context: false,
    };
    for (field, &(offset, width)) in layout.fields.iter().zip(&places) {
        let code = field.code().unwrap_or(Code::Raw);
        let like = match code {
            Code::Like(other) => places.get(usize::from(other)).copied().unwrap_or((0, 1)),
            Code::Raw | Code::Last | Code::Time | Code::Clock | Code::Born => (0, 1),
        };
        let part = match field.home().unwrap_or(Home::Own) {
            Home::Own => &mut plan.own,
            Home::Context => &mut plan.context,
            Home::Socket => &mut plan.socket,
        };
        if code == Code::Time {
            part.clocks.push(*columns);
        }
        part.steps.push(Step {
            offset,
            width,
            packed: part.len,
            code,
            like,
            column: *columns,
        });
        part.len += width;
        match part.ranges.last_mut() {
            Some(last) if last.end == offset => last.end += width,
            Some(_) | None => part.ranges.push(offset..offset + width),
        }
        *columns += 1;
    }
    for part in plan.parts_mut() {
        let plain = |step: &Step| matches!(step.code, Code::Raw | Code::Last);
        part.plain = part.steps.iter().all(plain);
        for range in &part.ranges {
            match part.spans.last_mut() {
                Some(last) if range.start - last.end <= LITTLE => last.end = range.end,
                Some(_) | None => part.spans.push(range.clone()),
            }
        }
    }
    let told = looked_at(layout.kind).is_some_and(|places| {
        let in_context = |place: &Range<usize>| {
            let ranges = &plan.context.ranges;
            ranges
                .iter()
                .any(|range| range.start <= place.start && place.end <= range.end)
        };
        places.iter().all(in_context)
    });
    plan.told_by_context = told && plan.socket.plain;
    plan
}

/// The little-endian number of `W` bytes at `offset`; 0 where the bytes end before.
#[inline]
pub(super) fn get<const W: usize>(record: &[u8], offset: usize) -> u64 {
    let mut wide = [0; 8];
    if let Some(bytes) = record.get(offset..offset + W) {
        wide[..W].copy_from_slice(bytes);
    }
    u64::from_le_bytes(wide)
}

/// Writes the low `W` bytes of a number.
#[inline]
pub(super) fn set<const W: usize>(record: &mut [u8], offset: usize, value: u64) {
    if let Some(bytes) = record.get_mut(offset..offset + W) {
        bytes.copy_from_slice(&value.to_le_bytes()[..W]);
    }
}

/// Writes the number of 1, 2, 4 or 8 bytes at `offset`.
#[inline]
pub(super) fn put_number(record: &mut [u8], offset: usize, width: usize, value: u64) {
    match width {
        1 => set::<1>(record, offset, value),
        2 => set::<2>(record, offset, value),
        4 => set::<4>(record, offset, value),
        _ => set::<8>(record, offset, value),
    }
}

/// The number of 1, 2, 4 or 8 bytes at `offset`. Each width by itself: a copy of a known length is
/// one instruction.
#[inline]
pub(super) fn number(record: &[u8], offset: usize, width: usize) -> u64 {
    match width {
        1 => get::<1>(record, offset),
        2 => get::<2>(record, offset),
        4 => get::<4>(record, offset),
        _ => get::<8>(record, offset),
    }
}
