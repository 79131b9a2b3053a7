//! What a ledger keeps on disk: a map of (table, key) → value.
//!
//! Owns the tables and the encoding of keys and values. Knows nothing of files.
//!
//! | table | key | value |
//! |---|---|---|
//! | meta | `identity` | the identity the store belongs to |
//! | meta | `log` | how many batches were written |
//! | meta | `lives` | which of its starts wrote which of them |
//! | meta | `rolled-back` | that others know of later ones |
//! | members | identity | in which order it was admitted, and its name, if known |
//! | records | network, start, length, epoch, hash | a record in force |
//! | evidence | hash | a record that contradicts one in force |
//! | annals | hash | a record that was forgotten, and a later revocation names |
//! | commits | hash | a committed revocation, and the links that heirs have by it |
//! | refused | whom, who asked | how many members were known when it was first promised to refuse it |
//! | leases | network, workload, ifname | a lease |
//! | resting | network, slot | the order in which it was freed |
//! | directory | network, workload, ifname, author | a signed line of the directory |
//! | history | a number that rises | a move of the past |
//! | census | author | its newest word on which of its lines are not over |

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use wire::message::{Census, Commit, Entry, EntryBody};
use wire::{Epoch, Hash, Identity, Mac, NetworkId, PeerName, Record, Slot, decode, encode};

use crate::config::Hold;
use crate::history::Moved;
use crate::lease::{Attachment, Lease, LeaseKey, LeaseState, Place, Stickiness};

/// A table of the store. The numbers and names are part of the format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[repr(u8)]
pub enum Table {
    /// Whose store it is.
    Meta = 0,
    /// Every identity ever admitted.
    Members = 1,
    /// Records in force.
    Records = 2,
    /// Records that contradict one in force.
    Evidence = 3,
    /// Committed revocations.
    Commits = 4,
    /// Whose records it has promised to refuse.
    Refused = 6,
    /// Leases.
    Leases = 7,
    /// Slots that rest.
    Resting = 8,
    /// Who holds which workload.
    Directory = 9,
    /// Records that are out of force and that a revocation names.
    Annals = 10,
    /// Moves of the past.
    History = 11,
    /// Which lines of each author's are not over.
    Census = 12,
}

impl Table {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::Meta,
        Self::Members,
        Self::Records,
        Self::Evidence,
        Self::Commits,
        Self::Refused,
        Self::Leases,
        Self::Resting,
        Self::Directory,
        Self::Annals,
        Self::History,
        Self::Census,
    ];

    /// Its name in the store.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Meta => "ipam-meta",
            Self::Members => "ipam-members",
            Self::Records => "ipam-records",
            Self::Evidence => "ipam-evidence",
            Self::Commits => "ipam-commits",
            Self::Refused => "ipam-refused",
            Self::Leases => "ipam-leases",
            Self::Resting => "ipam-resting",
            Self::Directory => "ipam-directory",
            Self::Annals => "ipam-annals",
            Self::History => "ipam-history",
            Self::Census => "ipam-census",
        }
    }
}

/// One change of the store, or one row of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Write {
    /// Where.
    pub table: Table,
    /// Which row.
    pub key: Vec<u8>,
    /// What it becomes; none = it goes.
    pub value: Option<Vec<u8>>,
}

/// The version of every value this module writes.
const STORE_VERSION: u8 = 2;

/// The row of [`Table::Meta`] that says whose store it is.
const IDENTITY_KEY: &[u8] = b"identity";
/// How many batches were written.
const LOG_KEY: &[u8] = b"log";
/// Which start wrote which of them.
const LIVES_KEY: &[u8] = b"lives";
/// That this store was found to be older than what others have of its router.
const ROLLED_BACK_KEY: &[u8] = b"rolled-back";

impl Write {
    fn put<T: Serialize>(table: Table, key: Vec<u8>, value: &T) -> Self {
        Self { table, key, value: Some(encode(STORE_VERSION, value)) }
    }

    fn delete(table: Table, key: Vec<u8>) -> Self {
        Self { table, key, value: None }
    }

    pub(crate) fn identity(identity: Identity) -> Self {
        Self::put(Table::Meta, IDENTITY_KEY.to_vec(), &identity)
    }

    pub(crate) fn log(number: u64) -> Self {
        Self::put(Table::Meta, LOG_KEY.to_vec(), &number)
    }

    pub(crate) fn lives(lives: &[Life]) -> Self {
        Self::put(Table::Meta, LIVES_KEY.to_vec(), &lives)
    }

    pub(crate) fn rolled_back() -> Self {
        Self::put(Table::Meta, ROLLED_BACK_KEY.to_vec(), &())
    }

    /// Whether the row only counts: two stores that differ in nothing else hold the same.
    #[cfg(test)]
    pub(crate) fn is_counter(table: Table, key: &[u8]) -> bool {
        table == Table::Meta && (key == LOG_KEY || key == LIVES_KEY)
    }

