//! Claims: which slot a container gets.
//!
//! Decides between the slots of this host, the slot its workload has elsewhere and a block that has to be asked for.

use std::time::Instant;

use wire::message::{Handover, Invited, MoveKey, MovePrepare, TEXT_BYTES_MAX, Wish};
use wire::{Identity, NetworkId, Range, Slot};

use super::{DETOURS_MAX, Health, Ipam, Pending, Purpose, RETRY_WINDOW, Stage};
use crate::event::Event;
use crate::lease::{Attachment, Claim, ClaimError, FrozenWhy, Lease, LeaseKey, LeaseState, RequestId, Stickiness};
use crate::ledger::Holding;
use crate::outbox::To;
use crate::store::Write;

/// What a claim leads to.
enum Step {
    /// This slot, which is this host's and unused.
    Take(Slot),
    /// A slot of another router's.
    Ask { slot: Slot, holding: Holding, wish: Wish },
    /// A block must be found first.
    FindSpace,
    /// The registrar of the name must be asked first.
    AskName,
}

impl Step {
    /// Nothing of this host's is taken for a name that may be somebody else's.
    fn by_name(self, pending: &Pending) -> Self {
        match self {
            Self::Take(_) if pending.needs_name() => Self::AskName,
            Self::Take(_) | Self::Ask { .. } | Self::FindSpace | Self::AskName => self,
        }
    }
}

impl Ipam {
    /// Asks for an address. [`Event::Claimed`] answers, at once or when another router has.
    pub fn claim(&mut self, request: RequestId, claim: Claim, now: Instant) {
        if let Err(error) = self.begin_claim(request, claim, now) {
            self.answer(&[request], &Err(error));
        }
        self.announce_table();
    }

    fn begin_claim(&mut self, request: RequestId, claim: Claim, now: Instant) -> Result<(), ClaimError> {
        self.check(&claim)?;
        if let Some(lease) = self.leases.of_attachment(&claim.attachment) {
            let lease = lease.clone();
            if !self.is_retry(&lease, &claim, now) {
                return Err(self.duplicate(lease));
            }
            self.waiting.unanswered.insert(request, lease.key());
            self.answer(&[request], &Ok(lease));
            return Ok(());
        }
        let mut requests = vec![request];
        if let Some(earlier) = self.waiting.claims.remove(&claim.attachment) {
            if earlier.claim == claim {
                requests.extend(earlier.requests.iter());
                self.waiting.claims.insert(claim.attachment.clone(), Pending { requests, ..earlier });
                return Ok(());
            }
            self.fail(&earlier, ClaimError::Withdrawn);
        }
        let deadline = now + self.config.answer;
        self.advance(Pending { requests, ..Pending::new(claim, Purpose::Start, deadline) }, now);
        Ok(())
    }

    /// Takes a claim as far as it gets without another router.
    pub(super) fn advance(&mut self, mut pending: Pending, now: Instant) {
        // While it waited, this router may have been found restored from a copy, or revoked.
        match self.check(&pending.claim).and_then(|()| self.decide(&pending, now)) {
            Ok(Step::Take(slot)) => self.grant(&pending, slot, now),
            Ok(Step::Ask { slot, holding, wish }) => {
                let key = MoveKey { network: pending.claim.attachment.network, slot, epoch: holding.epoch };
                // Who is away may be back while the claim waits, and is asked then.
                if self.members.is_connected(&holding.owner) {
                    self.send_prepare(holding.owner, key, wish, &pending.claim);
                }
                let offered = pending.stage.offered(key);
                pending.stage = Stage::Moving { key, holder: holding.owner, offered };
                self.waiting.claims.insert(pending.claim.attachment.clone(), pending);
            }
            Ok(Step::FindSpace) => {
                let network = pending.claim.attachment.network;
                pending.stage = Stage::Space;
                self.waiting.claims.insert(pending.claim.attachment.clone(), pending);
                self.find_space(network, now);
            }
            Ok(Step::AskName) => self.ask_name(pending, now),
            Err(error) => self.fail(&pending, error),
        }
    }

    /// What does not depend on who has what.
    pub(super) fn check(&self, claim: &Claim) -> Result<(), ClaimError> {
        match self.course.health {
            Health::Working => {}
            Health::ReadOnly => return Err(ClaimError::ReadOnly),
            Health::RolledBack => return Err(ClaimError::RolledBackHere),
            Health::Revoked => return Err(ClaimError::RevokedHere),
        }
        let Attachment { network, container_id, ifname, .. } = &claim.attachment;
        let texts = [Some(container_id), Some(ifname), claim.workload.as_ref()];
        if let Some(text) = texts.into_iter().flatten().find(|text| text.is_empty() || text.len() > TEXT_BYTES_MAX) {
            return Err(ClaimError::Text { text: text.chars().take(80).collect() });
        }
        let known = self.network(*network).ok_or(ClaimError::UnknownNetwork { network: *network })?;
        self.check_mac(claim)?;
        let Some(wanted) = claim.address else { return Ok(()) };
        match known.slot_of(wanted) {
            None => Err(ClaimError::OutsidePool { wanted }),
            Some(slot) if !known.is_assignable(slot) => Err(ClaimError::Reserved { wanted }),
            Some(_) => Ok(()),
        }
    }

