//! Puts consecutive segments of one super-frame together again, and datagrams of one flow.
//!
//! Owns when a frame continues the one before it and what the joined headers say. Copies no payload: the caller keeps
//! the segments where they are and writes them one behind the other. The reverse of [`super::Cutter`], but it needs no
//! whole super-frame: any run of consecutive segments joins.

use super::cut::{CWR, FIN, Family, Layout, PSH, put, transport_bytes};
use super::{ETHERNET_BYTES, Protocol, sum, u16_at};

/// The most a joined frame may have: an IPv4 packet's length field behind an Ethernet header.
const MAX_FRAME_BYTES: usize = ETHERNET_BYTES + 65_535;

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

    /// Begins a run of datagrams of one flow with a whole UDP frame. `None` when the frame is not one: another protocol, a
    /// fragment, or longer than its headers say.
    #[must_use]
    pub fn begin_flow(first: &[u8], transport: u16) -> Option<Self> {
        let run = Self::begin(first, transport, Protocol::Udp)?;
        let is_fragment = run.layout.family == Family::Ipv4 && u16_at(first, ETHERNET_BYTES + 6)? & 0x3fff != 0;
        (!is_fragment && run.says_its_length(first)).then_some(run)
    }

    /// Whether a whole UDP frame is the next datagram of the flow that `first` began: whatever the headers say is the
    /// same, but lengths, sums and the identification.
    #[must_use]
    pub fn continues_flow(&self, first: &[u8], next: &[u8]) -> bool {
        let ip = ETHERNET_BYTES;
        let at = self.layout.transport;
        let same = |from: usize, to: usize| first.get(from..to).is_some_and(|part| next.get(from..to) == Some(part));
        let same_packet = match self.layout.family {
            Family::Ipv4 => same(0, ip + 2) && same(ip + 6, ip + 10) && same(ip + 12, at),
            Family::Ipv6 => same(0, ip + 4) && same(ip + 6, at),
        };
        same_packet && same(at, at + 4) && self.says_its_length(next)
    }

    /// Whether UDP's length field is that of the frame: no padding behind.
    fn says_its_length(&self, frame: &[u8]) -> bool {
        u16_at(frame, self.layout.transport + 4) == Some(transport_bytes(frame.len(), self.layout))
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
