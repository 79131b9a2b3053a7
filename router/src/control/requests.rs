//! What clients ask over the control socket, carried out on the ledger.
//!
//! Owns the translation of words into claims, and who still waits for an answer. Decides nothing about addresses.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use control_api::{
    Answer, ApiError, Collected, CollectedAttachment, Done, ErrorKind, GcRequest, Lease, LeaseRequest, OwnerKind,
    Prefixed, Reply, Request, Revoked,
};
use ipam::{Attachment, Claim, ClaimError, Hold, LeaseState, Place, Release, RequestId, RevokeError};
use tokio::sync::oneshot;
use wire::message::Handover;
use wire::{Identity, Network};

use super::refusals::{revoke_error, rolled_back, unknown_network};
use super::then::Then;
use super::waiting::Waiting;
use super::{Control, reconcile, views, wanted};
use crate::api::Call;

/// Digits of an identity that stand for it, as the log shows it.
const PREFIX_DIGITS: usize = 8;

impl Control {
    pub(super) fn handle_call(&mut self, call: Call, now: Instant) {
        let Call { request, reply, client } = call;
        let answer = match request {
            // Whoever asked has given up, and said so in the spool: nobody would use the lease, and nobody would release it.
            Request::Lease(_) if client.has_hung_up() => return,
            Request::Lease(request) => return self.claim(&request, reply, now),
            Request::Release(attachment) => return self.release(&attachment, reply, now),
            Request::ReleaseWorkload { network, workload } => {
                return self.release_workload(&network, workload, reply, now);
            }
            Request::Revoke { names, with_admitted } => return self.revoke(&names, with_admitted, reply, now),
            Request::Reserve { network, workload, ifname, address } => {
                return self.reserve((&network, workload, ifname), address, reply, now);
            }
            Request::Move { network, workload, ifname, to, take_over } => {
                return self.move_workload((&network, workload, ifname), to, handover(take_over), reply, now);
            }
            Request::CancelMove { network, workload, ifname } => self.cancel_move((&network, workload, ifname)),
            Request::Status => Ok(Answer::Status(Box::new(views::status(self, now)))),
            Request::Peers => Ok(Answer::Peers(views::peers(self, now))),
            Request::Ps => Ok(Answer::Containers(views::containers(self))),
            Request::Leases => Ok(Answer::Leases(views::leases(self, now))),
            Request::Moves => Ok(Answer::Moves(views::moves(self))),
            Request::Check(attachment) => self.check(&attachment),
            Request::Gc(request) => self.collect(&request, now),
            Request::Ready { network, masquerade } => self.ready(&network, masquerade, now),
            Request::TokenCreate { ttl_s, uses } => {
                return self.create_token(Duration::from_secs(ttl_s), uses, reply, now);
            }
            Request::TokenList => Ok(Answer::Tokens(self.parts.tokens.list())),
            Request::TokenWithdraw { id } => return self.withdraw_token(&id, reply, now),
            Request::Renew => return self.renew(reply),
            Request::Connect { addresses } => {
                return self.change_targets(&addresses, TargetChange::Connect, reply, now);
            }
            Request::Forget { addresses } => return self.change_targets(&addresses, TargetChange::Forget, reply, now),
        };
        let _ = reply.send(answer.map_or_else(Reply::Error, Reply::Ok));
    }

    fn claim(&mut self, request: &LeaseRequest, reply: oneshot::Sender<Reply<Answer>>, now: Instant) {
        self.replay_spool(now);
        match self.claim_of(request) {
            Ok(claim) => {
                let request = self.wait(Waiting::Lease(reply));
                self.ipam.claim(request, claim, now);
            }
            Err(error) => drop(reply.send(Reply::Error(error))),
        }
    }

    fn claim_of(&self, request: &LeaseRequest) -> Result<Claim, ApiError> {
        let network = self.network_named(&request.network)?;
        if request.masquerade {
            self.parts.guarding.ensure_way_out(network)?;
        }
        Ok(Claim {
            attachment: Attachment {
                network: network.id,
                container_id: request.container_id.clone(),
                ifname: request.ifname.clone(),
                owner: owner(request.owner_kind, &request.cni_network),
            },
            workload: request.workload.clone().filter(|_| request.sticky),
            address: wanted::address(network, request)?,
            mac: request.mac.as_deref().map(wanted::mac).transpose()?,
            hold: request.hold_s.map(|seconds| Hold::from_seconds(Some(seconds))),
            handover: handover(request.take_over),
            place: Place {
                netns: request.netns.clone(),
                host_interface: request.host_interface.clone(),
                masqueraded: request.masquerade,
            },
        })
    }

