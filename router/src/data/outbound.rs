//! From the tap to the underlay: cuts super-frames, puts small frames together, seals, and sends in batches.
//!
//! Owns the socket and the batch. Decides nothing about where a frame goes. Small frames share a datagram only when they
//! are there at the same time: nothing waits for company.

use std::net::SocketAddr;
use std::sync::Arc;

use hostnet::tap::{CutKind, PartialChecksum, Virtio};
use hostnet::udp::{SendBatch, UdpQueue};
use mesh::aead::SealError;
use wire::chunk::{
    CHUNK_HEADER_BYTES, Checksum, ChunkHeader, Kind, PIECE_HEADER_BYTES, Piece, Segment, Travel, frame_room,
};
use wire::envelope::{HEADER_BYTES, TAG_BYTES};
use wire::frame::{Cutter, Protocol};
use wire::{NetworkId, PeerIndex};

use super::counters::{Counters, Loss};
use super::sessions::{Path, Sealers, Sessions};
use super::traffic::Traffic;

/// Everything between a verdict and the socket.
pub(super) struct Outbound {
    pub(super) sessions: Sessions,
    pub(super) traffic: Traffic,
    batch: Batch,
    /// The datagram at the batch's end that takes more frames.
    open: Option<Open>,
    /// The last super-frame or frame in pieces. Tells them apart for a receiver; wraps.
    number: u16,
    /// For the segment that does not fit its path and so must be cut twice.
    scratch: Vec<u8>,
}

/// A frame on its way to a peer.
#[derive(Clone, Copy)]
pub(super) struct Parcel<'a> {
    pub(super) frame: &'a [u8],
    pub(super) network: NetworkId,
    pub(super) travel: Travel,
    pub(super) virtio: Virtio,
}

impl Outbound {
    pub(super) fn new(socket: UdpQueue, sessions: Sessions, counters: Arc<Counters>) -> Self {
        let batch = Batch { socket, datagrams: SendBatch::new(), counters };
        Self { sessions, traffic: Traffic::default(), batch, open: None, number: 0, scratch: Vec::new() }
    }

    /// The socket that it sends to and that datagrams for this thread come from.
    pub(super) fn socket(&self) -> &UdpQueue {
        &self.batch.socket
    }

    /// Sends what has been put together so far.
    pub(super) fn flush(&mut self) {
        self.close();
        self.batch.flush();
    }

    /// Bytes that wait for [`Outbound::flush`].
    pub(super) fn waiting_bytes(&self) -> usize {
        self.batch.datagrams.bytes()
    }

    /// Seals a frame for a peer, in as many datagrams as it takes; a small one when the next does not fit beside it, or
    /// with [`Outbound::flush`]. What is lost is counted.
    pub(super) fn transmit(&mut self, peer: PeerIndex, parcel: Parcel<'_>) {
        let Some((path, _)) = self.sessions.path(peer) else {
            return self.batch.counters.lose(Loss::NoSession, 1);
        };
        let sent = match Shape::of(&parcel, path) {
            Some(Shape::Whole(checksum)) => self.add(peer, path, &parcel, checksum),
            Some(shape) => {
                // Frames leave in the order they came in.
                self.close();
                self.transmit_cut(peer, &parcel, &shape)
            }
            None => Err(Loss::Offload),
        };
        if let Err(loss) = sent {
            self.batch.counters.lose(loss, 1);
        }
    }

