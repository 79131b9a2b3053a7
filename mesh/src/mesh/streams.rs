//! Streams: who they belong to, and what comes in on them.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use wire::Identity;
use wire::envelope::Kind;

use super::Mesh;
use crate::event::{Event, Origin, StreamId, Target, Via};
use crate::gate::charged;
use crate::gossip::Control;
use crate::path::plain;
use crate::streams::{STRANGER_PATIENCE, STRANGERS_A_HOST, STRANGERS_MOST, Standing, Stream};

impl Mesh {
    /// A stream is there: one that [`Event::OpenStream`] asked for, or one that somebody opened.
    pub fn handle_stream_opened(&mut self, stream: StreamId, origin: Origin, now: Instant) {
        let until = now + STRANGER_PATIENCE;
        match origin {
            Origin::Dialed(Target::Address(address)) => self.ask_who(stream, address, now),
            Origin::Dialed(Target::Peer(peer)) => {
                self.add_stream(stream, Standing::Dialed { peer, until });
                self.send_on_stream(peer, stream, &Control::Bind.emit());
            }
            Origin::Accepted(from) => {
                let from = plain(from);
                if !self.has_room_for(from, now) {
                    self.out.counters.nobodys_streams += 1;
                    self.out.events.push_back(Event::CloseStream { stream });
                    return;
                }
                self.add_stream(stream, Standing::Stranger { from, until });
            }
        }
    }

    /// The address of an [`Event::OpenStream`] could not be dialled.
    pub fn handle_dial_failed(&mut self, target: Target, now: Instant) {
        match target {
            Target::Peer(peer) => self.handle_peer_not_dialled(peer, now),
            // Nobody is there to be asked.
            Target::Address(_) => {}
        }
    }

    /// Takes bytes as they came off a stream, cut anywhere.
    pub fn handle_stream_bytes(&mut self, stream: StreamId, bytes: &[u8], now: Instant) {
        if let Some(stream) = self.streams.get_mut(&stream) {
            stream.frames.handle_bytes(bytes);
        }
        while let Some(open) = self.streams.get_mut(&stream) {
            match open.frames.poll_message() {
                Ok(Some(message)) => {
                    let message = message.to_vec();
                    self.handle_stream_message(stream, &message, now);
                }
                Ok(None) => return,
                Err(_) => return self.drop_stream(stream, now),
            }
        }
    }

    /// A stream ended.
    pub fn handle_stream_closed(&mut self, stream: StreamId, now: Instant) {
        match self.remove_stream(stream).map(|open| open.standing) {
            Some(Standing::Bound(identity)) => self.unbind(identity, stream, now),
            Some(Standing::Dialed { peer, .. }) => self.handle_peer_not_dialled(peer, now),
            Some(Standing::Stranger { .. } | Standing::Asking { .. } | Standing::Applying { .. }) | None => {}
        }
    }

    fn handle_peer_not_dialled(&mut self, peer: Identity, now: Instant) {
        if let Some(peer) = self.peers.get_mut(&peer) {
            peer.channel.handle_dial_failed(now);
        }
    }

    /// Forgets a stream, and asks for it to be closed.
    pub(super) fn close_stream(&mut self, stream: StreamId) {
        if self.remove_stream(stream).is_some() {
            self.out.events.push_back(Event::CloseStream { stream });
        }
    }

    /// A stream on which nothing has been proven.
    pub(super) fn add_stream(&mut self, stream: StreamId, standing: Standing) {
        let stream = (stream, Stream::new(standing));
        self.stranger_until = [self.stranger_until, stream.1.deadline()].into_iter().flatten().min();
        self.unproven.insert(stream.0);
        self.streams.insert(stream.0, stream.1);
    }

    fn remove_stream(&mut self, stream: StreamId) -> Option<Stream> {
        self.unproven.remove(&stream);
        self.streams.remove(&stream)
    }

