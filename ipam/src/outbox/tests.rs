//! What is said while a batch is being written waits for what it rests on, and for no more.

use super::*;
use crate::RequestId;
use crate::event::Release;

fn write(key: u8) -> Write {
    Write { table: Table::Leases, key: vec![key], value: Some(vec![key]) }
}

fn event(number: u64) -> Event {
    Event::Released { request: RequestId(number), outcome: Release::Done }
}

fn heard(outbox: &mut Outbox) -> Vec<Event> {
    std::iter::from_fn(|| outbox.poll_event()).collect()
}

#[test]
fn what_rests_on_a_batch_that_is_being_written_waits_for_that_one_alone() {
    let mut outbox = Outbox::default();
    outbox.write(write(1));
    assert!(outbox.poll_batch().is_some());
    // Nothing was decided since: there may never be another batch to wait for.
    outbox.event(event(1));
    assert_eq!(heard(&mut outbox), []);
    outbox.write(write(2));
    outbox.event(event(2));
    assert_eq!(outbox.poll_batch(), None, "one at a time");
    outbox.handle_stored();
    assert_eq!(heard(&mut outbox), [event(1)]);
    assert!(outbox.poll_batch().is_some());
    outbox.handle_stored();
    assert_eq!(heard(&mut outbox), [event(2)]);
    outbox.event(event(3));
    assert_eq!(heard(&mut outbox), [event(3)]);
}

#[test]
fn the_log_to_come_counts_every_batch_that_is_decided() {
    let mut outbox = Outbox::default();
    assert_eq!(outbox.log_to_come(), 0);
    outbox.write(write(1));
    assert_eq!(outbox.log_to_come(), 1);
    outbox.poll_batch();
    assert_eq!((outbox.log(), outbox.log_to_come()), (0, 1));
    outbox.write(write(2));
    assert_eq!(outbox.log_to_come(), 2);
    outbox.handle_stored();
    assert_eq!((outbox.log(), outbox.log_to_come()), (1, 2));
}
