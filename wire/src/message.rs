//! What ledgers tell one another.
//!
//! Owns the messages' encoding and their limits. Decides nothing about them, and knows nothing of what carries them.
//!
//! A message is one version byte and then a [`Message`] in postcard. New kinds are appended to the enum; a router that does
//! not know one ignores it. Whatever has to be believed by somebody who did not hear it from its author is signed.

use serde::{Deserialize, Serialize};

use crate::id::{Epoch, Hash, Identity, Mac, NetworkId, Slot};
use crate::record::{DecodeError, Range, Record, Signature, decode, encode};

mod came;
mod census;
mod entry;
mod log;
mod name;
mod part;
mod space;

pub use came::{Came, Why};
pub use census::{Census, CensusBody};
pub use entry::{Entry, EntryBody, EntryState};
pub use log::{LogBody, LogHead};
pub use name::{Invited, Name, NameVerdict};
pub use part::Part;
pub use space::{Need, Room, SpaceRequest};

/// The version of [`Message`] this crate writes.
pub const MESSAGE_VERSION: u8 = 4;
/// The version of [`EntryBody`] this crate writes.
pub const ENTRY_VERSION: u8 = 4;
/// The version of [`LogBody`] this crate writes.
pub const LOG_VERSION: u8 = 2;
/// The version of [`CensusBody`] this crate writes.
pub const CENSUS_VERSION: u8 = 1;
/// The version of [`Ask`], [`PromiseBody`] and [`Commit`] this crate writes.
pub const REVOCATION_VERSION: u8 = 1;
/// The largest message that travels in one piece: the 1 MiB that an envelope on a stream may have holds it.
pub const MESSAGE_BYTES_MAX: usize = 512 * 1024;
/// The largest message at all, in as many [`Part`]s as it takes: a revocation that names 100 000 records among a thousand
/// routers. A bound on what a peer can make us hold, and half of what may wait for a stream.
pub const ASSEMBLED_BYTES_MAX: usize = 4 << 20;
/// The bytes of a message in one of its parts: with their framing they stay below [`MESSAGE_BYTES_MAX`].
pub const PART_BYTES: usize = 256 << 10;
/// The longest workload key, container id or path: Kubernetes' namespace (63) and pod name (253) fit with the slash.
pub const TEXT_BYTES_MAX: usize = 320;
/// Lines of the directory that one author may have at a time: more sticky workloads than a host runs, few enough that no host
/// fills the others' disks.
pub const LINES_MAX: usize = 65_536;
/// Buckets of a digest: 4 KiB a message, and a difference costs 1/256 of the ledger to find.
pub const DIGEST_BUCKETS: usize = 256;
/// The bytes of a [`Sum`]: two lists with one sum take 2^64 attempts to find.
pub const SUM_BYTES: usize = 16;

/// What two routers compare of a bucket: the beginning of a hash of all that is in it.
pub type Sum = [u8; SUM_BYTES];

