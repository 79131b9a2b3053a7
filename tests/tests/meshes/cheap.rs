//! Primitives that a thousand routers in one process can afford: half a million handshakes at a start, as many again in ten
//! minutes of churn, and every member's signature checked by every other member.
//!
//! What stays real is all that a mistake of the mesh's could be in: Noise's state machine and its messages, who may call whom,
//! mac1 and cookies, the derivation of keys, the sealing of every envelope, its counters and its replay window, and Ed25519.
//! What is cheap binds all the same. The group is small, so that an attacker could take logarithms, but only the two holders of
//! the secrets agree; hash and tag are no match for somebody who looks for collisions, but another key, a changed byte, a
//! transcript that differs anywhere give another tag. A signature is checked once in the process, whoever asks: the same
//! question has the same answer.

use std::{cell::RefCell, collections::HashMap};

use mesh::{Primitives, Secret};
use snow::{
    Error,
    params::{CipherChoice, DHChoice, HashChoice},
    resolvers::CryptoResolver,
    types::{Cipher, Dh, Hash, Random},
};
use wire::{Identity, Signature};

/// They are.
pub(crate) fn primitives() -> Primitives {
    Primitives { noise: || Box::new(Cheap), verify }
}

/// The public half of a handshake key.
pub(crate) fn noise_public(secret: &Secret) -> [u8; 32] {
    padded(power(GENERATOR, exponent(secret.bytes())))
}

/// Ed25519, each question once.
pub(crate) fn verify(identity: Identity, message: &[u8], signature: &Signature) -> bool {
    thread_local! {
        static SEEN: RefCell<HashMap<Vec<u8>, bool>> = RefCell::default();
    }
    let question = [&identity.0[..], &signature.0, message].concat();
    SEEN.with_borrow_mut(|seen| *seen.entry(question).or_insert_with(|| mesh::verify(identity, message, signature)))
}

struct Cheap;

impl CryptoResolver for Cheap {
    /// The mesh brings its own.
    fn resolve_rng(&self) -> Option<Box<dyn Random>> {
        None
    }

    fn resolve_dh(&self, _: &DHChoice) -> Option<Box<dyn Dh>> {
        Some(Box::new(Pair::default()))
    }

    fn resolve_hash(&self, _: &HashChoice) -> Option<Box<dyn Hash>> {
        Some(Box::new(Digest::default()))
    }

    fn resolve_cipher(&self, _: &CipherChoice) -> Option<Box<dyn Cipher>> {
        Some(Box::new(Stream::default()))
    }
}

/// Diffie-Hellman modulo 2^61 - 1.
#[derive(Default)]
struct Pair {
    secret: [u8; 32],
    public: [u8; 32],
}

impl Dh for Pair {
    fn name(&self) -> &'static str {
        "25519"
    }

    fn pub_len(&self) -> usize {
        32
    }

    fn priv_len(&self) -> usize {
        32
    }

    fn set(&mut self, secret: &[u8]) {
        self.secret.copy_from_slice(secret);
        self.public = padded(power(GENERATOR, exponent(&self.secret)));
    }

    fn generate(&mut self, random: &mut dyn Random) -> Result<(), Error> {
        let mut secret = [0; 32];
        random.try_fill_bytes(&mut secret)?;
        self.set(&secret);
        Ok(())
    }

    fn pubkey(&self) -> &[u8] {
        &self.public
    }

    fn privkey(&self) -> &[u8] {
        &self.secret
    }

    fn dh(&self, public: &[u8], out: &mut [u8]) -> Result<(), Error> {
        let base = public.first_chunk().map(|bytes| u64::from_le_bytes(*bytes)).ok_or(Error::Dh)?;
        let shared = padded(power(base, exponent(&self.secret)));
        out.get_mut(..32).ok_or(Error::Dh)?.copy_from_slice(&shared);
        Ok(())
    }
}

fn exponent(secret: &[u8; 32]) -> u64 {
    let [word, ..] = Digest::of(&[secret]);
    word % PRIME
}

fn power(base: u64, exponent: u64) -> u64 {
    let times = |left: u64, right: u64| {
        let product = u128::from(left) * u128::from(right);
        #[expect(clippy::cast_possible_truncation, reason = "61 bits each")]
        let sum = (product as u64 & PRIME) + (product >> 61) as u64;
        if sum >= PRIME { sum - PRIME } else { sum }
    };
    let (mut result, mut square, mut left) = (1, base % PRIME, exponent);
    while left > 0 {
        if left % 2 == 1 {
            result = times(result, square);
        }
        square = times(square, square);
        left /= 2;
    }
    result
}

fn padded(number: u64) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.iter_mut().zip(number.to_le_bytes()).for_each(|(byte, part)| *byte = part);
    bytes
}

/// 256 bits of multiplications and rotations, over what was put in and how much it was.
#[derive(Default)]
struct Digest {
    state: [u64; 4],
    /// What does not fill a block yet.
    rest: [u8; 32],
    length: usize,
}

impl Digest {
    fn of(pieces: &[&[u8]]) -> [u64; 4] {
        let mut digest = Self::default();
        pieces.iter().for_each(|piece| digest.input(piece));
        digest.end()
    }

    fn absorb(&mut self, block: &[u8; 32]) {
        for ((lane, odd), bytes) in self.state.iter_mut().zip(ODD).zip(block.as_chunks::<8>().0) {
            *lane = (*lane ^ u64::from_le_bytes(*bytes)).wrapping_mul(odd).rotate_left(29);
        }
        self.stir();
    }

