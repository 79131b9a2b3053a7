//! The control loop: the one place where the mesh and the ledger meet.
//!
//! Owns both cores, the store and every deadline. Whatever comes in is given to a core; then everything the cores have to
//! say is drained, until nothing is left. A batch is on the disk before what rests on it is said; the loop does not wait for
//! it, everything else goes on.
//!
//! ```text
//!   control socket ─┐                        ┌─▶ store (fsync) ─▶ what waited for it
//!   UDP, TCP ───────┼─▶ Mesh ◀─react─▶ Ipam ─┤
//!   data reports ───┤                        └─▶ replies
//!   deadlines ──────┘     └──▶ Forwarding ──▶ data threads
//! ```

mod alarms;
mod announcements;
mod forwarding;
mod guarding;
mod inner_mtu;
mod inputs;
mod intake;
mod keeping;
mod password;
mod react;
mod reconcile;
mod refusals;
mod renewal;
mod requests;
mod storing;
mod targets;
mod then;
mod tokens;
mod views;
mod waiting;
mod wanted;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use ipam::{Ipam, RequestId};
use mesh::Mesh;
use sd_notify::NotifyState;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use wire::{Certificate, ClusterId, Identity, Network, PeerName};

pub(crate) use announcements::Announcements;
pub(crate) use guarding::Guarding;
pub(crate) use inner_mtu::InnerMtu;
pub(crate) use inputs::{Inputs, Lookup, Signals};
pub(crate) use storing::Storing;
pub(crate) use targets::Targets;
pub(crate) use tokens::Tokens;
pub(crate) use views::pools;

use crate::config::Config;
use crate::data::DataPlane;
use crate::streams::Streams;
use alarms::Alarms;
use forwarding::Arrivals;
use waiting::Waiting;

/// Everything the daemon owns.
pub(crate) struct Control {
    mesh: Mesh,
    ipam: Ipam,
    /// This router's, as it was last decided and written.
    certificate: Certificate,
    parts: Parts,
    about: About,
    waiting: BTreeMap<RequestId, Waiting>,
    next_request: u64,
    connected: BTreeSet<Identity>,
    joining: BTreeMap<Identity, mesh::Application>,
    /// Names of applicants whose admission is on its way to the disk.
    admitting: BTreeMap<PeerName, Identity>,
    deadlines: Deadlines,
    forwarding_changed: bool,
    arrivals: Arrivals,
    traffic: BTreeMap<Identity, Traffic>,
    alarms: Alarms,
    /// When a claim last found no address anywhere; none if one has been given since.
    exhausted: Option<Instant>,
}

/// What the cores speak through.
pub(crate) struct Parts {
    pub(crate) storing: Storing,
    pub(crate) data: DataPlane,
    pub(crate) streams: Streams,
    pub(crate) udp: Arc<UdpSocket>,
    pub(crate) tokens: Tokens,
    pub(crate) targets: Targets,
    pub(crate) announcements: Announcements,
    pub(crate) guarding: Guarding,
    pub(crate) inner_mtu: InnerMtu,
    /// What was looked up beside the loop.
    pub(crate) lookups: mpsc::Sender<Lookup>,
}

/// What never changes while the router runs.
pub(crate) struct About {
    pub(crate) identity: Identity,
    pub(crate) name: PeerName,
    pub(crate) cluster: ClusterId,
    pub(crate) networks: Vec<Network>,
    pub(crate) listen: SocketAddr,
    pub(crate) bridge: String,
    pub(crate) tap: String,
    pub(crate) spool: PathBuf,
    pub(crate) config: Arc<Config>,
    pub(crate) started: Instant,
}

/// Bytes of sealed datagrams to and from one peer.
#[derive(Debug, Clone, Copy, Default)]
struct Traffic {
    sent_bytes: u64,
    received_bytes: u64,
}

/// The deadlines of the loop itself; the cores have their own.
struct Deadlines {
    token: Option<Instant>,
    /// When a store that failed is tried again.
    recover: Option<Instant>,
    survey: Instant,
}

