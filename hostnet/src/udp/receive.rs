//! Receiving: many messages a system call, each of many datagrams from one sender (`UDP_GRO`).
//!
//! Owns the buffers. Knows nothing of what the datagrams hold.

use std::io;
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;

use super::address::Name;
use super::{Received, sys};

/// Bytes for one message: the largest UDP payload, which a coalesced message does not exceed either.
const SLOT_BYTES: usize = 65_536;

/// Messages in one call: a few super-frames' worth, so that a batch is still in the second-level cache when it is opened.
const SLOTS: usize = 16;

/// Room for one `cmsg` of an `int`, the only one that is asked for.
const CONTROL_BYTES: usize = 32;

/// Buffers for one call. Pages are touched only as messages fill them.
pub struct ReceiveBatch {
    buffer: Box<[u8]>,
    slots: Vec<Slot>,
    received: usize,
}

/// Where the kernel writes what it says about one message.
pub(super) struct Slot {
    pub(super) name: Name,
    pub(super) control: Control,
    pub(super) control_bytes: usize,
    pub(super) bytes: usize,
}

/// Control bytes, aligned as `cmsghdr` is.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
pub(super) struct Control(pub(super) [u8; CONTROL_BYTES]);

/// Datagrams of one size (the last may be shorter) from one sender.
#[derive(Debug)]
pub struct Message<'a> {
    /// The sender.
    pub from: SocketAddr,
    /// Bytes of each datagram but the last.
    pub datagram_bytes: usize,
    /// The datagrams, one behind the other.
    pub bytes: &'a mut [u8],
}

impl ReceiveBatch {
    /// Empty buffers.
    #[must_use]
    pub fn new() -> Self {
        let slot = || Slot { name: Name::empty(), control: Control([0; CONTROL_BYTES]), control_bytes: 0, bytes: 0 };
        Self {
            buffer: vec![0; SLOTS * SLOT_BYTES].into_boxed_slice(),
            slots: std::iter::repeat_with(slot).take(SLOTS).collect(),
            received: 0,
        }
    }

    pub(super) fn receive(&mut self, socket: BorrowedFd<'_>) -> io::Result<Received> {
        self.received = 0;
        match sys::recvmmsg(socket, &mut self.slots, &mut self.buffer, SLOT_BYTES) {
            Ok(received) => self.received = received,
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            Err(error) => return Err(error),
        }
        Ok(match self.received {
            0 => Received::Nothing,
            SLOTS => Received::Full,
            _ => Received::Some,
        })
    }

    pub(super) fn receive_one(&mut self, socket: BorrowedFd<'_>) -> io::Result<Received> {
        self.received = 0;
        let (Some(slot), Some(room)) = (self.slots.first_mut(), self.buffer.get_mut(..SLOT_BYTES)) else {
            return Ok(Received::Nothing);
        };
        match sys::recvmsg(socket, slot, room) {
            Ok(()) => self.received = 1,
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            Err(error) => return Err(error),
        }
        // More may be there.
        Ok(if self.received == 0 { Received::Nothing } else { Received::Full })
    }

    /// What the last call received.
    pub fn messages(&mut self) -> impl Iterator<Item = Message<'_>> {
        self.slots.iter().zip(self.buffer.chunks_exact_mut(SLOT_BYTES)).take(self.received).filter_map(
            |(slot, room)| {
                let bytes = room.get_mut(..slot.bytes)?;
                let datagram_bytes = slot.segment_bytes().unwrap_or(bytes.len()).max(1);
                Some(Message { from: slot.name.address()?, datagram_bytes, bytes })
            },
        )
    }
}

impl Default for ReceiveBatch {
    fn default() -> Self {
        Self::new()
    }
}

impl<'a> Message<'a> {
    /// The datagrams.
    pub fn datagrams(self) -> impl Iterator<Item = &'a mut [u8]> {
        self.bytes.chunks_mut(self.datagram_bytes)
    }
}

impl Slot {
    /// The size the kernel coalesced by, if it did: `cmsg_len`, `cmsg_level`, `cmsg_type`, then an `int`.
    fn segment_bytes(&self) -> Option<usize> {
        const WORD: usize = size_of::<usize>();
        let control = self.control.0.get(..self.control_bytes.min(CONTROL_BYTES))?;
        let number = |at: usize| Some(i32::from_ne_bytes(*control.get(at..)?.first_chunk::<4>()?));
        let is_segment = number(WORD)? == libc::SOL_UDP && number(WORD + 4)? == libc::UDP_GRO;
        usize::try_from(number(WORD + 8).filter(|_| is_segment)?).ok().filter(|&bytes| bytes > 0)
    }
}
