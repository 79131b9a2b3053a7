//! The queue is bounded, streams come and go without losing what waits, and the dialling rhythm slows down.

use super::*;

fn start() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "an Instant has no other origin; the tests only add to it")]
    Instant::now()
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn what_waits_goes_out_in_order_when_there_is_a_stream() {
    let now = start();
    let mut channel = Channel::default();
    (0..3).for_each(|number| channel.push(vec![number], now));
    assert_eq!(channel.poll_stream(), None);
    channel.bind(StreamId(5));
    assert_eq!([0, 1, 2].map(|_| channel.poll_stream().unwrap()), [0, 1, 2].map(|number| (StreamId(5), vec![number])));
    assert_eq!(channel.poll_stream(), None);
}

#[test]
fn too_much_costs_the_oldest() {
    let now = start();
    let mut channel = Channel::default();
    (0..QUEUE_MESSAGES + 10).for_each(|number| channel.push(vec![(number % 251) as u8], now));
    assert_eq!(channel.dropped(), 10);
    channel.bind(StreamId(5));
    assert_eq!(channel.poll_stream(), Some((StreamId(5), vec![10])));
    let mut channel = Channel::default();
    (0..20).for_each(|_| channel.push(vec![0; QUEUE_BYTES / 10], now));
    assert_eq!(channel.dropped(), 10);
}

#[test]
fn small_messages_lose_patience_and_large_ones_wait() {
    let now = start();
    let mut channel = Channel::default();
    channel.push(vec![1; DATAGRAM_BYTES + 1], now);
    channel.push(vec![2; DATAGRAM_BYTES], now);
    assert_eq!(channel.poll_datagram(now + SECOND), None);
    assert_eq!(channel.deadline(), Some(now + 2 * SECOND));
    assert_eq!(channel.poll_datagram(now + 2 * SECOND), Some(vec![2; DATAGRAM_BYTES]));
    assert_eq!((channel.poll_datagram(now + 60 * SECOND), channel.deadline()), (None, None));
}

#[test]
fn a_call_that_fails_is_repeated_ever_more_slowly_until_there_is_a_stream() {
    let mut now = start();
    let mut channel = Channel::default();
    channel.start(SECOND, now);
    assert_eq!(channel.poll_dial(now), None);
    let mut pauses = Vec::new();
    for attempt in 0..8 {
        let due = channel.deadline().unwrap();
        pauses.push((due - now).as_millis());
        now = due;
        assert_eq!(channel.poll_dial(now), Some(attempt));
        channel.handle_dial_failed(now);
    }
    assert_eq!(pauses, [1000, 500, 1000, 2000, 4000, 8000, 15_000, 15_000]);
    channel.bind(StreamId(1));
    assert_eq!(channel.deadline(), None);
    channel.handle_dial_failed(now);
    assert_eq!(channel.deadline(), None, "the other side's stream is as good");
    channel.unbind(StreamId(1), Duration::ZERO, now);
    assert_eq!(channel.poll_dial(now), Some(0));
}

#[test]
fn a_third_stream_replaces_the_oldest() {
    let mut channel = Channel::default();
    assert_eq!([1, 2].map(|number| channel.bind(StreamId(number))), [None, None]);
    assert_eq!(channel.bind(StreamId(3)), Some(StreamId(1)));
    channel.push(vec![1], start());
    assert_eq!(channel.poll_stream().unwrap().0, StreamId(2));
    assert_eq!(channel.stop(), vec![StreamId(2), StreamId(3)]);
}
