//! What a container's plugin and the router say to each other about one attachment.
//!
//! Owns the lease as the plugin sees it. Knows nothing of ledgers.

use std::net::{Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use crate::prefix::Prefixed;

/// The raddle network when a configuration names none.
pub const DEFAULT_NETWORK: &str = "raddle";

/// One interface of one container on one network, as one engine knows it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Attachment {
    /// The raddle network.
    pub network: String,
    /// The engine's id of the container.
    pub container_id: String,
    /// The interface's name inside the container.
    pub ifname: String,
    /// The name of the CNI network, or what takes its place for another kind.
    pub cni_network: String,
    /// Who asked for it. What belongs to one kind and CNI network, no other can check or release.
    pub owner_kind: OwnerKind,
}

/// An attachment whose network goes without saying.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AttachmentId {
    /// The engine's id of the container.
    pub container_id: String,
    /// The interface's name inside the container.
    pub ifname: String,
}

/// Who asked for a lease. A garbage collection touches only its own kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OwnerKind {
    /// A CNI runtime.
    Cni,
    /// The Docker plugin.
    Docker,
    /// An operator.
    Cli,
    /// The host itself.
    Expose,
    /// One that a newer client knows.
    #[serde(other)]
    Other,
}

/// Asks for an address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseRequest {
    /// The raddle network.
    #[serde(default = "default_network")]
    pub network: String,
    /// The name of the CNI network (`name` in the conflist), or what takes its place for another kind. Scopes `gc`.
    pub cni_network: String,
    /// The engine's id of the container.
    pub container_id: String,
    /// The interface's name inside the container.
    pub ifname: String,
    /// The path of the container's network namespace.
    #[serde(default)]
    pub netns: Option<String>,
    /// The name that stays when the container is recreated elsewhere. Without one it is the container id.
    #[serde(default)]
    pub workload: Option<String>,
    /// Whether the address is held for the workload after the attachment is gone.
    #[serde(default)]
    pub sticky: bool,
    /// The address the user insists on.
    #[serde(default)]
    pub address: Option<Ipv4Addr>,
    /// The IPv6 address the user insists on.
    #[serde(default)]
    pub address6: Option<Ipv6Addr>,
    /// The MAC the user insists on, `aa:bb:cc:dd:ee:ff`.
    #[serde(default)]
    pub mac: Option<String>,
    /// For how long the address is held, in seconds: 0 is not at all, [`u64::MAX`] for ever, none the router's default.
    #[serde(default)]
    pub hold_s: Option<u64>,
    /// Whether a container of the workload that still runs, here or on a host that answers, is cut off.
    #[serde(default)]
    pub take_over: bool,
    /// The name of the veth's host side.
    pub host_interface: String,
    /// Whether what the container sends beyond its network leaves under the host's address.
    #[serde(default)]
    pub masquerade: bool,
    /// Who asks.
    pub owner_kind: OwnerKind,
}

/// What an attachment was given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// The raddle network.
    pub network: String,
    /// The workload key.
    pub workload: String,
    /// The container's address, `10.32.0.5/12`.
    pub address: Prefixed<Ipv4Addr>,
    /// Its IPv6 address, if the network has IPv6.
    pub address6: Option<Prefixed<Ipv6Addr>>,
    /// The gateway, the same on every host.
    pub gateway: Ipv4Addr,
    /// The IPv6 gateway, if the network has IPv6.
    pub gateway6: Option<Ipv6Addr>,
    /// The container's MAC, `aa:bb:cc:dd:ee:ff`.
    pub mac: String,
    /// What fits every path, without the Ethernet header.
    pub mtu_bytes: u32,
    /// The bridge that the host side of the veth belongs to.
    pub bridge: String,
    /// The name of the veth's host side.
    pub host_interface: String,
    /// How often the address has changed hands.
    pub epoch: u64,
}

/// Drops the leases of one CNI network that its runtime no longer knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GcRequest {
    /// The name of the CNI network; no other's leases are touched.
    pub cni_network: String,
    /// What the runtime still has. Empty: nothing. Missing: it did not say, so only leases whose namespace is gone are dropped.
    #[serde(default)]
    pub valid: Option<Vec<AttachmentId>>,
    /// How many seconds ago the collection began: younger leases are kept, the runtime could not know them yet.
    #[serde(default)]
    pub started_ago_s: u64,
}

/// What a garbage collection dropped.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Collected {
    /// The attachments whose leases were released; their links are still to be removed.
    pub collected: Vec<CollectedAttachment>,
}

/// One released lease.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CollectedAttachment {
    /// The engine's id of the container.
    pub container_id: String,
    /// The interface's name inside the container.
    pub ifname: String,
    /// The name of the veth's host side.
    pub host_interface: String,
}

pub(super) fn default_network() -> String {
    DEFAULT_NETWORK.to_owned()
}
