//! The applicant's side of first contact: from a token or password to a verified membership.
//!
//! Owns one conversation on one stream. Knows no clock: its owner decides how long to wait. Until the sealed answer opens,
//! the sponsor has proven nothing; a refusal in clear is believed, since an impostor can refuse in many ways anyway.
//!
//! ```text
//!   token ────────────────────────────┐
//!   password ─probe─▶ cluster id ─key─▶ hello ─▶ proof ─▶ pieces ─▶ Joined
//! ```

use std::collections::VecDeque;

use snow::HandshakeState;
use wire::envelope::{Frames, Header, Kind};
use wire::{Addresses, Certificate, ClusterId, Genesis, Identity, PeerName, Title};

use crate::admission::Roster;
use crate::aead::{Opener, Suite};
use crate::contact::{CONTACT_VERSION, Grant, Hello, Probe, ProbeReply, Proof, Verdict, cluster_tag, message};
use crate::digest::derive;
use crate::identity::{Secret, cluster_id, consent, verify};
use crate::join_secret::SecretKind;
use crate::member::{FIRST_GENERATION, Member, SignedAddresses};
use crate::noise::{Party, Split};
use crate::primitives::Primitives;
use crate::refusal::RefuseReason;
use crate::token::Token;

/// Who wants to join. The secrets are on disk before the first byte is sent, so that a lost answer can be asked for again.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// The Ed25519 secret.
    pub signing_key: Secret,
    /// The X25519 secret.
    pub noise_key: Secret,
    /// What it wants to be called.
    pub name: PeerName,
    /// Where it will listen.
    pub addresses: Addresses,
}

/// One attempt to join.
pub struct Joiner {
    candidate: Candidate,
    seed: [u8; 32],
    frames: Frames,
    step: Step,
    out: VecDeque<Vec<u8>>,
    news: VecDeque<Progress>,
    /// Whether the outcome has been told.
    over: bool,
}

enum Step {
    /// Waiting for the cluster id, then for the password's key.
    Probing,
    Keying {
        cluster: ClusterId,
    },
    Greeting {
        cluster: ClusterId,
        noise: Box<HandshakeState>,
    },
    Receiving {
        cluster: ClusterId,
        sponsor: Claim,
        opener: Box<Opener>,
        received: Vec<u8>,
    },
    Done,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// Password only: make the key of the password and this cluster id (Argon2id), and give it to
    /// [`Joiner::handle_password_key`].
    PasswordKeyWanted {
        /// The salt.
        cluster: ClusterId,
    },
    /// Done.
    Joined(Box<Joined>),
    /// Over.
    Failed(JoinError),
}

/// A membership, verified down to the genesis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Joined {
    /// How the cluster began.
    pub genesis: Genesis,
    /// Ours.
    pub certificate: Certificate,
    /// All members, ourselves included.
    pub members: Vec<Member>,
    /// What the sponsor's ledger says, for ours to read.
    pub ledger: Vec<u8>,
}

/// Why an attempt to join came to nothing. Nothing changed on this side.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JoinError {
    /// The sponsor said no.
    #[error("the sponsor refused: {reason}")]
    Refused {
        /// In its words.
        reason: RefuseReason,
    },
    /// What came is not the protocol.
    #[error("what answers there does not speak this protocol")]
    Protocol,
    /// The answer is not sealed by one who knows the secret.
    #[error("what answers there does not know the secret either: it is not this cluster's router")]
    Impostor,
    /// The answer is authentic and does not hold: genesis, certificate chain or keys do not fit.
    #[error("the sponsor's answer does not verify: {fault}")]
    Unverified {
        /// Which part.
        fault: &'static str,
    },
    /// The cluster's ledger and directory are larger than a joiner takes.
    #[error("what the cluster knows is more than the {} MiB that a joiner takes", GRANT_BYTES >> 20)]
    TooLarge,
    /// The stream ended too early.
    #[error("the sponsor closed the connection before it had answered")]
    Closed,
}

impl Joiner {
    /// Begins with a token.
    #[must_use]
    pub fn with_token(candidate: Candidate, token: &Token, seed: [u8; 32]) -> Self {
        let mut joiner = Self::new(candidate, seed);
        joiner.greet(token.cluster, SecretKind::Token(token.id), &token.secret);
        joiner
    }

    /// Begins with a password, by asking which cluster this is.
    #[must_use]
    pub fn with_password(candidate: Candidate, seed: [u8; 32]) -> Self {
        let mut joiner = Self::new(candidate, seed);
        joiner.emit(&Probe::Applicant.emit());
        joiner
    }