/// One message between two ledgers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Message {
    /// Entries of the ledger, each after the one it extends.
    Records(Vec<Record>),
    /// Who holds which workload.
    Entries(Vec<Entry>),
    /// One sum for each bucket of everything the sender holds, or one for all.
    Digest(Vec<Sum>),
    /// What the sender holds in the buckets where the digests differ.
    Compare(Vec<Bucket>),
    /// Asks for the items of these hashes.
    Want(Vec<Hash>),
    /// Asks for everything about a range and what it is carved out of.
    WantRange(Range),
    /// Asks for a block or a slot.
    SpaceRequest(SpaceRequest),
    /// Answers a [`Message::SpaceRequest`] with the records that make it the asker's.
    SpaceGrant {
        /// The pool.
        network: NetworkId,
        /// The gift, after whatever it extends.
        records: Vec<Record>,
    },
    /// Answers a [`Message::SpaceRequest`]: nothing to give.
    SpaceDeny {
        /// The pool.
        network: NetworkId,
        /// Who may have room.
        hint: Option<Identity>,
        /// How many slots there are in what the sender can give when they have rested.
        resting: u32,
    },
    /// The taker asks for a slot and the lease on it.
    MovePrepare(MovePrepare),
    /// The owner would give it: what the taker needs to prepare its port.
    MoveOffer {
        /// Which move.
        key: MoveKey,
        /// The lease that would move; none if the slot is free.
        lease: Option<MovedLease>,
    },
    /// The taker's port is prepared and blocked.
    MoveReady {
        /// Which move.
        key: MoveKey,
    },
    /// The slot is the taker's.
    MoveCommit {
        /// Which move.
        key: MoveKey,
        /// The slot's records, after whatever they extend.
        records: Vec<Record>,
        /// The lease that moved with it.
        lease: Option<MovedLease>,
    },
    /// The taker no longer wants it. Too late after the commit.
    MoveAbort {
        /// Which move.
        key: MoveKey,
    },
    /// The owner does not give it.
    MoveRefused {
        /// Which move.
        key: MoveKey,
        /// Why.
        reason: MoveRefusal,
    },
    /// Asks for a promise to refuse some identities.
    RevokeAsk {
        /// The question.
        ask: Ask,
        /// What the asker holds of the victims' records, as far as it is not much.
        records: Vec<Record>,
        /// The revocations that it names as earlier, as far as these are not much.
        commits: Vec<Commit>,
    },
    /// Promises it.
    RevokePromise {
        /// The promise.
        promise: Promise,
        /// The records it names beyond those of the question, as far as they are not many: the asker wants the others.
        records: Vec<Record>,
    },
    /// Everybody has promised.
    RevokeCommit {
        /// The proof.
        commit: Commit,
        /// The records it names, as far as they are not many: who lacks others wants them.
        records: Vec<Record>,
    },
    /// Asks a name's registrar whether its workload may be started here.
    NameAsk {
        /// Which.
        name: Name,
        /// Tells this question from the claimant's earlier ones.
        attempt: u64,
        /// The number of the claimant's next line: what the claimant said before has a lower one.
        number: u64,
    },
    /// Answers a [`Message::NameAsk`].
    NameAnswer {
        /// Which.
        name: Name,
        /// Of the question.
        attempt: u64,
        /// Whether it may.
        verdict: NameVerdict,
    },
    /// The claimant does not start it after all.
    NameDrop {
        /// Which.
        name: Name,
        /// Of the question.
        attempt: u64,
    },
    /// Tells everybody where a workload is to start next, and asks that router to take its address.
    MoveInvite {
        /// Which.
        name: Name,
        /// Who is to take it.
        to: Identity,
        /// Tells this invitation from the sender's earlier ones.
        attempt: u64,
        /// When it is to go.
        handover: Handover,
    },
    /// Answers a [`Message::MoveInvite`].
    MoveInvited {
        /// Which.
        name: Name,
        /// Of the invitation.
        attempt: u64,
        /// What became of it.
        outcome: Invited,
    },
    /// A workload that was to start elsewhere next is not to any more.
    MoveCancel {
        /// Which.
        name: Name,
    },
    /// A piece of a message that is too long for one.
    Part(Part),
    /// How far its author's log had come: its author's word, or the proof that it had come further.
    LogHead(LogHead),
    /// What the sender could give of each pool, as far as it could give any.
    Room(Vec<Room>),
    /// Which of its author's lines are not over.
    Census(Census),
}

/// What one side holds in one bucket of its digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bucket {
    /// Which bucket: the first byte of its items' hashes.
    pub number: u8,
    /// The items' hashes, ascending.
    pub hashes: Vec<Hash>,
}

/// Names one move: what repeats it is harmless, because the epoch is the one the move ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct MoveKey {
    /// The network.
    pub network: NetworkId,
    /// The slot that moves.
    pub slot: Slot,
    /// The epoch of the ownership that ends, as the sender knows it.
    pub epoch: Epoch,
}

/// The taker's request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MovePrepare {
    /// Which move.
    pub key: MoveKey,
    /// The workload the slot is for.
    pub workload: String,
    /// The interface of that workload.
    pub ifname: String,
    /// What the taker asked for.
    pub wish: Wish,
    /// When it is to go.
    pub handover: Handover,
}

/// When an address leaves a host where its workload runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub enum Handover {
    /// As soon as it has stopped.
    #[default]
    WhenStopped,
    /// At once: the container that has it is cut off.
    TakeOver,
}

/// What a taker wants of a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Wish {
    /// The workload that was last seen there, with its address.
    Workload,
    /// This very address.
    Address,
}

/// What of a lease moves with its slot.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct MovedLease {
    /// The workload key.
    pub workload: String,
    /// The interface.
    pub ifname: String,
    /// The container that had it last.
    pub container_id: String,
    /// A MAC that is not the slot's own.
    pub mac: Option<Mac>,
    /// How long the address is held after a release: none = for ever.
    pub hold_s: Option<u64>,
    /// Why it goes.
    pub why: Why,
}

/// Why an owner does not let a slot go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum MoveRefusal {
    /// The workload still runs.
    Active {
        /// In this container.
        container_id: String,
    },
    /// Another workload has the address.
    Taken {
        /// The workload.
        workload: String,
        /// Its container, running or last.
        container_id: String,
    },
    /// The address was freed a moment ago.
    Resting,
    /// No such workload is known there.
    Unknown,
    /// It moved too often in too short a time, or two records contradict each other.
    Frozen,
    /// The slot belongs to somebody else; the records follow.
    NotOwner,
    /// The owner cannot write to its disk, or is itself revoked.
    Unable,
}

/// The question of a revocation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ask {
    /// Who is to be revoked, ascending.
    pub victims: Vec<Identity>,
    /// Everybody the asker knows to have ever been admitted and not revoked before, victims included, ascending.
    pub members: Vec<Identity>,
    /// The revocations that were committed before, by hash, ascending.
    pub earlier: Vec<Hash>,
    /// Every record by or to a victim that the asker holds, by hash, ascending.
    pub known: Vec<Hash>,
    /// Who asks.
    pub asker: Identity,
}

