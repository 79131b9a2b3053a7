//! Who has room: what this host can spare, what others say of themselves, and whom that makes worth asking first.
//!
//! Gives nothing away; a block can be spared only whole and unused. What others say is a hint: a wrong one costs its question.
//!
//! ```text
//!   host 7 ── Room: 3 blocks ──▶ whom it compares ledgers with
//!   host 2 ── SpaceRequest ──▶ host 5, which has nothing: SpaceDeny, hint 7
//!          ── SpaceRequest ──▶ host 7: SpaceGrant
//! ```

use std::collections::BTreeMap;

use wire::message::{Message, Need, Room};
use wire::{Identity, NetworkId, Range, Slot};

use super::{Health, Ipam};
use crate::lease::{PeerLabel, Share};
use crate::outbox::To;
use crate::space::Space;

/// What connected routers have said of the room they have.
#[derive(Debug, Clone, Default)]
pub(super) struct Rooms {
    said: BTreeMap<(NetworkId, Identity), u32>,
}

/// As of when something can be spared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum When {
    Now,
    /// When what rests has rested, and what came home is part of its block again, if nothing else happens.
    Rested,
}

impl When {
    /// Whether a slot is free then.
    fn counts(self, space: &Space, slot: Slot) -> bool {
        space.is_free(slot) || self == Self::Rested && space.is_resting(slot)
    }
}

impl Rooms {
    /// It has none, or is gone: until it says something else.
    pub(super) fn forget(&mut self, network: NetworkId, peer: Identity) {
        self.said.remove(&(network, peer));
    }

    /// The same, of every network.
    pub(super) fn forget_peer(&mut self, peer: &Identity) {
        self.said.retain(|(_, known), _| known != peer);
    }

    /// It has given one away.
    pub(super) fn note_given(&mut self, network: NetworkId, peer: Identity) {
        if let Some(blocks) = self.said.get_mut(&(network, peer)) {
            *blocks = blocks.saturating_sub(1);
        }
    }

    /// Who has some, the most first.
    pub(super) fn by_size(&self, network: NetworkId) -> Vec<Identity> {
        let of_it = self.said.iter().filter(|((known, _), blocks)| *known == network && **blocks > 0);
        let mut sorted: Vec<_> = of_it.map(|((_, peer), blocks)| (u32::MAX - blocks, *peer)).collect();
        sorted.sort_unstable();
        sorted.into_iter().map(|(_, peer)| peer).collect()
    }
}

impl Ipam {
    /// Says what this host could give; if that is nothing, it is as well to know.
    pub(super) fn send_room(&mut self, to: Identity) {
        let room = self.room();
        self.send(To::Peer(to), &Message::Room(room));
    }

    pub(super) fn handle_room(&mut self, from: Identity, room: &[Room]) {
        self.waiting.rooms.forget_peer(&from);
        if !self.members.is_connected(&from) {
            return;
        }
        for Room { network, blocks } in room {
            if self.network(*network).is_some() {
                self.waiting.rooms.said.insert((*network, from), *blocks);
            }
        }
    }

    fn room(&self) -> Vec<Room> {
        if self.course.health != Health::Working {
            return Vec::new();
        }
        let networks = self.config.genesis.networks.iter().map(|network| network.id);
        let room = networks.map(|network| Room { network, blocks: self.spare_blocks(network) });
        room.filter(|room| room.blocks > 0).collect()
    }

    /// How many blocks this host could give, one after the other.
    fn spare_blocks(&self, network: NetworkId) -> u32 {
        let me = self.config.identity;
        let uncarved = self.block_of_own_pool(network, When::Now).map_or(0, |_| self.ledger.uncarved_blocks(network));
        let unused = self.blocks_of(network, me).iter().filter(|block| self.is_unused(block, When::Now)).count();
        let free = self.spaces.get(&network).map_or(0, Space::free);
        let beyond = u64::try_from(free).unwrap_or(u64::MAX).saturating_sub(self.low_water().saturating_add(1));
        let kept = match self.is_idle(network) {
            true => usize::MAX,
            false => usize::try_from(beyond / u64::from(self.config.genesis.block_slots.max(1))).unwrap_or(usize::MAX),
        };
        uncarved.saturating_add(u32::try_from(unused.min(kept)).unwrap_or(u32::MAX))
    }

