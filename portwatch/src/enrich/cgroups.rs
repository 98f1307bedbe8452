//! From the id of a cgroup to its path, for processes that are gone: /proc does not show theirs.
//!
//! The id is the inode of the cgroup's directory in the cgroup2 hierarchy (fs/kernfs/inode.c, where an
//! inode has 64 bits). The hierarchy is searched, within a bound; answers are kept and checked.

use crate::probe::mountinfo;
use std::collections::{HashMap, VecDeque};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Directories looked at in one search; a host with more cgroups has no names for its dead.
const SEARCHED_MAX: usize = 10_000;

/// Time of one search.
const BUDGET: Duration = Duration::from_millis(50);

/// A cgroup that was not found is not searched for again for so long.
const SEARCH_AGAIN: Duration = Duration::from_secs(1);

/// More paths than this are not remembered.
const KNOWN_MAX: usize = 4096;

/// The cgroup2 hierarchy.
#[derive(Debug)]
pub struct Cgroups {
    root: Option<PathBuf>,
    known: HashMap<u64, String>,
    missing: HashMap<u64, Instant>,
}

impl Cgroups {
    /// The hierarchy that is mounted according to the /proc at `proc_root`.
    #[must_use]
    pub fn new(proc_root: &Path) -> Self {
        let mounts = mountinfo::read(proc_root);
        // A mount of a part of it would give paths that are cut.
        let whole = mounts
            .into_iter()
            .find(|mount| mount.kind == "cgroup2" && mount.root == Path::new("/"));
        Self::at(whole.map(|mount| mount.point))
    }

    fn at(root: Option<PathBuf>) -> Self {
        Self {
            root,
            known: HashMap::new(),
            missing: HashMap::new(),
        }
    }

    /// The path of the cgroup with this id, as /proc/PID/cgroup would show it; `None` if it is gone
    /// or was not found in time.
    pub fn path(&mut self, id: u64) -> Option<String> {
        let root = self.root.clone()?;
        if let Some(path) = self.known.get(&id)
            && inode(&root.join(path.trim_start_matches('/'))) == Some(id)
        {
            return Some(path.clone());
        }
        self.known.remove(&id);
        self.missing
            .retain(|_, since| since.elapsed() < SEARCH_AGAIN);
        if self.missing.contains_key(&id) {
            return None;
        }
        let Some(found) = search(&root, id) else {
            self.missing.insert(id, Instant::now());
            return None;
        };
        let below = found.strip_prefix(&root).ok()?.to_str()?;
        let path = format!("/{below}");
        if self.known.len() >= KNOWN_MAX {
            self.known.clear();
        }
        self.known.insert(id, path.clone());
        Some(path)
    }
}

/// Breadth first: services and slices come before what is nested in containers.
fn search(root: &Path, id: u64) -> Option<PathBuf> {
    let end = Instant::now() + BUDGET;
    let mut todo = VecDeque::from([root.to_owned()]);
    let mut seen = 0;
    while let Some(dir) = todo.pop_front() {
        if inode(&dir) == Some(id) {
            return Some(dir);
        }
        seen += 1;
        if seen > SEARCHED_MAX || Instant::now() > end {
            return None;
        }
        let entries = std::fs::read_dir(&dir).into_iter().flatten().flatten();
        let below = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        todo.extend(below.map(|entry| entry.path()));
    }
    None
}

fn inode(dir: &Path) -> Option<u64> {
    Some(std::fs::metadata(dir).ok()?.ino())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_by_its_inode_until_it_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let service = dir.path().join("system.slice/app.service");
        std::fs::create_dir_all(&service).unwrap();
        std::fs::create_dir_all(dir.path().join("user.slice")).unwrap();
        let id = inode(&service).unwrap();
        let mut cgroups = Cgroups::at(Some(dir.path().to_owned()));
        let told = Some("/system.slice/app.service".to_owned());
        assert_eq!(cgroups.path(id), told);
        assert_eq!(cgroups.path(id), told);
        assert_eq!(
            cgroups.path(inode(dir.path()).unwrap()),
            Some("/".to_owned())
        );
        std::fs::remove_dir(&service).unwrap();
        assert_eq!(cgroups.path(id), None);
    }

    #[test]
    fn without_a_hierarchy_nothing_is_known() {
        assert_eq!(Cgroups::at(None).path(1), None);
    }
}
