//! Seals and opens envelopes in place: counters, key limits and replay windows belong to the thread that holds the
//! [`Sealer`] or [`Opener`].
//!
//! Owns the choice of implementation. Knows neither peers nor what is inside.

use aws_lc_rs::aead::{AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use chacha20poly1305::aead::inout::InOutBuf;
use chacha20poly1305::{AeadInOut, ChaCha20Poly1305, KeyInit};
use wire::envelope::{Course, HEADER_BYTES, Header, Kind, OVERHEAD_BYTES, TAG_BYTES};
use zeroize::Zeroizing;

use crate::replay::ReplayWindow;

/// How envelopes are sealed. Negotiated in the handshake; ChaCha20-Poly1305 is always available.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Suite {
    /// RFC 8439: fast everywhere.
    ChaCha20Poly1305 = 1,
    /// Three times as fast where the CPU has AES and carry-less multiplication.
    Aes256Gcm = 2,
}

impl Suite {
    /// What this CPU should offer, best first. AES only where it is hardware: in software it is slow and leaks timing.
    #[must_use]
    pub fn supported() -> &'static [Self] {
        if has_aes() { &[Self::Aes256Gcm, Self::ChaCha20Poly1305] } else { &[Self::ChaCha20Poly1305] }
    }

    /// The suite a number in a handshake stands for.
    #[must_use]
    pub fn of(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::ChaCha20Poly1305),
            2 => Some(Self::Aes256Gcm),
            _ => None,
        }
    }

    /// Its usual name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ChaCha20Poly1305 => "chacha20-poly1305",
            Self::Aes256Gcm => "aes-256-gcm",
        }
    }

    /// After so many envelopes under one key a new session is due.
    #[must_use]
    pub fn soft_limit(self) -> u64 {
        match self {
            Self::ChaCha20Poly1305 => 1 << 60, // WireGuard's REKEY_AFTER_MESSAGES
            Self::Aes256Gcm => 1 << 34,        // 2^34 × 1.5 KB keeps the forging advantage below 2^-50
        }
    }

    /// At so many sealing stops.
    #[must_use]
    pub fn hard_limit(self) -> u64 {
        match self {
            Self::ChaCha20Poly1305 => u64::MAX - (1 << 13), // WireGuard's REJECT_AFTER_MESSAGES: the window never wraps
            Self::Aes256Gcm => 1 << 36,
        }
    }
}

/// Seals the envelopes of one queue of one session. Not `Clone`: two of a kind would use a nonce twice.
pub struct Sealer {
    cipher: Box<dyn Aead>,
    kind: Kind,
    queue: u8,
    receiver: u32,
    counter: u64,
    soft_limit: u64,
    hard_limit: u64,
}

impl Sealer {
    pub(crate) fn new(suite: Suite, key: &[u8; 32], kind: Kind, queue: u8, receiver: u32) -> Self {
        let (soft_limit, hard_limit) = (suite.soft_limit(), suite.hard_limit());
        Self { cipher: cipher(suite, key), kind, queue, receiver, counter: 0, soft_limit, hard_limit }
    }

    /// One that seals seldom, with the suite every router has: a router holds thousands of them, and what a cipher prepares
    /// takes twenty times as much memory as the key.
    pub(crate) fn lean(key: &[u8; 32], kind: Kind, queue: u8, receiver: u32) -> Self {
        let suite = Suite::ChaCha20Poly1305;
        let (soft_limit, hard_limit) = (suite.soft_limit(), suite.hard_limit());
        let cipher = Box::new(Lean(Zeroizing::new(*key)));
        Self { cipher, kind, queue, receiver, counter: 0, soft_limit, hard_limit }
    }

    /// One that seals nothing: what a second asker for the same queue gets.
    pub(crate) fn exhausted(mut self) -> Self {
        self.counter = self.hard_limit;
        self
    }

    /// Seals `[16 bytes of room | plaintext | 16 bytes of room]` in place: writes the header, encrypts, appends the tag.
    ///
    /// # Errors
    /// [`SealError`]; the buffer's content is then undefined and must not be sent. The counter never goes back.
    pub fn seal(&mut self, datagram: &mut [u8]) -> Result<(), SealError> {
        self.seal_for(Course::Direct, datagram)
    }

