//! The sponsor's side of one first contact, from the hello to the sealed answer.
//!
//! Owns the handshake. Knows neither the roster nor the ledger: its owner judges the applicant.
//!
//! ```text
//!   Expecting ──hello──▶ Doubting ──proof──▶ Judging ──verdict──▶ done
//! ```

use snow::HandshakeState;
use wire::envelope::{HEADER_BYTES, Kind, TAG_BYTES};
use wire::{ClusterId, Identity, PeerName};

use crate::admission::SignedAddresses;
use crate::aead::{Sealer, Suite};
use crate::contact::{CONTACT_VERSION, Hello, Proof, Verdict, message};
use crate::digest::derive;
use crate::identity::{Purpose, Secret, verify};
use crate::noise::{Party, Split};
use crate::refusal::RefuseReason;
use crate::streams::{SecretKind, SecretState};

/// One applicant.
pub(crate) struct Sponsor {
    /// What it claims to know.
    pub(crate) kind: SecretKind,
    /// What that is worth.
    pub(crate) state: SecretState,
    step: Step,
}

enum Step {
    /// One state for each secret it may know: up to the proof they say the same.
    Doubting(Vec<HandshakeState>),
    Judging(Box<Judging>),
    Done,
}

/// An applicant to be judged, and what seals the verdict.
struct Judging {
    sealer: Sealer,
    applicant: Applicant,
}

/// An applicant that has proven its keys and its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Applicant {
    pub(crate) identity: Identity,
    pub(crate) noise_key: [u8; 32],
    pub(crate) name: PeerName,
    pub(crate) addresses: SignedAddresses,
}

impl Sponsor {
    /// Reads the hello. The second handshake message comes with it.
    pub(crate) fn greet(
        cluster: &ClusterId,
        noise_key: &Secret,
        hello: &[u8],
        secrets: &[Secret],
        state: SecretState,
        seed: [u8; 32],
    ) -> Option<(Self, Vec<u8>)> {
        let (Hello { kind, .. }, context, body) = Hello::parse(hello)?;
        let (mut states, mut answer) = (Vec::new(), None);
        for secret in secrets {
            let mut noise = Party { cluster, noise_key, seed }.sponsor(secret, context).ok()?;
            noise.read_message(body, &mut vec![0; body.len()]).ok()?;
            let mut bytes = [0; ANSWER_BYTES];
            let length = noise.write_message(&[], &mut bytes).ok()?;
            answer = Some(message(Kind::JoinAnswer, &[bytes.get(..length)?]));
            states.push(noise);
        }
        Some((Self { kind, state, step: Step::Doubting(states) }, answer?))
    }

    /// Reads the proof: whether the secret was right, and who it is.
    pub(crate) fn examine(&mut self, proof: &[u8]) -> Result<&Applicant, RefuseReason> {
        let Step::Doubting(states) = std::mem::replace(&mut self.step, Step::Done) else {
            return Err(RefuseReason::BadProof);
        };
        let body = proof.get(4..).unwrap_or_default();
        let mut payload = vec![0; body.len()];
        let opened = states.into_iter().find_map(|mut noise| {
            let transcript = noise.get_handshake_hash().to_vec();
            let length = noise.read_message(body, &mut payload).ok()?;
            Some((noise, transcript, length))
        });
        let Some((noise, transcript, length)) = opened else {
            return Err(match self.kind {
                SecretKind::Password => RefuseReason::WrongPassword,
                SecretKind::Token(_) => RefuseReason::WrongToken,
            });
        };
        let noise_key: Option<[u8; 32]> = noise.get_remote_static().and_then(|key| key.try_into().ok());
        let proof = wire::decode::<Proof>(CONTACT_VERSION, payload.get(..length).unwrap_or_default());
        let (Some(noise_key), Ok(proof)) = (noise_key, proof) else {
            return Err(RefuseReason::BadProof);
        };
        let Proof { identity, name, addresses, signature } = proof;
        if !verify(identity, Purpose::Join, &[&transcript, &noise_key, name.as_str().as_bytes()], &signature) {
            return Err(RefuseReason::BadProof);
        }
        let key = derive(&Split::of(noise).send, &[b"raddle grant"]);
        let sealer = Sealer::new(Suite::ChaCha20Poly1305, &key, Kind::JoinGrant, 0, 0);
        self.step =
            Step::Judging(Box::new(Judging { sealer, applicant: Applicant { identity, noise_key, name, addresses } }));
        self.applicant().ok_or(RefuseReason::BadProof)
    }

    /// Who it is, once that is proven and until it has been answered.
    pub(crate) fn applicant(&self) -> Option<&Applicant> {
        match &self.step {
            Step::Judging(judging) => Some(&judging.applicant),
            Step::Doubting(_) | Step::Done => None,
        }
    }

    /// Seals the answer, in as many messages as it takes.
    pub(crate) fn answer(&mut self, verdict: &Verdict) -> Vec<Vec<u8>> {
        let Step::Judging(mut judging) = std::mem::replace(&mut self.step, Step::Done) else {
            return Vec::new();
        };
        let bytes = wire::encode(CONTACT_VERSION, verdict);
        let pieces: Vec<&[u8]> = bytes.chunks(PIECE_BYTES).collect();
        let mut messages = Vec::with_capacity(pieces.len());
        for (number, piece) in (1..).zip(&pieces) {
            let last = u8::from(number == pieces.len());
            let mut sealed = [&[0; HEADER_BYTES][..], &[last], piece, &[0; TAG_BYTES]].concat();
            if judging.sealer.seal(&mut sealed).is_ok() {
                messages.push(sealed);
            }
        }
        messages
    }
}

/// Room for the second handshake message: an ephemeral key, a sealed static key, a tag.
const ANSWER_BYTES: usize = 32 + 48 + 16;
/// A piece with its envelope stays well below the longest stream message.
const PIECE_BYTES: usize = 512 << 10;
