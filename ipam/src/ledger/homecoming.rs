//! Slots that were carved out of a block and come home to it.
//!
//! Decides when a block takes them back, and what that ends. Knows nothing of leases and time.
//!
//! ```text
//!   block  A ────────────────────────────────▶ A, home: s            epoch above all that it ends
//!     └─▶ slot s: B ─▶ C ─▶ A ──────────────────┘
//!     └─▶ slot t: B                             apart: t
//! ```
//!
//! The record names what comes home by hash and what stays apart by slot, so whoever holds it holds all that was carved out
//! before: nothing that comes later can extend what it ended, unless its author signed two contradicting things.

use std::collections::BTreeSet;

use wire::{Epoch, Hash, Homecoming, Range, Record, Slot};

use super::{Holding, Ledger, Link, Outcome};

impl Ledger {
    /// What could come home to this block now, and the epoch that the block's record then has.
    pub(crate) fn homecoming(&self, block: &Holding, may_end: impl Fn(&Range) -> bool) -> Option<(Epoch, Homecoming)> {
        let ends = |slot: &Holding| slot.owner == block.owner && may_end(&slot.range);
        let (home, apart): (Vec<_>, Vec<_>) = self.carved(&block.range).partition(ends);
        let highest = home.iter().map(|slot| slot.epoch).max()?.max(block.epoch);
        let slots = home.iter().map(|slot| slot.hash).collect();
        Some((highest.next(), Homecoming { slots, apart: apart.iter().map(|slot| slot.range.start).collect() }))
    }

    /// Takes a record by which slots come home.
    pub(super) fn apply_homecoming(&mut self, record: &Record, hash: Hash, home: &Homecoming) -> Outcome {
        let body = &record.body;
        let block = body.range;
        if !self.is_block(&block) || body.owner != body.author {
            return Outcome::Refused;
        }
        let chain = self.chains.get(&block).map_or(&[][..], Vec::as_slice);
        let Some(position) = chain.iter().position(|link| link.hash == body.previous) else { return Outcome::Gap };
        let Some(before) = chain.get(position) else { return Outcome::Gap };
        let is_followed = chain.len() > position + 1;
        let mut highest = before.epoch;
        let mut contested = None;
        for slot in &home.slots {
            let Some((range, link, is_last)) = self.link(slot) else { return Outcome::Gap };
            if range.length != 1 || !block.covers(&range) || link.owner != body.author {
                return Outcome::Refused;
            }
            highest = highest.max(link.epoch);
            if !is_last || self.home.contains(slot) {
                contested = Some(range);
            }
        }
        let single = |slot: &Slot| Range { network: block.network, start: *slot, length: 1 };
        if home.apart.iter().any(|slot| !self.chains.contains_key(&single(slot))) {
            return Outcome::Gap;
        }
        if before.owner != body.author || body.epoch != highest.next() || home.slots.is_empty() {
            return Outcome::Refused;
        }
        if is_followed || contested.is_some() {
            self.convict(block, hash, record);
            return Outcome::Equivocation(block);
        }
        let listed: BTreeSet<Slot> = home.apart.iter().copied().collect();
        let hidden = self.carved_out_of(&block, &body.previous).find(|child| {
            let is_home = self.head(child).is_some_and(|head| home.slots.contains(&head.hash));
            !is_home && !listed.contains(&child.start)
        });
        self.append(block, Link::signed(record.clone()));
        self.home.extend(home.slots.iter().copied());
        match hidden {
            Some(child) => {
                self.quarantine.insert(child);
                Outcome::GivenTwice(child)
            }
            None => Outcome::Applied,
        }
    }

    /// The link of this hash, its range, and whether it is the newest there.
    fn link(&self, hash: &Hash) -> Option<(Range, &Link, bool)> {
        let range = *self.hashes.get(hash)?;
        let chain = self.chains.get(&range)?;
        let position = chain.iter().position(|link| link.hash == *hash)?;
        Some((range, chain.get(position)?, chain.len() == position + 1))
    }
}