    pub(crate) fn member(identity: Identity, number: u64, name: Option<&PeerName>) -> Self {
        Self::put(Table::Members, identity.0.to_vec(), &(identity, number, name))
    }

    pub(crate) fn record(record: &Record) -> Self {
        Self::put(Table::Records, record_key(record), record)
    }

    pub(crate) fn record_gone(record: &Record) -> Self {
        Self::delete(Table::Records, record_key(record))
    }

    pub(crate) fn evidence(record: &Record) -> Self {
        Self::put(Table::Evidence, crate::ledger::hash_of_record(record).0.to_vec(), record)
    }

    pub(crate) fn evidence_gone(record: &Record) -> Self {
        Self::delete(Table::Evidence, crate::ledger::hash_of_record(record).0.to_vec())
    }

    pub(crate) fn annals(record: &Record) -> Self {
        Self::put(Table::Annals, crate::ledger::hash_of_record(record).0.to_vec(), record)
    }

    /// `inherited` = the links that it made.
    pub(crate) fn commit(hash: Hash, order: u64, commit: &Commit, inherited: &[Hash]) -> Self {
        Self::put(Table::Commits, hash.0.to_vec(), &(order, commit, inherited))
    }

    pub(crate) fn refused(victim: Identity, asker: Identity, known: u64) -> Self {
        Self::put(Table::Refused, refusal_key(victim, asker), &(victim, asker, known))
    }

    pub(crate) fn refused_gone(victim: Identity, asker: Identity) -> Self {
        Self::delete(Table::Refused, refusal_key(victim, asker))
    }

    pub(crate) fn lease(lease: &Lease) -> Self {
        Self::put(Table::Leases, lease_key(&lease.key()), &StoredLease::from(lease))
    }

    pub(crate) fn lease_gone(key: &LeaseKey) -> Self {
        Self::delete(Table::Leases, lease_key(key))
    }

    pub(crate) fn resting(network: NetworkId, slot: Slot, order: u64) -> Self {
        Self::put(Table::Resting, slot_key(network, slot), &(network, slot, order))
    }

    pub(crate) fn rested(network: NetworkId, slot: Slot) -> Self {
        Self::delete(Table::Resting, slot_key(network, slot))
    }

    pub(crate) fn moved(number: u64, moved: &Moved) -> Self {
        Self::put(Table::History, history_key(number), &(number, moved))
    }

    pub(crate) fn moved_gone(number: u64) -> Self {
        Self::delete(Table::History, history_key(number))
    }

    pub(crate) fn entry(entry: &Entry) -> Self {
        Self::put(Table::Directory, entry_key(&entry.body), entry)
    }

    pub(crate) fn entry_gone(body: &EntryBody) -> Self {
        Self::delete(Table::Directory, entry_key(body))
    }

    pub(crate) fn census(census: &Census) -> Self {
        Self::put(Table::Census, census.body.author.0.to_vec(), census)
    }
}

fn refusal_key(victim: Identity, asker: Identity) -> Vec<u8> {
    [victim.0, asker.0].concat()
}

fn history_key(number: u64) -> Vec<u8> {
    number.to_be_bytes().to_vec()
}

fn record_key(record: &Record) -> Vec<u8> {
    let range = record.body.range;
    let mut key = Vec::with_capacity(52);
    key.extend(range.network.0.to_be_bytes());
    key.extend(range.start.0.to_be_bytes());
    key.extend(range.length.to_be_bytes());
    key.extend(record.body.epoch.0.to_be_bytes());
    key.extend(crate::ledger::hash_of_record(record).0);
    key
}

fn entry_key(body: &EntryBody) -> Vec<u8> {
    encode(STORE_VERSION, &(body.network, &body.workload, &body.ifname, body.author))
}

fn lease_key(key: &LeaseKey) -> Vec<u8> {
    encode(STORE_VERSION, &(key.network, &key.workload, &key.ifname))
}

fn slot_key(network: NetworkId, slot: Slot) -> Vec<u8> {
    [network.0.to_be_bytes(), slot.0.to_be_bytes()].concat()
}

/// A lease as it is on disk: without instants, which mean nothing to the next process.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct StoredLease {
    attachment: (NetworkId, String, String),
    workload: String,
    stickiness: Stickiness,
    slot: Slot,
    epoch: Epoch,
    mac: Option<Mac>,
    hold_s: Option<u64>,
    state: StoredState,
    place: StoredPlace,
}

/// Who asked for it, and where it is.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct StoredPlace {
    owner: String,
    netns: Option<String>,
    host_interface: String,
    masqueraded: bool,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
enum StoredState {
    Active,
    Held,
    Fenced,
}

