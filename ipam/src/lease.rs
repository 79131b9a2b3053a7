//! Which workload has which slot on this host.
//!
//! Owns the leases and finds them by workload, by attachment and by slot. Knows nothing of who owns a slot.
//!
//! ```text
//!            claim             release (sticky)
//!   (none) ─────────▶ Active ──────────────────▶ Held ──── hold over ───▶ (none), the slot rests
//!                      ▲  │ ◀──── claim ───────── │
//!                      │  │                       └── claim on another host: the slot moves, (none)
//!        slot is back  │  ▼ slot was lost
//!                     Fenced
//! ```

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Instant;

use wire::message::Handover;
use wire::{Epoch, Identity, Mac, Network, NetworkId, PeerName, Slot};

use crate::config::Hold;

/// What an engine asks a lease for: one interface of one container in one network.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Attachment {
    /// The network.
    pub network: NetworkId,
    /// The runtime's name for the container.
    pub container_id: String,
    /// The interface inside the container.
    pub ifname: String,
    /// Who asked: `cni:NETWORK`, `docker`. What one has asked for is nothing another can ask for again, check or release.
    pub owner: String,
}

/// What stays the same when a container is recreated elsewhere. A workload with two interfaces has two leases.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct LeaseKey {
    /// The network.
    pub network: NetworkId,
    /// The workload.
    pub workload: String,
    /// The interface.
    pub ifname: String,
}

/// Pairs an answer with its question; chosen by whoever asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// A request for an address.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Claim {
    /// What it is for.
    pub attachment: Attachment,
    /// The name that stays; without one the attachment is the key, and the lease is not sticky. With an explicit address
    /// and no workload, the address is the key, and the lease is sticky; the same goes for a MAC.
    pub workload: Option<String>,
    /// This address and no other.
    pub address: Option<Ipv4Addr>,
    /// How long the address waits after a release; none = as configured.
    pub hold: Option<Hold>,
    /// This MAC, the slot's own or another; none = the one it had, or the slot's own.
    pub mac: Option<Mac>,
    /// What becomes of the workload's container if another one still runs.
    pub handover: Handover,
    /// Where it runs.
    pub place: Place,
}

/// A request to keep an address for a workload that does not run.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Reservation {
    /// For whom.
    pub key: LeaseKey,
    /// This address and no other.
    pub address: Option<Ipv4Addr>,
    /// How long it is kept.
    pub hold: Hold,
}

/// Where an attachment is on its host.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Place {
    /// The network namespace's path.
    pub netns: Option<String>,
    /// The host's end of the veth pair.
    pub host_interface: String,
    /// Whether nobody beyond its host sees its address.
    pub masqueraded: bool,
}

/// A slot bound to a workload on its owner.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Lease {
    /// The container and interface that have it, or last had it.
    pub attachment: Attachment,
    /// The workload key; of one without a name, what stands for it. [`Lease::name`] is for people.
    pub workload: String,
    /// Whether the address waits for its workload.
    pub stickiness: Stickiness,
    /// The place in the pool.
    pub slot: Slot,
    /// The epoch by which this host owns the slot.
    pub epoch: Epoch,
    /// A MAC that is not the slot's own.
    pub mac: Option<Mac>,
    /// How long it is held after a release.
    pub hold: Hold,
    /// What it is doing.
    pub state: LeaseState,
    /// Since when it is in that state; since the start of the router at the longest.
    pub since: Instant,
    /// Where the container runs, or last ran.
    pub place: Place,
}

/// Whether an address waits for its workload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub enum Stickiness {
    /// It does, and other hosts can find it.
    Sticky,
    /// It goes with its container.
    Ephemeral,
}

/// What a lease is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LeaseState {
    /// A container has it.
    Active,
    /// It waits for its workload to come back; none = for ever.
    Held {
        /// Until then.
        until: Option<Instant>,
    },
    /// A container has it, but the slot is no longer this host's: its port is blocked.
    Fenced,
}

impl LeaseState {
    /// Held from `now` on.
    pub(crate) fn held(hold: Hold, now: Instant) -> Self {
        match hold {
            Hold::For(duration) => Self::Held { until: now.checked_add(duration) },
            Hold::Forever => Self::Held { until: None },
        }
    }
}

impl Lease {
    /// The MAC its container has: the slot's own, or the one it was given.
    #[must_use]
    pub fn mac_on(&self, network: &Network) -> Mac {
        self.mac.unwrap_or_else(|| network.mac(self.slot))
    }

    /// What it is found by.
    #[must_use]
    pub fn key(&self) -> LeaseKey {
        LeaseKey {
            network: self.attachment.network,
            workload: self.workload.clone(),
            ifname: self.attachment.ifname.clone(),
        }
    }

