//! How membership spreads: whoever has news tells everybody, and those tell a few more; the rest is found by comparing.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use wire::{Identity, PeerIndex};

use super::Mesh;
use crate::event::{Alarm, DownReason, Event};
use crate::gossip::{Control, GOSSIP_VERSION, Gossip, MEMBERS_A_MESSAGE, Topic};
use crate::member::Member;
use crate::peer::{Peer, Phase};
use crate::ways::SEEK_FIRST;

impl Mesh {
    /// Takes a member out: its sessions end, and it is refused from now on, but for being told so when it calls
    /// ([`Event::RevokedCalled`]). If it is this router, it falls silent. The owner writes that down by itself.
    pub fn revoke(&mut self, identity: Identity, now: Instant) {
        if !self.roster.revoke(identity) {
            return;
        }
        if identity == self.me.identity {
            let others = self.order.clone();
            others.into_iter().for_each(|other| self.part(other, DownReason::RevokedHere, now));
        } else {
            self.part(identity, DownReason::Revoked, now);
        }
    }

    /// Believes nothing more that these members vouch for, and again what others do: this router has promised to refuse these, or
    /// they are revoked. The owner writes that down by itself, and says so whenever it changes and after a start.
    pub fn distrust_only(&mut self, identities: BTreeSet<Identity>) {
        self.roster.distrust_only(identities);
    }

    /// Admits these as soon as their certificates come, also if whoever vouched for them is distrusted or revoked by now. A member
    /// says that they are members: it admitted them while it still believed their voucher, and could vouch for them itself. So its
    /// word counts for as long as it is neither distrusted nor revoked itself.
    pub fn expect(&mut self, by: Identity, identities: impl IntoIterator<Item = Identity>) {
        self.roster.expect(by, identities);
    }

    /// Whom these vouched for, directly or through others, and who is not revoked.
    #[must_use]
    pub fn admitted_by(&self, identities: &[Identity]) -> Vec<Identity> {
        self.roster.followers(identities).into_iter().collect()
    }

    /// Whether this router is no member any more: it calls nobody and answers nobody.
    pub(super) fn is_retired(&self) -> bool {
        self.roster.member(self.me.identity).is_some_and(|member| member.revoked)
    }

    /// Ends everything with a peer.
    fn part(&mut self, identity: Identity, reason: DownReason, now: Instant) {
        let Some(peer) = self.peers.get_mut(&identity) else { return };
        let gone: Vec<u32> = peer.sessions.clear().into_iter().chain(peer.calling.stop()).collect();
        let was_up = peer.is_up();
        if !was_up && reason == DownReason::Revoked {
            peer.phase = Phase::Revoked { since: now, answered: None };
        }
        self.forget_indexes(gone);
        if was_up {
            self.lower(identity, reason, now);
        } else {
            self.end_audience(identity);
        }
    }

    /// A revoked member has had its time to listen.
    pub(super) fn end_audience(&mut self, identity: Identity) {
        let Some(peer) = self.peers.get_mut(&identity) else { return };
        let (gone, streams) = (peer.sessions.clear(), peer.channel.stop());
        self.forget_indexes(gone);
        streams.into_iter().for_each(|stream| self.close_stream(stream));
    }

    /// Makes a peer of every member there is no peer for.
    pub(super) fn meet_all(&mut self, now: Instant) {
        let members: Vec<Member> = self.roster.members().cloned().collect();
        for member in members {
            self.meet(&member, now);
        }
        // All of a cluster may start at once: not everybody calls the same one first, nor all of them together.
        let first = usize::try_from(self.rng.number()).unwrap_or_default().checked_rem(self.order.len());
        let turns = self.order.iter().cycle().skip(first.unwrap_or_default()).take(self.order.len());
        for (turn, identity) in (0..).zip(turns) {
            let at = now + CALL_TURN.saturating_mul(turn);
            if let Some(peer) = self.peers.get_mut(identity).filter(|peer| !peer.is_revoked()) {
                peer.calling.pause(CALL_TURN.saturating_mul(turn), now);
                peer.ways.put_off_seeking(at + SEEK_FIRST);
            }
        }
    }

    /// Makes a peer of a member, or takes over what changed.
    fn meet(&mut self, member: &Member, now: Instant) {
        let identity = member.identity();
        if identity == self.me.identity {
            if member.certificate.title.noise_key != self.me.local.noise_public {
                self.alarm(Alarm::Impersonated);
            }
            return;
        }
        let is_new = !self.peers.contains(&identity);
        if is_new {
            let index = PeerIndex(u32::try_from(self.order.len()).unwrap_or(u32::MAX));
            let peer = Peer::new(identity, index, member.certificate.title.noise_key, self.config.peer, now);
            self.order.push(identity);
            self.peers.insert(peer);
            self.touch_plan();
        }
        let Some(peer) = self.peers.get_mut(&identity) else { return };
        let noise_public = member.certificate.title.noise_key;
        let is_renewed = std::mem::replace(&mut peer.noise_public, noise_public) != noise_public;
        if is_renewed {
            // Nobody answers what was asked under the old key; the sessions go on.
            peer.cookie = None;
            for index in peer.calling.give_up() {
                self.indexes.remove(&index);
            }
        }
        let has_moved = peer.path.list(&member.addresses.addresses);
        if member.revoked && !peer.is_revoked() {
            peer.phase = Phase::Revoked { since: now, answered: None };
        } else if (is_renewed || has_moved) && !peer.is_reachable() {
            peer.ways.handle_news(now);
            // A new one is called at once in any case.
            if !is_new && self.prompts.spend(PROMPTS, PROMPTS, now) {
                peer.calling.prompt(now);
            }
        }
    }

