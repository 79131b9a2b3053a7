//! Decides when a neighbour is asked whether it is there, and when its silence means something.
//!
//! Owns the doubts about one neighbour with a session. Knows nothing of sockets, keys or messages; ownership of addresses
//! never follows from its verdict (invariant I5).
//!
//! ```text
//!   Trusted ──doubt──▶ asked ever more slowly ──suspect──▶ Suspect ──silence (sooner, if the others agree)──▶ Silent
//!      ▲                  │                                   │
//!      └──────────────────┴── anything authentic ─────────────┘
//! ```
//!
//! Nobody is asked without a reason, so an idle neighbour costs nothing. Reasons are: a new session, traffic that is not
//! answered, a probe that is not answered, and what the others say.

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
    doubt: Option<Doubt>,
    /// The question under way.
    asked: Option<(u32, Instant)>,
    number: u32,
    round_trip: Option<Duration>,
}

/// A doubt, until something is heard.
#[derive(Debug, Clone, Copy)]
struct Doubt {
    since: Instant,
    unanswered: u32,
    next_ask: Instant,
    others: Others,
}

/// What the others say of the neighbour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Others {
    /// Nothing, or that it lives.
    Differ,
    /// That it is gone.
    Agree,
}

impl Liveness {
    pub(crate) fn new(times: PeerTimes, now: Instant) -> Self {
        Self { times, heard: now, doubt: None, asked: None, number: 0, round_trip: None }
    }

    /// Notes that something authentic came.
    pub(crate) fn handle_heard(&mut self, now: Instant) {
        self.heard = now;
        self.doubt = None;
    }

    /// Notes an answer.
    pub(crate) fn handle_answer(&mut self, number: u32, now: Instant) {
        if let Some((_, at)) = self.asked.filter(|(asked, _)| *asked == number) {
            let sample = now.saturating_duration_since(at);
            self.round_trip = Some(self.round_trip.map_or(sample, |old| (old * 7 + sample) / 8));
            self.asked = None;
        }
    }

    /// Something was sent that may be answered: if the neighbour has been quiet for a while, it is asked.
    pub(crate) fn handle_sent(&mut self, now: Instant) {
        if now.saturating_duration_since(self.heard) >= self.times.keepalive {
            self.doubt(now);
        }
    }

    /// There is a reason to ask. A doubt there is already grows no younger.
    pub(crate) fn doubt(&mut self, now: Instant) {
        let doubt = Doubt { since: now, unanswered: 0, next_ask: now, others: Others::Differ };
        self.doubt.get_or_insert(doubt);
    }

    /// Whether a question has been repeated because nothing came.
    pub(crate) fn is_unanswered(&self) -> bool {
        self.doubt.is_some_and(|doubt| doubt.unanswered > 1)
    }

    /// The others have given it up: ask, and believe its silence sooner.
    pub(crate) fn agree(&mut self, now: Instant) {
        self.doubt(now);
        if let Some(doubt) = &mut self.doubt {
            doubt.others = Others::Agree;
        }
    }

    /// Whether the others have given it up as well.
    pub(crate) fn is_agreed(&self) -> bool {
        self.doubt.as_ref().is_some_and(|doubt| doubt.others == Others::Agree)
    }

    /// Asks now: a new session wants its first envelope.
    pub(crate) fn ask_now(&mut self, now: Instant) {
        self.doubt(now);
        if let Some(doubt) = &mut self.doubt {
            (doubt.unanswered, doubt.next_ask) = (0, now);
        }
    }

    /// The number of a question to send, if one is due. An unanswered one is repeated ever more slowly.
    pub(crate) fn poll_question(&mut self, now: Instant) -> Option<u32> {
        let doubt = self.doubt.as_mut().filter(|doubt| now >= doubt.next_ask)?;
        doubt.next_ask = now + (FIRST_REPEAT * (1 << doubt.unanswered.min(10))).min(LAST_REPEAT);
        doubt.unanswered = doubt.unanswered.saturating_add(1);
        self.number = self.number.wrapping_add(1);
        self.asked = Some((self.number, now));
        Some(self.number)
    }

    /// What the silence means by now.
    pub(crate) fn verdict(&self, now: Instant) -> Verdict {
        let Some(doubt) = self.doubt else { return Verdict::Alive };
        let silence = now.saturating_duration_since(doubt.since);
        if silence >= self.patience(&doubt) {
            Verdict::Silent
        } else if silence >= self.times.suspect {
            Verdict::Suspect
        } else {
            Verdict::Alive
        }
    }

    /// When the next question or verdict is due.
    pub(crate) fn deadline(&self, now: Instant) -> Option<Instant> {
        let doubt = self.doubt?;
        let verdict = match self.verdict(now) {
            Verdict::Alive => doubt.since + self.times.suspect.min(self.patience(&doubt)),
            Verdict::Suspect | Verdict::Silent => doubt.since + self.patience(&doubt),
        };
        Some(doubt.next_ask.min(verdict))
    }

    /// When something authentic came last.
    pub(crate) fn heard(&self) -> Instant {
        self.heard
    }

    /// The smoothed round trip (RFC 6298's weights).
    pub(crate) fn round_trip(&self) -> Option<Duration> {
        self.round_trip
    }

    fn patience(&self, doubt: &Doubt) -> Duration {
        match doubt.others {
            Others::Differ => self.times.silence,
            Others::Agree => self.times.agreed.min(self.times.silence),
        }
    }
}

/// Above the round trip of most paths, and fast enough that a lost first envelope costs no one a second.
const FIRST_REPEAT: Duration = Duration::from_millis(100);
/// A dozen questions fit the shorter patience: at 20 % loss each way, one neighbour in half a million is missed.
const LAST_REPEAT: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests;
