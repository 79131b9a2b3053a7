//! Gifts of space: to joiners, to those who ask, and the search for it.
//!
//! Decides who is given a block, and whom to ask when this host has none. What it can spare is not decided here.

use std::time::{Duration, Instant};

use wire::message::{Message, Need, SpaceRequest};
use wire::{Identity, NetworkId, PeerName, Range, Record, Slot};

use super::room::When;
use super::{Health, Ipam, Pending, Quest, Stage};
use crate::event::Event;
use crate::lease::{Attachment, ClaimError};
use crate::outbox::To;
use crate::space::Space;

/// How long a router may take to answer before the next one is asked: several fit the patience of a claim.
const ASK_PATIENCE: Duration = Duration::from_secs(1);
/// Nobody had a spare block: the pool is nearly full, and asking more often makes it no larger.
const SPARE_PAUSE: Duration = Duration::from_secs(60);

/// What a router says that has nothing to give.
#[derive(Debug, Clone, Copy)]
pub(super) struct Denial {
    /// Who may have room.
    pub(super) hint: Option<Identity>,
    /// The slots of what it can give when they have rested.
    pub(super) resting: u32,
}

impl Ipam {
    /// Admits a joiner and gives it a block of each network, if there is one to give. [`Event::JoinGranted`] brings what it starts
    /// from, as soon as the gift is durable. Repeating it gives nothing twice.
    pub fn grant_join(&mut self, identity: Identity, name: Option<PeerName>, now: Instant) {
        self.admit(identity, name, now);
        if self.course.health != Health::Working || self.members.is_refused(&identity) {
            return;
        }
        let networks: Vec<_> = self.config.genesis.networks.iter().map(|network| network.id).collect();
        for network in networks {
            let has_none = self.blocks_of(network, identity).is_empty();
            if has_none && let Some(block) = self.spare_block(network, Need::Spare, When::Now) {
                self.give(block, identity, now);
            }
        }
        self.waiting.joiners.push_back((identity, self.outbox.log_to_come()));
        // With nothing to write there is nothing to wait for.
        self.send_snapshots();
        self.announce_table();
    }

    /// Hands out the snapshots whose gifts are durable.
    pub(super) fn send_snapshots(&mut self) {
        let log = self.outbox.log();
        while let Some((identity, _)) = self.waiting.joiners.pop_front_if(|(_, since)| *since <= log) {
            let snapshot = self.snapshot_for(identity);
            self.outbox.event_at_once(Event::JoinGranted { identity, snapshot });
        }
    }

    /// Gives a block to whoever asks, repeats the gift it has not heard of, or says who may have room.
    pub(super) fn handle_space_request(&mut self, from: Identity, request: &SpaceRequest, now: Instant) {
        let network = request.network;
        self.waiting.rooms.forget(network, from);
        let owned = self.blocks_of(network, from);
        let records: Vec<Record> = if owned.len() > usize::try_from(request.have).unwrap_or(usize::MAX) {
            owned.iter().flat_map(|block| self.ledger.history(block)).collect()
        } else {
            self.give_block(network, from, request.need, now)
                .into_iter()
                .flat_map(|block| self.ledger.history(&block))
                .collect()
        };
        let answer = if records.is_empty() {
            let resting = if self.may_give(&from) { self.resting_room(network, request.need) } else { 0 };
            Message::SpaceDeny { network, hint: self.room_elsewhere(network, from), resting }
        } else {
            Message::SpaceGrant { network, records }
        };
        self.send(To::Peer(from), &answer);
    }

    fn give_block(&mut self, network: NetworkId, to: Identity, need: Need, now: Instant) -> Option<Range> {
        let block = self.spare_block(network, need, When::Now).filter(|_| self.may_give(&to))?;
        self.give(block, to, now).map(|_| block)
    }

    fn may_give(&self, to: &Identity) -> bool {
        self.course.health == Health::Working && self.members.is_admitted(to) && !self.members.is_refused(to)
    }

    pub(super) fn handle_space_grant(
        &mut self,
        from: Identity,
        network: NetworkId,
        records: Vec<Record>,
        now: Instant,
    ) {
        if let Some(quest) = self.waiting.quests.get_mut(&network) {
            quest.waiting.take_if(|(asked, _)| *asked == from);
        }
        self.waiting.rooms.note_given(network, from);
        self.learn(records, Some(from), now);
        self.go_on_asking(network, now);
    }