    /// The workload as people know it: its name, or else its container's id.
    #[must_use]
    pub fn name(&self) -> &str {
        match self.stickiness {
            Stickiness::Sticky => &self.workload,
            Stickiness::Ephemeral => &self.attachment.container_id,
        }
    }
}

/// Routers in a sentence: the first few by name.
fn told(what: &str, routers: &[PeerLabel]) -> String {
    let named: Vec<_> = routers.iter().take(NAMED).map(ToString::to_string).collect();
    match routers.len() {
        0 => String::new(),
        many if many > NAMED => format!("{what}{} and {} more", named.join(", "), many - NAMED),
        _ => format!("{what}{}", named.join(", ")),
    }
}

/// Who has how much of a pool, in a sentence.
fn whose(shares: &[Share]) -> String {
    let total: u64 = shares.iter().map(|share| share.slots).sum();
    let named = shares.iter().take(NAMED).map(|share| format!("{} has {}", share.peer, share.slots));
    let others: u64 = shares.iter().skip(NAMED).map(|share| share.slots).sum();
    let more = shares.len().saturating_sub(NAMED);
    let others = (more > 0).then(|| format!("{more} more have {others}"));
    format!("of {total} addresses {}", named.chain(others).collect::<Vec<_>>().join(", "))
}

/// Routers that one sentence names.
const NAMED: usize = 5;

/// What a router has of a pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Share {
    /// Who.
    pub peer: PeerLabel,
    /// How many slots, whatever they do.
    pub slots: u64,
}

/// Why a claim got no address. Nothing has changed in any case, and the request may be repeated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClaimError {
    /// The genesis has no such network.
    #[error("there is no network number {network}")]
    UnknownNetwork {
        /// Its number.
        network: NetworkId,
    },
    /// A container id, interface or workload that is empty or too long.
    #[error("{text:?} has not 1 to {} bytes", wire::message::TEXT_BYTES_MAX)]
    Text {
        /// The text, cut to 80 characters.
        text: String,
    },
    /// The address is not in the pool.
    #[error("{wanted} is outside the pool")]
    OutsidePool {
        /// The address.
        wanted: Ipv4Addr,
    },
    /// The pool's own address, the gateway or the broadcast address.
    #[error("{wanted} is reserved: the pool's own, the gateway's or the broadcast address")]
    Reserved {
        /// The address.
        wanted: Ipv4Addr,
    },
    /// Another workload has it.
    #[error("{wanted} is taken by {workload:?} (container {container_id}) on {holder}")]
    Taken {
        /// The address.
        wanted: Ipv4Addr,
        /// The workload.
        workload: String,
        /// Its container, running or last.
        container_id: String,
        /// Where it is.
        holder: PeerLabel,
    },
    /// The MAC names the place of another address.
    #[error("the MAC {mac} is that of {address}, here as everywhere")]
    MacOfAnother {
        /// The MAC.
        mac: Mac,
        /// Whose it is.
        address: Ipv4Addr,
    },
    /// No container can have the MAC.
    #[error("the MAC {mac} cannot be a container's: it is that of a group, of nobody, or of a host's end of a pair")]
    MacUnusable {
        /// The MAC.
        mac: Mac,
    },
    /// Another workload has the MAC.
    #[error("the MAC {mac} is taken by {workload:?} (container {container_id}) on {holder}")]
    MacTaken {
        /// The MAC.
        mac: Mac,
        /// The workload.
        workload: String,
        /// Its container, running or last.
        container_id: String,
        /// Where it is.
        holder: PeerLabel,
    },
    /// It was freed a moment ago.
    #[error("{wanted} was freed less than {rest_s} s ago")]
    Resting {
        /// The address.
        wanted: Ipv4Addr,
        /// How long a freed address rests.
        rest_s: u64,
    },
    /// The attachment has a lease.
    #[error("container {} already has {address} on {}", lease.attachment.container_id, lease.attachment.ifname)]
    Duplicate {
        /// The lease.
        lease: Box<Lease>,
        /// Its address.
        address: Ipv4Addr,
    },
    /// The workload still runs, here or elsewhere.
    #[error("workload {workload:?} still runs in container {container_id} on {holder}; try again when it has stopped")]
    HeldElsewhere {
        /// The workload.
        workload: String,
        /// Its container.
        container_id: String,
        /// Where it is.
        holder: PeerLabel,
    },
    /// Another host asked for the workload or the address first, and starts it now.
    #[error("workload {workload:?} is being started on {winner} at this moment")]
    Contended {
        /// The workload.
        workload: String,
        /// Where.
        winner: PeerLabel,
    },
    /// Who has the address does not answer.
    #[error(
        "{address} belongs to {holder}, which does not answer; if it is gone for good, run: raddle revoke {holder}"
    )]
    HolderUnreachable {
        /// The address.
        address: Ipv4Addr,
        /// Who owns it.
        holder: PeerLabel,
    },
    /// Who has the address cannot give it: its store cannot be written or was restored, or it refuses this host.
    #[error("{address} belongs to {holder}, which gives no address at present")]
    HolderUnable {
        /// The address.
        address: Ipv4Addr,
        /// Who owns it.
        holder: PeerLabel,
    },
    /// The address moved too often in too short a time, or two of its records contradict each other.
    #[error("{address} is frozen: {why}")]
    Frozen {
        /// The address.
        address: Ipv4Addr,
        /// Which of the two.
        why: FrozenWhy,
    },
    /// No slot is free here at present, and there may be later: who may have some cannot be asked or is silent, or some rest.
    #[error(
        "no address is free here at present{}{}{}",
        told("; no answer from: ", silent),
        if *resting > 0 { format!("; {resting} were freed a moment ago and rest") } else { String::new() },
        told("; asked without success: ", asked)
    )]
    NoneYet {
        /// The network.
        network: NetworkId,
        /// Routers that were asked and have nothing to give.
        asked: Vec<PeerLabel>,
        /// Routers that have some of the pool, and could not be asked or did not answer.
        silent: Vec<PeerLabel>,
        /// Slots that rest: this host's own, and those of whole blocks that others can give afterwards.
        resting: u64,
    },
    /// No slot is free here, and all who have any of the pool were asked and have no block to spare.
    #[error("no address is left here, and no router has a block to spare: {}", whose(shares))]
    Exhausted {
        /// The network.
        network: NetworkId,
        /// Who has how much of its pool, the largest first.
        shares: Vec<Share>,
    },
    /// The container was released, or asked for something else, while its claim waited.
    #[error("the claim was withdrawn while it waited")]
    Withdrawn,
    /// The store cannot be written.
    #[error("the store cannot be written: no address is given until it can be")]
    ReadOnly,
    /// This router's store was restored from a copy.
    #[error(
        "this router's store was restored from a copy: what it promised since is forgotten here, so it gives no address"
    )]
    RolledBackHere,
    /// This router was revoked.
    #[error("this router was revoked; it must join again as a new one")]
    RevokedHere,
}

