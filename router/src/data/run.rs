//! Segments that follow one another, and datagrams of one flow, on their way to the tap as one super-frame.
//!
//! Owns the run that is open. Copies no payload: the run is written to the tap from the datagrams it came in. Everything
//! ends with its batch, so nothing waits for a timer.

use std::io::{self, IoSlice};

use hostnet::tap::{Cut, CutKind, Offloads, PartialChecksum, TapQueue, VIRTIO_BYTES, Virtio};
use wire::PeerIndex;
use wire::chunk::{CHUNK_HEADER_BYTES, Checksum, Chunk, ChunkHeader, Kind, Segment};
use wire::frame::{Joiner, Protocol};

/// Parts of one write: more than the segments of a super-frame of 64 KiB with the usual least size (536 bytes).
const PARTS: usize = 128;

/// Kernels before 6.9 take no more datagrams in one super-frame.
const UDP_PARTS: usize = 64;

/// The run that is open, if there is one.
pub(super) struct Run<'b> {
    head: Option<Head<'b>>,
    offloads: Offloads,
    /// The parts of the write. The first is the head's; of the others as many mean anything as the run has segments.
    parts: [IoSlice<'b>; PARTS],
}

/// The first segment and what must be true of the next.
struct Head<'b> {
    peer: PeerIndex,
    header: ChunkHeader,
    checksum: Checksum,
    protocol: Protocol,
    next: Next,
    joiner: Joiner,
    /// The segment with the room in front of it.
    bytes: &'b mut [u8],
}

/// What continues a run.
#[derive(Clone, Copy)]
enum Next {
    /// This segment of the super-frame.
    Segment(Segment),
    /// A whole frame of the same flow.
    Datagram,
}

impl<'b> Run<'b> {
    /// No run yet, on the way to a tap that takes such super-frames.
    pub(super) fn new(offloads: Offloads) -> Self {
        Self { head: None, offloads, parts: [IoSlice::new(&[]); PARTS] }
    }

    /// Takes the segment that continues the run, or gives it back.
    pub(super) fn append(&mut self, peer: PeerIndex, chunk: Chunk<'b>) -> Option<Chunk<'b>> {
        let Some(head) = self.head.as_mut().filter(|head| head.continues(peer, &chunk)) else {
            return Some(chunk);
        };
        let Some(part) = self.parts.get_mut(head.joiner.segments()) else {
            return Some(chunk);
        };
        let frame: &'b [u8] = chunk.bytes.get(CHUNK_HEADER_BYTES..).unwrap_or_default();
        *part = IoSlice::new(head.joiner.append(frame).unwrap_or_default());
        if let Next::Segment(segment) = &mut head.next {
            segment.index = segment.index.wrapping_add(1);
        }
        None
    }

    /// Opens a run with its first frame; gives it back when it is none that can be joined. The run before must be
    /// flushed.
    pub(super) fn begin(&mut self, peer: PeerIndex, chunk: Chunk<'b>) -> Option<Chunk<'b>> {
        let Some(checksum) = chunk.header.checksum else {
            return Some(chunk);
        };
        let (protocol, next, joiner) = match chunk.header.kind {
            Kind::Segment(segment) => {
                let next = Segment { index: segment.index.wrapping_add(1), ..segment };
                let joiner = Joiner::begin(chunk.frame(), checksum.start, segment.protocol);
                (segment.protocol, Next::Segment(next), joiner)
            }
            Kind::Frame => {
                let at = usize::from(checksum.start) + usize::from(checksum.offset);
                (Protocol::Udp, Next::Datagram, Joiner::begin_flow(chunk.frame(), checksum.start, at))
            }
            Kind::Piece(_) => return Some(chunk),
        };
        let takes = match protocol {
            Protocol::Tcp => self.offloads != Offloads::None,
            Protocol::Udp => self.offloads == Offloads::TcpAndUdp,
        };
        let Some(joiner) = joiner.filter(|_| takes) else {
            return Some(chunk);
        };
        self.head = Some(Head { peer, header: chunk.header, checksum, protocol, next, joiner, bytes: chunk.bytes });
        None
    }

    /// Writes the run to the tap, if there is one. `None` in it when the tap has no room.
    pub(super) fn flush(&mut self, tap: &mut TapQueue) -> Option<io::Result<Option<usize>>> {
        let Head { joiner, checksum, protocol, bytes, .. } = self.head.take()?;
        // `begin` has seen that the headers are there.
        joiner.finish(bytes.get_mut(CHUNK_HEADER_BYTES..)?)?;
        let cut = (joiner.segments() > 1).then(|| Cut {
            kind: match protocol {
                Protocol::Udp => CutKind::Udp,
                Protocol::Tcp if joiner.is_ipv6() => CutKind::Tcp6,
                Protocol::Tcp => CutKind::Tcp4,
            },
            // Both are lengths inside a frame.
            segment_bytes: u16::try_from(joiner.segment_bytes()).unwrap_or(u16::MAX),
            header_bytes: u16::try_from(joiner.header_bytes()).unwrap_or(u16::MAX),
            reduces_window: joiner.reduces_window(bytes.get(CHUNK_HEADER_BYTES..).unwrap_or_default()),
        });
        let frame = with_virtio(bytes, CHUNK_HEADER_BYTES, Virtio { checksum: Some(partial(checksum)), cut })?;
        if joiner.segments() == 1 {
            return Some(tap.send(frame));
        }
        *self.parts.first_mut()? = IoSlice::new(frame);
        Some(tap.send_vectored(self.parts.get(..joiner.segments())?))
    }
}

impl Head<'_> {
    fn continues(&self, peer: PeerIndex, chunk: &Chunk<'_>) -> bool {
        // But for the segment's place, the headers must be the same.
        let same = ChunkHeader { kind: self.header.kind, ..chunk.header } == self.header;
        let is_next = match (self.next, chunk.header.kind) {
            (Next::Segment(next), Kind::Segment(segment)) => next == segment,
            (Next::Datagram, Kind::Frame) => {
                let first = self.bytes.get(CHUNK_HEADER_BYTES..).unwrap_or_default();
                self.joiner.continues_flow(first, chunk.frame())
            }
            (Next::Segment(_) | Next::Datagram, Kind::Frame | Kind::Segment(_) | Kind::Piece(_)) => false,
        };
        let has_room = self.protocol == Protocol::Tcp || self.joiner.segments() < UDP_PARTS;
        same && is_next && has_room && self.peer == peer && self.joiner.takes(chunk.frame())
    }
}

/// The kernel's form of a chunk's checksum.
pub(super) fn partial(checksum: Checksum) -> PartialChecksum {
    PartialChecksum { start: checksum.start, offset: u16::from(checksum.offset) }
}

/// Writes a virtio header in front of the frame at `frame_start` and returns both. `None` when there is no room.
pub(super) fn with_virtio(bytes: &mut [u8], frame_start: usize, virtio: Virtio) -> Option<&[u8]> {
    let bytes = bytes.get_mut(frame_start.checked_sub(VIRTIO_BYTES)?..)?;
    *bytes.first_chunk_mut::<VIRTIO_BYTES>()? = virtio.emit();
    Some(bytes)
}
