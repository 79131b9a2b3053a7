//! What waits for somebody: claims, searches, offers, questions.
//!
//! Owns the words. Decides nothing.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Instant;

use wire::message::{Message, MoveKey, MovePrepare, MovedLease, Need};
use wire::{Identity, NetworkId};

use super::room::Rooms;
use crate::lease::{Attachment, Claim, LeaseKey, RequestId};
use crate::names::Pledges;

/// What waits for somebody.
#[derive(Debug, Clone, Default)]
pub(super) struct Waiting {
    /// Claims that need another router, by what they are for.
    pub(super) claims: BTreeMap<Attachment, Pending>,
    /// Searches for space.
    pub(super) quests: BTreeMap<NetworkId, Quest>,
    /// What this router has offered to give.
    pub(super) offers: BTreeMap<(MoveKey, Identity), (MovePrepare, Instant)>,
    /// Leases whose claim has not been answered: a repeated claim is a retry, not a duplicate.
    pub(super) unanswered: BTreeMap<RequestId, LeaseKey>,
    /// Leases that were there when the router started: their claims may not have been answered either.
    pub(super) restored: BTreeSet<LeaseKey>,
    /// Who says to have room.
    pub(super) rooms: Rooms,
    /// When to look for a spare block again after nobody had one.
    pub(super) spare_after: BTreeMap<NetworkId, Instant>,
    /// Joiners whose snapshot waits for the store, and for which of its batches.
    pub(super) joiners: VecDeque<(Identity, u64)>,
    /// Names that this router, as their registrar, has given to somebody who is starting them.
    pub(super) pledges: Pledges,
    /// Questions asked of registrars, and invitations.
    pub(super) attempts: u64,
    /// Invitations that other routers have not answered.
    pub(super) invitations: BTreeMap<(Identity, u64), Sent>,
    /// Workloads that are to start on a certain host next.
    pub(super) expected: BTreeMap<LeaseKey, Expected>,
    /// What is kept since somebody was revoked for a workload of that one's, and was not asked for since.
    pub(super) orphans: BTreeMap<LeaseKey, Identity>,
    /// Names that are another host's though their workload runs here, or is kept here; each is told once, and the directory
    /// is told nothing of them.
    pub(super) split: BTreeSet<LeaseKey>,
}

/// A claim that waits for another router.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Pending {
    pub(super) claim: Claim,
    pub(super) requests: Vec<RequestId>,
    pub(super) deadline: Instant,
    pub(super) stage: Stage,
    pub(super) naming: Naming,
    pub(super) purpose: Purpose,
    /// Answers that only sent it on: bounded, so that contradicting routers cannot keep it going.
    pub(super) detours: u8,
}

/// What a pending claim waits for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Stage {
    /// Nothing yet.
    Fresh,
    /// A slot of another router's.
    Moving { key: MoveKey, holder: Identity, offered: Option<MovedLease> },
    /// The container that has it, which is to stop.
    Stopping { holder: Identity, container_id: String },
    /// A block.
    Space,
    /// Nothing: the workload is known nowhere, any slot will do.
    AnySlot,
}

impl Stage {
    /// The lease that was offered with a move.
    pub(super) fn offered(&self, with: MoveKey) -> Option<MovedLease> {
        match self {
            Self::Moving { key, offered, .. } if *key == with => offered.clone(),
            Self::Moving { .. } | Self::Stopping { .. } | Self::Fresh | Self::Space | Self::AnySlot => None,
        }
    }
}

/// An invitation that another router has not answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sent {
    pub(super) request: RequestId,
    pub(super) invitation: Message,
    pub(super) until: Instant,
}

/// Where a workload is to start next, as an operator said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Expected {
    pub(super) to: Identity,
    pub(super) until: Instant,
}

/// What an address is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Purpose {
    /// A container.
    Start,
    /// A workload's next start.
    Keep,
    /// The same, because another router, or this one, was told to see to it.
    Invited { by: Identity, attempt: u64 },
}

/// Whether the claim has the right to start its workload: needed where the workload is known nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Naming {
    /// Nobody was asked.
    Unasked,
    /// The registrar was.
    Asked { registrar: Identity, attempt: u64, until: Instant },
    /// It has; or the registrar was silent, and a start does not wait for one that may be gone.
    Settled { registrar: Identity, attempt: u64 },
}

/// A search for space in one network.
#[derive(Debug, Clone)]
pub(super) struct Quest {
    /// What it was for when a router was asked last.
    pub(super) need: Need,
    pub(super) asked: Vec<Identity>,
    pub(super) waiting: Option<(Identity, Instant)>,
    pub(super) hint: Option<Identity>,
    pub(super) silent: Vec<Identity>,
    /// How many slots those that were asked can give when they have rested.
    pub(super) resting: u64,
}

impl Quest {
    pub(super) fn new(need: Need) -> Self {
        Self { need, asked: Vec::new(), waiting: None, hint: None, silent: Vec::new(), resting: 0 }
    }

    /// A claim waits for it: what others could not give just to keep one ahead, or said before, is asked once more.
    pub(super) fn join(&mut self) {
        if self.need == Need::Spare || self.waiting.is_none() {
            *self = Self { waiting: self.waiting, ..Self::new(Need::Waiting) };
        }
    }

    /// A router that did not answer can be asked again.
    pub(super) fn forget_silent(&mut self, peer: Identity) {
        if self.silent.contains(&peer) {
            self.asked.retain(|asked| *asked != peer);
            self.silent.retain(|silent| *silent != peer);
        }
    }
}
