//! NDJSON: one object a line, in the contract's order.

mod formatter;
#[cfg(test)]
mod tests;

use super::line::{Class, Content, Line};
use super::printer::Compose;
use super::text;
use crate::report::time::rfc3339;
use crate::report::{Body, ClockAnchor, Report, SCHEMA};
use formatter::SafeFormatter;
use serde::Serialize;

/// Makes the contract's lines.
#[derive(Debug)]
pub struct Json {
    /// The host's field, and the run's where there are several.
    place: String,
    anchor: ClockAnchor,
}

impl Json {
    /// `host` stands in every line, and so does `run` where lines of several runs are told.
    #[must_use]
    pub fn new(host: &str, run: Option<&str>) -> Self {
        let anchor = ClockAnchor {
            boottime_ns: 0,
            realtime_ns: 0,
        };
        let mut place = format!(r#""host":{}"#, to_string(host));
        if let Some(run) = run {
            place.push_str(&format!(r#","run":{}"#, to_string(run)));
        }
        Self { place, anchor }
    }
}

impl Compose for Json {
    fn anchor(&mut self, anchor: ClockAnchor) {
        self.anchor = anchor;
    }

    fn lines(&mut self, report: &Report) -> Vec<Line> {
        let (kind, class, body) = match &report.body {
            Body::Start(body) => ("start", Class::Essential, to_string(body)),
            Body::Conflict(body) => ("conflict", Class::Verdict, to_string(body)),
            Body::Resolved(body) => ("resolved", Class::Verdict, to_string(body)),
            Body::Refused(body) => ("refused", Class::Refused, to_string(body)),
            Body::Assign(body) => ("assign", Class::Traffic, to_string(body)),
            Body::Release(body) => ("release", Class::Traffic, to_string(body)),
            Body::Lost(body) => ("lost", Class::Essential, to_string(body)),
            Body::Summary(body) => ("summary", Class::Essential, to_string(body)),
        };
        let time = rfc3339(self.anchor, report.at);
        let before = format!(r#"{{"schema":"{SCHEMA}","type":"{kind}","time":"{time}","seq":"#);
        // No body is empty: what follows its brace can be put behind the envelope's fields.
        let after = format!(",{},{}", self.place, &body[1..]);
        let mut lines = vec![Line::data(class, Content::Numbered { before, after })];
        lines.extend(text::warnings(report).into_iter().map(Line::talk));
        lines
    }
}

/// `value` as JSON that is safe to look at (see [`formatter`]).
pub(crate) fn to_string(value: &(impl Serialize + ?Sized)) -> String {
    let mut out = Vec::with_capacity(1024);
    let mut serializer = serde_json::Serializer::with_formatter(&mut out, SafeFormatter);
    match value
        .serialize(&mut serializer)
        .map(|()| String::from_utf8(out))
    {
        Ok(Ok(text)) => text,
        Ok(Err(_)) | Err(_) => {
            unreachable!("the contract's types have string keys, and a Vec takes every byte")
        }
    }
}
