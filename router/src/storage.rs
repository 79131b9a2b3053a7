//! The store: one redb file, every commit one fsync.
//!
//! Owns what is on disk and when it is safe there. Knows nothing of what the bytes mean.

use std::cell::OnceCell;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use redb::{Database, Durability, ReadableDatabase, ReadableTable, TableDefinition};
use rustix::fs::Advice;

/// One change to the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) table: Table,
    pub(crate) key: Vec<u8>,
    /// `None` deletes.
    pub(crate) value: Option<Vec<u8>>,
}

/// The tables of the store, all in one of redb's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Table {
    /// Single facts by name: genesis, certificate, boot counter, stamp.
    Meta,
    /// Who is in the cluster, by identity.
    Members,
    /// Join tokens by their public id.
    Tokens,
    /// A table of the ledger's own.
    Ledger(u8),
}

impl Table {
    fn number(self) -> u16 {
        match self {
            Self::Meta => 0,
            Self::Members => 1,
            Self::Tokens => 2,
            Self::Ledger(table) => 0x100 | u16::from(table),
        }
    }

    fn of(number: u16) -> Option<Self> {
        match number {
            0 => Some(Self::Meta),
            1 => Some(Self::Members),
            2 => Some(Self::Tokens),
            _ => u8::try_from(number.checked_sub(0x100)?).ok().map(Self::Ledger),
        }
    }
}

/// The open store. Only one process can have it.
pub(crate) struct Storage {
    path: PathBuf,
    /// The file that it is: an identity is one with its disk (invariant I3).
    inode: u64,
    /// None while it is being opened again.
    database: Option<Database>,
    /// What the first write that failed met. Nothing is written after it until the file has been opened anew.
    failure: OnceCell<Arc<redb::Error>>,
}

impl Storage {
    /// Makes the file, for its owner's eyes: the secrets of tokens are in it. It must not exist.
    pub(crate) fn create(path: &Path) -> Result<Self, StorageError> {
        let file = File::options().read(true).write(true).create_new(true).mode(0o600).open(path);
        let made = file.map_err(redb::DatabaseError::from);
        Self::with(path, made.and_then(|file| Database::builder().create_file(file)))
    }

    /// Opens the file and takes its lock. What is read is what the disk has.
    pub(crate) fn open(path: &Path) -> Result<Self, StorageError> {
        let found = forget_cached(path).map_err(redb::DatabaseError::from);
        Self::with(path, found.and_then(|()| Database::open(path)))
    }

    fn with(path: &Path, opened: Result<Database, redb::DatabaseError>) -> Result<Self, StorageError> {
        let path = path.to_owned();
        let opened = opened.map_err(redb::Error::from).and_then(|database| Ok((database, fs::metadata(&path)?.ino())));
        match opened {
            Ok((database, inode)) => Ok(Self { path, inode, database: Some(database), failure: OnceCell::new() }),
            Err(redb::Error::DatabaseAlreadyOpen) => Err(StorageError::InUse { path }),
            Err(source) => Err(StorageError::Open { path, source: Arc::new(source) }),
        }
    }

    /// Writes all changes and returns when they are on the disk, or none of them.
    pub(crate) fn commit(&self, changes: &[Change]) -> Result<(), StorageError> {
        if changes.is_empty() {
            return Ok(());
        }
        if let Some(source) = self.failure.get() {
            return Err(StorageError::Commit { source: Arc::clone(source) });
        }
        self.try_commit(changes).map_err(|source| {
            let source = Arc::clone(self.failure.get_or_init(|| Arc::new(source)));
            StorageError::Commit { source }
        })
    }

    fn try_commit(&self, changes: &[Change]) -> Result<(), redb::Error> {
        let mut transaction = self.database()?.begin_write()?;
        transaction.set_durability(Durability::Immediate)?;
        // A killed router starts again without walking the whole file.
        transaction.set_quick_repair(true);
        {
            let mut rows = transaction.open_table(STATE)?;
            for Change { table, key, value } in changes {
                let key = (table.number(), key.as_slice());
                match value {
                    Some(value) => drop(rows.insert(key, value.as_slice())?),
                    None => drop(rows.remove(key)?),
                }
            }
        }
        transaction.commit()?;
        Ok(())
    }

    /// Opens the file anew: after a failed write nothing that was read before is to be relied on. Returns what it holds, once
    /// a write has shown that it takes writes again.
    pub(crate) fn reopen(&mut self) -> Result<Vec<Change>, StorageError> {
        // The lock must be let go of first, and the file too: its file system may have to be mounted again.
        self.database = None;
        let opened = Self::open(&self.path)?;
        if opened.inode != self.inode {
            return Err(StorageError::Replaced { path: self.path.clone() });
        }
        let all = opened.load()?;
        let proof = all.iter().find(|change| change.table == Table::Meta).cloned();
        opened.commit(&proof.into_iter().collect::<Vec<_>>())?;
        *self = opened;
        Ok(all)
    }

