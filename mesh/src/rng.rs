//! Randomness from a seed: ephemeral keys, session numbers, jitter.
//!
//! A generator over keyed BLAKE2s that forgets: after every use its state is replaced, so that a later look at memory
//! tells nothing about keys already made. Knows no operating system; the owner seeds it with 32 truly random bytes.

use std::time::Duration;

use zeroize::Zeroizing;

use crate::digest::derive;

/// A deterministic generator of unpredictable bytes.
pub(crate) struct Rng {
    state: Zeroizing<[u8; 32]>,
}

impl Rng {
    pub(crate) fn new(seed: &[u8; 32]) -> Self {
        Self { state: derive(seed, &[b"raddle rng"]) }
    }

    pub(crate) fn fill(&mut self, bytes: &mut [u8]) {
        for (number, chunk) in (0u64..).zip(bytes.chunks_mut(32)) {
            let block = derive(&self.state, &[b"block", &number.to_le_bytes()]);
            for (byte, random) in chunk.iter_mut().zip(block.iter()) {
                *byte = *random;
            }
        }
        self.state = derive(&self.state, &[b"next"]);
    }

    pub(crate) fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.fill(&mut bytes);
        bytes
    }

    pub(crate) fn number(&mut self) -> u32 {
        u32::from_le_bytes(self.bytes())
    }

    /// A duration from nothing up to `most`.
    pub(crate) fn up_to(&mut self, most: Duration) -> Duration {
        most.mul_f64(f64::from(self.number()) / f64::from(u32::MAX))
    }
}