    /// [`Self::seal`], for an envelope that goes this way.
    ///
    /// # Errors
    /// [`SealError`], as there.
    pub fn seal_for(&mut self, course: Course, datagram: &mut [u8]) -> Result<(), SealError> {
        if self.counter >= self.hard_limit {
            return Err(SealError::Exhausted);
        }
        let Some((header, sealed)) = datagram.split_first_chunk_mut::<HEADER_BYTES>() else {
            return Err(SealError::NoRoom);
        };
        let Some((plaintext, tag)) = sealed.split_last_chunk_mut::<TAG_BYTES>() else {
            return Err(SealError::NoRoom);
        };
        let Self { kind, queue, receiver, counter, .. } = *self;
        self.counter += 1;
        *header = Header { kind, queue, course, receiver, counter }.emit();
        *tag = self.cipher.seal(&nonce(counter), header, plaintext).ok_or(SealError::TooLong)?;
        Ok(())
    }

    /// How many envelopes it has sealed.
    #[must_use]
    pub fn sealed(&self) -> u64 {
        self.counter
    }

    /// Whether the key has been used so often that a new session is due.
    #[must_use]
    pub fn is_worn(&self) -> bool {
        self.counter >= self.soft_limit
    }

    /// As if so many envelopes had been sealed already.
    #[cfg(test)]
    pub(crate) fn skip_to(&mut self, counter: u64) {
        self.counter = counter;
    }
}

/// Opens the envelopes of one of the peer's queues of one session, each at most once.
pub struct Opener {
    cipher: Box<dyn Aead>,
    window: ReplayWindow,
}

impl Opener {
    pub(crate) fn new(suite: Suite, key: &[u8; 32]) -> Self {
        Self { cipher: cipher(suite, key), window: ReplayWindow::new() }
    }

    /// As [`Sealer::lean`].
    pub(crate) fn lean(key: &[u8; 32]) -> Self {
        Self { cipher: Box::new(Lean(Zeroizing::new(*key))), window: ReplayWindow::growing() }
    }

    /// Whether no later counter has been opened: only then may the sender's address be followed.
    #[must_use]
    pub fn is_newest(&self, counter: u64) -> bool {
        self.window.newest().is_none_or(|newest| counter >= newest)
    }

    /// Opens an envelope in place and returns the plaintext inside it. The replay window is asked before and moved after.
    ///
    /// # Errors
    /// [`OpenError`]; the window is then as before, the buffer's content undefined.
    pub fn open<'a>(&mut self, datagram: &'a mut [u8]) -> Result<&'a mut [u8], OpenError> {
        let header = Header::parse(datagram).map_err(|_| OpenError::Malformed)?;
        if !self.window.is_fresh(header.counter) {
            return Err(OpenError::Replayed { counter: header.counter });
        }
        let (header_bytes, sealed) = datagram.split_first_chunk_mut::<HEADER_BYTES>().ok_or(OpenError::Malformed)?;
        let plaintext = self.cipher.open(&nonce(header.counter), header_bytes, sealed).ok_or(OpenError::Forged)?;
        self.window.commit(header.counter);
        Ok(plaintext)
    }
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sealer").field("queue", &self.queue).field("counter", &self.counter).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Opener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Opener").field("window", &self.window).finish_non_exhaustive()
    }
}

/// Why nothing was sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The key has sealed all it may; the session must be replaced.
    #[error("the key's counter is at its limit")]
    Exhausted,
    /// The buffer has no room for header and tag: a mistake of the caller's.
    #[error("the buffer is shorter than an empty envelope of {OVERHEAD_BYTES} bytes")]
    NoRoom,
    /// Longer than the cipher can seal.
    #[error("the plaintext is too long for the cipher")]
    TooLong,
}

/// Why an envelope was not opened. Nothing changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// Not a sealed envelope of this version.
    #[error("not an envelope")]
    Malformed,
    /// Seen before, or older than the window.
    #[error("counter {counter} was seen before or is too old")]
    Replayed {
        /// The envelope's counter.
        counter: u64,
    },
    /// The tag does not fit: another key, another session, or changed on the way.
    #[error("the tag does not authenticate the envelope")]
    Forged,
}

/// One key of one cipher. Both sides of the seam that lets implementations differ while bytes do not.
trait Aead: Send {
    /// Encrypts in place and returns the tag.
    fn seal(&self, nonce: &[u8; 12], associated: &[u8; HEADER_BYTES], plaintext: &mut [u8]) -> Option<[u8; TAG_BYTES]>;

