//! The network between the hosts: delay, loss, reorder, duplicates, cuts; and streams as TCP gives them, in order and late.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use mesh::{Origin, StreamId, Target};

use crate::dice::Dice;

/// How the network behaves.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Weather {
    /// Lost datagrams, of a hundred; a lost segment of a stream is sent again.
    pub(crate) loss: usize,
    /// Doubled datagrams, of a hundred.
    pub(crate) doubled: usize,
    pub(crate) delay: Duration,
    pub(crate) jitter: Duration,
}

/// Something under way.
pub(crate) enum Parcel {
    Datagram { from: usize, to: usize, bytes: Vec<u8> },
    Opened { to: usize, stream: StreamId, origin: Origin },
    Bytes { to: usize, stream: StreamId, bytes: Vec<u8> },
    Closed { to: usize, stream: StreamId },
    NotDialled { to: usize, target: Target },
    Wake { node: usize },
}

/// One end of a stream: where it leads, and when what was written last arrives.
#[derive(Debug, Clone, Copy)]
pub(crate) struct End {
    pub(crate) node: usize,
    pub(crate) stream: StreamId,
    pub(crate) last: Instant,
}

/// All that is under way, in order.
pub(crate) struct Net {
    pub(crate) weather: Weather,
    pub(crate) dice: Dice,
    parcels: BTreeMap<(Instant, u64), Parcel>,
    pub(crate) ends: BTreeMap<(usize, StreamId), End>,
    /// Which side of a partition each host is on.
    pub(crate) sides: BTreeMap<usize, usize>,
    /// From whom to whom nothing comes, though it does the other way.
    pub(crate) one_way: BTreeSet<(usize, usize)>,
    count: u64,
    pub(crate) bytes: u64,
    pub(crate) datagrams: u64,
}

impl Net {
    pub(crate) fn new(seed: u64, weather: Weather) -> Self {
        Self {
            weather,
            dice: Dice::new(seed),
            parcels: BTreeMap::new(),
            ends: BTreeMap::new(),
            sides: BTreeMap::new(),
            one_way: BTreeSet::new(),
            count: 0,
            bytes: 0,
            datagrams: 0,
        }
    }

    pub(crate) fn post(&mut self, at: Instant, parcel: Parcel) {
        self.count += 1;
        self.parcels.insert((at, self.count), parcel);
    }

    /// The next thing that arrives, if it does so by then.
    pub(crate) fn pop(&mut self, by: Instant) -> Option<(Instant, Parcel)> {
        let entry = self.parcels.first_entry().filter(|entry| entry.key().0 <= by)?;
        let at = entry.key().0;
        Some((at, entry.remove()))
    }

    pub(crate) fn reaches(&self, from: usize, to: usize) -> bool {
        let side = |node: usize| self.sides.get(&node).copied().unwrap_or_default();
        side(from) == side(to) && !self.one_way.contains(&(from, to))
    }

    /// Sends a datagram on its way, or loses it.
    pub(crate) fn send(&mut self, from: usize, to: usize, bytes: Vec<u8>, now: Instant) {
        self.bytes += bytes.len() as u64 + DATAGRAM_HEADERS;
        self.datagrams += 1;
        if self.dice.chance(self.weather.loss) || !self.reaches(from, to) {
            return;
        }
        if self.dice.chance(self.weather.doubled) {
            let at = now + self.travel();
            self.post(at, Parcel::Datagram { from, to, bytes: bytes.clone() });
        }
        let at = now + self.travel();
        self.post(at, Parcel::Datagram { from, to, bytes });
    }

    /// Writes to a stream: late by a retransmission for each loss, and never before what was written earlier.
    pub(crate) fn write(&mut self, from: usize, stream: StreamId, bytes: Vec<u8>, now: Instant) {
        let Some(end) = self.ends.get(&(from, stream)).copied() else { return };
        self.bytes += bytes.len() as u64 + SEGMENT_HEADERS;
        self.datagrams += 1;
        // A stream across a cut says nothing, as TCP does, until somebody closes it.
        if !self.reaches(from, end.node) || !self.reaches(end.node, from) {
            return;
        }
        let mut at = now + self.travel();
        let mut pause = RETRANSMISSION;
        while self.dice.chance(self.weather.loss) {
            at += pause;
            pause *= 2;
        }
        let at = at.max(end.last);
        self.ends.insert((from, stream), End { last: at, ..end });
        self.post(at, Parcel::Bytes { to: end.node, stream: end.stream, bytes });
    }

    pub(crate) fn travel(&mut self) -> Duration {
        let micros = usize::try_from(self.weather.jitter.as_micros()).unwrap_or_default();
        self.weather.delay + Duration::from_micros(self.dice.below(micros + 1) as u64)
    }
}

/// Linux's least retransmission timeout.
const RETRANSMISSION: Duration = Duration::from_millis(200);
/// IPv4 and UDP, and Ethernet's.
const DATAGRAM_HEADERS: u64 = 14 + 20 + 8;
/// The same with TCP and its time stamps, and the acknowledgement that comes back.
const SEGMENT_HEADERS: u64 = 14 + 20 + 32 + 66;
