//! Who owns which range: chains of records, each extending the one before.
//!
//! Decides whether a record extends what is held. Knows nothing of leases, of who may speak, and of how records travel.
//!
//! ```text
//!   pool     genesis ──────────────── (inherited) …          epoch 0, 1 …
//!              └─▶ block  K: A ─▶ B ─▶ …                      carved out of the pool
//!                              └─▶ slot s: C ─▶ D ─▶ …        carved out of the block
//! ```
//!
//! The longest prefix wins: slot, then block, then pool. Two different records that extend the same one and share a slot
//! are signed by the same author, who gave that slot away twice: equivocation. What was held first stays in force, the
//! other is kept as evidence, and the shared range is quarantined (invariant I4).

use std::collections::{BTreeMap, BTreeSet};

use wire::{Epoch, Genesis, Hash, Identity, NetworkId, RECORD_VERSION, Range, Record, Slot};

use crate::seal::hash_of;

mod compaction;
mod homecoming;
mod inherit;
mod parking;

pub(crate) use parking::{Parked, Parking};

/// One link of a chain: from its epoch on, the range has this owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) owner: Identity,
    pub(crate) epoch: Epoch,
    pub(crate) hash: Hash,
    pub(crate) source: Source,
}

/// What makes a link true.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// The cluster began so.
    Genesis,
    /// The owner before signed it.
    Signed(Record),
    /// A revocation took it from the owner before, whose link had this hash.
    Inherited { previous: Hash },
}

/// Who owns a slot, and by what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Holding {
    pub(crate) range: Range,
    pub(crate) owner: Identity,
    pub(crate) epoch: Epoch,
    pub(crate) hash: Hash,
}

/// What became of a record that was offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It is in force.
    Applied,
    /// It was held already.
    Known,
    /// What it extends is not held.
    Gap,
    /// What came after it is in force, and everybody knew of that before the records between were forgotten.
    Past,
    /// It is in force, and so is what was carved out of the same before; that is quarantined.
    GivenTwice(Range),
    /// It contradicts a record in force, and is not; the range is quarantined.
    Equivocation(Range),
    /// Not a record of this ledger: its shape, its author or its epoch is wrong.
    Refused,
}

/// The ledger of one cluster.
#[derive(Debug, Clone)]
pub(crate) struct Ledger {
    /// Slots of each network's pool.
    pools: BTreeMap<NetworkId, u32>,
    block_slots: u32,
    chains: BTreeMap<Range, Vec<Link>>,
    hashes: BTreeMap<Hash, Range>,
    evidence: BTreeMap<Hash, Record>,
    /// How many of these each author wrote.
    lies: BTreeMap<Identity, usize>,
    /// Forgotten but for what revocations name of it.
    annals: BTreeMap<Hash, Record>,
    /// What every pool begins with.
    root: Hash,
    quarantine: BTreeSet<Range>,
    /// Links of slots that ended: they came home to their block.
    home: BTreeSet<Hash>,
    changes: u64,
}

/// The kinds of range there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    Pool,
    Block,
    Single,
}

/// The hash that names a record: of its signed part, so that one record under two valid signatures is one record.
pub(crate) fn hash_of_record(record: &Record) -> Hash {
    hash_of(RECORD_VERSION, &record.body)
}

/// An order in which every record comes after what it rests on: that has a lower epoch, but for the slots that stay apart from
/// a homecoming, which may have been carved out at the same one.
pub(crate) fn order_of(record: &Record) -> (Epoch, bool, Hash) {
    (record.body.epoch, record.body.home.is_some(), hash_of_record(record))
}

/// Contradictions of one author that are kept. Whoever has written more is beyond mistakes: nothing that it gave last is given
/// on, whether a contradiction is known of it or not.
const LIES_MAX: usize = 1024;

