use super::*;

/// Turns that find so many frames, so far apart; how many of a hundred are followed by a nap.
fn naps(frames: usize, apart: Duration) -> usize {
    let begun = Instant::now();
    let mut pace = Pace::new(begun);
    (1..=100).filter(|&turn| pace.nap(frames, begun + apart * turn).is_some()).count()
}

#[test]
fn a_flood_in_small_batches_is_gathered() {
    // 200 frames a millisecond; the first window must pass before that is known.
    assert_eq!(naps(2, Duration::from_micros(10)), 1);
    assert_eq!(naps(10, Duration::from_micros(50)), 81);
}

#[test]
fn what_comes_slowly_or_together_is_not() {
    assert_eq!(naps(1, Duration::from_micros(20)), 0);
    assert_eq!(naps(1, Duration::from_millis(5)), 0);
    assert_eq!(naps(64, Duration::from_micros(100)), 0);
    assert_eq!(naps(0, Duration::from_micros(100)), 0);
}

#[test]
fn a_flood_that_ends_is_forgotten() {
    let begun = Instant::now();
    let mut pace = Pace::new(begun);
    assert!(pace.nap(10, begun + WINDOW / 2).is_none());
    pace.nap(190, begun + WINDOW);
    assert!(pace.nap(10, begun + WINDOW + WINDOW / 2).is_some());
    assert!(pace.nap(1, begun + WINDOW * 1000).is_none());
}
