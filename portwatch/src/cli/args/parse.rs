//! Values of options, read strictly: every bad shape has an error that shows a good one.

use crate::sink::redact::{RedactKey, RedactKeyError};
use std::num::{IntErrorKind, NonZeroU64};
use std::os::fd::RawFd;
use std::os::unix::fs::MetadataExt;
use std::str::FromStr;
use std::time::Duration;

/// What is wrong with a value.
#[derive(Debug, thiserror::Error)]
pub enum ParseError {
    /// `PORTWATCH_JSON=maybe`.
    #[error("`{0}` is neither true nor false; write for example 1 or 0")]
    Flag(String),
    /// `--comm ""`.
    #[error("a name is missing")]
    EmptyName,
    /// The kernel keeps 15 bytes of a name.
    #[error("process names end after 15 bytes; write `{0}`")]
    LongName(String),
    /// `--cgroup system.slice`.
    #[error("a cgroup path begins with `/`, as in /proc/PID/cgroup; write `/{0}`")]
    RelativeCgroup(String),
    /// `--duration soon`.
    #[error("`{0}` is not a length of time; write for example 30, 30s, 5m or 2h")]
    Duration(String),
    /// `--duration 0`.
    #[error("the time must be longer than nothing")]
    NoDuration,
    /// `--max-conflicts 0`.
    #[error("`{0}` is not a number of incidents; give one from 1 up")]
    Count(String),
    /// A number that no type holds.
    #[error("{0} is too large")]
    TooLarge(String),
    /// `--netns ""`.
    #[error("a network namespace is missing; give an inode or a path such as /run/netns/blue")]
    EmptyNetns,
    /// No inode, no such path.
    #[error("`{0}` is neither an inode nor a path that opens; `ip netns` lists the named ones")]
    NoNetns(String, #[source] std::io::Error),
    /// A path to something else.
    #[error(
        "`{0}` is not a network namespace; give a path such as /run/netns/blue or /proc/PID/ns/net"
    )]
    NotNetns(String),
    /// `--ready-fd 1`.
    #[error("`{0}` cannot be the ready descriptor; give one that the caller opened, from 3 up")]
    ReadyFd(String),
    /// `--capture-rotate-size 0`.
    #[error("`{0}` is not a size; give for example 500K, 64M or 1G")]
    Size(String),
    /// `--speed 0`.
    #[error("`{0}` is not a speed; give a number above 0, for example 1, 0.5 or 100")]
    Speed(String),
    /// `--ring-size 100`.
    #[error("`{0}` is not a ring's size; give a power of two from 4K to 1G, for example 256K")]
    RingSize(String),
    /// A file without a key.
    #[error("`{0}` holds no key: {1}")]
    NoKey(String, RedactKeyError),
    /// No such file.
    #[error("`{0}` cannot be read")]
    NoKeyFile(String, #[source] std::io::Error),
}

/// The key in a file.
pub(super) fn redact_key(path: &str) -> Result<RedactKey, ParseError> {
    let text = std::fs::read_to_string(path);
    let text = text.map_err(|error| ParseError::NoKeyFile(path.to_owned(), error))?;
    text.parse()
        .map_err(|error| ParseError::NoKey(path.to_owned(), error))
}

/// The value of a flag's variable; an empty one is no, as a line `NAME=` of an EnvironmentFile says.
pub(super) fn flag(text: &str) -> Result<bool, ParseError> {
    match text.to_lowercase().as_str() {
        "1" | "true" | "yes" | "on" | "y" => Ok(true),
        "" | "0" | "false" | "no" | "off" | "n" => Ok(false),
        _ => Err(ParseError::Flag(text.to_owned())),
    }
}

/// A process name, as the kernel can hold it.
pub(super) fn comm(text: &str) -> Result<String, ParseError> {
    const LONGEST: usize = 15;
    match text.len() {
        0 => Err(ParseError::EmptyName),
        1..=LONGEST => Ok(text.to_owned()),
        _ => {
            let end = (0..=LONGEST)
                .rev()
                .find(|&end| text.is_char_boundary(end))
                .unwrap_or(0);
            Err(ParseError::LongName(text[..end].to_owned()))
        }
    }
}

/// A cgroup's path inside the hierarchy; the mount point in front is taken off.
pub(super) fn cgroup(text: &str) -> Result<String, ParseError> {
    let path = text
        .strip_prefix("/sys/fs/cgroup")
        .filter(|rest| rest.starts_with('/'));
    let path = path.unwrap_or(text);
    if !path.starts_with('/') {
        return Err(ParseError::RelativeCgroup(path.to_owned()));
    }
    match path.trim_end_matches('/') {
        "" => Ok("/".to_owned()),
        path => Ok(path.to_owned()),
    }
}