    fn database(&self) -> Result<&Database, redb::Error> {
        self.database.as_ref().ok_or(redb::Error::DatabaseAlreadyOpen)
    }

    /// Everything that is in the store, in key order.
    pub(crate) fn load(&self) -> Result<Vec<Change>, StorageError> {
        self.try_load().map_err(|source| StorageError::Load { source: Arc::new(source) })
    }

    fn try_load(&self) -> Result<Vec<Change>, redb::Error> {
        let transaction = self.database()?.begin_read()?;
        let rows = match transaction.open_table(STATE) {
            Ok(rows) => rows,
            Err(redb::TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
            Err(error) => return Err(error.into()),
        };
        let mut all = Vec::new();
        for entry in rows.iter()? {
            let (key, value) = entry?;
            let (number, key) = key.value();
            if let Some(table) = Table::of(number) {
                all.push(Change { table, key: key.to_owned(), value: Some(value.value().to_owned()) });
            }
        }
        Ok(all)
    }
}

/// Has the kernel bring to the disk what it can of a file, and forget the rest: pages that could not be written count as written
/// once that was said, and would be read as if the disk had them.
fn forget_cached(path: &Path) -> io::Result<()> {
    let file = File::open(path)?;
    file.sync_all()?;
    Ok(rustix::fs::fadvise(&file, 0, None, Advice::DontNeed)?)
}

/// Why the store did not do it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StorageError {
    #[error("{} is in use: another router runs on this data directory", path.display())]
    InUse { path: PathBuf },
    #[error("cannot open {}: {source}", path.display())]
    Open { path: PathBuf, source: Arc<redb::Error> },
    /// The store is as it was before.
    #[error("cannot write to the store: {source}")]
    Commit { source: Arc<redb::Error> },
    #[error("cannot read the store: {source}")]
    Load { source: Arc<redb::Error> },
    #[error("{} is another file than the one that could not be written", path.display())]
    Replaced { path: PathBuf },
}

impl StorageError {
    /// What is wrong.
    pub(crate) fn ailment(&self) -> Ailment {
        match self {
            Self::InUse { .. } => Ailment::InUse,
            Self::Replaced { .. } => Ailment::Damaged,
            Self::Open { source, .. } | Self::Commit { source } | Self::Load { source } => Ailment::of(source),
        }
    }
}

/// What is wrong with a store or its disk, as far as it decides what is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ailment {
    InUse,
    Full,
    ReadOnly,
    Missing,
    /// Reading or writing fails.
    Failing,
    /// It can be read, and is not what was written.
    Damaged,
}

impl Ailment {
    fn of(error: &redb::Error) -> Self {
        if let redb::Error::Io(error) = error {
            return Self::of_io(error);
        }
        if matches!(error, redb::Error::Corrupted(_)) { Self::Damaged } else { Self::Failing }
    }

    pub(crate) fn of_io(error: &io::Error) -> Self {
        let kinds = [
            (ErrorKind::StorageFull, Self::Full),
            (ErrorKind::QuotaExceeded, Self::Full),
            (ErrorKind::ReadOnlyFilesystem, Self::ReadOnly),
            (ErrorKind::NotFound, Self::Missing),
            (ErrorKind::InvalidData, Self::Damaged),
            (ErrorKind::UnexpectedEof, Self::Damaged),
        ];
        kinds.into_iter().find(|(kind, _)| *kind == error.kind()).map_or(Self::Failing, |(_, ailment)| ailment)
    }

    /// What the operator does about it.
    pub(crate) fn remedy(self) -> &'static str {
        match self {
            Self::InUse => "stop it, or name another --data-dir",
            Self::Full => "free space on the disk of the data directory",
            Self::ReadOnly => {
                "the file system of the data directory takes no writes: see why ('dmesg'), check it ('fsck') and mount it again"
            }
            Self::Missing => "mount the file system of the data directory again",
            Self::Failing => {
                "see what the kernel says of the disk of the data directory ('dmesg'), and make it work again; if it never will, \
                 run 'raddle revoke' with this router's name on another one, and join again with a --data-dir on another disk"
            }
            Self::Damaged => {
                "stop the router, run 'raddle revoke' with its name on another one, empty its data directory and join again"
            }
        }
    }
}

/// (table, key) → value.
const STATE: TableDefinition<'_, (u16, &[u8]), &[u8]> = TableDefinition::new("state");

#[cfg(test)]
mod tests;