impl Ledger {
    pub(crate) fn new(genesis: &Genesis) -> Self {
        let root = hash_of(wire::GENESIS_VERSION, genesis);
        let mut ledger = Self {
            pools: genesis.networks.iter().map(|network| (network.id, network.slots())).collect(),
            block_slots: genesis.block_slots.max(1),
            chains: BTreeMap::new(),
            hashes: BTreeMap::new(),
            evidence: BTreeMap::new(),
            lies: BTreeMap::new(),
            annals: BTreeMap::new(),
            root,
            quarantine: BTreeSet::new(),
            home: BTreeSet::new(),
            changes: 0,
        };
        for (network, slots) in ledger.pools.clone() {
            let range = Range { network, start: Slot(0), length: slots };
            let link = Link { owner: genesis.first, epoch: Epoch(0), hash: root, source: Source::Genesis };
            ledger.chains.insert(range, vec![link]);
        }
        ledger
    }

    /// Takes a record whose signature and author are in order, if it extends what is held.
    pub(crate) fn apply(&mut self, record: &Record) -> Outcome {
        let (body, hash) = (&record.body, hash_of_record(record));
        if self.holds(&hash) {
            return Outcome::Known;
        }
        if !matches!(self.shape(&body.range), Some(Shape::Block | Shape::Single)) && !self.is_pool_block(&body.range) {
            return Outcome::Refused;
        }
        if self.is_past(record) {
            return Outcome::Past;
        }
        if let Some(home) = &body.home {
            return self.apply_homecoming(record, hash, home);
        }
        let Some((parent, position)) = self.extends(&body.range, &body.previous) else { return Outcome::Gap };
        let Some(before) = self.chains.get(&parent).and_then(|chain| chain.get(position)) else { return Outcome::Gap };
        if before.owner != body.author || body.epoch != before.epoch.next() {
            return Outcome::Refused;
        }
        if let Some(range) = self.contradiction(&body.range, &parent, position) {
            self.convict(range, hash, record);
            return Outcome::Equivocation(range);
        }
        let given_twice = self.carved_from(&body.range, &body.previous);
        self.append(body.range, Link::signed(record.clone()));
        match given_twice {
            Some(child) => {
                self.quarantine.insert(child);
                Outcome::GivenTwice(child)
            }
            None => Outcome::Applied,
        }
    }

    /// Takes a record that a revocation names: what contradicts it is settled then, so every contradiction is kept until then.
    pub(crate) fn apply_named(&mut self, record: &Record) -> Outcome {
        let outcome = self.apply(record);
        if let Outcome::Equivocation(_) = outcome {
            self.keep_evidence(hash_of_record(record), record);
        }
        outcome
    }

    /// Restores a contradiction that was found before.
    pub(crate) fn restore_evidence(&mut self, record: &Record) {
        self.quarantine.insert(record.body.range);
        self.keep_evidence(hash_of_record(record), record);
    }

    /// Who owns a slot.
    pub(crate) fn owner(&self, network: NetworkId, slot: Slot) -> Option<Holding> {
        let single = Range { network, start: slot, length: 1 };
        let block = self.block_of(network, slot);
        self.head(&single).or_else(|| self.head(&block)).or_else(|| self.head(&self.pool(network)?))
    }

    /// The newest link of a range that has records of its own.
    pub(crate) fn head(&self, range: &Range) -> Option<Holding> {
        let link = self.chains.get(range)?.last().filter(|link| !self.home.contains(&link.hash))?;
        Some(Holding { range: *range, owner: link.owner, epoch: link.epoch, hash: link.hash })
    }

    /// Whether somebody's range came to its owner from that one, by its word or by its end.
    pub(crate) fn came_from(&self, holding: &Holding, before: &Identity) -> bool {
        let chain = self.chains.get(&holding.range).map_or(&[][..], Vec::as_slice);
        let is_newest = |link: &&Link| link.hash == holding.hash;
        chain.last().filter(is_newest).is_some_and(|link| match &link.source {
            Source::Genesis => false,
            Source::Signed(record) => record.body.author == *before,
            Source::Inherited { previous } => {
                chain.iter().any(|earlier| earlier.hash == *previous && earlier.owner == *before)
            }
        })
    }

