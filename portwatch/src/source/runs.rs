//! Which captures belong together: the files of a run, in order.

use crate::capture::{CaptureError, CaptureHeader, CaptureReader, Damage, Passed, Piece};
use crate::decode::Traffic;
use crate::export::wall_ns;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// What is read; told apart for the progress bar.
pub type Bytes = Box<dyn Read>;

/// Opens a file, `-` as standard input.
pub type Open<'a> = dyn Fn(&Path) -> io::Result<Bytes> + 'a;

/// Why captures cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("`{path}`")]
pub struct RunsError {
    path: String,
    #[source]
    source: CaptureError,
}

impl RunsError {
    fn of(path: &Path) -> impl FnOnce(CaptureError) -> Self + '_ {
        move |source| Self {
            path: path.display().to_string(),
            source,
        }
    }
}

/// The files of one run, read one after the other.
pub struct Run {
    header: CaptureHeader,
    /// The file that is read and those behind it.
    files: VecDeque<(PathBuf, u32)>,
    reader: Option<CaptureReader<Bytes>>,
    part: u32,
    told: Option<Damage>,
    last: u64,
}

/// The runs in `paths`, in order of their beginning, and files of directories that are no captures
/// which this build can read, with the reason.
///
/// # Errors
/// A path that was named itself cannot be read.
pub fn runs(paths: &[PathBuf], open: &Open<'_>) -> Result<(Vec<Run>, Vec<String>), RunsError> {
    let mut runs: Vec<Run> = Vec::new();
    let mut skipped = Vec::new();
    for path in paths {
        if is_stream(path) {
            let source = open(path).map_err(CaptureError::Read);
            let reader = source.and_then(CaptureReader::new);
            let reader = reader.map_err(RunsError::of(path))?;
            let mut run = Run::of(reader.header().clone());
            run.files.push_back((path.clone(), run.part));
            run.reader = Some(reader);
            runs.push(run);
        } else if path.is_dir() {
            for file in inside(path).map_err(RunsError::of(path))? {
                match header(&file) {
                    Ok(header) => skipped.extend(join(&mut runs, &file, header)),
                    Err(error) => skipped.push(format!("`{}`: {error}", file.display())),
                }
            }
        } else {
            let header = header(path).map_err(RunsError::of(path))?;
            skipped.extend(join(&mut runs, path, header));
        }
    }
    for run in &mut runs {
        run.files.make_contiguous().sort_by_key(|(_, part)| *part);
        let first = run.files.front().map_or(run.header.part, |(_, part)| *part);
        run.part = first;
        if first > 0 {
            run.told = Some(Damage::Parts {
                first: 0,
                next: first,
            });
        }
    }
    runs.sort_by_key(Run::began);
    Ok((runs, skipped))
}

/// What can be read only once: standard input, a FIFO, what a shell gives for `<(...)`.
fn is_stream(path: &Path) -> bool {
    let special = |about: std::fs::Metadata| !about.is_file() && !about.is_dir();
    path == Path::new("-") || path.metadata().is_ok_and(special)
}

/// The captures in a directory, by their first bytes, and what only has the name of one: its
/// beginning may be damaged.
fn inside(dir: &Path) -> Result<Vec<PathBuf>, CaptureError> {
    let entries = std::fs::read_dir(dir).map_err(CaptureError::Read)?;
    let (mut files, mut captures) = (Vec::new(), 0);
    for entry in entries {
        let entry = entry.map_err(CaptureError::Read)?;
        let path = entry.path();
        let begins = path.is_file() && CaptureHeader::begins(&path);
        let named = entry.file_name().to_string_lossy().contains(".pwcap");
        captures += usize::from(begins);
        if begins || (named && path.is_file()) {
            files.push(path);
        }
    }
    files.sort();
    match captures {
        0 => Err(CaptureError::Foreign),
        _ => Ok(files),
    }
}

fn header(path: &Path) -> Result<CaptureHeader, CaptureError> {
    let file = File::open(path).map_err(CaptureError::Read)?;
    Ok(CaptureReader::new(file)?.header().clone())
}

