//! What the clients noticed: fetches that went well, fetches that failed, the longest gap.
//!
//! Knows the lines that `probe fetch` prints. Does not know what happened meanwhile.

use anyhow::{Context as _, Result};

/// One client's fetches, in the order they ended.
#[derive(Debug, Default)]
pub(crate) struct Fetches {
    good_ms: Vec<u64>,
    failed: u64,
}

impl Fetches {
    /// Reads a client's log. Its last line may still be on its way.
    pub(crate) fn parse(log: &str) -> Result<Self> {
        let complete = log.rfind('\n').and_then(|end| log.get(..end)).unwrap_or_default();
        let mut fetches = Self::default();
        for line in complete.lines() {
            let (at, outcome) = line.split_once(' ').with_context(|| format!("not a fetch: {line}"))?;
            if outcome.starts_with("ok ") {
                fetches.good_ms.push(at.parse()?);
            } else {
                fetches.failed += 1;
            }
        }
        Ok(fetches)
    }

    /// How many went well.
    pub(crate) fn good(&self) -> u64 {
        self.good_ms.len() as u64
    }

    /// How many went well after a moment (milliseconds since 1970).
    pub(crate) fn good_after(&self, moment_ms: u64) -> usize {
        self.good_ms.iter().filter(|at| **at > moment_ms).count()
    }

    /// How many failed.
    pub(crate) fn failed(&self) -> u64 {
        self.failed
    }

    /// The longest time between two fetches that went well.
    pub(crate) fn gap_ms(&self) -> u64 {
        self.good_ms.windows(2).filter_map(|pair| pair.last()?.checked_sub(*pair.first()?)).max().unwrap_or_default()
    }
}
