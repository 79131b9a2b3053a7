//! Cuts a super-frame into frames that can each stand alone.
//!
//! Owns what differs from one segment to the next: lengths, IPv4 identification, TCP sequence number and flags, and the
//! sums over them. Every segment is a right frame of its own, so a segment lost on the way costs the receiver that
//! segment and no other. Never reads the payload: the checksum field holds the pseudo-header's sum, and the network
//! interface (or the far kernel) adds the rest.
//!
//! ```text
//!   super-frame   | Ethernet | IP | TCP or UDP | payload 0 | payload 1 | payload 2 |
//!   segment 1     | Ethernet | IP'| TCP'or UDP'| payload 1 |
//! ```

use super::{ETHERNET_BYTES, ETHERTYPE_IPV4, ETHERTYPE_IPV6, MAX_EXTENSION_HEADERS, sum, u16_at};

/// What is cut: decides which fields change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// TCP: a stream, any cut is right (RFC 9293).
    Tcp,
    /// UDP: each segment is a datagram of its own.
    Udp,
}

/// The IP version below the transport.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    Ipv4,
    Ipv6,
}

/// TCP flags, byte 13 of the header.
pub(super) const FIN: u8 = 0x01;
/// Push: hand over what has come.
pub(super) const PSH: u8 = 0x08;
/// Congestion window reduced: said once (RFC 3168 §6.1.2).
pub(super) const CWR: u8 = 0x80;

/// A super-frame that is about to be cut.
#[derive(Debug, Clone, Copy)]
pub struct Cutter<'a> {
    headers: &'a [u8],
    payload: &'a [u8],
    layout: Layout,
    segment_bytes: usize,
    ipv4_sum: u32,
}

/// Where the headers of a frame begin and end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) protocol: Protocol,
    pub(super) family: Family,
    /// Where the transport header begins.
    pub(super) transport: usize,
    /// Where the payload begins.
    pub(super) payload: usize,
}

impl Layout {
    /// Finds the headers of a TCP or UDP frame whose transport header begins at `transport`.
    pub(super) fn parse(frame: &[u8], transport: usize, protocol: Protocol) -> Option<Self> {
        let (family, start, number) = match u16_at(frame, 12)? {
            ETHERTYPE_IPV4 => (Family::Ipv4, behind_ipv4(frame)?, *frame.get(ETHERNET_BYTES + 9)?),
            ETHERTYPE_IPV6 => {
                let (start, number) = behind_ipv6(frame)?;
                (Family::Ipv6, start, number)
            }
            _ => return None,
        };
        let expected = match protocol {
            Protocol::Tcp => 6,
            Protocol::Udp => 17,
        };
        if transport != start || number != expected {
            return None;
        }
        let transport_bytes = match protocol {
            Protocol::Tcp => usize::from(frame.get(transport + 12)? >> 4) * 4,
            Protocol::Udp => 8,
        };
        let least = if protocol == Protocol::Tcp { 20 } else { 8 };
        let payload = transport + transport_bytes;
        (transport_bytes >= least && payload <= frame.len()).then_some(Self { protocol, family, transport, payload })
    }

    /// Where the transport checksum is.
    pub(super) fn checksum(self) -> usize {
        match self.protocol {
            Protocol::Tcp => self.transport + 16,
            Protocol::Udp => self.transport + 6,
        }
    }
}

impl<'a> Cutter<'a> {
    /// Prepares a super-frame for cutting into payloads of `segment_bytes`. `transport` is where the kernel begins its
    /// checksum.
    ///
    /// # Errors
    /// [`CutError`] when the bytes are not such a super-frame.
    pub fn new(frame: &'a [u8], transport: u16, protocol: Protocol, segment_bytes: usize) -> Result<Self, CutError> {
        let layout = Layout::parse(frame, usize::from(transport), protocol).ok_or(CutError::Headers)?;
        if segment_bytes == 0 {
            return Err(CutError::EmptySegments);
        }
        let (headers, payload) = frame.split_at_checked(layout.payload).ok_or(CutError::Headers)?;
        Ok(Self { headers, payload, layout, segment_bytes, ipv4_sum: fixed_ipv4_sum(headers) })
    }

    /// Bytes of the headers in front of each segment.
    #[must_use]
    pub fn header_bytes(&self) -> usize {
        self.headers.len()
    }

    /// Bytes of payload in each segment but the last.
    #[must_use]
    pub fn segment_bytes(&self) -> usize {
        self.segment_bytes
    }

    /// How many segments it gives: at least one.
    #[must_use]
    pub fn count(&self) -> usize {
        self.payload.len().div_ceil(self.segment_bytes).max(1)
    }

    /// Bytes of segment `index` as a frame; `None` when there is no such segment.
    #[must_use]
    pub fn frame_bytes(&self, index: usize) -> Option<usize> {
        let rest = self.payload.len().checked_sub(index.checked_mul(self.segment_bytes)?)?;
        (index < self.count()).then(|| self.headers.len() + rest.min(self.segment_bytes))
    }

    /// Writes segment `index` as a frame to the front of `out` and returns its length; `None` when there is no such
    /// segment or `out` is too short.
    pub fn emit(&self, index: usize, out: &mut [u8]) -> Option<usize> {
        let from = index.checked_mul(self.segment_bytes)?;
        let to = from.checked_add(self.segment_bytes)?.min(self.payload.len());
        let payload = self.payload.get(from..to)?;
        let length = self.headers.len() + payload.len();
        let out = out.get_mut(..length)?;
        let (headers, room) = out.split_at_mut(self.headers.len());
        headers.copy_from_slice(self.headers);
        room.copy_from_slice(payload);
        self.patch(headers, index, payload.len())?;
        Some(length)
    }

