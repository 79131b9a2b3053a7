//! What peers tell one another about membership, and the frames of the control channel.
//!
//! Owns both encodings. Decides nothing: the roster does.
//!
//! ```text
//! Ping     0 │ number, 4 │ roster digest, 8 │ more        Message  2 │ topic │ payload
//! Pong     1 │ number, 4 │ roster digest, 8 │ more        Bind     3 │ more
//! Swim     4 │ roster digest, 8 │ liveness (`swim/words.rs`)
//! Check    5 │ number, 4 │ more                           Relay    7 │ leg │ far end, 32 │ a handshake message or envelope
//! Checked  6 │ number, 4 │ more                           Seek     8 │ whom, 32 │ more
//! Reach    9 │ whom, 32 │ round trip in µs, 4 │ largest datagram, 2 │ where, 1 + 16 + 2, may be missing │ more
//!          12, the same: by a relay of its own
//! Sounding 10│ number, 4 │ bytes, 2 │ padding             Sounded  11│ number, 4 │ bytes, 2 │ more
//! Far      13│ whom, 32 │ more
//! ```

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use wire::Identity;
use wire::envelope::{Course, OVERHEAD_BYTES};

use crate::member::Member;
use crate::path::plain;
use crate::sums::{Lines, Salt, Sum};

/// What the payload of a message is about. The mesh carries payloads without reading them; 0 is its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Topic(pub u8);

impl Topic {
    /// The mesh's own: membership.
    pub const MEMBERS: Self = Self(0);
    /// The ledger's messages.
    pub const LEDGER: Self = Self(1);
}

/// The plaintext of a control envelope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Control<'a> {
    /// Are you there?
    Ping { number: u32, roster: Sum },
    /// I am.
    Pong { number: u32, roster: Sum },
    /// Something for the owner of the mesh, or about members.
    Message { topic: Topic, payload: &'a [u8] },
    /// This stream is mine.
    Bind,
    /// What all routers find out together about who lives.
    Swim { roster: Sum, payload: &'a [u8] },
    /// Does this way lead to you?
    Check { number: u32 },
    /// It does: the answer goes back the way the question came.
    Checked { number: u32 },
    /// Something between two routers that do not reach each other, by way of a third.
    Relay(Passed<'a>),
    /// Do you reach this member?
    Seek { whom: Identity },
    /// I do.
    Reach { whom: Identity, reach: Reach },
    /// I do, by two relays: nothing is passed on a third time.
    Far { whom: Identity },
    /// Does a datagram of so many bytes come through? With 0 bytes: does a small one?
    Sounding { number: u32, bytes: u16 },
    /// It does.
    Sounded { number: u32, bytes: u16 },
}

/// A message that is passed on, sealed by one end of its way for the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Passed<'a> {
    pub(crate) leg: Leg,
    /// The end that is not the one this is said to, or said by.
    pub(crate) far: Identity,
    pub(crate) message: &'a [u8],
}

/// Where a relayed message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leg {
    /// On its way to the relay, for the far end.
    There,
    /// On its way from the relay, from the far end. It goes no further.
    Here,
    /// On its way from the relay to one more, for the far end, which that one reaches directly or not at all: there are no
    /// circles.
    On,
}

/// How a neighbour reaches a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reach {
    pub(crate) round_trip: Duration,
    pub(crate) datagram_bytes: u16,
    /// Straight, or by a relay of its own.
    pub(crate) course: Course,
    /// Where it sees the member.
    pub(crate) address: Option<SocketAddr>,
}

