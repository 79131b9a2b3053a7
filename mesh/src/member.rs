//! One member: who it is, and where it listens in its own words.
//!
//! Owns what is gossiped and stored of it. Knows nothing of who else there is.

use serde::{Deserialize, Serialize};
use wire::{Addresses, Certificate, Identity, PeerName, Signature, Verify, encode};

use crate::identity::{Purpose, Secret, is_signed, sign};

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

    /// What two routers compare of it.
    pub(crate) fn line(&self) -> Line {
        (self.identity(), self.certificate.title.generation, self.addresses.version)
    }
}

/// A member's underlay addresses, signed by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedAddresses {
    /// The addresses, best first, at most [`ADDRESSES_MOST`].
    pub addresses: Addresses,
    /// Boot counter, and how often they changed since: the higher one holds.
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

/// What is compared of a member: who it is, its certificate's generation, its addresses' version.
pub(crate) type Line = (Identity, u32, (u32, u32));

/// The version of [`Member`] this crate writes with [`wire::encode`].
pub const MEMBER_VERSION: u8 = 2;

/// A certificate that was never renewed has this one.
pub const FIRST_GENERATION: u32 = 1;

/// A host with more addresses than this lists its best ones.
pub const ADDRESSES_MOST: usize = 16;
