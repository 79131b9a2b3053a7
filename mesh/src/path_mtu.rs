//! How large a datagram the path to one peer carries: found out by soundings, whatever ICMP says (RFC 8899).
//!
//! Owns the search and when the next sounding is due. Knows no socket and no keys: its owner pads, seals and sends.
//!
//! ```text
//!   new path ─▶ Searching ──── nothing left to try ────▶ Settled ─┐
//!                 ▲   ▲                                   │   │   │ now and then one step up
//!                 │   └── a larger one came through ──────┘   └───┘
//!                 └── the confirmed size comes through no more: a black hole, back to the base
//! ```
//!
//! Each sounding goes out with a companion of a few bytes. A size is refused only when companions were answered and
//! soundings were not: the silence of a peer that is gone, or of a path that loses everything, says nothing about size.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// What is known about the path to one peer.
#[derive(Debug)]
pub(crate) struct PathMtu {
    /// Which path this is about.
    endpoint: Option<SocketAddr>,
    /// The largest datagram worth trying.
    ceiling: u16,
    /// The largest that came through.
    confirmed: u16,
    /// The smallest that did not; above the ceiling when there is none.
    refused: u16,
    phase: Phase,
    attempt: Option<Attempt>,
    /// What the last search ended with.
    settled: Option<u16>,
    /// How long until a larger size is tried.
    pause: Duration,
    /// The last sounding's number.
    number: u32,
}

#[derive(Debug)]
enum Phase {
    Searching {
        since: Instant,
    },
    Settled {
        since: Instant,
        /// When the confirmed size last came through.
        heard: Instant,
        load: Load,
        /// When a larger size is tried, if there is one.
        raise: Option<Instant>,
    },
}

/// Whether the path has carried datagrams of more than the base since the last confirmation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Load {
    Idle,
    Carrying,
}

/// Soundings of one size.
#[derive(Debug)]
struct Attempt {
    bytes: u16,
    /// The number of its first.
    first: u32,
    /// Whether the companion of the last was answered.
    companion: Companion,
    until: Instant,
    /// How many were lost alone.
    lost: u8,
    /// How many were lost together with their companions.
    silences: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Companion {
    Waiting,
    Answered,
}

/// A datagram of so many bytes is to be sent, and a small one beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sounding {
    pub(crate) number: u32,
    pub(crate) bytes: u16,
}

