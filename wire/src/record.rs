//! What is signed: the genesis, certificates and the ledger's records.
//!
//! Owns their encoding, which is what a signature covers and a hash names. Knows no key and verifies nothing.
//!
//! An encoded value is one version byte and then the value in postcard: a reader refuses a version it does not know
//! before it looks at another byte.

use std::net::SocketAddr;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::id::{Epoch, Hash, Identity, NetworkId, PeerName, Slot};
use crate::network::Network;

/// The version of [`Genesis`] this crate writes.
pub const GENESIS_VERSION: u8 = 1;
/// The version of [`Certificate`] this crate writes.
pub const CERTIFICATE_VERSION: u8 = 2;
/// The version of [`Record`] this crate writes.
pub const RECORD_VERSION: u8 = 2;

/// How a cluster begins. Its hash is the cluster's id; it never changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Genesis {
    /// The networks that exist from the start.
    pub networks: Vec<Network>,
    /// Slots in a block, a power of two.
    pub block_slots: u32,
    /// Who owns every pool at epoch 0.
    pub first: Identity,
    /// The Ed25519 public key of the cluster's certificate authority.
    pub authority: [u8; 32],
    /// Random, so that two clusters made alike are still two.
    pub nonce: [u8; 16],
}

/// That an identity, its Noise key and its name belong together and to this cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// What is certified.
    pub title: Title,
    /// The identity's own Ed25519 signature over the encoded `title`: nobody else binds it to a key, first or later.
    pub consent: Signature,
    /// The issuer's Ed25519 signature over the encoded identity and name: that they are a member's. It outlasts renewals.
    pub voucher: Signature,
}

/// What a [`Certificate`] says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Title {
    /// The Ed25519 key that signs the member's records.
    pub identity: Identity,
    /// The X25519 key of its handshakes.
    pub noise_key: [u8; 32],
    /// What people call it. Unique in a cluster.
    pub name: PeerName,
    /// 1, and one more with every renewal; the higher one holds.
    pub generation: u32,
    /// The authority's key for the first member, a member's identity for every other. It stays the same, but where two have
    /// admitted the member without knowing of each other.
    pub issuer: Identity,
}

/// Slots `start .. start + length` of one network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Range {
    /// The network they are places of.
    pub network: NetworkId,
    /// The first slot.
    pub start: Slot,
    /// How many slots; at least one.
    pub length: u32,
}

impl Range {
    /// The slot after the last one. Saturates; a valid range ends inside its pool.
    #[must_use]
    pub fn end(&self) -> Slot {
        Slot(self.start.0.saturating_add(self.length))
    }

    /// Whether the slot lies in the range.
    #[must_use]
    pub fn contains(&self, slot: Slot) -> bool {
        self.start <= slot && slot < self.end()
    }

    /// Whether all of `other` lies in this range.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        self.network == other.network && self.start <= other.start && other.end() <= self.end()
    }
}

/// One entry of the ledger: from `epoch` on, `range` belongs to `owner`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// What is signed.
    pub body: RecordBody,
    /// The author's Ed25519 signature over the encoded `body`.
    pub signature: Signature,
}

/// The signed part of a [`Record`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordBody {
    /// Which slots.
    pub range: Range,
    /// Whose they are from now on.
    pub owner: Identity,
    /// One more than the record before; of a block that slots come home to, one more than any of what it ends.
    pub epoch: Epoch,
    /// Who wrote it: the owner until now (invariant I1).
    pub author: Identity,
    /// The hash of the record before: the range's own, or that of the range it is carved out of.
    pub previous: Hash,
    /// What comes home to a block; its owner stays the same then.
    pub home: Option<Homecoming>,
}

/// Single slots that were carved out of a block, and are the block owner's again: they end as ranges of their own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Homecoming {
    /// The newest record of each slot that is home.
    pub slots: Vec<Hash>,
    /// Every other slot that was carved out of the block before: it stays a range of its own.
    pub apart: Vec<Slot>,
}

/// An Ed25519 signature (RFC 8032).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Signature(pub [u8; 64]);

/// Whether a signature is this identity's, over these bytes.
pub type Verify = fn(Identity, &[u8], &Signature) -> bool;

impl std::fmt::Debug for Signature {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Signature({:02x}{:02x}…)", self.0[0], self.0[1])
    }
}

impl Serialize for Signature {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (left, right) = self.0.split_at(32);
        (<[u8; 32]>::try_from(left).unwrap_or_default(), <[u8; 32]>::try_from(right).unwrap_or_default())
            .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Signature {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (left, right) = <([u8; 32], [u8; 32])>::deserialize(deserializer)?;
        let mut bytes = [0; 64];
        bytes[..32].copy_from_slice(&left);
        bytes[32..].copy_from_slice(&right);
        Ok(Self(bytes))
    }
}

/// Where a member listens: its underlay addresses, IPv4 and IPv6, best first.
pub type Addresses = Vec<SocketAddr>;

/// Encodes a value behind its version byte.
#[must_use]
pub fn encode<T: Serialize>(version: u8, value: &T) -> Vec<u8> {
    // Serialising plain data into a growing vector has no way to fail.
    postcard::to_extend(value, vec![version]).unwrap_or_default()
}

/// Decodes what [`encode`] wrote. Total: any bytes give a value or an error.
///
/// # Errors
/// [`DecodeError`]; nothing is kept of the bytes.
pub fn decode<T: DeserializeOwned>(version: u8, bytes: &[u8]) -> Result<T, DecodeError> {
    let (&found, rest) = bytes.split_first().ok_or(DecodeError::Empty)?;
    if found != version {
        return Err(DecodeError::Version { found, known: version });
    }
    match postcard::take_from_bytes(rest) {
        Ok((value, [])) => Ok(value),
        Ok((_, rest)) => Err(DecodeError::Trailing { bytes: rest.len() }),
        Err(_) => Err(DecodeError::Malformed),
    }
}

/// Why bytes are not a value.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// There are none.
    #[error("no bytes")]
    Empty,
    /// The writer is newer or older: not a fault of the peer's.
    #[error("format version {found}, where this router reads {known}")]
    Version {
        /// What the bytes say.
        found: u8,
        /// What this crate reads.
        known: u8,
    },
    /// The bytes are not a value of that version.
    #[error("malformed value")]
    Malformed,
    /// A value, and then more.
    #[error("{bytes} bytes after the value")]
    Trailing {
        /// How many.
        bytes: usize,
    },
}

#[cfg(test)]
mod tests;
