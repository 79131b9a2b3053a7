//! What of a chain may be forgotten, and what is left of it still proves.
//!
//! Decides which links a range's owner rests on, and what is old news. Knows nothing of who holds what: that is asked before.
//!
//! ```text
//!   A ─▶ B ─▶ C ─▶ B ─▶ A ─▶ D      loops cut out:  A ─────────────▶ D
//! ```
//!
//! A range that comes back to somebody who had it before has gone in a circle: that owner's next signature says more than the
//! circle did. What is left leads from the genesis to the owner, each link signed by the one before. Slots that came home end
//! with the record they came home by. Which links are left follows from the chain alone, whatever was forgotten of it before,
//! so that routers that forget at different times still hold the same.

use std::collections::{BTreeMap, BTreeSet};

use wire::{Hash, Identity, Range, Record};

use super::{Ledger, Link, Outcome, Source, hash_of_record};

impl Ledger {
    /// The records that ownership rests on: the same on all routers that know of the same newest ones.
    pub(crate) fn essential(&self) -> impl Iterator<Item = (Hash, &Record)> {
        let links = self.chains.iter().flat_map(|(range, chain)| self.essential_links(range, chain));
        links.filter_map(|link| Some((link.hash, link.record()?)))
    }

    /// The records that nothing rests on any more. Of blocks that a revocation has touched nothing is.
    pub(crate) fn superfluous(&self, is_named: impl Fn(&Hash) -> bool) -> Vec<Hash> {
        let essential: BTreeSet<Hash> = self.essential().map(|(hash, _)| hash).collect();
        let block = |range: &Range| self.block_of(range.network, range.start);
        let touches = |link: &Link| matches!(link.source, Source::Inherited { .. }) || is_named(&link.hash);
        let touched = self.chains.iter().filter(|(_, chain)| chain.iter().any(touches));
        let touched: BTreeSet<Range> = touched.map(|(range, _)| block(range)).collect();
        let others = self.chains.iter().filter(|(range, _)| !touched.contains(&block(range)));
        let signed = others.flat_map(|(_, chain)| chain).filter(|link| link.record().is_some()).map(|link| link.hash);
        signed.filter(|hash| !essential.contains(hash)).collect()
    }

    /// Forgets records that were found superfluous, and still are. Returns them.
    pub(crate) fn forget(&mut self, hashes: &[Hash], is_named: impl Fn(&Hash) -> bool) -> Vec<Record> {
        let superfluous: BTreeSet<Hash> = self.superfluous(is_named).into_iter().collect();
        let goes: BTreeSet<Hash> = hashes.iter().filter(|hash| superfluous.contains(hash)).copied().collect();
        self.changes += 1;
        let mut gone = Vec::new();
        for chain in self.chains.values_mut() {
            gone.extend(chain.extract_if(.., |link| goes.contains(&link.hash)));
        }
        self.chains.retain(|_, chain| !chain.is_empty());
        for Link { hash, .. } in &gone {
            self.hashes.remove(hash);
            self.home.remove(hash);
        }
        gone.iter().filter_map(Link::record).cloned().collect()
    }

    /// Notes a record that a revocation names, where what it led to is long past.
    pub(crate) fn note_in_annals(&mut self, record: &Record) {
        self.changes += 1;
        self.annals.insert(hash_of_record(record), record.clone());
    }

    /// Whether a record lies where the chain was forgotten: everybody knew of what came after.
    pub(super) fn is_past(&self, record: &Record) -> bool {
        let body = &record.body;
        let chain = self.chains.get(&body.range).map_or(&[][..], Vec::as_slice);
        if chain.iter().any(|link| link.epoch == body.epoch) {
            return false;
        }
        let next = chain.iter().find(|link| link.epoch > body.epoch).and_then(Link::previous);
        if next.is_some_and(|previous| !self.is_held_link(&previous)) {
            return true;
        }
        let block = self.block_of(body.range.network, body.range.start);
        if body.range.length != 1 || body.range == block {
            return false;
        }
        let over = self.chains.get(&block).into_iter().flatten().filter(|link| link.epoch >= body.epoch);
        over.filter_map(Link::record).any(|later| {
            let home = later.body.home.as_ref();
            let apart = home.is_some_and(|home| home.apart.contains(&body.range.start));
            let mut rests_on =
                home.into_iter().flat_map(|home| &home.slots).chain(std::iter::once(&later.body.previous));
            !apart && rests_on.any(|hash| !self.is_held_link(hash))
        })
    }

