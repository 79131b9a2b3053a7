//! One member: who it is, and where it listens in its own words.
//!
//! Owns what is gossiped and stored of it. Knows nothing of who else there is.

use serde::{Deserialize, Serialize};
use wire::{Addresses, Certificate, Hash, Identity, PeerName, Signature, Verify, encode};

use crate::identity::{Purpose, Secret, hash_of, is_signed, sign};

/// One member, as it is gossiped and stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Who it is.
    pub certificate: Certificate,
    /// Where it listens, in its own words.
    pub addresses: SignedAddresses,
    /// Whether it has been taken out again.
    pub revoked: bool,
}

impl Member {
    /// Its identity.
    #[must_use]
    pub fn identity(&self) -> Identity {
        self.certificate.title.identity
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &PeerName {
        &self.certificate.title.name
    }

    /// The hash of what two routers compare of it: all that it has signed. Whether it is revoked is not the members' to say,
    /// and two signatures of one issuer under the same words are as good.
    pub(crate) fn line(&self) -> Hash {
        let SignedAddresses { addresses, version, .. } = &self.addresses;
        hash_of(&encode(MEMBER_VERSION, &(&self.certificate.title, addresses, version)))
    }
}

/// A member's underlay addresses, signed by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedAddresses {
    /// The addresses, best first, at most [`ADDRESSES_MOST`].
    pub addresses: Addresses,
    /// Boot counter, and how often they changed since: the higher one holds; of two alike, the higher list.
    pub version: (u32, u32),
    /// The member's signature over both.
    pub signature: Signature,
}

impl SignedAddresses {
    pub(crate) fn sign(mut addresses: Addresses, version: (u32, u32), key: &Secret) -> Self {
        addresses.truncate(ADDRESSES_MOST);
        let signature = sign(key, Purpose::Addresses, &[&encode(MEMBER_VERSION, &(&addresses, version))]);
        Self { addresses, version, signature }
    }

    /// Of two lists of one member the higher holds. One that signs two under one version, because it lies or because its disk
    /// was put back, must not have some believe the one and some the other.
    pub(crate) fn rank(&self) -> impl Ord {
        (self.version, &self.addresses)
    }

    pub(crate) fn is_signed_by(&self, verify: Verify, member: Identity) -> bool {
        let body = encode(MEMBER_VERSION, &(&self.addresses, self.version));
        self.addresses.len() <= ADDRESSES_MOST
            && is_signed(verify, member, Purpose::Addresses, &[&body], &self.signature)
    }
}

/// What is new about a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemberChange {
    /// It was not known.
    New,
    /// Its certificate or addresses are newer.
    Renewed,
}

/// The version of [`Member`] this crate writes with [`wire::encode`].
pub const MEMBER_VERSION: u8 = 2;

/// A certificate that was never renewed has this one.
pub const FIRST_GENERATION: u32 = 1;

/// A host with more addresses than this lists its best ones.
pub const ADDRESSES_MOST: usize = 16;
