//! Keys are apart for every queue and direction, and no queue's sealer is given out twice.

use super::*;
use crate::aead::{OpenError, SealError};

fn pair(suite: Suite) -> (DataSession, DataSession) {
    let (one, two) = (Zeroizing::new([1; 32]), Zeroizing::new([2; 32]));
    let head = SessionHead { peer: PeerIndex(0), local_index: 7, remote_index: 9, suite, remote_queues: 4 };
    let left = DataSession::new(head, one.clone(), two.clone());
    (left, DataSession::new(SessionHead { local_index: 9, remote_index: 7, ..head }, two, one))
}

#[test]
fn what_one_end_seals_the_other_opens_once() {
    for suite in [Suite::ChaCha20Poly1305, Suite::Aes256Gcm] {
        let (left, right) = pair(suite);
        let mut datagram = [5; 132];
        left.sealer(3).seal(&mut datagram).unwrap();
        let mut opener = right.opener(3);
        let mut copy = datagram;
        assert_eq!(opener.open(&mut copy).unwrap(), [5; 100]);
        assert_eq!(opener.open(&mut datagram), Err(OpenError::Replayed { counter: 0 }));
    }
}

#[test]
fn queues_and_directions_have_keys_of_their_own() {
    let (left, right) = pair(Suite::ChaCha20Poly1305);
    let mut datagram = [5; 132];
    left.sealer(3).seal(&mut datagram).unwrap();
    assert_eq!(right.opener(2).open(&mut datagram.clone()), Err(OpenError::Forged));
    assert_eq!(left.opener(3).open(&mut datagram), Err(OpenError::Forged));
}

#[test]
fn a_queue_has_one_sealer() {
    let (left, _) = pair(Suite::ChaCha20Poly1305);
    for queue in 0..=u8::MAX {
        assert_eq!(left.sealer(queue).seal(&mut [0; 40]), Ok(()));
        assert_eq!(left.sealer(queue).seal(&mut [0; 40]), Err(SealError::Exhausted));
    }
}

#[test]
fn a_session_shows_no_secret() {
    let (left, _) = pair(Suite::Aes256Gcm);
    assert_eq!(format!("{left:?}"), "DataSession(PeerIndex(0), local 00000007, remote 00000009, aes-256-gcm)");
}
