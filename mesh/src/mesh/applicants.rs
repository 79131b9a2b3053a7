//! First contact on the sponsor's side: who is let in, and what they are given.

use std::net::SocketAddr;
use std::time::Instant;

use wire::envelope::{Frames, Kind};
use wire::{Certificate, Title};

use super::Mesh;
use crate::contact::{Grant, Hello, Verdict, cluster_tag, refusal};
use crate::event::{Application, Carrier, Event, JoinId, SecretUsed, Standing, StreamId};
use crate::identity::{Secret, vouch};
use crate::join_secret::{JoinSecret, SecretKind, SecretState};
use crate::member::Member;
use crate::refusal::RefuseReason;
use crate::sponsor::{Applicant, Sponsor};
use crate::streams::{APPLICANT_PATIENCE, Standing as StreamStanding, Stream};

impl Mesh {
    /// The applicant as the member it would be. Write that down together with the secret's use, then [`Self::admit_join`].
    /// Of one that is a member already, what is known of it.
    ///
    /// # Errors
    /// Why it cannot be: pass that on to [`Self::answer_join`].
    pub fn certify_join(&self, join: JoinId) -> Result<Member, RefuseReason> {
        let applicant = self.sponsor_of(join).and_then(Sponsor::applicant).cloned().ok_or(RefuseReason::Busy)?;
        if let Some(member) = self.judge(&applicant)? {
            return Ok(member);
        }
        let Applicant { title, consent, addresses } = applicant;
        let voucher = vouch(&title, &self.me.signing_key);
        Ok(Member { certificate: Certificate { title, consent, voucher }, addresses, revoked: false })
    }

    /// Makes a member of whom [`Self::certify_join`] certified, and spreads the news. Certified, it could prove its membership
    /// to anybody: so nobody hears of it before the secret's use is on the disk. Another sponsor may have admitted it meanwhile,
    /// and then that one's certificate may be the one that holds.
    ///
    /// # Errors
    /// Why it is none: pass that on to [`Self::answer_join`]. Nothing changed.
    pub fn admit_join(&mut self, member: Member, now: Instant) -> Result<(), RefuseReason> {
        let identity = member.identity();
        self.admit(vec![member.clone()], None, now);
        let noise_key = member.certificate.title.noise_key;
        match self.roster.member(identity) {
            Some(known) if known.revoked => Err(RefuseReason::Revoked),
            Some(known) if known.certificate.title.noise_key == noise_key => Ok(()),
            Some(_) => Err(RefuseReason::KeyTaken),
            None if self.roster.is_full() => Err(RefuseReason::Full),
            None => Err(RefuseReason::BadProof),
        }
    }

    /// Answers an applicant, sealed: with the ledger as it shall begin with, or with a refusal.
    pub fn answer_join(&mut self, join: JoinId, answer: Result<Vec<u8>, RefuseReason>) {
        let stream = StreamId(join.0);
        let identity = self.sponsor_of(join).and_then(Sponsor::applicant).map(|applicant| applicant.title.identity);
        let Some(identity) = identity else { return };
        let certificate = self.roster.member(identity).map(|member| member.certificate.clone());
        let verdict = match (answer, certificate) {
            (Ok(ledger), Some(certificate)) => {
                let (genesis, members) = (self.me.genesis.clone(), self.members());
                Verdict::Granted(Box::new(Grant { genesis, certificate, members, ledger }))
            }
            (Ok(_), None) => Verdict::Refused(RefuseReason::Busy),
            (Err(reason), _) => Verdict::Refused(reason),
        };
        if let (Verdict::Refused(reason), Some(from)) = (&verdict, self.streams.get(&stream).and_then(Stream::stranger))
        {
            self.refuse_in_log(from, reason.clone());
        }
        self.seal_answer(stream, &verdict);
    }

    pub(super) fn handle_applicant(&mut self, stream: StreamId, bytes: &[u8], now: Instant) {
        let Some(from) = self.streams.get(&stream).and_then(Stream::stranger) else {
            return self.drop_stream(stream, now);
        };
        match Kind::of_message(bytes) {
            Ok(Kind::Probe) => self.handle_probe(stream, from, bytes, now),
            Ok(Kind::JoinHello) if !self.may_greet(stream, from, now) => {
                self.out.counters.gated += 1;
                self.emit(stream, &refusal(&RefuseReason::Busy));
                self.drop_stream(stream, now);
            }
            Ok(Kind::JoinHello) => match self.greet(stream, from, bytes, now) {
                Ok(answer) => self.emit(stream, &answer),
                Err(reason) => self.refuse_in_clear(stream, from, reason, now),
            },
            Ok(_) | Err(_) => self.examine(stream, from, bytes, now),
        }
    }

    /// Whether something may be computed for whoever is on this stream: once, and within its budget.
    fn may_greet(&mut self, stream: StreamId, from: SocketAddr, now: Instant) -> bool {
        let is_new = self.streams.get(&stream).is_some_and(Stream::is_new);
        let source = self.source(from, now);
        is_new && self.gate.admits_stranger(from, source, now)
    }