    fn patch(&self, headers: &mut [u8], index: usize, payload_bytes: usize) -> Option<()> {
        let ip_bytes = u16::try_from(headers.len() - ETHERNET_BYTES + payload_bytes).ok()?;
        match self.layout.family {
            Family::Ipv4 => self.patch_ipv4(headers, index, ip_bytes)?,
            Family::Ipv6 => put(headers, ETHERNET_BYTES + 4, &ip_bytes.wrapping_sub(40).to_be_bytes())?,
        }
        let old_bytes = transport_bytes(self.headers.len() + self.payload.len(), self.layout);
        let new_bytes = transport_bytes(headers.len() + payload_bytes, self.layout);
        let checksum = sum::replace(u16_at(headers, self.layout.checksum())?, old_bytes, new_bytes);
        put(headers, self.layout.checksum(), &checksum.to_be_bytes())?;
        match self.layout.protocol {
            Protocol::Tcp => self.patch_tcp(headers, index),
            Protocol::Udp => put(headers, self.layout.transport + 4, &new_bytes.to_be_bytes()),
        }
    }

    fn patch_ipv4(&self, headers: &mut [u8], index: usize, ip_bytes: u16) -> Option<()> {
        let step = u16::try_from(index & 0xffff).ok()?;
        let identification = u16_at(headers, ETHERNET_BYTES + 4)?.wrapping_add(step);
        put(headers, ETHERNET_BYTES + 2, &ip_bytes.to_be_bytes())?;
        put(headers, ETHERNET_BYTES + 4, &identification.to_be_bytes())?;
        let checksum = !sum::fold(self.ipv4_sum + u32::from(ip_bytes) + u32::from(identification));
        put(headers, ETHERNET_BYTES + 10, &checksum.to_be_bytes())
    }

    fn patch_tcp(&self, headers: &mut [u8], index: usize) -> Option<()> {
        let at = self.layout.transport;
        let sequence = u32::from_be_bytes(super::array(headers, at + 4)?);
        let step = u32::try_from(index.checked_mul(self.segment_bytes)?).ok()?;
        put(headers, at + 4, &sequence.wrapping_add(step).to_be_bytes())?;
        let flags = headers.get_mut(at + 13)?;
        if index > 0 {
            *flags &= !CWR;
        }
        if index + 1 < self.count() {
            *flags &= !(FIN | PSH);
        }
        Some(())
    }
}

/// Where the transport header begins behind an IPv4 header and its options.
fn behind_ipv4(frame: &[u8]) -> Option<usize> {
    let bytes = usize::from(frame.get(ETHERNET_BYTES)? & 0x0f) * 4;
    (bytes >= 20).then_some(ETHERNET_BYTES + bytes)
}

/// Where the transport header begins behind an IPv6 header and the extensions that every segment repeats, and its number.
fn behind_ipv6(frame: &[u8]) -> Option<(usize, u8)> {
    const HOP_BY_HOP: u8 = 0;
    const ROUTING: u8 = 43;
    const DESTINATION_OPTIONS: u8 = 60;
    let mut number = *frame.get(ETHERNET_BYTES + 6)?;
    let mut at = ETHERNET_BYTES + 40;
    for _ in 0..MAX_EXTENSION_HEADERS {
        if !matches!(number, HOP_BY_HOP | ROUTING | DESTINATION_OPTIONS) {
            break;
        }
        let &[next, words] = frame.get(at..)?.first_chunk::<2>()?;
        number = next;
        at += (usize::from(words) + 1) * 8;
    }
    Some((at, number))
}

/// The sum over an IPv4 header without its length, identification and checksum; 0 for IPv6.
fn fixed_ipv4_sum(headers: &[u8]) -> u32 {
    if u16_at(headers, 12) != Some(ETHERTYPE_IPV4) {
        return 0;
    }
    let header_bytes = usize::from(headers.get(ETHERNET_BYTES).map_or(0, |byte| byte & 0x0f)) * 4;
    let part = |from: usize, to: usize| headers.get(ETHERNET_BYTES + from..ETHERNET_BYTES + to).unwrap_or_default();
    let sum = sum::add_bytes(0, part(0, 2));
    let sum = sum::add_bytes(sum, part(6, 10));
    sum::add_bytes(sum, part(12, header_bytes))
}

/// What the pseudo-header counts: transport header and payload of a frame of `frame_bytes`.
pub(super) fn transport_bytes(frame_bytes: usize, layout: Layout) -> u16 {
    // A length of 65,536 and more folds like any other in one's complement, and no IP packet has it.
    u16::try_from(frame_bytes.saturating_sub(layout.transport)).unwrap_or(u16::MAX)
}

/// Writes `value` at `at`; `None` when it does not fit.
pub(super) fn put(bytes: &mut [u8], at: usize, value: &[u8]) -> Option<()> {
    bytes.get_mut(at..)?.get_mut(..value.len())?.copy_from_slice(value);
    Some(())
}

/// Why bytes cannot be cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CutError {
    /// The headers are not those of TCP or UDP over IP where they are said to be.
    #[error("not a TCP or UDP frame with its transport header where the offload says")]
    Headers,
    /// Segments without payload never end.
    #[error("segments of no bytes")]
    EmptySegments,
}

#[cfg(test)]
pub(super) mod tests;