    pub(super) fn handle_space_deny(&mut self, from: Identity, network: NetworkId, denial: Denial, now: Instant) {
        let Some(quest) = self.waiting.quests.get_mut(&network) else { return };
        if quest.waiting.is_none_or(|(asked, _)| asked != from) {
            return;
        }
        quest.waiting = None;
        quest.hint = denial.hint;
        quest.resting = quest.resting.saturating_add(u64::from(denial.resting));
        self.waiting.rooms.forget(network, from);
        self.go_on_asking(network, now);
    }

    /// A claim waits for a block: asks around.
    pub(super) fn find_space(&mut self, network: NetworkId, now: Instant) {
        self.waiting.quests.entry(network).or_insert_with(|| Quest::new(Need::Waiting)).join();
        self.waiting.spare_after.remove(&network);
        self.go_on_asking(network, now);
    }

    /// Keeps a spare block ahead: carves one out of the pool, or asks for one.
    pub(super) fn keep_spare(&mut self, network: NetworkId, now: Instant) {
        let low_water = self.low_water();
        let free = u64::try_from(self.space_of(network).free()).unwrap_or(u64::MAX);
        let waits = self.waiting.spare_after.get(&network).is_some_and(|at| *at > now);
        if free >= low_water || waits || self.course.health != Health::Working || self.carve_own_block(network, now) {
            return;
        }
        self.waiting.quests.entry(network).or_insert_with(|| Quest::new(Need::Spare));
        self.go_on_asking(network, now);
    }

    /// Looks for a spare block again where nobody had one.
    pub(super) fn look_for_spare(&mut self, now: Instant) {
        let due: Vec<_> =
            self.waiting.spare_after.iter().filter(|(_, at)| **at <= now).map(|(network, _)| *network).collect();
        for network in due {
            self.waiting.spare_after.remove(&network);
            self.keep_spare(network, now);
        }
    }

    /// Asks the next router that may have room; when nobody is left, says so to whoever waits.
    pub(super) fn go_on_asking(&mut self, network: NetworkId, now: Instant) {
        let Some(quest) = self.waiting.quests.get(&network) else { return };
        if quest.waiting.is_some() {
            return;
        }
        let Some(next) = self.next_to_ask(network, quest) else {
            self.end_quest(network, now);
            return;
        };
        let waits = self.waiting_for_space(network).next().is_some();
        let need = if waits { Need::Waiting } else { Need::Spare };
        let have = u32::try_from(self.blocks_of(network, self.config.identity).len()).unwrap_or(u32::MAX);
        if let Some(quest) = self.waiting.quests.get_mut(&network) {
            quest.need = need;
            quest.asked.push(next);
            quest.hint = None;
            quest.waiting = Some((next, now + ASK_PATIENCE));
        }
        self.send(To::Peer(next), &Message::SpaceRequest(SpaceRequest { network, have, need }));
    }

    /// The one that was hinted at, the owner of what is left of the pool, those who say to have room, then everybody else.
    fn next_to_ask(&self, network: NetworkId, quest: &Quest) -> Option<Identity> {
        let likely = quest.hint.into_iter().chain(self.pool_owner(network)).chain(self.waiting.rooms.by_size(network));
        let candidates = likely.chain(self.members.connected());
        let may_answer = |peer: &Identity| {
            self.members.is_connected(peer) && !self.members.is_refused(peer) && !quest.asked.contains(peer)
        };
        candidates.filter(|peer| *peer != self.config.identity).find(may_answer)
    }

    /// Claims that wait for a block.
    fn waiting_for_space(&self, network: NetworkId) -> impl Iterator<Item = &Attachment> {
        let waits =
            move |pending: &Pending| pending.stage == Stage::Space && pending.claim.attachment.network == network;
        self.waiting.claims.iter().filter(move |(_, pending)| waits(pending)).map(|(attachment, _)| attachment)
    }

    /// All were asked. Who was silent, or away, may still answer, or be back, while a claim waits.
    fn end_quest(&mut self, network: NetworkId, now: Instant) {
        let error = self.exhausted(network);
        let waiting: Vec<_> = self.waiting_for_space(network).cloned().collect();
        let may_be_helped = matches!(&error, ClaimError::NoneYet { silent, .. } if !silent.is_empty());
        if may_be_helped && !waiting.is_empty() {
            return;
        }
        self.waiting.quests.remove(&network);
        self.waiting.spare_after.insert(network, now + SPARE_PAUSE);
        for attachment in waiting {
            if let Some(pending) = self.waiting.claims.remove(&attachment) {
                self.fail(&pending, error.clone());
            }
        }
    }

    /// A block came: the search is over, unless claims still wait.
    pub(super) fn serve_quests(&mut self, now: Instant) {
        let networks: Vec<_> = self.waiting.quests.keys().copied().collect();
        for network in networks {
            if self.space_of(network).free() == 0 {
                continue;
            }
            self.waiting.quests.remove(&network);
            self.resume_claims(now);
        }
    }

