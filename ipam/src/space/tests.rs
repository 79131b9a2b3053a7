//! The order of the queue.

use std::hash::DefaultHasher;
use std::time::Duration;

use super::*;
use crate::stage::epoch;

#[test]
fn slots_come_out_in_the_order_they_went_in() {
    let mut space = Space::default();
    [4, 2, 3, 2].map(Slot).into_iter().for_each(|slot| space.add(slot));
    assert_eq!(std::iter::from_fn(|| space.take_first()).collect::<Vec<_>>(), [4, 2, 3].map(Slot));
}

#[test]
fn a_resting_slot_comes_back_last_and_once() {
    let (mut space, now) = (Space::default(), epoch());
    [2, 3].map(Slot).into_iter().for_each(|slot| space.add(slot));
    space.rest(Slot(2), now + Duration::from_secs(5));
    space.add(Slot(2));
    assert!(space.is_resting(Slot(2)) && !space.is_free(Slot(2)));
    assert_eq!(space.wake(now + Duration::from_secs(4)), []);
    assert_eq!(space.wake(now + Duration::from_secs(5)), [Slot(2)]);
    assert_eq!(space.wake(now + Duration::from_secs(9)), []);
    assert_eq!(std::iter::from_fn(|| space.take_first()).collect::<Vec<_>>(), [3, 2].map(Slot));
}

#[test]
fn a_slot_that_is_lost_while_it_rests_does_not_come_back() {
    let (mut space, now) = (Space::default(), epoch());
    space.rest(Slot(2), now);
    space.forget(Slot(2));
    assert_eq!(space.wake(now), []);
    assert_eq!(space.poll_timeout(), None);
    assert_eq!((space.free(), space.resting()), (0, 0));
}

/// It goes slot by slot, as it does when it is given away. With a queue that is searched for each of them this takes minutes.
#[test]
fn a_large_block_that_goes_leaves_the_others_in_their_order() {
    let mut space = Space::default();
    (0..2 * LARGE).for_each(|slot| space.add(Slot(slot)));
    (LARGE..2 * LARGE).for_each(|slot| space.forget(Slot(slot)));
    assert!(std::iter::from_fn(|| space.take_first()).eq((0..LARGE).map(Slot)));
    assert_eq!(space.free(), 0);
}

#[test]
fn two_queues_in_the_same_order_are_alike() {
    let [alike, longer, other] = [[4, 2].as_slice(), &[9, 4, 2], &[2, 4]].map(|slots| {
        let mut space = Space::default();
        slots.iter().for_each(|slot| space.add(Slot(*slot)));
        space.forget(Slot(9));
        let mut hasher = DefaultHasher::new();
        space.hash(&mut hasher);
        hasher.finish()
    });
    assert_eq!(alike, longer);
    assert_ne!(alike, other);
}

const LARGE: u32 = 1 << 16;
