//! One data thread: sleeps, reads, forwards, reports.
//!
//! Owns everything its frames touch: a tap queue, a socket, keys, counters. A frame runs from one end to the other on the
//! thread that was woken for it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender};
use std::time::{Duration, Instant};

use hostnet::ready::{Ready, Waker, keep_time, wait};
use hostnet::tap::{MAX_READ_BYTES, TapQueue, VIRTIO_BYTES, Virtio};
use hostnet::udp::{ReceiveBatch, Received, UdpQueue};
use switch::{Allowance, BroadcastLimit, BroadcastRate, DropReason, Table, Verdict};
use tokio::sync::mpsc;
use wire::chunk::Travel;
use wire::frame::Frame;
use wire::{NetworkId, PeerIndex};

use std::os::fd::AsFd;

use super::beat::{Beat, Watch};
use super::counters::{Counters, Loss};
use super::early::Early;
use super::outbound::{Outbound, Parcel};
use super::pace::Pace;
use super::pieces::Pieces;
use super::publication::Publication;
use super::sessions::Sessions;
use super::spin::{Carried, Spin};
use super::{Forwarding, Report, Stray};

/// Where a thread stands among the others.
pub(super) struct Place {
    /// Its number, which is that of its queues.
    pub(super) thread: u8,
    pub(super) network: NetworkId,
    pub(super) publication: Arc<Publication>,
    pub(super) stopping: Arc<AtomicBool>,
    pub(super) waker: Waker,
    pub(super) strays: Receiver<Stray>,
    /// The inbox and waker of every thread, in order.
    pub(super) neighbours: Arc<[(SyncSender<Stray>, Waker)]>,
    pub(super) reports: mpsc::Sender<Report>,
}

/// One thread's possessions.
pub(super) struct Worker {
    pub(super) place: Place,
    pub(super) tap: TapQueue,
    pub(super) outbound: Outbound,
    pub(super) table: Arc<Table>,
    pub(super) pieces: Pieces,
    pub(super) early: Early,
    pub(super) counters: Arc<Counters>,
    /// Whether the tap was written to since it was last read: its answer may be there already.
    pub(super) has_delivered: bool,
    broadcasts: BroadcastLimit,
    pace: Pace,
    spin: Spin,
    beat: Beat,
    /// What the last turn carried.
    pub(super) carried: Carried,
    /// Whether nothing was there when this turn began, so that what woke it is most likely alone.
    is_quiet: bool,
    seen: u64,
}

/// Bytes put together before they are sent. Three super-frames fill the messages of one system call better than one,
/// whose last two datagrams go alone: a tenth less processor time for each byte than with 64 KiB, measured.
const FLUSH_BYTES: usize = 192 << 10;

/// Frames read before the socket gets its turn. Small frames leave in one batch; super-frames fill theirs sooner.
const FRAMES_A_TURN: usize = 64;

/// How long a thread rests after an error, so that an interface that is gone does not become a busy loop.
const AFTER_FAILURE: Duration = Duration::from_millis(100);

impl Worker {
    pub(super) fn new(
        place: Place,
        tap: TapQueue,
        socket: UdpQueue,
        broadcasts: BroadcastRate,
        counters: Arc<Counters>,
    ) -> Self {
        let threads = u8::try_from(place.neighbours.len()).unwrap_or(u8::MAX);
        let sessions = Sessions::new(place.thread, threads);
        let outbound = Outbound::new(socket, sessions, Arc::clone(&counters));
        Self {
            place,
            tap,
            outbound,
            table: Arc::default(),
            pieces: Pieces::default(),
            early: Early::new(),
            counters,
            has_delivered: false,
            broadcasts: BroadcastLimit::new(broadcasts, Instant::now()),
            pace: Pace::new(Instant::now()),
            spin: Spin::new(Instant::now()),
            beat: Beat::new(Instant::now()),
            carried: Carried::default(),
            is_quiet: false,
            seen: 0,
        }
    }

