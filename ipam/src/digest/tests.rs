//! Equal sums are equal lists.

use std::collections::BTreeSet;

use super::*;

fn hash(fill: impl Into<u32>) -> Hash {
    hash_parts(std::iter::once(&fill.into().to_be_bytes()[..]))
}

fn of(items: &BTreeSet<Hash>) -> Digest {
    Digest::new((0, 0, 0, 0), items.iter().copied())
}

/// Which of these make the exclusive or of the others: Gauss over GF(2), as whoever wants to hide a difference would do it.
fn forgery(parts: &[u64], target: u64) -> Option<Vec<usize>> {
    let mut basis: Vec<(u64, BTreeSet<usize>)> = Vec::new();
    let reduce = |basis: &[(u64, BTreeSet<usize>)], mut value: u64, mut from: BTreeSet<usize>| {
        for (known, made) in basis {
            if value ^ known < value {
                value ^= known;
                from = &from ^ made;
            }
        }
        (value, from)
    };
    for (number, part) in parts.iter().enumerate() {
        let (value, from) = reduce(&basis, *part, BTreeSet::from([number]));
        if value != 0 {
            basis.push((value, from));
            basis.sort_by_key(|(value, _)| std::cmp::Reverse(*value));
        }
    }
    let (left, from) = reduce(&basis, target, BTreeSet::new());
    (left == 0).then(|| from.into_iter().collect())
}

/// A member signs items until some of them cancel an item that it wants to hide.
#[test]
fn lists_whose_hashes_cancel_out_have_different_sums() {
    let part = |hash: &Hash| u64::from_be_bytes(*hash.0.last_chunk().unwrap());
    let mut own: Vec<Hash> = (0_u32..).map(hash).filter(|hash| bucket_of(hash) == 7).take(81).collect();
    let hidden = own.pop().unwrap();
    let parts: Vec<u64> = own.iter().map(part).collect();
    let chosen = forgery(&parts, part(&hidden)).unwrap();
    let others: BTreeSet<Hash> = chosen.into_iter().map(|number| own[number]).collect();
    assert_eq!(others.iter().map(part).fold(part(&hidden), |sum, part| sum ^ part), 0);
    let all: BTreeSet<Hash> = others.iter().copied().chain([hidden]).collect();
    assert_ne!(of(&all).sums()[7], of(&BTreeSet::new()).sums()[7]);
    assert_ne!(of(&all).whole(), of(&BTreeSet::new()).whole());
}

#[test]
fn the_order_in_which_items_came_does_not_matter_and_each_counts_once() {
    let items: Vec<Hash> = (0_u32..1000).map(hash).collect();
    let backwards = items.iter().rev().chain(&items[..10]).copied();
    let (one, two) = (Digest::new((0, 0, 0, 0), items.iter().copied()), Digest::new((0, 0, 0, 0), backwards));
    assert_eq!((one.sums(), one.whole()), (two.sums(), two.whole()));
}

#[test]
fn a_difference_shows_in_its_bucket_alone() {
    let mut items: BTreeSet<Hash> = (0_u32..1000).map(hash).collect();
    let before = of(&items);
    let new = hash(5000_u32);
    items.insert(new);
    let after = of(&items);
    let differ: Vec<usize> =
        (0..DIGEST_BUCKETS).filter(|number| before.sums()[*number] != after.sums()[*number]).collect();
    assert_eq!(differ, [bucket_of(&new)]);
    assert_ne!(before.whole(), after.whole());
}
