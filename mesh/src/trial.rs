//! Whether one way to a peer leads there and back, by questions on it and their answers.
//!
//! Owns the questions under way, the verdict and the round trip. Knows neither peers nor what is asked with.
//!
//! ```text
//!   Failing ──answer──▶ Proving ──answers for so long, no two missing──▶ Proven
//!      ▲                   │                                               │
//!      └──two unanswered───┴───five unanswered, the first a second ago─────┘
//! ```

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// The trial of one way.
#[derive(Debug)]
pub(crate) struct Trial {
    standing: Standing,
    /// Questions without an answer, oldest first.
    asked: VecDeque<(u32, Instant)>,
    next: Instant,
    round_trip: Option<Duration>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Failing,
    Proving { since: Instant },
    Proven,
}

impl Trial {
    /// A way of which nothing is known.
    pub(crate) fn new(now: Instant) -> Self {
        Self { standing: Standing::Failing, asked: VecDeque::new(), next: now, round_trip: None }
    }

    /// Something else has shown that the way leads there and back.
    pub(crate) fn prove(&mut self, calm: Duration, now: Instant) {
        self.standing = Standing::Proven;
        self.asked.clear();
        self.next = now + calm;
    }

    /// The way is worth nothing until it is answered on.
    pub(crate) fn fail(&mut self, now: Instant) {
        self.standing = Standing::Failing;
        self.asked.clear();
        self.next = now;
    }

    /// Asks by then at the latest, unless a proven way is being asked about already.
    pub(crate) fn hasten(&mut self, by: Instant) {
        if self.standing != Standing::Proven || self.asked.is_empty() {
            self.next = self.next.min(by);
        }
    }

    /// Whether the question of this number is to be asked. It is what draws the verdict on those before it.
    pub(crate) fn poll_question(&mut self, number: u32, now: Instant) -> bool {
        if now < self.next {
            return false;
        }
        let first = self.asked.front().map_or(now, |(_, at)| *at);
        let lost = match self.standing {
            Standing::Proven => {
                self.asked.len() >= LOST_QUESTIONS && now.saturating_duration_since(first) >= LOST_AFTER
            }
            Standing::Proving { .. } => self.asked.len() >= 2,
            Standing::Failing => false,
        };
        if lost {
            self.standing = Standing::Failing;
        }
        self.asked.push_back((number, now));
        while self.asked.len() > ASKED_MOST {
            self.asked.pop_front();
        }
        let repeat = REPEAT.max(self.round_trip.unwrap_or_default() * 2);
        self.next = now
            + match self.standing {
                Standing::Failing => RETRY,
                Standing::Proving { .. } => PROVING.max(repeat),
                Standing::Proven => repeat,
            };
        true
    }

    /// Takes an answer. A way that failed must be answered on for `trust` to be proven; one that is, is asked again after
    /// `calm`. Returns whether it was the answer to a question under way.
    pub(crate) fn handle_answer(&mut self, number: u32, trust: Duration, calm: Duration, now: Instant) -> bool {
        let Some((_, at)) = self.asked.iter().find(|(asked, _)| *asked == number).copied() else {
            return false;
        };
        let sample = now.saturating_duration_since(at);
        // RFC 6298's weights.
        let known = self.round_trip.filter(|_| self.standing != Standing::Failing);
        self.round_trip = Some(known.map_or(sample, |old| (old * 7 + sample) / 8));
        self.asked.clear();
        self.standing = match self.standing {
            Standing::Failing if trust.is_zero() => Standing::Proven,
            Standing::Failing => Standing::Proving { since: now },
            Standing::Proving { since } if now.saturating_duration_since(since) < trust => Standing::Proving { since },
            Standing::Proving { .. } | Standing::Proven => Standing::Proven,
        };
        self.next = now + if self.standing == Standing::Proven { calm } else { PROVING };
        true
    }

    /// When the next question is due.
    pub(crate) fn deadline(&self) -> Instant {
        self.next
    }

    pub(crate) fn is_proven(&self) -> bool {
        self.standing == Standing::Proven
    }

    /// Whether it has failed, and nothing says otherwise yet.
    pub(crate) fn is_failing(&self) -> bool {
        self.standing == Standing::Failing
    }

    /// Whether it has failed, and a question has waited for an answer long enough.
    pub(crate) fn is_in_vain(&self, now: Instant) -> bool {
        let oldest = self.asked.front().map(|(_, at)| now.saturating_duration_since(*at));
        self.is_failing() && oldest.is_some_and(|age| age >= LOST_AFTER)
    }

    /// The smoothed round trip.
    pub(crate) fn round_trip(&self) -> Option<Duration> {
        self.round_trip
    }
}

/// Above the round trip of most paths.
const REPEAT: Duration = Duration::from_millis(200);
/// At 20 % loss each way one question in three gets no answer: five in a row are lost once in two hundred times.
const LOST_QUESTIONS: usize = 5;
/// Shorter than a TCP connection's patience, longer than a hiccup of either host.
const LOST_AFTER: Duration = Duration::from_secs(1);
/// How soon it is noticed that a way is open again.
const RETRY: Duration = Duration::from_secs(2);
/// Several questions in the time that a way must hold before it is believed.
const PROVING: Duration = Duration::from_millis(500);
/// More than are lost in a row on a way worth using.
const ASKED_MOST: usize = 8;

#[cfg(test)]
mod tests;