/// `30`, `30s`, `500ms`, `5m`, `2h`, `1d`.
pub(super) fn duration(text: &str) -> Result<Duration, ParseError> {
    let bad = || ParseError::Duration(text.to_owned());
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let unit_ms = match unit.trim() {
        "ms" => 1,
        "" | "s" => 1000,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(bad()),
    };
    let number = match number.parse::<u64>() {
        Ok(0) => return Err(ParseError::NoDuration),
        Ok(number) => number,
        Err(error) if *error.kind() == IntErrorKind::PosOverflow => {
            return Err(ParseError::TooLarge(text.to_owned()));
        }
        Err(_) => return Err(bad()),
    };
    let ms = number
        .checked_mul(unit_ms)
        .ok_or_else(|| ParseError::TooLarge(text.to_owned()))?;
    Ok(Duration::from_millis(ms))
}

/// A number of incidents after which a run ends.
pub(super) fn count(text: &str) -> Result<NonZeroU64, ParseError> {
    text.trim()
        .parse()
        .map_err(|error: std::num::ParseIntError| {
            if *error.kind() == IntErrorKind::PosOverflow {
                ParseError::TooLarge(text.to_owned())
            } else {
                ParseError::Count(text.to_owned())
            }
        })
}

/// A descriptor that is not one of the standard three: it is closed after the word.
pub(super) fn ready_fd(text: &str) -> Result<RawFd, ParseError> {
    let fd = text.parse().ok().filter(|&fd| fd > 2);
    fd.ok_or_else(|| ParseError::ReadyFd(text.to_owned()))
}

/// A power of two of bytes, at least a page and at most what a ring can have.
pub(super) fn ring_size(text: &str) -> Result<u32, ParseError> {
    bytes(text)
        .and_then(|size| u32::try_from(size).ok())
        .filter(|size| size.is_power_of_two() && (1 << 12..=1 << 30).contains(size))
        .ok_or_else(|| ParseError::RingSize(text.to_owned()))
}

/// Bytes: `4096`, `500K`, `64M`, `1G`.
pub(super) fn size(text: &str) -> Result<u64, ParseError> {
    bytes(text)
        .filter(|&size| size > 0)
        .ok_or_else(|| ParseError::Size(text.to_owned()))
}

/// A number with a unit.
fn bytes(text: &str) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let unit = match unit {
        "" => 1,
        "K" | "k" => 1 << 10,
        "M" | "m" => 1 << 20,
        "G" | "g" => 1 << 30,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(unit)
}

/// Times as fast as it happened.
pub(super) fn speed(text: &str) -> Result<f64, ParseError> {
    let speed = text.parse().ok();
    speed
        .filter(|speed: &f64| speed.is_finite() && *speed > 0.0)
        .ok_or_else(|| ParseError::Speed(text.to_owned()))
}

/// Inode of a network namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Netns(pub u32);

impl FromStr for Netns {
    type Err = ParseError;

    /// An inode, `net:[4026531840]` as `readlink` prints it, or a path to a namespace.
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let inode = text
            .strip_prefix("net:[")
            .and_then(|text| text.strip_suffix(']'));
        match inode.unwrap_or(text) {
            "" => Err(ParseError::EmptyNetns),
            // No namespace has it: where one is not known, 0 stands in its place.
            zero if zero.bytes().all(|byte| byte == b'0') => {
                Err(ParseError::NotNetns(zero.to_owned()))
            }
            inode if inode.bytes().all(|byte| byte.is_ascii_digit()) => inode
                .parse()
                .map(Self)
                .map_err(|_| ParseError::TooLarge(inode.to_owned())),
            path => of_path(path),
        }
    }
}

fn of_path(path: &str) -> Result<Netns, ParseError> {
    let file =
        std::fs::metadata(path).map_err(|error| ParseError::NoNetns(path.to_owned(), error))?;
    let not = || ParseError::NotNetns(path.to_owned());
    let system = nix::sys::statfs::statfs(path).map_err(|_| not())?;
    let other = std::fs::read_link(path).is_ok_and(|to| !to.to_string_lossy().starts_with("net:["));
    if system.filesystem_type() != nix::sys::statfs::NSFS_MAGIC || other {
        return Err(not());
    }
    u32::try_from(file.ino()).map(Netns).map_err(|_| not())
}
