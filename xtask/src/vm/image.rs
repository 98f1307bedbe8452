//! The first root file system of a guest: busybox, the modules that lead to the host's root, and
//! what is to be run there.

use std::{
    collections::HashMap,
    fs::{self, File},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};

use super::{guest, kernel::Kernel};

/// What the guest needs to see the host's files.
const MODULES: [&str; 4] = ["virtio_pci", "9pnet_virtio", "9p", "overlay"];

/// Writes the image and gives its path.
pub(super) fn build(kernel: &Kernel, job: &str) -> Result<PathBuf> {
    let folder = super::folder().join(kernel.series.name());
    let tree = folder.join("image");
    if tree.exists() {
        fs::remove_dir_all(&tree)?;
    }
    for directory in ["bin", "modules", "sbin"] {
        fs::create_dir_all(tree.join(directory))?;
    }
    let busybox = ["/bin/busybox", "/usr/bin/busybox"]
        .into_iter()
        .find(|path| Path::new(path).is_file())
        .context("no busybox")?;
    fs::copy(busybox, tree.join("bin/busybox"))?;
    let mut order = String::new();
    for module in closure(kernel)? {
        order.push_str(&take(&module, &tree.join("modules"))?);
        order.push('\n');
    }
    fs::write(tree.join("modules/order"), order)?;
    fs::write(tree.join("job"), job)?;
    fs::write(tree.join(guest::UNIT), guest::unit())?;
    for (name, text) in [
        ("init", guest::init(kernel)),
        ("sbin/modprobe", guest::MODPROBE.to_owned()),
    ] {
        let program = tree.join(name);
        fs::write(&program, text)?;
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
    }
    let image = folder.join("image.cpio");
    pack(&tree, &image)?;
    Ok(image)
}

/// The modules and those they need, in the order in which they are to be loaded.
fn closure(kernel: &Kernel) -> Result<Vec<PathBuf>> {
    let modules = kernel.modules();
    let read = |name: &str| {
        fs::read_to_string(modules.join(name))
            .with_context(|| format!("no `{name}` of the modules"))
    };
    let order = load_order(&read("modules.dep")?, &read("modules.builtin")?, &MODULES)?;
    Ok(order.into_iter().map(|file| modules.join(file)).collect())
}

/// `order` of the text of `modules.dep`; what is built in needs nothing.
fn load_order(dep: &str, builtin: &str, wanted: &[&str]) -> Result<Vec<String>> {
    let needs: HashMap<&str, (&str, Vec<&str>)> = dep
        .lines()
        .filter_map(|line| {
            let (file, needs) = line.split_once(':')?;
            Some((stem(file), (file, needs.split_whitespace().collect())))
        })
        .collect();
    let mut order: Vec<String> = Vec::new();
    for name in wanted {
        let Some((file, needed)) = needs.get(name) else {
            if builtin.lines().any(|line| stem(line) == *name) {
                continue;
            }
            bail!("this kernel has no module `{name}`");
        };
        // modules.dep lists everything that a module needs, the first one to load last.
        for file in needed.iter().rev().chain([file]) {
            if !order.iter().any(|known| known == file) {
                order.push((*file).to_owned());
            }
        }
    }
    Ok(order)
}

/// `virtio_pci` of `kernel/drivers/virtio/virtio_pci.ko.xz`.
fn stem(file: &str) -> &str {
    let name = file.rsplit('/').next().unwrap_or(file);
    name.split_once(".ko").map_or(name, |(stem, _)| stem)
}

/// Copies a module, unpacked; gives its name in the image.
fn take(module: &Path, to: &Path) -> Result<String> {
    let name = format!("{}.ko", stem(&module.to_string_lossy()));
    let target = to.join(&name);
    let tool = match module.extension().and_then(|end| end.to_str()) {
        Some("ko") => {
            fs::copy(module, &target)?;
            return Ok(name);
        }
        Some("xz") => "xz",
        Some("zst") => "zstd",
        _ => bail!("`{}` is packed in an unknown way", module.display()),
    };
    let status = Command::new(tool)
        .args(["-d", "-c"])
        .arg(module)
        .stdout(File::create(&target)?)
        .status()
        .with_context(|| format!("`{tool}` does not start"))?;
    if !status.success() {
        bail!("`{tool}` cannot unpack `{}`", module.display());
    }
    Ok(name)
}

fn pack(tree: &Path, image: &Path) -> Result<()> {
    let status = Command::new("sh")
        .args(["-c", "find . -print0 | cpio --quiet -0 -o -H newc"])
        .current_dir(tree)
        .stdin(Stdio::null())
        .stdout(File::create(image)?)
        .status()
        .context("`sh` does not start")?;
    if !status.success() {
        bail!("`cpio` could not write `{}`", image.display());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{load_order, stem};

    const DEP: &str = "\
kernel/fs/9p/9p.ko.xz: kernel/net/9p/9pnet.ko.xz kernel/fs/netfs/netfs.ko.xz
kernel/net/9p/9pnet.ko.xz:
kernel/fs/netfs/netfs.ko.xz:
kernel/net/9p/9pnet_virtio.ko.xz: kernel/net/9p/9pnet.ko.xz
";

    #[test]
    fn what_is_needed_is_loaded_first_and_once() {
        let order = load_order(
            DEP,
            "kernel/drivers/virtio/virtio_pci.ko\n",
            &["virtio_pci", "9pnet_virtio", "9p"],
        )
        .unwrap();
        let names: Vec<&str> = order.iter().map(|file| stem(file)).collect();
        assert_eq!(names, ["9pnet", "9pnet_virtio", "netfs", "9p"]);
    }

    #[test]
    fn a_module_that_is_missing_is_named() {
        let error = load_order(DEP, "", &["overlay"]).unwrap_err();
        assert_eq!(error.to_string(), "this kernel has no module `overlay`");
    }
}
