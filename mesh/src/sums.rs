//! What two rosters are compared by: a hash of every line, of every bucket of lines, and of all of them.
//!
//! Owns the hashes, which are counted again only when something has changed. Knows nothing of what the lines say.
//!
//! A member chooses its own line, and must not find two with one hash: of two routers that were told one each, neither would
//! ever see what they differ in. Here hashes are whole, which takes 2^128 attempts. What travels is cut to eight bytes under
//! a salt that whoever writes a line does not know, so there is nothing to search for beforehand: one difference of 2^64
//! goes unseen, until the next salt.

use std::collections::{BTreeMap, BTreeSet};

use wire::{Hash, Identity};

use crate::digest::{hash, mac16};

/// The hashes of a roster.
#[derive(Debug)]
pub(crate) struct Sums {
    lines: BTreeMap<Identity, Hash>,
    /// `None` where something has changed.
    buckets: [Option<Hash>; BUCKETS as usize],
    whole: Option<Hash>,
}

/// What sums are cut under.
pub(crate) type Salt = [u8; 16];
/// What is compared of buckets: whose lines are in them, and a sum for each.
pub(crate) type Lines = BTreeSet<(Identity, Sum)>;
/// A hash as it travels: eight bytes, for one is on every probe.
pub(crate) type Sum = [u8; 8];

impl Sums {
    pub(crate) fn new() -> Self {
        Self { lines: BTreeMap::new(), buckets: [None; BUCKETS as usize], whole: None }
    }

    /// Takes a member's line in place of the one before.
    pub(crate) fn put(&mut self, member: Identity, line: Hash) {
        self.lines.insert(member, line);
        self.whole = None;
        if let Some(bucket) = self.buckets.get_mut(usize::from(bucket_of(member))) {
            *bucket = None;
        }
    }

    /// One for all.
    pub(crate) fn whole(&mut self, salt: &Salt) -> Sum {
        let whole = self.whole.unwrap_or_else(|| hash_of(self.counted().iter()));
        self.whole = Some(whole);
        cut(salt, &whole)
    }

    /// One for each bucket.
    pub(crate) fn buckets(&mut self, salt: &Salt) -> Vec<Sum> {
        self.counted().iter().map(|bucket| cut(salt, bucket)).collect()
    }

    /// One for each line in these buckets (a bit each).
    pub(crate) fn lines(&self, buckets: u64, salt: &Salt) -> Lines {
        let asked = (0..BUCKETS).filter(|number| buckets & (1 << number) != 0);
        let lines = asked.flat_map(|number| within(&self.lines, number));
        lines.map(|(member, line)| (*member, cut(salt, line))).collect()
    }

    fn counted(&mut self) -> Vec<Hash> {
        let Self { lines, buckets, .. } = self;
        let count = |number| hash_of(within(lines, number).map(|(_, line)| line));
        (0..).zip(buckets).map(|(number, bucket)| *bucket.get_or_insert_with(|| count(number))).collect()
    }
}

/// Identities are keys, so their bits are evenly spread; the first ones, so that a bucket is a range of identities.
fn bucket_of(member: Identity) -> u8 {
    let [first, ..] = member.0;
    first / IDENTITIES_A_BUCKET
}

fn within(lines: &BTreeMap<Identity, Hash>, bucket: u8) -> impl Iterator<Item = (&Identity, &Hash)> {
    let mut first = [0; 32];
    let [byte, ..] = &mut first;
    *byte = bucket.saturating_mul(IDENTITIES_A_BUCKET);
    lines.range(Identity(first)..).take_while(move |(member, _)| bucket_of(**member) == bucket)
}

fn hash_of<'a>(hashes: impl Iterator<Item = &'a Hash>) -> Hash {
    let pieces: Vec<&[u8]> = hashes.map(|hash| &hash.0[..]).collect();
    Hash(hash(&pieces))
}

fn cut(salt: &Salt, whole: &Hash) -> Sum {
    let [a, b, c, d, e, f, g, h, ..] = mac16(salt, &[&whole.0]);
    [a, b, c, d, e, f, g, h]
}

/// A bit each in one number; with a thousand members, some sixteen in each.
const BUCKETS: u8 = 64;
/// Of the 256 values of an identity's first byte.
const IDENTITIES_A_BUCKET: u8 = 4;

#[cfg(test)]
mod tests;
