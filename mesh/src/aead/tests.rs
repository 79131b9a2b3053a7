//! Both implementations write the same bytes, limits hold, and nothing that was touched opens.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn sealer(suite: Suite, key: &[u8; 32]) -> Sealer {
    Sealer::new(suite, key, Kind::Data, 3, 0xdead_beef)
}

fn suites() -> impl Strategy<Value = Suite> {
    prop_oneof![Just(Suite::ChaCha20Poly1305), Just(Suite::Aes256Gcm)]
}

/// A buffer with room around the plaintext.
fn with_room(plaintext: &[u8]) -> Vec<u8> {
    [&[0; HEADER_BYTES], plaintext, &[0; TAG_BYTES]].concat()
}

proptest! {
    #[test]
    fn the_fast_and_the_portable_cipher_write_the_same_bytes(
        key in any::<[u8; 32]>(), counter in any::<u64>(), header in any::<[u8; 16]>(), text in vec(any::<u8>(), 0..300)
    ) {
        let (fast, portable) = (cipher(Suite::ChaCha20Poly1305, &key), portable(&key));
        let (mut left, mut right) = (text.clone(), text.clone());
        let tag = fast.seal(&nonce(counter), &header, &mut left).unwrap();
        prop_assert_eq!(Some(tag), portable.seal(&nonce(counter), &header, &mut right));
        prop_assert_eq!(&left, &right);
        left.extend(tag);
        right.extend(tag);
        prop_assert_eq!(portable.open(&nonce(counter), &header, &mut left).unwrap(), &text[..]);
        prop_assert_eq!(fast.open(&nonce(counter), &header, &mut right).unwrap(), &text[..]);
    }

    #[test]
    fn what_is_sealed_opens_once(suite in suites(), key in any::<[u8; 32]>(), text in vec(any::<u8>(), 0..2000)) {
        let (mut sealer, mut opener) = (sealer(suite, &key), Opener::new(suite, &key));
        let mut datagram = with_room(&text);
        sealer.seal(&mut datagram).unwrap();
        let mut copy = datagram.clone();
        prop_assert_eq!(opener.open(&mut copy).unwrap(), &text[..]);
        prop_assert_eq!(opener.open(&mut datagram), Err(OpenError::Replayed { counter: 0 }));
    }

    #[test]
    fn one_changed_bit_is_enough(suite in suites(), text in vec(any::<u8>(), 0..100), at in any::<prop::sample::Index>(), bit in 0u8..8) {
        let (mut sealer, mut opener) = (sealer(suite, &[7; 32]), Opener::new(suite, &[7; 32]));
        let mut datagram = with_room(&text);
        sealer.seal(&mut datagram).unwrap();
        let mut forged = datagram.clone();
        forged[at.index(datagram.len())] ^= 1 << bit;
        prop_assert!(opener.open(&mut forged).is_err());
        prop_assert!(opener.open(&mut datagram).is_ok(), "a forgery moved the window");
    }

    #[test]
    fn any_bytes_are_opened_or_refused(mut bytes in vec(any::<u8>(), 0..100)) {
        let _ = Opener::new(Suite::Aes256Gcm, &[0; 32]).open(&mut bytes);
        let _ = sealer(Suite::Aes256Gcm, &[0; 32]).seal(&mut bytes);
    }
}

/// RFC 8439 §2.8.2, through the seam: its nonce is not of our form, so the cipher is asked directly.
#[test]
fn both_ciphers_agree_with_rfc_8439() {
    let key: [u8; 32] = core::array::from_fn(|i| 0x80 + i as u8);
    let text = *b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, sunscreen would be it.";
    let nonce = [7, 0, 0, 0, 0x40, 0x41, 0x42, 0x43, 0x44, 0x45, 0x46, 0x47];
    let mut expected = text;
    for cipher in [cipher(Suite::ChaCha20Poly1305, &key), portable(&key)] {
        // The associated data of the RFC has 12 bytes, ours 16: the ciphertext does not depend on it.
        cipher.seal(&nonce, &[0; 16], &mut expected).unwrap();
        assert_eq!(expected[..8], [0xd3, 0x1a, 0x8d, 0x34, 0x64, 0x8e, 0x60, 0xdb]);
        expected = text;
    }
}

#[test]
fn a_key_at_its_limit_seals_nothing_more() {
    for suite in [Suite::ChaCha20Poly1305, Suite::Aes256Gcm] {
        let mut sealer = sealer(suite, &[1; 32]);
        sealer.skip_to(suite.soft_limit() - 1);
        assert!(!sealer.is_worn());
        sealer.seal(&mut [0; 32]).unwrap();
        assert!(sealer.is_worn());
        sealer.skip_to(suite.hard_limit() - 1);
        sealer.seal(&mut [0; 32]).unwrap();
        assert_eq!(sealer.seal(&mut [0; 32]), Err(SealError::Exhausted));
    }
}

#[test]
fn counters_rise_by_one_and_the_header_says_which() {
    let mut sealer = sealer(Suite::ChaCha20Poly1305, &[1; 32]);
    for counter in 0..5 {
        let mut datagram = [0; 40];
        sealer.seal(&mut datagram).unwrap();
        assert_eq!(
            Header::parse(&datagram),
            Ok(Header { kind: Kind::Data, queue: 3, course: Course::Direct, receiver: 0xdead_beef, counter })
        );
    }
    assert_eq!(sealer.sealed(), 5);
}