impl From<&Lease> for StoredLease {
    fn from(lease: &Lease) -> Self {
        let Attachment { network, container_id, ifname, owner } = lease.attachment.clone();
        let Place { netns, host_interface, masqueraded } = lease.place.clone();
        Self {
            attachment: (network, container_id, ifname),
            workload: lease.workload.clone(),
            stickiness: lease.stickiness,
            slot: lease.slot,
            epoch: lease.epoch,
            mac: lease.mac,
            hold_s: lease.hold.seconds(),
            state: match lease.state {
                LeaseState::Active => StoredState::Active,
                LeaseState::Held { .. } => StoredState::Held,
                LeaseState::Fenced => StoredState::Fenced,
            },
            place: StoredPlace { owner, netns, host_interface, masqueraded },
        }
    }
}

impl StoredLease {
    /// A hold begins anew with the process: what is left of it is not known.
    fn restore(self, now: std::time::Instant) -> Lease {
        let (network, container_id, ifname) = self.attachment;
        let StoredPlace { owner, netns, host_interface, masqueraded } = self.place;
        let hold = Hold::from_seconds(self.hold_s);
        let state = match self.state {
            StoredState::Active => LeaseState::Active,
            StoredState::Fenced => LeaseState::Fenced,
            StoredState::Held => LeaseState::held(hold, now),
        };
        Lease {
            attachment: Attachment { network, container_id, ifname, owner },
            workload: self.workload,
            stickiness: self.stickiness,
            slot: self.slot,
            epoch: self.epoch,
            mac: self.mac,
            hold,
            state,
            since: now,
            place: Place { netns, host_interface, masqueraded },
        }
    }
}

/// A start that wrote something: the number of its first batch, and a number of its own.
pub(crate) type Life = (u64, u64);

/// Everything a store holds, read.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    pub(crate) identity: Option<Identity>,
    pub(crate) rolled_back: bool,
    pub(crate) members: Vec<(Identity, u64, Option<PeerName>)>,
    pub(crate) records: Vec<Record>,
    pub(crate) evidence: Vec<Record>,
    pub(crate) annals: Vec<Record>,
    pub(crate) commits: Vec<(u64, Commit, Vec<Hash>)>,
    pub(crate) refused: Vec<(Identity, Identity, u64)>,
    pub(crate) leases: Vec<Lease>,
    pub(crate) resting: Vec<(NetworkId, Slot, u64)>,
    pub(crate) entries: Vec<Entry>,
    pub(crate) moves: Vec<(u64, Moved)>,
    pub(crate) censuses: Vec<Census>,
}

impl Contents {
    /// Reads rows, in whatever order.
    pub(crate) fn read(rows: &[Write], now: std::time::Instant) -> Result<Self, CorruptRow> {
        let mut contents = Self::default();
        for row in rows {
            contents.read_row(row, now).ok_or(CorruptRow { table: row.table })?;
        }
        contents.commits.sort_by_key(|(order, _, _)| *order);
        contents.resting.sort_by_key(|(_, _, order)| *order);
        Ok(contents)
    }

    fn read_row(&mut self, row: &Write, now: std::time::Instant) -> Option<()> {
        let Some(value) = &row.value else { return Some(()) };
        match row.table {
            Table::Meta if row.key == IDENTITY_KEY => self.identity = Some(value_of(value)?),
            Table::Meta if row.key == ROLLED_BACK_KEY => self.rolled_back = true,
            // Rows that a newer router may have added, and the log's numbers, which are the outbox's.
            Table::Meta => {}
            Table::Members => self.members.push(value_of(value)?),
            Table::Records => self.records.push(value_of(value)?),
            Table::Evidence => self.evidence.push(value_of(value)?),
            Table::Annals => self.annals.push(value_of(value)?),
            Table::Commits => self.commits.push(value_of(value)?),
            Table::Refused => self.refused.push(value_of(value)?),
            Table::Leases => self.leases.push(value_of::<StoredLease>(value)?.restore(now)),
            Table::Resting => self.resting.push(value_of(value)?),
            Table::Directory => self.entries.push(value_of(value)?),
            Table::History => self.moves.push(value_of(value)?),
            Table::Census => self.censuses.push(value_of(value)?),
        }
        Some(())
    }
}

/// Which start wrote which batches, if this is that row.
pub(crate) fn log_lives(row: &Write) -> Option<Vec<Life>> {
    (row.table == Table::Meta && row.key == LIVES_KEY).then(|| value_of(row.value.as_deref()?)).flatten()
}

/// The log's number, if this is its row.
pub(crate) fn log_number(row: &Write) -> Option<u64> {
    (row.table == Table::Meta && row.key == LOG_KEY).then(|| value_of(row.value.as_deref()?)).flatten()
}

fn value_of<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    decode(STORE_VERSION, bytes).ok()
}

/// A row that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CorruptRow {
    pub(crate) table: Table,
}