impl<'a> Control<'a> {
    pub(crate) fn emit(&self) -> Vec<u8> {
        match self {
            Self::Ping { number, roster } => [&[0][..], &number.to_be_bytes(), roster].concat(),
            Self::Pong { number, roster } => [&[1][..], &number.to_be_bytes(), roster].concat(),
            Self::Message { topic, payload } => [&[2, topic.0][..], payload].concat(),
            Self::Bind => vec![3],
            Self::Swim { roster, payload } => [&[4][..], roster, payload].concat(),
            Self::Check { number } => [&[5][..], &number.to_be_bytes()].concat(),
            Self::Checked { number } => [&[6][..], &number.to_be_bytes()].concat(),
            Self::Relay(Passed { leg, far, message }) => [&[7, *leg as u8][..], &far.0, message].concat(),
            Self::Seek { whom } => [&[8][..], &whom.0].concat(),
            Self::Reach { whom, reach } => {
                let kind = if reach.course == Course::Direct { 9 } else { 12 };
                [&[kind][..], &whom.0, &reach.emit()].concat()
            }
            Self::Sounding { number, bytes } => {
                let mut message = sounding(10, *number, *bytes);
                message.resize(message.len().max(usize::from(*bytes).saturating_sub(OVERHEAD_BYTES)), 0);
                message
            }
            Self::Sounded { number, bytes } => sounding(11, *number, *bytes),
            Self::Far { whom } => [&[13][..], &whom.0].concat(),
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
            5 | 6 => {
                let number = u32::from_be_bytes(*rest.first_chunk()?);
                Some(if kind == 5 { Self::Check { number } } else { Self::Checked { number } })
            }
            7 => {
                let (&leg, rest) = rest.split_first()?;
                let (&far, message) = rest.split_first_chunk()?;
                Some(Self::Relay(Passed { leg: Leg::of(leg)?, far: Identity(far), message }))
            }
            8 => rest.first_chunk().map(|&whom| Self::Seek { whom: Identity(whom) }),
            13 => rest.first_chunk().map(|&whom| Self::Far { whom: Identity(whom) }),
            9 | 12 => {
                let (&whom, rest) = rest.split_first_chunk()?;
                let course = if kind == 9 { Course::Direct } else { Course::Relayed };
                Some(Self::Reach { whom: Identity(whom), reach: Reach::parse(rest, course)? })
            }
            10 | 11 => {
                let (number, rest) = rest.split_first_chunk()?;
                let (bytes, _) = rest.split_first_chunk()?;
                let (number, bytes) = (u32::from_be_bytes(*number), u16::from_be_bytes(*bytes));
                Some(if kind == 10 { Self::Sounding { number, bytes } } else { Self::Sounded { number, bytes } })
            }
            _ => None,
        }
    }
}

impl Leg {
    fn of(byte: u8) -> Option<Self> {
        match byte {
            0 => Some(Self::There),
            1 => Some(Self::Here),
            2 => Some(Self::On),
            _ => None,
        }
    }
}

impl Reach {
    fn emit(&self) -> Vec<u8> {
        let micros = u32::try_from(self.round_trip.as_micros()).unwrap_or(u32::MAX);
        let mut bytes = [&micros.to_be_bytes()[..], &self.datagram_bytes.to_be_bytes()].concat();
        if let Some(address) = self.address {
            let ip = match address.ip() {
                IpAddr::V4(ip) => ip.to_ipv6_mapped(),
                IpAddr::V6(ip) => ip,
            };
            bytes.push(1);
            bytes.extend_from_slice(&ip.octets());
            bytes.extend_from_slice(&address.port().to_be_bytes());
        }
        bytes
    }

    fn parse(bytes: &[u8], course: Course) -> Option<Self> {
        let (micros, rest) = bytes.split_first_chunk()?;
        let (datagram_bytes, rest) = rest.split_first_chunk()?;
        let address = match rest.split_first() {
            Some((1, rest)) => {
                let (ip, rest) = rest.split_first_chunk::<16>()?;
                let port = u16::from_be_bytes(*rest.first_chunk()?);
                Some(plain(SocketAddr::from((Ipv6Addr::from(*ip), port))))
            }
            Some(_) | None => None,
        };
        let round_trip = Duration::from_micros(u32::from_be_bytes(*micros).into());
        Some(Self { round_trip, datagram_bytes: u16::from_be_bytes(*datagram_bytes), course, address })
    }
}

fn sounding(kind: u8, number: u32, bytes: u16) -> Vec<u8> {
    [&[kind][..], &number.to_be_bytes(), &bytes.to_be_bytes()].concat()
}

/// A message of topic [`Topic::MEMBERS`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Gossip {
    /// Members the sender knows, and where it sees those it is connected to.
    Members { members: Vec<Member>, seen: Vec<(Identity, SocketAddr)> },
    /// One sum for each bucket of the sender's roster, under a salt that is used this once.
    Buckets { salt: Salt, sums: Vec<Sum> },
    /// Whom the sender knows in these buckets (a bit each), with the sum of each line under that salt.
    Lines { salt: Salt, buckets: u64, lines: Lines },
    /// Send me what you know of these.
    Want(Vec<Identity>),
}

/// The version of [`Gossip`] this router writes.
pub(crate) const GOSSIP_VERSION: u8 = 4;
/// Lines in one message: those of all members but in the largest clusters, so that issuers come with those they vouched for.
pub(crate) const LINES_A_MESSAGE: usize = 12_000;
/// Members in one message: with all addresses they list, about a fifth of what a stream message may hold.
pub(crate) const MEMBERS_A_MESSAGE: usize = 256;

#[cfg(test)]
mod tests;
