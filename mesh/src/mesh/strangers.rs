//! Routers of other clusters: whoever is at an address that an operator named, and no member, is asked for its cluster; and
//! others ask us. Said in clear and proven by nobody: worth a line in both logs, and no more.

use std::net::SocketAddr;
use std::time::Instant;

use wire::ClusterId;

use super::Mesh;
use crate::contact::{Probe, ProbeReply, cluster_tag};
use crate::event::{Encounter, Event, StreamId, Target};
use crate::streams::{STRANGER_PATIENCE, Standing, Stream};

impl Mesh {
    /// Has a stream dialled to every named address where a member had its time to answer.
    pub(super) fn doubt_named(&mut self, now: Instant) {
        while let Some(address) = self.named.poll_ask(now) {
            if !self.is_member_at(address) {
                self.out.events.push_back(Event::OpenStream { target: Target::Address(address), address });
            }
        }
    }

    /// The stream is there: asks.
    pub(super) fn ask_who(&mut self, stream: StreamId, address: SocketAddr, now: Instant) {
        let until = now + STRANGER_PATIENCE;
        self.add_stream(stream, Standing::Asking { address, until });
        let probe = Probe::Member { tag: cluster_tag(&self.me.local.cluster) };
        self.emit(stream, &probe.emit());
    }

    /// It says which cluster it is of.
    pub(super) fn handle_probe_reply(&mut self, stream: StreamId, bytes: &[u8], now: Instant) {
        let asked = self.streams.get(&stream).and_then(Stream::asked);
        let (Some(address), Some(ProbeReply { cluster })) = (asked, ProbeReply::parse(bytes)) else {
            self.out.counters.malformed += 1;
            return self.drop_stream(stream, now);
        };
        self.close_stream(stream);
        let other = Some(cluster).filter(|cluster| *cluster != self.me.local.cluster);
        if self.named.note(address, other) {
            self.out.events.push_back(Event::Stranger { address, encounter: Encounter::Named { cluster } });
        }
    }

    /// A stranger asks which cluster this is. Anybody may know; a member of another one is worth a line.
    pub(super) fn handle_probe(&mut self, stream: StreamId, from: SocketAddr, bytes: &[u8], now: Instant) {
        let cluster: ClusterId = self.me.local.cluster;
        let first = self.streams.get_mut(&stream).is_some_and(|open| !std::mem::replace(&mut open.probed, true));
        let Some(probe) = Probe::parse(bytes).filter(|_| first) else {
            self.out.counters.malformed += 1;
            return self.drop_stream(stream, now);
        };
        self.emit(stream, &ProbeReply { cluster }.emit());
        let Probe::Member { tag } = probe else { return };
        if tag != cluster_tag(&cluster) && self.callers.note(from.ip(), now) {
            self.out.events.push_back(Event::Stranger { address: from, encounter: Encounter::Caller });
        }
    }

    fn is_member_at(&self, address: SocketAddr) -> bool {
        self.config.addresses.contains(&address)
            || self.peers.values().any(|peer| peer.is_up() && peer.path.leads_to(address))
    }
}
