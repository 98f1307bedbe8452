//! Text for a person: what failed, who has the port and through which connection, since when, what
//! to do.
//!
//! A conflict is a block, a repeated attempt one line that replaces itself on a terminal, everything
//! else one line. Start and summary go to standard error. Every string of another process goes
//! through `escape`; colours are added after it.

mod block;
mod conflict;
mod holder;
mod holders;
mod lifecycle;
mod style;
#[cfg(test)]
mod tests;
mod traffic;
mod who;

pub use lifecycle::warnings;
pub use style::Palette;

use super::escape::escape;
use super::line::{Class, Content, Line};
use super::printer::Compose;
use super::recent::{INCIDENTS, Recent};
use super::time::local;
use crate::decode::event::Ktime;
use crate::report::time::wall;
use crate::report::{Body, ClockAnchor, Conflict, Report};
use block::rows;
use jiff::tz::TimeZone;

/// How text looks.
#[derive(Clone, Debug)]
pub struct Look {
    /// Stands in front of every line's time where lines of several runs are told.
    pub run: Option<String>,
    /// Zone of every time.
    pub zone: TimeZone,
    /// Colours of the data.
    pub data: Palette,
    /// Colours of what goes to standard error.
    pub talk: Palette,
    /// Columns to wrap at.
    pub width: Width,
    /// The network namespace that goes without saying.
    pub own_netns: Option<u32>,
    /// Losses go to standard error as well: the data is not on the same screen.
    pub repeat_losses: bool,
}

/// Where long sentences are wrapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    /// Nowhere: for files and pipes, so that a sentence can be searched for.
    Endless,
    /// At the terminal's width, asked anew each time.
    Terminal,
    /// After so many columns.
    Columns(usize),
}

impl Width {
    fn columns(self) -> Option<usize> {
        match self {
            Self::Endless => None,
            Self::Terminal => {
                let size = terminal_size::terminal_size();
                Some(size.map_or(80, |(width, _)| usize::from(width.0)))
            }
            Self::Columns(columns) => Some(columns),
        }
    }
}

/// Makes text of reports.
#[derive(Debug)]
pub struct Text {
    look: Look,
    anchor: ClockAnchor,
    /// What was last told in full of an incident, for each address that was tried: `[::]`, then
    /// `0.0.0.0`, and the same again a second later.
    told: Recent<Vec<(String, String)>>,
}

impl Text {
    /// Text that looks like `look`.
    #[must_use]
    pub fn new(look: Look) -> Self {
        let anchor = ClockAnchor {
            boottime_ns: 0,
            realtime_ns: 0,
        };
        Self {
            look,
            anchor,
            told: Recent::new(INCIDENTS),
        }
    }

    fn stamp(&self, at: Ktime) -> String {
        let mut stamp = local(wall(self.anchor, at), &self.look.zone);
        if let Some(run) = &self.look.run {
            stamp = format!("{} {stamp}", escape(run));
        }
        self.look.data.paint(self.look.data.faint, &stamp)
    }
}

impl Text {
    /// The same was told of this address last; else it is from now on.
    fn is_repeated(&mut self, conflict: &Conflict) -> bool {
        /// Addresses of an incident that are remembered.
        const ADDRESSES: usize = 8;
        let address = &conflict.wanted.address;
        let verdict = conflict::signature(conflict);
        let mut told = self.told.remove(&conflict.incident).unwrap_or_default();
        let known = told.iter().position(|(of, _)| of == address);
        let before = known.map(|place| told.remove(place).1);
        let repeated = before.as_ref() == Some(&verdict);
        told.truncate(ADDRESSES - 1);
        told.insert(0, (address.clone(), verdict));
        self.told.insert(&conflict.incident, told);
        repeated
    }

    /// A line to the user, behind the run that it tells of.
    fn talk(&self, text: String) -> Line {
        Line::talk(match &self.look.run {
            Some(run) => format!("{}: {text}", escape(run)),
            None => text,
        })
    }
}

impl Compose for Text {
    fn anchor(&mut self, anchor: ClockAnchor) {
        self.anchor = anchor;
    }

    fn lines(&mut self, report: &Report) -> Vec<Line> {
        let stamp = self.stamp(report.at);
        let plain = |class, text| vec![Line::data(class, Content::Plain(text))];
        match &report.body {
            Body::Start(start) => {
                let mut lines = vec![self.talk(lifecycle::start(start, &self.look.talk))];
                lines.extend(warnings(report).into_iter().map(Line::talk));
                lines
            }
            Body::Conflict(conflict) => {
                if self.is_repeated(conflict) {
                    let text = conflict::repeat(conflict, &stamp, &self.look);
                    let rows = rows(&text, self.look.width.columns());
                    let key = conflict.incident.clone();
                    let content = Content::Repeat { key, text, rows };
                    return vec![Line::data(Class::Verdict, content)];
                }
                let at = wall(self.anchor, report.at);
                plain(
                    Class::Verdict,
                    conflict::full(conflict, at, &stamp, &self.look),
                )
            }
            Body::Resolved(resolved) => {
                self.told.remove(&resolved.incident);
                plain(
                    Class::Verdict,
                    lifecycle::resolved(resolved, &stamp, &self.look),
                )
            }
            Body::Refused(refused) => plain(
                Class::Refused,
                traffic::refused(refused, &stamp, &self.look),
            ),
            Body::Assign(assign) => {
                plain(Class::Traffic, traffic::assign(assign, &stamp, &self.look))
            }
            Body::Release(release) => plain(
                Class::Traffic,
                traffic::release(release, &stamp, &self.look),
            ),
            Body::Lost(lost) => {
                let text = lifecycle::lost(lost, &stamp, &self.look);
                let mut lines = plain(Class::Essential, text);
                if self.look.repeat_losses {
                    lines.extend(warnings(report).into_iter().map(Line::talk));
                }
                lines
            }
            Body::Summary(summary) => {
                vec![self.talk(lifecycle::summary(summary, &self.look.talk))]
            }
        }
    }
}