    /// Admits what can be admitted, tells the owner, and hands the news on to everybody but their source.
    pub(super) fn admit(&mut self, members: Vec<Member>, source: Option<Identity>, now: Instant) {
        let (new, errors) = self.roster.admit_all(members);
        for error in errors {
            tracing::debug!(%error, "gossip about a member is not believed");
        }
        for (member, change) in &new {
            self.meet(member, now);
            self.compare_names(member);
            self.out.events.push_back(Event::MemberAdmitted { member: Box::new(member.clone()), change: *change });
        }
        // What a peer says of itself it says to all.
        let news: Vec<Member> =
            new.into_iter().map(|(member, _)| member).filter(|member| Some(member.identity()) != source).collect();
        if !news.is_empty() {
            let others = self.peers.values().filter(|peer| peer.is_up() && Some(peer.identity) != source);
            let mut others: Vec<Identity> = others.map(|peer| peer.identity).collect();
            if source.is_some() && others.len() > RELAYS {
                let first = usize::try_from(self.rng.number()).unwrap_or_default() % others.len();
                others.rotate_left(first);
                others.truncate(RELAYS);
            }
            for other in others {
                self.gossip(other, &news, Vec::new(), now);
            }
        }
    }

    pub(super) fn handle_gossip(&mut self, from: Identity, payload: &[u8], now: Instant) {
        let (members, seen) = match wire::decode(GOSSIP_VERSION, payload) {
            Ok(Gossip::Members { members, seen }) => (members, seen),
            Ok(Gossip::Buckets { salt, sums }) => return self.handle_buckets(from, salt, &sums, now),
            Ok(Gossip::Lines { salt, buckets, lines }) => {
                return self.handle_lines(from, &self.roster.lines(buckets, &salt), &lines, now);
            }
            Ok(Gossip::Want(wanted)) => return self.tell(from, &wanted, now),
            Err(_) => {
                self.out.counters.malformed += 1;
                return;
            }
        };
        // Nobody but the owner says who is revoked.
        let members = members.into_iter().map(|member| Member { revoked: false, ..member }).collect();
        self.admit(members, Some(from), now);
        for (identity, address) in seen.into_iter().take(SEEN_MOST) {
            let Some(peer) = self.peers.get_mut(&identity).filter(|peer| !peer.is_relay()) else { continue };
            if peer.path.hint(address) && peer.wants_call(now) && self.prompts.spend(PROMPTS, PROMPTS, now) {
                peer.calling.prompt(now);
            }
        }
    }

    pub(super) fn gossip(
        &mut self,
        to: Identity,
        members: &[Member],
        mut seen: Vec<(Identity, SocketAddr)>,
        now: Instant,
    ) {
        for members in members.chunks(MEMBERS_A_MESSAGE) {
            let seen = std::mem::take(&mut seen);
            self.say(to, &Gossip::Members { members: members.to_vec(), seen }, now);
        }
    }

    pub(super) fn say(&mut self, to: Identity, gossip: &Gossip, now: Instant) {
        let Some(peer) = self.peers.get_mut(&to).filter(|peer| peer.is_up()) else { return };
        let payload = wire::encode(GOSSIP_VERSION, gossip);
        peer.channel.push(Control::Message { topic: Topic::MEMBERS, payload: &payload }.emit(), now);
        self.flush_channel(to, now);
    }

    /// Two who were admitted apart may have one name: nobody is refused over that, and an operator is told.
    fn compare_names(&mut self, member: &Member) {
        let claimant = member.identity();
        let holder = self.roster.of_name(member.name()).filter(|holder| *holder != claimant && !member.revoked);
        let lives = |holder: &Identity| self.roster.member(*holder).is_some_and(|holder| !holder.revoked);
        if let Some(holder) = holder.filter(lives) {
            self.alarm(Alarm::NameTaken { name: member.name().clone(), holder, claimant });
        }
    }

    /// Raises an alarm once. Others decide how many namesakes there are, so those have an end.
    pub(super) fn alarm(&mut self, alarm: Alarm) {
        let out = &mut self.out;
        let is_new = match &alarm {
            Alarm::NameTaken { claimant, .. } => out.namesakes.len() < ALARMS_MOST && out.namesakes.insert(*claimant),
            Alarm::Impersonated => !std::mem::replace(&mut out.is_impersonated, true),
        };
        if is_new {
            out.events.push_back(Event::Alarm(alarm));
        }
    }
}

/// Between two calls of a router that starts: so many does the gate of one admit in a second.
const CALL_TURN: Duration = Duration::from_millis(2);
/// Calls a second that what members say of others, or of members of their own making, brings forward. Each costs us a few
/// Diffie-Hellmans, and goes wherever it says.
pub(super) const PROMPTS: u32 = 20;
/// After so many an operator has looked, or never will.
pub(super) const ALARMS_MOST: usize = 1000;
/// Those who hear news pass it on to so many: most have it then already from where it began.
const RELAYS: usize = 3;
/// Hints about where peers are seen: as many as a cluster is built for.
pub(super) const SEEN_MOST: usize = 1000;