    /// Works until the plane is stopped.
    pub(super) fn run(mut self) {
        let mut frame = vec![0; MAX_READ_BYTES];
        let mut batch = ReceiveBatch::new();
        let mut is_failing = false;
        keep_time();
        while !self.place.stopping.load(Ordering::Acquire) {
            let trouble = self.turn(&mut frame, &mut batch).err();
            let has_failed = trouble.is_some();
            if has_failed != is_failing && self.report(Report::Trouble { thread: self.place.thread, trouble }) {
                is_failing = has_failed;
            }
            if has_failed {
                std::thread::sleep(AFTER_FAILURE);
            }
        }
    }

    /// Sleeps until there is something to do, and does it.
    pub(super) fn turn(&mut self, frame: &mut [u8], batch: &mut ReceiveBatch) -> io::Result<()> {
        let now = Instant::now();
        let carried = std::mem::take(&mut self.carried);
        self.spin.handle_turn(&carried, now);
        if let Some(nap) = self.pace.nap(carried.frames, now) {
            std::thread::sleep(nap);
        }
        let ready = self.await_work(now)?;
        self.follow();
        self.receive_ready(ready, batch)?;
        // What the container says to a frame is often there before the write has returned.
        if ready.tap || std::mem::take(&mut self.has_delivered) {
            self.forward_frames(frame)?;
        }
        self.report_traffic();
        Ok(())
    }

    /// Looks for work, goes on looking for a moment if that is worth it, and then sleeps.
    fn await_work(&mut self, begun: Instant) -> io::Result<Ready> {
        let patience = self.outbound.traffic.patience(begun);
        self.is_quiet = false;
        if self.spin.rests(begun) {
            return self.poll(patience);
        }
        let mut ready = self.poll(Some(Duration::ZERO))?;
        if ready == Ready::default() {
            self.is_quiet = true;
            ready = self.look(begun, |spin, now| spin.goes_on(begun, now))?;
        }
        if ready == Ready::default() {
            ready = self.await_beat(patience)?;
        }
        if ready == Ready::default() {
            // Some of it may have passed in waiting for a beat.
            let patience = self.outbound.traffic.patience(Instant::now());
            ready = self.poll(patience)?;
        }
        let now = Instant::now();
        self.spin.handle_work(now.saturating_duration_since(begun));
        if ready.tap || ready.udp {
            self.beat.handle_work(now);
        }
        Ok(ready)
    }

    /// Sleeps until the next frame of a steady row is nearly due, and looks for it.
    fn await_beat(&mut self, patience: Option<Duration>) -> io::Result<Ready> {
        let now = Instant::now();
        let Some(Watch { from, until }) = self.beat.watch(now) else {
            return Ok(Ready::default());
        };
        let rest = from.saturating_duration_since(now);
        if patience.is_some_and(|patience| patience <= rest) {
            return Ok(Ready::default());
        }
        let ready = self.poll(Some(rest))?;
        // A signal ends a sleep early: that is no reason to look for so long.
        if ready != Ready::default() || Instant::now() < from {
            return Ok(ready);
        }
        self.look(from, |spin, now| now < until && !spin.rests(now))
    }

    fn look(&mut self, begun: Instant, goes_on: impl Fn(&Spin, Instant) -> bool) -> io::Result<Ready> {
        let mut now = begun;
        while goes_on(&self.spin, now) {
            std::thread::yield_now();
            let ready = self.poll(Some(Duration::ZERO))?;
            let back = Instant::now();
            self.spin.handle_away(back.saturating_duration_since(now), back);
            if ready != Ready::default() {
                return Ok(ready);
            }
            now = back;
        }
        Ok(Ready::default())
    }

    fn poll(&self, patience: Option<Duration>) -> io::Result<Ready> {
        wait(self.tap.as_fd(), self.outbound.socket().as_fd(), &self.place.waker, patience)
    }

    fn receive_ready(&mut self, ready: Ready, batch: &mut ReceiveBatch) -> io::Result<()> {
        if ready.udp && self.receive(batch)? != Received::Nothing {
            self.accept(batch);
        }
        if ready.woken {
            while let Ok(Stray { from, mut datagram }) = self.place.strays.try_recv() {
                self.accept_stray(from, &mut datagram);
            }
        }
        // Stragglers that were passed on.
        self.outbound.flush();
        Ok(())
    }

