//! Names of containers, asked of their engine: only with `--containers`, never waited for longer than
//! a moment.
//!
//! One thread asks; a verdict waits 100 ms for it and then goes on without. An answer that comes later
//! is there for the next attempt. Docker and Podman answer on their API's socket, CRI-O on its own;
//! containerd's CRI speaks gRPC, and what it would say stands in the bundle that it keeps of each
//! container.

mod ask;

use ask::Places;
use std::collections::{HashMap, HashSet};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::Builder;
use std::time::{Duration, Instant};

/// How long a verdict waits for a name.
const BUDGET: Duration = Duration::from_millis(100);

/// An engine that did not answer in time is not waited for again for so long.
const SLOW_FOR: Duration = Duration::from_secs(5);

/// Questions that may wait for the thread; more are asked at the next attempt.
const WAITING_MAX: usize = 64;

/// More names than this are not remembered.
const KNOWN_MAX: usize = 4096;

/// What the thread has found; `None` = the engine knows no such container, or does not answer.
#[derive(Debug, Default)]
struct Found {
    names: Mutex<HashMap<String, Option<String>>>,
    news: Condvar,
}

/// A question: the container's id, and what runs it if that is known.
type Question = (String, Option<String>);

/// The names of this machine's containers.
#[derive(Debug)]
pub struct Engines {
    questions: Option<SyncSender<Question>>,
    found: Arc<Found>,
    asked: HashSet<String>,
    slow_since: Option<Instant>,
}

impl Engines {
    /// Those of this machine. Without a thread to ask them no name is ever known.
    #[must_use]
    pub fn new() -> Self {
        Self::at(Places::of_this_machine())
    }

    fn at(places: Places) -> Self {
        let found = Arc::new(Found::default());
        let (questions, todo) = sync_channel::<Question>(WAITING_MAX);
        let theirs = Arc::clone(&found);
        let started = Builder::new()
            .name("portwatch-names".to_owned())
            .spawn(move || {
                while let Ok((id, runtime)) = todo.recv() {
                    let name = places.name(&id, runtime.as_deref());
                    let mut names = theirs.names.lock().unwrap_or_else(PoisonError::into_inner);
                    if names.len() >= KNOWN_MAX {
                        names.clear();
                    }
                    names.insert(id, name);
                    theirs.news.notify_all();
                }
            });
        if let Err(error) = &started {
            log::warn!("no thread to ask for containers' names: {error}");
        }
        Self {
            questions: started.is_ok().then_some(questions),
            found,
            asked: HashSet::new(),
            slow_since: None,
        }
    }

    /// The name of a container, if it is known within 100 ms.
    pub fn name(&mut self, id: &str, runtime: Option<&str>) -> Option<String> {
        let questions = self.questions.as_ref()?;
        let found = Arc::clone(&self.found);
        let mut names = found.names.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(name) = names.get(id) {
            return name.clone();
        }
        if self.asked.len() >= KNOWN_MAX {
            self.asked.clear();
        }
        if !self.asked.contains(id) {
            let question = (id.to_owned(), runtime.map(str::to_owned));
            questions.try_send(question).ok()?;
            self.asked.insert(id.to_owned());
        }
        if self
            .slow_since
            .is_some_and(|since| since.elapsed() < SLOW_FOR)
        {
            return None;
        }
        let missing = |names: &mut HashMap<_, _>| !names.contains_key(id);
        names = found
            .news
            .wait_timeout_while(names, BUDGET, missing)
            .unwrap_or_else(PoisonError::into_inner)
            .0;
        let name = names.get(id).cloned();
        self.slow_since = name.is_none().then(Instant::now);
        name.flatten()
    }
}

impl Default for Engines {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests;