impl PathMtu {
    /// About no path.
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            endpoint: None,
            ceiling: BASE_BYTES,
            confirmed: BASE_BYTES,
            refused: BASE_BYTES + 1,
            phase: Phase::Searching { since: now },
            attempt: None,
            settled: None,
            pause: FIRST_RAISE,
            number: 0,
        }
    }

    /// Follows the peer: to another path, of which nothing is known, or to none. `mtu_bytes` is what this end of it takes by now.
    pub(crate) fn follow(&mut self, endpoint: Option<SocketAddr>, mtu_bytes: u16, now: Instant) {
        let ceiling = mtu_bytes.saturating_sub(endpoint.map_or(0, header_bytes)).min(MOST_BYTES);
        if self.endpoint == endpoint {
            return self.resize(ceiling, now);
        }
        let confirmed = ceiling.min(BASE_BYTES);
        *self = Self { endpoint, ceiling, confirmed, refused: ceiling + 1, number: self.number, ..Self::new(now) };
    }

    /// Searches the same path once more, if this end of it takes more or less than before. What has come through still does,
    /// unless it is too large for this end.
    fn resize(&mut self, ceiling: u16, now: Instant) {
        if self.ceiling == ceiling || self.endpoint.is_none() {
            return;
        }
        (self.ceiling, self.refused, self.attempt) = (ceiling, ceiling + 1, None);
        if self.confirmed > ceiling {
            (self.confirmed, self.settled) = (ceiling.min(BASE_BYTES), None);
        }
        self.pause = FIRST_RAISE;
        self.search(now);
    }

    /// Notes that the peer was sent so many bytes of data. The confirmed size is only doubted while it is used.
    pub(crate) fn handle_sent(&mut self, bytes: u64) {
        if let Phase::Settled { load, .. } = &mut self.phase
            && bytes > u64::from(BASE_BYTES)
        {
            *load = Load::Carrying;
        }
    }

    /// Notes an answer; `bytes` is 0 for a companion's.
    pub(crate) fn handle_answer(&mut self, number: u32, bytes: u16, now: Instant) {
        let Some(attempt) = &mut self.attempt else { return };
        if number.wrapping_sub(attempt.first) > self.number.wrapping_sub(attempt.first) {
            return; // an earlier attempt's
        }
        if bytes == attempt.bytes {
            self.attempt = None;
            self.accept(bytes, now);
        } else if bytes == 0 && number == self.number {
            attempt.companion = Companion::Answered;
        }
    }

    /// The sounding that is due, if one is. What has expired counts as lost.
    pub(crate) fn poll_sounding(&mut self, round_trip: Option<Duration>, now: Instant) -> Option<Sounding> {
        self.expire(now);
        if self.attempt.is_none() {
            let bytes = self.wanted(now)?;
            let first = self.number.wrapping_add(1);
            self.attempt =
                Some(Attempt { bytes, first, companion: Companion::Waiting, until: now, lost: 0, silences: 0 });
        }
        let attempt = self.attempt.as_mut().filter(|attempt| attempt.until <= now)?;
        let patience =
            round_trip.map_or(FIRST_PATIENCE, |round_trip| (round_trip * 3).clamp(PATIENCE_LEAST, PATIENCE_MOST));
        attempt.until = now + (patience * (1 << attempt.silences.min(5))).min(SILENCE_PAUSE);
        attempt.companion = Companion::Waiting;
        self.number = self.number.wrapping_add(1);
        Some(Sounding { number: self.number, bytes: attempt.bytes })
    }

    /// When [`Self::poll_sounding`] wants to run next.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.endpoint?;
        match (&self.attempt, &self.phase) {
            (Some(attempt), _) => Some(attempt.until),
            (None, Phase::Searching { since }) => Some(*since),
            (None, Phase::Settled { raise, .. }) => self.doubt().into_iter().chain(*raise).min(),
        }
    }

    /// Whether this is the path it follows.
    pub(crate) fn is_about(&self, endpoint: Option<SocketAddr>) -> bool {
        self.endpoint == endpoint
    }

    /// The largest datagram to send to the endpoint.
    pub(crate) fn datagram_bytes(&self, endpoint: Option<SocketAddr>) -> u16 {
        if self.endpoint == endpoint { self.confirmed } else { BASE_BYTES }
    }

    /// What the last search on this path ended with.
    pub(crate) fn settled(&self) -> Option<u16> {
        self.settled
    }

    /// When the confirmed size is to be confirmed again.
    fn doubt(&self) -> Option<Instant> {
        match self.phase {
            Phase::Settled { heard, load: Load::Carrying, .. } if self.confirmed > BASE_BYTES => Some(heard + CONFIRM),
            Phase::Settled { .. } | Phase::Searching { .. } => None,
        }
    }

    /// The size to try next. A search that has nothing left to try ends.
    fn wanted(&mut self, now: Instant) -> Option<u16> {
        self.endpoint?;
        match self.phase {
            Phase::Searching { .. } => {
                let candidate = self.candidate();
                if candidate.is_none() {
                    self.settle(now);
                }
                candidate
            }
            Phase::Settled { .. } if self.doubt().is_some_and(|at| at <= now) => Some(self.confirmed),
            Phase::Settled { raise, .. } => raise.filter(|at| *at <= now).and_then(|_| self.step_up()),
        }
    }

    /// The ceiling, as long as it was not refused: most paths carry what their ends take. Then the middle of what is left.
    fn candidate(&self) -> Option<u16> {
        if self.refused > self.ceiling {
            return (self.ceiling > self.confirmed).then_some(self.ceiling);
        }
        let left = || self.steps().filter(|bytes| *bytes > self.confirmed && *bytes < self.refused);
        left().nth(left().count() / 2)
    }

    /// The next larger size.
    fn step_up(&self) -> Option<u16> {
        self.steps().find(|bytes| *bytes > self.confirmed)
    }

    fn steps(&self) -> impl Iterator<Item = u16> {
        let header_bytes = self.endpoint.map_or(0, header_bytes);
        let ceiling = self.ceiling;
        let below = STEPS.into_iter().map(move |mtu_bytes| mtu_bytes - header_bytes);
        below.filter(move |bytes| *bytes < ceiling).chain([ceiling])
    }

    fn expire(&mut self, now: Instant) {
        let tries = if self.is_raising() { RAISE_TRIES } else { TRIES };
        let Some(attempt) = self.attempt.as_mut().filter(|attempt| attempt.until <= now) else { return };
        match attempt.companion {
            Companion::Answered => attempt.lost += 1,
            Companion::Waiting => attempt.silences = attempt.silences.saturating_add(1),
        }
        if attempt.lost >= tries {
            let bytes = attempt.bytes;
            self.attempt = None;
            self.refuse(bytes, now);
        }
    }

    fn is_raising(&self) -> bool {
        let is_larger = self.attempt.as_ref().is_some_and(|attempt| attempt.bytes > self.confirmed);
        is_larger && matches!(self.phase, Phase::Settled { .. })
    }

    fn accept(&mut self, bytes: u16, now: Instant) {
        match &mut self.phase {
            Phase::Settled { heard, load, .. } if bytes == self.confirmed => {
                (*heard, *load) = (now, Load::Idle);
            }
            // It has become another path: what was refused says nothing any more.
            Phase::Settled { .. } => {
                (self.confirmed, self.refused) = (bytes, self.ceiling + 1);
                self.search(now);
            }
            Phase::Searching { .. } => self.confirmed = bytes,
        }
    }

    fn refuse(&mut self, bytes: u16, now: Instant) {
        match &mut self.phase {
            Phase::Settled { since, .. } if bytes == self.confirmed => {
                // A path that becomes smaller again and again is trusted ever less.
                let lasted = now.saturating_duration_since(*since) >= RAISE;
                self.pause = if lasted { FIRST_RAISE } else { (self.pause * 2).min(RAISE) };
                (self.confirmed, self.refused) = (BASE_BYTES, bytes);
                self.search(now);
            }
            Phase::Settled { raise, .. } => {
                self.pause = (self.pause * 2).min(RAISE);
                *raise = Some(now + self.pause);
            }
            Phase::Searching { .. } => self.refused = bytes,
        }
    }

    fn search(&mut self, now: Instant) {
        self.phase = Phase::Searching { since: now };
    }

    fn settle(&mut self, now: Instant) {
        let raise = (self.confirmed < self.ceiling).then_some(now + self.pause);
        self.phase = Phase::Settled { since: now, heard: now, load: Load::Idle, raise };
        self.settled = Some(self.confirmed);
    }
}

