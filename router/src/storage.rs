//! The store: one redb file, every commit one fsync.
//!
//! Owns what is on disk and when it is safe there. Knows nothing of what the bytes mean.

use std::cell::Cell;
use std::path::{Path, PathBuf};

use redb::{Database, Durability, ReadableDatabase, ReadableTable, TableDefinition};

/// One change to the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) table: Table,
    pub(crate) key: Vec<u8>,
    /// `None` deletes.
    pub(crate) value: Option<Vec<u8>>,
}

/// The parts of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
    /// None while it is being opened again.
    database: Option<Database>,
    /// Whether a write failed for want of space: that passes, other failures of a disk may not.
    full: Cell<bool>,
}

impl Storage {
    /// Makes the file. It must not exist.
    pub(crate) fn create(path: &Path) -> Result<Self, StorageError> {
        Self::with(path, Database::create(path))
    }

    /// Opens the file and takes its lock.
    pub(crate) fn open(path: &Path) -> Result<Self, StorageError> {
        Self::with(path, Database::open(path))
    }

    fn with(path: &Path, opened: Result<Database, redb::DatabaseError>) -> Result<Self, StorageError> {
        let path = path.to_owned();
        match opened {
            Ok(database) => Ok(Self { path, database: Some(database), full: Cell::new(false) }),
            Err(redb::DatabaseError::DatabaseAlreadyOpen) => Err(StorageError::InUse { path }),
            Err(source) => Err(StorageError::Open { path, source: Box::new(source.into()) }),
        }
    }

    /// Writes all changes and returns when they are on the disk, or none of them.
    pub(crate) fn commit(&self, changes: &[Change]) -> Result<(), StorageError> {
        if changes.is_empty() {
            return Ok(());
        }
        self.try_commit(changes).map_err(|source| {
            self.full.set(self.full.get() || is_for_want_of_space(&source));
            StorageError::Commit { source: Box::new(source) }
        })
    }

    fn try_commit(&self, changes: &[Change]) -> Result<(), redb::Error> {
        let mut transaction = self.database()?.begin_write()?;
        transaction.set_durability(Durability::Immediate)?;
        // A killed router starts again without walking the whole file.
        transaction.set_quick_repair(true);
        {
            let mut table = transaction.open_table(STATE)?;
            for Change { table: part, key, value } in changes {
                let key = (part.number(), key.as_slice());
                match value {
                    Some(value) => drop(table.insert(key, value.as_slice())?),
                    None => drop(table.remove(key)?),
                }
            }
        }
        transaction.commit()?;
        Ok(())
    }

    /// Whether writes fail because the disk is full.
    pub(crate) fn is_full(&self) -> bool {
        self.full.get()
    }

    /// Opens the file anew: after a failed write nothing that was read before is to be relied on. Returns what it holds, once
    /// a write has shown that it takes writes again.
    pub(crate) fn reopen(&mut self) -> Result<Vec<Change>, StorageError> {
        // The lock must be let go of first.
        self.database = None;
        *self = Self::open(&self.path)?;
        self.full.set(true);
        let all = self.load()?;
        let proof = all.iter().find(|change| change.table == Table::Meta).cloned();
        self.commit(&proof.into_iter().collect::<Vec<_>>())?;
        self.full.set(false);
        Ok(all)
    }

    fn database(&self) -> Result<&Database, redb::Error> {
        self.database.as_ref().ok_or(redb::Error::DatabaseAlreadyOpen)
    }

    /// Everything that is in the store, in key order.
    pub(crate) fn load(&self) -> Result<Vec<Change>, StorageError> {
        self.try_load().map_err(|source| StorageError::Load { source: Box::new(source) })
    }

    fn try_load(&self) -> Result<Vec<Change>, redb::Error> {
        let transaction = self.database()?.begin_read()?;
        let table = match transaction.open_table(STATE) {
            Ok(table) => table,
            Err(redb::TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
            Err(error) => return Err(error.into()),
        };
        let mut all = Vec::new();
        for entry in table.iter()? {
            let (key, value) = entry?;
            let (number, key) = key.value();
            if let Some(table) = Table::of(number) {
                all.push(Change { table, key: key.to_owned(), value: Some(value.value().to_owned()) });
            }
        }
        Ok(all)
    }
}

fn is_for_want_of_space(error: &redb::Error) -> bool {
    let full = [std::io::ErrorKind::StorageFull, std::io::ErrorKind::QuotaExceeded];
    matches!(error, redb::Error::Io(source) if full.contains(&source.kind()))
}

/// Why the store did not do it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StorageError {
    #[error("{} is in use: another router runs on this data directory; stop it, or name another --data-dir", path.display())]
    InUse { path: PathBuf },
    #[error("cannot open {}: {source}", path.display())]
    Open { path: PathBuf, source: Box<redb::Error> },
    /// The store is as it was before.
    #[error("cannot write to the store: {source}")]
    Commit { source: Box<redb::Error> },
    #[error("cannot read the store: {source}")]
    Load { source: Box<redb::Error> },
}

/// (part, key) → value.
const STATE: TableDefinition<'_, (u16, &[u8]), &[u8]> = TableDefinition::new("state");

#[cfg(test)]
mod tests;
