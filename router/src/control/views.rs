//! What an operator sees: the router's state as the words of the control socket.
//!
//! Owns nothing and changes nothing. Knows every part, so that no part needs to know another.

use std::collections::BTreeMap;
use std::time::Instant;

use control_api::{
    Container, Containers, Health, LeaseState, LeaseView, Leases, MoveReason, MoveView, Moves, PathKind, Peer,
    PeerCounts, PeerState, Peers, SlotCounts, Status, StoreState,
};
use wire::message::{EntryState, Why};
use wire::{Network, Slot};

use super::Control;
use super::alarms::Part;

pub(super) fn status(control: &Control, now: Instant) -> Status {
    let counts = control.ipam.space();
    let mut peers = control.mesh.peers(now);
    peers.retain(|peer| peer.state != mesh::PeerState::Revoked);
    let connected = peers.iter().filter(|peer| peer.state == mesh::PeerState::Connected).count();
    let warnings = warnings(control, &peers, now);
    Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        cluster: control.about.cluster.to_string(),
        name: control.about.name.to_string(),
        identity: control.about.identity.to_string(),
        uptime_s: now.saturating_duration_since(control.about.started).as_secs(),
        listen: vec![control.about.listen],
        pool: pools(&control.about.networks),
        pool6: control.about.networks.iter().find_map(|network| network.pool6).map(|pool| pool.to_string()),
        slots: SlotCounts {
            owned: counts.owned,
            allocated: counts.allocated,
            held: counts.held,
            free: free_slots(control),
        },
        peers: PeerCounts { connected: count(connected), known: count(peers.len()) },
        store: match control.ipam.health() {
            ipam::Health::ReadOnly => StoreState::ReadOnly,
            ipam::Health::Working | ipam::Health::RolledBack | ipam::Health::Revoked => StoreState::Ok,
        },
        health: match control.ipam.health() {
            ipam::Health::Working if !control.alarms.works(Part::Bridge) => Health::Failing,
            ipam::Health::Working if warnings.is_empty() => Health::Ok,
            ipam::Health::Working => Health::Degraded,
            ipam::Health::ReadOnly | ipam::Health::RolledBack | ipam::Health::Revoked => Health::Failing,
        },
        warnings,
        drops: control
            .parts
            .data
            .drops()
            .into_iter()
            .chain(control.mesh.counters().drops())
            .filter(|(_, count)| *count > 0)
            .map(|(reason, count)| (reason.to_owned(), count))
            .collect(),
    }
}

/// What can still be given out here: blocks that are not opened yet included.
pub(super) fn free_slots(control: &Control) -> u64 {
    let counts = control.ipam.space();
    let nobodys = control.about.networks.iter().flat_map(|network| {
        // The pool's own, the gateway's and the broadcast address belong to somebody too.
        let ends = [Slot(0), Slot::GATEWAY, Slot(network.slots().saturating_sub(1))];
        ends.into_iter().filter(|slot| control.ipam.owner(network.id, *slot) == Some(control.about.identity))
    });
    let taken = counts.allocated + counts.held + counts.resting + count(nobodys.count());
    counts.owned.saturating_sub(taken)
}

fn warnings(control: &Control, peers: &[mesh::PeerView], now: Instant) -> Vec<String> {
    let mut warnings: Vec<String> = control.alarms.shown(now).cloned().collect();
    warnings.extend(control.ipam.questions().iter().map(asked));
    let beyond = |peer: &mesh::PeerView| {
        Some(format!(
            "no path to {}: {}",
            control.ipam.label(peer.identity),
            too_far(&control.ipam.label(peer.far_by?))
        ))
    };
    warnings.extend(peers.iter().filter_map(beyond));
    match control.ipam.health() {
        // Why nothing can be written is among the troubles.
        ipam::Health::Working | ipam::Health::ReadOnly => {}
        ipam::Health::RolledBack => warnings.push(format!(
            "this router's store was restored from a copy: no address is given; stop it, run 'raddle revoke {}' on another router, \
             empty its data directory and run 'raddle join' again",
            control.about.name,
        )),
        ipam::Health::Revoked => {
            warnings.push("this router was revoked: empty its data directory and run 'raddle join' again".to_owned());
        }
    }
    warnings
}

