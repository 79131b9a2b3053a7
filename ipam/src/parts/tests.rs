//! What is cut comes together again, and nothing else does.

use wire::Hash;

use super::*;
use crate::stage::identity;

fn long(hashes: usize) -> Message {
    Message::Want((0..hashes).map(|number| Hash([u8::try_from(number % 251).unwrap(); 32])).collect())
}

fn part(bytes: &[u8]) -> Part {
    let Ok(Message::Part(part)) = Message::parse(bytes) else { panic!("not a part") };
    part
}

#[test]
fn a_short_message_is_not_cut() {
    let bytes = long(3).emit();
    assert_eq!(split(bytes.clone(), &mut 0), [bytes]);
}

#[test]
fn a_long_message_comes_together_again() {
    let message = long(60_000);
    let pieces = split(message.emit(), &mut 0);
    assert_eq!(pieces.len(), 8);
    let mut parts = Parts::default();
    let taken: Vec<_> = pieces.iter().map(|piece| parts.take(identity(1), part(piece))).collect();
    assert_eq!(taken.iter().flatten().collect::<Vec<_>>(), [&message]);
    assert!(parts.by_peer.is_empty());
}

#[test]
fn parts_of_two_peers_do_not_mix_and_one_that_does_not_follow_ends_it() {
    let pieces = split(long(60_000).emit(), &mut 0);
    let mut parts = Parts::default();
    for piece in &pieces[..4] {
        assert_eq!(parts.take(identity(1), part(piece)), None);
    }
    assert_eq!(parts.take(identity(2), part(&pieces[4])), None);
    assert_eq!(parts.take(identity(1), part(&pieces[5])), None);
    for piece in &pieces[6..] {
        assert_eq!(parts.take(identity(1), part(piece)), None);
    }
    assert!(parts.by_peer.is_empty());
}

#[test]
fn nobody_makes_us_hold_more_than_the_longest_message() {
    let mut parts = Parts::default();
    let bytes = vec![0; PART_BYTES];
    for number in 0..100 {
        parts.take(identity(1), Part { message: 1, number, last: false, bytes: bytes.clone() });
        let held: usize = parts.by_peer.values().map(|assembly| assembly.bytes.len()).sum();
        assert!(held <= ASSEMBLED_BYTES_MAX);
    }
    assert!(split(vec![0; ASSEMBLED_BYTES_MAX + 1], &mut 0).is_empty());
}