    /// Whether the pool has an heir, who has carved nothing out of it.
    pub(crate) fn is_pool_just_inherited(&self, network: NetworkId) -> bool {
        let Some(pool) = self.pool(network) else { return false };
        let link = self.chains.get(&pool).and_then(|chain| chain.last());
        let inherited = link.filter(|link| matches!(link.source, Source::Inherited { .. }));
        inherited.is_some_and(|link| self.carved_out_of(&pool, &link.hash).next().is_none())
    }

    /// Every range that has records of its own, with its owner: nested, the longest prefix wins.
    pub(crate) fn heads(&self) -> impl Iterator<Item = Holding> {
        self.chains.keys().filter_map(|range| self.head(range))
    }

    /// Ranges carved out of this one.
    pub(crate) fn carved(&self, range: &Range) -> impl Iterator<Item = Holding> {
        let range = *range;
        let from = Range { length: 0, ..range };
        let until = Range { start: range.end(), length: 0, ..range };
        let inside = self.chains.range(from..until).map(|(inner, _)| *inner);
        inside.filter(move |inner| *inner != range && range.covers(inner)).filter_map(|inner| self.head(&inner))
    }

    /// The pool of a network.
    pub(crate) fn pool(&self, network: NetworkId) -> Option<Range> {
        let length = *self.pools.get(&network)?;
        Some(Range { network, start: Slot(0), length })
    }

    /// The block a slot lies in; of a pool no larger than a block, the pool.
    pub(crate) fn block_of(&self, network: NetworkId, slot: Slot) -> Range {
        let pool = self.pools.get(&network).copied().unwrap_or(self.block_slots);
        let length = self.block_slots.min(pool);
        Range { network, start: Slot(slot.0 - slot.0 % length), length }
    }

    /// The first block that has never been carved out of the pool. A pool no larger than a block has none.
    pub(crate) fn uncarved_block(&self, network: NetworkId) -> Option<Range> {
        let (slots, length) = (*self.pools.get(&network)?, self.block_slots);
        let starts = (0..slots / length).map(|number| number * length);
        let mut blocks = starts.map(|start| Range { network, start: Slot(start), length });
        blocks.find(|block| !self.chains.contains_key(block))
    }

    /// How many blocks have never been carved out of the pool.
    pub(crate) fn uncarved_blocks(&self, network: NetworkId) -> u32 {
        let slots = self.pools.get(&network).copied().unwrap_or_default();
        let carved = self.chains.keys().filter(|range| range.network == network && range.length == self.block_slots);
        (slots / self.block_slots).saturating_sub(u32::try_from(carved.count()).unwrap_or(u32::MAX))
    }

    /// Whether the range is a block: what is given as a whole.
    pub(crate) fn is_block(&self, range: &Range) -> bool {
        self.shape(range) == Some(Shape::Block) || self.is_pool_block(range)
    }

    /// Whether nothing is given out of it any more because somebody gave some of it away twice.
    pub(crate) fn is_quarantined(&self, range: &Range) -> bool {
        self.quarantine.iter().any(|bad| bad.covers(range)) || self.was_given_by_a_liar(range)
    }

    /// Whether who gave it last has contradicted itself so often that not every contradiction is kept.
    fn was_given_by_a_liar(&self, range: &Range) -> bool {
        if !self.lies.values().any(|lies| *lies >= LIES_MAX) {
            return false;
        }
        let block = self.block_of(range.network, range.start);
        let newest = [range, &block].into_iter().filter(|range| self.head(range).is_some());
        let giver = newest.filter_map(|range| self.chains.get(range)?.last()).next().and_then(Link::author);
        giver.is_some_and(|giver| self.lies.get(&giver).is_some_and(|lies| *lies >= LIES_MAX))
    }

