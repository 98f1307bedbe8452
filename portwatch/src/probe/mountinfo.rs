//! The mounts that this process sees, from the text of /proc/self/mountinfo (proc(5)).

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// One mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Device of the file system, as `st_dev` of the files in it.
    pub device: u64,
    /// What of the file system is mounted: a path in it, or `net:[INODE]` for a namespace.
    pub root: PathBuf,
    /// Where it is mounted.
    pub point: PathBuf,
    /// Type of the file system: `cgroup2`, `tracefs`, `nsfs`, ...
    pub kind: String,
}

impl Mount {
    /// Inode of the mount's root, if its point still leads there and is not under another mount.
    #[must_use]
    pub fn inode(&self) -> Option<u64> {
        let meta = std::fs::metadata(&self.point).ok()?;
        (meta.dev() == self.device).then(|| meta.ino())
    }
}

/// Every line that can be read, in the kernel's order; others are skipped.
#[must_use]
pub fn parse(text: &[u8]) -> Vec<Mount> {
    text.split(|&byte| byte == b'\n').filter_map(line).collect()
}

/// The mounts of this process; empty where /proc cannot be read.
#[must_use]
pub fn read(proc_root: &Path) -> Vec<Mount> {
    std::fs::read(proc_root.join("self/mountinfo"))
        .map(|text| parse(&text))
        .unwrap_or_default()
}

fn line(line: &[u8]) -> Option<Mount> {
    let fields: Vec<&[u8]> = line.split(|&byte| byte == b' ').collect();
    let device = std::str::from_utf8(fields.get(2)?).ok()?;
    let (major, minor) = device.split_once(':')?;
    // Any number of optional fields, then a lone hyphen, then the type.
    let hyphen = fields.iter().skip(6).position(|field| *field == b"-")? + 6;
    Some(Mount {
        device: libc::makedev(major.parse().ok()?, minor.parse().ok()?),
        root: unescape(fields.get(3)?),
        point: unescape(fields.get(4)?),
        kind: String::from_utf8_lossy(fields.get(hyphen + 1)?).into_owned(),
    })
}

/// The kernel writes blanks, tabs, newlines and backslashes as `\040` and so on
/// (fs/proc_namespace.c, `mangle`).
fn unescape(field: &[u8]) -> PathBuf {
    let mut path = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, tail)) = rest.split_first() {
        let code = tail.get(..3).filter(|_| first == b'\\').and_then(octal);
        path.push(code.unwrap_or(first));
        rest = match code {
            Some(_) => tail.get(3..).unwrap_or_default(),
            None => tail,
        };
    }
    PathBuf::from(OsString::from_vec(path))
}

fn octal(digits: &[u8]) -> Option<u8> {
    let digits = std::ffi::OsStr::from_bytes(digits).to_str()?;
    u8::from_str_radix(digits, 8).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_any_number_of_optional_fields() {
        let text =
            b"43 42 0:4 net:[4026532177] /run/netns/web rw shared:2 master:3 - nsfs nsfs rw\n\
            41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n";
        let mounts = parse(text);
        let expected = Mount {
            device: libc::makedev(0, 4),
            root: "net:[4026532177]".into(),
            point: "/run/netns/web".into(),
            kind: "nsfs".to_owned(),
        };
        assert_eq!(mounts.len(), 2);
        assert_eq!(mounts.first(), Some(&expected));
        assert_eq!(
            mounts.last().map(|mount| mount.kind.as_str()),
            Some("cgroup2")
        );
    }

    #[test]
    fn escaped_paths_are_read_back() {
        let mounts = parse(b"1 2 254:0 / /mnt/a\\040b\\134c\\01 rw - ext4 /dev/vda rw");
        assert_eq!(
            mounts.first().map(|mount| mount.point.clone()),
            Some(PathBuf::from("/mnt/a b\\c\\01"))
        );
    }

    #[test]
    fn what_is_no_mount_is_skipped() {
        for text in [
            "",
            "\n\n",
            "1 2 3",
            "1 2 0:x / / rw - a b c",
            "1 2 0:4 / / rw",
            "- - - - - - -",
        ] {
            assert_eq!(parse(text.as_bytes()), [], "{text}");
        }
    }

    #[test]
    fn this_process_sees_its_proc() {
        let mounts = read(Path::new("/proc"));
        let proc = mounts
            .iter()
            .find(|mount| mount.point == Path::new("/proc"));
        assert_eq!(proc.map(|mount| mount.kind.as_str()), Some("proc"));
        assert!(proc.and_then(Mount::inode).is_some());
    }
}
