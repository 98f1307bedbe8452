//! A layout made ready for packing: where the fields of its parts lie in the words of a record.

use super::layout::Code;
use super::plan::{Part, Plan, Step};

/// A layout.
#[derive(Debug)]
pub(super) struct Packing {
    /// Bytes of a record.
    pub(super) size: usize,
    pub(super) kind: u16,
    pub(super) context: Cells,
    pub(super) socket: Cells,
    pub(super) own: Cells,
    /// The same for all layouts whose sockets have their bytes at the same places in their words.
    pub(super) shape: u64,
    /// The record's time, to which it sets the clock.
    pub(super) time: Place,
}

/// The fields of one part.
#[derive(Debug)]
pub(super) struct Cells {
    /// Its number among the parts of all layouts.
    pub(super) number: usize,
    /// The words that have something of it, and which bits.
    pub(super) words: Vec<(usize, u64)>,
    /// By word: fields that are the difference to the last.
    pub(super) lasts: Vec<Vec<Cell>>,
    /// Fields that are stored with each record.
    pub(super) always: Vec<(Cell, Base)>,
}

/// A field.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cell {
    pub(super) place: Place,
    pub(super) column: usize,
}

/// What a field that is stored with each record is the difference to.
#[derive(Clone, Copy, Debug)]
pub(super) enum Base {
    /// Nothing: so many bytes.
    Raw(usize),
    /// The clock before the record.
    Before,
    /// The record's own time.
    At,
    Born,
    Like(Place),
}

/// Some bits of a record's word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) word: usize,
    shift: u32,
    mask: u64,
}

impl Place {
    /// `None` where the bytes lie across words.
    fn new(offset: usize, width: usize) -> Option<Self> {
        let from = offset % 8;
        let bits = u32::try_from(8 * width).ok()?;
        (from + width <= 8 && bits > 0).then_some(Self {
            word: offset / 8,
            shift: u32::try_from(8 * from).ok()?,
            mask: u64::MAX >> (64 - bits),
        })
    }

    /// Those bits of that word.
    #[inline]
    pub(super) fn of(self, word: u64) -> u64 {
        (word >> self.shift) & self.mask
    }
}

impl Packing {
    /// `None`: records of this layout are stored as they are. That is so where a field lies across
    /// words, or where more is the difference to a time than the records of any build have had.
    pub(super) fn new(plan: &Plan, shape: u64) -> Option<Self> {
        let [context, socket, own] = plan.parts();
        let clock = own.steps.iter().position(|step| step.code == Code::Time)?;
        let time = own.steps.get(clock)?;
        let packing = Self {
            size: plan.size,
            kind: plan.kind,
            context: Cells::new(context, None)?,
            socket: Cells::new(socket, None)?,
            own: Cells::new(own, Some(clock))?,
            shape,
            time: Place::new(time.offset, time.width)?,
        };
        plan.size.is_multiple_of(8).then_some(packing)
    }
}

impl Cells {
    /// `clock`: which of its fields, if one does, sets the clock.
    fn new(part: &Part, clock: Option<usize>) -> Option<Self> {
        let mut cells = Self {
            number: part.number,
            words: Vec::new(),
            lasts: Vec::new(),
            always: Vec::new(),
        };
        for (at, step) in part.steps.iter().enumerate() {
            let place = Place::new(step.offset, step.width)?;
            let cell = Cell {
                place,
                column: step.column,
            };
            let lasts = cells.word(place);
            if step.code == Code::Last {
                lasts.push(cell);
            } else {
                cells.always.push((cell, base(step, at, clock)?));
            }
        }
        Some(cells)
    }

    /// The fields of the word of this place, which is one of the part's now.
    fn word(&mut self, place: Place) -> &mut Vec<Cell> {
        let bits = place.mask << place.shift;
        let known = self.words.iter().position(|(word, _)| *word == place.word);
        let at = known.unwrap_or(self.words.len());
        match self.words.get_mut(at) {
            Some((_, mask)) => *mask |= bits,
            None => {
                self.words.push((place.word, bits));
                self.lasts.push(Vec::new());
            }
        }
        &mut self.lasts[at]
    }

    /// Which bits of its words are its.
    pub(super) fn masks(&self) -> impl Iterator<Item = u64> {
        self.words.iter().map(|(_, mask)| *mask)
    }
}

/// Of a step that is the number `at` of its part, of which `clock` sets the clock.
fn base(step: &Step, at: usize, clock: Option<usize>) -> Option<Base> {
    let timed = clock.is_some_and(|clock| clock < at);
    match step.code {
        Code::Raw => Some(Base::Raw(step.width)),
        Code::Time => (clock == Some(at)).then_some(Base::Before),
        Code::Clock if timed => Some(Base::At),
        Code::Clock => Some(Base::Before),
        Code::Born => timed.then_some(Base::Born),
        Code::Like(_) => Place::new(step.like.0, step.like.1).map(Base::Like),
        Code::Last => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::own::own;
    use super::super::plan::plans;
    use super::*;

    /// One that cannot be packed would be stored as it is: dear, and nobody would notice.
    #[test]
    fn every_layout_of_this_build_can_be_packed() {
        for plan in plans(&own()).0 {
            assert!(Packing::new(&plan, 0).is_some(), "kind {}", plan.kind);
        }
    }

    #[test]
    fn a_place_is_within_a_word() {
        let word = 0x8877_6655_4433_2211;
        let of = |offset, width| Place::new(offset, width).map(|place| place.of(word));
        assert_eq!(of(8, 8), Some(word));
        assert_eq!(of(12, 2), Some(0x6655));
        assert_eq!(of(23, 1), Some(0x88));
        assert_eq!((of(7, 2), of(4, 8)), (None, None));
    }
}
