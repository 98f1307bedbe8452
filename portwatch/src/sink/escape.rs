//! Strings of other processes, made safe for a screen.
//!
//! A traced program chooses its name, its arguments and its paths. What could move the cursor,
//! change the direction of the text, hide itself or end the line is shown as an escape instead:
//! `\n`, `\t`, `\r`, `\x1b`, `\u{202e}`. A backslash stays as it is, so that commands can be copied.

use std::borrow::Cow;
use std::fmt::Write;

/// `text` with every character of [`is_unsafe`] escaped.
#[must_use]
pub fn escape(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        push(&mut out, c);
    }
    Cow::Owned(out)
}

/// Bytes that should be text: invalid ones as `\x..`, the rest as [`escape`] does.
#[must_use]
pub fn escape_bytes(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len() + 8);
    for chunk in bytes.utf8_chunks() {
        chunk.valid().chars().for_each(|c| push(&mut out, c));
        for byte in chunk.invalid() {
            // Writing to a String cannot fail.
            let _ = write!(out, "\\x{byte:02x}");
        }
    }
    out
}

/// The character would do something to a terminal other than stand there and be read: controls
/// (C0, DEL, C1), line separators, bidi marks and overrides, zero-width and invisible ones, tags.
#[must_use]
pub fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{ad}'
                | '\u{61c}'
                | '\u{115f}'
                | '\u{1160}'
                | '\u{180e}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{3164}'
                | '\u{feff}'
                | '\u{ffa0}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

fn push(out: &mut String, c: char) {
    let code = u32::from(c);
    // Writing to a String cannot fail.
    let _ = match c {
        '\n' => write!(out, "\\n"),
        '\t' => write!(out, "\\t"),
        '\r' => write!(out, "\\r"),
        _ if !is_unsafe(c) => write!(out, "{c}"),
        _ if code < 0x80 => write!(out, "\\x{code:02x}"),
        _ => write!(out, "\\u{{{code:x}}}"),
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn plain_text_is_not_copied() {
        assert!(matches!(escape("ceph-osd é 漢字 \\ 'a'"), Cow::Borrowed(_)));
    }

    #[test]
    fn what_a_terminal_would_obey_is_shown() {
        for (raw, shown) in [
            ("\x1b[2J", "\\x1b[2J"),
            ("a\nb\tc\rd", "a\\nb\\tc\\rd"),
            ("\x07\x7f\0", "\\x07\\x7f\\x00"),
            ("\u{9b}31m", "\\u{9b}31m"),
            ("ab\u{202e}cd", "ab\\u{202e}cd"),
            ("a\u{200b}b\u{feff}", "a\\u{200b}b\\u{feff}"),
            ("\u{2028}\u{2066}", "\\u{2028}\\u{2066}"),
            ("x\u{e0041}", "x\\u{e0041}"),
        ] {
            assert_eq!(escape(raw), shown);
        }
    }

    #[test]
    fn invalid_bytes_are_named() {
        assert_eq!(
            escape_bytes(b"p\xff\xfeo\x1b\xc3"),
            "p\\xff\\xfeo\\x1b\\xc3"
        );
        assert_eq!(escape_bytes("é".as_bytes()), "é");
    }

    proptest! {
        #[test]
        fn nothing_unsafe_is_left(text in any::<String>(), bytes in any::<Vec<u8>>()) {
            prop_assert!(!escape(&text).chars().any(is_unsafe));
            prop_assert!(!escape_bytes(&bytes).chars().any(is_unsafe));
        }
    }
}
