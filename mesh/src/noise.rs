//! The two Noise patterns, with our randomness and our prologue.
//!
//! Owns the names, the prologue and what pre-shared key is used when there is no secret to share. Knows no message of ours.

use snow::params::{CipherChoice, DHChoice, HashChoice, NoiseParams};
use snow::resolvers::{BoxedCryptoResolver, CryptoResolver};
use snow::types::{Cipher, Dh, Hash, Random};
use snow::{Builder, HandshakeState};
use wire::{ClusterId, Identity};
use zeroize::Zeroizing;

use crate::digest::hash;
use crate::identity::Secret;
use crate::primitives::Primitives;
use crate::rng::Rng;

/// One side of a handshake about to begin.
pub(crate) struct Party<'a> {
    pub(crate) cluster: &'a ClusterId,
    pub(crate) noise_key: &'a Secret,
    /// Where the ephemeral key comes from: never used for anything else.
    pub(crate) seed: [u8; 32],
    pub(crate) primitives: Primitives,
}

impl Party<'_> {
    /// Calls a known peer.
    pub(crate) fn call(self, remote: &[u8; 32], psk: &[u8; 32]) -> Result<HandshakeState, snow::Error> {
        let prologue = prologue(self.cluster, &[]);
        let builder = self.builder(KNOWN)?.prologue(&prologue)?.psk(PSK, psk)?;
        builder.local_private_key(self.noise_key.bytes())?.remote_public_key(remote)?.build_initiator()
    }

    /// Answers a known peer. Its first message says who it is; the psk follows from that ([`between`]).
    pub(crate) fn answer(self) -> Result<HandshakeState, snow::Error> {
        let prologue = prologue(self.cluster, &[]);
        let builder = self.builder(KNOWN)?.prologue(&prologue)?;
        builder.local_private_key(self.noise_key.bytes())?.build_responder()
    }

    /// Calls a stranger with whom it shares a secret; `context` is what was said in clear before.
    pub(crate) fn apply(self, secret: &Secret, context: &[u8]) -> Result<HandshakeState, snow::Error> {
        let prologue = prologue(self.cluster, context);
        let builder = self.builder(FIRST_CONTACT)?.prologue(&prologue)?.psk(3, secret.bytes())?;
        builder.local_private_key(self.noise_key.bytes())?.build_initiator()
    }

    /// Answers a stranger.
    pub(crate) fn sponsor(self, secret: &Secret, context: &[u8]) -> Result<HandshakeState, snow::Error> {
        let prologue = prologue(self.cluster, context);
        let builder = self.builder(FIRST_CONTACT)?.prologue(&prologue)?.psk(3, secret.bytes())?;
        builder.local_private_key(self.noise_key.bytes())?.build_responder()
    }

    fn builder<'a>(&self, pattern: &str) -> Result<Builder<'a>, snow::Error> {
        let params: NoiseParams = pattern.parse()?;
        let (seed, primitives) = (Zeroizing::new(self.seed), (self.primitives.noise)());
        Ok(Builder::with_resolver(params, Box::new(Seeded { seed, primitives })))
    }
}

/// The two directions' secrets of a finished handshake, and nothing that could make them again.
pub(crate) struct Split {
    pub(crate) send: Zeroizing<[u8; 32]>,
    pub(crate) receive: Zeroizing<[u8; 32]>,
}

impl Split {
    pub(crate) fn of(mut noise: HandshakeState) -> Self {
        let (to_responder, to_initiator) = noise.dangerously_get_raw_split();
        let (to_responder, to_initiator) = (Zeroizing::new(to_responder), Zeroizing::new(to_initiator));
        if noise.is_initiator() {
            Self { send: to_responder, receive: to_initiator }
        } else {
            Self { send: to_initiator, receive: to_responder }
        }
    }
}

fn prologue(cluster: &ClusterId, context: &[u8]) -> Vec<u8> {
    [b"raddle 1", &cluster.0[..], context].concat()
}

/// Members share no secret beyond their keys: the psk of IKpsk2 is a public function of who speaks with whom, as each of
/// them sees it. Whoever lists another's handshake key under an identity of its own gains no session by it.
pub(crate) fn between(cluster: &ClusterId, caller: Identity, callee: Identity) -> [u8; 32] {
    hash(&[b"raddle psk 2", &cluster.0, &caller.0, &callee.0])
}

/// Where the pattern wants it: with the second message.
pub(crate) const PSK: u8 = 2;

/// The primitives, with a generator that asks no operating system.
struct Seeded {
    seed: Zeroizing<[u8; 32]>,
    primitives: BoxedCryptoResolver,
}

impl CryptoResolver for Seeded {
    fn resolve_rng(&self) -> Option<Box<dyn Random>> {
        Some(Box::new(Rng::new(&self.seed)))
    }

    fn resolve_dh(&self, choice: &DHChoice) -> Option<Box<dyn Dh>> {
        self.primitives.resolve_dh(choice)
    }

    fn resolve_hash(&self, choice: &HashChoice) -> Option<Box<dyn Hash>> {
        self.primitives.resolve_hash(choice)
    }

    fn resolve_cipher(&self, choice: &CipherChoice) -> Option<Box<dyn Cipher>> {
        self.primitives.resolve_cipher(choice)
    }
}

impl Random for Rng {
    fn try_fill_bytes(&mut self, dest: &mut [u8]) -> Result<(), snow::Error> {
        self.fill(dest);
        Ok(())
    }
}

/// WireGuard's pattern, whose proofs are about exactly this.
const KNOWN: &str = "Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s";
/// psk3, not psk0: a listener cannot test guesses of a password on the first message.
const FIRST_CONTACT: &str = "Noise_XXpsk3_25519_ChaChaPoly_BLAKE2s";