    fn receive(&self, batch: &mut ReceiveBatch) -> io::Result<Received> {
        let socket = self.outbound.socket();
        if self.is_quiet { socket.receive_one(batch) } else { socket.receive(batch) }
    }

    fn forward_frames(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        for _ in 0..FRAMES_A_TURN {
            let received = self.tap.receive(buffer);
            let Ok(Some(bytes)) = received else {
                self.outbound.flush();
                return received.map(|_| ());
            };
            self.carried.frames += 1;
            self.carried.sent_bytes += bytes;
            self.forward(buffer.get(..bytes).unwrap_or_default());
            // Whoever is alone does not wait for a look for company, nor does the core for whoever is to answer.
            if self.is_quiet {
                break;
            }
            if self.outbound.waiting_bytes() >= FLUSH_BYTES {
                self.outbound.flush();
            }
        }
        self.outbound.flush();
        Ok(())
    }

    /// Carries one frame from the bridge to where it belongs.
    fn forward(&mut self, bytes: &[u8]) {
        let virtio = Virtio::parse(bytes);
        let frame = bytes.get(VIRTIO_BYTES..).and_then(Frame::parse);
        let (Some(virtio), Some(frame)) = (virtio, frame) else {
            return self.counters.drop_frame(DropReason::Malformed);
        };
        let network = self.place.network;
        let parcel = Parcel { frame: frame.bytes(), network, travel: Travel::Direct, virtio };
        match self.table.outbound(network, frame) {
            Verdict::Send(peer) => self.outbound.transmit(peer, parcel),
            Verdict::Replicate => self.replicate(parcel),
            Verdict::Drop(reason) => self.counters.drop_frame(reason),
            // The switch delivers only what comes from a peer.
            Verdict::Deliver => {}
        }
    }

    fn replicate(&mut self, parcel: Parcel<'_>) {
        if self.broadcasts.take(Instant::now()) == Allowance::Refuse {
            return self.counters.drop_frame(DropReason::Rate);
        }
        for &peer in self.table.replicas() {
            self.outbound.transmit(peer, parcel);
        }
    }

    fn follow(&mut self) {
        if let Some(Forwarding { plan, table }) = self.place.publication.newer(&mut self.seen) {
            self.outbound.sessions.follow(&plan);
            self.outbound.traffic.resize(self.outbound.sessions.peers());
            self.table = table;
            self.review_early();
        }
    }

    /// The thread that a peer's queue belongs to.
    pub(super) fn thread_of(&self, queue: u8) -> u8 {
        let threads = u8::try_from(self.place.neighbours.len()).unwrap_or(u8::MAX);
        queue.checked_rem(threads).unwrap_or_default()
    }

    pub(super) fn pass_to_neighbour(&mut self, from: SocketAddr, queue: u8, datagram: &[u8]) {
        let Some((inbox, waker)) = self.place.neighbours.get(usize::from(self.thread_of(queue))) else {
            return;
        };
        match inbox.try_send(Stray { from, datagram: datagram.to_vec() }) {
            Ok(()) => waker.wake(),
            Err(_) => self.counters.lose(Loss::StraysFull, 1),
        }
    }

    pub(super) fn report_heard(&mut self, peer: PeerIndex, session: u32, address: SocketAddr) -> bool {
        self.report(Report::Roamed { peer, session, address })
    }

    fn report_traffic(&mut self) {
        let Some(sums) = self.outbound.traffic.take(Instant::now()) else {
            return;
        };
        for (peer, sums) in sums {
            let report = Report::Traffic { peer, sent_bytes: sums.sent_bytes, received_bytes: sums.received_bytes };
            queue(&self.place.reports, &self.counters, report);
        }
    }

    /// Returns whether control will read it.
    pub(super) fn report(&self, report: Report) -> bool {
        queue(&self.place.reports, &self.counters, report)
    }
}

fn queue(reports: &mpsc::Sender<Report>, counters: &Counters, report: Report) -> bool {
    let is_queued = reports.try_send(report).is_ok();
    if !is_queued {
        counters.lose(Loss::ReportsFull, 1);
    }
    is_queued
}