    /// Decrypts `ciphertext ‖ tag` in place and returns the plaintext.
    fn open<'a>(&self, nonce: &[u8; 12], associated: &[u8; HEADER_BYTES], sealed: &'a mut [u8])
    -> Option<&'a mut [u8]>;
}

/// aws-lc: assembly for every CPU we care about, both suites.
struct Fast(LessSafeKey);

impl Aead for Fast {
    fn seal(&self, nonce: &[u8; 12], associated: &[u8; HEADER_BYTES], plaintext: &mut [u8]) -> Option<[u8; TAG_BYTES]> {
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let tag = self.0.seal_in_place_separate_tag(nonce, Aad::from(associated), plaintext).ok()?;
        tag.as_ref().try_into().ok()
    }

    fn open<'a>(
        &self,
        nonce: &[u8; 12],
        associated: &[u8; HEADER_BYTES],
        sealed: &'a mut [u8],
    ) -> Option<&'a mut [u8]> {
        self.0.open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(associated), sealed).ok()
    }
}

/// ChaCha20-Poly1305, prepared anew for each envelope: a tenth of a microsecond.
struct Lean(Zeroizing<[u8; 32]>);

impl Lean {
    fn prepared(&self) -> Option<Fast> {
        Some(Fast(LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, self.0.as_slice()).ok()?)))
    }
}

impl Aead for Lean {
    fn seal(&self, nonce: &[u8; 12], associated: &[u8; HEADER_BYTES], plaintext: &mut [u8]) -> Option<[u8; TAG_BYTES]> {
        self.prepared()?.seal(nonce, associated, plaintext)
    }

    fn open<'a>(
        &self,
        nonce: &[u8; 12],
        associated: &[u8; HEADER_BYTES],
        sealed: &'a mut [u8],
    ) -> Option<&'a mut [u8]> {
        self.prepared()?.open(nonce, associated, sealed)
    }
}

/// The portable implementation of the suite every router has.
struct Portable(ChaCha20Poly1305);

impl Aead for Portable {
    fn seal(&self, nonce: &[u8; 12], associated: &[u8; HEADER_BYTES], plaintext: &mut [u8]) -> Option<[u8; TAG_BYTES]> {
        let tag = self.0.encrypt_inout_detached(nonce.into(), associated, InOutBuf::from(plaintext)).ok()?;
        Some(tag.into())
    }

    fn open<'a>(
        &self,
        nonce: &[u8; 12],
        associated: &[u8; HEADER_BYTES],
        sealed: &'a mut [u8],
    ) -> Option<&'a mut [u8]> {
        let (text, tag) = sealed.split_last_chunk_mut::<TAG_BYTES>()?;
        let tag = (*tag).into();
        self.0.decrypt_inout_detached(nonce.into(), associated, InOutBuf::from(&mut *text), &tag).ok()?;
        Some(text)
    }
}

/// The fastest implementation of a suite. aws-lc refuses a key only for its length, which is right by type; ChaCha has
/// the portable one to fall back to all the same.
fn cipher(suite: Suite, key: &[u8; 32]) -> Box<dyn Aead> {
    let algorithm = match suite {
        Suite::ChaCha20Poly1305 => &CHACHA20_POLY1305,
        Suite::Aes256Gcm => &AES_256_GCM,
    };
    match UnboundKey::new(algorithm, key) {
        Ok(key) => Box::new(Fast(LessSafeKey::new(key))),
        Err(_) => portable(key),
    }
}

fn portable(key: &[u8; 32]) -> Box<dyn Aead> {
    Box::new(Portable(ChaCha20Poly1305::new(key.into())))
}

/// RFC 8439's 12 bytes: 4 zero bytes, then the counter as Noise writes it.
fn nonce(counter: u64) -> [u8; 12] {
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(&counter.to_le_bytes());
    nonce
}

#[cfg(target_arch = "x86_64")]
fn has_aes() -> bool {
    std::is_x86_feature_detected!("aes") && std::is_x86_feature_detected!("pclmulqdq")
}

#[cfg(target_arch = "aarch64")]
fn has_aes() -> bool {
    std::arch::is_aarch64_feature_detected!("aes") && std::arch::is_aarch64_feature_detected!("pmull")
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn has_aes() -> bool {
    false
}

#[cfg(test)]
mod tests;
