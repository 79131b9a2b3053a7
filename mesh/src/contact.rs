//! First contact: the messages between an applicant and its sponsor, as bytes.
//!
//! Owns their layout. Decides nothing.
//!
//! ```text
//! Probe        prefix │ nothing, or more: 1 │ cluster tag, 8            "which cluster is this?", and a member's own
//! ProbeReply   prefix │ cluster id, 32
//! JoinHello    prefix │ cluster tag, 8 │ secret kind │ token id, 8 │ noise: e
//! JoinAnswer   prefix │ noise: e, ee, s, es, payload = the sponsor's identity
//! JoinProof    prefix │ noise: s, se, psk, payload = Proof
//! JoinGrant    header, 16 │ sealed: 0 = more follows, 1 = the last │ a piece of the Verdict │ tag, 16
//! JoinRefused  prefix │ RefuseReason, in clear
//! ```
//!
//! The clear part of JoinHello goes into the handshake's prologue: who changes it on the way breaks the handshake.
//! Readers of probe and reply ignore what follows: that is how they grow.

use serde::{Deserialize, Serialize};
use wire::envelope::Kind;
use wire::{Certificate, ClusterId, Genesis, Signature, Title};

use crate::digest::hash;
use crate::join_secret::SecretKind;
use crate::member::{Member, SignedAddresses};
use crate::refusal::RefuseReason;
use crate::token::TokenId;

/// The version of [`Proof`] and [`Verdict`].
pub(crate) const CONTACT_VERSION: u8 = 2;

/// Which cluster is this?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Probe {
    /// Asked by one that is in none yet, or says no more.
    Applicant,
    /// Asked by a member of the cluster with this tag.
    Member { tag: [u8; 8] },
}

impl Probe {
    pub(crate) fn emit(&self) -> Vec<u8> {
        match self {
            Self::Applicant => message(Kind::Probe, &[]),
            Self::Member { tag } => message(Kind::Probe, &[&[1], tag]),
        }
    }

    /// A kind of asker it does not know is a newer one, and gets the same answer.
    pub(crate) fn parse(message: &[u8]) -> Option<Self> {
        match message.get(4..)?.split_first() {
            Some((1, rest)) => rest.first_chunk().map(|tag| Self::Member { tag: *tag }),
            Some(_) | None => Some(Self::Applicant),
        }
    }
}

/// This one. Nothing proves it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ProbeReply {
    pub(crate) cluster: ClusterId,
}

impl ProbeReply {
    pub(crate) fn emit(&self) -> Vec<u8> {
        message(Kind::ProbeReply, &[&self.cluster.0])
    }

    pub(crate) fn parse(message: &[u8]) -> Option<Self> {
        message.get(4..)?.first_chunk().map(|cluster| Self { cluster: ClusterId(*cluster) })
    }
}

/// What is said before any key is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hello {
    pub(crate) tag: [u8; 8],
    pub(crate) kind: SecretKind,
}

impl Hello {
    pub(crate) fn emit(&self) -> Vec<u8> {
        let (kind, id) = match self.kind {
            SecretKind::Password => (2, TokenId([0; 8])),
            SecretKind::Token(id) => (1, id),
        };
        [&self.tag[..], &[kind], &id.0].concat()
    }

    /// The hello, its bytes, and the Noise message behind it.
    pub(crate) fn parse(message: &[u8]) -> Option<(Self, &[u8], &[u8])> {
        let body = message.get(4..)?;
        let (context, noise) = body.split_at_checked(HELLO_BYTES)?;
        let (tag, rest) = context.split_first_chunk()?;
        let (kind, id) = rest.split_first()?;
        let kind = match kind {
            1 => SecretKind::Token(TokenId(id.try_into().ok()?)),
            2 => SecretKind::Password,
            _ => return None,
        };
        Some((Self { tag: *tag, kind }, context, noise))
    }
}

/// What the applicant says of itself, inside the third handshake message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Proof {
    /// Its first certificate, but for the sponsor's voucher.
    pub(crate) title: Title,
    /// The identity's word for it.
    pub(crate) consent: Signature,
    pub(crate) addresses: SignedAddresses,
}

/// The sponsor's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Verdict {
    Granted(Box<Grant>),
    Refused(RefuseReason),
}

/// What makes an applicant a member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Grant {
    pub(crate) genesis: Genesis,
    pub(crate) certificate: Certificate,
    pub(crate) members: Vec<Member>,
    pub(crate) ledger: Vec<u8>,
}

/// Which cluster a hello is for: enough to tell a wrong one, too little to join it.
pub(crate) fn cluster_tag(cluster: &ClusterId) -> [u8; 8] {
    let [a, b, c, d, e, f, g, h, ..] = hash(&[b"raddle cluster tag", &cluster.0]);
    [a, b, c, d, e, f, g, h]
}

/// A message: its kind, then its parts.
pub(crate) fn message(kind: Kind, parts: &[&[u8]]) -> Vec<u8> {
    [&kind.prefix()[..], &parts.concat()].concat()
}

/// A refusal in clear.
pub(crate) fn refusal(reason: &RefuseReason) -> Vec<u8> {
    message(Kind::JoinRefused, &[&wire::encode(CONTACT_VERSION, reason)])
}

const HELLO_BYTES: usize = 8 + 1 + 8;
