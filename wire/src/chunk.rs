//! What lies inside a data envelope: chunks.
//!
//! Owns their layout and how much of a path they leave to the frame. Knows no key, no peer and no device.
//!
//! The plaintext of a data datagram is one chunk behind the other, each with its length, so that several small frames can
//! share a datagram. A reader skips kinds it does not know and ignores flag bits it does not know.
//!
//! ```text
//!   0      kind (low four bits): 1 frame, 2 TCP segment, 3 UDP segment, 4 piece
//!          flags: 0x10 the transport checksum is still to be completed, 0x20 has been forwarded once
//!   1      checksum offset, counted from the checksum start
//!   2..4   length of the body
//!   4..6   network
//!   6..8   checksum start: where the transport header begins
//!   8..10  number of the super-frame (segments) or of the frame (pieces)
//!   10..12 index of the segment
//!   12..   body   frame, segment   an Ethernet frame
//!                 piece            offset, 2 bytes · whole length, 2 bytes · that part of an Ethernet frame
//! ```
//!
//! A *segment* is a frame that can stand alone and says besides which super-frame it is a part of: segments that follow
//! one another are put together with no look into the stream they belong to, and one that lost its neighbours is
//! delivered as it is. Numbers are big endian.

use crate::envelope::OVERHEAD_BYTES;
use crate::frame::{ETHERNET_BYTES, Protocol};
use crate::id::NetworkId;

/// Bytes of a chunk's header. As many as a virtio header may need, so that the receiver writes that in its place.
pub const CHUNK_HEADER_BYTES: usize = 12;

/// Bytes that a piece has between the chunk's header and its part of the frame.
pub const PIECE_HEADER_BYTES: usize = 4;

/// The least MTU an interface with IPv6 may have (RFC 8200 §5).
const LEAST_MTU_BYTES: u16 = 1280;

/// The largest MTU of an Ethernet interface: an IPv4 packet's limit.
const MOST_MTU_BYTES: u16 = 65_535;

const CHECKSUM: u8 = 0x10;
const FORWARDED: u8 = 0x20;

/// The largest IP packet that one datagram of `path_datagram_bytes` of UDP payload carries, whole or as a segment: the
/// containers' MTU.
///
/// Frames and segments have headers of the same size, so a TCP segment of the maximum segment size and a ping of exactly
/// this MTU both fill one datagram to the last byte: 1472 → 1414 (IPv4 underlay of 1500), 1452 → 1394 (IPv6),
/// 8972 → 8914 and 8952 → 8894 (9000). Never below 1280, which IPv6 needs: on narrower paths frames travel in pieces.
#[must_use]
pub fn inner_mtu(path_datagram_bytes: u16) -> u16 {
    let frame_bytes = frame_room(usize::from(path_datagram_bytes));
    let packet_bytes = u16::try_from(frame_bytes.saturating_sub(ETHERNET_BYTES)).unwrap_or(MOST_MTU_BYTES);
    packet_bytes.max(LEAST_MTU_BYTES)
}

/// The largest frame that a datagram of so many bytes carries in one chunk.
#[must_use]
pub fn frame_room(datagram_bytes: usize) -> usize {
    datagram_bytes.saturating_sub(OVERHEAD_BYTES + CHUNK_HEADER_BYTES)
}

/// A chunk's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkHeader {
    /// What the body is.
    pub kind: Kind,
    /// Whether another router passed it on already.
    pub travel: Travel,
    /// The network the frame belongs to.
    pub network: NetworkId,
    /// The checksum that the receiver's kernel completes, if one is open.
    pub checksum: Option<Checksum>,
}

/// What a chunk's body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A whole frame.
    Frame,
    /// A frame cut from a super-frame.
    Segment(Segment),
    /// A part of a frame that no datagram of the path carries whole.
    Piece(Piece),
}

/// Where a segment was in its super-frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// What was cut.
    pub protocol: Protocol,
    /// Which super-frame of the sending queue.
    pub number: u16,
    /// Which segment of it.
    pub index: u16,
}

/// Which part of which frame a piece is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    /// Which frame of the sending queue.
    pub number: u16,
    /// Where in the frame its bytes begin.
    pub offset: u16,
    /// Bytes of the whole frame.
    pub frame_bytes: u16,
}

/// A transport checksum of which only the pseudo-header is summed up yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checksum {
    /// Where in the frame summing begins.
    pub start: u16,
    /// Where the checksum goes, counted from `start`.
    pub offset: u8,
}

/// Whether a frame came from its first router.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Travel {
    /// The sender has the frame from its own bridge.
    Direct,
    /// The sender passed it on, after its address had left. Not passed on again.
    Forwarded,
}

impl ChunkHeader {
    /// Bytes between the start of the chunk and the frame's bytes.
    #[must_use]
    pub fn header_bytes(&self) -> usize {
        match self.kind {
            Kind::Frame | Kind::Segment(_) => CHUNK_HEADER_BYTES,
            Kind::Piece(_) => CHUNK_HEADER_BYTES + PIECE_HEADER_BYTES,
        }
    }