    fn decide(&mut self, pending: &Pending, now: Instant) -> Result<Step, ClaimError> {
        if pending.detours > DETOURS_MAX {
            return Err(self.contended(&pending.claim));
        }
        let claim = &pending.claim;
        self.ensure_mac_free(claim)?;
        let (key, network) = (claim.key(), claim.attachment.network);
        let wanted = claim.address.and_then(|address| self.network(network)?.slot_of(address));
        if let Some(lease) = self.leases.of_key(&key) {
            match lease.state {
                LeaseState::Active | LeaseState::Fenced
                    if claim.handover == Handover::TakeOver && wanted.is_none_or(|wanted| wanted == lease.slot) =>
                {
                    if let Some(slot) = self.cut_off(lease.clone()) {
                        return Ok(Step::Take(slot));
                    }
                }
                LeaseState::Active | LeaseState::Fenced => return Err(self.still_runs(lease)),
                LeaseState::Held { .. }
                    if wanted.is_none_or(|wanted| wanted == lease.slot) && self.is_mine(key.network, lease.slot) =>
                {
                    return self.decide_held(pending, lease.slot);
                }
                // The workload wants another address from now on: it keeps this one until it has that one.
                LeaseState::Held { .. } => {}
            }
        }
        if let Some(slot) = wanted {
            let step = self.decide_address(network, slot, now)?;
            return Ok(match (step, self.held_by_another(pending)) {
                (Step::Take(_), Some((slot, holding))) => self.ask_holder(slot, network, holding, Wish::Workload)?,
                (step, _) => step.by_name(pending),
            });
        }
        let has_place = claim.stickiness() == Stickiness::Sticky && pending.stage != Stage::AnySlot;
        if has_place && let Some(step) = self.decide_workload(&key, now)? {
            return Ok(step.by_name(pending));
        }
        if pending.needs_name() {
            return Ok(Step::AskName);
        }
        Ok(self.take_any(network, now).map_or(Step::FindSpace, Step::Take))
    }

    /// An address that waits here for its workload. If another host has the name, that one is asked, as for every move.
    fn decide_held(&self, pending: &Pending, held: Slot) -> Result<Step, ClaimError> {
        match self.place_of_winner(&pending.claim.key()).filter(|_| pending.stage != Stage::AnySlot) {
            Some((slot, holding)) => self.ask_holder(slot, pending.claim.attachment.network, holding, Wish::Workload),
            None => Ok(Step::Take(held)),
        }
    }

    /// Takes a lease from a container of this host's that does not stop. Returns the slot, if it is this host's.
    fn cut_off(&mut self, lease: Lease) -> Option<Slot> {
        let mine = self.is_mine(lease.attachment.network, lease.slot);
        let slot = lease.slot;
        if lease.state == LeaseState::Active {
            self.outbox.event(Event::Fenced { lease: lease.clone() });
        }
        if !mine {
            self.forget_lease(&lease.key());
        }
        mine.then_some(slot)
    }

    /// An explicit address.
    fn decide_address(&mut self, network: NetworkId, slot: Slot, now: Instant) -> Result<Step, ClaimError> {
        let address = self.address(network, slot);
        let holding = self.ledger.owner(network, slot).ok_or(ClaimError::OutsidePool { wanted: address })?;
        if self.ledger.is_quarantined(&Range { network, start: slot, length: 1 }) {
            return Err(ClaimError::Frozen { address, why: FrozenWhy::Quarantined });
        }
        if holding.owner != self.config.identity {
            return self.ask_holder(slot, network, holding, Wish::Address);
        }
        if let Some(lease) = self.leases.of_slot(network, slot) {
            let (workload, container_id) = (lease.name().to_owned(), lease.attachment.container_id.clone());
            let holder = self.members.label(self.config.identity);
            return Err(ClaimError::Taken { wanted: address, workload, container_id, holder });
        }
        if self.is_resting(network, slot) {
            return Err(ClaimError::Resting { wanted: address, rest_s: self.config.rest.as_secs() });
        }
        self.carve_out_block(network, slot, now);
        Ok(Step::Take(slot))
    }

