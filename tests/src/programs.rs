//! The real programs: where each comes from and where it stands once installed.
//!
//! `install-programs` installs them, the tests look them up here.

use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// A program from a Debian package.
#[derive(Debug, Clone, Copy)]
pub struct Packaged {
    /// The file, with a `*` for a version.
    pub file: &'static str,
    /// The package that brings it.
    pub package: &'static str,
}

/// Everything that comes from apt.
pub const PACKAGED: &[Packaged] = &[
    packaged("/usr/bin/python3", "python3"),
    packaged("/usr/lib/python3*/ensurepip", "python3-venv"),
    packaged("/usr/sbin/nginx", "nginx-light"),
    packaged("/usr/sbin/haproxy", "haproxy"),
    packaged("/usr/bin/caddy", "caddy"),
    packaged("/usr/lib/postgresql/*/bin/postgres", "postgresql"),
    packaged("/usr/lib/postgresql/*/bin/psql", "postgresql-client"),
    packaged("/usr/bin/redis-server", "redis-server"),
    packaged("/usr/bin/ceph-mon", "ceph-mon"),
    packaged("/usr/bin/ceph-osd", "ceph-osd"),
    packaged("/usr/bin/ceph", "ceph-common"),
    packaged("/usr/sbin/apache2", "apache2"),
    packaged("/usr/sbin/dnsmasq", "dnsmasq-base"),
    packaged("/usr/bin/dig", "bind9-dnsutils"),
    packaged("/usr/bin/curl", "curl"),
    packaged("/usr/bin/chromium", "chromium"),
    packaged(
        "/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf",
        "fonts-dejavu-core",
    ),
    packaged("/usr/bin/systemd-socket-activate", "systemd"),
    packaged("/lib/systemd/systemd", "systemd"),
    packaged("/usr/sbin/docker-proxy", "docker.io"),
    packaged("/usr/bin/node", "nodejs"),
    packaged("/usr/bin/npm", "npm"),
    packaged("/usr/bin/memcached", "memcached"),
    packaged("/usr/sbin/sshd", "openssh-server"),
    packaged("/usr/bin/ssh-keygen", "openssh-client"),
    packaged("/usr/bin/java", "openjdk-17-jdk-headless"),
    packaged("/usr/bin/javac", "openjdk-17-jdk-headless"),
    packaged("/usr/sbin/ip", "iproute2"),
    packaged("/usr/bin/nsenter", "util-linux"),
    packaged("/usr/bin/setpriv", "util-linux"),
];

/// Everything that comes from PyPI, into a virtual environment of its own.
pub const PYTHON: &[&str] = &[
    "flask",
    "django",
    "uvicorn",
    "gunicorn",
    "jupyter-server",
    "duckdb",
    "pyspark",
    "playwright",
];

/// Everything that comes from npm, into a folder of its own; the version of vite runs on Debian's Node.
pub const NODE: &[&str] = &["vite@5", "axe-core"];

const fn packaged(file: &'static str, package: &'static str) -> Packaged {
    Packaged { file, package }
}

/// The installed file of a pattern, the newest version first.
#[must_use]
pub fn find(pattern: &str) -> Option<PathBuf> {
    let Some((before, after)) = pattern.split_once('*') else {
        return Some(PathBuf::from(pattern)).filter(|path| path.exists());
    };
    let (folder, start) = before.rsplit_once('/')?;
    let mut versions: Vec<PathBuf> = Path::new(folder)
        .read_dir()
        .ok()?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            let name = path.file_name().and_then(OsStr::to_str);
            name.is_some_and(|name| name.starts_with(start))
        })
        .map(|version| version.join(after.trim_start_matches('/')))
        .filter(|path| path.exists())
        .collect();
    versions.sort();
    versions.pop()
}

/// What is not from apt stands in `programs` of the target directory.
#[must_use]
pub fn folder() -> PathBuf {
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../target")),
        PathBuf::from,
    );
    target.join("programs")
}

/// A command of the Python environment.
#[must_use]
pub fn python(command: &str) -> PathBuf {
    folder().join("python/bin").join(command)
}

/// A command of a Node package.
#[must_use]
pub fn node(command: &str) -> PathBuf {
    folder().join("node/node_modules/.bin").join(command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_found() {
        assert!(
            find("/pro*/self/stat").is_none(),
            "`*` stands for a whole name"
        );
        assert!(find("/proc/*/fd").is_some());
        assert!(find("/proc/no-such-file").is_none());
    }
}
