//! JSON whose strings hold no character that a terminal would obey.
//!
//! JSON allows any character as `\u` and four digits. serde_json writes only C0 so; DEL, C1, bidi
//! overrides and zero-width characters of a traced program are written so here. A parser reads the
//! same string.

use super::super::escape::is_unsafe;
use serde_json::ser::Formatter;
use std::io::{self, Write};

/// Compact, with unsafe characters as escapes.
pub(super) struct SafeFormatter;

impl Formatter for SafeFormatter {
    fn write_string_fragment<W: ?Sized + Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut rest = fragment;
        while let Some((at, c)) = rest.char_indices().find(|(_, c)| is_unsafe(*c)) {
            writer.write_all(&rest.as_bytes()[..at])?;
            for unit in c.encode_utf16(&mut [0; 2]) {
                write!(writer, "\\u{unit:04x}")?;
            }
            rest = &rest[at + c.len_utf8()..];
        }
        writer.write_all(rest.as_bytes())
    }
}
