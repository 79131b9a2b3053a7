//! The container image of the stage: busybox and whatever binaries a test brings, packed without any registry.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use crate::command::run;

/// The image's name in every engine.
pub const IMAGE: &str = "localhost/stage:latest";

/// A root file system in a tar file, ready for an engine's `import`.
#[derive(Debug, Clone)]
pub struct Image {
    rootfs: PathBuf,
}

impl Image {
    /// Packs busybox and these binaries, with the libraries they are linked to, below `directory`.
    pub fn pack(directory: &Path, binaries: &[PathBuf]) -> Result<Self> {
        let root = directory.join("image");
        for place in ["bin", "tmp", "etc", "srv", "out"] {
            fs::create_dir_all(root.join(place))?;
        }
        fs::copy("/usr/bin/busybox", root.join("bin/busybox")).context("busybox-static is not installed")?;
        let mut list = Command::new("/usr/bin/busybox");
        list.arg("--list");
        for applet in run(list, b"")?.ok()?.lines().filter(|applet| *applet != "busybox") {
            std::os::unix::fs::symlink("busybox", root.join("bin").join(applet))?;
        }
        for binary in binaries {
            let name = binary.file_name().context("a binary without a name")?;
            fs::copy(binary, root.join("bin").join(name))?;
            for library in libraries(binary)? {
                let place = root.join(library.strip_prefix("/")?);
                fs::create_dir_all(place.parent().context("a library at the root")?)?;
                fs::copy(&library, place)?;
            }
        }
        let rootfs = directory.join("image.tar");
        let mut tar = Command::new("tar");
        tar.arg("-C").arg(&root).arg("-cf").arg(&rootfs).arg(".");
        run(tar, b"")?.ok()?;
        fs::remove_dir_all(root)?;
        Ok(Self { rootfs })
    }

    /// The tar file.
    #[must_use]
    pub fn rootfs(&self) -> &Path {
        &self.rootfs
    }
}

/// The files a dynamically linked binary needs, its loader among them.
fn libraries(binary: &Path) -> Result<Vec<PathBuf>> {
    let mut ldd = Command::new("ldd");
    ldd.arg(binary);
    let text = run(ldd, b"")?.ok()?;
    Ok(text.split_whitespace().filter(|word| word.starts_with('/')).map(PathBuf::from).collect())
}
