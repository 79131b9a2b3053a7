//! Moves of single slots between two hosts, each side of them.
//!
//! Decides whether a slot may go, and makes its going durable before anybody hears of it (invariant I2). Every message may be
//! repeated: the epoch says which ownership it is about.
//!
//! ```text
//!   taker                          owner
//!     ── MovePrepare(slot, e) ───────▶   still running, taken, resting, unknown …: MoveRefused
//!     ◀─────────────── MoveOffer(e) ──
//!     ── MoveReady(e) ───────────────▶   looks again, writes slot → taker at e+1, gives up its lease
//!     ◀────────────── MoveCommit(e) ──
//!   writes the record and its lease, answers the claim
//! ```

use std::time::Instant;

use wire::message::{
    Came, EntryBody, EntryState, Handover, Message, MoveKey, MovePrepare, MoveRefusal, MovedLease, Why, Wish,
};
use wire::{Epoch, Identity, NetworkId, Range, Record, RecordBody, Slot};

use super::{Health, Ipam, Pending, Stage};
use crate::config::Hold;
use crate::lease::{Attachment, ClaimError, FrozenWhy, Lease, LeaseKey, LeaseState, Place, Stickiness};
use crate::outbox::To;
use crate::space::Space;
use crate::store::Write;

/// Offers kept at once: each is one claim on another host, and a host makes no more at a time.
const OFFERS_MAX: usize = 4096;

impl Ipam {
    /// Owner: somebody asks for a slot.
    pub(super) fn handle_prepare(&mut self, from: Identity, prepare: MovePrepare, now: Instant) {
        let key = prepare.key;
        match self.may_go(from, &prepare, now) {
            Ok(lease) => {
                if self.waiting.offers.len() < OFFERS_MAX {
                    self.waiting.offers.insert((key, from), (prepare, now + self.config.answer));
                }
                self.send(To::Peer(from), &Message::MoveOffer { key, lease });
            }
            Err(reason) => {
                if prepare.wish == Wish::Workload {
                    // Whether it is still this host's, for the one who believes so.
                    let name = LeaseKey { network: key.network, workload: prepare.workload, ifname: prepare.ifname };
                    self.send_line(from, &name, self.config.identity);
                }
                self.refuse(from, key, reason);
            }
        }
    }

    /// Owner: the taker is prepared. The commit point of a move.
    pub(super) fn handle_ready(&mut self, from: Identity, key: MoveKey, now: Instant) {
        let Some((prepare, _)) = self.waiting.offers.remove(&(key, from)) else {
            // The offer was made before a restart, or the commit is repeated.
            return self.refuse(from, key, MoveRefusal::NotOwner);
        };
        let lease = match self.may_go(from, &prepare, now) {
            Ok(lease) => lease,
            Err(reason) => return self.refuse(from, key, reason),
        };
        self.carve_out_block(key.network, key.slot, now);
        // The lease goes with the slot.
        let range = Range { network: key.network, start: key.slot, length: 1 };
        if self.give(range, from, now).is_none() {
            return self.refuse(from, key, MoveRefusal::Unable);
        }
        let records = self.ledger.history(&range);
        self.send(To::Peer(from), &Message::MoveCommit { key, records, lease });
    }

    fn refuse(&mut self, to: Identity, key: MoveKey, reason: MoveRefusal) {
        if reason == MoveRefusal::NotOwner {
            let range = Range { network: key.network, start: key.slot, length: 1 };
            self.send_history(to, &range);
        }
        self.send(To::Peer(to), &Message::MoveRefused { key, reason });
    }

    /// Whether this host lets a slot go to the taker, and with which lease.
    fn may_go(&self, taker: Identity, prepare: &MovePrepare, now: Instant) -> Result<Option<MovedLease>, MoveRefusal> {
        let MoveKey { network, slot, .. } = prepare.key;
        let range = Range { network, start: slot, length: 1 };
        if self.course.health != Health::Working || self.members.is_refused(&taker) || !self.members.is_admitted(&taker)
        {
            return Err(MoveRefusal::Unable);
        }
        let assignable = self.network(network).is_some_and(|known| known.is_assignable(slot));
        let holding =
            self.ledger.owner(network, slot).filter(|holding| holding.owner == self.config.identity && assignable);
        if holding.is_none_or(|holding| holding.epoch != prepare.key.epoch) {
            return Err(MoveRefusal::NotOwner);
        }
        if self.is_frozen(network, slot, now) || self.ledger.is_quarantined(&range) {
            return Err(MoveRefusal::Frozen);
        }
        let Some(lease) = self.leases.of_slot(network, slot) else { return self.may_go_free(prepare) };
        let (workload, container_id) = (lease.workload.clone(), lease.attachment.container_id.clone());
        let same = workload == prepare.workload && lease.attachment.ifname == prepare.ifname;
        match lease.state {
            _ if !same => Err(MoveRefusal::Taken { workload: lease.name().to_owned(), container_id }),
            LeaseState::Active | LeaseState::Fenced if prepare.handover == Handover::WhenStopped => {
                Err(MoveRefusal::Active { container_id })
            }
            // A container that still runs is fenced by the commit.
            LeaseState::Active | LeaseState::Fenced | LeaseState::Held { .. } => Ok(Some(MovedLease {
                workload,
                ifname: lease.attachment.ifname.clone(),
                container_id,
                mac: lease.mac,
                hold_s: lease.hold.seconds(),
                why: self.why(lease, taker),
            })),
        }
    }

