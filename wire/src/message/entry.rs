//! Who holds which workload, as its holder tells.
//!
//! Owns the words. Decides nothing.

use serde::{Deserialize, Serialize};

use super::{Came, is_text};
use crate::id::{Epoch, Identity, Mac, NetworkId, Slot};
use crate::record::Signature;

/// A signed line of the directory: the author says what it holds for a workload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// What is signed.
    pub body: EntryBody,
    /// The author's Ed25519 signature over the encoded `body`.
    pub signature: Signature,
}

/// The signed part of an [`Entry`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryBody {
    /// The network.
    pub network: NetworkId,
    /// The workload key.
    pub workload: String,
    /// The interface.
    pub ifname: String,
    /// The slot it has.
    pub slot: Slot,
    /// The slot's epoch by which the author owns it: void as soon as the slot has moved on.
    pub epoch: Epoch,
    /// Higher than that of any entry for this workload the author had seen: of two hosts that have it, the later counts.
    pub version: u64,
    /// Higher than that of any entry the author had written, for whatever workload.
    pub number: u64,
    /// Who says so.
    pub author: Identity,
    /// What became of it.
    pub state: EntryState,
    /// The container that has, or last had it.
    pub container_id: String,
    /// A MAC that is not the slot's own.
    pub mac: Option<Mac>,
    /// How long the address is held after a release: none = for ever.
    pub hold_s: Option<u64>,
    /// How the author got the slot, if by a move.
    pub came: Option<Came>,
}

/// What became of a workload's lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum EntryState {
    /// A container has it.
    Active,
    /// It waits for its workload to come back.
    Held,
    /// It is over.
    Ended,
}

impl Entry {
    pub(super) fn is_within_limits(&self) -> bool {
        is_text(&self.body.workload) && is_text(&self.body.ifname) && is_text(&self.body.container_id)
    }
}