    /// The slot at which another host has the workload: its name goes with that, also to an address of its own choice.
    fn held_by_another(&self, pending: &Pending) -> Option<(Slot, Holding)> {
        let place = self.directory.last_seen(&pending.claim.key(), &self.ledger);
        let is_sought = pending.claim.workload.is_some() && pending.stage != Stage::AnySlot;
        place.filter(|(_, holding)| is_sought && holding.owner != self.config.identity)
    }

    /// The slot at which a sticky workload was last seen, here or elsewhere.
    fn decide_workload(&mut self, key: &LeaseKey, now: Instant) -> Result<Option<Step>, ClaimError> {
        let Some((slot, holding)) = self.directory.last_seen(key, &self.ledger) else { return Ok(None) };
        let assignable = self.network(key.network).is_some_and(|network| network.is_assignable(slot));
        if !assignable || self.ledger.is_quarantined(&Range { network: key.network, start: slot, length: 1 }) {
            return Ok(None);
        }
        if holding.owner != self.config.identity {
            return self.ask_holder(slot, key.network, holding, Wish::Workload).map(Some);
        }
        // Who had it since leaves no line, if its name was not to stay: it may rest from somebody else.
        if self.leases.of_slot(key.network, slot).is_some() || self.is_resting(key.network, slot) {
            return Ok(None);
        }
        self.carve_out_block(key.network, slot, now);
        Ok(Some(Step::Take(slot)))
    }

    fn ask_holder(&self, slot: Slot, network: NetworkId, holding: Holding, wish: Wish) -> Result<Step, ClaimError> {
        if self.members.is_refused(&holding.owner) {
            return Err(self.unreachable(network, slot, holding.owner));
        }
        Ok(Step::Ask { slot, holding, wish })
    }

    /// The slot that has been free the longest, of a fresh block if it must be.
    fn take_any(&mut self, network: NetworkId, now: Instant) -> Option<Slot> {
        self.take_free(network)
            .or_else(|| self.carve_own_block(network, now).then(|| self.take_free(network)).flatten())
    }

    fn take_free(&mut self, network: NetworkId) -> Option<Slot> {
        while let Some(slot) = self.space_of(network).take_first() {
            if self.is_mine(network, slot) && self.leases.of_slot(network, slot).is_none() {
                return Some(slot);
            }
        }
        None
    }

    /// Binds the slot to the claim, durably, and answers.
    fn grant(&mut self, pending: &Pending, slot: Slot, now: Instant) {
        let claim = &pending.claim;
        let (key, network) = (claim.key(), claim.attachment.network);
        let Some(holding) = self.ledger.owner(network, slot) else { return };
        let before = self.leases.of_key(&key).cloned();
        let hold = claim.hold.or(before.as_ref().map(|lease| lease.hold)).unwrap_or(self.config.hold);
        let lease = Lease {
            attachment: match pending.purpose {
                Purpose::Start => claim.attachment.clone(),
                // No container has had it, or the one before is named on.
                Purpose::Keep | Purpose::Invited { .. } => Attachment {
                    container_id: before
                        .as_ref()
                        .map_or_else(String::new, |lease| lease.attachment.container_id.clone()),
                    ..claim.attachment.clone()
                },
            },
            workload: key.workload.clone(),
            stickiness: claim.stickiness(),
            slot,
            epoch: holding.epoch,
            mac: self.exceptional(network, slot, claim.mac.or(before.as_ref().and_then(|lease| lease.mac))),
            hold,
            state: match pending.purpose {
                Purpose::Start => LeaseState::Active,
                Purpose::Keep | Purpose::Invited { .. } => LeaseState::held(hold, now),
            },
            since: now,
            place: claim.place.clone(),
        };
        if let Some(before) = before.filter(|before| before.slot != slot) {
            // Without a word: the name goes on at the new slot, and is nobody else's in between.
            self.forget_lease(&key);
            if self.is_mine(network, before.slot) {
                self.rest_slot(network, before.slot, now);
            }
        }
        self.space_of(network).forget(slot);
        self.outbox.write(Write::rested(network, slot));
        self.end_silence(&key);
        self.keep_lease(lease.clone());
        self.waiting.restored.remove(&key);
        self.waiting.orphans.remove(&key);
        self.waiting.expected.remove(&key);
        self.tell_inviter(pending, Invited::Here);
        for request in &pending.requests {
            self.waiting.unanswered.insert(*request, key.clone());
        }
        self.answer(&pending.requests, &Ok(lease));
        self.keep_spare(network, now);
    }

    fn send_prepare(&mut self, holder: Identity, key: MoveKey, wish: Wish, claim: &Claim) {
        let LeaseKey { workload, ifname, .. } = claim.key();
        let prepare = MovePrepare { key, workload, ifname, wish, handover: claim.handover };
        self.send(To::Peer(holder), &wire::message::Message::MovePrepare(prepare));
    }