    fn why(&self, lease: &Lease, taker: Identity) -> Why {
        let expected = self.waiting.expected.get(&lease.key());
        match lease.state {
            LeaseState::Active | LeaseState::Fenced => Why::TakenOver,
            LeaseState::Held { .. } if expected.is_some_and(|expected| expected.to == taker) => Why::Asked,
            LeaseState::Held { .. } => Why::Followed,
        }
    }

    /// A slot without a lease goes to whoever wants this very address.
    fn may_go_free(&self, prepare: &MovePrepare) -> Result<Option<MovedLease>, MoveRefusal> {
        let MoveKey { network, slot, .. } = prepare.key;
        match prepare.wish {
            Wish::Workload => Err(MoveRefusal::Unknown),
            Wish::Address if self.is_resting(network, slot) => Err(MoveRefusal::Resting),
            Wish::Address => Ok(None),
        }
    }

    /// Taker: the owner would give the slot. Its lease is remembered now: the record may come without the commit.
    pub(super) fn handle_offer(&mut self, from: Identity, key: MoveKey, lease: Option<MovedLease>) {
        let wanted = self.wants(from, key);
        let message = if wanted.is_some() { Message::MoveReady { key } } else { Message::MoveAbort { key } };
        if let Some(pending) = wanted.and_then(|wanted| self.waiting.claims.get_mut(&wanted)) {
            pending.stage = Stage::Moving { key, holder: from, offered: lease };
        }
        self.send(To::Peer(from), &message);
    }

    /// Taker: the slot is this host's.
    pub(super) fn handle_move_commit(
        &mut self,
        from: Identity,
        key: MoveKey,
        records: Vec<Record>,
        lease: Option<MovedLease>,
        now: Instant,
    ) {
        self.learn(records, Some(from), now);
        // Nobody says what becomes of a slot but who has just given it.
        let given = self.newest_record(key.network, key.slot).map(|body| (body.author, body.epoch));
        if let Some(lease) = lease.filter(|_| given == Some((from, key.epoch.next()))) {
            self.hold_moved(key.network, key.slot, &lease, from, now);
        }
    }

    /// The record by which a slot has its owner, if it has one of its own.
    fn newest_record(&self, network: NetworkId, slot: Slot) -> Option<&RecordBody> {
        let head = self.ledger.head(&Range { network, start: slot, length: 1 })?;
        Some(&self.ledger.record(&head.hash)?.body)
    }

    /// Taker: a slot has come. The workload it came for may have stopped waiting, or this router may have been restarted
    /// since: what was offered, or what the old owner said of the slot last, is held until somebody claims it. If nobody knows
    /// whose it was, that one may have stopped a moment ago.
    pub(super) fn settle_in(&mut self, network: NetworkId, slot: Slot, now: Instant) {
        let Some(&RecordBody { author, epoch, .. }) = self.newest_record(network, slot) else { return };
        let address = self.address(network, slot);
        let mut awaited = self.waiting.claims.values().filter_map(|pending| match &pending.stage {
            Stage::Moving { key, offered, .. } if (key.network, key.slot) == (network, slot) => {
                Some((offered.clone(), pending.claim.address == Some(address)))
            }
            Stage::Moving { .. } | Stage::Stopping { .. } | Stage::Fresh | Stage::Space | Stage::AnySlot => None,
        });
        let awaited = awaited.next();
        // One that brings a lease is taken by the claim only if it is the very address the claim is for: a workload that
        // has another one here goes on with that.
        let is_taken = awaited.as_ref().is_some_and(|(offered, is_chosen)| offered.is_none() || *is_chosen);
        let offered = awaited.and_then(|(offered, _)| offered);
        if let Some(lease) = offered.or_else(|| self.last_said_of(network, slot, author, epoch)) {
            self.hold_moved(network, slot, &lease, author, now);
        }
        if !is_taken && self.space_of(network).is_free(slot) {
            self.rest_slot(network, slot, now);
            self.space_of(network).note_used_elsewhere(slot);
        }
    }

    /// What the author of a slot's record had on it before. Of two workloads one had left it, and nobody here has heard which.
    pub(super) fn last_said_of(
        &self,
        network: NetworkId,
        slot: Slot,
        author: Identity,
        epoch: Epoch,
    ) -> Option<MovedLease> {
        let is_it = |line: &&EntryBody| (line.network, line.slot, line.epoch.next()) == (network, slot, epoch);
        let mut lines = self.directory.lines_of(author).filter(is_it);
        let line = lines.next().filter(|_| lines.next().is_none())?;
        Some(moved_lease(line, if line.state == EntryState::Active { Why::TakenOver } else { Why::Followed }))
    }

