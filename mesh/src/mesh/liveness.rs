//! Who lives, as all routers find out together: what foca wants is carried inside the sessions, and what it finds becomes a
//! doubt about a neighbour, never more.

use std::time::Instant;

use wire::Identity;

use super::Mesh;
use crate::gossip::Control;
use crate::peer::Peer;
use crate::swim::Deed;

impl Mesh {
    /// Takes what a peer says about who lives.
    pub(super) fn handle_swim(&mut self, from: Identity, payload: &[u8], now: Instant) {
        let (peers, roster) = (&self.peers, &self.roster);
        let known = |identity: Identity| {
            peers.get(&identity).filter(|peer| !peer.is_revoked())?;
            Some(roster.member(identity)?.addresses.version.0)
        };
        if self.swim.handle_data(from, payload, known, now).is_none() {
            self.out.counters.malformed += 1;
        }
        self.act(now);
    }

    /// Probes whose turn it is.
    pub(super) fn tend(&mut self, now: Instant) {
        if self.swim.deadline().is_some_and(|due| due <= now) {
            let peers = &self.peers;
            let heard =
                |identity: Identity| peers.get(&identity).filter(|peer| peer.is_up()).map(|peer| peer.liveness.heard());
            self.swim.handle_timeout(heard, now);
            self.act(now);
        }
    }

    /// Carries out what came of it.
    pub(super) fn act(&mut self, now: Instant) {
        while let Some(deed) = self.swim.poll_deed() {
            match deed {
                Deed::Send { to, bytes } => {
                    let is_up = self.peers.get(&to).is_some_and(Peer::is_up);
                    if let Some(roster) = self.digest_for(to).filter(|_| is_up) {
                        self.send_datagram(to, &Control::Swim { roster, payload: &bytes }.emit());
                    }
                }
                Deed::Doubt(identity) => self.with_up(identity, |peer| peer.liveness.doubt(now)),
                Deed::Gone(identity) => match self.peers.get_mut(&identity) {
                    Some(peer) if peer.is_up() => peer.liveness.agree(now),
                    Some(peer) => peer.ways.rest(now),
                    None => {}
                },
                Deed::DoubtAll => {
                    let up = self.peers.values_mut().filter(|peer| peer.is_up());
                    up.for_each(|peer| peer.liveness.doubt(now));
                }
                Deed::Back(identity) => {
                    if let Some(peer) = self.peers.get_mut(&identity).filter(|peer| !peer.is_up()) {
                        peer.calling.hurry(now);
                        peer.ways.wake(now);
                    }
                }
            }
        }
    }

    fn with_up(&mut self, identity: Identity, deed: impl FnOnce(&mut Peer)) {
        if let Some(peer) = self.peers.get_mut(&identity).filter(|peer| peer.is_up()) {
            deed(peer);
        }
    }
}
