//! Decides when a neighbour is asked whether it is there, and when its silence means something.
//!
//! Owns the deadlines of one neighbour with a session. Knows nothing of sockets, keys or messages; ownership of addresses
//! never follows from its verdict (invariant I5).
//!
//! ```text
//!   Alive ──suspect──▶ Suspect ──silence──▶ Silent
//!     ▲                   │                   │
//!     └─────── anything authentic ────────────┘
//! ```

use std::time::{Duration, Instant};

use crate::config::PeerTimes;

/// What the silence means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Alive,
    /// Try a new handshake beside the session.
    Suspect,
    /// Give it up.
    Silent,
}

/// The listening to one neighbour.
#[derive(Debug)]
pub(crate) struct Liveness {
    times: PeerTimes,
    heard: Instant,
    /// The question under way.
    asked: Option<Question>,
    next_ask: Instant,
    number: u32,
    round_trip: Option<Duration>,
}

#[derive(Debug, Clone, Copy)]
struct Question {
    number: u32,
    at: Instant,
    /// How many before it got no answer.
    unanswered: u32,
}

impl Liveness {
    pub(crate) fn new(times: PeerTimes, now: Instant) -> Self {
        Self { times, heard: now, asked: None, next_ask: now, number: 0, round_trip: None }
    }

    /// Notes that something authentic came. `jitter` moves the next question, so that both ends get to ask.
    pub(crate) fn handle_heard(&mut self, jitter: Duration, now: Instant) {
        self.heard = now;
        if self.asked.is_none() {
            self.next_ask = now + self.times.keepalive + jitter;
        }
    }

    /// Notes an answer.
    pub(crate) fn handle_answer(&mut self, number: u32, jitter: Duration, now: Instant) {
        if let Some(question) = self.asked.filter(|question| question.number == number) {
            let sample = now.saturating_duration_since(question.at);
            self.round_trip = Some(self.round_trip.map_or(sample, |old| (old * 7 + sample) / 8));
            self.asked = None;
            self.next_ask = now + self.times.keepalive + jitter;
        }
    }

    /// Asks now: a new session wants its first envelope.
    pub(crate) fn ask_now(&mut self, now: Instant) {
        self.asked = None;
        self.next_ask = now;
    }

    /// The number of a question to send, if one is due. An unanswered one is repeated ever more slowly.
    pub(crate) fn poll_question(&mut self, now: Instant) -> Option<u32> {
        if now < self.next_ask {
            return None;
        }
        let unanswered = self.asked.map_or(0, |question| question.unanswered.saturating_add(1));
        self.number = self.number.wrapping_add(1);
        self.asked = Some(Question { number: self.number, at: now, unanswered });
        self.next_ask = now + (FIRST_REPEAT * (1 << unanswered.min(10))).min(self.times.keepalive);
        Some(self.number)
    }

    /// What the silence means by now.
    pub(crate) fn verdict(&self, now: Instant) -> Verdict {
        let silence = now.saturating_duration_since(self.heard);
        if silence >= self.times.silence {
            Verdict::Silent
        } else if silence >= self.times.suspect {
            Verdict::Suspect
        } else {
            Verdict::Alive
        }
    }

    /// When the next question or verdict is due.
    pub(crate) fn deadline(&self, now: Instant) -> Instant {
        let verdict = match self.verdict(now) {
            Verdict::Alive => self.heard + self.times.suspect,
            Verdict::Suspect | Verdict::Silent => self.heard + self.times.silence,
        };
        self.next_ask.min(verdict)
    }

    /// The smoothed round trip (RFC 6298's weights).
    pub(crate) fn round_trip(&self) -> Option<Duration> {
        self.round_trip
    }
}

/// Above the round trip of most paths, and fast enough that a lost first envelope costs no one a second.
const FIRST_REPEAT: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests;
