use super::*;

const P: PeerIndex = PeerIndex(3);

fn piece(number: u16, offset: u16, frame_bytes: u16) -> Piece {
    Piece { number, offset, frame_bytes }
}

fn whole(progress: Progress<'_>) -> Option<Vec<u8>> {
    match progress {
        Progress::Whole(bytes) => Some(bytes[HEADROOM_BYTES..].to_vec()),
        Progress::Waiting | Progress::Displaced | Progress::Malformed => None,
    }
}

#[test]
fn pieces_in_any_order_make_the_frame() {
    let now = Instant::now();
    let mut pieces = Pieces::default();
    assert!(whole(pieces.accept(P, 0, piece(1, 6, 8), b"gh", now)).is_none());
    assert!(whole(pieces.accept(P, 0, piece(1, 0, 8), b"abc", now)).is_none());
    assert_eq!(whole(pieces.accept(P, 0, piece(1, 3, 8), b"def", now)), Some(b"abcdefgh".to_vec()));
}

#[test]
fn frames_of_others_are_others() {
    let now = Instant::now();
    let mut pieces = Pieces::default();
    for (peer, queue, number, frame_bytes) in [(P, 0, 2, 4), (P, 1, 1, 4), (PeerIndex(4), 0, 1, 4), (P, 0, 1, 5)] {
        assert!(whole(pieces.accept(peer, queue, piece(number, 0, frame_bytes), b"xx", now)).is_none());
    }
    assert!(whole(pieces.accept(P, 0, piece(1, 0, 4), b"ab", now)).is_none());
    assert_eq!(whole(pieces.accept(P, 0, piece(1, 2, 4), b"cd", now)), Some(b"abcd".to_vec()));
}

#[test]
fn a_piece_outside_its_frame_is_refused() {
    let now = Instant::now();
    let mut pieces = Pieces::default();
    for (offset, bytes) in [(3, &b"ab"[..]), (u16::MAX, b"a"), (0, b"abcde"), (0, b"")] {
        assert!(matches!(pieces.accept(P, 0, piece(1, offset, 4), bytes, now), Progress::Malformed));
    }
}

#[test]
fn an_incomplete_frame_gives_way_and_shows_none_of_its_bytes() {
    let now = Instant::now();
    let mut pieces = Pieces::default();
    for number in 0..16 {
        assert!(matches!(pieces.accept(P, 0, piece(number, 0, 9), b"secret", now), Progress::Waiting));
    }
    assert!(matches!(pieces.accept(P, 0, piece(100, 0, 9), b"ab", now), Progress::Displaced));
    // A peer that sends the same part twice gets zeros for the other.
    pieces.accept(P, 0, piece(100, 0, 9), b"ab", now);
    let frame = whole(pieces.accept(P, 0, piece(100, 0, 9), b"abcde", now)).unwrap();
    assert_eq!(frame, b"abcde\0\0\0\0");
}

#[test]
fn a_number_that_comes_round_does_not_meet_its_former_frame() {
    let now = Instant::now();
    let mut pieces = Pieces::default();
    pieces.accept(P, 0, piece(1, 0, 4), b"ol", now);
    let later = now + LIFETIME;
    assert!(whole(pieces.accept(P, 0, piece(1, 2, 4), b"w!", later)).is_none());
    assert_eq!(whole(pieces.accept(P, 0, piece(1, 0, 4), b"ne", later)), Some(b"new!".to_vec()));
}
