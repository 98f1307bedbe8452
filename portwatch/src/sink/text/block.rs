//! Lines with a label, wrapped with an indent.

use super::Look;
use anstyle::Style;

const LABEL: usize = 10;
const INDENT: usize = 2;

/// The lines of a block under its headline.
pub(super) struct Block<'a> {
    look: &'a Look,
    columns: Option<usize>,
    out: String,
}

impl<'a> Block<'a> {
    pub(super) fn new(headline: String, look: &'a Look) -> Self {
        Self {
            look,
            columns: look.width.columns(),
            out: headline,
        }
    }

    /// A sentence across the whole width.
    pub(super) fn sentence(&mut self, text: &str) {
        self.wrapped(&" ".repeat(INDENT), INDENT, self.look.data.strong, text);
    }

    /// `text` behind `label`; an empty label goes on with the one above.
    pub(super) fn field(&mut self, label: &str, style: Style, text: &str) {
        let palette = &self.look.data;
        let label = format!("{label:<LABEL$}");
        let head = format!("{:INDENT$}{}", "", palette.paint(palette.faint, &label));
        self.wrapped(&head, INDENT + LABEL, style, text);
    }

    /// A line that is never wrapped: it is there to be copied.
    pub(super) fn verbatim(&mut self, style: Style, text: &str) {
        let indent = INDENT + LABEL;
        self.line(&" ".repeat(indent), style, text);
    }

    /// The text; a block ends with an empty line.
    pub(super) fn finish(mut self) -> String {
        self.out.push('\n');
        self.out
    }

    fn wrapped(&mut self, head: &str, indent: usize, style: Style, text: &str) {
        let rest = " ".repeat(indent);
        let columns = self
            .columns
            .map(|columns| columns.saturating_sub(indent).max(20));
        for (n, part) in wrap(text, columns).into_iter().enumerate() {
            self.line(if n == 0 { head } else { &rest }, style, part);
        }
    }

    fn line(&mut self, head: &str, style: Style, text: &str) {
        self.out.push('\n');
        self.out.push_str(head);
        self.out.push_str(&self.look.data.paint(style, text));
    }
}

/// `text` cut at spaces into parts of at most `columns` characters; a longer word stays whole, and
/// so does `(pid 812)`.
fn wrap(text: &str, columns: Option<usize>) -> Vec<&str> {
    let Some(columns) = columns else {
        return vec![text];
    };
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some((end, _)) = rest.char_indices().nth(columns) {
        let mut cuts = rest.match_indices(' ').map(|(at, _)| at);
        let cuts = cuts
            .by_ref()
            .filter(|&at| at > 0 && !rest[..at].ends_with("(pid"));
        let (fit, over): (Vec<_>, Vec<_>) = cuts.partition(|&at| at <= end);
        let Some(&cut) = fit.last().or(over.first()) else {
            break;
        };
        parts.push(rest[..cut].trim_end());
        rest = rest[cut..].trim_start();
    }
    parts.push(rest);
    parts
}

/// Rows that `text` takes on a terminal of `columns`, its escape sequences not counted.
pub(super) fn rows(text: &str, columns: Option<usize>) -> usize {
    let width = anstream::adapter::strip_str(text)
        .map(|part| part.chars().count())
        .sum::<usize>();
    columns.map_or(1, |columns| width.div_ceil(columns.max(1)).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cut_at_spaces() {
        assert_eq!(wrap("aaa bbb ccc", Some(7)), ["aaa bbb", "ccc"]);
        assert_eq!(wrap("aaa bbb ccc", Some(6)), ["aaa", "bbb", "ccc"]);
        assert_eq!(wrap("aaaaaaaaaa b", Some(4)), ["aaaaaaaaaa", "b"]);
        assert_eq!(wrap("éééé éééé", Some(5)), ["éééé", "éééé"]);
        assert_eq!(wrap(" aaaaaaa", Some(4)), [" aaaaaaa"]);
        assert_eq!(wrap("", Some(4)), [""]);
        assert_eq!(wrap("aaa bbb", None), ["aaa bbb"]);
        assert_eq!(
            wrap("nginx (pid 812) x", Some(12)),
            ["nginx", "(pid 812) x"]
        );
    }

    #[test]
    fn rows_without_escapes() {
        assert_eq!(rows("\x1b[1m1234\x1b[0m", Some(4)), 1);
        assert_eq!(rows("12345", Some(4)), 2);
        assert_eq!(rows("", Some(4)), 1);
        assert_eq!(rows("12345", None), 1);
    }
}
