//! What lies between the hosts: sessions, letters, cuts.

use std::time::Duration;

use ipam::To;
use wire::Identity;

use crate::{
    host::Host,
    world::{Faults, World},
};

/// A message under way.
pub(crate) struct Letter {
    pub(crate) from: usize,
    pub(crate) to: usize,
    bytes: Vec<u8>,
}

impl World {
    /// A new cut through the hosts.
    pub(crate) fn part(&mut self) {
        if self.faults == Faults::None {
            return;
        }
        for side in &mut self.sides {
            *side = self.dice.below(2);
        }
        for one in 0..self.hosts.len() {
            for other in 0..self.hosts.len() {
                if self.sides.get(one) != self.sides.get(other) {
                    self.disconnect(one, other);
                }
            }
        }
        self.reconnect();
    }

    /// All can reach one another again.
    pub(crate) fn heal(&mut self) {
        self.sides.fill(0);
        self.reconnect();
    }

    /// A host has no session with another one any more.
    pub(crate) fn disconnect(&mut self, one: usize, other: usize) {
        let Some(identity) = self.hosts.get(other).map(Host::identity) else { return };
        let Some(host) = self.hosts.get_mut(one) else { return };
        if host.sessions.remove(&other)
            && let Some(ipam) = &mut host.ipam
        {
            let before = ipam.table();
            ipam.handle_peer_down(identity, self.now);
            // I5.
            debug_assert_eq!(ipam.table(), before, "a silence has changed an owner");
        }
    }

    /// Everybody who can reach one another has a session.
    pub(crate) fn reconnect(&mut self) {
        let alive: Vec<usize> =
            (0..self.hosts.len()).filter(|at| self.hosts.get(*at).is_some_and(|host| host.ipam.is_some())).collect();
        for &one in &alive {
            for &other in &alive {
                if one == other || self.sides.get(one) != self.sides.get(other) {
                    continue;
                }
                let Some((identity, members)) = self.hosts.get(other).map(|host| (host.identity(), members_of(host)))
                else {
                    continue;
                };
                let Some(host) = self.hosts.get_mut(one) else { continue };
                if host.sessions.insert(other)
                    && let Some(ipam) = &mut host.ipam
                {
                    // What the mesh does when two routers meet: each tells the other of all that were ever admitted.
                    members.into_iter().for_each(|member| ipam.admit(member, None, self.now));
                    ipam.handle_peer_up(identity, self.now);
                }
            }
        }
    }

    /// Hands over what has arrived.
    pub(crate) fn deliver(&mut self) {
        while let Some(entry) = self.letters.first_entry() {
            if entry.key().0 > self.now {
                return;
            }
            let letter = entry.remove();
            let Some(from) = self.hosts.get(letter.from).map(Host::identity) else { continue };
            let Some(host) = self.hosts.get_mut(letter.to).filter(|host| host.sessions.contains(&letter.from)) else {
                continue;
            };
            if let Some(ipam) = &mut host.ipam {
                ipam.handle_message(from, &letter.bytes, self.now);
            }
        }
    }

    /// Sends a message.
    pub(crate) fn post(&mut self, from: usize, to: To, bytes: &[u8]) {
        let Some(sessions) = self.hosts.get(from).map(|host| host.sessions.clone()) else { return };
        for other in sessions {
            let identity = self.hosts.get(other).map(Host::identity);
            if !(to == To::AllPeers || identity.map(To::Peer) == Some(to)) {
                continue;
            }
            let copies = match self.faults {
                Faults::None => 1,
                Faults::All if self.dice.chance(5) => 0,
                Faults::All if self.dice.chance(5) => 2,
                Faults::All => 1,
            };
            for _ in 0..copies {
                self.counter += 1;
                let arrival = self.now + Duration::from_millis(1 + self.dice.below(50) as u64);
                self.letters.insert((arrival, self.counter), Letter { from, to: other, bytes: bytes.to_vec() });
            }
        }
    }
}

/// Everybody a host knows of, itself included.
fn members_of(host: &Host) -> Vec<Identity> {
    let known = host.ipam.iter().flat_map(ipam::Ipam::members).map(|(identity, _, _)| identity);
    known.chain(std::iter::once(host.identity())).collect()
}
