//! The sponsor's side of one first contact, from the hello to the sealed answer.
//!
//! Owns the handshake. Knows neither the roster nor the ledger: its owner judges the applicant.
//!
//! ```text
//!   Expecting ──hello──▶ Doubting ──proof──▶ Judging ──verdict──▶ done
//! ```

use snow::HandshakeState;
use wire::envelope::{HEADER_BYTES, Kind, TAG_BYTES};
use wire::{Identity, Signature, Title};

use crate::aead::{Sealer, Suite};
use crate::contact::{CONTACT_VERSION, Hello, Proof, Verdict, message};
use crate::digest::derive;
use crate::handshake::Local;
use crate::identity::{Secret, is_consented, verify};
use crate::join_secret::{SecretKind, SecretState};
use crate::member::{FIRST_GENERATION, SignedAddresses};
use crate::noise::{Party, Split};
use crate::refusal::RefuseReason;

/// One applicant.
pub(crate) struct Sponsor {
    /// What it claims to know.
    pub(crate) kind: SecretKind,
    /// What that is worth.
    pub(crate) state: SecretState,
    /// Who would certify it.
    issuer: Identity,
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
    pub(crate) title: Title,
    /// The identity's word for the title.
    pub(crate) consent: Signature,
    pub(crate) addresses: SignedAddresses,
}

impl Sponsor {
    /// Reads the hello. The second handshake message comes with it.
    pub(crate) fn greet(
        local: &Local,
        hello: &[u8],
        secrets: &[Secret],
        state: SecretState,
        seed: [u8; 32],
    ) -> Option<(Self, Vec<u8>)> {
        let (Hello { kind, .. }, context, body) = Hello::parse(hello)?;
        let Local { cluster, identity, noise_key, primitives, .. } = local;
        let (mut states, mut answer) = (Vec::new(), None);
        for secret in secrets {
            let mut noise =
                Party { cluster, noise_key, seed, primitives: *primitives }.sponsor(secret, context).ok()?;
            noise.read_message(body, &mut vec![0; body.len()]).ok()?;
            let mut bytes = [0; ANSWER_BYTES];
            let length = noise.write_message(&identity.0, &mut bytes).ok()?;
            answer = Some(message(Kind::JoinAnswer, &[bytes.get(..length)?]));
            states.push(noise);
        }
        Some((Self { kind, state, issuer: *identity, step: Step::Doubting(states) }, answer?))
    }

    /// Reads the proof: whether the secret was right, and who it is.
    pub(crate) fn examine(&mut self, proof: &[u8]) -> Result<&Applicant, RefuseReason> {
        let Step::Doubting(states) = std::mem::replace(&mut self.step, Step::Done) else {
            return Err(RefuseReason::BadProof);
        };
        let body = proof.get(4..).unwrap_or_default();
        let mut payload = vec![0; body.len()];
        let opened = states.into_iter().find_map(|mut noise| {
            let length = noise.read_message(body, &mut payload).ok()?;
            Some((noise, length))
        });
        let Some((noise, length)) = opened else {
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
        let Proof { title, consent, addresses } = proof;
        // The handshake has proven the key, and only its holder's own word binds it to the identity.
        let fits = (title.noise_key, title.issuer, title.generation) == (noise_key, self.issuer, FIRST_GENERATION);
        if !(fits && is_consented(verify, &title, &consent) && addresses.is_signed_by(verify, title.identity)) {
            return Err(RefuseReason::BadProof);
        }
        let key = derive(&Split::of(noise).send, &[b"raddle grant"]);
        let sealer = Sealer::new(Suite::ChaCha20Poly1305, &key, Kind::JoinGrant, 0, 0);
        self.step = Step::Judging(Box::new(Judging { sealer, applicant: Applicant { title, consent, addresses } }));
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

/// Room for the second handshake message: an ephemeral key, a sealed static key, a sealed identity.
const ANSWER_BYTES: usize = 32 + 48 + 48;
/// A piece with its envelope stays well below the longest stream message.
const PIECE_BYTES: usize = 512 << 10;