    fn transmit_cut(&mut self, peer: PeerIndex, parcel: &Parcel<'_>, shape: &Shape<'_>) -> Result<(), Loss> {
        let (path, sealer) = self.sessions.path(peer).ok_or(Loss::NoSession)?;
        let mut way = Way { path, sealer, batch: &mut self.batch, sent_bytes: 0 };
        self.number = self.number.wrapping_add(1);
        let sent = match shape {
            Shape::Whole(checksum) => way.send(&parcel.header(Kind::Frame, *checksum), parcel.frame),
            Shape::Pieces(checksum) => way.send_pieces(parcel, *checksum, self.number),
            Shape::Super { cutter, protocol, checksum } => {
                if cutter.header_bytes() + cutter.segment_bytes() <= frame_room(path.datagram_bytes) {
                    way.send_segments(parcel, cutter, *protocol, *checksum, self.number)
                } else {
                    let numbers = &mut self.number;
                    way.send_cut_twice(parcel, cutter, *checksum, numbers, &mut self.scratch)
                }
            }
        };
        let sent_bytes = way.sent_bytes;
        self.traffic.sent(peer, sent_bytes);
        sent
    }

    /// Sends on what is sealed already.
    pub(super) fn pass_on(&mut self, peer: PeerIndex, endpoint: SocketAddr, sealed: &[u8]) {
        self.close();
        let Some(room) = self.batch.room(sealed.len()) else {
            return self.batch.counters.lose(Loss::TooLarge, 1);
        };
        room.copy_from_slice(sealed);
        self.batch.push(endpoint, sealed.len());
        self.traffic.sent(peer, sealed.len());
    }

    /// Puts a whole frame behind the others of its datagram, or at the front of a new one.
    fn add(
        &mut self,
        peer: PeerIndex,
        path: Path,
        parcel: &Parcel<'_>,
        checksum: Option<Checksum>,
    ) -> Result<(), Loss> {
        let header = parcel.header(Kind::Frame, checksum);
        let chunk_bytes = header.header_bytes() + parcel.frame.len();
        let fits = |open: &Open| open.peer == peer && open.used + chunk_bytes + TAG_BYTES <= path.datagram_bytes;
        if !self.open.as_ref().is_some_and(fits) {
            self.close();
        }
        // A full batch is sent before a datagram is begun, never under one: room for all of it is asked for.
        let datagram = self.batch.room(path.datagram_bytes + path.outer_bytes()).ok_or(Loss::TooLarge)?;
        let used = self.open.as_ref().map_or(HEADER_BYTES, |open| open.used);
        let chunk = datagram.get_mut(used..used + chunk_bytes).ok_or(Loss::TooLarge)?;
        header.emit(parcel.frame.len(), chunk).ok_or(Loss::Offload)?;
        chunk.get_mut(header.header_bytes()..).ok_or(Loss::Offload)?.copy_from_slice(parcel.frame);
        let open = self.open.get_or_insert(Open { peer, used, frames: 0 });
        open.used += chunk_bytes;
        open.frames += 1;
        Ok(())
    }

    /// Seals the datagram that took more frames.
    fn close(&mut self) {
        let Some(Open { peer, used, frames }) = self.open.take() else {
            return;
        };
        // Keys change between turns only, and a turn leaves nothing open.
        let Some((path, sealer)) = self.sessions.path(peer) else {
            return self.batch.counters.lose(Loss::NoSession, frames);
        };
        let mut way = Way { path, sealer, batch: &mut self.batch, sent_bytes: 0 };
        let sent = way.seal(used + TAG_BYTES);
        let sent_bytes = way.sent_bytes;
        self.traffic.sent(peer, sent_bytes);
        if let Err(loss) = sent {
            self.batch.counters.lose(loss, frames);
        }
    }
}

/// A datagram that is not sealed yet.
struct Open {
    peer: PeerIndex,
    /// Its bytes so far, with the room for the envelope's header.
    used: usize,
    frames: u64,
}

impl Parcel<'_> {
    fn header(&self, kind: Kind, checksum: Option<Checksum>) -> ChunkHeader {
        ChunkHeader { kind, travel: self.travel, network: self.network, checksum }
    }
}

/// How a frame travels.
enum Shape<'a> {
    Whole(Option<Checksum>),
    Pieces(Option<Checksum>),
    Super { cutter: Cutter<'a>, protocol: Protocol, checksum: Checksum },
}

