//! The window does what a set of all counters ever seen would do.

use std::collections::BTreeSet;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// The same decision, from memory of everything.
#[derive(Default)]
struct Model {
    seen: BTreeSet<u64>,
}

impl Model {
    fn commit(&mut self, counter: u64) -> bool {
        let inside = self.seen.last().is_none_or(|&greatest| counter > greatest || greatest - counter < WINDOW);
        counter != u64::MAX && inside && self.seen.insert(counter)
    }
}

/// Counters near one another, around the window's edges, and far ahead.
fn steps() -> impl Strategy<Value = Vec<i64>> {
    let near = -80i64..160;
    let edge = (-1i64..=1).prop_flat_map(|sign| (sign * WINDOW as i64 - 70)..(sign * WINDOW as i64 + 70));
    let far = 0i64..200_000;
    vec(prop_oneof![8 => near, 3 => edge, 1 => far], 0..400)
}

proptest! {
    #[test]
    fn it_agrees_with_a_memory_of_everything(start in prop_oneof![Just(0u64), any::<u64>(), Just(u64::MAX - 9000)], steps in steps()) {
        let (mut window, mut growing) = (ReplayWindow::new(), ReplayWindow::growing());
        let (mut model, mut at) = (Model::default(), start);
        for step in steps {
            let counter = at.saturating_add_signed(step);
            let fresh = window.is_fresh(counter);
            let expected = model.commit(counter);
            prop_assert_eq!(fresh, expected, "counter {}", counter);
            prop_assert_eq!(window.commit(counter), expected);
            prop_assert!(!window.is_fresh(counter));
            prop_assert_eq!(growing.is_fresh(counter), expected);
            prop_assert_eq!(growing.commit(counter), expected, "where room grows, counter {}", counter);
            at = at.max(counter);
        }
    }
}

#[test]
fn the_window_is_exactly_as_wide_as_it_says() {
    let mut window = ReplayWindow::new();
    assert!(window.commit(WINDOW));
    assert!(!window.is_fresh(0));
    assert!(window.is_fresh(1));
    for counter in 1..WINDOW {
        assert!(window.commit(counter), "{counter}");
    }
    for counter in 0..=WINDOW {
        assert!(!window.is_fresh(counter), "{counter}");
    }
}

#[test]
fn room_grows_with_the_counter_and_no_further_than_the_window() {
    let mut window = ReplayWindow::growing();
    assert!((0..64).all(|counter| window.commit(counter)));
    assert_eq!(window.words.len(), 1);
    assert!(window.commit(10 * WINDOW));
    assert_eq!(window.words.len(), WORDS);
}

#[test]
fn the_last_counter_is_never_accepted() {
    let mut window = ReplayWindow::new();
    assert!(!window.commit(u64::MAX));
    assert!(window.commit(u64::MAX - 1));
    assert!(!window.commit(u64::MAX - 1));
}
