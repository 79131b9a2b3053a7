//! The data plane: a thread for each queue, and the two things that pass between them and control.
//!
//! Owns the threads' lives, the [`Forwarding`] they work by (control → data, newest wins) and the [`Report`]s they make
//! (data → control, bounded: full = drop and count). Knows neither handshakes nor the ledger.
//!
//! ```text
//!   tap queue n ──read──▶ outbound: switch ─▶ cut ─▶ seal ──batch──▶ socket n
//!   tap queue n ◀─write── inbound:  join ◀─ switch ◀─ open ◀──batch── socket n
//! ```
//!
//! One thread runs a frame from one end to the other: no channel, lock or allocation is on the way.

mod beat;
mod counters;
mod early;
mod inbound;
mod outbound;
mod pace;
mod pieces;
mod publication;
mod run;
mod sessions;
mod spin;
mod traffic;
mod worker;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use hostnet::ready::Waker;
use hostnet::tap::TapQueue;
use hostnet::udp::UdpQueue;
use mesh::plan::Plan;
use switch::{BroadcastRate, Table};
use tokio::sync::mpsc;
use wire::{NetworkId, PeerIndex};

use counters::Counters;
use publication::Publication;
use worker::{Place, Worker};

/// What the data threads need to begin: as many tap queues as sockets.
pub(crate) struct DataConfig {
    /// The network on the bridge behind the tap.
    pub(crate) network: NetworkId,
    /// A queue for each thread.
    pub(crate) taps: Vec<TapQueue>,
    /// A socket for each thread, in the order of the group.
    pub(crate) sockets: Vec<UdpQueue>,
    /// How much broadcast and multicast each thread replicates.
    pub(crate) broadcasts: BroadcastRate,
}

/// What the data threads work by. Immutable; the newest one holds.
#[derive(Clone)]
pub(crate) struct Forwarding {
    /// Peers, paths and keys.
    pub(crate) plan: Arc<Plan>,
    /// Who has which slot.
    pub(crate) table: Arc<Table>,
}

/// What a data thread has to say.
#[derive(Debug)]
pub(crate) enum Report {
    /// The newest envelope of a session (by its local index) came from an address that none before it came from: the
    /// peer has moved, or it has begun to use the session.
    Roamed { peer: PeerIndex, session: u32, address: SocketAddr },
    /// What went to and came from a peer since the last report of the same thread, envelopes included.
    Traffic { peer: PeerIndex, sent_bytes: u64, received_bytes: u64 },
    /// A datagram for control that the kernel had coalesced with data.
    Stray { from: SocketAddr, datagram: Vec<u8> },
    /// The tap or the socket of a thread has begun to give errors, and the thread goes on trying; or has ceased to.
    Trouble { thread: u8, trouble: Option<io::Error> },
}

/// A datagram of another thread's queue that the kernel had coalesced with ours.
struct Stray {
    from: SocketAddr,
    datagram: Vec<u8>,
}

/// The running threads. Dropping it ends them, waits for them and closes tap queues and sockets.
pub(crate) struct DataPlane {
    publication: Arc<Publication>,
    stopping: Arc<AtomicBool>,
    threads: Vec<Thread>,
}

struct Thread {
    waker: Waker,
    counters: Arc<Counters>,
    handle: Option<JoinHandle<()>>,
}

/// Reports that wait for control. A traffic report for each of a thousand peers fits.
const REPORTS: usize = 2048;

/// Datagrams that wait for the thread they belong to. It takes them at once or has worse to do.
const STRAYS: usize = 64;

/// Starts a thread for each queue. They forward nothing before the first [`DataPlane::publish`].
///
/// # Errors
/// No descriptor or no thread is left; threads already started are stopped.
pub(crate) fn start(config: DataConfig) -> io::Result<(DataPlane, mpsc::Receiver<Report>)> {
    let (reports, receiver) = mpsc::channel(REPORTS);
    let count = config.taps.len().min(config.sockets.len());
    let wakers = (0..count).map(|_| Waker::new()).collect::<io::Result<Vec<_>>>()?;
    let (inboxes, strays): (Vec<SyncSender<Stray>>, Vec<Receiver<Stray>>) =
        (0..count).map(|_| sync_channel(STRAYS)).unzip();
    let neighbours: Arc<[_]> = inboxes.into_iter().zip(wakers.iter().cloned()).collect();
    let mut plane = DataPlane { publication: Arc::default(), stopping: Arc::default(), threads: Vec::new() };
    let queues = config.taps.into_iter().zip(config.sockets).zip(strays).zip(wakers).enumerate();
    for (index, (((tap, socket), strays), waker)) in queues {
        let place = Place {
            // `count` is below 256: queues are counted in a byte everywhere.
            thread: u8::try_from(index).unwrap_or(u8::MAX),
            network: config.network,
            publication: Arc::clone(&plane.publication),
            stopping: Arc::clone(&plane.stopping),
            waker: waker.clone(),
            strays,
            neighbours: Arc::clone(&neighbours),
            reports: reports.clone(),
        };
        let counters = Arc::new(Counters::default());
        let worker_counters = Arc::clone(&counters);
        let handle = std::thread::Builder::new()
            .name(format!("data-{index}"))
            .spawn(move || Worker::new(place, tap, socket, config.broadcasts, worker_counters).run())?;
        plane.threads.push(Thread { waker, counters, handle: Some(handle) });
    }
    Ok((plane, receiver))
}

impl DataPlane {
    /// Hands the threads what they work by from now on.
    pub(crate) fn publish(&self, forwarding: Forwarding) {
        self.publication.publish(forwarding);
        // So that old keys are dropped by threads that have nothing else to do.
        self.threads.iter().for_each(|thread| thread.waker.wake());
    }

    /// Every reason for which a frame or a datagram was lost, and how many, since the start.
    pub(crate) fn drops(&self) -> Vec<(&'static str, u64)> {
        counters::sums(self.threads.iter().map(|thread| thread.counters.as_ref()))
    }
}

impl Drop for DataPlane {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Release);
        self.threads.iter().for_each(|thread| thread.waker.wake());
        for handle in self.threads.iter_mut().filter_map(|thread| thread.handle.take()) {
            // A thread that panicked has said so; there is nothing to save of it.
            let _ = handle.join();
        }
        let lost: Vec<_> = self.drops().into_iter().filter(|(_, count)| *count > 0).collect();
        tracing::info!(?lost, "data threads have ended");
    }
}

#[cfg(test)]
mod tests;
