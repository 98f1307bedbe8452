//! Readers that stand still, come back or go away.

use super::super::json::Json;
use super::super::line::Class;
use super::super::test_support::*;
use super::super::{Printer, Sink};
use super::*;
use crate::report::Report;
use serde_json::Value;
use std::sync::mpsc;

/// A reader that takes nothing before it is told to.
struct Gate {
    here: mpsc::Sender<()>,
    open: mpsc::Receiver<()>,
    to: Pages,
}

impl Write for Gate {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Errors mean that the other ends are gone: nobody waits, and it is open for good.
        let _ = self.here.send(());
        let _ = self.open.recv();
        self.to.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Failing(io::ErrorKind);

impl Write for Failing {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(self.0.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn queue(data: impl Write + Send + 'static, capacity: usize, patience: Duration) -> Queue {
    let writer = LineWriter::new(Box::new(data), Box::new(io::sink()), false);
    Queue::with_limits(writer, "standard output", capacity, patience).unwrap()
}

/// A printer before a closed gate with one line in hand, the key to it, and what comes through.
fn gated(capacity: usize) -> (Printer, mpsc::Sender<()>, Pages) {
    let (key, open) = mpsc::channel();
    let (here, arrived) = mpsc::channel();
    let to = Pages::default();
    let gate = Gate {
        here,
        open,
        to: to.clone(),
    };
    let queue = queue(gate, capacity, Duration::from_secs(20));
    let mut printer = Printer::new(Box::new(Json::new("node-7", None)), Box::new(queue), None);
    let mut first = start();
    (first.hooks_refused, first.warnings) = (vec![], vec![]);
    printer.report(&report(first)).unwrap();
    arrived.recv().unwrap();
    (printer, key, to)
}

fn types(text: &str) -> Vec<(String, Value)> {
    let lines = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines
        .map(|line| (line["type"].as_str().unwrap().to_owned(), line))
        .collect()
}

fn count(lines: &[(String, Value)], kind: &str) -> usize {
    lines.iter().filter(|(of, _)| of == kind).count()
}

#[test]
fn everything_is_written_in_order() {
    let to = Pages::default();
    let mut queue = queue(to.clone(), CAPACITY, PATIENCE);
    let expected: String = (0..2000).map(|n| format!("{n}\n")).collect();
    for n in 0..2000 {
        queue
            .push(line(Class::Traffic, &n.to_string()), &mut |_| vec![])
            .unwrap();
    }
    queue.flush().unwrap();
    assert_eq!(to.text(), expected);
}

#[test]
fn traffic_gives_way_and_the_loss_is_told() {
    let (mut printer, key, to) = gated(64 << 10);
    for n in 0..2000 {
        let body: Report = report_at(n, assign());
        printer.report(&body).unwrap();
    }
    for n in 0..10 {
        let mut conflict = conflict();
        conflict.attempt = n;
        printer.report(&report(conflict)).unwrap();
    }
    printer.report(&report(summary())).unwrap();
    drop(key);
    printer.flush().unwrap();

    let lines = types(&to.text());
    assert_eq!(count(&lines, "conflict"), 10, "conflicts stay");
    let (assigns, lost) = (count(&lines, "assign"), count(&lines, "lost"));
    assert_eq!(lost, 1);
    let (_, told) = lines.iter().find(|(kind, _)| kind == "lost").unwrap();
    assert_eq!(told["since_last"][0]["place"], "output");
    assert_eq!(told["since_last"][0]["count"], 2000 - assigns);
    assert_eq!(told["total"], 2000 - assigns);
    let numbers: Vec<_> = lines
        .iter()
        .map(|(_, line)| line["seq"].as_u64().unwrap())
        .collect();
    assert_eq!(
        numbers,
        (0..lines.len() as u64).collect::<Vec<_>>(),
        "no gap"
    );
    let (kind, last) = lines.last().unwrap();
    assert_eq!(kind, "summary");
    assert_eq!(
        (&last["complete"], &last["lost"][1]["place"]),
        (&false.into(), &"output".into())
    );
}

#[test]
fn a_second_loss_is_told_on_its_own() {
    let (mut printer, key, to) = gated(8 << 10);
    for n in 0..500 {
        printer.report(&report_at(n, assign())).unwrap();
    }
    // Enough for all that waits now.
    (0..100).for_each(|_| key.send(()).unwrap());
    printer.flush().unwrap();
    let first = types(&to.text());
    for n in 0..500 {
        printer.report(&report_at(n, assign())).unwrap();
    }
    drop(key);
    printer.flush().unwrap();
    let lines = types(&to.text());
    let told = lines
        .iter()
        .filter(|(kind, _)| kind == "lost")
        .map(|(_, line)| line);
    let sum: u64 = told
        .map(|line| line["since_last"][0]["count"].as_u64().unwrap())
        .sum();
    assert_eq!(count(&first, "lost"), 1);
    assert_eq!(sum, 1000 - count(&lines, "assign") as u64);
}

#[test]
fn a_reader_that_stays_away_is_given_up() {
    let (key, open) = mpsc::channel::<()>();
    let gate = Gate {
        here: mpsc::channel().0,
        open,
        to: Pages::default(),
    };
    let mut queue = queue(gate, CAPACITY, Duration::from_millis(20));
    queue
        .push(line(Class::Verdict, "a"), &mut |_| vec![])
        .unwrap();
    queue
        .push(line(Class::Verdict, "b"), &mut |_| vec![])
        .unwrap();
    let error = queue.flush().unwrap_err();
    assert!(
        matches!(error, SinkError::Stalled { lines: 1..=2, .. }),
        "{error}"
    );
    drop(key);
}

#[test]
fn a_reader_that_is_gone_is_no_fault_and_a_full_disk_is_one() {
    let closed = |error: &SinkError| matches!(error, SinkError::Closed);
    for (kind, is_closed) in [
        (io::ErrorKind::BrokenPipe, true),
        (io::ErrorKind::StorageFull, false),
    ] {
        let mut queue = queue(Failing(kind), CAPACITY, PATIENCE);
        queue
            .push(line(Class::Verdict, "a"), &mut |_| vec![])
            .unwrap();
        let first = queue.flush().unwrap_err();
        assert_eq!(closed(&first), is_closed, "{first}");
        let later = queue
            .push(line(Class::Verdict, "b"), &mut |_| vec![])
            .unwrap_err();
        assert_eq!(closed(&later), is_closed, "{later}");
    }
}

#[test]
fn the_new_file_takes_over_between_two_lines() {
    let (old, new) = (Pages::default(), Pages::default());
    let mut queue = queue(old.clone(), CAPACITY, PATIENCE);
    queue
        .push(line(Class::Verdict, "a"), &mut |_| vec![])
        .unwrap();
    queue.replace(Box::new(new.clone())).unwrap();
    queue
        .push(line(Class::Verdict, "b"), &mut |_| vec![])
        .unwrap();
    queue.flush().unwrap();
    assert_eq!((old.text().as_str(), new.text().as_str()), ("a\n", "b\n"));
}

#[test]
fn verdicts_that_had_to_go_are_counted_apart() {
    let mut backlog = Backlog::new(400);
    let kept = |backlog: &mut Backlog| {
        let texts = backlog.take().into_iter().map(|item| match item {
            Item::Line(line) => line.content,
            Item::Replace(_) => panic!("no file"),
        });
        texts.collect::<Vec<_>>().len()
    };
    while !backlog.push(line(Class::Verdict, "conflict")) {}
    assert!(backlog.push(line(Class::Traffic, "assign")));
    assert!(
        !backlog.push(line(Class::Essential, "summary")),
        "it has a reserve"
    );
    let loss = backlog.loss();
    assert_eq!((loss.untold, loss.untold_verdicts, loss.total), (2, 1, 2));
    backlog.tell(vec![line(Class::Essential, "lost")]);
    let waiting = backlog.len();
    assert_eq!(kept(&mut backlog), waiting);
    assert_eq!(
        backlog.loss(),
        Loss {
            untold: 0,
            untold_verdicts: 0,
            total: 2
        }
    );
}
