//! What each core says, told to the other.
//!
//! Decides every cross-effect between mesh and ledger, on one page. Owns nothing.

use std::net::SocketAddr;
use std::time::Instant;

use ipam::To;
use mesh::{Carrier, Delivery, DownReason, Encounter, Origin, Route, StreamId, Topic};

use super::Control;
use super::alarms::Part;
use super::inputs::{Input, Lookup};
use super::then::Then;
use wire::Identity;
use wire::envelope::Kind;

use crate::data::Report;
use crate::streams::{Sent, Speech, StreamEvent};

impl Control {
    pub(super) fn handle(&mut self, input: Input, now: Instant) {
        match input {
            Input::Call(call) => self.handle_call(call, now),
            Input::Stream(event) => self.handle_stream(event, now),
            Input::Report(report) => self.handle_report(report, now),
            Input::Stored(stored) => self.handle_stored(stored, now),
            Input::Datagram { from, bytes } => self.mesh.handle_datagram(from, &bytes, now),
            Input::Again => self.read_password_again(),
            Input::Lookup(Lookup::Password(psk, occasion)) => self.handle_password(psk, occasion, now),
            Input::Lookup(Lookup::Underlay(underlay)) => self.handle_underlay(underlay, now),
            Input::Lookup(Lookup::Targets(found)) => self.handle_targets(found, now),
            Input::Deadline => {}
        }
    }

    fn handle_stream(&mut self, event: StreamEvent, now: Instant) {
        match event {
            StreamEvent::Accepted { stream, socket, from } => {
                self.parts.streams.open(stream, socket);
                self.mesh.handle_stream_opened(StreamId(stream), Origin::Accepted(from), now);
            }
            StreamEvent::Dialled { stream, socket, target } => {
                self.parts.streams.open(stream, socket);
                self.mesh.handle_stream_opened(StreamId(stream), Origin::Dialed(target), now);
            }
            StreamEvent::NotDialled { target } => self.mesh.handle_dial_failed(target, now),
            StreamEvent::Bytes { stream, bytes } => self.mesh.handle_stream_bytes(StreamId(stream), &bytes, now),
            StreamEvent::Closed { stream } => {
                self.parts.streams.close(stream);
                self.mesh.handle_stream_closed(StreamId(stream), now);
            }
        }
    }

    fn handle_report(&mut self, report: Report, now: Instant) {
        match report {
            Report::Roamed { peer, session, address } => self.mesh.handle_roamed(peer, session, address, now),
            Report::Traffic { peer, sent_bytes, received_bytes } => {
                self.mesh.handle_traffic(peer, sent_bytes, received_bytes, now);
                if let Some(identity) = self.mesh.identity_of(peer) {
                    let traffic = self.traffic.entry(identity).or_default();
                    traffic.sent_bytes += sent_bytes;
                    traffic.received_bytes += received_bytes;
                }
            }
            Report::Stray { from, datagram } => self.mesh.handle_datagram(from, &datagram, now),
            Report::Trouble { thread, trouble } => {
                let trouble = trouble.map(|error| format!("data thread {thread} gets errors: {error}"));
                self.alarms.judge(Part::Data(thread), trouble);
            }
        }
    }

    /// Carries out what the ledger says. Returns whether it said anything.
    pub(super) fn react_ledger(&mut self, now: Instant) -> bool {
        let mut any = false;
        // A port whose address goes is blocked before the taker hears that it has it.
        while let Some(event) = self.ipam.poll_event() {
            any = true;
            self.react_ledger_event(event, now);
        }
        while let Some((to, bytes)) = self.ipam.poll_transmit() {
            any = true;
            match to {
                To::Peer(peer) => self.tell(peer, &bytes, Delivery::Reliable, now),
                To::AllPeers => {
                    self.connected.clone().into_iter().for_each(|peer| self.tell(peer, &bytes, Delivery::Swift, now));
                }
            }
        }
        any
    }