    /// A range's records, after those of what it is carved out of.
    pub(crate) fn history(&self, range: &Range) -> Vec<Record> {
        let block = self.block_of(range.network, range.start);
        let mut ranges = vec![block];
        // A record by which slots came home rests on all that was carved out before.
        let is_home = |link: &Link| link.record().is_some_and(|record| record.body.home.is_some());
        if self.chains.get(&block).is_some_and(|chain| chain.iter().any(is_home)) {
            ranges.extend(self.chains.keys().filter(|inner| inner.length == 1 && block.covers(inner)));
        } else if *range != block {
            ranges.push(*range);
        }
        ranges.iter().filter_map(|range| self.chains.get(range)).flatten().filter_map(Link::record).cloned().collect()
    }

    /// The record of this hash, in force, evidence or in the annals.
    pub(crate) fn record(&self, hash: &Hash) -> Option<&Record> {
        let in_force = || self.chains.get(self.hashes.get(hash)?)?.iter().find(|link| link.hash == *hash)?.record();
        self.evidence.get(hash).or_else(|| self.annals.get(hash)).or_else(in_force)
    }

    /// Whether the record of this hash is held, in force, as evidence or in the annals.
    pub(crate) fn holds(&self, hash: &Hash) -> bool {
        self.hashes.contains_key(hash) || self.evidence.contains_key(hash) || self.annals.contains_key(hash)
    }

    /// Whether the record of this hash is in no chain any more, and kept because a revocation names it.
    pub(crate) fn is_in_annals(&self, hash: &Hash) -> bool {
        self.annals.contains_key(hash)
    }

    /// A number that rises with every change.
    pub(crate) fn changes(&self) -> u64 {
        self.changes
    }

    /// What two routers compare: what ownership rests on, evidence, and what revocations name.
    pub(crate) fn compared(&self, is_named: impl Fn(&Hash) -> bool) -> impl Iterator<Item = Hash> {
        let named = self.chains.values().flatten().map(|link| link.hash).filter(is_named);
        let essential = self.essential().map(|(hash, _)| hash);
        let all: BTreeSet<Hash> = essential.chain(named).chain(self.annals.keys().copied()).collect();
        all.into_iter().chain(self.evidence.keys().copied())
    }

    /// Whether the record of this hash contradicts one in force.
    pub(crate) fn is_evidence(&self, hash: &Hash) -> bool {
        self.evidence.contains_key(hash)
    }

    /// Every signed record, in force or evidence, by hash.
    pub(crate) fn records(&self) -> impl Iterator<Item = (Hash, &Record)> {
        let in_force = self.chains.values().flatten().filter_map(|link| Some((link.hash, link.record()?)));
        in_force.chain(self.evidence.iter().map(|(hash, record)| (*hash, record)))
    }

    /// Where a record with this `previous` would hang: the range and the position in its chain.
    fn extends(&self, range: &Range, previous: &Hash) -> Option<(Range, usize)> {
        let parent = match self.shape(range)? {
            Shape::Single => Some(self.block_of(range.network, range.start)),
            Shape::Block => self.pool(range.network),
            Shape::Pool => None,
        };
        let place = |range: Range| {
            let position = self.chains.get(&range)?.iter().position(|link| link.hash == *previous)?;
            Some((range, position))
        };
        place(*range).or_else(|| parent.and_then(place))
    }

    /// The range that a record hanging there would give away a second time.
    fn contradiction(&self, range: &Range, parent: &Range, position: usize) -> Option<Range> {
        if parent == range {
            // Something extends that link already.
            let chain = self.chains.get(range).map_or(&[][..], Vec::as_slice);
            let came_home = chain.get(position).is_some_and(|link| self.home.contains(&link.hash));
            return (came_home || chain.len() > position + 1).then_some(*range);
        }
        let origin = self.chains.get(parent)?.get(position)?;
        // What came home may be carved out again, of what it came home to.
        let is_away = self
            .chains
            .get(range)
            .and_then(|chain| chain.last())
            .is_some_and(|last| !self.home.contains(&last.hash) || last.epoch >= origin.epoch);
        let next = self.chains.get(parent).and_then(|chain| chain.get(position + 1));
        // An heir inherits what is left, and so does an owner that slots come home to: what was carved out before stays so.
        let given_whole = next.and_then(Link::record).is_some_and(|record| match &record.body.home {
            Some(home) => !home.apart.contains(&range.start),
            None => true,
        });
        (is_away || given_whole).then_some(*range)
    }