    /// Takes what was made of the password.
    pub fn handle_password_key(&mut self, key: &Secret) {
        if let Step::Keying { cluster } = self.step {
            self.greet(cluster, SecretKind::Password, key);
        }
    }

    /// Takes bytes as they came off the stream.
    pub fn handle_bytes(&mut self, bytes: &[u8]) {
        self.frames.handle_bytes(bytes);
        loop {
            let message = match self.frames.poll_message() {
                Ok(Some(message)) => message.to_vec(),
                Ok(None) => return,
                Err(_) => return self.fail(JoinError::Protocol),
            };
            if let Err(error) = self.handle_message(&message) {
                return self.fail(error);
            }
        }
    }

    /// The stream ended.
    pub fn handle_closed(&mut self) {
        self.fail(JoinError::Closed);
    }

    /// The next bytes for the stream.
    pub fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        self.out.pop_front()
    }

    /// What became of it. Nothing follows [`Progress::Joined`] or [`Progress::Failed`].
    pub fn poll_progress(&mut self) -> Option<Progress> {
        self.news.pop_front()
    }

    fn new(candidate: Candidate, seed: [u8; 32]) -> Self {
        let (frames, out, news) = (Frames::new(), VecDeque::new(), VecDeque::new());
        Self { candidate, seed, frames, step: Step::Probing, out, news, over: false }
    }

    fn greet(&mut self, cluster: ClusterId, kind: SecretKind, secret: &Secret) {
        let context = Hello { tag: cluster_tag(&cluster), kind }.emit();
        let (noise_key, seed, primitives) = (&self.candidate.noise_key, self.seed, Primitives::default());
        let party = Party { cluster: &cluster, noise_key, seed, primitives };
        let mut hello = [0; 96];
        let begun =
            party.apply(secret, &context).and_then(|mut noise| Ok((noise.write_message(&[], &mut hello)?, noise)));
        let Ok((length, noise)) = begun else { return self.fail(JoinError::Protocol) };
        self.emit(&message(Kind::JoinHello, &[&context, hello.get(..length).unwrap_or_default()]));
        self.step = Step::Greeting { cluster, noise: Box::new(noise) };
    }

    fn handle_message(&mut self, message: &[u8]) -> Result<(), JoinError> {
        match (Kind::of_message(message), std::mem::replace(&mut self.step, Step::Done)) {
            (_, Step::Done) => Ok(()),
            (Ok(Kind::JoinRefused), _) => {
                let reason = message.get(4..).and_then(|bytes| wire::decode(CONTACT_VERSION, bytes).ok());
                Err(reason.map_or(JoinError::Protocol, |reason| JoinError::Refused { reason }))
            }
            (Ok(Kind::ProbeReply), Step::Probing) => {
                let ProbeReply { cluster } = ProbeReply::parse(message).ok_or(JoinError::Protocol)?;
                self.step = Step::Keying { cluster };
                self.news.push_back(Progress::PasswordKeyWanted { cluster });
                Ok(())
            }
            (Ok(Kind::JoinAnswer), Step::Greeting { cluster, noise }) => self.prove(cluster, *noise, message),
            (Ok(Kind::JoinGrant), Step::Receiving { cluster, sponsor, opener, received }) => {
                self.receive(Receipt { cluster, sponsor, opener, received }, message)
            }
            _ => Err(JoinError::Protocol),
        }
    }

    /// The sponsor has shown its key: shows ours, and who we are.
    fn prove(&mut self, cluster: ClusterId, mut noise: HandshakeState, answer: &[u8]) -> Result<(), JoinError> {
        let body = answer.get(4..).unwrap_or_default();
        let mut payload = vec![0; body.len()];
        noise.read_message(body, &mut payload).map_err(|_| JoinError::Protocol)?;
        let issuer = payload.first_chunk().map(|issuer| Identity(*issuer)).ok_or(JoinError::Protocol)?;
        let Candidate { signing_key, noise_key, name, addresses } = &self.candidate;
        let (identity, noise_key, name) = (signing_key.identity(), noise_key.noise_public(), name.clone());
        let title = Title { identity, noise_key, name, generation: FIRST_GENERATION, issuer };
        let consent = consent(&title, signing_key);
        // Boot counters begin at 1, so that the first start of the router renews this.
        let addresses = SignedAddresses::sign(addresses.clone(), (0, 0), signing_key);
        let proof = Proof { title, consent, addresses };
        let payload = wire::encode(CONTACT_VERSION, &proof);
        let mut sealed = vec![0; payload.len() + 96];
        let length = noise.write_message(&payload, &mut sealed).map_err(|_| JoinError::Protocol)?;
        self.emit(&message(Kind::JoinProof, &[sealed.get(..length).unwrap_or_default()]));
        let key = noise.get_remote_static().and_then(|key| key.try_into().ok()).ok_or(JoinError::Protocol)?;
        let sponsor = (issuer, key);
        let key = derive(&Split::of(noise).receive, &[b"raddle grant"]);
        let opener = Box::new(Opener::new(Suite::ChaCha20Poly1305, &key));
        self.step = Step::Receiving { cluster, sponsor, opener, received: Vec::new() };
        Ok(())
    }

    fn receive(&mut self, mut receipt: Receipt, message: &[u8]) -> Result<(), JoinError> {
        let counter = Header::parse(message).map_err(|_| JoinError::Protocol)?.counter;
        // TCP keeps order: a piece out of turn is somebody's doing.
        if !receipt.opener.is_newest(counter) {
            return Err(JoinError::Impostor);
        }
        let mut sealed = message.to_vec();
        let plaintext = receipt.opener.open(&mut sealed).map_err(|_| JoinError::Impostor)?;
        let (&mut last, piece) = plaintext.split_first_mut().ok_or(JoinError::Protocol)?;
        receipt.received.extend_from_slice(piece);
        if receipt.received.len() > GRANT_BYTES {
            return Err(JoinError::TooLarge);
        }
        if last == 0 {
            let Receipt { cluster, sponsor, opener, received } = receipt;
            self.step = Step::Receiving { cluster, sponsor, opener, received };
            return Ok(());
        }
        match wire::decode(CONTACT_VERSION, &receipt.received) {
            Ok(Verdict::Granted(grant)) => {
                let joined = self.verify(receipt.cluster, receipt.sponsor, *grant)?;
                self.over = true;
                self.news.push_back(Progress::Joined(Box::new(joined)));
                Ok(())
            }
            Ok(Verdict::Refused(reason)) => Err(JoinError::Refused { reason }),
            Err(_) => Err(JoinError::Protocol),
        }
    }

    /// Believes nothing of a grant that does not follow from the cluster id.
    fn verify(&self, cluster: ClusterId, sponsor: Claim, grant: Grant) -> Result<Joined, JoinError> {
        let fault = |fault| Err(JoinError::Unverified { fault });
        let Grant { genesis, certificate, members, ledger } = grant;
        let Candidate { signing_key, noise_key, .. } = &self.candidate;
        if cluster_id(&genesis) != cluster {
            return fault("the genesis is another cluster's");
        }
        if (certificate.title.identity, certificate.title.noise_key)
            != (signing_key.identity(), noise_key.noise_public())
        {
            return fault("the certificate is for other keys");
        }
        let mut roster = Roster::new(Identity(genesis.authority), verify);
        let errors = roster.recall(members);
        if !errors.is_empty() {
            return fault("a member's certificate does not lead to the genesis");
        }
        if roster.member(certificate.title.identity).is_none_or(|member| member.certificate != certificate) {
            return fault("the certificate is not among the members'");
        }
        let (identity, key) = sponsor;
        let is_it = |member: &&Member| !member.revoked && member.certificate.title.noise_key == key;
        if roster.member(identity).filter(is_it).is_none() {
            return fault("the sponsor is no member");
        }
        let members = roster.members().cloned().collect();
        Ok(Joined { genesis, certificate, members, ledger })
    }

    fn emit(&mut self, message: &[u8]) {
        self.out.extend(Frames::emit(message));
    }

    fn fail(&mut self, error: JoinError) {
        if !std::mem::replace(&mut self.over, true) {
            self.news.push_back(Progress::Failed(error));
        }
        self.step = Step::Done;
    }
}

/// The identity that a sponsor claims, and the handshake key that it has proven.
type Claim = (Identity, [u8; 32]);

/// A grant coming in.
struct Receipt {
    cluster: ClusterId,
    sponsor: Claim,
    opener: Box<Opener>,
    received: Vec<u8>,
}

/// A ledger of ten thousand peers is 1.4 MB, the names that workloads ever had are some 300 bytes each; beyond this somebody
/// wants our memory.
const GRANT_BYTES: usize = 256 << 20;
