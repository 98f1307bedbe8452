//! QEMU: the machine's own, or Debian's packages unpacked beside the kernels, never installed.
//!
//! To install them can mean to remove others: a `qemu-utils` of another release, for instance.

use std::{
    env,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};

use crate::{debian, machine, step::Step};

const PROGRAM: &str = "qemu-system-x86_64";

/// The package of the program, and that of the firmware of its machine.
const PACKAGES: [&str; 2] = ["qemu-system-x86", "seabios"];

/// Where the packages' libraries lie.
const LIBRARIES: [&str; 2] = ["usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"];

/// How long a package may take to unpack.
const UNPACK_LIMIT: Duration = Duration::from_secs(60);

/// A QEMU that starts.
pub(super) struct Qemu {
    /// Where the packages were unpacked; `None` if the machine has its own.
    root: Option<PathBuf>,
}

impl Qemu {
    /// The machine's, that of an earlier run, or one that is fetched.
    pub(super) fn get() -> Result<Self> {
        if machine::has(PROGRAM) {
            return Ok(Self { root: None });
        }
        let root = super::folder().join("qemu");
        if !root.is_dir() {
            unpack(&root)?;
        }
        Ok(Self { root: Some(root) })
    }

    /// Its program, to be given arguments. It finds modules and firmware by its own place.
    pub(super) fn command(&self) -> Result<Command> {
        let Some(root) = &self.root else {
            return Ok(Command::new(PROGRAM));
        };
        let mut command = Command::new(root.join("usr/bin").join(PROGRAM));
        command.env("LD_LIBRARY_PATH", libraries(root)?);
        Ok(command)
    }
}

/// The packages' libraries before those that were named already.
fn libraries(root: &Path) -> Result<OsString> {
    let named = env::var_os("LD_LIBRARY_PATH").unwrap_or_default();
    let named = env::split_paths(&named).filter(|path| !path.as_os_str().is_empty());
    let own = LIBRARIES.map(|directory| root.join(directory));
    Ok(env::join_paths(own.into_iter().chain(named))?)
}

/// Fetches the packages with all that they need and this machine lacks, and unpacks them to `root`,
/// which appears only when it is complete.
fn unpack(root: &Path) -> Result<()> {
    let scratch = root.with_file_name("fetching-qemu");
    if scratch.exists() {
        fs::remove_dir_all(&scratch)?;
    }
    // Where apt-get keeps what is on its way.
    let debs = scratch.join("debs");
    fs::create_dir_all(debs.join("partial"))?;
    debian::apt_get("fetch the package lists", &["update"])?;
    let archives = format!("Dir::Cache::archives={}", debs.display());
    let mut args = vec!["-y", "-o", &archives, "install", "--download-only"];
    args.push("--no-install-recommends");
    args.extend(PACKAGES);
    debian::apt_get("fetch QEMU, which is unpacked and not installed", &args)?;
    let tree = scratch.join("root");
    let mut count = 0_usize;
    for entry in fs::read_dir(&debs)? {
        let deb = entry?.path();
        if deb.extension().is_none_or(|end| end != "deb") {
            continue;
        }
        let mut dpkg = Command::new("dpkg-deb");
        dpkg.arg("-x").arg(&deb).arg(&tree);
        Step::new(format!("unpack {}", name(&deb)), dpkg)
            .fix("remove target/vm and try again")
            .limit(UNPACK_LIMIT)
            .quietly()?;
        count += 1;
    }
    if !tree.join("usr/bin").join(PROGRAM).is_file() {
        bail!("of the {count} packages that apt-get fetched none has {PROGRAM}");
    }
    fs::rename(&tree, root).with_context(|| format!("cannot make {}", root.display()))?;
    fs::remove_dir_all(&scratch)?;
    Ok(())
}

fn name(file: &Path) -> String {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    name.split('_').next().unwrap_or_default().to_owned()
}
