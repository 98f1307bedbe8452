//! The sink itself: composes a report's lines and hands them to the outlet, and adds to the losses
//! of the pipeline those of the output.

use super::line::Line;
use super::outlet::{Loss, Outlet};
use super::output::Reopen;
use super::{Sink, SinkError};
use crate::report::{Body, ClockAnchor, Lost, LostCount, Report};

/// The place of losses that happen in the output, as it stands in `lost`.
const PLACE: &str = "output";

const MEANING: &str = "lines that could not be written because the reader of the output stood still; \
                       the verdicts themselves are whole";

/// Makes lines of reports. Holds what one line must know of those before it.
pub trait Compose: Send {
    /// Relation of kernel time and wall time from now on.
    fn anchor(&mut self, anchor: ClockAnchor);

    /// The report's lines, in order.
    fn lines(&mut self, report: &Report) -> Vec<Line>;
}

/// A sink of any format over any outlet.
pub struct Printer {
    compose: Box<dyn Compose>,
    outlet: Box<dyn Outlet>,
    reopen: Option<Reopen>,
    /// `total` of the pipeline's last `lost` report.
    upstream: u64,
}

impl Printer {
    /// `reopen` is there when the output is a file.
    #[must_use]
    pub fn new(compose: Box<dyn Compose>, outlet: Box<dyn Outlet>, reopen: Option<Reopen>) -> Self {
        Self {
            compose,
            outlet,
            reopen,
            upstream: 0,
        }
    }

    /// The report with the output's own losses in it; `None` = it tells nothing of losses.
    fn amended(&mut self, report: &Report) -> Option<Report> {
        let dropped = self.outlet.dropped();
        let mut amended = match &report.body {
            Body::Lost(lost) => {
                self.upstream = lost.total;
                report.clone()
            }
            Body::Summary(_) => report.clone(),
            Body::Start(_)
            | Body::Conflict(_)
            | Body::Resolved(_)
            | Body::Refused(_)
            | Body::Assign(_)
            | Body::Release(_) => return None,
        };
        if dropped == 0 {
            return None;
        }
        match &mut amended.body {
            Body::Lost(lost) => lost.total += dropped,
            Body::Summary(summary) => {
                summary.complete = false;
                summary.lost.push(count(dropped, String::from(MEANING)));
            }
            Body::Start(_)
            | Body::Conflict(_)
            | Body::Resolved(_)
            | Body::Refused(_)
            | Body::Assign(_)
            | Body::Release(_) => {}
        }
        Some(amended)
    }
}

impl Sink for Printer {
    fn report(&mut self, report: &Report) -> Result<(), SinkError> {
        if let Body::Start(start) = &report.body {
            self.compose.anchor(start.clock);
        }
        let amended = self.amended(report);
        let lines = self.compose.lines(amended.as_ref().unwrap_or(report));
        let (compose, upstream, at) = (&mut self.compose, self.upstream, report.at);
        for line in lines {
            self.outlet.push(line, &mut |loss| {
                let body = Body::Lost(lost(loss, upstream));
                compose.lines(&Report { at, body })
            })?;
        }
        Ok(())
    }

    fn anchor(&mut self, anchor: ClockAnchor) {
        self.compose.anchor(anchor);
    }

    fn flush(&mut self) -> Result<(), SinkError> {
        self.outlet.flush()
    }

    fn reopen(&mut self) -> Result<(), SinkError> {
        match &self.reopen {
            Some(reopen) => {
                let file = reopen.open()?;
                self.outlet.replace(Box::new(file))
            }
            None => Ok(()),
        }
    }
}

fn lost(loss: Loss, upstream: u64) -> Lost {
    let meaning = match loss.untold_verdicts {
        0 => String::from(MEANING),
        n => format!("{MEANING}; {n} of these lines were conflicts or ends of incidents"),
    };
    Lost {
        since_last: vec![count(loss.untold, meaning)],
        total: upstream + loss.total,
    }
}

fn count(count: u64, meaning: String) -> LostCount {
    LostCount::new(PLACE, count, meaning)
}
