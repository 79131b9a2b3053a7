//! Hashes and signatures of encoded values.
//!
//! Decides whether bytes are what their author signed. Knows nothing of what they say.

use blake2::{Blake2s256, Digest};
use ed25519_dalek::{Signer, SigningKey, VerifyingKey};
use serde::Serialize;
use wire::{Hash, Identity, Signature, Verify, encode};

/// The hash of a value's encoding.
pub(crate) fn hash_of<T: Serialize>(version: u8, value: &T) -> Hash {
    hash_bytes(&encode(version, value))
}

pub(crate) fn hash_bytes(bytes: &[u8]) -> Hash {
    Hash(Blake2s256::digest(bytes).into())
}

/// The hash of bytes that follow one another.
pub(crate) fn hash_parts<'a>(parts: impl Iterator<Item = &'a [u8]>) -> Hash {
    let mut hasher = Blake2s256::new();
    parts.for_each(|part| hasher.update(part));
    Hash(hasher.finalize().into())
}

/// Signs a value's encoding.
pub(crate) fn sign<T: Serialize>(key: &SigningKey, version: u8, value: &T) -> Signature {
    Signature(key.sign(&encode(version, value)).to_bytes())
}

/// Whether the author signed the value's encoding.
pub(crate) fn is_signed_by<T: Serialize>(
    verify: Verify,
    author: Identity,
    version: u8,
    value: &T,
    signature: &Signature,
) -> bool {
    verify(author, &encode(version, value), signature)
}

/// Strict Ed25519: a signature names one key and one message.
pub(crate) fn verify(author: Identity, bytes: &[u8], signature: &Signature) -> bool {
    #[cfg(test)]
    return memo::remembered(author, bytes, signature);
    #[cfg(not(test))]
    check(author, bytes, signature)
}

fn check(author: Identity, bytes: &[u8], signature: &Signature) -> bool {
    let signature = ed25519_dalek::Signature::from_bytes(&signature.0);
    VerifyingKey::from_bytes(&author.0).is_ok_and(|key| key.verify_strict(bytes, &signature).is_ok())
}

/// An exploration sees the same few signatures a million times: each is checked once.
#[cfg(test)]
mod memo {
    use std::cell::RefCell;
    use std::collections::BTreeMap;

    use wire::{Identity, Signature};

    type Question = (Identity, Vec<u8>, [u8; 64]);

    thread_local! {
        static SEEN: RefCell<BTreeMap<Question, bool>> = const { RefCell::new(BTreeMap::new()) };
    }

    pub(super) fn remembered(author: Identity, bytes: &[u8], signature: &Signature) -> bool {
        SEEN.with_borrow_mut(|seen| {
            let key = (author, bytes.to_vec(), signature.0);
            if let Some(verdict) = seen.get(&key) {
                return *verdict;
            }
            let verdict = super::check(author, bytes, signature);
            seen.insert(key, verdict);
            verdict
        })
    }
}
