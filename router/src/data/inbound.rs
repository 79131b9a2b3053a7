//! From the underlay to the tap: opens, asks the switch, joins segments, delivers.
//!
//! Owns what one batch of datagrams becomes. Frames leave in the order they came in.

use std::io;
use std::net::SocketAddr;
use std::time::Instant;

use hostnet::tap::Virtio;
use hostnet::udp::{Message, ReceiveBatch};
use mesh::aead::OpenError;
use switch::{DropReason, Verdict};
use wire::PeerIndex;
use wire::chunk::{Chunk, ChunkHeader, Chunks, Kind, Piece, Travel};
use wire::envelope::{self, Course, Header, RELAY_BYTES};
use wire::frame::Frame;

use super::Report;
use super::counters::Loss;
use super::early::{Early, Fate};
use super::outbound::Parcel;
use super::pieces::{HEADROOM_BYTES, Progress};
use super::run::{Run, partial, with_virtio};
use super::sessions::{News, Opened, Passing, Unopened};
use super::worker::Worker;

/// Where a chunk came from.
#[derive(Clone, Copy)]
struct Sender {
    peer: PeerIndex,
    queue: u8,
}

impl Worker {
    /// Carries what a batch has received to where it belongs.
    pub(super) fn accept(&mut self, batch: &mut ReceiveBatch) {
        let mut run = Run::new(self.tap.offloads());
        for message in batch.messages() {
            let Message { from, .. } = message;
            for datagram in message.datagrams() {
                self.accept_datagram(from, datagram, &mut run);
            }
        }
        self.flush_run(&mut run);
    }

    /// Carries one datagram that another thread received for this one.
    pub(super) fn accept_stray(&mut self, from: SocketAddr, datagram: &mut [u8]) {
        let mut run = Run::new(self.tap.offloads());
        self.accept_datagram(from, datagram, &mut run);
        self.flush_run(&mut run);
    }