    /// Tries again what could not be done for want of a slot or of its records.
    pub(super) fn resume_claims(&mut self, now: Instant) {
        let ready = |pending: &Pending| match &pending.stage {
            Stage::Moving { key, holder, .. } => {
                self.ledger.owner(key.network, key.slot).is_some_and(|holding| holding.owner != *holder)
            }
            Stage::Space => self.spaces.get(&pending.claim.attachment.network).is_some_and(|space| space.free() > 0),
            Stage::Fresh | Stage::AnySlot => pending.naming.until().is_none(),
            Stage::Stopping { holder, .. } => self.members.is_revoked(holder),
        };
        let ready = self.waiting.claims.iter().filter(|(_, pending)| ready(pending));
        // Whoever takes any slot waits until those have theirs that want a certain one.
        let (last, first): (Vec<_>, Vec<_>) = ready
            .map(|(attachment, pending)| (attachment.clone(), pending.stage == Stage::Space))
            .partition(|(_, takes_any)| *takes_any);
        for (attachment, _) in first.into_iter().chain(last) {
            if let Some(pending) = self.waiting.claims.remove(&attachment) {
                self.advance(pending, now);
            }
        }
    }

    /// Fails the claims whose time is over, saying what they waited for.
    pub(super) fn time_out_claims(&mut self, now: Instant) {
        let failed: Vec<_> = self.waiting.claims.extract_if(.., |_, pending| pending.deadline <= now).collect();
        for (attachment, pending) in failed {
            let error = match &pending.stage {
                Stage::Moving { key, holder, .. } => self.unreachable(key.network, key.slot, *holder),
                Stage::Stopping { holder, container_id } => ClaimError::HeldElsewhere {
                    workload: pending.claim.key().workload,
                    container_id: container_id.clone(),
                    holder: self.members.label(*holder),
                },
                Stage::Space | Stage::Fresh | Stage::AnySlot => self.exhausted(attachment.network),
            };
            self.fail(&pending, error);
        }
    }

    /// Whether the claim repeats the one that led to this lease and whose answer may have been lost.
    fn is_retry(&self, lease: &Lease, claim: &Claim, now: Instant) -> bool {
        let wants_it =
            claim.address.is_none_or(|address| address == self.address(lease.attachment.network, lease.slot));
        let alike = wants_it
            && claim.key() == lease.key()
            && claim.place == lease.place
            && claim
                .mac
                .is_none_or(|mac| lease.mac == self.exceptional(lease.attachment.network, lease.slot, Some(mac)));
        let unanswered = self.waiting.unanswered.values().any(|key| *key == lease.key());
        let restored = self.waiting.restored.contains(&lease.key()) && now < self.course.started + RETRY_WINDOW;
        alike && (unanswered || restored)
    }

    fn duplicate(&self, lease: Lease) -> ClaimError {
        let address = self.address(lease.attachment.network, lease.slot);
        ClaimError::Duplicate { lease: Box::new(lease), address }
    }

    fn still_runs(&self, lease: &Lease) -> ClaimError {
        ClaimError::HeldElsewhere {
            workload: lease.name().to_owned(),
            container_id: lease.attachment.container_id.clone(),
            holder: self.members.label(self.config.identity),
        }
    }

    pub(super) fn unreachable(&self, network: NetworkId, slot: Slot, holder: Identity) -> ClaimError {
        ClaimError::HolderUnreachable { address: self.address(network, slot), holder: self.members.label(holder) }
    }

    pub(super) fn address(&self, network: NetworkId, slot: Slot) -> std::net::Ipv4Addr {
        self.network(network).map_or(std::net::Ipv4Addr::UNSPECIFIED, |network| network.address(slot))
    }

    /// Tells everybody what became of an alarm-worthy thing.
    pub(super) fn alarm(&mut self, alarm: crate::event::Alarm) {
        self.outbox.event(Event::Alarm(alarm));
    }
}

impl Claim {
    /// What its lease is found by.
    #[must_use]
    pub fn key(&self) -> LeaseKey {
        let Attachment { network, container_id, ifname, owner } = &self.attachment;
        let asked = || self.address.map(|address| address.to_string()).or_else(|| self.mac.map(|mac| mac.to_string()));
        let named = self.workload.clone().or_else(asked);
        // Two engines may call different containers alike, and a workload may be called as a container is.
        let unnamed = || format!("{owner}\n{container_id}");
        LeaseKey { network: *network, workload: named.unwrap_or_else(unnamed), ifname: ifname.clone() }
    }

    /// Whether the address waits for its workload: if it has a name, or asked for that very address or a MAC.
    #[must_use]
    pub fn stickiness(&self) -> Stickiness {
        let is_named = self.workload.is_some() || self.address.is_some() || self.mac.is_some();
        if is_named { Stickiness::Sticky } else { Stickiness::Ephemeral }
    }
}