    /// Ranges that were carved out of the link of this hash, and have not come home.
    fn carved_out_of(&self, range: &Range, link: &Hash) -> impl Iterator<Item = Range> {
        let link = *link;
        let is_origin = move |child: &Range| {
            self.chains.get(child).is_some_and(|chain| chain.iter().any(|inner| inner.previous() == Some(link)))
        };
        self.carved(range).map(|holding| holding.range).filter(is_origin)
    }

    /// A range that was carved out of the very link a record now gives away whole.
    fn carved_from(&self, range: &Range, previous: &Hash) -> Option<Range> {
        if !self.is_block(range) {
            return None;
        }
        let extends_own = self.chains.get(range).is_some_and(|chain| chain.iter().any(|link| link.hash == *previous));
        extends_own.then(|| self.carved_out_of(range, previous).next()).flatten()
    }

    fn convict(&mut self, range: Range, hash: Hash, record: &Record) {
        self.changes += 1;
        self.quarantine.insert(range);
        if self.lies.get(&record.body.author).is_none_or(|lies| *lies < LIES_MAX) {
            self.keep_evidence(hash, record);
        }
    }

    fn keep_evidence(&mut self, hash: Hash, record: &Record) {
        self.changes += 1;
        if self.evidence.insert(hash, record.clone()).is_none() {
            *self.lies.entry(record.body.author).or_default() += 1;
        }
    }

    fn drop_evidence(&mut self, hash: &Hash) {
        self.changes += 1;
        let Some(record) = self.evidence.remove(hash) else { return };
        if let Some(lies) = self.lies.get_mut(&record.body.author) {
            *lies -= 1;
        }
    }

    fn append(&mut self, range: Range, link: Link) {
        self.changes += 1;
        self.hashes.insert(link.hash, range);
        self.chains.entry(range).or_default().push(link);
    }

    fn shape(&self, range: &Range) -> Option<Shape> {
        let slots = *self.pools.get(&range.network)?;
        let aligned = range.start.0.checked_rem(self.block_slots) == Some(0);
        let ends = range.start.0.checked_add(range.length)?;
        match range.length {
            length if length == slots && range.start == Slot(0) => Some(Shape::Pool),
            length if length == self.block_slots && aligned && ends <= slots => Some(Shape::Block),
            1 if ends <= slots => Some(Shape::Single),
            _ => None,
        }
    }

    /// Whether the pool is so small that it is one block.
    fn is_pool_block(&self, range: &Range) -> bool {
        range.length <= self.block_slots && self.shape(range) == Some(Shape::Pool)
    }
}

impl Link {
    /// See [`order_of`].
    fn order(&self) -> (Epoch, bool, Hash) {
        (self.epoch, self.record().is_some_and(|record| record.body.home.is_some()), self.hash)
    }

    fn signed(record: Record) -> Self {
        let (owner, epoch, hash) = (record.body.owner, record.body.epoch, hash_of_record(&record));
        Self { owner, epoch, hash, source: Source::Signed(record) }
    }

    pub(crate) fn record(&self) -> Option<&Record> {
        match &self.source {
            Source::Signed(record) => Some(record),
            Source::Genesis | Source::Inherited { .. } => None,
        }
    }

    fn previous(&self) -> Option<Hash> {
        match &self.source {
            Source::Signed(record) => Some(record.body.previous),
            Source::Inherited { previous } => Some(*previous),
            Source::Genesis => None,
        }
    }
}

#[cfg(test)]
mod tests;
