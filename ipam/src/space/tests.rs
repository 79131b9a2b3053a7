//! The order of the queue.

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