    fn stir(&mut self) {
        let [mut a, mut b, mut c, mut d] = self.state;
        a = a.wrapping_add(b ^ ODD[0]);
        d = (d ^ a).rotate_left(32);
        c = c.wrapping_add(d);
        b = (b ^ c).rotate_left(24).wrapping_mul(ODD[1]);
        a = a.wrapping_add(b);
        d = (d ^ a).rotate_left(16);
        c = c.wrapping_add(d);
        b = (b ^ c).rotate_left(63);
        self.state = [a, b, c, d];
    }

    fn end(&mut self) -> [u64; 4] {
        let filled = self.length % 32;
        self.rest.iter_mut().skip(filled).for_each(|byte| *byte = 0);
        let mut last = std::mem::take(&mut self.rest);
        self.absorb(&last);
        last = padded(self.length as u64);
        self.absorb(&last);
        (0..4).for_each(|_| self.stir());
        std::mem::take(self).state
    }
}

impl Hash for Digest {
    fn name(&self) -> &'static str {
        "BLAKE2s"
    }

    fn block_len(&self) -> usize {
        64
    }

    fn hash_len(&self) -> usize {
        32
    }

    fn reset(&mut self) {
        *self = Self::default();
    }

    fn input(&mut self, data: &[u8]) {
        let filled = self.length % 32;
        self.length += data.len();
        let room = self.rest.get_mut(filled..).unwrap_or_default();
        let (first, others) = data.split_at(room.len().min(data.len()));
        room.iter_mut().zip(first).for_each(|(byte, part)| *byte = *part);
        if filled + first.len() < 32 {
            return;
        }
        let block = self.rest;
        self.absorb(&block);
        let (blocks, end) = others.as_chunks::<32>();
        blocks.iter().for_each(|block| self.absorb(block));
        self.rest.iter_mut().zip(end).for_each(|(byte, part)| *byte = *part);
    }

    fn result(&mut self, out: &mut [u8]) {
        let words = self.end().map(u64::to_le_bytes);
        out.iter_mut().zip(words.as_flattened()).for_each(|(byte, part)| *byte = *part);
    }

    /// Each output from its number, the chaining key and the new key.
    fn hkdf(&mut self, chain: &[u8], key: &[u8], outputs: usize, one: &mut [u8], two: &mut [u8], three: &mut [u8]) {
        let chain = chain.get(..32).unwrap_or(chain);
        for (number, out) in (1u8..).zip([one, two, three]).take(outputs) {
            self.reset();
            [&[number][..], chain, key].iter().for_each(|piece| self.input(piece));
            self.result(out);
        }
    }
}

/// What is exclusive-ored with a text, and the tag of key, nonce, associated data and ciphertext.
#[derive(Default)]
struct Stream {
    key: [u8; 32],
}

impl Stream {
    fn apply(&self, nonce: u64, text: &mut [u8]) {
        for (number, chunk) in (0u64..).zip(text.chunks_mut(32)) {
            let words = Digest::of(&[&self.key, &nonce.to_le_bytes(), &number.to_le_bytes()]).map(u64::to_le_bytes);
            chunk.iter_mut().zip(words.as_flattened()).for_each(|(byte, part)| *byte ^= part);
        }
    }

    fn tag(&self, nonce: u64, associated: &[u8], sealed: &[u8]) -> [u8; TAG] {
        let lengths = (associated.len() as u64).to_le_bytes();
        let [a, b, ..] = Digest::of(&[b"tag", &self.key, &nonce.to_le_bytes(), &lengths, associated, sealed]);
        (u128::from(a) << 64 | u128::from(b)).to_le_bytes()
    }
}

impl Cipher for Stream {
    fn name(&self) -> &'static str {
        "ChaChaPoly"
    }

    fn set(&mut self, key: &[u8; 32]) {
        self.key = *key;
    }

    fn encrypt(&self, nonce: u64, associated: &[u8], text: &[u8], out: &mut [u8]) -> usize {
        let (sealed, rest) = out.split_at_mut(text.len());
        sealed.copy_from_slice(text);
        self.apply(nonce, sealed);
        let tag = self.tag(nonce, associated, sealed);
        rest.iter_mut().zip(tag).for_each(|(byte, part)| *byte = part);
        text.len() + TAG
    }

    fn decrypt(&self, nonce: u64, associated: &[u8], sealed: &[u8], out: &mut [u8]) -> Result<usize, Error> {
        let (sealed, tag) = sealed.split_last_chunk::<TAG>().ok_or(Error::Decrypt)?;
        let text = out.get_mut(..sealed.len()).ok_or(Error::Decrypt)?;
        if self.tag(nonce, associated, sealed) != *tag {
            return Err(Error::Decrypt);
        }
        text.copy_from_slice(sealed);
        self.apply(nonce, text);
        Ok(sealed.len())
    }
}

const PRIME: u64 = (1 << 61) - 1;
const GENERATOR: u64 = 37;
const TAG: usize = 16;
/// The odd constants of splitmix64 and of xxhash.
const ODD: [u64; 4] = [0x9e37_79b9_7f4a_7c15, 0xbf58_476d_1ce4_e5b9, 0x94d0_49bb_1331_11eb, 0xc2b2_ae3d_27d4_eb4f];
