//! What a whole run of the tracer said, and what must hold of every run.

use std::process::ExitStatus;

use anyhow::{Result, bail};

use crate::contract::{Assign, Conflict, Refused, Resolved};
use crate::event::{Body, Event};

/// All that a tracer said, after its end.
#[derive(Debug)]
pub struct Trace {
    /// The events in the order of the output.
    pub events: Vec<Event>,
    /// How it ended.
    pub status: ExitStatus,
    /// Its stderr.
    pub talk: String,
}

impl Trace {
    /// The conflicts, every attempt.
    #[must_use]
    pub fn conflicts(&self) -> Vec<&Conflict> {
        self.events.iter().filter_map(Event::conflict).collect()
    }

    /// The ends of incidents.
    #[must_use]
    pub fn resolved(&self) -> Vec<&Resolved> {
        self.events.iter().filter_map(Event::resolved).collect()
    }

    /// The calls refused for another reason than use.
    #[must_use]
    pub fn refused(&self) -> Vec<&Refused> {
        self.events.iter().filter_map(Event::refused).collect()
    }

    /// The ports that sockets got.
    #[must_use]
    pub fn assigned(&self) -> Vec<&Assign> {
        self.events.iter().filter_map(Event::assign).collect()
    }

    /// The names of the incidents, each once, in the order of their first attempt.
    #[must_use]
    pub fn incidents(&self) -> Vec<&str> {
        let mut incidents = Vec::new();
        for conflict in self.conflicts() {
            if !incidents.contains(&conflict.incident.as_str()) {
                incidents.push(conflict.incident.as_str());
            }
        }
        incidents
    }

    /// What must hold of every run: a start, a summary last, lines counted without a gap, no
    /// event lost, the status as `success` says.
    pub fn check(&self, success: bool) -> Result<()> {
        let complaint = if self.status.success() != success {
            Some(format!("it ended with {}", self.status))
        } else if !matches!(
            self.events.first(),
            Some(Event {
                body: Body::Start(_),
                ..
            })
        ) {
            Some("the first event is no `start`".to_owned())
        } else if !matches!(
            self.events.last(),
            Some(Event {
                body: Body::Summary(_),
                ..
            })
        ) {
            Some("the last event is no `summary`".to_owned())
        } else if self
            .events
            .iter()
            .any(|event| matches!(event.body, Body::Lost(_)))
        {
            Some("events were lost".to_owned())
        } else {
            (0..)
                .zip(&self.events)
                .find(|(number, event)| event.envelope.seq != *number)
                .map(|(number, _)| format!("`seq` {number} is missing"))
        };
        match complaint {
            Some(complaint) => bail!("{complaint}:\n{}\n{}", list(&self.events), self.talk),
            None => Ok(()),
        }
    }
}

/// The events as they were printed, for messages.
pub(crate) fn list(events: &[Event]) -> String {
    let lines: Vec<String> = events.iter().map(|event| event.raw.to_string()).collect();
    lines.join("\n")
}
