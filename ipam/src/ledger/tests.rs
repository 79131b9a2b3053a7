//! Which records are taken, and that their order does not matter.

use proptest::prelude::*;
use wire::{Epoch, Hash, Identity, NetworkId, RecordBody, Slot};

use super::*;
use crate::seal::sign;
use crate::stage::{genesis, identity, signed, signing_key};

mod compaction;

fn range(start: u32, length: u32) -> Range {
    Range { network: NetworkId::DEFAULT, start: Slot(start), length }
}

/// A /24 of blocks of 16, all of it host 0's.
fn ledger() -> (Ledger, Hash) {
    let ledger = Ledger::new(&genesis(24, 16));
    let root = ledger.head(&range(0, 256)).unwrap().hash;
    (ledger, root)
}

fn owner(ledger: &Ledger, slot: u32) -> Identity {
    ledger.owner(NetworkId::DEFAULT, Slot(slot)).unwrap().owner
}

#[test]
fn the_longest_prefix_wins() {
    let (mut ledger, root) = ledger();
    let block = signed(0, range(16, 16), 1, 1, root);
    assert_eq!(ledger.apply(&block), Outcome::Applied);
    assert_eq!(ledger.apply(&signed(1, range(20, 1), 2, 2, hash_of_record(&block))), Outcome::Applied);
    assert_eq!([3, 17, 20].map(|slot| owner(&ledger, slot)), [identity(0), identity(1), identity(2)]);
}

#[test]
fn what_is_no_record_of_this_ledger_is_refused() {
    let (mut ledger, root) = ledger();
    let block = signed(0, range(16, 16), 1, 1, root);
    ledger.apply(&block);
    let hash = hash_of_record(&block);
    let wrong = [
        signed(2, range(16, 16), 2, 2, hash),      // not its owner
        signed(1, range(16, 16), 2, 3, hash),      // an epoch is left out
        signed(1, range(16, 16), 2, 1, hash),      // the epoch does not rise
        signed(0, range(0, 256), 1, 1, root),      // the pool is not given whole
        signed(0, range(8, 16), 1, 1, root),       // not aligned
        signed(0, range(32, 32), 1, 1, root),      // two blocks
        signed(0, range(256, 16), 1, 1, root),     // beyond the pool
        signed(0, range(u32::MAX, 1), 1, 1, root), // far beyond it
        signed(0, range(32, 0), 1, 1, root),       // nothing
    ];
    for record in wrong {
        assert_eq!(ledger.apply(&record), Outcome::Refused, "{record:?}");
    }
}

#[test]
fn a_slot_cannot_be_carved_out_of_the_pool_past_its_block() {
    let (mut ledger, root) = ledger();
    assert_eq!(ledger.apply(&signed(0, range(20, 1), 2, 1, root)), Outcome::Gap);
    // Who gave a block away has nothing left to carve out of it.
    ledger.apply(&signed(0, range(16, 16), 1, 1, root));
    assert_eq!(ledger.apply(&signed(0, range(20, 1), 2, 1, root)), Outcome::Gap);
    assert_eq!(owner(&ledger, 20), identity(1));
}

#[test]
fn a_gap_is_seen_and_a_repetition_is_known() {
    let (mut ledger, root) = ledger();
    let first = signed(0, range(16, 16), 1, 1, root);
    let second = signed(1, range(16, 16), 2, 2, hash_of_record(&first));
    assert_eq!(ledger.apply(&second), Outcome::Gap);
    assert_eq!(ledger.apply(&first), Outcome::Applied);
    assert_eq!(ledger.apply(&second), Outcome::Applied);
    assert_eq!(ledger.apply(&first), Outcome::Known);
}

#[test]
fn giving_a_block_to_two_is_equivocation_and_the_first_stays() {
    let (mut ledger, root) = ledger();
    ledger.apply(&signed(0, range(16, 16), 1, 1, root));
    let second = signed(0, range(16, 16), 2, 1, root);
    assert_eq!(ledger.apply(&second), Outcome::Equivocation(range(16, 16)));
    assert_eq!(owner(&ledger, 17), identity(1));
    assert!(ledger.is_quarantined(&range(17, 1)) && !ledger.is_quarantined(&range(1, 1)));
    assert!(ledger.is_evidence(&hash_of_record(&second)));
    assert_eq!(ledger.apply(&second), Outcome::Known);
}

