//! What waits for a stream to one peer, and who dials when.
//!
//! Owns a bounded queue and the dialling rhythm. Knows neither sockets nor what the messages say.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::event::StreamId;

/// The reliable side of one peer's control channel.
#[derive(Debug, Default)]
pub(crate) struct Channel {
    queue: VecDeque<Waiting>,
    bytes: usize,
    dropped: u64,
    /// Streams on which the peer has proven itself; the first one is written to.
    streams: Vec<StreamId>,
    dial: Dial,
    /// Calls that failed in a row.
    failures: u32,
    carriage: Carriage,
}

/// What carries messages that must not be lost.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Carriage {
    /// A stream, dialled if there is none.
    #[default]
    Stream,
    /// The streams of a relay; one of the peer's own, should it dial.
    Relay,
}

#[derive(Debug)]
struct Waiting {
    since: Instant,
    message: Vec<u8>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Dial {
    /// The peer is down, or there is a stream.
    #[default]
    Idle,
    /// Dial then, if there is no stream by then.
    At(Instant),
    /// Somebody is dialling; if nothing comes of it until then, try again.
    Under(Instant),
}

impl Channel {
    /// The peer is up: dial after `pause`.
    pub(crate) fn start(&mut self, pause: Duration, now: Instant) {
        self.carriage = Carriage::Stream;
        if self.streams.is_empty() && self.dial == Dial::Idle {
            self.dial = Dial::At(now + pause);
        }
    }

    /// The peer is reached by a relay: nobody dials, and what there is of streams is worth nothing. Returns the streams to
    /// close; what waits goes on waiting.
    pub(crate) fn suspend(&mut self) -> Vec<StreamId> {
        self.carriage = Carriage::Relay;
        (self.dial, self.failures) = (Dial::Idle, 0);
        std::mem::take(&mut self.streams)
    }

    /// There is a new session: what kept streams from being bound may be over.
    pub(crate) fn handle_session(&mut self, now: Instant) {
        if let Dial::At(due) = self.dial {
            (self.dial, self.failures) = (Dial::At(due.min(now)), 0);
        }
    }

    /// The peer is down or another one by now: nothing waits, no stream is its. Returns the streams to close.
    pub(crate) fn stop(&mut self) -> Vec<StreamId> {
        self.queue.clear();
        self.bytes = 0;
        (self.dial, self.failures) = (Dial::Idle, 0);
        std::mem::take(&mut self.streams)
    }

    /// Queues a message. When that is too much, the oldest ones go.
    pub(crate) fn push(&mut self, message: Vec<u8>, now: Instant) {
        self.bytes += message.len();
        self.queue.push_back(Waiting { since: now, message });
        while self.queue.len() > QUEUE_MESSAGES || self.bytes > QUEUE_BYTES {
            let Some(oldest) = self.queue.pop_front() else { return };
            self.bytes = self.bytes.saturating_sub(oldest.message.len());
            self.dropped += 1;
        }
    }

    /// The next message for the stream, if there is a stream.
    pub(crate) fn poll_stream(&mut self) -> Option<(StreamId, Vec<u8>)> {
        let stream = *self.streams.first()?;
        let waiting = self.queue.pop_front()?;
        self.bytes = self.bytes.saturating_sub(waiting.message.len());
        Some((stream, waiting.message))
    }

    /// The next message for a relay.
    pub(crate) fn poll_relay(&mut self) -> Option<Vec<u8>> {
        let waiting = self.queue.pop_front()?;
        self.bytes = self.bytes.saturating_sub(waiting.message.len());
        Some(waiting.message)
    }

    /// Whether so much waits that a stranger's message would push out the peer's own.
    pub(crate) fn is_half_full(&self) -> bool {
        self.bytes > QUEUE_BYTES / 2 || self.queue.len() > QUEUE_MESSAGES / 2
    }

    /// The next message that has waited so long for a stream that a datagram must do. Larger ones wait on.
    pub(crate) fn poll_datagram(&mut self, now: Instant) -> Option<Vec<u8>> {
        let tired = |waiting: &Waiting| now >= waiting.since + PATIENCE && waiting.message.len() <= DATAGRAM_BYTES;
        let position = self.queue.iter().position(tired)?;
        let waiting = self.queue.remove(position)?;
        self.bytes = self.bytes.saturating_sub(waiting.message.len());
        Some(waiting.message)
    }

    /// Which address is to be dialled, counted from the best, if it is time to.
    pub(crate) fn poll_dial(&mut self, now: Instant) -> Option<u32> {
        let (Dial::At(due) | Dial::Under(due)) = self.dial else { return None };
        if now < due {
            return None;
        }
        if matches!(self.dial, Dial::Under(_)) {
            self.failures = self.failures.saturating_add(1);
        }
        self.dial = Dial::Under(now + DIAL_PATIENCE);
        Some(self.failures)
    }

    /// The call did not go through.
    pub(crate) fn handle_dial_failed(&mut self, now: Instant) {
        if self.streams.is_empty() && self.dial != Dial::Idle {
            self.failures = self.failures.saturating_add(1);
            self.dial = Dial::At(now + (DIAL_PAUSE * (1 << self.failures.min(6))).min(DIAL_PAUSE_MOST));
        }
    }

    /// A stream proved to be the peer's. Returns one that is too many.
    pub(crate) fn bind(&mut self, stream: StreamId) -> Option<StreamId> {
        (self.dial, self.failures) = (Dial::Idle, 0);
        self.streams.push(stream);
        (self.streams.len() > STREAMS_MOST).then(|| self.streams.remove(0))
    }

    /// A stream ended. If it was the last one, another is dialled after `pause`.
    pub(crate) fn unbind(&mut self, stream: StreamId, pause: Duration, now: Instant) {
        let before = self.streams.len();
        self.streams.retain(|bound| *bound != stream);
        if before > 0 && self.streams.is_empty() && self.carriage == Carriage::Stream {
            self.dial = Dial::At(now + pause);
        }
    }

    /// Messages that were dropped because too many waited.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// When `poll_dial` or `poll_datagram` has something.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let dial = match self.dial {
            Dial::Idle => None,
            Dial::At(due) | Dial::Under(due) => Some(due),
        };
        let fits = |waiting: &&Waiting| waiting.message.len() <= DATAGRAM_BYTES;
        // By way of a relay the next one goes when the last one has arrived, not by the clock.
        let waits = self.streams.is_empty() && !matches!(self.carriage, Carriage::Relay);
        let tired = self.queue.iter().find(fits).map(|waiting| waiting.since + PATIENCE).filter(|_| waits);
        dial.into_iter().chain(tired).min()
    }
}

/// Some seconds of a busy ledger.
const QUEUE_MESSAGES: usize = 1024;
/// A snapshot and what follows it, but no more than a router can spare for each peer.
const QUEUE_BYTES: usize = 8 << 20;
/// What surely fits a datagram on any path (IPv6's least MTU is 1280), envelope and headers included.
pub(crate) const DATAGRAM_BYTES: usize = 1200;
/// How long a message waits for a stream: a TCP handshake that lost one packet takes a second.
const PATIENCE: Duration = Duration::from_secs(2);
/// A TCP handshake with two losses takes three seconds.
const DIAL_PATIENCE: Duration = Duration::from_secs(4);
const DIAL_PAUSE: Duration = Duration::from_millis(250);
const DIAL_PAUSE_MOST: Duration = Duration::from_secs(15);
/// Both sides may have dialled at once; a third stream replaces the oldest.
const STREAMS_MOST: usize = 2;

#[cfg(test)]
mod tests;
