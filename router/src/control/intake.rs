//! How many routers are admitted here, in how much time.
//!
//! Owns the moments of the latest admissions. A password or a token for many that has got into wrong hands admits whoever comes,
//! until somebody looks: this is what there is to look at by then. Knows neither secrets nor applicants.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// The latest admissions.
#[derive(Debug, Default)]
pub(super) struct Intake {
    latest: VecDeque<Instant>,
}

impl Intake {
    /// How long an applicant has to wait; none if it need not.
    pub(super) fn wait(&mut self, now: Instant) -> Option<Duration> {
        while self.latest.front().is_some_and(|first| now >= *first + WITHIN) {
            self.latest.pop_front();
        }
        let first = self.latest.front().filter(|_| self.latest.len() >= MOST)?;
        Some((*first + WITHIN).saturating_duration_since(now))
    }

    /// One was admitted.
    pub(super) fn note(&mut self, now: Instant) {
        self.latest.push_back(now);
    }
}

/// More hosts than are started at once by one sponsor.
const MOST: usize = 120;
/// Together with that, thirty a minute: a thousand are admitted in half an hour, and to fill the roster
/// takes a thief nine hours.
const WITHIN: Duration = Duration::from_secs(240);

#[cfg(test)]
mod tests;