#[test]
fn giving_a_block_and_a_slot_of_it_is_equivocation_in_either_order() {
    let (mut ledger, root) = ledger();
    let block = signed(0, range(16, 16), 1, 1, root);
    let hash = hash_of_record(&block);
    let (slot, whole) = (signed(1, range(20, 1), 2, 2, hash), signed(1, range(16, 16), 3, 2, hash));
    ledger.apply(&block);
    let mut other = ledger.clone();
    assert_eq!((ledger.apply(&slot), ledger.apply(&whole)), (Outcome::Applied, Outcome::GivenTwice(range(20, 1))));
    assert_eq!((other.apply(&whole), other.apply(&slot)), (Outcome::Applied, Outcome::Equivocation(range(20, 1))));
    for ledger in [ledger, other] {
        assert!(ledger.is_quarantined(&range(20, 1)) && !ledger.is_quarantined(&range(21, 1)));
        assert_eq!(owner(&ledger, 21), identity(3));
    }
}

#[test]
fn a_second_signature_over_one_body_is_the_same_record() {
    let (mut ledger, root) = ledger();
    let record = signed(0, range(16, 16), 1, 1, root);
    let mut again = record.clone();
    again.signature.0[3] ^= 1;
    ledger.apply(&record);
    assert_eq!(ledger.apply(&again), Outcome::Known);
}

#[test]
fn an_heir_gets_what_is_left_and_goes_on_with_the_chain() {
    let (mut ledger, root) = ledger();
    let block = signed(0, range(16, 16), 1, 1, root);
    let slot = signed(1, range(20, 1), 2, 2, hash_of_record(&block));
    ledger.apply(&block);
    ledger.apply(&slot);
    let members = [identity(0), identity(2)].into();
    assert_eq!(ledger.inherit(&[identity(1)].into(), &members), [range(16, 16)]);
    let heir = inherit::heir(&range(16, 16), &members).unwrap();
    assert_eq!((owner(&ledger, 17), owner(&ledger, 20)), (heir, identity(2)));
    let key = if heir == identity(0) { 0 } else { 2 };
    let head = ledger.head(&range(16, 16)).unwrap();
    assert_eq!(ledger.apply(&signed(key, range(21, 1), 3, head.epoch.0 + 1, head.hash)), Outcome::Applied);
}

#[test]
fn what_is_not_kept_takes_with_it_what_rests_on_it() {
    let (mut ledger, root) = ledger();
    let block = signed(0, range(16, 16), 1, 1, root);
    let slot = signed(1, range(20, 1), 2, 2, hash_of_record(&block));
    let other = signed(0, range(32, 16), 2, 1, root);
    for record in [&block, &slot, &other] {
        ledger.apply(record);
    }
    let gone = ledger.retain(|hash, _| *hash != hash_of_record(&block));
    assert_eq!(gone, [block, slot]);
    assert_eq!([17, 20, 33].map(|slot| owner(&ledger, slot)), [identity(0), identity(0), identity(2)]);
}

/// The owner of a block takes back what has come home to it.
fn come_home(ledger: &mut Ledger, block: &Range) -> Option<Record> {
    let head = ledger.head(block)?;
    let (epoch, home) = ledger.homecoming(&head, |_| true)?;
    let author = (0..4).find(|number| identity(*number) == head.owner)?;
    let body = RecordBody {
        range: *block,
        owner: head.owner,
        epoch,
        author: head.owner,
        previous: head.hash,
        home: Some(home),
    };
    let record = Record { signature: sign(&signing_key(author), RECORD_VERSION, &body), body };
    assert_eq!(ledger.apply(&record), Outcome::Applied);
    Some(record)
}

#[test]
fn a_slot_that_came_home_is_part_of_its_block_again() {
    let (mut ledger, root) = ledger();
    let block = signed(0, range(16, 16), 1, 1, root);
    let away = signed(1, range(20, 1), 2, 2, hash_of_record(&block));
    let back = signed(2, range(20, 1), 1, 3, hash_of_record(&away));
    let apart = signed(1, range(21, 1), 3, 2, hash_of_record(&block));
    for record in [&block, &away, &back, &apart] {
        assert_eq!(ledger.apply(record), Outcome::Applied);
    }
    let late = ledger.clone();
    let home = come_home(&mut ledger, &range(16, 16)).unwrap();
    assert_eq!((home.body.epoch, home.body.home.as_ref().unwrap().apart.as_slice()), (Epoch(4), &[Slot(21)][..]));
    assert_eq!(ledger.head(&range(20, 1)), None);
    assert_eq!((owner(&ledger, 20), owner(&ledger, 21)), (identity(1), identity(3)));
    assert_eq!(ledger.carved(&range(16, 16)).count(), 1);
    // It may move again, and come home again; nothing extends what has ended.
    let again = signed(1, range(20, 1), 2, 5, hash_of_record(&home));
    assert_eq!(ledger.clone().apply(&again), Outcome::Applied);
    let stale = signed(1, range(20, 1), 2, 4, hash_of_record(&back));
    assert_eq!(ledger.clone().apply(&stale), Outcome::Equivocation(range(20, 1)));
    let second = signed(1, range(20, 1), 3, 2, hash_of_record(&block));
    assert_eq!(ledger.clone().apply(&second), Outcome::Equivocation(range(20, 1)));
    let whole = signed(1, range(16, 16), 2, 2, hash_of_record(&block));
    assert_eq!(ledger.apply(&whole), Outcome::Equivocation(range(16, 16)));
    // In the other order too.
    let mut other = late;
    assert_eq!(other.apply(&stale), Outcome::Applied);
    assert_eq!(other.apply(&home), Outcome::Equivocation(range(16, 16)));
}

