//! The first sixteen bytes of a datagram, and how messages are cut out of a byte stream.
//!
//! Owns the layout that the kernel steers by and every router must agree on. Knows no key: what follows the header is opaque.
//!
//! ```text
//! 0      type: see [`Kind`]
//! 1      queue: the sender's data queue (0 for control)
//! 2      version: 1
//! 3      flags: 1 = goes by a relay, so that it does not come from its sender's address; others are ignored
//! 4..8   receiver's session index, u32 big endian
//! 8..16  counter, u64 big endian        nonce = 4 zero bytes ‖ counter little endian
//! 16..   ciphertext ‖ 16-byte tag       associated data = bytes 0..16
//! ```
//!
//! An envelope that a neighbour is to pass on lies behind one for that neighbour, of type [`Kind::Relayed`]:
//!
//! ```text
//! 0..16  header for the relay, counter and key of their own
//! 16..24 sealed: whom it is for, see [`FarEnd`]
//! 24..40 tag
//! 40..   the envelope, type data, flag 1: passed on as it is
//! ```
//!
//! Handshake messages share bytes 0..4 and go on as they like. On a stream every message follows its length, u32 big endian.

use crate::Identity;

/// Bytes before the ciphertext of an envelope.
pub const HEADER_BYTES: usize = 16;
/// Bytes after it: the Poly1305 or GCM tag.
pub const TAG_BYTES: usize = 16;
/// What sealing adds to a plaintext.
pub const OVERHEAD_BYTES: usize = HEADER_BYTES + TAG_BYTES;
/// Bytes that name the receiver of a relayed envelope.
pub const FAR_END_BYTES: usize = 8;
/// What a relayed envelope has in front of it on its way to the relay.
pub const RELAY_BYTES: usize = OVERHEAD_BYTES + FAR_END_BYTES;
/// The version of every datagram and stream message this crate writes (byte 2).
pub const ENVELOPE_VERSION: u8 = 1;
/// The longest message on a stream: a bound on what an unauthenticated peer can make us hold.
pub const STREAM_MESSAGE_BYTES: usize = 1 << 20;

/// What a datagram or stream message is: its first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Kind {
    /// First message of the handshake between known peers.
    Initiation = 1,
    /// Second message of it.
    Response = 2,
    /// "Prove your address first": the answer to an initiation under load.
    Cookie = 3,
    /// A sealed frame, or a piece of one.
    Data = 4,
    /// A sealed control message.
    Control = 5,
    /// A sealed frame for somebody else, behind the sealed word for whom.
    Relayed = 6,
    /// First contact, joiner → sponsor, or a member's doubt about an address it was given: which cluster is this?
    Probe = 16,
    /// The answer: the cluster id, unauthenticated.
    ProbeReply = 17,
    /// First message of the first-contact handshake.
    JoinHello = 18,
    /// Second message of it.
    JoinAnswer = 19,
    /// Third message of it.
    JoinProof = 20,
    /// A sealed piece of the sponsor's answer.
    JoinGrant = 21,
    /// Sponsor → joiner, before there are keys: no, and why.
    JoinRefused = 22,
}

impl Kind {
    /// The kind a first byte stands for.
    #[must_use]
    pub fn of(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => Self::Initiation,
            2 => Self::Response,
            3 => Self::Cookie,
            4 => Self::Data,
            5 => Self::Control,
            6 => Self::Relayed,
            16 => Self::Probe,
            17 => Self::ProbeReply,
            18 => Self::JoinHello,
            19 => Self::JoinAnswer,
            20 => Self::JoinProof,
            21 => Self::JoinGrant,
            22 => Self::JoinRefused,
            _ => return None,
        })
    }

    /// The kind of a whole datagram or message of a version we read.
    ///
    /// # Errors
    /// [`EnvelopeError`], nothing else having been looked at.
    pub fn of_message(bytes: &[u8]) -> Result<Self, EnvelopeError> {
        let &[kind, _, version, _, ..] = bytes else {
            return Err(EnvelopeError::Short { bytes: bytes.len() });
        };
        if version != ENVELOPE_VERSION {
            return Err(EnvelopeError::Version { found: version });
        }
        Self::of(kind).ok_or(EnvelopeError::Kind { found: kind })
    }

    /// The four bytes a handshake or first-contact message begins with.
    #[must_use]
    pub fn prefix(self) -> [u8; 4] {
        [self as u8, 0, ENVELOPE_VERSION, 0]
    }
}

/// Whether an envelope goes straight to its receiver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Course {
    /// It comes from its sender's address.
    Direct,
    /// It comes from a relay's.
    Relayed,
}

/// Whom a relayed envelope is for: the beginning of its receiver's identity. Sealed, so only the relay reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct FarEnd(pub [u8; FAR_END_BYTES]);

impl FarEnd {
    /// The word for a router.
    #[must_use]
    pub fn of(identity: Identity) -> Self {
        let [a, b, c, d, e, f, g, h, ..] = identity.0;
        Self([a, b, c, d, e, f, g, h])
    }
}

/// The header of a sealed envelope: kinds [`Kind::Data`], [`Kind::Control`], [`Kind::Relayed`] and [`Kind::JoinGrant`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// What is inside.
    pub kind: Kind,
    /// The sender's data queue; 0 for control.
    pub queue: u8,
    /// How it goes.
    pub course: Course,
    /// The session, by the number its receiver gave it.
    pub receiver: u32,
    /// The sender's counter for this queue.
    pub counter: u64,
}

