//! The stories of the incidents, in words.

use super::stories::{Incident, LISTED, Stories, Story};
use super::words::{counted, machine_time, number, text, time};
use crate::report::time::human;

/// Stories that are told.
const TOLD: usize = 120;

pub(super) struct StoryView {
    pub(super) anchor: String,
    pub(super) port: String,
    pub(super) loser: String,
    pub(super) holder: String,
    pub(super) cause: String,
    pub(super) certainty: String,
    pub(super) incidents: String,
    pub(super) attempts: String,
    pub(super) first: String,
    pub(super) last: String,
    pub(super) hosts: String,
    pub(super) ends: String,
    pub(super) message: String,
    pub(super) advice: Vec<(String, Option<String>)>,
    pub(super) holders: Vec<String>,
    pub(super) rows: Vec<IncidentView>,
    pub(super) more: u64,
}

pub(super) struct IncidentView {
    pub(super) id: String,
    pub(super) host: String,
    pub(super) at: String,
    pub(super) at_machine: String,
    pub(super) loser: u32,
    pub(super) holder: String,
    pub(super) attempts: String,
    pub(super) end: String,
    pub(super) message: String,
}

/// The largest stories, and what to know of the others.
pub(super) fn stories_told(stories: &mut Stories) -> (Vec<StoryView>, Option<String>) {
    let mut all = stories.largest();
    let rest = all.get(TOLD..).unwrap_or_default();
    let incidents = stories.untold + rest.iter().map(|story| story.incidents).sum::<u64>();
    let largest = rest.iter().map(|story| story.incidents + story.forgotten);
    let largest = largest.fold(stories.largest_forgotten, u64::max);
    let left_out = (incidents > 0).then(|| {
        let again = match stories.untold {
            0 => "",
            _ => ", or of the beginning of a story that is told with \"at least\"",
        };
        format!(
            "Not told here, though counted above: {}, of stories of at most {} each{again}.",
            counted(incidents, "incident"),
            counted(largest, "incident")
        )
    });
    all.truncate(TOLD);
    let told = all
        .iter()
        .enumerate()
        .map(|(at, story)| StoryView::of(at + 1, story));
    (told.collect(), left_out)
}

impl StoryView {
    fn of(number_of: usize, story: &Story) -> Self {
        let conflict = &story.conflict;
        let port = match story.port {
            Some(port) => format!("{port}/{}", story.transport),
            None => format!("any port/{}", story.transport),
        };
        let least = match story.forgotten {
            0 => "",
            _ => "at least ",
        };
        let mut hosts: Vec<String> = story.hosts.iter().map(|host| text(host)).collect();
        if story.more_hosts {
            hosts.push("...".to_owned());
        }
        let ends = story
            .ends
            .iter()
            .map(|(how, count)| format!("{how}: {}", number(*count)));
        let open = story.incidents.saturating_sub(story.ends.values().sum());
        let open = (open > 0).then(|| format!("open or not seen to end: {}", number(open)));
        let advice = conflict.advice.iter();
        let holders = conflict.holders.iter().take(10).map(|holder| {
            let processes: Vec<String> = holder
                .processes
                .iter()
                .take(4)
                .map(|process| format!("{} (pid {})", text(&process.comm), process.pid))
                .collect();
            let who = match processes.is_empty() {
                true => "no process known".to_owned(),
                false => processes.join(", "),
            };
            let peer = holder.peer.as_ref();
            let peer = peer.map(|peer| format!(" to {} port {}", text(&peer.address), peer.port));
            format!(
                "{}: {} {}, {} port {}{}{}",
                who,
                holder.kind.word(),
                holder.state.word(),
                text(&holder.local.address),
                holder.local.port,
                peer.unwrap_or_default(),
                if holder.blocking {
                    ""
                } else {
                    " (does not block)"
                },
            )
        });
        Self {
            anchor: format!("story-{number_of}"),
            port,
            loser: text(&story.loser),
            holder: story
                .holder
                .as_deref()
                .map_or_else(|| "nobody known".to_owned(), text),
            cause: story.cause.word(),
            certainty: story.certainty.word(),
            incidents: format!("{least}{}", counted(story.incidents, "incident")),
            attempts: format!("{least}{}", counted(story.attempts, "failed call")),
            first: time(story.first),
            last: time(story.last),
            hosts: hosts.join(", "),
            ends: ends.chain(open).collect::<Vec<_>>().join(", "),
            message: text(&conflict.message),
            advice: advice
                .map(|advice| (text(&advice.text), advice.command.as_deref().map(text)))
                .collect(),
            holders: holders.collect(),
            rows: story.listed.iter().map(IncidentView::of).collect(),
            more: story.incidents.saturating_sub(LISTED as u64),
        }
    }
}

impl IncidentView {
    fn of(incident: &Incident) -> Self {
        Self {
            id: text(&incident.id),
            host: text(&incident.host),
            at: time(incident.at),
            at_machine: machine_time(incident.at),
            loser: incident.loser,
            holder: incident
                .holder
                .map_or_else(String::new, |pid| pid.to_string()),
            attempts: number(incident.attempts),
            end: match &incident.end {
                Some((how, ms)) => format!("{how} after {}", human(*ms)),
                None => "not seen to end".to_owned(),
            },
            message: text(&incident.message),
        }
    }
}
