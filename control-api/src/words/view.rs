//! What an operator sees: the answers of `status`, `peers`, `ps` and `leases`.
//!
//! Owns the fields that `--output json` prints. Knows nothing of how they are drawn as text.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use serde::{Deserialize, Serialize};

/// How the router is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The router's release.
    pub version: String,
    /// The cluster id, 64 hexadecimal digits.
    pub cluster: String,
    /// The router's name.
    pub name: String,
    /// Its identity, 64 hexadecimal digits.
    pub identity: String,
    /// For how many seconds it has run.
    pub uptime_s: u64,
    /// Where it listens on the underlay.
    pub listen: Vec<SocketAddr>,
    /// The IPv4 pool, `10.32.0.0/12`.
    pub pool: String,
    /// The IPv6 pool, if the cluster has one.
    pub pool6: Option<String>,
    /// This router's share of the pool.
    pub slots: SlotCounts,
    /// The other routers.
    pub peers: PeerCounts,
    /// Whether the store takes writes.
    pub store: StoreState,
    /// The whole in one word.
    pub health: Health,
    /// A sentence for everything an operator should look at.
    pub warnings: Vec<String>,
    /// Frames and datagrams lost or refused since the start, by reason; reasons with none are left out.
    #[serde(default)]
    pub drops: BTreeMap<String, u64>,
}

/// A router's share of the pool, in slots.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotCounts {
    /// What the ledger says is its own.
    pub owned: u64,
    /// Bound to running containers.
    pub allocated: u64,
    /// Kept for workloads that are away.
    pub held: u64,
    /// Left to give out, those that still rest not counted.
    pub free: u64,
}

/// How many other routers there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerCounts {
    /// With a session.
    pub connected: u64,
    /// Members of the cluster, this router and revoked ones not counted.
    pub known: u64,
}

/// Whether the store takes writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StoreState {
    /// It does.
    Ok,
    /// It failed a write: no new lease, traffic goes on.
    ReadOnly,
    /// A state that a newer router knows.
    #[serde(other)]
    Unknown,
}

/// The whole in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Health {
    /// Nothing to look at.
    Ok,
    /// It works, and `warnings` says what does not.
    Degraded,
    /// New containers get no address, or none get traffic.
    Failing,
    /// A state that a newer router knows.
    #[serde(other)]
    Unknown,
}

/// The answer of `peers`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Peers {
    /// The other routers, in no order.
    pub peers: Vec<Peer>,
}

/// One other router.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Peer {
    /// Its name.
    pub name: String,
    /// Its identity, 64 hexadecimal digits.
    pub identity: String,
    /// Its underlay address, once one is known.
    pub address: Option<SocketAddr>,
    /// How it is with it.
    pub state: PeerState,
    /// How frames get there, once they do.
    pub path: Option<PathKind>,
    /// The router that relays, if one does.
    pub via: Option<String>,
    /// The round trip, once measured.
    pub rtt_ms: Option<f64>,
    /// The cipher of the session, if there is one.
    pub cipher: Option<String>,
    /// The largest packet between containers that fits the path in one piece, once there is a session.
    pub mtu_bytes: Option<u32>,
    /// Bytes sent to it in sealed frames.
    pub tx_bytes: u64,
    /// Bytes received from it in sealed frames.
    pub rx_bytes: u64,
    /// For how many seconds it has been in this state.
    pub since_s: u64,
    /// Why there is no path, where that is known: a sentence.
    #[serde(default)]
    pub why: Option<String>,
}

/// How it is with a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PeerState {
    /// There is a session.
    Connected,
    /// A session is being made.
    Connecting,
    /// It was silent for too long; the session is kept.
    Suspect,
    /// It does not answer.
    Down,
    /// It is refused for good.
    Revoked,
    /// A state that a newer router knows.
    #[serde(other)]
    Unknown,
}

/// How frames reach a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PathKind {
    /// Host to host.
    Direct,
    /// Through another router, sealed end to end.
    Relay,
    /// A way that a newer router knows.
    #[serde(other)]
    Unknown,
}

/// The answer of `ps`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Containers {
    /// The attachments of this host, in no order.
    pub containers: Vec<Container>,
}

/// One attachment of this host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Container {
    /// The raddle network.
    pub network: String,
    /// The engine's id of the container.
    pub container_id: String,
    /// The interface's name inside the container.
    pub ifname: String,
    /// Its address.
    pub address: Ipv4Addr,
    /// Its IPv6 address, if the network has IPv6.
    pub address6: Option<Ipv6Addr>,
    /// Its MAC.
    pub mac: String,
    /// The workload key.
    pub workload: String,
    /// The path of its network namespace, if the engine gave one.
    pub netns: Option<String>,
    /// The name of the veth's host side.
    pub host_interface: String,
    /// Frames from or to it that were dropped, by reason.
    pub drops: BTreeMap<String, u64>,
}

/// The answer of `leases`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leases {
    /// This router's leases and what it knows of others', in no order.
    pub leases: Vec<LeaseView>,
}

/// One lease.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseView {
    /// The raddle network.
    pub network: String,
    /// The workload key.
    pub workload: String,
    /// Its address.
    pub address: Ipv4Addr,
    /// Its IPv6 address, if the network has IPv6.
    pub address6: Option<Ipv6Addr>,
    /// Its MAC.
    pub mac: String,
    /// The name of the router whose address it is.
    pub owner: String,
    /// How often the address has changed hands.
    pub epoch: u64,
    /// What it is doing.
    pub state: LeaseState,
    /// The container that has it, or had it last.
    pub container_id: Option<String>,
    /// The interface inside that container.
    pub ifname: Option<String>,
    /// For how many seconds it has been in this state, as far as this router knows.
    pub since_s: u64,
    /// For how many more seconds it is held: none when it is not held, held for ever, or held by another router.
    pub held_for_s: Option<u64>,
    /// The router it is to move to as soon as its container has stopped, if an operator said so.
    #[serde(default)]
    pub moving_to: Option<String>,
}

/// What a lease is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LeaseState {
    /// A container has it.
    Active,
    /// No container has it; it is kept for its workload.
    Held,
    /// Its port is blocked: the address is moving, or another host's.
    Fenced,
    /// It moved too often in too short a time and stays where it is.
    Frozen,
    /// A state that a newer router knows.
    #[serde(other)]
    Unknown,
}