    fn tell(&mut self, peer: Identity, message: &[u8], delivery: Delivery, now: Instant) {
        if let Err(error) = self.mesh.send(peer, Topic::LEDGER, message, delivery, now) {
            // What was lost is asked for again, or found by the next exchange of digests.
            tracing::debug!(peer = %self.ipam.label(peer), %error, "a message of the ledger's was not sent");
        }
    }

    fn react_ledger_event(&mut self, event: ipam::Event, now: Instant) {
        match event {
            ipam::Event::Claimed { request, result } => self.answer_claim(request, result, now),
            ipam::Event::Released { request, outcome } => {
                self.guard_ports();
                self.answer_release(request, outcome);
            }
            ipam::Event::JoinGranted { identity, snapshot } => self.finish_join(identity, snapshot),
            ipam::Event::Invited { request, outcome } => self.answer_invited(request, outcome),
            ipam::Event::RevokeDone { request, result } => self.answer_revoke(request, result),
            ipam::Event::Refused { .. } => self.mesh.distrust_only(self.ipam.refused().collect()),
            ipam::Event::MembersNamed { by, identities } => self.mesh.expect(by, identities),
            ipam::Event::RevocationAsked { question } => tracing::warn!(
                asker = %question.asker, victims = %super::views::names(&question.victims), answer = ?question.answer,
                "another router asks to revoke"
            ),
            ipam::Event::Revoked { identities } => {
                for identity in identities {
                    if identity != self.about.identity {
                        let peer = self.ipam.label(identity);
                        tracing::warn!(%peer, "revoked: its frames and handshakes are refused");
                    }
                    self.mesh.revoke(identity, now);
                }
                // What was promised to the revoked is over.
                self.mesh.distrust_only(self.ipam.refused().collect());
            }
            ipam::Event::RevokedHere => {
                tracing::error!("the others have revoked this router; its containers are cut off")
            }
            ipam::Event::TableChanged => self.forwarding_changed = true,
            ipam::Event::Fenced { lease } => {
                self.guard_ports();
                self.fence_port(&lease);
            }
            ipam::Event::Unfenced { lease } => {
                self.guard_ports();
                self.open_port(&lease);
                self.announce(&lease, now);
            }
            ipam::Event::Alarm(alarm) => self.alarms.raise(&alarm, now),
        }
    }

    /// Carries out what the mesh says. Returns whether it said anything.
    pub(super) fn react_mesh(&mut self, now: Instant) -> bool {
        let mut any = false;
        while let Some(event) = self.mesh.poll_event() {
            any = true;
            self.react_mesh_event(event, now);
        }
        any
    }

    fn react_mesh_event(&mut self, event: mesh::Event, now: Instant) {
        match event {
            mesh::Event::PeerUp { peer, route, .. } => {
                tracing::info!(peer = %self.ipam.label(peer), route = %self.words(route), "connected");
                self.connected.insert(peer);
                self.ipam.handle_peer_up(peer, now);
            }
            mesh::Event::RouteChanged { peer, route } => {
                tracing::info!(peer = %self.ipam.label(peer), route = %self.words(route), "goes another way");
            }
            mesh::Event::PeerDown { peer, reason } => {
                tracing::info!(peer = %self.ipam.label(peer), reason = down(reason), "no longer connected");
                self.connected.remove(&peer);
                self.ipam.handle_peer_down(peer, now);
            }
            mesh::Event::RevokedCalled { peer } => {
                tracing::info!(peer = %self.ipam.label(peer), "a revoked router is back; it is told");
                self.ipam.handle_peer_up(peer, now);
            }
            mesh::Event::MemberAdmitted { member, .. } => self.remember_member(&member, now),
            mesh::Event::Message { from, topic: Topic::LEDGER, payload } => {
                self.ipam.handle_message(from, &payload, now)
            }
            mesh::Event::Message { from, topic, .. } => {
                tracing::debug!(peer = %self.ipam.label(from), ?topic, "a message about something only newer routers know");
            }
            mesh::Event::OpenStream { target, address } => self.parts.streams.dial(target, address),
            mesh::Event::CloseStream { stream } => self.parts.streams.close_soon(stream.0),
            mesh::Event::PlanChanged => self.forwarding_changed = true,
            mesh::Event::JoinRequested(application) => self.handle_join(*application, now),
            mesh::Event::JoinRefused { from, reason } => tracing::warn!(%from, %reason, "refused to let a router join"),
            mesh::Event::Stranger { address, encounter } => self.log_stranger(address, encounter),
            mesh::Event::Alarm(alarm) => self.alarms.raise(&mesh_alarm(&alarm), now),
        }
    }

