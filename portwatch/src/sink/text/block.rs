//! Lines with a label, wrapped with an indent.

use super::Look;
use anstyle::Style;

const LABEL: usize = 10;
const INDENT: usize = 2;
/// Columns that a text gets even on the narrowest terminal.
const NARROWEST: usize = 20;

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
        let indent = INDENT + LABEL + INDENT;
        self.line(&" ".repeat(indent), style, text);
    }

    /// The text; a block ends with an empty line.
    pub(super) fn finish(mut self) -> String {
        self.out.push('\n');
        self.out
    }

    fn wrapped(&mut self, head: &str, indent: usize, style: Style, text: &str) {
        let rest = " ".repeat(indent);
        for (n, part) in wrap(text, self.columns, indent, indent)
            .into_iter()
            .enumerate()
        {
            self.line(if n == 0 { head } else { &rest }, style, part);
        }
    }

    fn line(&mut self, head: &str, style: Style, text: &str) {
        self.out.push('\n');
        self.out.push_str(head);
        self.out.push_str(&self.look.data.paint(style, text));
    }
}

/// One line with a sentence behind `head`; where it does not fit, it goes on with an indent.
pub(super) fn sentence(head: &str, text: &str, look: &Look) -> String {
    let parts = wrap(text, look.width.columns(), length(head), 2 * INDENT);
    format!("{head}{}", parts.join(&format!("\n{:1$}", "", 2 * INDENT)))
}

/// `text` cut at spaces into parts that fit in `columns` behind an indent, which is another one for
/// the first part. A longer word stays whole, and so does `(pid 812)`.
fn wrap(text: &str, columns: Option<usize>, first: usize, others: usize) -> Vec<&str> {
    let Some(columns) = columns else {
        return vec![text];
    };
    let room = |indent: usize| columns.saturating_sub(indent).max(NARROWEST);
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some((end, _)) =
        rest.char_indices()
            .nth(room(if parts.is_empty() { first } else { others }))
    {
        let cuts = rest.match_indices(' ').map(|(at, _)| at);
        let cuts = cuts.filter(|&at| at > 0 && !rest[..at].ends_with("(pid"));
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

/// Characters of `text` that are seen.
fn length(text: &str) -> usize {
    anstream::adapter::strip_str(text)
        .map(|part| part.chars().count())
        .sum()
}

/// Rows that `text` takes on a terminal of `columns`.
pub(super) fn rows(text: &str, columns: Option<usize>) -> usize {
    columns.map_or(1, |columns| length(text).div_ceil(columns.max(1)).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cut_at_spaces() {
        let wrap = |text, columns| wrap(text, Some(columns), 0, 0);
        assert_eq!(
            wrap("aaaaaaaaaa bbbbbbbbb c", 20),
            ["aaaaaaaaaa bbbbbbbbb", "c"]
        );
        assert_eq!(
            wrap("aaaaaaaaaa bbbbbbbbbb c", 20),
            ["aaaaaaaaaa", "bbbbbbbbbb c"]
        );
        assert_eq!(wrap("aaaaaaaaaaaaaaaaaaaaaaaaa", 20), ["a".repeat(25)]);
        assert_eq!(
            wrap("aaaaaaaaaaaaaaaaaaaaaaaaa b", 20),
            ["a".repeat(25).as_str(), "b"]
        );
        assert_eq!(
            wrap("éééééééééé éééééééééé é", 20),
            ["éééééééééé", "éééééééééé é"]
        );
        assert_eq!(
            wrap(" aaaaaaaaaaaaaaaaaaaaaaa", 20),
            [" aaaaaaaaaaaaaaaaaaaaaaa"]
        );
        assert_eq!(wrap("", 20), [""]);
        assert_eq!(
            wrap("a nginx-worker (pid 812) x", 20),
            ["a nginx-worker", "(pid 812) x"]
        );
        assert_eq!(
            wrap("aaaaaaaaaa bbbbbbbbbb", 1),
            ["aaaaaaaaaa", "bbbbbbbbbb"]
        );
    }

    #[test]
    fn the_first_part_has_its_own_indent() {
        let text = "aaaaaaaaaa bbbbbbbbbb cccccccccc dddddddddd eeeeeeeeee";
        let parts = ["aaaaaaaaaa bbbbbbbbbb", "cccccccccc dddddddddd eeeeeeeeee"];
        assert_eq!(wrap(text, Some(40), 18, 4), parts);
        assert_eq!(wrap(text, None, 18, 4), [text]);
    }

    #[test]
    fn rows_without_escapes() {
        assert_eq!(rows("\x1b[1m1234\x1b[0m", Some(4)), 1);
        assert_eq!(rows("12345", Some(4)), 2);
        assert_eq!(rows("", Some(4)), 1);
        assert_eq!(rows("12345", None), 1);
    }
}