/// Why an address is frozen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrozenWhy {
    /// More moves than anybody means to make.
    #[error("it moved more than {} times in {} s", crate::moving::MOVES_MAX, crate::moving::MOVES_WINDOW.as_secs())]
    Flapping,
    /// Somebody signed two records that contradict each other.
    #[error("two signed records contradict each other")]
    Quarantined,
}

/// A router as people see it: its name, or its identity when no name is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerLabel {
    /// Who.
    pub identity: Identity,
    /// What people call it.
    pub name: Option<PeerName>,
    /// Whether the name alone tells it from all others that are not revoked.
    pub unique: bool,
}

impl std::fmt::Display for PeerLabel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.name {
            Some(name) if self.unique => name.fmt(f),
            Some(name) => write!(f, "{name}~{}", self.identity.short()),
            None => self.identity.fmt(f),
        }
    }
}

/// The leases of one host.
#[derive(Debug, Clone, Default, Hash)]
pub(crate) struct Leases {
    by_key: BTreeMap<LeaseKey, Lease>,
    by_attachment: BTreeMap<Attachment, LeaseKey>,
    by_slot: BTreeMap<(NetworkId, Slot), LeaseKey>,
}

impl Leases {
    /// Puts a lease in, in the place of the one with its key.
    pub(crate) fn insert(&mut self, lease: Lease) {
        let key = lease.key();
        self.remove(&key);
        self.by_slot.insert((key.network, lease.slot), key.clone());
        if !matches!(lease.state, LeaseState::Held { .. }) {
            self.by_attachment.insert(lease.attachment.clone(), key.clone());
        }
        self.by_key.insert(key, lease);
    }

    /// Takes a lease out.
    pub(crate) fn remove(&mut self, key: &LeaseKey) -> Option<Lease> {
        let lease = self.by_key.remove(key)?;
        self.by_slot.remove(&(key.network, lease.slot));
        if self.by_attachment.get(&lease.attachment) == Some(key) {
            self.by_attachment.remove(&lease.attachment);
        }
        Some(lease)
    }

    /// The lease of a workload's interface.
    pub(crate) fn of_key(&self, key: &LeaseKey) -> Option<&Lease> {
        self.by_key.get(key)
    }

    /// The lease a container has right now; a held one is nobody's.
    pub(crate) fn of_attachment(&self, attachment: &Attachment) -> Option<&Lease> {
        self.by_key.get(self.by_attachment.get(attachment)?)
    }

    /// The lease on a slot.
    pub(crate) fn of_slot(&self, network: NetworkId, slot: Slot) -> Option<&Lease> {
        self.by_key.get(self.by_slot.get(&(network, slot))?)
    }

    /// All of them, by workload.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Lease> {
        self.by_key.values()
    }
}
