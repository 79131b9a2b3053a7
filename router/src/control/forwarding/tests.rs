//! A slot that comes here is an arrival from whoever had it, for a while.

use ipam::Owned;
use wire::{Epoch, Range};

use super::*;

const HERE: Identity = Identity([1; 32]);
const THERE: Identity = Identity([2; 32]);
const ELSEWHERE: Identity = Identity([3; 32]);
const PLACE: (NetworkId, Slot) = (NetworkId::DEFAULT, Slot(70));

fn owned(start: u32, length: u32, owner: Identity) -> Owned {
    Owned { range: Range { network: NetworkId::DEFAULT, start: Slot(start), length }, owner, epoch: Epoch(1) }
}

fn from(arrivals: &Arrivals) -> Option<Identity> {
    arrivals.recent.get(&PLACE).map(|(from, _)| *from)
}

#[test]
fn a_slot_carved_for_us_comes_from_the_owner_of_its_block() {
    let (mut arrivals, now) = (Arrivals::default(), Instant::now());
    arrivals.note(&[owned(64, 64, THERE)], HERE, now);
    assert_eq!(from(&arrivals), None);
    arrivals.note(&[owned(64, 64, THERE), owned(70, 1, HERE)], HERE, now);
    assert_eq!(from(&arrivals), Some(THERE));
}

#[test]
fn a_slot_that_moves_on_to_us_comes_from_its_last_owner() {
    let (mut arrivals, now) = (Arrivals::default(), Instant::now());
    arrivals.note(&[owned(64, 64, THERE), owned(70, 1, ELSEWHERE)], HERE, now);
    arrivals.note(&[owned(64, 64, THERE), owned(70, 1, HERE)], HERE, now);
    assert_eq!(from(&arrivals), Some(ELSEWHERE));
}

#[test]
fn an_arrival_ends_with_its_time_or_with_the_slot() {
    let (mut arrivals, now) = (Arrivals::default(), Instant::now());
    let moved = [owned(64, 64, THERE), owned(70, 1, HERE)];
    arrivals.note(&moved, HERE, now);
    assert!(!arrivals.handle_timeout(now));
    assert!(arrivals.handle_timeout(arrivals.poll_timeout().unwrap()));
    assert_eq!(from(&arrivals), None);
    arrivals.note(&[owned(64, 64, THERE), owned(70, 1, ELSEWHERE)], HERE, now);
    arrivals.note(&moved, HERE, now);
    arrivals.note(&[owned(64, 64, THERE), owned(70, 1, ELSEWHERE)], HERE, now);
    assert_eq!((from(&arrivals), arrivals.poll_timeout()), (None, None));
}
