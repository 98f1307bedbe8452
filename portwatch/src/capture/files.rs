//! The files of a capture: the one that is written, those of a rotation, and how many are kept.

use super::error::CaptureError;
use super::header::CaptureHeader;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// Only root reads a capture: command lines can hold secrets.
const MODE: u32 = 0o600;

/// Digits of a rotated file's number, so that names sort.
const DIGITS: usize = 6;

/// One open file.
#[derive(Debug)]
pub(super) struct Out {
    file: File,
    /// Bytes of whole blocks.
    pub(super) len: u64,
    /// A regular file: it can be cut and renamed.
    pub(super) regular: bool,
}

impl Out {
    /// Appends; what was written of it in part is taken back on failure, where that is possible.
    pub(super) fn append(&mut self, pieces: &[&[u8]]) -> io::Result<()> {
        let file = &mut self.file;
        let written = pieces.iter().try_for_each(|piece| file.write_all(piece));
        match written.and_then(|()| self.file.flush()) {
            Ok(()) => {
                self.len += pieces.iter().map(|piece| piece.len() as u64).sum::<u64>();
                Ok(())
            }
            Err(error) => {
                if self.regular {
                    let _ = self.file.set_len(self.len);
                }
                Err(error)
            }
        }
    }
}

/// Makes the file for a new run. A capture that has the name is moved away: to the next free number
/// if there is a rotation, else to `FILE.old`. Anything else that has it is left alone.
pub(super) fn create(path: &Path, rotates: bool) -> Result<Out, CaptureError> {
    let refuse = |why: String| CaptureError::Create {
        path: path.display().to_string(),
        why,
    };
    let there = match fs::metadata(path) {
        Ok(there) => there,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return new(path).map_err(|error| {
                refuse(format!(
                    "{error}; give a path in a directory you may write to"
                ))
            });
        }
        Err(error) => return Err(refuse(error.to_string())),
    };
    let kind = there.file_type();
    if kind.is_char_device() || kind.is_fifo() {
        let file = open_stream(path).map_err(|error| refuse(error.to_string()))?;
        return Ok(Out {
            file,
            len: 0,
            regular: false,
        });
    }
    if !kind.is_file() {
        return Err(refuse("it is not a file; give a file's path".to_owned()));
    }
    if there.len() > 0 && !CaptureHeader::begins(path) {
        return Err(refuse(
            "the file is there and is no capture; it is left as it is, choose another name"
                .to_owned(),
        ));
    }
    if there.len() == 0 {
        let file = OpenOptions::new().write(true).open(path);
        let file = file.map_err(|error| refuse(error.to_string()))?;
        let private = file.set_permissions(Permissions::from_mode(MODE));
        private.map_err(|error| refuse(error.to_string()))?;
        return Ok(Out {
            file,
            len: 0,
            regular: true,
        });
    }
    let aside = match rotates {
        true => numbered(path, next_number(path)),
        false => with_suffix(path, ".old"),
    };
    fs::rename(path, &aside).map_err(|error| refuse(error.to_string()))?;
    new(path).map_err(|error| refuse(error.to_string()))
}

/// Moves the finished file to the next free number and begins a new one.
pub(super) fn next(path: &Path) -> io::Result<Out> {
    fs::rename(path, numbered(path, next_number(path)))?;
    new(path)
}

/// Deletes the oldest numbered files until at most `keep` are left.
pub(super) fn prune(path: &Path, keep: usize) -> io::Result<()> {
    let mut numbers = rotated(path);
    numbers.sort_unstable();
    for number in numbers.iter().take(numbers.len().saturating_sub(keep)) {
        fs::remove_file(numbered(path, *number))?;
    }
    Ok(())
}

/// Opens a device or a FIFO, and says so before it waits for somebody to read.
fn open_stream(path: &Path) -> io::Result<File> {
    let at_once = OpenOptions::new()
        .write(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path);
    match at_once {
        Ok(file) => {
            // Kept, and not opened anew: a reader would take a writer that leaves for the end.
            fcntl(&file, FcntlArg::F_SETFL(OFlag::empty()))?;
            Ok(file)
        }
        Err(error) if error.raw_os_error() == Some(libc::ENXIO) => {
            let shown = path.display();
            log::warn!(
                "nobody reads {shown} yet: waiting for a reader; what fails meanwhile is told then, as \
                 far as the kernel's ring holds it"
            );
            OpenOptions::new().write(true).open(path)
        }
        Err(error) => Err(error),
    }
}

fn new(path: &Path) -> io::Result<Out> {
    // Never through a link that somebody put there in between.
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(MODE)
        .open(path)?;
    Ok(Out {
        file,
        len: 0,
        regular: true,
    })
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn numbered(path: &Path, number: u32) -> PathBuf {
    with_suffix(path, &format!(".{number:0DIGITS$}"))
}

fn next_number(path: &Path) -> u32 {
    rotated(path)
        .into_iter()
        .max()
        .unwrap_or(0)
        .saturating_add(1)
}

/// Numbers of the rotated files beside `path`.
fn rotated(path: &Path) -> Vec<u32> {
    let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else {
        return Vec::new();
    };
    let dir = match dir.as_os_str().is_empty() {
        true => Path::new("."),
        false => dir,
    };
    let name = name.to_string_lossy();
    let entries = fs::read_dir(dir).into_iter().flatten();
    entries
        .filter_map(|entry| {
            let file = entry.ok()?.file_name();
            let digits = file.to_str()?.strip_prefix(&*name)?.strip_prefix('.')?;
            let all = digits.len() >= DIGITS && digits.bytes().all(|byte| byte.is_ascii_digit());
            digits.parse().ok().filter(|_| all)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::header::MAGIC;
    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(dir)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_capture_is_private_and_none_is_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.pwcap");
        create(&path, false).unwrap().append(&[&MAGIC]).unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        create(&path, false).unwrap();
        assert_eq!(names(dir.path()), ["a.pwcap", "a.pwcap.old"]);
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        create(&path, false).unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        fs::write(&path, "my diary").unwrap();
        let error = create(&path, true).unwrap_err().to_string();
        assert!(error.contains("no capture"), "{error}");
        assert_eq!(fs::read(&path).unwrap(), b"my diary");
        assert!(create(Path::new("/no/such/dir/a"), false).is_err());
        assert!(create(dir.path(), false).is_err());
    }

    #[test]
    fn rotated_files_are_numbered_and_the_oldest_go() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        create(&path, true).unwrap().append(&[&MAGIC]).unwrap();
        for _ in 0..3 {
            next(&path).unwrap().append(&[&MAGIC]).unwrap();
        }
        fs::write(dir.path().join("a.7"), "not ours").unwrap();
        create(&path, true).unwrap();
        assert_eq!(
            names(dir.path()),
            ["a", "a.000001", "a.000002", "a.000003", "a.000004", "a.7"]
        );
        prune(&path, 2).unwrap();
        assert_eq!(names(dir.path()), ["a", "a.000003", "a.000004", "a.7"]);
    }
}
