//! Debian's kernels: fetched as packages, unpacked, never installed, kept.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};

use crate::{debian, machine, step::Step};

/// How long a download may take: 110 MB.
const DOWNLOAD_LIMIT: Duration = Duration::from_secs(600);

/// A line of Debian's kernels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Series {
    /// Debian 12's.
    V6_1,
    /// Debian 13's, as Debian 12's backport.
    V6_12,
}

impl Series {
    /// Every kernel the suite runs on.
    pub(crate) const ALL: &[Self] = &[Self::V6_1, Self::V6_12];

    /// As a user names it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::V6_1 => "6.1",
            Self::V6_12 => "6.12",
        }
    }

    /// The package that depends on the newest kernel of the line. The generic flavour: the cloud
    /// flavour has no 9p.
    fn metapackage(self) -> &'static str {
        match self {
            Self::V6_1 => "linux-image-amd64",
            Self::V6_12 => "linux-image-6.12-amd64",
        }
    }
}

/// An unpacked kernel.
pub(crate) struct Kernel {
    /// Its line.
    pub(crate) series: Series,
    /// `uname -r`.
    pub(crate) release: String,
    /// `boot` and `lib/modules` are in here.
    pub(crate) root: PathBuf,
}

impl Kernel {
    /// The file that QEMU boots.
    pub(crate) fn image(&self) -> PathBuf {
        self.root.join(format!("boot/vmlinuz-{}", self.release))
    }

    /// Its modules.
    pub(crate) fn modules(&self) -> PathBuf {
        self.root.join("lib/modules").join(&self.release)
    }
}

/// Fetches the newest kernel of a line, or takes the one that is there.
pub(crate) fn fetch(series: Series) -> Result<Kernel> {
    let folder = super::folder().join(series.name());
    let wanted = newest(series);
    let kept = |package: &str| {
        let root = folder.join(package);
        root.is_dir().then(|| kernel(series, package, root))
    };
    let package = match &wanted {
        Ok(package) => package.clone(),
        // Without package lists, what was fetched before is good enough.
        Err(_) => match last_kept(&folder) {
            Some(package) => package,
            None => wanted?,
        },
    };
    if let Some(kernel) = kept(&package) {
        return Ok(kernel);
    }
    let root = folder.join(&package);
    unpack(&folder, &package, &root)?;
    Ok(kernel(series, &package, root))
}

fn kernel(series: Series, package: &str, root: PathBuf) -> Kernel {
    let release = release(package).to_owned();
    Kernel {
        series,
        release,
        root,
    }
}

/// The package with the newest kernel of a line.
fn newest(series: Series) -> Result<String> {
    let meta = series.metapackage();
    let package = match depends(meta)? {
        Some(package) => Some(package),
        None => {
            debian::apt_get("fetch the package lists", &["update"])?;
            depends(meta)?
        }
    };
    let of_series = |package: &String| release(package).starts_with(&format!("{}.", series.name()));
    package.filter(of_series).with_context(|| {
        format!(
            "Debian's `{meta}` is not in this machine's package lists, or is no kernel {}\n  what to \
             do: give it Debian 12's sources, with bookworm-updates and bookworm-backports",
            series.name()
        )
    })
}

/// `uname -r` of a kernel's package.
fn release(package: &str) -> &str {
    package.trim_start_matches("linux-image-")
}

fn depends(meta: &str) -> Result<Option<String>> {
    let output = Command::new("apt-cache")
        .args(["depends", "--important", meta])
        .output()
        .context("`apt-cache` does not start")?;
    Ok(image_package(&String::from_utf8_lossy(&output.stdout)))
}

/// The kernel's package in the output of `apt-cache depends`.
fn image_package(text: &str) -> Option<String> {
    text.lines()
        .filter_map(|line| line.trim().strip_prefix("Depends: "))
        .find(|package| package.starts_with("linux-image-"))
        .map(str::to_owned)
}

/// A kernel that was fetched before.
fn last_kept(folder: &Path) -> Option<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .ok()?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.starts_with("linux-image-"))
        .collect();
    names.sort_unstable();
    names.pop()
}

/// Fetches a package and unpacks it to `root`, which appears only when it is complete.
fn unpack(folder: &Path, package: &str, root: &Path) -> Result<()> {
    let scratch = folder.join("fetching");
    if scratch.exists() {
        fs::remove_dir_all(&scratch)?;
    }
    fs::create_dir_all(&scratch)?;
    let download = || {
        let mut apt = Command::new("apt-get");
        apt.args(["-q", "download", package]).current_dir(&scratch);
        Step::new(format!("fetch {package}"), apt)
            .fix("see that Debian's mirror can be reached; `apt-get update` may help")
            .limit(DOWNLOAD_LIMIT)
            .quietly()
    };
    if download().is_err() {
        // Lists that are older than the mirror name a package that is gone.
        debian::apt_get("fetch the package lists", &["update"])?;
        download()?;
    }
    let deb = fs::read_dir(&scratch)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.extension().is_some_and(|end| end == "deb"))
        .with_context(|| format!("`apt-get download {package}` left no package"))?;
    let tree = scratch.join("root");
    let mut dpkg = Command::new("dpkg-deb");
    dpkg.arg("-x").arg(&deb).arg(&tree);
    Step::new(format!("unpack {package}"), dpkg)
        .fix("remove target/vm and try again")
        .quietly()?;
    let release = release(package);
    if !tree.join("lib/modules").join(release).is_dir() {
        bail!("`{package}` has no lib/modules/{release}");
    }
    let mut depmod = Command::new("depmod");
    depmod
        .arg("-b")
        .arg(&tree)
        .arg(release)
        .env("PATH", machine::path_with_sbin());
    Step::new(format!("index the modules of {release}"), depmod)
        .fix("install `kmod`")
        .quietly()?;
    fs::rename(&tree, root)?;
    fs::remove_dir_all(&scratch)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::image_package;

    #[test]
    fn the_kernel_is_found_among_the_dependencies() {
        let text = "linux-image-amd64\n  Depends: linux-image-6.1.0-56-amd64\n";
        assert_eq!(
            image_package(text).as_deref(),
            Some("linux-image-6.1.0-56-amd64")
        );
        assert_eq!(image_package("linux-image-amd64\n"), None);
    }
}
