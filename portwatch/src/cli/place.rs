//! Where a command writes: never into what it reads.

use crate::export::Draft;
use anyhow::{Context as _, Result, bail};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// One file, or standard output.
pub(super) struct Place {
    pub(super) out: Box<dyn Write + Send>,
    /// What errors call it.
    pub(super) name: String,
    draft: Option<Draft>,
}

impl Place {
    /// Makes the file, before the captures are read: a place that cannot be written to is no end of a
    /// long wait. `None` and `-` are standard output.
    ///
    /// # Errors
    /// It cannot be made, or is one of `captures`.
    pub(super) fn make(path: Option<&Path>, captures: &[PathBuf]) -> Result<Self> {
        let Some(path) = path.filter(|path| *path != Path::new("-")) else {
            return Ok(Self {
                out: Box::new(io::BufWriter::with_capacity(1 << 16, io::stdout())),
                name: "standard output".to_owned(),
                draft: None,
            });
        };
        spare(path, captures)?;
        let name = format!("`{}`", path.display());
        let (out, draft) = Draft::create(path).with_context(|| format!("could not make {name}"))?;
        Ok(Self {
            out: Box::new(out),
            name,
            draft: Some(draft),
        })
    }

    /// Not standard output.
    pub(super) fn is_file(&self) -> bool {
        self.draft.is_some()
    }

    /// Takes what is written, and what makes it stay.
    pub(super) fn into_parts(self) -> (Box<dyn Write + Send>, Kept) {
        let kept = Kept {
            name: self.name,
            draft: self.draft,
        };
        (self.out, kept)
    }
}

/// See [`Place::into_parts`].
#[must_use]
pub(super) struct Kept {
    pub(super) name: String,
    draft: Option<Draft>,
}

impl Kept {
    /// Everything is written.
    ///
    /// # Errors
    /// The file cannot be given its name.
    pub(super) fn keep(self) -> Result<()> {
        let Self { name, draft } = self;
        let kept = draft.map_or(Ok(()), Draft::keep);
        kept.with_context(|| format!("could not write {name}"))
    }
}

/// An output is no capture that is read for it.
///
/// # Errors
/// It is.
pub(super) fn spare(output: &Path, captures: &[PathBuf]) -> Result<()> {
    let inside = |dir: &Path| std::fs::read_dir(dir).into_iter().flatten().flatten();
    for capture in captures {
        let own = match capture.is_dir() {
            true => inside(capture).any(|file| same_file(output, &file.path())),
            false => same_file(output, capture),
        };
        if own {
            bail!(
                "`{}` is what is read: the output needs a file of its own",
                output.display()
            );
        }
    }
    Ok(())
}

/// Both are there and are one plain file, whatever their names.
pub(super) fn same_file(one: &Path, other: &Path) -> bool {
    let id = |path: &Path| {
        let file = path.metadata().ok().filter(std::fs::Metadata::is_file)?;
        Some((file.dev(), file.ino()))
    };
    id(one).is_some_and(|one| id(other) == Some(one))
}
