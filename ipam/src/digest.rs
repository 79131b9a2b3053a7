//! What two routers compare: one sum for each bucket of what they hold.
//!
//! Owns the sums until what they are of changes. Knows nothing of what the items mean.
//!
//! A sum is the hash of its items' hashes in ascending order. A member chooses its own items: it must not find two lists with one
//! sum, or two routers would never see what they differ in. For 128 bits that takes 2^64 attempts; the exclusive or of the hashes
//! is forged with linear algebra, and 64 bits in an hour.

use wire::Hash;
use wire::message::{DIGEST_BUCKETS, SUM_BYTES, Sum};

use crate::seal::hash_parts;

/// What was counted last.
#[derive(Debug, Clone, Default)]
pub(crate) struct Digest {
    of: Option<State>,
    sums: Vec<Sum>,
    whole: Sum,
}

/// Numbers that change with what is held: the ledger's, the directory's, that of revocations, that of records they name.
pub(crate) type State = (u64, u64, usize, usize);

impl Digest {
    /// Whether it is still that of what is held.
    pub(crate) fn is_of(&self, state: State) -> bool {
        self.of == Some(state)
    }

    /// Of these items, in whatever order.
    pub(crate) fn new(state: State, items: impl Iterator<Item = Hash>) -> Self {
        let mut hashes: Vec<Hash> = items.collect();
        hashes.sort_unstable();
        hashes.dedup();
        let mut rest = hashes.as_slice();
        let mut sums = Vec::with_capacity(DIGEST_BUCKETS);
        for number in 0..DIGEST_BUCKETS {
            let (bucket, others) = rest.split_at(rest.partition_point(|hash| bucket_of(hash) <= number));
            sums.push(sum(bucket.iter().map(|hash| &hash.0[..])));
            rest = others;
        }
        let whole = sum(sums.iter().map(|sum| &sum[..]));
        Self { of: Some(state), sums, whole }
    }

    /// One sum for each bucket.
    pub(crate) fn sums(&self) -> &[Sum] {
        &self.sums
    }

    /// One for all.
    pub(crate) fn whole(&self) -> Sum {
        self.whole
    }
}

/// Hashes are evenly spread.
pub(crate) fn bucket_of(hash: &Hash) -> usize {
    usize::from(hash.0[0])
}

fn sum<'a>(parts: impl Iterator<Item = &'a [u8]>) -> Sum {
    let Hash(hash) = hash_parts(parts);
    hash.first_chunk::<SUM_BYTES>().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests;