impl Control {
    /// Puts the parts together. Nothing is said to anybody until the loop runs.
    pub(crate) fn new(mesh: Mesh, ipam: Ipam, certificate: Certificate, parts: Parts, about: About) -> Self {
        let now = about.started;
        Self {
            mesh,
            ipam,
            certificate,
            parts,
            about,
            waiting: BTreeMap::new(),
            next_request: 0,
            joining: BTreeMap::new(),
            admitting: BTreeMap::new(),
            connected: BTreeSet::new(),
            deadlines: Deadlines { token: None, recover: None, survey: now },
            forwarding_changed: true,
            arrivals: Arrivals::default(),
            traffic: BTreeMap::new(),
            alarms: Alarms::default(),
            exhausted: None,
        }
    }

    /// Runs until told to stop. What was decided is durable when this returns.
    pub(crate) async fn run(mut self, mut inputs: Inputs) {
        let now = Instant::now();
        self.tokens_changed(now);
        self.reconcile(now);
        self.guard_ports();
        self.look_at_edge(now);
        self.settle(now);
        tracing::info!(name = %self.about.name, listen = %self.about.listen, "the router is up");
        if let Err(error) = sd_notify::notify(&[NotifyState::Ready]) {
            tracing::warn!(%error, "the service manager could not be told that the router is up");
        }
        while let Some(input) = inputs.next(self.next_deadline(Instant::now())).await {
            let now = Instant::now();
            self.handle(input, now);
            // Whatever else has come in shares one turn.
            for _ in 0..BATCH {
                match inputs.try_next() {
                    Some(input) => self.handle(input, now),
                    None => break,
                }
            }
            // A new session's keys are published before the mesh confirms it, so that no frame under them is refused.
            self.settle(now);
            self.handle_timeouts(now);
            self.settle(now);
        }
        self.settle(Instant::now());
        while !self.parts.storing.is_idle() {
            let Some(stored) = inputs.stored().await else { break };
            self.handle_stored(stored, Instant::now());
            self.settle(Instant::now());
        }
        tracing::info!("the router stops");
    }

    /// When something is due.
    fn next_deadline(&mut self, now: Instant) -> Option<Instant> {
        let cores = [self.mesh.poll_timeout(now), self.ipam.poll_timeout().map(|(at, _)| at)];
        let announcements = self.parts.announcements.poll_timeout();
        let own = [
            self.deadlines.token,
            self.deadlines.recover,
            self.parts.storing.poll_timeout(),
            self.parts.targets.poll_timeout(),
            Some(self.deadlines.survey),
            self.arrivals.poll_timeout(),
            announcements,
        ];
        let edge = Some(self.parts.guarding.poll_timeout());
        cores.into_iter().chain(own).chain([edge]).flatten().min()
    }

    fn handle_timeouts(&mut self, now: Instant) {
        // For what people read of the past; nothing is decided by it.
        self.ipam.handle_wall_clock(SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default(), now);
        let due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        if due(self.mesh.poll_timeout(now)) {
            self.mesh.handle_timeout(now);
        }
        if due(self.ipam.poll_timeout().map(|(at, _)| at)) {
            self.ipam.handle_timeout(now);
        }
        self.parts.announcements.handle_timeout(now);
        if due(self.deadlines.token) {
            self.tokens_changed(now);
        }
        if due(self.parts.storing.poll_timeout()) {
            self.tell_slow_disk();
        }
        if due(self.deadlines.recover) {
            self.recover_store(now);
        }
        if self.arrivals.handle_timeout(now) {
            self.forwarding_changed = true;
        }
        if due(Some(self.parts.guarding.poll_timeout())) {
            self.look_at_edge(now);
        }
        if due(self.parts.targets.poll_timeout()) {
            self.resolve_targets(now);
        }
        if due(Some(self.deadlines.survey)) {
            self.deadlines.survey = now + targets::SURVEY;
            self.survey_underlay();
        }
    }

    /// Drains the cores until nothing is left to be said, then publishes what the data threads follow.
    fn settle(&mut self, now: Instant) {
        while self.react_ledger(now) | self.react_mesh(now) {}
        self.store(now);
        // What is said rests on what the data threads follow: an address that goes is refused here before it is used there.
        self.publish(now);
        self.transmit(now);
        self.parts.streams.close_due();
        self.publish(now);
    }
}

/// Inputs taken in one turn: enough to group a burst of ADDs, few enough that deadlines are kept.
const BATCH: usize = 256;
