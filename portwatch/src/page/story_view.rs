//! The stories of the incidents, in words.

use super::stories::{Incident, LISTED, Stories, Story, most_of_range};
use super::words::{counted, machine_time, number, text, time};
use crate::report::time::human;
use crate::report::{Conflict, Holder, HolderProcess, Tally};

/// Stories that are told.
const TOLD: usize = 120;
/// Holders of a story that are listed.
const HOLDERS: usize = 10;

pub(super) struct StoryView {
    pub(super) anchor: String,
    pub(super) port: String,
    pub(super) loser: String,
    pub(super) holder: String,
    /// What the holder held.
    pub(super) held: String,
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
    pub(super) holders_title: &'static str,
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
        let holders = conflict.holders.iter().take(HOLDERS).map(holder_line);
        Self {
            anchor: format!("story-{number_of}"),
            port,
            loser: text(&story.loser),
            holder: story
                .holder
                .as_deref()
                .map_or_else(|| "nobody known".to_owned(), text),
            held: held(conflict),
            cause: match conflict.exhausted_for {
                Some(what) => format!("{} ({})", story.cause.word(), what.word()),
                None => story.cause.word(),
            },
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
            holders_title: match conflict.tally {
                Some(_) => "Who has the ports of the range",
                None => "Who has the port",
            },
            holders: holders.chain(tally(conflict)).collect(),
            rows: story.listed.iter().map(IncidentView::of).collect(),
            more: story.incidents.saturating_sub(LISTED as u64),
        }
    }
}

fn held(conflict: &Conflict) -> String {
    match (most_of_range(conflict), &conflict.counted) {
        (Some((_, _, ports)), Some(counted)) => format!(
            "held {} of the {} in the way",
            number(ports),
            counted_ports(counted.ports.into())
        ),
        (Some(_) | None, _) if conflict.exhausted_for.is_some() => "held the range".to_owned(),
        (Some(_) | None, _) => "held it".to_owned(),
    }
}

fn counted_ports(ports: u64) -> String {
    counted(ports, "port")
}

fn process(process: &HolderProcess) -> String {
    format!("{} (pid {})", text(&process.comm), process.pid)
}

fn holder_line(holder: &Holder) -> String {
    let processes: Vec<String> = holder.processes.iter().take(4).map(process).collect();
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
}

/// Who holds an exhausted range, and what was counted.
fn tally(conflict: &Conflict) -> Vec<String> {
    let lines = conflict.tally.as_deref().unwrap_or_default();
    let mut told: Vec<String> = lines.iter().take(HOLDERS).map(tally_line).collect();
    let Some(count) = &conflict.counted else {
        return told;
    };
    let listed = lines.iter().take(HOLDERS).map(|line| line.count).sum();
    let others = u64::from(count.ports).saturating_sub(listed);
    if others > 0 {
        told.push(format!("others: {}", counted_ports(others)));
    }
    let of = count
        .available
        .map(|all| format!(" of {}", number(all.into())));
    let missed = match count.missed {
        0 => String::new(),
        missed => format!(
            "; {} were not looked at",
            counted(missed.into(), "more socket")
        ),
    };
    told.push(format!(
        "counted at {}: {}{} in the way, by {}{missed}",
        text(&count.time),
        counted_ports(count.ports.into()),
        of.unwrap_or_default(),
        counted(count.sockets, "socket"),
    ));
    told
}

fn tally_line(line: &Tally) -> String {
    let who = match &line.process {
        Some(Some(known)) if known.has_socket => process(known),
        Some(Some(known)) => format!("{}, which has it no more", process(known)),
        Some(None) => "the kernel itself".to_owned(),
        None => "no process known".to_owned(),
    };
    let from = line
        .source
        .as_ref()
        .map(|source| format!(" from {}", text(source)));
    let to = match (&line.peer, line.peers) {
        (Some(Some(peer)), _) => format!(" to {} port {}", text(&peer.address), peer.port),
        (_, Some(peers)) => format!(" to {}", counted(peers.into(), "peer")),
        (Some(None) | None, None) => String::new(),
    };
    let origin = line.origin.map(|origin| format!(", {}", origin.word()));
    let stale = match line.stale_bucket {
        true => " (in the way only because somebody else had bound to the port as well)",
        false => "",
    };
    format!(
        "{who}: {}, {}{}{to}{}{stale}",
        counted_ports(line.count),
        line.state.word(),
        from.unwrap_or_default(),
        origin.unwrap_or_default()
    )
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
                .filter(|pid| *pid > 0)
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
