//! The only randomness of a ledger: a seed and what follows from it.
//!
//! Decides nothing that anybody's safety rests on: only whom to compare with next.

/// xorshift64* (Vigna 2016).
#[derive(Debug, Clone)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        // A splitmix step: the generator's fixed point is zero, and neighbouring seeds must not begin alike.
        let mixed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        Self((mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9) | 1)
    }

    /// A number below `limit`; 0 if there is none.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let number = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(number).unwrap_or_default().checked_rem(limit).unwrap_or_default()
    }
}