/// What IP and UDP put in front of a datagram.
fn header_bytes(endpoint: SocketAddr) -> u16 {
    if endpoint.is_ipv6() { 40 + 8 } else { 20 + 8 }
}

/// Every path carries this (RFC 8899 §5.1.2), and what is larger travels in pieces meanwhile.
pub(crate) const BASE_BYTES: u16 = 1200;
/// The largest datagram of UDP over IPv4.
const MOST_BYTES: u16 = 65_507;
/// MTUs that paths have: IPv6's least; tunnels inside of tunnels, WireGuard, VXLAN, Google's, PPPoE; Ethernet; and what
/// jumbo frames come to on switches, in clouds and below tunnels.
const STEPS: [u16; 15] = [1280, 1400, 1420, 1450, 1460, 1492, 1500, 2000, 4000, 8000, 8500, 8896, 8950, 9000, 9216];
/// So many lost beside answered companions are no accident: at 20 % loss one verdict in 160 is wrong, and is mended.
const TRIES: u8 = 5;
/// A path seldom becomes larger, and the next time comes.
const RAISE_TRIES: u8 = 2;
/// How long a sounding waits for its answer before the round trip is known, and the bounds afterwards.
const FIRST_PATIENCE: Duration = Duration::from_millis(500);
const PATIENCE_LEAST: Duration = Duration::from_millis(200);
const PATIENCE_MOST: Duration = Duration::from_secs(2);
/// The most a silent peer is waited for between two soundings.
const SILENCE_PAUSE: Duration = Duration::from_secs(5);
/// How often the confirmed size is confirmed while it is used: a black hole lasts this long and a second or two.
const CONFIRM: Duration = Duration::from_secs(3);
/// A path that has become smaller is often mended soon; each time it is not, the pause is twice as long.
const FIRST_RAISE: Duration = Duration::from_secs(15);
/// RFC 8899's raise timer (§5.1.1).
const RAISE: Duration = Duration::from_secs(600);

#[cfg(test)]
mod tests;
