//! What is taken, and what is asked for.

use wire::{NetworkId, Range, Slot};

use super::*;
use crate::seal::verify;
use crate::stage::{genesis, signed};

fn chain() -> (Ledger, Vec<Record>) {
    let ledger = Ledger::new(&genesis(24, 16));
    let head = ledger.owner(NetworkId::DEFAULT, Slot(0)).unwrap();
    let range = Range { network: NetworkId::DEFAULT, start: Slot(16), length: 16 };
    let mut records = vec![signed(0, range, 1, 1, head.hash)];
    for (number, (author, owner)) in [(1, 2), (2, 3), (3, 1)].into_iter().enumerate() {
        let previous = hash_of_record(&records[number]);
        records.push(signed(author, range, owner, u64::try_from(number).unwrap() + 2, previous));
    }
    (ledger, records)
}

#[test]
fn only_what_is_named_and_what_lies_below_it_is_taken() {
    let (ledger, records) = chain();
    let named = hash_of_record(&records[3]);
    let mut gathering = Gathering::default();
    let is_named = |hash: &Hash| *hash == named;
    assert!(!gathering.take(&records[2], verify, is_named));
    let mut forged = records[3].clone();
    forged.signature.0[0] ^= 1;
    assert!(!gathering.take(&forged, verify, is_named));
    assert!(gathering.take(&records[3], verify, is_named));
    assert!(!gathering.take(&records[3], verify, is_named));
    assert!(!gathering.take(&records[1], verify, is_named));
    for below in [2, 1, 0] {
        assert_eq!(gathering.want(std::iter::once(&named), &ledger), [hash_of_record(&records[below])]);
        assert!(gathering.take(&records[below], verify, is_named));
    }
    assert!(gathering.want(std::iter::once(&named), &ledger).is_empty());
    let mut with = ledger.clone();
    gathering.apply_to(&mut with);
    assert!(with.holds(&named) && !ledger.holds(&named));
}

#[test]
fn nothing_is_asked_for_while_an_answer_is_expected() {
    let (ledger, records) = chain();
    let named: Vec<Hash> = records.iter().map(hash_of_record).collect();
    let mut gathering = Gathering::default();
    assert_eq!(gathering.want(named.iter(), &ledger).len(), 4);
    assert!(gathering.want(named.iter(), &ledger).is_empty());
    assert!(gathering.take(&records[0], verify, |hash| named.contains(hash)));
    assert!(gathering.want(named.iter(), &ledger).is_empty());
    gathering.forget_wanted();
    assert_eq!(gathering.want(named.iter(), &ledger).len(), 3);
}