    fn accept_datagram<'b>(&mut self, from: SocketAddr, datagram: &'b mut [u8], run: &mut Run<'b>) {
        let header = match Header::parse(datagram) {
            Ok(header) if matches!(header.kind, envelope::Kind::Data | envelope::Kind::Relayed) => header,
            _ => return self.set_aside(from, datagram),
        };
        if self.thread_of(header.queue) != self.place.thread {
            return self.pass_to_neighbour(from, header.queue, datagram);
        }
        if header.kind == envelope::Kind::Relayed {
            return self.pass_on(&header, datagram);
        }
        let datagram_bytes = datagram.len();
        self.carried.received_bytes += datagram_bytes;
        let Opened { peer, plaintext, news } = match self.outbound.sessions.open(from, &header, datagram) {
            Ok(opened) => opened,
            Err(unopened) => return self.counters.lose(loss_of(unopened), 1),
        };
        self.outbound.traffic.received(peer, datagram_bytes);
        if news == News::Address && !self.report_heard(peer, header.receiver, from) {
            self.outbound.sessions.forget_address(header.receiver);
        }
        let sender = Sender { peer, queue: header.queue };
        for chunk in Chunks::new(plaintext) {
            match chunk {
                Ok(chunk) => self.accept_chunk(sender, chunk, run),
                Err(_) => self.counters.lose(Loss::Chunk, 1),
            }
        }
    }

    /// The kernel coalesces by size, not by type, and steers by the first datagram: what is control's may come here.
    fn set_aside(&mut self, from: SocketAddr, datagram: &[u8]) {
        match envelope::Kind::of_message(datagram) {
            Ok(envelope::Kind::Data | envelope::Kind::Relayed) | Err(_) => self.counters.lose(Loss::Unreadable, 1),
            Ok(_) => drop(self.report(Report::Stray { from, datagram: datagram.to_vec() })),
        }
    }

    /// Passes on an envelope that a peer has sealed for another one.
    fn pass_on(&mut self, header: &Header, datagram: &mut [u8]) {
        let datagram_bytes = datagram.len();
        let Some((words, sealed)) = datagram.split_first_chunk_mut::<RELAY_BYTES>() else {
            return self.counters.lose(Loss::Unrelayed, 1);
        };
        // Nothing but data, and nothing that is to be passed on again.
        let is_data = Header::parse(sealed)
            .is_ok_and(|inner| inner.kind == envelope::Kind::Data && inner.course == Course::Relayed);
        if !is_data {
            return self.counters.lose(Loss::Unrelayed, 1);
        }
        match self.outbound.sessions.open_relayed(header, words) {
            Ok(Passing { from, to, endpoint, course }) => {
                self.outbound.traffic.received(from, datagram_bytes);
                self.outbound.pass_on(to, endpoint, if course == Course::Direct { sealed } else { datagram });
            }
            Err(unopened) => self.counters.lose(loss_of(unopened), 1),
        }
    }

    fn accept_chunk<'b>(&mut self, sender: Sender, chunk: Chunk<'b>, run: &mut Run<'b>) {
        // What continues a run has been decided about with the run's first.
        let Some(chunk) = run.append(sender.peer, chunk) else {
            return;
        };
        self.flush_run(run);
        if let Kind::Piece(piece) = chunk.header.kind {
            return self.accept_piece(sender, piece, &chunk);
        }
        if !self.decide(sender.peer, &chunk.header, chunk.frame()) {
            return;
        }
        if let Some(Chunk { header, bytes }) = run.begin(sender.peer, chunk) {
            self.deliver(&header, bytes, header.header_bytes());
        }
    }

    fn accept_piece(&mut self, sender: Sender, piece: Piece, chunk: &Chunk<'_>) {
        // Taken out for the call: the frame lies in it while the rest of the worker carries the frame on.
        let mut pieces = std::mem::take(&mut self.pieces);
        match pieces.accept(sender.peer, sender.queue, piece, chunk.frame(), Instant::now()) {
            Progress::Whole(bytes) => {
                if self.decide(sender.peer, &chunk.header, bytes.get(HEADROOM_BYTES..).unwrap_or_default()) {
                    self.deliver(&chunk.header, bytes, HEADROOM_BYTES);
                }
            }
            Progress::Waiting => {}
            Progress::Displaced => self.counters.lose(Loss::Pieces, 1),
            Progress::Malformed => self.counters.lose(Loss::Chunk, 1),
        }
        self.pieces = pieces;
    }

    /// Asks the switch. Whether the frame is for the tap; otherwise it has gone where it belongs.
    fn decide(&mut self, peer: PeerIndex, header: &ChunkHeader, bytes: &[u8]) -> bool {
        let Some(frame) = Frame::parse(bytes) else {
            self.counters.drop_frame(DropReason::Malformed);
            return false;
        };
        if header.network != self.place.network {
            self.counters.drop_frame(DropReason::UnknownNetwork);
            return false;
        }
        // The kernel writes a sum where the peer says: not over the addresses that the switch is about to look at.
        let floor = frame.least_transport_start();
        if header.checksum.is_some_and(|checksum| floor.is_none_or(|floor| usize::from(checksum.start) < floor)) {
            self.counters.drop_frame(DropReason::Malformed);
            return false;
        }
        match self.table.inbound(peer, header.travel, header.network, frame) {
            Verdict::Deliver => return true,
            Verdict::Send(owner) => {
                let virtio = Virtio { checksum: header.checksum.map(partial), cut: None };
                let parcel = Parcel { frame: bytes, network: header.network, travel: Travel::Forwarded, virtio };
                self.outbound.transmit(owner, parcel);
            }
            // The switch replicates what comes from the bridge only.
            Verdict::Replicate => {}
            Verdict::Drop(reason) => {
                self.counters.drop_frame(reason);
                let strange = matches!(reason, DropReason::SourceMac | DropReason::SourceAddress);
                if strange && header.kind == Kind::Frame && header.travel == Travel::Direct {
                    self.early.keep(peer, *header, bytes, Instant::now());
                }
            }
        }
        false
    }

    /// The table has changed: whose source was not the sender's may be now.
    pub(super) fn review_early(&mut self) {
        // Taken out for the call: the frames lie in it while the rest of the worker delivers them.
        let mut early = std::mem::replace(&mut self.early, Early::empty());
        early.review(Instant::now(), |peer, header, bytes| {
            let frame = bytes.get(HEADROOM_BYTES..).and_then(Frame::parse);
            let verdict = frame.map(|frame| self.table.inbound(peer, header.travel, header.network, frame));
            if verdict != Some(Verdict::Deliver) {
                return Fate::Keep;
            }
            self.deliver(header, bytes, HEADROOM_BYTES);
            Fate::Forget
        });
        self.early = early;
    }

    fn deliver(&mut self, header: &ChunkHeader, bytes: &mut [u8], frame_start: usize) {
        let virtio = Virtio { checksum: header.checksum.map(partial), cut: None };
        if let Some(frame) = with_virtio(bytes, frame_start, virtio) {
            let written = self.tap.send(frame);
            self.note_delivery(&written);
        }
    }

    fn flush_run(&mut self, run: &mut Run<'_>) {
        if let Some(written) = run.flush(&mut self.tap) {
            self.note_delivery(&written);
        }
    }

    fn note_delivery(&mut self, written: &io::Result<Option<usize>>) {
        match written {
            Ok(Some(_)) => self.has_delivered = true,
            Ok(None) => self.counters.lose(Loss::TapFull, 1),
            Err(_) => self.counters.lose(Loss::TapRefused, 1),
        }
    }
}

fn loss_of(unopened: Unopened) -> Loss {
    match unopened {
        Unopened::UnknownSession => Loss::UnknownSession,
        Unopened::UnknownFarEnd => Loss::Unrelayed,
        Unopened::Refused(OpenError::Replayed { .. }) => Loss::Replayed,
        Unopened::Refused(OpenError::Forged | OpenError::Malformed) => Loss::Forged,
    }
}
