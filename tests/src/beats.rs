//! What a client noticed: beats that came, beats that failed, the longest gap between two that came.
//!
//! Knows the lines that `probe fetch` and `probe follow` print. Does not know what happened meanwhile.

use anyhow::{Context as _, Result};

/// One client's beats (fetches, numbers), in the order they ended.
#[derive(Debug, Default)]
pub struct Beats {
    good_ms: Vec<u64>,
    failed: u64,
}

impl Beats {
    /// Reads a client's log. Its last line may still be on its way.
    pub fn parse(log: &str) -> Result<Self> {
        let complete = log.rfind('\n').and_then(|end| log.get(..end)).unwrap_or_default();
        let mut beats = Self::default();
        for line in complete.lines() {
            let (at, outcome) = line.split_once(' ').with_context(|| format!("not a beat: {line}"))?;
            if outcome.starts_with("ok ") {
                beats.good_ms.push(at.parse()?);
            } else {
                beats.failed += 1;
            }
        }
        Ok(beats)
    }

    /// How many went well.
    #[must_use]
    pub fn good(&self) -> u64 {
        self.good_ms.len() as u64
    }

    /// How many went well after a moment (milliseconds since 1970).
    #[must_use]
    pub fn good_after(&self, moment_ms: u64) -> usize {
        self.good_ms.iter().filter(|at| **at > moment_ms).count()
    }

    /// The longest time between two that went well, of those after a moment (milliseconds since 1970) and the one before.
    #[must_use]
    pub fn gap_ms_after(&self, moment_ms: u64) -> u64 {
        let from = self.good_ms.partition_point(|at| *at <= moment_ms).saturating_sub(1);
        gap_ms(self.good_ms.get(from..).unwrap_or_default())
    }

    /// How many failed.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.failed
    }

    /// The longest time between two that went well.
    #[must_use]
    pub fn gap_ms(&self) -> u64 {
        gap_ms(&self.good_ms)
    }
}

fn gap_ms(moments: &[u64]) -> u64 {
    moments.windows(2).filter_map(|pair| pair.last()?.checked_sub(*pair.first()?)).max().unwrap_or_default()
}