    /// Closes the streams whose patience is over.
    pub(super) fn expire_streams(&mut self, now: Instant) {
        if self.stranger_until.is_none_or(|until| until > now) {
            return;
        }
        let over = |stream: &Stream| stream.deadline().is_some_and(|deadline| now >= deadline);
        let is_expired = |id: &&StreamId| self.streams.get(id).is_some_and(over);
        let expired: Vec<StreamId> = self.unproven.iter().filter(is_expired).copied().collect();
        for stream in expired {
            self.drop_stream(stream, now);
        }
        self.stranger_until = self.unproven.iter().filter_map(|id| self.streams.get(id)?.deadline()).min();
    }

    fn handle_stream_message(&mut self, stream: StreamId, message: &[u8], now: Instant) {
        match Kind::of_message(message) {
            Ok(Kind::Control) => match self.handle_envelope(Via::Stream(stream), message, now) {
                Some(identity) => self.bind(stream, identity, now),
                // A replay or a session that is over: not a reason to lose the stream of one who has proven itself.
                None if self.streams.get(&stream).is_some_and(Stream::is_bound) => {}
                None => self.drop_stream(stream, now),
            },
            Ok(Kind::ProbeReply) => self.handle_probe_reply(stream, message, now),
            Ok(Kind::Probe | Kind::JoinHello | Kind::JoinProof) => self.handle_applicant(stream, message, now),
            Ok(_) | Err(_) => {
                self.out.counters.malformed += 1;
                self.drop_stream(stream, now);
            }
        }
    }

    /// The peer said on the stream that it is its own.
    fn bind(&mut self, stream: StreamId, identity: Identity, now: Instant) {
        let Some(open) = self.streams.get_mut(&stream) else { return };
        let accepted = match open.standing {
            Standing::Bound(owner) if owner == identity => return,
            Standing::Bound(_) | Standing::Asking { .. } | Standing::Applying { .. } => {
                return self.drop_stream(stream, now);
            }
            Standing::Stranger { .. } => true,
            Standing::Dialed { .. } => false,
        };
        let Some(peer) = self.peers.get_mut(&identity).filter(|peer| peer.is_reachable()) else {
            return self.drop_stream(stream, now);
        };
        open.bind(identity);
        self.unproven.remove(&stream);
        let surplus = peer.channel.bind(stream);
        if accepted {
            self.send_on_stream(identity, stream, &Control::Bind.emit());
        }
        if let Some(surplus) = surplus {
            self.close_stream(surplus);
        }
        self.flush_channel(identity, now);
    }

    fn unbind(&mut self, identity: Identity, stream: StreamId, now: Instant) {
        let wait = if self.me.identity < identity { Duration::ZERO } else { COURTESY };
        match self.peers.get_mut(&identity) {
            // Nobody dials a revoked member: it has heard what there is to hear, or calls again.
            Some(peer) if peer.is_revoked() => self.end_audience(identity),
            Some(peer) => peer.channel.unbind(stream, wait, now),
            None => {}
        }
    }

    pub(super) fn drop_stream(&mut self, stream: StreamId, now: Instant) {
        let Some(open) = self.streams.get(&stream) else { return };
        match open.standing {
            Standing::Bound(identity) => self.unbind(identity, stream, now),
            Standing::Dialed { peer, .. } => self.handle_peer_not_dialled(peer, now),
            Standing::Stranger { .. } | Standing::Asking { .. } | Standing::Applying { .. } => {
                self.out.counters.nobodys_streams += 1;
            }
        }
        self.close_stream(stream);
    }

    /// Whether one more stranger may come, from this host. Members too come as strangers, and nobody can keep them out by
    /// coming often.
    fn has_room_for(&mut self, from: SocketAddr, now: Instant) -> bool {
        let source = self.source(from, now);
        let strangers: Vec<SocketAddr> =
            self.unproven.iter().filter_map(|id| self.streams.get(id)?.stranger()).collect();
        let others: Vec<SocketAddr> =
            strangers.into_iter().filter(|other| self.source(*other, now) == source).collect();
        let host = charged(from, source);
        others.len() < STRANGERS_MOST
            && others.iter().filter(|other| charged(**other, source) == host).count() < STRANGERS_A_HOST
    }
}

/// The lower identity dials at once; the other side gives it this long before it does so itself.
pub(super) const COURTESY: Duration = Duration::from_secs(1);
