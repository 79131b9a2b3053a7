//! What is kept, for how long, and in which order it is asked about.

use wire::NetworkId;
use wire::chunk::{Kind, Travel};

use super::*;

const HEADER: ChunkHeader =
    ChunkHeader { kind: Kind::Frame, travel: Travel::Direct, network: NetworkId::DEFAULT, checksum: None };

fn first_bytes(early: &mut Early, now: Instant, fate: Fate) -> Vec<u8> {
    let mut seen = Vec::new();
    early.review(now, |_, _, bytes| {
        seen.push(bytes[HEADROOM_BYTES]);
        fate
    });
    seen
}

#[test]
fn a_frame_is_asked_about_until_it_is_forgotten() {
    let (mut early, now) = (Early::new(), Instant::now());
    (1..=3).for_each(|number| early.keep(PeerIndex(0), HEADER, &[number; 60], now));
    assert_eq!(first_bytes(&mut early, now, Fate::Keep), [1, 2, 3]);
    assert_eq!(first_bytes(&mut early, now, Fate::Forget), [1, 2, 3]);
    assert!(first_bytes(&mut early, now, Fate::Keep).is_empty());
}

#[test]
fn what_is_old_is_not_asked_about() {
    let (mut early, now) = (Early::new(), Instant::now());
    early.keep(PeerIndex(0), HEADER, &[1; 60], now);
    early.keep(PeerIndex(0), HEADER, &[2; 60], now + LIFETIME / 2);
    assert_eq!(first_bytes(&mut early, now + LIFETIME, Fate::Keep), [2]);
}

#[test]
fn the_newest_few_small_ones_are_kept_in_order() {
    let (mut early, now) = (Early::new(), Instant::now());
    early.keep(PeerIndex(0), HEADER, &[0; FRAME_BYTES_MAX + 1], now);
    let count = u8::try_from(FRAMES_MAX).unwrap();
    (0..count + 5).for_each(|number| early.keep(PeerIndex(0), HEADER, &[number; FRAME_BYTES_MAX], now));
    assert_eq!(first_bytes(&mut early, now, Fate::Keep), (5..count + 5).collect::<Vec<_>>());
    early.keep(PeerIndex(0), HEADER, &[99; 60], now);
    assert_eq!(first_bytes(&mut early, now, Fate::Forget), (6..count + 5).chain([99]).collect::<Vec<_>>());
}
