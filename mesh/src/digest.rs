//! BLAKE2s, plain and keyed, over several pieces: the one hash of the mesh.
//!
//! Owns how pieces are joined (each key and label has a fixed length or ends the input, so nothing is ambiguous).
//! Knows no protocol.

use blake2::digest::consts::{U16, U32};
use blake2::digest::{FixedOutput, KeyInit, Update};
use blake2::{Blake2s256, Blake2sMac, Digest};
use zeroize::Zeroizing;

/// BLAKE2s-256 of the pieces one after the other.
pub(crate) fn hash(pieces: &[&[u8]]) -> [u8; 32] {
    let mut digest = Blake2s256::default();
    for piece in pieces {
        Digest::update(&mut digest, piece);
    }
    Digest::finalize(digest).into()
}

/// A key made from a key, by keyed BLAKE2s-256 over a label and more.
pub(crate) fn derive(key: &[u8; 32], pieces: &[&[u8]]) -> Zeroizing<[u8; 32]> {
    let mut mac = Blake2sMac::<U32>::new(&(*key).into());
    for piece in pieces {
        Update::update(&mut mac, piece);
    }
    Zeroizing::new(mac.finalize_fixed().into())
}

/// A 16-byte keyed BLAKE2s, for mac1, mac2 and cookies.
pub(crate) fn mac16(key: &[u8], pieces: &[&[u8]]) -> [u8; 16] {
    let Ok(mut mac) = Blake2sMac::<U16>::new_from_slice(key) else {
        return [0; 16]; // BLAKE2s takes keys of 1 to 32 bytes, and ours have 16 or 32
    };
    for piece in pieces {
        Update::update(&mut mac, piece);
    }
    mac.finalize_fixed().into()
}

/// Whether two MACs are equal, in a time that does not depend on where they differ.
pub(crate) fn equal(left: &[u8; 16], right: &[u8]) -> bool {
    left.len() == right.len() && left.iter().zip(right).fold(0u8, |sum, (a, b)| sum | (a ^ b)) == 0
}
