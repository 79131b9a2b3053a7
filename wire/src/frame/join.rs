//! Puts consecutive segments of one super-frame together again, and datagrams of one flow.
//!
//! Owns when a frame continues the one before it and what the joined headers say. Copies no payload: the caller keeps
//! the segments where they are and writes them one behind the other. The reverse of [`super::Cutter`], but it needs no
//! whole super-frame: any run of consecutive segments joins.

use super::cut::{CWR, FIN, Family, Layout, PSH, put, transport_bytes};
use super::{ETHERNET_BYTES, Protocol, sum, u16_at};

/// The most a joined frame may have: an IPv4 packet's length field behind an Ethernet header.
const MAX_FRAME_BYTES: usize = ETHERNET_BYTES + 65_535;

/// Where the IP header begins.
const IP: usize = ETHERNET_BYTES;

/// The flag in byte 6 of an IPv4 header.
const DO_NOT_FRAGMENT: u8 = 0x40;

/// A run of segments that is being joined. Holds their headers' facts, not their bytes.
#[derive(Debug, Clone, Copy)]
pub struct Joiner {
    layout: Layout,
    segment_bytes: usize,
    joined_bytes: usize,
    segments: usize,
    last_flags: u8,
    /// Whether the last segment was full, so that another may follow.
    open: bool,
}

impl Joiner {
    /// Begins a run with a segment. `None` when the frame is not a TCP or UDP segment with payload.
    #[must_use]
    pub fn begin(first: &[u8], transport: u16, protocol: Protocol) -> Option<Self> {
        let layout = Layout::parse(first, usize::from(transport), protocol)?;
        let segment_bytes = first.len().checked_sub(layout.payload).filter(|&bytes| bytes > 0)?;
        let last_flags = flags(first, layout);
        Some(Self { layout, segment_bytes, joined_bytes: first.len(), segments: 1, last_flags, open: true })
    }

    /// Begins a run of datagrams of one flow with a whole UDP frame whose checksum, of which the pseudo-header is summed up,
    /// is to be completed at `checksum`. `None` when the frame is not one: another protocol, a fragment, longer than its
    /// headers say, or with a header that is not intact.
    #[must_use]
    pub fn begin_flow(first: &[u8], transport: u16, checksum: usize) -> Option<Self> {
        let run = Self::begin(first, transport, Protocol::Udp)?;
        let is_whole =
            run.layout.family == Family::Ipv6 || is_whole_ipv4(first.get(ETHERNET_BYTES..run.layout.transport)?);
        (is_whole && run.says_its_length(first) && run.layout.checksum() == checksum).then_some(run)
    }

    /// Whether a whole UDP frame is the next datagram of the flow that `first` began: its headers are those that a cut of
    /// the joined frame would give it. Only the identification of a datagram that may not be fragmented is free, for it
    /// means nothing (RFC 6864 §4.1).
    #[must_use]
    pub fn continues_flow(&self, first: &[u8], next: &[u8]) -> bool {
        let at = self.layout.transport;
        let same = |from: usize, to: usize| first.get(from..to).is_some_and(|part| next.get(from..to) == Some(part));
        let follows = match self.layout.family {
            Family::Ipv4 => {
                same(0, IP + 2) && same(IP + 6, IP + 10) && same(IP + 12, at) && self.counts_up(first, next)
            }
            Family::Ipv6 => same(0, IP + 4) && same(IP + 6, at),
        };
        follows && same(at, at + 4) && self.says_its_length(next) && self.sums_alike(first, next).unwrap_or_default()
    }

    /// Whether the identification of an IPv4 datagram is the next one, or without meaning.
    fn counts_up(&self, first: &[u8], next: &[u8]) -> bool {
        let may_be_fragmented = first.get(IP + 6).is_some_and(|byte| byte & DO_NOT_FRAGMENT == 0);
        let step = u16::try_from(self.segments & 0xffff).unwrap_or_default();
        let expected = u16_at(first, IP + 4).map(|number| number.wrapping_add(step));
        !may_be_fragmented || u16_at(next, IP + 4) == expected
    }

    /// Whether both checksums differ from the first datagram's only by what their headers say differently.
    fn sums_alike(&self, first: &[u8], next: &[u8]) -> Option<bool> {
        let replace = |sum: u16, at: usize| Some(sum::replace(sum, u16_at(first, at)?, u16_at(next, at)?));
        let (length_at, checksum_at) = (self.layout.transport + 4, self.layout.checksum());
        let is_right = replace(u16_at(first, checksum_at)?, length_at)? == u16_at(next, checksum_at)?;
        if self.layout.family == Family::Ipv6 {
            return Some(is_right);
        }
        let header_sum = replace(replace(!u16_at(first, IP + 10)?, IP + 2)?, IP + 4)?;
        Some(is_right && header_sum == !u16_at(next, IP + 10)?)
    }