    fn words(&self, route: Route) -> String {
        match route {
            Route::Direct(address) => address.to_string(),
            Route::Relay(relay) => format!("via {}", self.ipam.label(relay)),
            Route::None => "none".to_owned(),
        }
    }

    /// Two clusters never become one (invariant I9): both sides hear why, and what to do.
    fn log_stranger(&self, address: SocketAddr, encounter: Encounter) {
        let ours = self.about.cluster;
        match encounter {
            Encounter::Named { cluster } => tracing::warn!(
                %address, theirs = %cluster, %ours,
                "the router there belongs to another cluster, and the two never become one; to join it, empty this \
                 --data-dir and run 'raddle join TOKEN {address}' with a token from there; to stop trying: \
                 'raddle forget {address}'"
            ),
            Encounter::Caller => tracing::warn!(
                from = %address.ip(), %ours,
                "refused: a router that belongs to another cluster was told to connect here; if it is to join, run \
                 'raddle token create' here and 'raddle join' there, with an empty --data-dir"
            ),
        }
    }

    /// Writes a member down and tells the ledger, whose rules count every identity ever admitted (invariant I6).
    fn remember_member(&mut self, member: &mesh::Member, now: Instant) {
        let title = &member.certificate.title;
        self.ipam.admit(title.identity, Some(title.name.clone()), now);
        self.parts.storing.add([crate::memory::member_change(member)], Then::Member);
    }

    /// Sends what the mesh has sealed.
    pub(super) fn transmit(&mut self, now: Instant) {
        while let Some(transmit) = self.mesh.poll_transmit() {
            match transmit.carrier {
                // A full socket buffer or an unreachable host is a lost datagram; the mesh expects losses.
                Carrier::Datagram(to) => drop(self.parts.udp.try_send_to(&transmit.bytes, to)),
                Carrier::Stream(stream) => {
                    let speech = speech(&transmit.bytes);
                    if self.parts.streams.send(stream.0, speech, transmit.bytes) == Sent::Closed {
                        self.mesh.handle_stream_closed(stream, now);
                    }
                }
            }
        }
    }
}

/// Behind its length a message says what it is.
fn speech(bytes: &[u8]) -> Speech {
    match bytes.get(4..).map(Kind::of_message) {
        Some(Ok(Kind::JoinGrant)) => Speech::Grant,
        Some(_) | None => Speech::Talk,
    }
}

fn down(reason: DownReason) -> &'static str {
    match reason {
        DownReason::Silent => "silent",
        DownReason::Restarted => "restarted",
        DownReason::Revoked => "revoked",
        DownReason::RevokedHere => "this router was revoked",
    }
}

fn mesh_alarm(alarm: &mesh::Alarm) -> String {
    match alarm {
        mesh::Alarm::NameTaken { name, holder, claimant } => {
            format!(
                "two routers are called {name}, admitted where the other was not known: {holder} and {claimant}; each goes by \
                 its name and the beginning of its identity ('raddle peers')"
            )
        }
        mesh::Alarm::Impersonated => "somebody else renewed this router's certificate, so has its signing key: revoke \
                                      this router on another host, and join again with an empty --data-dir"
            .to_owned(),
    }
}
