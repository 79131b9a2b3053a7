//! Messages that are too long for one envelope: cut here, put together there.
//!
//! Owns what has come of a message so far, one for each peer: parts follow one another on a stream. Knows no message.

use std::collections::BTreeMap;

use wire::Identity;
use wire::message::{ASSEMBLED_BYTES_MAX, MESSAGE_BYTES_MAX, Message, PART_BYTES, Part};

/// What has come so far.
#[derive(Debug, Clone, Default)]
pub(crate) struct Parts {
    by_peer: BTreeMap<Identity, Assembly>,
}

#[derive(Debug, Clone)]
struct Assembly {
    message: u64,
    next: u32,
    bytes: Vec<u8>,
}

/// A message as it travels: whole, or in parts. One that is too long even for that goes nowhere, for its receiver would refuse it:
/// whoever makes a message that may grow without end bounds it, and this is said aloud.
pub(crate) fn split(bytes: Vec<u8>, number: &mut u64) -> Vec<Vec<u8>> {
    if bytes.len() <= MESSAGE_BYTES_MAX {
        return vec![bytes];
    }
    if bytes.len() > ASSEMBLED_BYTES_MAX {
        tracing::error!(bytes = bytes.len(), "a message is too long to be sent");
        return Vec::new();
    }
    *number += 1;
    let pieces = bytes.len().div_ceil(PART_BYTES);
    let part = |(at, piece): (usize, &[u8])| Part {
        message: *number,
        number: u32::try_from(at).unwrap_or(u32::MAX),
        last: at + 1 == pieces,
        bytes: piece.to_vec(),
    };
    bytes.chunks(PART_BYTES).enumerate().map(part).map(|part| Message::Part(part).emit()).collect()
}

impl Parts {
    /// Takes a part; returns the message that it completes.
    pub(crate) fn take(&mut self, from: Identity, part: Part) -> Option<Message> {
        if part.number == 0 {
            self.by_peer.insert(from, Assembly { message: part.message, next: 0, bytes: Vec::new() });
        }
        let assembly = self.by_peer.get_mut(&from)?;
        let follows = assembly.message == part.message && assembly.next == part.number;
        if !follows || assembly.bytes.len() + part.bytes.len() > ASSEMBLED_BYTES_MAX {
            self.by_peer.remove(&from);
            return None;
        }
        assembly.bytes.extend_from_slice(&part.bytes);
        assembly.next += 1;
        if !part.last {
            return None;
        }
        let whole = self.by_peer.remove(&from)?;
        Message::parse_assembled(&whole.bytes).ok().filter(|message| !matches!(message, Message::Part(_)))
    }

    /// The peer's stream is gone, and what was under way with it.
    pub(crate) fn forget(&mut self, peer: &Identity) {
        self.by_peer.remove(peer);
    }
}

#[cfg(test)]
mod tests;
