//! Releases that no router could take: one file each, kept until one can.
//!
//! Owns the format and the durability of a spooled release. The plugin writes while the router is away; the router reads
//! before it gives out any lease. Knows nothing of why the router was away.
//!
//! ```text
//!   DATA_DIR/spool/rd0123456789ab.json     {"version":1,"attachment":{…},"host_interface":"rd…"}
//!   DATA_DIR/spool/.rd0123456789ab.PID     being written, or left by a writer that died: never read
//! ```
//!
//! The file's name is the attachment's host interface, so that a release that is spooled twice is one file.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::words::Attachment;

/// The folder below the data directory.
pub const FOLDER: &str = "spool";

/// An attachment that is gone while its lease is not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// What was attached.
    pub attachment: Attachment,
    /// The name of the veth's host side.
    pub host_interface: String,
}

/// A release and the file that it is in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spooled {
    /// What is to be released.
    pub release: Release,
    path: PathBuf,
}

/// What a spool holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pending {
    /// What is to be released, in the order of file names.
    pub releases: Vec<Spooled>,
    /// Files that are not understood: damaged, or written by a newer plugin. They stay where they are.
    pub unreadable: Vec<PathBuf>,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    version: u32,
    #[serde(flatten)]
    release: Release,
}

/// Rises when an older reader would misunderstand a file; new fields alone do not raise it.
const VERSION: u32 = 1;

/// No release is anywhere near it; a file that is longer is not one of ours.
const LONGEST_FILE: u64 = 64 << 10;

/// Puts a release into the spool. When it returns, the release survives a power cut.
///
/// # Errors
/// [`SpoolError`]; then nothing was spooled.
pub fn store(folder: &Path, release: &Release) -> Result<(), SpoolError> {
    let wrong = |source| SpoolError { path: folder.to_owned(), source };
    let name = &release.host_interface;
    if name.is_empty() || name.starts_with('.') || name.contains('/') {
        return Err(wrong(io::ErrorKind::InvalidInput.into()));
    }
    let stored = Stored { version: VERSION, release: release.clone() };
    let bytes = serde_json::to_vec(&stored).map_err(|source| wrong(source.into()))?;
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(wrong)?;
    let unfinished = folder.join(format!(".{name}.{}", std::process::id()));
    let written = write(&unfinished, &bytes)
        .and_then(|()| fs::rename(&unfinished, folder.join(format!("{name}.json"))))
        .and_then(|()| File::open(folder)?.sync_all());
    written.map_err(|source| {
        let _ = fs::remove_file(&unfinished);
        wrong(source)
    })
}

/// Everything in the spool. A spool that does not exist is empty.
///
/// # Errors
/// [`SpoolError`] when the folder cannot be listed.
pub fn pending(folder: &Path) -> Result<Pending, SpoolError> {
    let wrong = |source| SpoolError { path: folder.to_owned(), source };
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(source) if source.kind() == io::ErrorKind::NotFound => return Ok(Pending::default()),
        Err(source) => return Err(wrong(source)),
    };
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>, _>>().map_err(wrong)?;
    paths.sort();
    let mut pending = Pending::default();
    for path in paths.into_iter().filter(|path| is_finished(path)) {
        match read(&path) {
            Ok(release) => pending.releases.push(Spooled { release, path }),
            Err(source) if source.kind() == io::ErrorKind::NotFound => {}
            Err(_) => pending.unreadable.push(path),
        }
    }
    Ok(pending)
}

impl Spooled {
    /// Takes the release out of the spool, after it has durably been carried out. It comes back after a power cut, which no
    /// container survives: there is nothing for the disk to be waited for.
    ///
    /// # Errors
    /// [`SpoolError`]; the release will be carried out once more, which is harmless until its key is used again.
    pub fn done(self) -> Result<(), SpoolError> {
        let removed = match fs::remove_file(&self.path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => Err(source),
            Ok(()) | Err(_) => Ok(()),
        };
        removed.map_err(|source| SpoolError { path: self.path, source })
    }
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn read(path: &Path) -> io::Result<Release> {
    if fs::metadata(path)?.len() > LONGEST_FILE {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let stored: Stored = serde_json::from_slice(&fs::read(path)?)?;
    if stored.version == VERSION { Ok(stored.release) } else { Err(io::ErrorKind::InvalidData.into()) }
}

fn is_finished(path: &Path) -> bool {
    let hidden = path.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
    !hidden && path.extension().is_some_and(|extension| extension == "json")
}

/// The spool could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("the spool {} cannot be used", path.display())]
pub struct SpoolError {
    /// Folder or file.
    pub path: PathBuf,
    /// What the kernel said.
    pub source: io::Error,
}

#[cfg(test)]
mod tests;