impl<'a> Shape<'a> {
    /// Decides it by the kernel's offload fields and the path's size. `None` when the fields contradict the frame, or make far
    /// more of it than it is.
    fn of(parcel: &Parcel<'a>, path: Path) -> Option<Self> {
        let room = frame_room(path.datagram_bytes);
        let checksum = match parcel.virtio.checksum {
            Some(PartialChecksum { start, offset }) => Some(Checksum { start, offset: u8::try_from(offset).ok()? }),
            None => None,
        };
        let Some(cut) = parcel.virtio.cut else {
            return Some(if parcel.frame.len() <= room { Self::Whole(checksum) } else { Self::Pieces(checksum) });
        };
        let checksum = checksum?;
        let protocol = match cut.kind {
            CutKind::Tcp4 | CutKind::Tcp6 => Protocol::Tcp,
            CutKind::Udp => Protocol::Udp,
        };
        let cutter = Cutter::new(parcel.frame, checksum.start, protocol, usize::from(cut.segment_bytes)).ok()?;
        let largest = room.saturating_sub(cutter.header_bytes());
        // TCP is a stream: on a narrow path smaller segments do what pieces would, and each can stand alone.
        let cutter = match protocol {
            Protocol::Tcp if cutter.segment_bytes() > largest && largest > 0 => {
                Cutter::new(parcel.frame, checksum.start, protocol, largest).ok()?
            }
            Protocol::Tcp | Protocol::Udp => cutter,
        };
        let count = cutter.count();
        if count > SEGMENTS_MAX || count * cutter.header_bytes() > SEGMENT_HEADERS_MAX {
            return None;
        }
        Some(Self::Super { cutter, protocol, checksum })
    }
}

/// Whoever may write raw frames can ask for segments of one byte: 65,000 datagrams for one frame. The smallest segment that an
/// application can ask a kernel for, of 88 bytes, makes fewer than 900.
const SEGMENTS_MAX: usize = 2048;

/// Or for kilobytes of extension headers in front of each segment. As many of the longest headers of IPv4 and TCP.
const SEGMENT_HEADERS_MAX: usize = SEGMENTS_MAX * (14 + 60 + 60);

/// The socket, and what is to go through it next.
struct Batch {
    socket: UdpQueue,
    datagrams: SendBatch,
    counters: Arc<Counters>,
}

impl Batch {
    fn flush(&mut self) {
        if self.datagrams.is_empty() {
            return;
        }
        let sent = self.socket.send(&mut self.datagrams);
        if sent.too_large + sent.refused > 0 {
            self.counters.lose(Loss::TooLarge, sent.too_large);
            self.counters.lose(Loss::Refused, sent.refused);
        }
    }

    /// Room for a datagram. A full batch is sent first.
    fn room(&mut self, bytes: usize) -> Option<&mut [u8]> {
        if self.datagrams.room(bytes).is_none() {
            self.flush();
        }
        self.datagrams.room(bytes)?.get_mut(..bytes)
    }

    fn push(&mut self, to: SocketAddr, bytes: usize) {
        self.datagrams.push(to, bytes);
    }
}

/// The way to one peer for one frame.
struct Way<'a> {
    path: Path,
    sealer: Sealers<'a>,
    batch: &'a mut Batch,
    sent_bytes: usize,
}

