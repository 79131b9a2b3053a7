//! What is over stays over, in whatever order the words come.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;
use wire::message::ENTRY_VERSION;
use wire::{Epoch, NetworkId, Slot};

use super::super::key_of;
use super::*;
use crate::seal::{sign, verify};
use crate::stage::{genesis, identity, signed, signing_key};

fn line(author: u8, workload: &str, number: u64, state: EntryState) -> Entry {
    let body = EntryBody {
        network: NetworkId::DEFAULT,
        workload: workload.to_owned(),
        ifname: "eth0".to_owned(),
        slot: Slot(5),
        epoch: Epoch(0),
        version: number,
        number,
        author: identity(author),
        state,
        container_id: "c".to_owned(),
        mac: None,
        hold_s: None,
        came: None,
    };
    Entry { signature: sign(&signing_key(author), ENTRY_VERSION, &body), body }
}

fn census(author: u8, upto: u64, living: &[u64]) -> Census {
    let body = CensusBody { author: identity(author), upto, living: living.to_vec() };
    Census { signature: sign(&signing_key(author), CENSUS_VERSION, &body), body }
}

/// What an honest author says in the course of its life: a line now and then, and how many of them live.
#[derive(Debug, Clone)]
enum Word {
    Line(Entry),
    Census(Census),
}

#[derive(Debug, Clone, Copy)]
enum Deed {
    Say(u8, EntryState),
    Count,
}

fn life(deeds: &[Deed]) -> Vec<Word> {
    let (mut newest, mut words) = (BTreeMap::new(), Vec::new());
    let mut number = 0;
    for deed in deeds {
        match deed {
            Deed::Say(name, state) => {
                number += 1;
                newest.insert(*name, (number, *state));
                words.push(Word::Line(line(0, &format!("w{name}"), number, *state)));
            }
            Deed::Count => {
                let living = newest.values().filter(|(_, state)| *state != EntryState::Ended);
                let mut living: Vec<u64> = living.map(|(number, _)| *number).collect();
                living.sort_unstable();
                newest.retain(|_, (_, state)| *state != EntryState::Ended);
                words.push(Word::Census(census(0, number, &living)));
            }
        }
    }
    words
}

fn hear(directory: &mut Directory, word: &Word) {
    match word {
        Word::Line(entry) => {
            let _ = directory.merge(entry);
        }
        Word::Census(census) => {
            let _ = directory.take_census(census.clone());
        }
    }
}

/// Whether nothing is there that a census which is known says to be over.
fn is_rid_of_what_is_over(directory: &Directory) -> bool {
    directory.by_key.values().flat_map(BTreeMap::values).all(|entry| !directory.is_over(&entry.body))
}

fn deed() -> impl Strategy<Value = Deed> {
    let state = prop_oneof![Just(EntryState::Active), Just(EntryState::Held), Just(EntryState::Ended)];
    prop_oneof![4 => (0u8..4, state).prop_map(|(name, state)| Deed::Say(name, state)), 1 => Just(Deed::Count)]
}

proptest! {
    #[test]
    fn whatever_order_they_come_in_all_end_alike_and_nothing_that_is_over_returns(
        deeds in vec(deed(), 1..24),
        order in vec(any::<prop::sample::Index>(), 0..80),
    ) {
        let words = life(&deeds);
        let (mut told, mut heard) = (Directory::default(), Directory::default());
        words.iter().for_each(|word| hear(&mut told, word));
        for at in order {
            hear(&mut heard, at.get(&words));
            prop_assert!(is_rid_of_what_is_over(&heard));
        }
        // What was not heard yet comes last, the oldest at the very end.
        for word in words.iter().rev() {
            hear(&mut heard, word);
            prop_assert!(is_rid_of_what_is_over(&heard));
        }
        prop_assert_eq!(heard.hashes().collect::<Vec<_>>(), told.hashes().collect::<Vec<_>>());
        prop_assert_eq!(heard.next_number(identity(0)), told.next_number(identity(0)));
    }
}

#[test]
fn an_author_that_starts_a_forgotten_name_again_is_believed_by_who_has_the_old_line() {
    let mut away = Directory::default();
    assert!(away.merge(&Entry {
        body: EntryBody { version: 9, ..line(0, "web", 3, EntryState::Active).body },
        ..line(0, "web", 3, EntryState::Active)
    }));
    // All that is known of it elsewhere is gone, so its version begins anew; its number does not.
    let again = EntryBody { version: 1, ..line(0, "web", 70, EntryState::Held).body };
    let again = Entry { signature: sign(&signing_key(0), ENTRY_VERSION, &again), body: again };
    assert!(away.merge(&again));
    assert_eq!(away.entry_of(&key_of(&again.body), identity(0)), Some(&again));
}

#[test]
fn only_an_authors_newest_census_counts_and_only_for_its_own_lines() {
    let mut directory = Directory::default();
    for (author, number) in [(0, 1), (0, 2), (1, 1)] {
        assert!(directory.merge(&line(author, &number.to_string(), number, EntryState::Active)));
    }
    assert_eq!(directory.take_census(census(0, 2, &[2])).map(|over| over.len()), Some(1));
    assert_eq!(directory.take_census(census(0, 1, &[1])), None);
    assert!(!directory.merge(&line(0, "1", 1, EntryState::Active)));
    assert_eq!((directory.lines(identity(0)), directory.lines(identity(1))), (1, 1));
    assert_eq!(directory.hashes().count(), 3);
    assert!(is_census_authentic(verify, &census(0, 2, &[2])));
    assert!(!is_census_authentic(verify, &Census { body: census(1, 2, &[2]).body, ..census(0, 2, &[2]) }));
}

/// Slot 5 was the first host's, went to the second at epoch 1, and ended there.
#[test]
fn an_ended_line_stays_as_long_as_it_hides_an_older_one() {
    let mut ledger = Ledger::new(&genesis(28, 16));
    let range = wire::Range { network: NetworkId::DEFAULT, start: Slot(5), length: 1 };
    let before = ledger.owner(NetworkId::DEFAULT, Slot(5)).unwrap();
    let mut directory = Directory::default();
    assert!(directory.merge(&line(0, "web", 1, EntryState::Held)));
    assert_eq!(directory.count(identity(0), &ledger).living, [1], "it is its own, and nobody else says anything");
    ledger.apply(&signed(0, range, 1, 1, before.hash));
    assert_eq!(directory.count(identity(0), &ledger).living, [1], "it says which workload the slot came with");
    let taken = EntryBody { epoch: Epoch(1), version: 2, ..line(1, "web", 1, EntryState::Active).body };
    let ended = EntryBody { version: 3, number: 2, state: EntryState::Ended, ..taken.clone() };
    for (body, living) in [(taken, vec![1]), (ended, vec![2])] {
        assert!(directory.merge(&Entry { signature: sign(&signing_key(1), ENTRY_VERSION, &body), body }));
        let overtaken = directory.count(identity(0), &ledger).overtaken;
        assert_eq!(overtaken.into_iter().collect::<Vec<_>>(), [1]);
        assert_eq!(directory.count(identity(1), &ledger).living, living);
    }
    let _ = directory.take_census(census(0, 1, &[]));
    assert_eq!(directory.count(identity(1), &ledger), Count { ended: 1, ..Count::default() });
}
