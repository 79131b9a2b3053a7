//! Who a router is: its two secrets, what is derived from them, and the signatures that bind them to a name.
//!
//! Owns every use of an Ed25519 key in the mesh; each kind of signature has a label of its own, so that none can pass for
//! another. Knows nothing of who is a member.

use std::fmt;

use ed25519_dalek::{Signer, SigningKey, VerifyingKey};
use wire::{
    CERTIFICATE_VERSION, Certificate, ClusterId, GENESIS_VERSION, Genesis, Hash, Identity, Signature, Title, Verify,
    encode,
};
use zeroize::Zeroizing;

use crate::digest::hash;

/// 32 secret bytes: wiped when dropped, never shown.
#[derive(Clone)]
pub struct Secret(Zeroizing<[u8; 32]>);

impl Secret {
    /// Takes the bytes over. The caller's copy is the caller's to wipe.
    #[must_use]
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The identity whose signing key this is.
    #[must_use]
    pub fn identity(&self) -> Identity {
        Identity(SigningKey::from_bytes(&self.0).verifying_key().to_bytes())
    }

    /// The public half, if this is a handshake (X25519) key.
    #[must_use]
    pub fn noise_public(&self) -> [u8; 32] {
        x25519_dalek::PublicKey::from(&x25519_dalek::StaticSecret::from(*self.0)).to_bytes()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// What makes a router a member.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// Says that the keys and the name belong together and to this cluster.
    pub certificate: Certificate,
    /// The Ed25519 secret behind the identity.
    pub signing_key: Secret,
    /// The X25519 secret of its handshakes. A separate key, bound to the identity by the certificate.
    pub noise_key: Secret,
    /// How the cluster began.
    pub genesis: Genesis,
}

/// The id of the cluster a genesis begins (invariant I9).
#[must_use]
pub fn cluster_id(genesis: &Genesis) -> ClusterId {
    ClusterId(hash(&[&encode(GENESIS_VERSION, genesis)]))
}

/// Certifies a title. The keys must be the secrets behind `title.identity` and `title.issuer`.
#[must_use]
pub fn issue_certificate(title: Title, holder_key: &Secret, issuer_key: &Secret) -> Certificate {
    let (consent, voucher) = (consent(&title, holder_key), vouch(&title, issuer_key));
    Certificate { title, consent, voucher }
}

/// The identity's word that the title is its own.
pub(crate) fn consent(title: &Title, holder_key: &Secret) -> Signature {
    sign(holder_key, Purpose::Title, &[&encode(CERTIFICATE_VERSION, title)])
}

/// The issuer's word that an identity with this name is a member.
pub(crate) fn vouch(title: &Title, issuer_key: &Secret) -> Signature {
    sign(issuer_key, Purpose::Voucher, &[&vouched(title)])
}

/// Whether the identity itself says so.
pub(crate) fn is_consented(verify: Verify, title: &Title, consent: &Signature) -> bool {
    is_signed(verify, title.identity, Purpose::Title, &[&encode(CERTIFICATE_VERSION, title)], consent)
}

/// Whether the issuer it names vouches for it. Says nothing about whether that issuer may.
pub(crate) fn is_vouched_for(verify: Verify, certificate: &Certificate) -> bool {
    let title = &certificate.title;
    is_signed(verify, title.issuer, Purpose::Voucher, &[&vouched(title)], &certificate.voucher)
}

fn vouched(title: &Title) -> Vec<u8> {
    encode(CERTIFICATE_VERSION, &(title.identity, &title.name))
}

/// What a signature is for: the label in front of what it covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    Title,
    Voucher,
    Addresses,
}

impl Purpose {
    fn label(self) -> &'static [u8] {
        match self {
            Self::Title => b"raddle title 1\0",
            Self::Voucher => b"raddle voucher 1\0",
            Self::Addresses => b"raddle addresses 1\0",
        }
    }
}

pub(crate) fn sign(key: &Secret, purpose: Purpose, pieces: &[&[u8]]) -> Signature {
    let message = [purpose.label(), &pieces.concat()].concat();
    Signature(SigningKey::from_bytes(key.bytes()).sign(&message).to_bytes())
}

/// Whether the identity signed this for that purpose.
pub(crate) fn is_signed(
    verify: Verify,
    identity: Identity,
    purpose: Purpose,
    pieces: &[&[u8]],
    signature: &Signature,
) -> bool {
    verify(identity, &[purpose.label(), &pieces.concat()].concat(), signature)
}

/// Strict Ed25519 (no small-order keys, no malleable signatures): a signature names one key and one message.
#[must_use]
pub fn verify(identity: Identity, message: &[u8], signature: &Signature) -> bool {
    let signature = ed25519_dalek::Signature::from_bytes(&signature.0);
    VerifyingKey::from_bytes(&identity.0).is_ok_and(|key| key.verify_strict(message, &signature).is_ok())
}

/// The hash of an encoded value, as records name their predecessors.
#[must_use]
pub fn hash_of(encoded: &[u8]) -> Hash {
    Hash(hash(&[encoded]))
}

#[cfg(test)]
mod tests;
