//! Neither list grows without end.

use super::*;

fn neighbour(number: u8) -> Identity {
    Identity([number; 32])
}

#[test]
fn who_uses_what_it_was_told_is_told_again() {
    let mut seekers = Seekers::default();
    let most = u8::try_from(SEEKERS_MOST).unwrap();
    (0..=most).for_each(|number| seekers.note_told(neighbour(number), 1472));
    assert_eq!(seekers.told_otherwise(1300), Vec::new(), "nobody uses it");
    assert!(seekers.handle_use(neighbour(2)) && !seekers.handle_use(neighbour(2)));
    assert!(seekers.handle_use(neighbour(most)));
    assert_eq!(seekers.told_otherwise(1472), Vec::new());
    assert_eq!(seekers.told_otherwise(1300), vec![neighbour(2), neighbour(most)]);
    seekers.note_told(neighbour(2), 1300);
    assert_eq!(seekers.told_otherwise(1300), vec![neighbour(most)]);
    assert_eq!(seekers.told_otherwise(1472), vec![neighbour(2)]);
    // The first was told the longest ago, and is forgotten: what it uses it is told anew.
    assert!(seekers.handle_use(neighbour(0)));
    assert_eq!(seekers.told_otherwise(1472), vec![neighbour(2), neighbour(0)]);
    seekers.forget_told();
    assert_eq!(seekers.told_otherwise(1300), Vec::new());
}

#[test]
fn who_waits_is_told_once() {
    let mut seekers = Seekers::default();
    let most = u8::try_from(SEEKERS_MOST).unwrap();
    (0..=most).chain(0..=most).for_each(|number| seekers.note(neighbour(number)));
    assert_eq!(seekers.take(), (0..most).map(neighbour).collect::<Vec<_>>());
    assert_eq!(seekers.take(), Vec::new());
    seekers.note(neighbour(1));
    seekers.forget();
    assert_eq!(seekers.take(), Vec::new());
}