    fn release(&mut self, attachment: &control_api::Attachment, reply: oneshot::Sender<Reply<Answer>>, now: Instant) {
        match self.attachment_anywhere(attachment) {
            Some(attachment) => {
                let request = self.wait(Waiting::Release(reply));
                self.ipam.release(request, &attachment, now);
            }
            // What was never there is gone.
            None => drop(reply.send(Reply::Ok(Answer::Done(Done {})))),
        }
    }

    fn revoke(&mut self, names: &[String], with_admitted: bool, reply: oneshot::Sender<Reply<Answer>>, now: Instant) {
        let found: Result<Vec<Identity>, ApiError> = names.iter().map(|name| self.identity_named(name)).collect();
        match found {
            Ok(mut identities) => {
                if with_admitted {
                    // Who is connected here is somebody, whoever let it in.
                    let admitted = self.mesh.admitted_by(&identities).into_iter();
                    let me = self.about.identity;
                    identities
                        .extend(admitted.filter(|identity| *identity != me && !self.connected.contains(identity)));
                }
                let request = self.wait(Waiting::Revoke(reply));
                self.ipam.revoke(request, &identities, now);
            }
            Err(error) => drop(reply.send(Reply::Error(error))),
        }
    }

    pub(super) fn identity_named(&self, text: &str) -> Result<Identity, ApiError> {
        let named = |(identity, name, _): &(Identity, Option<&wire::PeerName>, bool)| {
            let is_prefix = text.len() >= PREFIX_DIGITS && identity.to_string().starts_with(text);
            is_prefix
                || name.is_some_and(|name| name.as_str() == text)
                || self.ipam.label(*identity).to_string() == text
        };
        // A name may have been given again after its router was revoked: then the living one is meant.
        let mut found: Vec<_> = self.ipam.members().filter(named).collect();
        if found.iter().any(|(.., revoked)| !revoked) {
            found.retain(|(.., revoked)| !revoked);
        }
        let mut matching = found.into_iter().map(|(identity, ..)| identity);
        match (matching.next(), matching.next()) {
            (Some(identity), None) => Ok(identity),
            (Some(_), Some(_)) => Err(ApiError::new(ErrorKind::Invalid, format!("{text:?} fits several routers"))
                .with_remedy("name it as 'raddle peers' does, or by its identity")),
            (None, _) => Err(ApiError::new(ErrorKind::Unknown, format!("there is no router {text:?} in this cluster"))
                .with_remedy("'raddle peers' lists them")),
        }
    }

    fn check(&self, attachment: &control_api::Attachment) -> Result<Answer, ApiError> {
        let attachment = self.attachment(attachment)?;
        let lease = self.ipam.lease_of(&attachment).ok_or_else(|| {
            let Attachment { container_id, ifname, .. } = &attachment;
            ApiError::new(ErrorKind::Unknown, format!("container {container_id} has no lease for {ifname} here"))
                .with_remedy("delete the container's network and add it again")
        })?;
        self.lease_answer(lease)
    }

    fn collect(&mut self, request: &GcRequest, now: Instant) -> Result<Answer, ApiError> {
        if self.ipam.health() == ipam::Health::ReadOnly {
            return Err(self.read_only());
        }
        let owner = owner(OwnerKind::Cni, &request.cni_network);
        let gone = |lease: &&ipam::Lease| match &request.valid {
            Some(valid) => !valid.iter().any(|known| {
                known.container_id == lease.attachment.container_id && known.ifname == lease.attachment.ifname
            }),
            None => reconcile::has_no_container(lease),
        };
        let asked_for = Duration::from_secs(request.started_ago_s);
        let stale: Vec<_> = self
            .ipam
            .leases()
            .filter(|lease| lease.attachment.owner == owner)
            .filter(|lease| !matches!(lease.state, LeaseState::Held { .. }))
            .filter(|lease| now.saturating_duration_since(lease.since) >= asked_for)
            .filter(gone)
            .map(|lease| (lease.attachment.clone(), lease.place.host_interface.clone()))
            .collect();
        let mut collected = Vec::new();
        for (attachment, host_interface) in stale {
            let Attachment { container_id, ifname, .. } = attachment.clone();
            self.release_quietly(attachment, now);
            collected.push(CollectedAttachment { container_id, ifname, host_interface });
        }
        Ok(Answer::Collected(Collected { collected }))
    }

