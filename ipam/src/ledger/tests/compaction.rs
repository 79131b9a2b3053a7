//! Whatever is forgotten, and when: the owners are the same, and nobody is accused.

use proptest::prelude::*;

use super::*;

/// What a restart puts back.
fn restored(ledger: &Ledger) -> Ledger {
    let mut again = super::ledger().0;
    let mut records: Vec<_> = ledger.records().map(|(_, record)| record.clone()).collect();
    records.sort_by_cached_key(order_of);
    let stored = records.iter().map(hash_of_record).collect();
    let mut before = usize::MAX;
    while before > records.len() {
        before = records.len();
        records.retain(|record| again.put_stored(record, &stored) == Outcome::Gap);
    }
    assert_eq!(records, []);
    again
}

fn compared(ledger: &Ledger) -> BTreeSet<Hash> {
    ledger.compared(|_| false).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn the_owners_are_the_same_whatever_was_forgotten_when(records in long_history(), forgets in any::<[u8; 8]>(), stale in any::<u64>()) {
        let (mut whole, mut left, mut next) = (ledger().0, ledger().0, Vec::new());
        for (number, record) in records.iter().enumerate() {
            prop_assert_eq!(whole.apply(record), Outcome::Applied);
            prop_assert_eq!(left.apply(record), Outcome::Applied);
            let forgets_now = forgets[number % 8] & 3 == 0;
            if forgets_now {
                // What has become superfluous since goes later.
                left.forget(&next, |_| false);
                next = left.superfluous(|_| false);
                left = restored(&left);
            }
            prop_assert_eq!(compared(&left), compared(&whole));
        }
        prop_assert_eq!(view(&left), view(&whole));
        let superfluous = left.superfluous(|_| false);
        left.forget(&superfluous, |_| false);
        prop_assert_eq!(left.records().count(), left.essential().count());
        // Everything may come again, late and in any order.
        let mut late = records.clone();
        late.sort_by_key(|record| hash_of(RECORD_VERSION, &(stale, hash_of_record(record))));
        for record in &late {
            let outcome = left.apply(record);
            prop_assert!(matches!(outcome, Outcome::Known | Outcome::Past), "{outcome:?}: {record:?}");
        }
        prop_assert_eq!(view(&restored(&left)), view(&whole));
    }

    #[test]
    fn nobody_takes_what_was_forgotten(records in long_history(), thief in 0u8..4, start in 0u32..4, slot in 0u32..16, epoch in 1u64..40) {
        let mut ledger = taken(records.iter());
        let superfluous = ledger.superfluous(|_| false);
        ledger.forget(&superfluous, |_| false);
        let before = view(&ledger);
        for wanted in [range(start * 16, 16), range(start * 16 + slot, 1)] {
            ledger.apply(&signed(thief, wanted, thief, epoch, Hash([7; 32])));
        }
        prop_assert_eq!(view(&ledger), before);
    }
}

/// Few ranges, so that they go to and fro.
fn long_history() -> impl Strategy<Value = Vec<Record>> {
    let choice = (0u8..2, prop_oneof![96u8..99, 200u8..=255, Just(5u8)], 0u8..4);
    proptest::collection::vec(choice, 1..80).prop_map(|choices| {
        let mut ledger = ledger().0;
        choices.into_iter().filter_map(|choice| legal(&mut ledger, choice)).collect()
    })
}