impl Header {
    /// Reads the header of an envelope that is long enough to hold a tag too.
    ///
    /// # Errors
    /// [`EnvelopeError`] when it is too short, of another version, or not sealed at all.
    pub fn parse(bytes: &[u8]) -> Result<Self, EnvelopeError> {
        if bytes.len() < OVERHEAD_BYTES {
            return Err(EnvelopeError::Short { bytes: bytes.len() });
        }
        let kind = Kind::of_message(bytes)?;
        if !matches!(kind, Kind::Data | Kind::Control | Kind::Relayed | Kind::JoinGrant) {
            return Err(EnvelopeError::NotSealed { kind });
        }
        let Some((&[_, queue, _, flags, r0, r1, r2, r3, c0, c1, c2, c3, c4, c5, c6, c7], _)) =
            bytes.split_first_chunk::<HEADER_BYTES>()
        else {
            return Err(EnvelopeError::Short { bytes: bytes.len() });
        };
        let receiver = u32::from_be_bytes([r0, r1, r2, r3]);
        let course = if flags & RELAYED == 0 { Course::Direct } else { Course::Relayed };
        Ok(Self { kind, queue, course, receiver, counter: u64::from_be_bytes([c0, c1, c2, c3, c4, c5, c6, c7]) })
    }

    /// The header as bytes.
    #[must_use]
    pub fn emit(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        let flags = match self.course {
            Course::Direct => 0,
            Course::Relayed => RELAYED,
        };
        bytes[..4].copy_from_slice(&[self.kind as u8, self.queue, ENVELOPE_VERSION, flags]);
        bytes[4..8].copy_from_slice(&self.receiver.to_be_bytes());
        bytes[8..].copy_from_slice(&self.counter.to_be_bytes());
        bytes
    }
}

/// Why bytes are not an envelope of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// Shorter than a header and a tag.
    #[error("{bytes} bytes are too few for an envelope")]
    Short {
        /// How many there are.
        bytes: usize,
    },
    /// The sender is newer: not a fault of the peer's.
    #[error("envelope version {found}, where this router reads {ENVELOPE_VERSION}")]
    Version {
        /// What byte 2 says.
        found: u8,
    },
    /// Byte 0 means nothing to us.
    #[error("unknown envelope type {found}")]
    Kind {
        /// What byte 0 says.
        found: u8,
    },
    /// A message of a kind that has no header.
    #[error("a message of type {kind:?} is not sealed")]
    NotSealed {
        /// What it is.
        kind: Kind,
    },
}

/// Cuts a byte stream into messages. Incremental; holds at most one message and what arrived behind it.
#[derive(Debug)]
pub struct Frames {
    buffer: Vec<u8>,
    /// The longest message it will wait for.
    limit: usize,
    /// Where the next message begins in `buffer`.
    start: usize,
}

impl Frames {
    /// A stream nothing has arrived on.
    #[must_use]
    pub fn new() -> Self {
        Self { buffer: Vec::new(), limit: STREAM_MESSAGE_BYTES, start: 0 }
    }

    /// Sets the longest message to wait for, [`STREAM_MESSAGE_BYTES`] at most: less for those who have proven nothing.
    pub fn limit(&mut self, bytes: usize) {
        self.limit = bytes.min(STREAM_MESSAGE_BYTES);
    }

    /// Puts a message behind its length, ready for the stream.
    ///
    /// # Errors
    /// [`FramesError::TooLong`] above [`STREAM_MESSAGE_BYTES`].
    pub fn emit(message: &[u8]) -> Result<Vec<u8>, FramesError> {
        let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
        if message.len() > STREAM_MESSAGE_BYTES {
            return Err(FramesError::TooLong { bytes: length });
        }
        let mut bytes = Vec::with_capacity(message.len() + LENGTH_BYTES);
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(message);
        Ok(bytes)
    }

    /// Takes in bytes as they arrived.
    pub fn handle_bytes(&mut self, bytes: &[u8]) {
        if self.start > 0 {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole message, if there is one. After an error the stream is lost: close it.
    ///
    /// # Errors
    /// [`FramesError::TooLong`] when the announced length is above the limit.
    pub fn poll_message(&mut self) -> Result<Option<&[u8]>, FramesError> {
        if self.start == self.buffer.len() {
            // Most of the time nothing waits, and a router has a stream with each of its peers.
            (self.buffer, self.start) = (Vec::new(), 0);
        }
        let waiting = self.buffer.get(self.start..).unwrap_or_default();
        let Some((length, _)) = waiting.split_first_chunk::<LENGTH_BYTES>() else {
            return Ok(None);
        };
        let bytes = u32::from_be_bytes(*length);
        let length = usize::try_from(bytes).unwrap_or(usize::MAX);
        if length > self.limit {
            return Err(FramesError::TooLong { bytes });
        }
        let begin = self.start + LENGTH_BYTES;
        if self.buffer.len() < begin + length {
            return Ok(None);
        }
        self.start = begin + length;
        Ok(self.buffer.get(begin..begin + length))
    }

    /// How many bytes wait for the rest of their message.
    #[must_use]
    pub fn waiting_bytes(&self) -> usize {
        self.buffer.len() - self.start
    }
}

impl Default for Frames {
    fn default() -> Self {
        Self::new()
    }
}

/// Why a stream cannot be read on, or a message not be written to one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FramesError {
    /// Above [`STREAM_MESSAGE_BYTES`], or above the limit set for this stream.
    #[error("a message of {bytes} bytes is too long for the stream")]
    TooLong {
        /// The length that was announced or asked for.
        bytes: u32,
    },
}

/// The flag of an envelope that goes by a relay.
const RELAYED: u8 = 1;
/// The length before each message of a stream.
const LENGTH_BYTES: usize = 4;

#[cfg(test)]
mod tests;
