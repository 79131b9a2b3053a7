//! Limits how many broadcast and multicast frames are replicated: a token bucket.
//!
//! Owns the bucket. Knows neither frames nor peers; time comes in.

use std::time::{Duration, Instant};

/// How much a [`BroadcastLimit`] lets pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BroadcastRate {
    /// Frames a second for ever.
    pub frames_per_second: u32,
    /// Frames at once after a silence.
    pub burst: u32,
}

impl Default for BroadcastRate {
    /// Service discovery of hundreds of containers needs tens of frames a second; a loop or a storm makes thousands at
    /// once, each of them sent once for each peer.
    fn default() -> Self {
        Self { frames_per_second: 1000, burst: 2000 }
    }
}

/// Whether a frame may be replicated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Allowance {
    /// It may.
    Pass,
    /// The rate is used up.
    Refuse,
}

/// The bucket. It starts full.
#[derive(Debug, Clone)]
pub struct BroadcastLimit {
    rate: BroadcastRate,
    tokens: u32,
    filled: Instant,
}

impl BroadcastLimit {
    /// A full bucket.
    #[must_use]
    pub fn new(rate: BroadcastRate, now: Instant) -> Self {
        Self { rate, tokens: rate.burst, filled: now }
    }

    /// Takes a token if there is one.
    pub fn take(&mut self, now: Instant) -> Allowance {
        self.fill(now);
        match self.tokens.checked_sub(1) {
            Some(left) => {
                self.tokens = left;
                Allowance::Pass
            }
            None => Allowance::Refuse,
        }
    }

    fn fill(&mut self, now: Instant) {
        let Some(interval) = Duration::from_secs(1).checked_div(self.rate.frames_per_second) else {
            return;
        };
        let elapsed = now.saturating_duration_since(self.filled);
        let new = elapsed.as_nanos().checked_div(interval.as_nanos()).unwrap_or_default();
        let new = u32::try_from(new).unwrap_or(u32::MAX);
        if new >= self.rate.burst.saturating_sub(self.tokens) {
            self.tokens = self.rate.burst;
            self.filled = now;
        } else {
            self.tokens += new;
            // Only whole tokens move the clock on, or a stream of early callers would never see one.
            self.filled += interval * new;
        }
    }
}

#[cfg(test)]
mod tests;