    /// A whole, unused block that this host can do without.
    pub(super) fn spare_block(&self, network: NetworkId, need: Need, when: When) -> Option<Range> {
        let me = self.config.identity;
        if let Some(block) = self.block_of_own_pool(network, when) {
            return Some(block);
        }
        let mut blocks = self.blocks_of(network, me).into_iter().filter(|block| self.is_unused(block, when));
        let last = blocks.next_back()?;
        let space = self.spaces.get(&network)?;
        let in_last = (last.start.0..last.end().0).filter(|slot| when.counts(space, Slot(*slot))).count();
        let all = space.free() + if when == When::Rested { space.resting() } else { 0 };
        let left = u64::try_from(all.saturating_sub(in_last)).unwrap_or(0);
        let can_do_without = left > self.low_water() || self.is_idle(network) && need == Need::Waiting;
        can_do_without.then_some(last)
    }

    /// The slots of what this host can give once they have rested, if nobody uses them: a slot that rests beside one that is
    /// in use is nobody's but this host's afterwards, too.
    pub(super) fn resting_room(&self, network: NetworkId, need: Need) -> u32 {
        let block = self.spare_block(network, need, When::Rested);
        block.map_or(
            0,
            |block| if self.ledger.head(&block).is_some() { block.length } else { self.uncarved_room(network) },
        )
    }

    /// Fewer free slots than these, and a block is to be had ahead.
    pub(super) fn low_water(&self) -> u64 {
        u64::from(self.config.genesis.block_slots) * u64::from(self.config.low_water_percent) / 100
    }

    fn is_idle(&self, network: NetworkId) -> bool {
        self.leases.iter().all(|lease| lease.attachment.network != network)
    }

    /// Whether every assignable slot of a block is free, all of it is one range, and nobody contests it.
    fn is_unused(&self, block: &Range, when: When) -> bool {
        let Some(network) = self.network(block.network) else { return false };
        let Some(space) = self.spaces.get(&block.network) else { return false };
        let mut slots = (block.start.0..block.end().0).map(Slot).filter(|slot| network.is_assignable(*slot));
        let is_free = |slot: Slot| when.counts(space, slot) && self.leases.of_slot(block.network, slot).is_none();
        // What has come home is merged into its block after a while.
        let is_home = |range: &Range| when == When::Rested && self.is_mine(range.network, range.start);
        let is_whole = self.ledger.carved(block).all(|slot| is_home(&slot.range));
        !self.ledger.is_quarantined(block) && is_whole && slots.all(is_free)
    }

    /// Who may have room: the owner of what is left of the pool, or else who says to have the most.
    pub(super) fn room_elsewhere(&self, network: NetworkId, asker: Identity) -> Option<Identity> {
        let may_be = |peer: &Identity| *peer != asker && *peer != self.config.identity;
        self.pool_owner(network).into_iter().chain(self.waiting.rooms.by_size(network)).find(may_be)
    }

    /// Whose the pool is, as long as blocks are carved out of it, or if it is one block.
    pub(super) fn pool_owner(&self, network: NetworkId) -> Option<Identity> {
        let pool = self.ledger.pool(network)?;
        let is_left = self.ledger.is_block(&pool) || self.ledger.uncarved_block(network).is_some();
        self.ledger.head(&pool).filter(|_| is_left).map(|head| head.owner)
    }

    /// Who has how much of a pool, the largest first.
    pub(super) fn shares(&self, network: NetworkId) -> Vec<Share> {
        let mut slots: BTreeMap<Identity, u64> = BTreeMap::new();
        for head in self.ledger.heads().filter(|head| head.range.network == network) {
            *slots.entry(head.owner).or_default() += self.uncarved_slots(&head.range);
        }
        let label = |(peer, slots): (Identity, u64)| Share { peer: self.members.label(peer), slots };
        let mut shares: Vec<Share> = slots.into_iter().filter(|(_, slots)| *slots > 0).map(label).collect();
        shares.sort_by_cached_key(|share| (u64::MAX - share.slots, share.peer.to_string()));
        shares
    }

    /// Who else has some of a pool, and has not answered that it can spare none.
    pub(super) fn unheard(&self, network: NetworkId, shares: &[Share]) -> Vec<PeerLabel> {
        let quest = self.waiting.quests.get(&network);
        let has_answered = |peer: &Identity| {
            quest.is_some_and(|quest| {
                let waits = quest.waiting.is_some_and(|(asked, _)| asked == *peer);
                quest.asked.contains(peer) && !quest.silent.contains(peer) && !waits
            })
        };
        let others = shares.iter().map(|share| &share.peer).filter(|peer| peer.identity != self.config.identity);
        others.filter(|peer| !has_answered(&peer.identity)).cloned().collect()
    }
}