fn asked(question: &ipam::Question) -> String {
    let (asker, victims) = (&question.asker, names(&question.victims));
    match question.answer {
        ipam::Answer::Promised => format!(
            "{asker} asks to revoke {victims}, which this router refuses until that is decided; if nobody meant it: \
             'raddle revoke {asker}' ends what it has asked for"
        ),
        ipam::Answer::Behind => {
            format!("{asker} asks to revoke {victims}, after revocations that this router has not heard of yet")
        }
        ipam::Answer::Waits => format!(
            "{asker} asks to revoke {victims}, and this router sees some of them alive: it waits for a second router to ask; \
             'raddle revoke {victims}' here agrees"
        ),
    }
}

pub(super) fn names(routers: &[ipam::PeerLabel]) -> String {
    routers.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

pub(super) fn peers(control: &Control, now: Instant) -> Peers {
    Peers { peers: control.mesh.peers(now).into_iter().map(|peer| peer_view(control, peer)).collect() }
}

fn peer_view(control: &Control, peer: mesh::PeerView) -> Peer {
    let traffic = control.traffic.get(&peer.identity).copied().unwrap_or_default();
    let header = if peer.address.is_some_and(|address| address.is_ipv6()) { IPV6_UDP } else { IPV4_UDP };
    Peer {
        name: control.ipam.label(peer.identity).to_string(),
        identity: peer.identity.to_string(),
        address: peer.address,
        state: match peer.state {
            mesh::PeerState::Connecting => PeerState::Connecting,
            mesh::PeerState::Connected => PeerState::Connected,
            mesh::PeerState::Suspect => PeerState::Suspect,
            mesh::PeerState::Down => PeerState::Down,
            mesh::PeerState::Revoked => PeerState::Revoked,
        },
        path: match peer.route {
            mesh::Route::Direct(_) => Some(PathKind::Direct),
            mesh::Route::Relay(_) => Some(PathKind::Relay),
            mesh::Route::None => None,
        },
        via: match peer.route {
            mesh::Route::Relay(relay) => Some(control.ipam.label(relay).to_string()),
            mesh::Route::Direct(_) | mesh::Route::None => None,
        },
        rtt_ms: peer.round_trip.map(|round_trip| round_trip.as_secs_f64() * 1000.0),
        cipher: peer.suite.map(|suite| suite.name().to_owned()),
        mtu_bytes: (peer.route != mesh::Route::None)
            .then(|| u32::from(wire::chunk::inner_mtu(peer.mtu_bytes.saturating_sub(header)))),
        tx_bytes: traffic.sent_bytes,
        rx_bytes: traffic.received_bytes,
        since_s: peer.since.as_secs(),
        why: peer.far_by.map(|neighbour| too_far(&control.ipam.label(neighbour))),
    }
}

/// Why there is no path to a peer that a neighbour reaches.
fn too_far(neighbour: &ipam::PeerLabel) -> String {
    format!(
        "it is reached from {neighbour} by two relays, and none passes on what two have passed on; containers here and there \
         meet when a router nearer to it is reached from here directly (UDP and TCP)"
    )
}

pub(super) fn containers(control: &Control) -> Containers {
    let mut drops = control.parts.guarding.drops();
    let running = control.ipam.leases().filter(|lease| !matches!(lease.state, ipam::LeaseState::Held { .. }));
    let containers = running.filter_map(|lease| {
        let network = control.ipam.network(lease.attachment.network)?;
        Some(Container {
            network: network.name.clone(),
            container_id: lease.attachment.container_id.clone(),
            ifname: lease.attachment.ifname.clone(),
            address: network.address(lease.slot),
            address6: network.address6(lease.slot),
            mac: lease.mac_on(network).to_string(),
            workload: lease.name().to_owned(),
            netns: lease.place.netns.clone(),
            host_interface: lease.place.host_interface.clone(),
            drops: drops.remove(&lease.place.host_interface).map(by_reason).unwrap_or_default(),
        })
    });
    Containers { containers: containers.collect() }
}

fn by_reason(drops: BTreeMap<&'static str, u64>) -> BTreeMap<String, u64> {
    drops.into_iter().map(|(reason, count)| (reason.to_owned(), count)).collect()
}

/// This host's leases, and the sticky ones of every other host.
pub(super) fn leases(control: &Control, now: Instant) -> Leases {
    let here = control.ipam.leases().filter_map(|lease| local_lease(control, lease, now));
    let elsewhere = control.ipam.directory().filter(|entry| entry.author != control.about.identity);
    let elsewhere = elsewhere.filter_map(|entry| {
        let network = control.ipam.network(entry.network)?;
        let heard = control.ipam.heard_at(entry);
        let since = now.saturating_duration_since(heard.unwrap_or(control.about.started)).as_secs();
        // What was on the disk at the start may have been held for any time.
        let held_for_s = || Some(entry.hold_s.filter(|_| heard.is_some())?.saturating_sub(since));
        Some(LeaseView {
            network: network.name.clone(),
            workload: entry.workload.clone(),
            address: network.address(entry.slot),
            address6: network.address6(entry.slot),
            mac: entry.mac.unwrap_or_else(|| network.mac(entry.slot)).to_string(),
            owner: control.ipam.label(entry.author).to_string(),
            epoch: entry.epoch.0,
            state: match entry.state {
                EntryState::Active => LeaseState::Active,
                EntryState::Held => LeaseState::Held,
                EntryState::Ended => return None,
            },
            container_id: Some(entry.container_id.clone()).filter(|id| !id.is_empty()),
            ifname: Some(entry.ifname.clone()),
            since_s: since,
            held_for_s: held_for_s().filter(|_| entry.state == EntryState::Held),
            moving_to: moving_to(control, &ipam::key_of(entry), now),
        })
    });
    Leases { leases: here.chain(elsewhere).collect() }
}

fn local_lease(control: &Control, lease: &ipam::Lease, now: Instant) -> Option<LeaseView> {
    let id = lease.attachment.network;
    let network = control.ipam.network(id)?;
    let frozen = control.ipam.is_frozen(id, lease.slot, now);
    let (state, held_for_s) = match lease.state {
        _ if frozen => (LeaseState::Frozen, None),
        ipam::LeaseState::Active => (LeaseState::Active, None),
        ipam::LeaseState::Fenced => (LeaseState::Fenced, None),
        ipam::LeaseState::Held { until } => {
            (LeaseState::Held, until.map(|until| until.saturating_duration_since(now).as_secs()))
        }
    };
    Some(LeaseView {
        network: network.name.clone(),
        workload: lease.name().to_owned(),
        address: network.address(lease.slot),
        address6: network.address6(lease.slot),
        mac: lease.mac_on(network).to_string(),
        // The address of a fenced port is another router's.
        owner: control
            .ipam
            .owner(id, lease.slot)
            .map_or_else(String::new, |owner| control.ipam.label(owner).to_string()),
        epoch: lease.epoch.0,
        state,
        container_id: Some(lease.attachment.container_id.clone()).filter(|id| !id.is_empty()),
        ifname: Some(lease.attachment.ifname.clone()),
        since_s: now.saturating_duration_since(lease.since).as_secs(),
        held_for_s,
        moving_to: moving_to(control, &lease.key(), now),
    })
}

/// What this router has heard of moves, from the oldest to the newest.
pub(super) fn moves(control: &Control) -> Moves {
    let moves = control.ipam.history().filter_map(|moved| {
        let network = control.ipam.network(moved.key.network)?;
        Some(MoveView {
            at_unix_s: moved.at.as_secs(),
            network: network.name.clone(),
            workload: moved.key.workload.clone(),
            ifname: moved.key.ifname.clone(),
            address: network.address(moved.slot),
            address6: network.address6(moved.slot),
            from: control.ipam.label(moved.from).to_string(),
            to: control.ipam.label(moved.to).to_string(),
            epoch: moved.epoch.0,
            why: match moved.why {
                Why::Followed => MoveReason::Followed,
                Why::Asked => MoveReason::Asked,
                Why::TakenOver => MoveReason::TakenOver,
                Why::Revoked => MoveReason::Revoked,
            },
        })
    });
    Moves { moves: moves.collect() }
}

fn moving_to(control: &Control, key: &ipam::LeaseKey, now: Instant) -> Option<String> {
    control.ipam.moving_to(key, now).map(|to| control.ipam.label(to).to_string())
}

/// The IPv4 pools as people write them.
pub(crate) fn pools(networks: &[Network]) -> String {
    let written: Vec<_> = networks.iter().map(|network| network.pool.to_string()).collect();
    written.join(", ")
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

/// What IPv4 and UDP put in front of a datagram.
const IPV4_UDP: u16 = 28;
/// What IPv6 and UDP put in front of a datagram.
const IPV6_UDP: u16 = 48;