    /// Whether a lease would be given, as far as can be said without asking anybody else.
    fn ready(&self, network: &str, masquerade: bool, now: Instant) -> Result<Answer, ApiError> {
        self.network_named(network)?;
        if masquerade {
            self.parts.guarding.ensure_rules()?;
        }
        hostnet::bridge::ensure_whole(&self.about.bridge, &self.about.tap).map_err(|error| {
            ApiError::new(ErrorKind::Impaired, format!("no frame passes between containers and this router: {error}"))
                .with_remedy("restart the router: it puts its bridge and tap in place again")
        })?;
        let was_refused = |at: Instant| now.saturating_duration_since(at) < REFUSAL_COUNTS;
        let nobody_gives = self.connected.is_empty() || self.exhausted.is_some_and(was_refused);
        if nobody_gives && views::free_slots(self) == 0 {
            return Err(ApiError::new(ErrorKind::NotReady, "no address is left, here or from any connected router")
                .with_remedy("remove containers or revoke routers that are gone; 'raddle leases' shows who has what"));
        }
        match self.ipam.health() {
            ipam::Health::Working => Ok(Answer::Done(Done {})),
            ipam::Health::ReadOnly => Err(self.read_only()),
            ipam::Health::RolledBack => Err(rolled_back()),
            ipam::Health::Revoked => Err(ApiError::new(ErrorKind::NotReady, "this router was revoked by the others")
                .with_remedy("empty its data directory and run 'raddle join' again")),
        }
    }

    fn change_targets(
        &mut self,
        addresses: &[String],
        change: TargetChange,
        reply: oneshot::Sender<Reply<Answer>>,
        now: Instant,
    ) {
        let change = match change {
            TargetChange::Connect => self.parts.targets.add(addresses),
            TargetChange::Forget => self.parts.targets.remove(addresses),
        };
        self.parts.storing.add([change], Then::Answer { reply, answer: Box::new(Answer::Done(Done {})) });
        self.resolve_targets(now);
    }

    pub(super) fn answer_claim(&mut self, request: RequestId, result: Result<ipam::Lease, ClaimError>, now: Instant) {
        match result {
            Ok(_) => self.exhausted = None,
            Err(ClaimError::Exhausted { .. } | ClaimError::NoneYet { .. }) => self.exhausted = Some(now),
            Err(_) => {}
        }
        let answer = match result {
            Ok(lease) => self.answer_lease(&lease, now),
            Err(error) => Err(self.claim_error(&error)),
        };
        if let Some(Waiting::Lease(reply)) = self.waiting.remove(&request) {
            let _ = reply.send(answer.map_or_else(Reply::Error, Reply::Ok));
        }
    }

    /// The container's guard comes before its address does. One that nothing masquerades would have no way out, and not know why.
    fn answer_lease(&mut self, lease: &ipam::Lease, now: Instant) -> Result<Answer, ApiError> {
        self.guard_ports();
        if lease.place.masqueraded
            && let Err(error) = self.parts.guarding.ensure_rules()
        {
            self.release_quietly(lease.attachment.clone(), now);
            return Err(error);
        }
        if lease.state == LeaseState::Active {
            self.announce(lease, now);
        }
        self.lease_answer(lease)
    }

    /// Says where the lease's addresses live from now on.
    pub(super) fn announce(&mut self, lease: &ipam::Lease, now: Instant) {
        if let Some(network) = self.ipam.network(lease.attachment.network) {
            let mac = lease.mac_on(network);
            let ipv4 = IpAddr::from(network.address(lease.slot));
            let addresses: Vec<_> =
                std::iter::once(ipv4).chain(network.address6(lease.slot).map(IpAddr::from)).collect();
            self.parts.announcements.begin(mac.0, &addresses, now);
        }
    }

