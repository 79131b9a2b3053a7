//! Neither list grows without end.

use super::*;

fn neighbour(number: u8) -> Identity {
    Identity([number; 32])
}

#[test]
fn who_was_told_last_is_told_again() {
    let mut seekers = Seekers::default();
    let most = u8::try_from(SEEKERS_MOST).unwrap();
    (0..=most).for_each(|number| seekers.note_told(neighbour(number), 1472));
    assert_eq!(seekers.told_otherwise(1472), Vec::new());
    seekers.note_told(neighbour(most), 1300);
    assert_eq!(seekers.told_otherwise(1300), (1..most).map(neighbour).collect::<Vec<_>>());
    assert_eq!(seekers.told_otherwise(1472), vec![neighbour(most)]);
    seekers.forget_told();
    assert_eq!(seekers.told_otherwise(1472), Vec::new());
}

#[test]
fn who_waits_is_told_once() {
    let mut seekers = Seekers::default();
    let most = u8::try_from(SEEKERS_MOST).unwrap();
    (0..=most).chain(0..=most).for_each(|number| seekers.note(neighbour(number)));
    assert_eq!(seekers.take(), (0..most).map(neighbour).collect::<Vec<_>>());
    assert_eq!(seekers.take(), Vec::new());
}
