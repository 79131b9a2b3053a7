//! Limits how many broadcast and multicast frames are replicated: a token bucket.
//!
//! Owns the bucket. Knows neither frames nor peers; time comes in.

use std::time::{Duration, Instant};

/// How much a [`Guard`] lets pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GuardConfig {
    /// Frames a second for ever.
    pub frames_per_second: u32,
    /// Frames at once after a silence.
    pub burst: u32,
}

impl Default for GuardConfig {
    /// Service discovery of hundreds of containers needs tens of frames a second; a loop or a storm makes thousands at
    /// once, each of them sent once for each peer.
    fn default() -> Self {
        Self { frames_per_second: 1000, burst: 2000 }
    }
}

/// Whether a frame may be replicated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// It may.
    Pass,
    /// The rate is used up.
    Refuse,
}

/// The bucket. It starts full.
#[derive(Debug, Clone)]
pub struct Guard {
    config: GuardConfig,
    tokens: u32,
    filled: Instant,
}

impl Guard {
    /// A full bucket.
    #[must_use]
    pub fn new(config: GuardConfig, now: Instant) -> Self {
        Self { config, tokens: config.burst, filled: now }
    }

    /// Takes a token if there is one.
    pub fn admit(&mut self, now: Instant) -> Admission {
        self.fill(now);
        match self.tokens.checked_sub(1) {
            Some(left) => {
                self.tokens = left;
                Admission::Pass
            }
            None => Admission::Refuse,
        }
    }

    fn fill(&mut self, now: Instant) {
        let Some(interval) = Duration::from_secs(1).checked_div(self.config.frames_per_second) else {
            return;
        };
        let elapsed = now.saturating_duration_since(self.filled);
        let new = elapsed.as_nanos().checked_div(interval.as_nanos()).unwrap_or_default();
        let new = u32::try_from(new).unwrap_or(u32::MAX);
        if new >= self.config.burst.saturating_sub(self.tokens) {
            self.tokens = self.config.burst;
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