    /// Takes a record that was in force before: strictly, or, where the chain before it was forgotten, from somebody who had
    /// the range before. `stored` = every record that is put back.
    pub(crate) fn put_stored(&mut self, record: &Record, stored: &BTreeSet<Hash>) -> Outcome {
        let outcome = self.apply(record);
        if outcome != Outcome::Gap {
            return outcome;
        }
        let body = &record.body;
        let known = |hash: &Hash| stored.contains(hash) || self.is_held_link(hash);
        let home = body.home.as_ref();
        let rests_on = home.into_iter().flat_map(|home| &home.slots).chain(std::iter::once(&body.previous));
        let (there, cut): (Vec<_>, Vec<_>) = rests_on.partition(|hash| known(hash));
        let waits = there.iter().any(|hash| !self.is_held_link(hash));
        if cut.is_empty() || waits || !self.had_before(record) {
            return Outcome::Gap;
        }
        let ended: Vec<Hash> = home.into_iter().flat_map(|home| home.slots.iter().copied()).collect();
        self.home.extend(ended.into_iter().filter(|hash| self.hashes.contains_key(hash)));
        self.append(body.range, Link::signed(record.clone()));
        Outcome::Applied
    }

    /// Whether the author of a record owned its range before, and nobody has it since a later epoch. (What is left of the chain
    /// it was carved out of may be younger than it.)
    fn had_before(&self, record: &Record) -> bool {
        let body = &record.body;
        let is_author = |link: &Link| link.owner == body.author;
        let own = self.chains.get(&body.range).map_or(&[][..], Vec::as_slice);
        if own.last().is_some_and(|last| last.epoch >= body.epoch) {
            return false;
        }
        let block = self.block_of(body.range.network, body.range.start);
        let parent = if body.range.length == 1 { Some(block) } else { self.pool(body.range.network) };
        let above = parent.and_then(|parent| self.chains.get(&parent)).into_iter().flatten();
        own.iter().any(is_author) || above.into_iter().any(is_author)
    }

    /// Whether something can rest on the link of this hash.
    pub(crate) fn is_held_link(&self, hash: &Hash) -> bool {
        self.hashes.contains_key(hash) || *hash == self.root
    }

    /// The links of a chain that its owner rests on: no owner comes twice before the newest.
    fn essential_links<'a>(&'a self, range: &Range, chain: &'a [Link]) -> Vec<&'a Link> {
        let ended = chain.iter().rposition(|link| self.home.contains(&link.hash)).map_or(0, |position| position + 1);
        let Some((newest, before)) = chain.get(ended..).and_then(|links| links.split_last()) else { return Vec::new() };
        if before.is_empty() || self.is_quarantined(range) {
            return before.iter().chain(std::iter::once(newest)).collect();
        }
        let needed = self.authors_of_carved(range);
        let mut roots: BTreeMap<Identity, Vec<&Link>> = BTreeMap::new();
        let mut path: Vec<&Link> = Vec::new();
        let mut first: Option<Identity> = None;
        for (number, link) in before.iter().enumerate() {
            cut_to(&mut path, first, link.author());
            first = first.or(link.author());
            if needed.contains(&link.owner) {
                roots.insert(link.owner, path.iter().copied().chain(std::iter::once(link)).collect());
            }
            let is_back = Some(link.owner) == first || path.iter().any(|earlier| earlier.owner == link.owner);
            let next = before.get(number + 1).unwrap_or(newest);
            // What somebody inherited is named by the very link it was inherited from.
            if is_back && !matches!(next.source, Source::Inherited { .. }) {
                cut_to(&mut path, first, Some(link.owner));
            } else {
                path.push(link);
            }
        }
        cut_to(&mut path, first, newest.author());
        path.push(newest);
        roots.retain(|owner, _| !path.iter().any(|link| link.owner == *owner));
        for link in roots.into_values().flatten() {
            if !path.iter().any(|known| known.hash == link.hash) {
                path.push(link);
            }
        }
        path
    }

    /// Who carved out of a block what is still apart from it: these slots rest on its having been theirs, also where an heir has
    /// it by now.
    fn authors_of_carved(&self, block: &Range) -> BTreeSet<Identity> {
        if !self.is_block(block) {
            return BTreeSet::new();
        }
        let apart = self.carved(block).filter_map(|slot| self.chains.get_key_value(&slot.range));
        apart.filter_map(|(range, chain)| self.essential_links(range, chain).first()?.author()).collect()
    }
}

/// Goes back to where this owner had the range first.
fn cut_to(path: &mut Vec<&Link>, first: Option<Identity>, owner: Option<Identity>) {
    let Some(owner) = owner else { return };
    if Some(owner) == first {
        path.clear();
    } else if let Some(position) = path.iter().position(|link| link.owner == owner) {
        path.truncate(position + 1);
    }
}

impl Link {
    pub(super) fn author(&self) -> Option<Identity> {
        match &self.source {
            Source::Signed(record) => Some(record.body.author),
            Source::Genesis | Source::Inherited { .. } => None,
        }
    }
}
