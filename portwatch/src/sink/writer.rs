//! Lines to bytes: numbers them, and rewrites a repeated attempt's line on a terminal.

use super::line::{Channel, Content, Line};
use std::io::{self, Write};

/// Writes lines; the only place that counts them.
pub struct LineWriter {
    data: Box<dyn Write + Send>,
    talk: Box<dyn Write + Send>,
    rewrite: bool,
    seq: u64,
    last: Option<(String, usize)>,
    buffer: Vec<u8>,
}

impl LineWriter {
    /// `rewrite`: `data` is a terminal, so a repeated attempt may replace its last line.
    #[must_use]
    pub fn new(data: Box<dyn Write + Send>, talk: Box<dyn Write + Send>, rewrite: bool) -> Self {
        Self {
            data,
            talk,
            rewrite,
            seq: 0,
            last: None,
            buffer: Vec::new(),
        }
    }

    /// Takes one line; it may stay in the buffer until [`LineWriter::flush`].
    ///
    /// # Errors
    /// Those of the data's writer. A closed standard error is not one.
    pub fn write(&mut self, line: &Line) -> io::Result<()> {
        if line.channel == Channel::Talk {
            self.flush()?;
            self.last = None;
            if let Content::Plain(text) = &line.content {
                // Nobody is left to be told that nobody listens.
                let _ = writeln!(self.talk, "{text}").and_then(|()| self.talk.flush());
            }
            return Ok(());
        }
        let mut last = None;
        match &line.content {
            Content::Plain(text) => writeln!(self.buffer, "{text}")?,
            Content::Numbered { before, after } => {
                writeln!(self.buffer, "{before}{}{after}", self.seq)?;
                self.seq += 1;
            }
            Content::Repeat { key, text, rows } => {
                if let Some((old, rows)) = &self.last
                    && self.rewrite
                    && old == key
                {
                    write!(self.buffer, "\x1b[{rows}A\r\x1b[0J")?;
                }
                writeln!(self.buffer, "{text}")?;
                last = Some((key.clone(), *rows));
            }
        }
        self.last = last;
        Ok(())
    }

    /// Bytes in the buffer.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.buffer.len()
    }

    /// Hands everything to the operating system.
    ///
    /// # Errors
    /// Those of the data's writer; what was in the buffer is gone then.
    pub fn flush(&mut self) -> io::Result<()> {
        let written = self.data.write_all(&self.buffer);
        self.buffer.clear();
        written.and_then(|()| self.data.flush())
    }

    /// Goes on in another file, with the numbers where they are.
    ///
    /// # Errors
    /// Those of the old file's last flush; the new one is in use all the same.
    pub fn replace(&mut self, data: Box<dyn Write + Send>) -> io::Result<()> {
        let flushed = self.flush();
        self.data = data;
        flushed
    }
}

#[cfg(test)]
mod tests {
    use super::super::line::Class;
    use super::super::test_support::Pages;
    use super::*;

    fn repeat(key: &str, text: &str) -> Line {
        let (key, text) = (key.to_owned(), text.to_owned());
        Line::data(Class::Verdict, Content::Repeat { key, text, rows: 2 })
    }

    fn written(rewrite: bool, lines: &[Line]) -> String {
        let (data, talk) = (Pages::default(), Pages::default());
        let mut writer = LineWriter::new(Box::new(data.clone()), Box::new(talk), rewrite);
        lines.iter().for_each(|line| writer.write(line).unwrap());
        writer.flush().unwrap();
        data.text()
    }

    #[test]
    fn numbers_count_written_lines_only() {
        let line = |n: &str| {
            let content = Content::Numbered {
                before: format!("{n}:"),
                after: ";".into(),
            };
            Line::data(Class::Verdict, content)
        };
        let lines = [line("a"), Line::talk("hello".into()), line("b")];
        assert_eq!(written(false, &lines), "a:0;\nb:1;\n");
    }

    #[test]
    fn only_the_last_line_of_the_same_incident_is_rewritten() {
        let lines = [
            repeat("i", "2"),
            repeat("i", "3"),
            repeat("j", "2"),
            repeat("i", "4"),
        ];
        assert_eq!(written(true, &lines), "2\n\x1b[2A\r\x1b[0J3\n2\n4\n");
        assert_eq!(written(false, &lines), "2\n3\n2\n4\n");
    }

    #[test]
    fn talk_in_between_keeps_the_line_before_it() {
        let lines = [
            repeat("i", "2"),
            Line::talk("warning".into()),
            repeat("i", "3"),
        ];
        assert_eq!(written(true, &lines), "2\n3\n");
    }
}
