//! How the bytes of a kind of record are cut into fields, and how each field is stored.
//!
//! A capture names the layouts of its own records in its header, so that a reader needs none of
//! these: a build whose records have other fields still gives back the bytes as they were. The
//! packing is lossless whatever the bytes; a layout that fits badly only packs badly.

use serde::{Deserialize, Serialize};

/// Bytes that a record with a layout has at most.
pub(super) const RECORD_MAX: usize = 1024;

/// Layouts that a header names at most.
pub const LAYOUTS_MAX: usize = 15;

/// Where a field's value is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Home {
    /// With each record.
    Own,
    /// In a context: what many records have in common, above all the process. Stored once a block.
    Context,
    /// In a socket, that the taking and the letting go of a port have in common.
    Socket,
}

/// How a value is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Code {
    /// As it stands.
    Raw,
    /// The difference to the last value of this field.
    Last,
    /// The difference to the block's clock, which is then set to it.
    Time,
    /// The difference to the block's clock.
    Clock,
    /// The difference to the time of the record that brought the socket into the block.
    Born,
    /// The difference to another field of the same record.
    Like(u8),
}

/// One field as a header tells it: width in bytes (1, 2, 4, 8), home, code, and the other field's
/// number for code 5.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Field(u8, u8, u8, u8);

impl Field {
    pub(super) const fn new(width: u8, home: Home, code: Code) -> Self {
        let home = match home {
            Home::Own => 0,
            Home::Context => 1,
            Home::Socket => 2,
        };
        let (code, other) = match code {
            Code::Raw => (0, 0),
            Code::Last => (1, 0),
            Code::Time => (2, 0),
            Code::Clock => (3, 0),
            Code::Born => (4, 0),
            Code::Like(other) => (5, other),
        };
        Self(width, home, code, other)
    }

    pub(super) fn width(self) -> Option<usize> {
        matches!(self.0, 1 | 2 | 4 | 8).then_some(usize::from(self.0))
    }

    pub(super) fn home(self) -> Option<Home> {
        match self.1 {
            0 => Some(Home::Own),
            1 => Some(Home::Context),
            2 => Some(Home::Socket),
            _ => None,
        }
    }

    pub(super) fn code(self) -> Option<Code> {
        match self.2 {
            0 => Some(Code::Raw),
            1 => Some(Code::Last),
            2 => Some(Code::Time),
            3 => Some(Code::Clock),
            4 => Some(Code::Born),
            5 => Some(Code::Like(self.3)),
            _ => None,
        }
    }
}

/// A kind of record, cut into fields.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layout {
    /// `RecordHeader::kind`.
    pub kind: u16,
    /// Bytes of such a record; others are stored as they are.
    pub size: u16,
    /// From the first byte to the last.
    pub fields: Vec<Field>,
}

impl Layout {
    /// It can be used: the fields make up the record, and refer to fields before them.
    pub(super) fn is_sound(&self) -> bool {
        let size = usize::from(self.size);
        let mut sum = 0;
        for (at, field) in self.fields.iter().enumerate() {
            let (Some(width), Some(home), Some(code)) = (field.width(), field.home(), field.code())
            else {
                return false;
            };
            if let Code::Like(other) = code {
                let other = usize::from(other);
                let known = self.fields.get(other).and_then(|field| field.home());
                // What it refers to has to be there when it is read: contexts first, then sockets.
                if known.is_none_or(|known| (turn(known), other) >= (turn(home), at)) {
                    return false;
                }
            }
            sum += width;
        }
        sum == size && (24..=RECORD_MAX).contains(&size)
    }
}

/// The order in which the parts of a record are read.
fn turn(home: Home) -> u8 {
    match home {
        Home::Context => 0,
        Home::Socket => 1,
        Home::Own => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::super::own::own;
    use super::*;

    /// A record that grew would be stored as it is, unpacked: dear, and nobody would notice.
    #[test]
    fn every_layout_is_that_of_its_record() {
        let layouts = own();
        assert_eq!(layouts.len(), 6);
        for layout in layouts {
            assert!(layout.is_sound(), "kind {}: {layout:?}", layout.kind);
        }
    }

    #[test]
    fn what_cannot_be_used_is_not_sound() {
        let good = own().remove(0);
        let changed = |change: fn(&mut Layout)| {
            let mut layout = good.clone();
            change(&mut layout);
            layout.is_sound()
        };
        assert!(changed(|_| {}));
        assert!(!changed(|layout| layout.size += 1));
        assert!(!changed(|layout| layout.fields[0] = Field(3, 0, 0, 0)));
        assert!(!changed(|layout| layout.fields[0] = Field(2, 9, 0, 0)));
        assert!(!changed(|layout| layout.fields[0] = Field(2, 0, 9, 0)));
        assert!(!changed(|layout| layout.fields[0] = Field(2, 0, 5, 200)));
        assert!(!changed(|layout| layout.size = 0));
    }
}