    /// Whether the length fields of IP and UDP are those of the frame: no padding behind.
    fn says_its_length(&self, frame: &[u8]) -> bool {
        let (at, from) = match self.layout.family {
            Family::Ipv4 => (IP + 2, IP),
            Family::Ipv6 => (IP + 4, IP + 40),
        };
        let packet_bytes = u16_at(frame, at).map(|bytes| from + usize::from(bytes));
        let datagram_bytes = u16_at(frame, self.layout.transport + 4);
        packet_bytes == Some(frame.len()) && datagram_bytes == Some(transport_bytes(frame.len(), self.layout))
    }

    /// Whether a segment can follow. The caller vouches that it is the next one of the same super-frame.
    #[must_use]
    pub fn takes(&self, next: &[u8]) -> bool {
        let payload_bytes = next.len().saturating_sub(self.layout.payload);
        let fits = (1..=self.segment_bytes).contains(&payload_bytes);
        self.open && fits && self.joined_bytes + payload_bytes <= MAX_FRAME_BYTES
    }

    /// Takes the segment that follows and returns its payload; `None` (and nothing changes) when
    /// [`Joiner::takes`] says no.
    pub fn append<'a>(&mut self, next: &'a [u8]) -> Option<&'a [u8]> {
        let payload = next.get(self.layout.payload..).filter(|_| self.takes(next))?;
        self.joined_bytes += payload.len();
        self.segments += 1;
        self.last_flags = flags(next, self.layout);
        self.open = payload.len() == self.segment_bytes;
        Some(payload)
    }

    /// How many segments the run has.
    #[must_use]
    pub fn segments(&self) -> usize {
        self.segments
    }

    /// Bytes of payload in each segment but the last: the super-frame's segment size.
    #[must_use]
    pub fn segment_bytes(&self) -> usize {
        self.segment_bytes
    }

    /// Bytes of the headers.
    #[must_use]
    pub fn header_bytes(&self) -> usize {
        self.layout.payload
    }

    /// Whether the joined frame carries congestion window reduced, which the kernel wants to be told of.
    #[must_use]
    pub fn reduces_window(&self, first: &[u8]) -> bool {
        self.layout.protocol == Protocol::Tcp && flags(first, self.layout) & CWR != 0
    }

    /// Whether the run is over IPv6.
    #[must_use]
    pub fn is_ipv6(&self) -> bool {
        self.layout.family == Family::Ipv6
    }

    /// Rewrites the first segment's headers so that they are the joined frame's. `None` when they are too short, which
    /// [`Joiner::begin`] has excluded.
    pub fn finish(&self, first: &mut [u8]) -> Option<()> {
        if self.segments == 1 {
            return Some(());
        }
        let ip_bytes = u16::try_from(self.joined_bytes - ETHERNET_BYTES).ok()?;
        match self.layout.family {
            Family::Ipv4 => patch_ipv4(first, ip_bytes)?,
            Family::Ipv6 => put(first, ETHERNET_BYTES + 4, &ip_bytes.saturating_sub(40).to_be_bytes())?,
        }
        let old_bytes = transport_bytes(self.layout.payload + self.segment_bytes, self.layout);
        let new_bytes = transport_bytes(self.joined_bytes, self.layout);
        let checksum = sum::replace(u16_at(first, self.layout.checksum())?, old_bytes, new_bytes);
        put(first, self.layout.checksum(), &checksum.to_be_bytes())?;
        match self.layout.protocol {
            Protocol::Tcp => *first.get_mut(self.layout.transport + 13)? |= self.last_flags & (FIN | PSH),
            Protocol::Udp => put(first, self.layout.transport + 4, &new_bytes.to_be_bytes())?,
        }
        Some(())
    }
}

/// Whether an IPv4 header is that of a packet in one part, and its checksum is right.
fn is_whole_ipv4(header: &[u8]) -> bool {
    u16_at(header, 6).is_some_and(|fragment| fragment & 0x3fff == 0) && sum::fold(sum::add_bytes(0, header)) == 0xffff
}

fn patch_ipv4(first: &mut [u8], ip_bytes: u16) -> Option<()> {
    let old_bytes = u16_at(first, ETHERNET_BYTES + 2)?;
    let header_sum = !u16_at(first, ETHERNET_BYTES + 10)?;
    put(first, ETHERNET_BYTES + 2, &ip_bytes.to_be_bytes())?;
    put(first, ETHERNET_BYTES + 10, &(!sum::replace(header_sum, old_bytes, ip_bytes)).to_be_bytes())
}

fn flags(segment: &[u8], layout: Layout) -> u8 {
    match layout.protocol {
        Protocol::Tcp => segment.get(layout.transport + 13).copied().unwrap_or_default(),
        Protocol::Udp => 0,
    }
}

#[cfg(test)]
mod tests;
