//! The data directory: who this router is, on which disk.
//!
//! Owns the directory's layout, its permissions and the proof that an identity and its disk are still together
//! (invariant I3). Knows nothing of what the store keeps.
//!
//! ```text
//!   DIR/            0700
//!     signing.key   0600   Ed25519 secret, 32 bytes
//!     noise.key     0600   X25519 secret, 32 bytes; noise.key.next: the one that is to replace it
//!     cluster.psk   0600   Argon2id(password), only where a mesh is formed by password
//!     ledger.redb   0600   genesis, certificate, members, ledger, leases, tokens; ledger.redb.new: before it is whole
//!     spool/               releases that raddle-cni could not deliver
//!     .NAME.PID     0600   being written, or left by a writer that died: never read
//! ```

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use mesh::Secret;
use zeroize::Zeroizing;

/// A data directory that exists with the right permissions.
#[derive(Debug, Clone)]
pub(crate) struct DataDir {
    path: PathBuf,
}

/// The files of secrets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SecretFile {
    /// Signs this router's records.
    Signing,
    /// Its static key in handshakes.
    Noise,
    /// The one that is to replace it.
    NextNoise,
    /// What a password was stretched to.
    Psk,
}

impl SecretFile {
    fn name(self) -> &'static str {
        match self {
            Self::Signing => "signing.key",
            Self::Noise => "noise.key",
            Self::NextNoise => "noise.key.next",
            Self::Psk => "cluster.psk",
        }
    }
}

impl DataDir {
    /// Makes the directory if it is not there.
    pub(crate) fn create(path: &Path) -> Result<Self, DataDirError> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(|source| DataDirError::Create { path: path.to_owned(), source })?;
        Self::open(path)
    }

    /// Takes a directory that is there, if nobody but its owner can look inside.
    pub(crate) fn open(path: &Path) -> Result<Self, DataDirError> {
        let metadata = fs::metadata(path).map_err(|source| DataDirError::Missing { path: path.to_owned(), source })?;
        if !metadata.is_dir() {
            return Err(DataDirError::NotADirectory { path: path.to_owned() });
        }
        refuse_if_open_to_others(path, &metadata, "0700")?;
        Ok(Self { path: path.to_owned() })
    }

    /// The directory itself.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Where the store lives.
    pub(crate) fn store_path(&self) -> PathBuf {
        self.path.join("ledger.redb")
    }

    /// Where it is made: what an attempt that was killed has left there is no store.
    pub(crate) fn unfinished_store_path(&self) -> PathBuf {
        self.path.join("ledger.redb.new")
    }

    /// Where undelivered releases lie.
    pub(crate) fn spool_path(&self) -> PathBuf {
        self.path.join("spool")
    }

    /// Whether `raddle init` or `raddle join` has been here.
    pub(crate) fn has_store(&self) -> bool {
        self.store_path().exists()
    }

    /// A data directory is one router.
    pub(crate) fn refuse_a_second(&self) -> Result<(), DataDirError> {
        if self.has_store() { Err(DataDirError::Taken { path: self.path.clone() }) } else { Ok(()) }
    }

    /// Waits until nobody else fills this directory. It is this process's while what is returned lives.
    pub(crate) fn lock(&self) -> Result<File, DataDirError> {
        let locked = File::open(&self.path).and_then(|directory| directory.lock().map(|()| directory));
        locked.map_err(|source| DataDirError::Unreadable { path: self.path.clone(), source })
    }

    /// Reads a secret; its file must be readable by its owner alone.
    pub(crate) fn read_secret(&self, file: SecretFile) -> Result<Secret, DataDirError> {
        let path = self.path.join(file.name());
        let unreadable = |source| DataDirError::Unreadable { path: path.clone(), source };
        let mut opened = File::open(&path).map_err(unreadable)?;
        let metadata = opened.metadata().map_err(unreadable)?;
        refuse_if_open_to_others(&path, &metadata, "0600")?;
        if metadata.len() != 32 {
            return Err(DataDirError::NotAKey { path, length: metadata.len() });
        }
        let mut secret = Zeroizing::new([0; 32]);
        opened.read_exact(secret.as_mut()).map_err(unreadable)?;
        Ok(Secret::new(*secret))
    }

    /// Writes a secret durably. Never replaces one.
    pub(crate) fn write_secret(&self, file: SecretFile, secret: &Secret) -> Result<(), DataDirError> {
        self.place(file, secret, |unfinished, path| fs::hard_link(unfinished, path))
    }

    /// Writes the handshake key that is to replace the one in use, of which this is the public half. One that an interrupted
    /// renewal left goes, but not before the one in use has its own file.
    pub(crate) fn write_next_noise_key(&self, in_use: &[u8; 32], next: &Secret) -> Result<(), DataDirError> {
        self.settle_noise_key(in_use)?;
        self.place(SecretFile::NextNoise, next, |unfinished, path| fs::rename(unfinished, path))
    }

    /// The handshake key that belongs to this public key, in its own file: a renewal that was interrupted is finished or undone.
    pub(crate) fn settle_noise_key(&self, public: &[u8; 32]) -> Result<Secret, DataDirError> {
        let (path, next) = (self.path.join(SecretFile::Noise.name()), self.path.join(SecretFile::NextNoise.name()));
        let is_meant = |file| self.read_secret(file).is_ok_and(|secret| secret.noise_public() == *public);
        if self.has_secret(SecretFile::NextNoise) {
            let settled = if is_meant(SecretFile::NextNoise) {
                fs::rename(&next, &path)
            } else if is_meant(SecretFile::Noise) {
                fs::remove_file(&next)
            } else {
                // What cannot be read may be the one that is meant.
                Ok(())
            };
            settled.and_then(|()| self.sync()).map_err(|source| DataDirError::Write { path: next, source })?;
        }
        self.read_secret(SecretFile::Noise)
    }

    /// Writes a secret durably in place of what was there, whole or not at all.
    pub(crate) fn keep_secret(&self, file: SecretFile, secret: &Secret) -> Result<(), DataDirError> {
        if self.has_secret(file) && self.read_secret(file)?.bytes() == secret.bytes() {
            return Ok(());
        }
        self.place(file, secret, |unfinished, path| fs::rename(unfinished, path))
    }

    /// Has a secret put in its place when it is on the disk beside it: what is there is whole, wherever this ends.
    fn place(
        &self,
        file: SecretFile,
        secret: &Secret,
        put: impl FnOnce(&Path, &Path) -> io::Result<()>,
    ) -> Result<(), DataDirError> {
        let path = self.path.join(file.name());
        let unfinished = self.path.join(format!(".{}.{}", file.name(), std::process::id()));
        let placed = write_whole(&unfinished, secret.bytes()).and_then(|()| put(&unfinished, &path));
        // Gone already if it was renamed.
        let _ = fs::remove_file(&unfinished);
        placed.and_then(|()| self.sync()).map_err(|source| DataDirError::Write { path, source })
    }

    /// Whether the secret's file is there.
    pub(crate) fn has_secret(&self, file: SecretFile) -> bool {
        self.path.join(file.name()).exists()
    }

    /// Puts a store in its place that is whole, durably. The file stays the same one.
    pub(crate) fn finish_store(&self) -> Result<(), DataDirError> {
        let path = self.store_path();
        let renamed = fs::rename(self.unfinished_store_path(), &path);
        renamed.and_then(|()| self.sync()).map_err(|source| DataDirError::Write { path, source })
    }

    /// Takes back a half-made store. The keys stay: the next attempt uses them.
    pub(crate) fn clear(&self) {
        for path in [self.path.join(SecretFile::Psk.name()), self.store_path(), self.unfinished_store_path()] {
            let _ = fs::remove_file(path);
        }
    }

    /// What ties a store to this disk: the machine's id and the file's inode, both of which a copy changes.
    pub(crate) fn stamp(store: &Path) -> Result<String, DataDirError> {
        let unreadable = |source| DataDirError::Unreadable { path: store.to_owned(), source };
        let metadata = fs::metadata(store).map_err(unreadable)?;
        let machine = fs::read_to_string("/etc/machine-id").unwrap_or_default();
        Ok(format!("{} {}", machine.trim(), metadata.ino()))
    }

    fn sync(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }
}

fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn refuse_if_open_to_others(path: &Path, metadata: &fs::Metadata, wanted: &'static str) -> Result<(), DataDirError> {
    let mode = metadata.mode() & 0o7777;
    if mode & 0o077 == 0 {
        return Ok(());
    }
    Err(DataDirError::OpenToOthers { path: path.to_owned(), mode, wanted })
}

/// Why the data directory cannot be used. Nothing in it was changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DataDirError {
    #[error("cannot make the data directory {}: {source}", path.display())]
    Create { path: PathBuf, source: io::Error },
    #[error("no data directory {}: {source}; run 'raddle init' or 'raddle join' first", path.display())]
    Missing { path: PathBuf, source: io::Error },
    #[error("{} is not a directory; name another one with --data-dir", path.display())]
    NotADirectory { path: PathBuf },
    #[error("{} has mode {mode:04o}, so others than its owner can read it; run 'chmod {wanted} {}'", path.display(), path.display())]
    OpenToOthers { path: PathBuf, mode: u32, wanted: &'static str },
    #[error("{} already holds a router; run 'raddle router', or name another directory with --data-dir", path.display())]
    Taken { path: PathBuf },
    #[error("cannot read {}: {source}", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("{} has {length} bytes where a key has 32; restore it, or start anew with another --data-dir", path.display())]
    NotAKey { path: PathBuf, length: u64 },
    #[error("cannot write {}: {source}", path.display())]
    Write { path: PathBuf, source: io::Error },
}

#[cfg(test)]
mod tests;