/// Adds a file to its run; of two copies the longer one. Why the other is skipped, if it is shorter.
fn join(runs: &mut Vec<Run>, path: &Path, header: CaptureHeader) -> Option<String> {
    let part = header.part;
    let known = runs
        .iter_mut()
        .find(|run| run.header.run == header.run && run.reader.is_none());
    let run = match known {
        Some(run) => run,
        None => {
            runs.push(Run::of(header.clone()));
            runs.last_mut()?
        }
    };
    if part < run.header.part {
        run.header = header;
    }
    let Some((other, _)) = run.files.iter_mut().find(|(_, known)| *known == part) else {
        run.files.push_back((path.to_owned(), part));
        return None;
    };
    // The same file under two names is one; one whose end is missing is no match for the whole.
    let mut shorter = path.to_owned();
    if length(path) > length(other) {
        std::mem::swap(other, &mut shorter);
    }
    (length(&shorter) < length(other)).then(|| {
        format!(
            "`{}`: a longer copy of it is read, `{}`",
            shorter.display(),
            other.display()
        )
    })
}

fn length(path: &Path) -> u64 {
    path.metadata().map_or(0, |about| about.len())
}

impl Run {
    fn of(header: CaptureHeader) -> Self {
        Self {
            part: header.part,
            header,
            files: VecDeque::new(),
            reader: None,
            told: None,
            last: 0,
        }
    }

    /// The header of its first file.
    #[must_use]
    pub fn header(&self) -> &CaptureHeader {
        &self.header
    }

    /// When its first file began, nanoseconds since 1970.
    #[must_use]
    pub fn began(&self) -> i64 {
        let begin = &self.header.begin;
        wall_ns(begin.anchor, begin.started)
    }

    /// Another run follows in the same stream.
    pub(super) fn becomes(&mut self, header: &CaptureHeader) {
        self.header = header.clone();
        self.last = 0;
    }

    /// Goes behind records that nobody needs, as [`CaptureReader::pass_over`].
    pub fn pass_over(&mut self, passes: impl FnMut(Traffic) -> bool) -> Passed {
        let reader = self.reader.as_mut().filter(|_| self.told.is_none());
        let passed = reader.map_or_else(Passed::default, |reader| reader.pass_over(passes));
        self.last = self.last.max(passed.last.0);
        passed
    }

    /// The next piece of the run; `None` at its end.
    ///
    /// # Errors
    /// Reading failed.
    pub fn next(&mut self, open: &Open<'_>) -> Result<Option<Piece>, RunsError> {
        loop {
            if let Some(damage) = self.told.take() {
                return Ok(Some(Piece::Damage(damage)));
            }
            let Some(reader) = &mut self.reader else {
                let Some((path, part)) = self.files.front() else {
                    return Ok(None);
                };
                if *part > self.part {
                    self.told = Some(Damage::Parts {
                        first: self.part,
                        next: *part,
                    });
                }
                self.part = part.saturating_add(1);
                let source = open(path).map_err(CaptureError::Read);
                let reader = source.and_then(CaptureReader::new);
                self.reader = Some(reader.map_err(RunsError::of(path))?);
                continue;
            };
            let name = || match self.files.front() {
                Some((path, _)) => path.clone(),
                None => PathBuf::from("-"),
            };
            match reader.next_piece() {
                Ok(Some(piece)) => {
                    if let Piece::Step(step) = &piece {
                        self.last = self.last.max(step.time.0);
                    }
                    return Ok(Some(piece));
                }
                Ok(None) => {
                    let goes_on = reader.ended() == Some(true);
                    self.reader = None;
                    self.files.pop_front();
                    if goes_on && self.files.is_empty() {
                        self.told = Some(Damage::Torn {
                            bytes: 0,
                            after: self.last,
                        });
                    }
                }
                Err(error) => return Err(RunsError::of(&name())(error)),
            }
        }
    }
}