    pub(super) fn answer_release(&mut self, request: RequestId, outcome: Release) {
        match self.waiting.remove(&request) {
            Some(Waiting::ReleasedWorkload(network, workload, reply)) => drop(reply.send(match outcome {
                Release::Done => Reply::Ok(Answer::Done(Done {})),
                Release::Unknown => Reply::Error(self.not_held_here(network, &workload)),
                Release::ReadOnly => Reply::Error(self.read_only()),
            })),
            // Whoever asked puts it into the spool; what is there stays there.
            Some(Waiting::Release(reply)) if outcome == Release::ReadOnly => {
                drop(reply.send(Reply::Error(self.read_only())))
            }
            Some(Waiting::Spool(_)) if outcome == Release::ReadOnly => {}
            // What was never there is gone.
            Some(Waiting::Release(reply)) => drop(reply.send(Reply::Ok(Answer::Done(Done {})))),
            Some(Waiting::Spool(spooled)) => reconcile::finish(spooled),
            Some(Waiting::Lease(_) | Waiting::Revoke(_) | Waiting::Moved(_) | Waiting::Nobody) | None => {}
        }
    }

    pub(super) fn answer_revoke(&mut self, request: RequestId, result: Result<Vec<Identity>, RevokeError>) {
        let label = |identity: &Identity| self.ipam.label(*identity).to_string();
        let answer = match &result {
            Ok(revoked) => Ok(Answer::Revoked(Revoked { revoked: revoked.iter().map(label).collect() })),
            Err(error) => Err(revoke_error(error)),
        };
        if let Some(Waiting::Revoke(reply)) = self.waiting.remove(&request) {
            let _ = reply.send(answer.map_or_else(Reply::Error, Reply::Ok));
        }
    }

    fn lease_answer(&self, lease: &ipam::Lease) -> Result<Answer, ApiError> {
        let id = lease.attachment.network;
        let network = self.ipam.network(id).ok_or_else(|| unknown_network(&id.to_string()))?;
        let prefix6 = network.pool6.map(|pool| pool.prefix);
        let with_prefix6 = |address| prefix6.map(|prefix| Prefixed { address, prefix });
        Ok(Answer::Lease(Box::new(Lease {
            network: network.name.clone(),
            workload: lease.name().to_owned(),
            address: Prefixed { address: network.address(lease.slot), prefix: network.pool.prefix },
            address6: network.address6(lease.slot).and_then(with_prefix6),
            gateway: network.address(wire::Slot::GATEWAY),
            gateway6: network.address6(wire::Slot::GATEWAY),
            mac: lease.mac_on(network).to_string(),
            mtu_bytes: self.parts.inner_mtu.bytes(),
            bridge: self.about.bridge.clone(),
            host_interface: lease.place.host_interface.clone(),
            epoch: lease.epoch.0,
        })))
    }

    pub(super) fn attachment(&self, asked: &control_api::Attachment) -> Result<Attachment, ApiError> {
        Ok(attachment_in(self.network_named(&asked.network)?, asked))
    }

    /// The configuration may name another network by now than the one the container is attached to.
    pub(super) fn attachment_anywhere(&self, asked: &control_api::Attachment) -> Option<Attachment> {
        let mut everywhere = self.about.networks.iter().map(|network| attachment_in(network, asked));
        let leased = everywhere.find(|attachment| self.ipam.lease_of(attachment).is_some());
        leased.or_else(|| self.attachment(asked).ok())
    }

    pub(super) fn network_named(&self, name: &str) -> Result<&Network, ApiError> {
        self.about.networks.iter().find(|network| network.name == name).ok_or_else(|| unknown_network(name))
    }
}

/// For so long nobody is asked again on account of a readiness that nobody has: then the next ADD may find out.
const REFUSAL_COUNTS: Duration = Duration::from_secs(30);

/// What to do with targets.
#[derive(Debug, Clone, Copy)]
enum TargetChange {
    Connect,
    Forget,
}

fn handover(take_over: bool) -> Handover {
    if take_over { Handover::TakeOver } else { Handover::WhenStopped }
}

fn attachment_in(network: &Network, asked: &control_api::Attachment) -> Attachment {
    Attachment {
        network: network.id,
        container_id: asked.container_id.clone(),
        ifname: asked.ifname.clone(),
        owner: owner(asked.owner_kind, &asked.cni_network),
    }
}

fn owner(kind: OwnerKind, cni_network: &str) -> String {
    match kind {
        OwnerKind::Cni => format!("cni:{cni_network}"),
        OwnerKind::Docker => "docker".to_owned(),
        OwnerKind::Cli => "cli".to_owned(),
        OwnerKind::Expose => "expose".to_owned(),
        OwnerKind::Other => "other".to_owned(),
    }
}