    pub(super) fn time_out_quests(&mut self, now: Instant) {
        self.give_up_asked(now, |_, until| until <= now);
        // Nobody waits any more for those that were silent.
        let quests = self.waiting.quests.iter().filter(|(_, quest)| quest.waiting.is_none());
        let networks = quests.map(|(network, _)| *network);
        let idle: Vec<_> = networks.filter(|network| self.waiting_for_space(*network).next().is_none()).collect();
        idle.into_iter().for_each(|network| self.go_on_asking(network, now));
    }

    /// A router that was asked is gone.
    pub(super) fn quest_lost(&mut self, peer: Identity, now: Instant) {
        self.give_up_asked(now, |asked, _| asked == peer);
    }

    fn give_up_asked(&mut self, now: Instant, which: impl Fn(Identity, Instant) -> bool) {
        let mut silent = Vec::new();
        for (network, quest) in &mut self.waiting.quests {
            if let Some((asked, _)) = quest.waiting.take_if(|(asked, until)| which(*asked, *until)) {
                quest.silent.push(asked);
                self.waiting.rooms.forget(*network, asked);
                silent.push(*network);
            }
        }
        for network in silent {
            self.go_on_asking(network, now);
        }
    }

    pub(super) fn exhausted(&self, network: NetworkId) -> ClaimError {
        let shares = self.shares(network);
        let silent = self.unheard(network, &shares);
        let resting = self.resting_slots(network);
        if silent.is_empty() && resting == 0 {
            return ClaimError::Exhausted { network, shares };
        }
        let asked = self.waiting.quests.get(&network).map_or(&[][..], |quest| &quest.asked);
        let answered = asked.iter().filter(|asked| !silent.iter().any(|silent| silent.identity == **asked));
        ClaimError::NoneYet {
            network,
            asked: answered.map(|asked| self.members.label(*asked)).collect(),
            silent,
            resting,
        }
    }

    /// How many slots there will be without anybody's doing: single ones here, whole blocks elsewhere.
    fn resting_slots(&self, network: NetworkId) -> u64 {
        let here = u64::try_from(self.spaces.get(&network).map_or(0, Space::resting)).unwrap_or(u64::MAX);
        let pool = if self.is_pool_resting(network) { u64::from(self.uncarved_room(network)) } else { 0 };
        let elsewhere = self.waiting.quests.get(&network).map_or(0, |quest| quest.resting);
        here.saturating_add(pool).saturating_add(elsewhere)
    }

    /// The blocks an identity owns, as this host knows.
    pub(super) fn blocks_of(&self, network: NetworkId, identity: Identity) -> Vec<Range> {
        let heads = self.ledger.heads().filter(|head| head.range.network == network && head.owner == identity);
        heads.map(|head| head.range).filter(|range| self.ledger.is_block(range)).collect()
    }

    /// The next block of the pool, if the pool is this host's, for its own use.
    pub(super) fn carve_own_block(&mut self, network: NetworkId, now: Instant) -> bool {
        let block = self.block_of_own_pool(network, When::Now);
        block.is_some_and(|block| self.give(block, self.config.identity, now).is_some())
    }

    /// The next block of the pool, if the pool is this host's.
    pub(super) fn block_of_own_pool(&self, network: NetworkId, when: When) -> Option<Range> {
        let is_kept_back = when == When::Now && self.is_pool_resting(network);
        if is_kept_back || !self.is_pool_mine(network) { None } else { self.ledger.uncarved_block(network) }
    }

    /// The slots of what is left of the pool.
    pub(super) fn uncarved_room(&self, network: NetworkId) -> u32 {
        self.ledger.uncarved_blocks(network).saturating_mul(self.config.genesis.block_slots)
    }

    fn is_pool_resting(&self, network: NetworkId) -> bool {
        self.is_pool_mine(network) && self.spaces.get(&network).is_some_and(Space::is_pool_resting)
    }

    fn is_pool_mine(&self, network: NetworkId) -> bool {
        let pool = self.ledger.pool(network).and_then(|pool| self.ledger.head(&pool));
        pool.is_some_and(|pool| pool.owner == self.config.identity)
    }

    /// The block a slot lies in, if it is still part of this host's pool, for its own use.
    pub(super) fn carve_out_block(&mut self, network: NetworkId, slot: Slot, now: Instant) {
        let block = self.ledger.block_of(network, slot);
        if self.ledger.head(&block).is_none() {
            self.give(block, self.config.identity, now);
        }
    }
}