    /// Judges what the applicant says in clear, before anything is computed for it.
    fn greet(
        &mut self,
        stream: StreamId,
        from: SocketAddr,
        hello: &[u8],
        now: Instant,
    ) -> Result<Vec<u8>, RefuseReason> {
        let Some((Hello { tag, kind }, _, _)) = Hello::parse(hello) else {
            return Err(RefuseReason::BadProof);
        };
        if tag != cluster_tag(&self.me.local.cluster) {
            return Err(RefuseReason::WrongCluster);
        }
        if self.is_retired() {
            return Err(RefuseReason::SponsorRevoked);
        }
        let unknown = if kind == SecretKind::Password { RefuseReason::NoPassword } else { RefuseReason::UnknownToken };
        let known: Vec<&JoinSecret> = self.secrets.iter().filter(|secret| secret.kind == kind).collect();
        let state = known.first().ok_or(unknown)?.state;
        if state == SecretState::Expired {
            return Err(RefuseReason::ExpiredToken);
        }
        // While a password is replaced there are two of them.
        let keys: Vec<Secret> = known.into_iter().map(|secret| secret.key.clone()).collect();
        self.out.counters.handshakes += 1;
        let seed = self.rng.bytes();
        let greeted = Sponsor::greet(&self.me.local, hello, &keys, state, seed);
        let (sponsor, answer) = greeted.ok_or(RefuseReason::BadProof)?;
        if let Some(open) = self.streams.get_mut(&stream) {
            open.standing =
                StreamStanding::Applying { from, until: now + APPLICANT_PATIENCE, sponsor: Box::new(sponsor) };
        }
        Ok(answer)
    }

    /// Reads the proof, and hands the applicant to the owner.
    fn examine(&mut self, stream: StreamId, from: SocketAddr, proof: &[u8], now: Instant) {
        let Some(StreamStanding::Applying { sponsor, .. }) =
            self.streams.get_mut(&stream).map(|open| &mut open.standing)
        else {
            return self.drop_stream(stream, now);
        };
        let (kind, state) = (sponsor.kind, sponsor.state);
        let applicant = match sponsor.examine(proof) {
            Ok(applicant) => applicant.clone(),
            Err(reason) => return self.refuse_in_clear(stream, from, reason, now),
        };
        let judged =
            self.judge(&applicant).map(|member| if member.is_some() { Standing::Member } else { Standing::Newcomer });
        let standing = match judged {
            Ok(Standing::Newcomer) if state == SecretState::Used => Err(RefuseReason::UsedToken),
            judged => judged,
        };
        let Applicant { title: Title { identity, noise_key, name, .. }, addresses, .. } = applicant;
        match standing {
            Ok(standing) => {
                let secret = match kind {
                    SecretKind::Password => SecretUsed::Password,
                    SecretKind::Token(id) => SecretUsed::Token(id),
                };
                let (join, addresses) = (JoinId(stream.0), addresses.addresses);
                let application = Application { join, from, name, identity, noise_key, secret, standing, addresses };
                self.out.events.push_back(Event::JoinRequested(Box::new(application)));
            }
            Err(reason) => {
                self.refuse_in_log(from, reason.clone());
                self.seal_answer(stream, &Verdict::Refused(reason));
            }
        }
    }

    /// Whether the applicant may be a member; the member, if it is one already.
    fn judge(&self, applicant: &Applicant) -> Result<Option<Member>, RefuseReason> {
        let Title { identity, noise_key, name, .. } = &applicant.title;
        if let Some(member) = self.roster.member(*identity) {
            return match (member.revoked, member.certificate.title.noise_key == *noise_key) {
                (true, _) => Err(RefuseReason::Revoked),
                (false, false) => Err(RefuseReason::KeyTaken),
                (false, true) => Ok(Some(member.clone())),
            };
        }
        let holder = self.roster.of_name(name).and_then(|holder| self.roster.member(holder));
        if holder.is_some_and(|holder| !holder.revoked) {
            return Err(RefuseReason::NameTaken { name: name.clone() });
        }
        if self.roster.is_full() {
            return Err(RefuseReason::Full);
        }
        Ok(None)
    }

    fn sponsor_of(&self, join: JoinId) -> Option<&Sponsor> {
        match &self.streams.get(&StreamId(join.0))?.standing {
            StreamStanding::Applying { sponsor, .. } => Some(sponsor),
            StreamStanding::Stranger { .. }
            | StreamStanding::Dialed { .. }
            | StreamStanding::Asking { .. }
            | StreamStanding::Bound(_) => None,
        }
    }

    fn seal_answer(&mut self, stream: StreamId, verdict: &Verdict) {
        let Some(StreamStanding::Applying { sponsor, .. }) =
            self.streams.get_mut(&stream).map(|open| &mut open.standing)
        else {
            return;
        };
        for sealed in sponsor.answer(verdict) {
            self.emit(stream, &sealed);
        }
        self.close_stream(stream);
    }

    fn refuse_in_clear(&mut self, stream: StreamId, from: SocketAddr, reason: RefuseReason, now: Instant) {
        self.emit(stream, &refusal(&reason));
        self.refuse_in_log(from, reason);
        self.drop_stream(stream, now);
    }

    pub(super) fn emit(&mut self, stream: StreamId, message: &[u8]) {
        if let Ok(bytes) = Frames::emit(message) {
            self.transmit(Carrier::Stream(stream), bytes);
        }
    }
}