impl Way<'_> {
    fn send(&mut self, header: &ChunkHeader, bytes: &[u8]) -> Result<(), Loss> {
        self.fill(header, bytes.len(), |room| room.get_mut(..bytes.len()).map(|room| room.copy_from_slice(bytes)))
    }

    fn send_segments(
        &mut self,
        parcel: &Parcel<'_>,
        cutter: &Cutter<'_>,
        protocol: Protocol,
        checksum: Checksum,
        number: u16,
    ) -> Result<(), Loss> {
        for index in 0..cutter.count() {
            // A super-frame is below 64 KiB, so its segments are.
            let segment = Segment { protocol, number, index: u16::try_from(index).unwrap_or(u16::MAX) };
            let header = parcel.header(Kind::Segment(segment), Some(checksum));
            let frame_bytes = cutter.frame_bytes(index).ok_or(Loss::Offload)?;
            self.fill(&header, frame_bytes, |room| cutter.emit(index, room).map(|_| ()))?;
        }
        Ok(())
    }

    /// A datagram of UDP stays one datagram: each segment goes as a frame in pieces.
    fn send_cut_twice(
        &mut self,
        parcel: &Parcel<'_>,
        cutter: &Cutter<'_>,
        checksum: Checksum,
        number: &mut u16,
        scratch: &mut Vec<u8>,
    ) -> Result<(), Loss> {
        scratch.resize(cutter.header_bytes() + cutter.segment_bytes(), 0);
        for index in 0..cutter.count() {
            let frame_bytes = cutter.emit(index, scratch).ok_or(Loss::Offload)?;
            let frame = scratch.get(..frame_bytes).ok_or(Loss::Offload)?;
            *number = number.wrapping_add(1);
            self.send_pieces(&Parcel { frame, ..*parcel }, Some(checksum), *number)?;
        }
        Ok(())
    }

    fn send_pieces(&mut self, parcel: &Parcel<'_>, checksum: Option<Checksum>, number: u16) -> Result<(), Loss> {
        let piece_bytes = frame_room(self.path.datagram_bytes).saturating_sub(PIECE_HEADER_BYTES);
        let frame_bytes = u16::try_from(parcel.frame.len()).map_err(|_| Loss::TooLarge)?;
        if piece_bytes == 0 {
            return Err(Loss::TooLarge);
        }
        for (index, bytes) in parcel.frame.chunks(piece_bytes).enumerate() {
            let offset = u16::try_from(index * piece_bytes).map_err(|_| Loss::TooLarge)?;
            let header = parcel.header(Kind::Piece(Piece { number, offset, frame_bytes }), checksum);
            self.send(&header, bytes)?;
        }
        Ok(())
    }

    /// Puts one chunk into one datagram of the batch: header, then what `fill` writes.
    fn fill(
        &mut self,
        header: &ChunkHeader,
        frame_bytes: usize,
        fill: impl FnOnce(&mut [u8]) -> Option<()>,
    ) -> Result<(), Loss> {
        let datagram_bytes = HEADER_BYTES + header.header_bytes() + frame_bytes + TAG_BYTES;
        let datagram = self.batch.room(datagram_bytes + self.path.outer_bytes()).ok_or(Loss::TooLarge)?;
        let plaintext = datagram.get_mut(HEADER_BYTES..datagram_bytes - TAG_BYTES).ok_or(Loss::TooLarge)?;
        header.emit(frame_bytes, plaintext).ok_or(Loss::Offload)?;
        fill(plaintext.get_mut(header.header_bytes()..).ok_or(Loss::Offload)?).ok_or(Loss::Offload)?;
        self.seal(datagram_bytes)
    }

    /// Seals the datagram at the batch's end in place.
    fn seal(&mut self, datagram_bytes: usize) -> Result<(), Loss> {
        let room = self.batch.room(datagram_bytes + self.path.outer_bytes()).ok_or(Loss::TooLarge)?;
        let bytes = self.sealer.seal(room, datagram_bytes).map_err(|error| match error {
            SealError::Exhausted => Loss::KeyExhausted,
            SealError::NoRoom | SealError::TooLong => Loss::TooLarge,
        })?;
        self.batch.push(self.path.endpoint, bytes);
        self.sent_bytes += bytes;
        Ok(())
    }
}

const _: () = assert!(CHUNK_HEADER_BYTES >= hostnet::tap::VIRTIO_BYTES, "a virtio header is written over a chunk's");
