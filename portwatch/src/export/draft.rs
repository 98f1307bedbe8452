//! A file that is there once it is whole: a run that is interrupted, or a disk that is full, leaves
//! what stood there as it was.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use tempfile::{Builder, TempPath};

/// What is written goes to a file beside its place, which takes the place at the end.
#[derive(Debug)]
#[must_use = "what was written is thrown away unless it is kept"]
pub(crate) struct Draft(Option<(TempPath, PathBuf)>);

impl Draft {
    /// Makes the file for its owner alone, as captures are: command lines can hold secrets. One that is
    /// replaced passes on its mode. What is no plain file (a pipe, a device) is written to at once.
    ///
    /// # Errors
    /// It cannot be made.
    pub(crate) fn create(path: &Path) -> io::Result<(BufWriter<File>, Self)> {
        let (file, draft) = match fs::metadata(path) {
            Ok(there) if there.is_file() => {
                let path = path.canonicalize()?;
                // Also where the directory takes no new file: this one may be written to.
                match beside(&path) {
                    Ok((file, draft)) => {
                        file.set_permissions(there.permissions())?;
                        (file, draft)
                    }
                    Err(error) if error.kind() == ErrorKind::PermissionDenied => at_once(&path)?,
                    Err(error) => return Err(error),
                }
            }
            Ok(_) => at_once(path)?,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                if let Some(dir) = directory(path) {
                    let mut make = fs::DirBuilder::new();
                    make.recursive(true).mode(0o700).create(dir)?;
                }
                // A link that leads nowhere is no place for a file, nor is `x/`.
                match path.is_symlink() || path.file_name().is_none() {
                    true => at_once(path)?,
                    false => beside(path)?,
                }
            }
            Err(error) => return Err(error),
        };
        Ok((BufWriter::with_capacity(1 << 16, file), draft))
    }

    /// The file is whole.
    ///
    /// # Errors
    /// It cannot be given its name.
    pub(crate) fn keep(self) -> io::Result<()> {
        match self.0 {
            Some((file, path)) => file.persist(path).map_err(|error| error.error),
            None => Ok(()),
        }
    }
}

fn directory(path: &Path) -> Option<&Path> {
    path.parent().filter(|dir| !dir.as_os_str().is_empty())
}

fn at_once(path: &Path) -> io::Result<(File, Draft)> {
    let mut open = OpenOptions::new();
    open.write(true).create(true).truncate(true).mode(0o600);
    Ok((open.open(path)?, Draft(None)))
}

/// Under a name that no `*.parquet` finds.
fn beside(path: &Path) -> io::Result<(File, Draft)> {
    let mut file = Builder::new();
    let file = file.prefix(".portwatch-").suffix(".partial");
    let file = file.tempfile_in(directory(path).unwrap_or(Path::new(".")))?;
    let (file, temporary) = file.into_parts();
    Ok((file, Draft(Some((temporary, path.to_owned())))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn names(dir: &Path) -> Vec<String> {
        let entries = fs::read_dir(dir).unwrap();
        let name = |entry: io::Result<fs::DirEntry>| entry.unwrap().file_name();
        let mut names: Vec<_> = entries
            .map(|entry| name(entry).into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_is_there_once_it_is_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new/page.html");
        let (mut out, draft) = Draft::create(&path).unwrap();
        out.write_all(b"half").unwrap();
        assert!(!path.exists());
        drop((out, draft));
        assert_eq!(names(&dir.path().join("new")), Vec::<String>::new());

        let (mut out, draft) = Draft::create(&path).unwrap();
        out.write_all(b"whole").unwrap();
        out.flush().unwrap();
        draft.keep().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"whole");
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&path), 0o600);

        // Replaced by the name of a link: the link stays, and the mode.
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let link = dir.path().join("link");
        symlink("new/page.html", &link).unwrap();
        let (mut out, draft) = Draft::create(&link).unwrap();
        out.write_all(b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"whole");
        out.flush().unwrap();
        draft.keep().unwrap();
        assert_eq!(
            (fs::read(&path).unwrap(), mode(&path)),
            (b"new".to_vec(), 0o644)
        );
        assert!(link.is_symlink());
        assert_eq!(names(&dir.path().join("new")), ["page.html"]);
    }

    #[test]
    fn devices_are_written_to() {
        let (mut out, draft) = Draft::create(Path::new("/dev/full")).unwrap();
        out.write_all(b"x").unwrap();
        assert!(out.flush().is_err());
        draft.keep().unwrap();
        let dir = tempfile::tempdir().unwrap();
        assert!(Draft::create(dir.path()).is_err());
    }
}
