//! The network between the hosts: delay, loss, reorder, duplicates, cuts; and streams as TCP gives them, in order and late.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet, BinaryHeap},
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

impl Parcel {
    pub(crate) fn to(&self) -> usize {
        match self {
            Self::Datagram { to, .. }
            | Self::Opened { to, .. }
            | Self::Bytes { to, .. }
            | Self::Closed { to, .. }
            | Self::NotDialled { to, .. }
            | Self::Wake { node: to } => *to,
        }
    }
}

/// What arrives when; of two at once, what was sent first.
struct Due {
    at: Instant,
    count: u64,
    parcel: Parcel,
}

impl Ord for Due {
    /// The first to arrive is the greatest.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.count).cmp(&(self.at, self.count))
    }
}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Due {}

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
    /// What is on its way to each host.
    boxes: Vec<BinaryHeap<Due>>,
    /// In which turn something comes for which host.
    agenda: BTreeSet<(u64, usize)>,
    begin: Instant,
    pub(crate) ends: BTreeMap<usize, BTreeMap<StreamId, End>>,
    /// Which side of a partition each host is on.
    pub(crate) sides: BTreeMap<usize, usize>,
    /// From whom to whom nothing comes, though it does the other way.
    pub(crate) one_way: BTreeSet<(usize, usize)>,
    count: u64,
    pub(crate) bytes: u64,
    pub(crate) datagrams: u64,
}

impl Net {
    pub(crate) fn new(seed: u64, weather: Weather, begin: Instant) -> Self {
        Self {
            weather,
            dice: Dice::new(seed),
            boxes: Vec::new(),
            agenda: BTreeSet::new(),
            begin,
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
        let to = parcel.to();
        self.agenda.insert((self.turn_of(at), to));
        if self.boxes.len() <= to {
            self.boxes.resize_with(to + 1, BinaryHeap::new);
        }
        if let Some(parcels) = self.boxes.get_mut(to) {
            parcels.push(Due { at, count: self.count, parcel });
        }
    }

    /// Whose turn it is, of those that are over by then, and when it ends. Nothing that is sent within a turn arrives within it,
    /// so one host after the other takes all of its own: a thousand hosts do not fit a cache.
    pub(crate) fn poll_turn(&mut self, by: Instant) -> Option<(usize, Instant)> {
        let last = self.turn_of(by);
        self.agenda.first().filter(|(turn, _)| *turn < last)?;
        let (turn, host) = self.agenda.pop_first()?;
        let end = self.begin + TURN * u32::try_from(turn + 1).unwrap_or(u32::MAX);
        Some((host, end))
    }

    /// The next thing that arrives at a host before then.
    pub(crate) fn pop(&mut self, host: usize, before: Instant) -> Option<(Instant, Parcel)> {
        let parcels = self.boxes.get_mut(host)?;
        parcels.peek().filter(|due| due.at < before)?;
        parcels.pop().map(|due| (due.at, due.parcel))
    }

    fn turn_of(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.begin).as_nanos() / TURN.as_nanos()).unwrap_or(u64::MAX)
    }

    pub(crate) fn open(&mut self, node: usize, stream: StreamId, end: End) {
        self.ends.entry(node).or_default().insert(stream, end);
    }

    pub(crate) fn shut(&mut self, node: usize, stream: StreamId) -> Option<End> {
        self.ends.get_mut(&node)?.remove(&stream)
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
        let Some(end) = self.ends.get(&from).and_then(|ends| ends.get(&stream)).copied() else { return };
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
        self.open(from, stream, End { last: at, ..end });
        self.post(at, Parcel::Bytes { to: end.node, stream: end.stream, bytes });
    }

    pub(crate) fn travel(&mut self) -> Duration {
        let micros = usize::try_from(self.weather.jitter.as_micros()).unwrap_or_default();
        self.weather.delay + Duration::from_micros(self.dice.below(micros + 1) as u64)
    }
}

/// What every link takes at least.
pub(crate) const TURN: Duration = Duration::from_millis(1);
/// Linux's least retransmission timeout.
const RETRANSMISSION: Duration = Duration::from_millis(200);
/// IPv4 and UDP, and Ethernet's.
const DATAGRAM_HEADERS: u64 = 14 + 20 + 8;
/// The same with TCP and its time stamps, and the acknowledgement that comes back.
const SEGMENT_HEADERS: u64 = 14 + 20 + 32 + 66;