#[test]
fn who_lacks_what_came_home_sees_a_gap_and_nobody_takes_home_what_is_not_his() {
    let (mut ledger, root) = ledger();
    let block = signed(0, range(16, 16), 1, 1, root);
    let away = signed(1, range(20, 1), 2, 2, hash_of_record(&block));
    let back = signed(2, range(20, 1), 1, 3, hash_of_record(&away));
    let mut whole = ledger.clone();
    for record in [&block, &away, &back] {
        whole.apply(record);
    }
    let home = come_home(&mut whole, &range(16, 16)).unwrap();
    for record in [&block, &away] {
        ledger.apply(record);
    }
    assert_eq!(ledger.apply(&home), Outcome::Gap);
    // The slot is another's still: a block's owner that says otherwise is not believed.
    let mut body = home.body.clone();
    body.home.as_mut().unwrap().slots = vec![hash_of_record(&away)];
    body.epoch = Epoch(3);
    let forged = Record { signature: sign(&signing_key(1), RECORD_VERSION, &body), body };
    assert_eq!(ledger.apply(&forged), Outcome::Refused);
    assert_eq!(owner(&ledger, 20), identity(2));
}

/// What an honest owner does next: gives a block or a slot, chosen by numbers.
fn legal(ledger: &mut Ledger, choice: (u8, u8, u8)) -> Option<Record> {
    let (start, slot, taker) = (u32::from(choice.0 % 4) * 16, u32::from(choice.1 % 16), choice.2 % 4);
    let block = range(start, 16);
    let single = range(start + slot, 1);
    if choice.1 >= 200
        && let Some(record) = come_home(ledger, &block)
    {
        return Some(record);
    }
    let wanted = if choice.1 < 96 || ledger.head(&block).is_none() { block } else { single };
    if wanted == block && ledger.head(&block).is_some() && ledger.carved(&block).next().is_some() {
        return None;
    }
    let before = ledger.head(&wanted).or_else(|| ledger.owner(NetworkId::DEFAULT, wanted.start))?;
    let author = (0..4).find(|number| identity(*number) == before.owner)?;
    let record = signed(author, wanted, taker, before.epoch.0 + 1, before.hash);
    assert_eq!(ledger.apply(&record), Outcome::Applied);
    Some(record)
}

/// Takes records in this order; what comes too early waits.
fn taken<'a>(records: impl Iterator<Item = &'a Record>) -> Ledger {
    let (mut ledger, mut parking) = (ledger().0, Parking::default());
    for record in records {
        let mut todo = vec![record.clone()];
        while let Some(record) = todo.pop() {
            match ledger.apply(&record) {
                Outcome::Applied => {
                    todo.extend(parking.take(&hash_of_record(&record)));
                    let block = ledger.block_of(record.body.range.network, record.body.range.start);
                    todo.extend(ledger.head(&block).into_iter().flat_map(|head| parking.take(&head.hash)));
                }
                Outcome::Gap => {
                    parking.park(record);
                }
                Outcome::Known
                | Outcome::Past
                | Outcome::Refused
                | Outcome::Equivocation(_)
                | Outcome::GivenTwice(_) => {}
            }
        }
    }
    ledger
}

fn view(ledger: &Ledger) -> Vec<Holding> {
    ledger.heads().collect()
}

fn history() -> impl Strategy<Value = Vec<Record>> {
    proptest::collection::vec(any::<(u8, u8, u8)>(), 1..30).prop_map(|choices| {
        let mut ledger = ledger().0;
        choices.into_iter().filter_map(|choice| legal(&mut ledger, choice)).collect()
    })
}

