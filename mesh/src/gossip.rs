//! What peers tell one another about membership, and the frames of the control channel.
//!
//! Owns both encodings. Decides nothing: the roster does.
//!
//! ```text
//! Ping     0 │ number, 4 │ roster digest, 8 │ more        Message  2 │ topic │ payload
//! Pong     1 │ number, 4 │ roster digest, 8 │ more        Bind     3 │ more
//! Swim     4 │ roster digest, 8 │ liveness (`swim/words.rs`)
//! ```

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use wire::Identity;

use crate::admission::Member;
use crate::event::Topic;

/// The plaintext of a control envelope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Control<'a> {
    /// Are you there?
    Ping { number: u32, roster: [u8; 8] },
    /// I am.
    Pong { number: u32, roster: [u8; 8] },
    /// Something for the owner of the mesh, or about members.
    Message { topic: Topic, payload: &'a [u8] },
    /// This stream is mine.
    Bind,
    /// What all routers find out together about who lives.
    Swim { roster: [u8; 8], payload: &'a [u8] },
}

impl<'a> Control<'a> {
    pub(crate) fn emit(&self) -> Vec<u8> {
        match self {
            Self::Ping { number, roster } => [&[0][..], &number.to_be_bytes(), roster].concat(),
            Self::Pong { number, roster } => [&[1][..], &number.to_be_bytes(), roster].concat(),
            Self::Message { topic, payload } => [&[2, topic.0][..], payload].concat(),
            Self::Bind => vec![3],
            Self::Swim { roster, payload } => [&[4][..], roster, payload].concat(),
        }
    }

    pub(crate) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (&kind, rest) = bytes.split_first()?;
        match kind {
            0 | 1 => {
                let (number, rest) = rest.split_first_chunk()?;
                let (&roster, _) = rest.split_first_chunk()?;
                let number = u32::from_be_bytes(*number);
                Some(if kind == 0 { Self::Ping { number, roster } } else { Self::Pong { number, roster } })
            }
            2 => rest.split_first().map(|(&topic, payload)| Self::Message { topic: Topic(topic), payload }),
            3 => Some(Self::Bind),
            4 => rest.split_first_chunk().map(|(&roster, payload)| Self::Swim { roster, payload }),
            _ => None,
        }
    }
}

/// A message of topic [`Topic::MEMBERS`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Gossip {
    /// Members the sender knows, and where it sees those it is connected to.
    Members { members: Vec<Member>, seen: Vec<(Identity, SocketAddr)> },
    /// One number for each bucket of the sender's roster.
    Buckets(Vec<u64>),
    /// What the sender knows in these buckets (a bit each), to be compared.
    Lines { buckets: u64, lines: Vec<Line> },
    /// Send me what you know of these.
    Want(Vec<Identity>),
}

/// What is compared of a member: who it is, its certificate's generation, its addresses' version.
pub(crate) type Line = (Identity, u32, (u32, u32));

/// The version of [`Gossip`] this router writes.
pub(crate) const GOSSIP_VERSION: u8 = 2;
/// Members in one message: with all addresses they list, about a fifth of what a stream message may hold.
pub(crate) const MEMBERS_A_MESSAGE: usize = 256;

#[cfg(test)]
mod tests;