/// A signed promise to take no further record by or to the victims of an [`Ask`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Promise {
    /// What is signed.
    pub body: PromiseBody,
    /// The promiser's Ed25519 signature over the encoded `body`.
    pub signature: Signature,
}

/// The signed part of a [`Promise`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PromiseBody {
    /// The hash of the encoded [`Ask`].
    pub ask: Hash,
    /// Who promises.
    pub promiser: Identity,
    /// Records by or to a victim that the promiser holds beyond those of the question, by hash, ascending.
    pub beyond: Vec<Hash>,
    /// Members the promiser knows beyond those of the question, ascending.
    pub members: Vec<Identity>,
}

/// The proof that a revocation is decided: the question and everybody's promise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Commit {
    /// The question.
    pub ask: Ask,
    /// The promises, ascending by promiser.
    pub promises: Vec<Promise>,
}

impl Message {
    /// Writes the message down.
    #[must_use]
    pub fn emit(&self) -> Vec<u8> {
        encode(MESSAGE_VERSION, self)
    }

    /// Reads what [`Message::emit`] wrote. Total: any bytes give a message or an error.
    ///
    /// # Errors
    /// [`ParseMessageError`]; nothing is kept of the bytes.
    pub fn parse(bytes: &[u8]) -> Result<Self, ParseMessageError> {
        Self::parse_within(MESSAGE_BYTES_MAX, bytes)
    }

    /// Reads what came in parts.
    ///
    /// # Errors
    /// [`ParseMessageError`]; nothing is kept of the bytes.
    pub fn parse_assembled(bytes: &[u8]) -> Result<Self, ParseMessageError> {
        Self::parse_within(ASSEMBLED_BYTES_MAX, bytes)
    }

    fn parse_within(most: usize, bytes: &[u8]) -> Result<Self, ParseMessageError> {
        if bytes.len() > most {
            return Err(ParseMessageError::TooLong { bytes: bytes.len(), most });
        }
        let message: Self = decode(MESSAGE_VERSION, bytes)?;
        if message.is_within_limits() { Ok(message) } else { Err(ParseMessageError::Limits) }
    }

    fn is_within_limits(&self) -> bool {
        match self {
            Self::Digest(buckets) => buckets.len() == DIGEST_BUCKETS || buckets.len() == 1,
            Self::Compare(buckets) => buckets.len() <= DIGEST_BUCKETS,
            Self::Part(part) => part.bytes.len() <= PART_BYTES,
            Self::Entries(entries) => entries.iter().all(Entry::is_within_limits),
            Self::Census(census) => census.is_within_limits(),
            Self::MovePrepare(prepare) => is_text(&prepare.workload) && is_text(&prepare.ifname),
            Self::MoveOffer { lease, .. } | Self::MoveCommit { lease, .. } => {
                lease.as_ref().is_none_or(MovedLease::is_within_limits)
            }
            Self::MoveRefused { reason, .. } => reason.is_within_limits(),
            Self::NameAsk { name, .. }
            | Self::NameAnswer { name, .. }
            | Self::NameDrop { name, .. }
            | Self::MoveInvite { name, .. }
            | Self::MoveCancel { name } => name.is_within_limits(),
            Self::MoveInvited { name, outcome, .. } => name.is_within_limits() && outcome.is_within_limits(),
            // The length of the whole message is the limit of every list of items of one size.
            Self::Records(_)
            | Self::Want(_)
            | Self::WantRange(_)
            | Self::SpaceRequest(_)
            | Self::SpaceGrant { .. }
            | Self::SpaceDeny { .. }
            | Self::LogHead(_)
            | Self::Room(_)
            | Self::MoveReady { .. }
            | Self::MoveAbort { .. }
            | Self::RevokeAsk { .. }
            | Self::RevokePromise { .. }
            | Self::RevokeCommit { .. } => true,
        }
    }
}

impl MovedLease {
    fn is_within_limits(&self) -> bool {
        is_text(&self.workload) && is_text(&self.ifname) && is_text(&self.container_id)
    }
}

impl MoveRefusal {
    fn is_within_limits(&self) -> bool {
        match self {
            Self::Active { container_id } => is_text(container_id),
            Self::Taken { workload, container_id } => is_text(workload) && is_text(container_id),
            Self::Resting | Self::Unknown | Self::Frozen | Self::NotOwner | Self::Unable => true,
        }
    }
}

fn is_text(text: &str) -> bool {
    text.len() <= TEXT_BYTES_MAX
}

/// Why bytes are not a message.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseMessageError {
    /// Longer than any message.
    #[error("{bytes} bytes, where a message has at most {most}")]
    TooLong {
        /// How long.
        bytes: usize,
        /// How long one may be.
        most: usize,
    },
    /// A text or list beyond its limit.
    #[error("a text or a list is beyond its limit")]
    Limits,
    /// Not a value of this version.
    #[error(transparent)]
    Decode(#[from] DecodeError),
}

#[cfg(test)]
mod tests;