    /// A slot waits here for the workload it came with.
    fn hold_moved(&mut self, network: NetworkId, slot: Slot, moved: &MovedLease, from: Identity, now: Instant) {
        let name = LeaseKey { network, workload: moved.workload.clone(), ifname: moved.ifname.clone() };
        let is_unused = |space: &Space| space.is_free(slot) || space.is_untouched(slot);
        let free = self.is_mine(network, slot)
            && self.leases.of_slot(network, slot).is_none()
            && self.spaces.get(&network).is_some_and(is_unused);
        if free && self.has_lost_name(&name) {
            // Whoever had the address until now may have stopped a moment ago.
            return self.rest_slot(network, slot, now);
        }
        if !free || self.leases.of_key(&name).is_some() || self.course.health != Health::Working {
            return;
        }
        self.keep_for(network, slot, moved, from, now);
    }

    /// Holds a slot that has come for the workload that had it.
    pub(super) fn keep_for(
        &mut self,
        network: NetworkId,
        slot: Slot,
        moved: &MovedLease,
        from: Identity,
        now: Instant,
    ) {
        let Some(holding) = self.ledger.owner(network, slot) else { return };
        let hold = Hold::from_seconds(moved.hold_s);
        let (container_id, ifname) = (moved.container_id.clone(), moved.ifname.clone());
        self.space_of(network).forget(slot);
        self.outbox.write(Write::rested(network, slot));
        let lease = Lease {
            attachment: Attachment { network, container_id, ifname, owner: String::new() },
            workload: moved.workload.clone(),
            stickiness: Stickiness::Sticky,
            slot,
            epoch: holding.epoch,
            mac: moved.mac,
            hold,
            state: LeaseState::held(hold, now),
            since: now,
            place: Place::default(),
        };
        self.keep_lease_that_came(lease, Some(Came { from, why: moved.why }));
    }

    /// Taker: the owner does not give it.
    pub(super) fn handle_refused(&mut self, from: Identity, key: MoveKey, reason: MoveRefusal, now: Instant) {
        let Some(mut pending) = self.wants(from, key).and_then(|wanted| self.waiting.claims.remove(&wanted)) else {
            return;
        };
        let address = self.address(key.network, key.slot);
        let holder = self.members.label(from);
        // One that wants an address of its own choice asks for that of its name besides.
        let wanted = pending.claim.address.filter(|wanted| *wanted == address);
        let error = match (reason, wanted) {
            (MoveRefusal::Active { container_id }, _) if self.is_expected(&pending) => {
                pending.stage = Stage::Stopping { holder: from, container_id };
                self.waiting.claims.insert(pending.claim.attachment.clone(), pending);
                return;
            }
            (MoveRefusal::Active { container_id }, _) => {
                ClaimError::HeldElsewhere { workload: pending.claim.key().workload, container_id, holder }
            }
            (MoveRefusal::Taken { workload, container_id }, Some(wanted)) => {
                ClaimError::Taken { wanted, workload, container_id, holder }
            }
            (MoveRefusal::Resting, Some(wanted)) => ClaimError::Resting { wanted, rest_s: self.config.rest.as_secs() },
            (MoveRefusal::Frozen, _) => ClaimError::Frozen { address, why: FrozenWhy::Flapping },
            (MoveRefusal::Unable, _) => ClaimError::HolderUnable { address, holder },
            // The workload's old address has another user: it gets a new one.
            (MoveRefusal::Taken { .. } | MoveRefusal::Resting | MoveRefusal::Unknown, None) => {
                pending.detours += 1;
                return self.advance(Pending { stage: Stage::AnySlot, ..pending }, now);
            }
            (MoveRefusal::NotOwner | MoveRefusal::Unknown, _) => {
                pending.detours += 1;
                return self.advance(Pending { stage: Stage::Fresh, ..pending }, now);
            }
        };
        self.fail(&pending, error);
    }

    /// The claim that waits for this move.
    fn wants(&self, from: Identity, key: MoveKey) -> Option<Attachment> {
        let is_it = |pending: &Pending| matches!(&pending.stage, Stage::Moving { key: wanted, holder, .. } if *wanted == key && *holder == from);
        self.waiting.claims.iter().find(|(_, pending)| is_it(pending)).map(|(attachment, _)| attachment.clone())
    }
}

/// What a line says of the workload at its slot, in the words of a move.
pub(super) fn moved_lease(line: &EntryBody, why: Why) -> MovedLease {
    MovedLease {
        workload: line.workload.clone(),
        ifname: line.ifname.clone(),
        container_id: line.container_id.clone(),
        mac: line.mac,
        hold_s: line.hold_s,
        why,
    }
}