/// Found by the simulator: a slot that is carved out of a merged block has the epoch of the block's next homecoming.
#[test]
fn a_homecoming_comes_after_what_stays_apart_from_it() {
    let (mut ledger, root) = ledger();
    let block = signed(0, range(16, 16), 1, 1, root);
    let apply = |ledger: &mut Ledger, record: Record| {
        assert_eq!(ledger.apply(&record), Outcome::Applied);
        record
    };
    let mut records = vec![apply(&mut ledger, block)];
    let mut held = hash_of_record(&records[0]);
    for slot in [20, 21] {
        let away = apply(&mut ledger, signed(1, range(slot, 1), 2, 2, held));
        records.push(apply(&mut ledger, signed(2, range(slot, 1), 1, 3, hash_of_record(&away))));
        records.push(away);
    }
    let head = ledger.head(&range(16, 16)).unwrap();
    let (epoch, home) = ledger.homecoming(&head, |slot| slot.start == Slot(20)).unwrap();
    let body = RecordBody {
        range: range(16, 16),
        owner: identity(1),
        epoch,
        author: identity(1),
        previous: held,
        home: Some(home),
    };
    let first = Record { signature: sign(&signing_key(1), RECORD_VERSION, &body), body };
    records.push(apply(&mut ledger, first));
    held = hash_of_record(records.last().unwrap());
    for slot in 22..32 {
        records.push(apply(&mut ledger, signed(1, range(slot, 1), 3, 5, held)));
    }
    let second = come_home(&mut ledger, &range(16, 16)).unwrap();
    assert_eq!(second.body.epoch, Epoch(5));
    records.push(second);
    records.sort_by_cached_key(order_of);
    let mut again = Ledger::new(&genesis(24, 16));
    for record in &records {
        assert_eq!(again.apply(record), Outcome::Applied, "{record:?}");
    }
    assert_eq!(view(&again), view(&ledger));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn merge_is_commutative_and_associative(records in history(), shuffle in any::<u64>()) {
        let mut shuffled = records.clone();
        shuffled.sort_by_key(|record| hash_of(RECORD_VERSION, &(shuffle, hash_of_record(record))));
        prop_assert_eq!(view(&taken(records.iter())), view(&taken(shuffled.iter())));
    }

    #[test]
    fn merge_is_idempotent(records in history()) {
        let twice = records.iter().chain(records.iter().rev());
        prop_assert_eq!(view(&taken(records.iter())), view(&taken(twice)));
    }

    #[test]
    fn part_of_a_history_is_an_earlier_one(records in history(), missing in any::<prop::sample::Index>()) {
        prop_assume!(!records.is_empty());
        let missing = missing.index(records.len());
        let part = taken(records.iter().enumerate().filter(|(number, _)| *number != missing).map(|(_, record)| record));
        let whole = taken(records.iter());
        for head in part.heads() {
            let newer = whole.head(&head.range).or_else(|| whole.owner(NetworkId::DEFAULT, head.range.start));
            prop_assert!(newer.is_some_and(|newer| newer.epoch >= head.epoch));
        }
    }

    #[test]
    fn every_slot_has_one_owner_and_blocks_do_not_overlap(records in history()) {
        let ledger = taken(records.iter());
        let blocks: Vec<_> = ledger.heads().filter(|head| head.range.length == 16).collect();
        for (number, one) in blocks.iter().enumerate() {
            prop_assert!(blocks.iter().skip(number + 1).all(|other| one.range.end() <= other.range.start));
        }
        for slot in 0..256 {
            prop_assert!(ledger.owner(NetworkId::DEFAULT, Slot(slot)).is_some());
        }
    }

    #[test]
    fn nobody_takes_what_it_does_not_own(records in history(), thief in 0u8..4, start in 0u32..4, slot in 0u32..16, previous in any::<prop::sample::Index>()) {
        let mut ledger = taken(records.iter());
        let owned_before: Vec<_> = (0..64).map(|slot| owner(&ledger, slot)).collect();
        let known: Vec<_> = ledger.heads().collect();
        let on = known[previous.index(known.len())];
        for wanted in [range(start * 16, 16), range(start * 16 + slot, 1)] {
            ledger.apply(&signed(thief, wanted, thief, on.epoch.0 + 1, on.hash));
        }
        for (slot, before) in (0u32..).zip(owned_before) {
            prop_assert!(owner(&ledger, slot) == before || before == identity(thief));
        }
    }
}