    /// Writes the header of a chunk with so many bytes of frame to the front of `out`. `None` when it does not fit or a
    /// number is too large for its field.
    pub fn emit(&self, frame_bytes: usize, out: &mut [u8]) -> Option<()> {
        let body_bytes = u16::try_from(frame_bytes + self.header_bytes() - CHUNK_HEADER_BYTES).ok()?;
        let checksum = self.checksum.unwrap_or(Checksum { start: 0, offset: 0 });
        let (kind, number, index) = match self.kind {
            Kind::Frame => (1, 0, 0),
            Kind::Segment(Segment { protocol: Protocol::Tcp, number, index }) => (2, number, index),
            Kind::Segment(Segment { protocol: Protocol::Udp, number, index }) => (3, number, index),
            Kind::Piece(piece) => (4, piece.number, 0),
        };
        let checksum_flag = if self.checksum.is_some() { CHECKSUM } else { 0 };
        let travel_flag = if self.travel == Travel::Forwarded { FORWARDED } else { 0 };
        let (header, body) = out.split_first_chunk_mut::<CHUNK_HEADER_BYTES>()?;
        header[0] = kind | checksum_flag | travel_flag;
        header[1] = checksum.offset;
        header[2..4].copy_from_slice(&body_bytes.to_be_bytes());
        header[4..6].copy_from_slice(&u16::try_from(self.network.0).ok()?.to_be_bytes());
        header[6..8].copy_from_slice(&checksum.start.to_be_bytes());
        header[8..10].copy_from_slice(&number.to_be_bytes());
        header[10..12].copy_from_slice(&index.to_be_bytes());
        if let Kind::Piece(piece) = self.kind {
            let header = body.first_chunk_mut::<PIECE_HEADER_BYTES>()?;
            header[..2].copy_from_slice(&piece.offset.to_be_bytes());
            header[2..].copy_from_slice(&piece.frame_bytes.to_be_bytes());
        }
        Some(())
    }

    /// Reads the header of a chunk whose body is there. `None` for a kind this version does not know, and for a piece
    /// without a header.
    fn parse(header: [u8; CHUNK_HEADER_BYTES], body: &[u8]) -> Option<Self> {
        let [
            first,
            checksum_offset,
            _,
            _,
            net_high,
            net_low,
            start_high,
            start_low,
            number_high,
            number_low,
            index_high,
            index_low,
        ] = header;
        let number = u16::from_be_bytes([number_high, number_low]);
        let index = u16::from_be_bytes([index_high, index_low]);
        let kind = match first & 0x0f {
            1 => Kind::Frame,
            2 => Kind::Segment(Segment { protocol: Protocol::Tcp, number, index }),
            3 => Kind::Segment(Segment { protocol: Protocol::Udp, number, index }),
            4 => {
                let &[a, b, c, d] = body.first_chunk::<PIECE_HEADER_BYTES>()?;
                let (offset, frame_bytes) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
                Kind::Piece(Piece { number, offset, frame_bytes })
            }
            _ => return None,
        };
        let start = u16::from_be_bytes([start_high, start_low]);
        let checksum = (first & CHECKSUM != 0).then_some(Checksum { start, offset: checksum_offset });
        let travel = if first & FORWARDED == 0 { Travel::Direct } else { Travel::Forwarded };
        let network = NetworkId(u32::from(u16::from_be_bytes([net_high, net_low])));
        Some(Self { kind, travel, network, checksum })
    }
}

/// A chunk that has come.
#[derive(Debug, PartialEq, Eq)]
pub struct Chunk<'a> {
    /// What it says of itself.
    pub header: ChunkHeader,
    /// The header's bytes and the frame's: the first [`ChunkHeader::header_bytes`] are free for another header.
    pub bytes: &'a mut [u8],
}

impl Chunk<'_> {
    /// The frame's bytes, or those of the part that a piece is.
    #[must_use]
    pub fn frame(&self) -> &[u8] {
        self.bytes.get(self.header.header_bytes()..).unwrap_or_default()
    }
}

/// The chunks of one plaintext, front to back.
#[derive(Debug)]
pub struct Chunks<'a> {
    rest: &'a mut [u8],
}

impl<'a> Chunks<'a> {
    /// Begins at the front of a plaintext.
    #[must_use]
    pub fn new(plaintext: &'a mut [u8]) -> Self {
        Self { rest: plaintext }
    }

    fn split(&mut self) -> Result<Option<Chunk<'a>>, ChunkError> {
        let rest = std::mem::take(&mut self.rest);
        let bytes = rest.len();
        let Some((&mut header, body)) = rest.split_first_chunk_mut::<CHUNK_HEADER_BYTES>() else {
            return Err(ChunkError::Truncated { bytes });
        };
        let body_bytes = usize::from(u16::from_be_bytes([header[2], header[3]]));
        if body_bytes > body.len() {
            return Err(ChunkError::Truncated { bytes });
        }
        let (chunk, rest) = rest.split_at_mut(CHUNK_HEADER_BYTES + body_bytes);
        self.rest = rest;
        let parsed = ChunkHeader::parse(header, chunk.get(CHUNK_HEADER_BYTES..).unwrap_or_default());
        Ok(parsed.map(|header| Chunk { header, bytes: chunk }))
    }
}

impl<'a> Iterator for Chunks<'a> {
    type Item = Result<Chunk<'a>, ChunkError>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.rest.is_empty() {
            if let Some(found) = self.split().transpose() {
                return Some(found);
            }
        }
        None
    }
}

/// Why a plaintext holds no further chunk. Those before are right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ChunkError {
    /// A header or a body is longer than what is left.
    #[error("chunk cut short: {bytes} bytes are left")]
    Truncated {
        /// What is left.
        bytes: usize,
    },
}

#[cfg(test)]
mod tests;
