//! Sending: many messages a system call, each of many datagrams to one receiver (`UDP_SEGMENT`).
//!
//! Owns the buffer, and which datagrams share a message. Knows nothing of what they hold.

use std::io;
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;

use super::address::Name;
use super::sys;

/// Bytes of datagrams before a batch wants to be sent: a super-frame's worth with its envelopes and two more.
const BUFFER_BYTES: usize = 256 << 10;

/// The largest payload of one message: what an IPv4 packet leaves to UDP.
const MESSAGE_BYTES: usize = 65_507;

/// Datagrams in one message. Kernels before 6.9 take no more.
const MESSAGE_DATAGRAMS: usize = 64;

/// Datagrams that are to be sent together.
pub struct SendBatch {
    buffer: Box<[u8]>,
    used: usize,
    messages: Vec<Grouped>,
}

/// Datagrams of one size to one receiver; the last may be shorter.
#[derive(Clone, Copy)]
struct Grouped {
    to: SocketAddr,
    start: usize,
    bytes: usize,
    datagram_bytes: usize,
    datagrams: usize,
}

/// One message as the system call wants it.
pub(super) struct Outgoing<'a> {
    pub(super) name: Name,
    pub(super) bytes: &'a [u8],
    pub(super) control: Option<SegmentControl>,
}

/// The `cmsg` that tells the kernel where to cut: `cmsghdr`, then a 16-bit size.
#[repr(C, align(8))]
pub(super) struct SegmentControl {
    length: usize,
    level: libc::c_int,
    kind: libc::c_int,
    bytes: u16,
}

/// Whether the kernel cuts messages into datagrams for this socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Segmentation {
    #[default]
    Kernel,
    /// It refused once: the interface cannot checksum, or the kernel is older than 4.18.
    Ours,
}

/// What became of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sent {
    /// Datagrams the kernel took.
    pub datagrams: u64,
    /// Datagrams larger than the interface takes.
    pub too_large: u64,
    /// Datagrams it did not take: no route, or no room in time.
    pub refused: u64,
}

impl SendBatch {
    /// An empty batch.
    #[must_use]
    pub fn new() -> Self {
        Self { buffer: vec![0; BUFFER_BYTES].into_boxed_slice(), used: 0, messages: Vec::with_capacity(sys::MESSAGES) }
    }

    /// Room for the next datagram, at least `bytes` of it; `None` when the batch wants to be sent first.
    pub fn room(&mut self, bytes: usize) -> Option<&mut [u8]> {
        let is_full = self.messages.len() == sys::MESSAGES;
        self.buffer.get_mut(self.used..).filter(|room| room.len() >= bytes && !is_full)
    }

    /// Adds the datagram that lies in the first `bytes` of [`SendBatch::room`].
    pub fn push(&mut self, to: SocketAddr, bytes: usize) {
        let bytes = bytes.min(self.buffer.len() - self.used);
        let (start, used) = (self.used, self.used + bytes);
        self.used = used;
        match self.messages.last_mut() {
            Some(message) if message.takes(to, bytes) => {
                message.bytes += bytes;
                message.datagrams += 1;
            }
            _ => self.messages.push(Grouped { to, start, bytes, datagram_bytes: bytes, datagrams: 1 }),
        }
    }

    /// Whether it holds nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Bytes of the datagrams it holds.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.used
    }

    pub(super) fn send(&mut self, socket: BorrowedFd<'_>, segmentation: &mut Segmentation) -> Sent {
        let mut sent = Sent::default();
        let mut rest = self.messages.as_slice();
        while !rest.is_empty() {
            rest = match *segmentation {
                Segmentation::Kernel => self.send_grouped(rest, socket, segmentation, &mut sent),
                Segmentation::Ours => self.send_singly(rest, socket, &mut sent),
            };
        }
        self.messages.clear();
        self.used = 0;
        sent
    }

    /// Hands the messages over as they are and returns those that are left.
    fn send_grouped<'a>(
        &self,
        messages: &'a [Grouped],
        socket: BorrowedFd<'_>,
        segmentation: &mut Segmentation,
        sent: &mut Sent,
    ) -> &'a [Grouped] {
        match self.hand_over(messages, socket) {
            Ok(taken) => {
                let (done, rest) = messages.split_at(taken.min(messages.len()));
                sent.datagrams += done.iter().map(Grouped::count).sum::<u64>();
                rest
            }
            Err(error) => {
                let (refused, rest) = messages.split_at(1);
                // Of a single datagram the refusal says nothing about cutting.
                let is_cut = refused.iter().any(|message| message.datagrams > 1);
                match error.raw_os_error() {
                    Some(libc::EIO | libc::EINVAL) if is_cut => {
                        let too_large = sent.too_large;
                        self.send_singly(messages, socket, sent);
                        // Kernels before 6.12 say the same of segments larger than the interface takes.
                        if sent.too_large == too_large {
                            *segmentation = Segmentation::Ours;
                        }
                    }
                    Some(libc::EINTR) => return messages,
                    Some(libc::EAGAIN) => return sent.give_up(messages),
                    _ => sent.count(refused, &error),
                }
                rest
            }
        }
    }

    /// Sends the first message datagram by datagram and returns the other messages.
    fn send_singly<'a>(&self, messages: &'a [Grouped], socket: BorrowedFd<'_>, sent: &mut Sent) -> &'a [Grouped] {
        let (first, rest) = messages.split_at(1);
        let mut singles = [Grouped::EMPTY; MESSAGE_DATAGRAMS];
        let count = first.first().map_or(0, |message| message.split(&mut singles));
        let mut left = singles.get(..count).unwrap_or_default();
        while !left.is_empty() {
            match self.hand_over(left, socket) {
                Ok(taken) => {
                    sent.datagrams += u64::try_from(taken).unwrap_or_default();
                    left = left.get(taken.max(1)..).unwrap_or_default();
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => left = sent.give_up(left),
                Err(error) => {
                    let (refused, others) = left.split_at(1);
                    sent.count(refused, &error);
                    left = others;
                }
            }
        }
        rest
    }

    fn hand_over(&self, messages: &[Grouped], socket: BorrowedFd<'_>) -> io::Result<usize> {
        // A message alone, the rule for small frames, needs no arrays.
        if let [message] = messages {
            return sys::sendmsg(socket, &self.outgoing(message)).map(|()| 1);
        }
        let mut outgoing: [Outgoing<'_>; sys::MESSAGES] =
            std::array::from_fn(|_| Outgoing { name: Name::empty(), bytes: &[], control: None });
        let mut count = 0;
        for (slot, message) in outgoing.iter_mut().zip(messages) {
            *slot = self.outgoing(message);
            count += 1;
        }
        sys::sendmmsg(socket, outgoing.get(..count).unwrap_or_default())
    }

    fn outgoing(&self, message: &Grouped) -> Outgoing<'_> {
        let bytes = self.buffer.get(message.start..message.start + message.bytes).unwrap_or_default();
        let control = (message.datagrams > 1).then(|| SegmentControl::new(message.datagram_bytes));
        Outgoing { name: Name::from(message.to), bytes, control }
    }
}

impl Default for SendBatch {
    fn default() -> Self {
        Self::new()
    }
}

impl Grouped {
    const EMPTY: Self = Self {
        to: SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED), 0),
        start: 0,
        bytes: 0,
        datagram_bytes: 0,
        datagrams: 0,
    };

    /// Whether a datagram may join: same receiver, not longer than the others, and none of them was shorter.
    fn takes(&self, to: SocketAddr, bytes: usize) -> bool {
        self.to == to
            && bytes <= self.datagram_bytes
            && self.bytes == self.datagram_bytes * self.datagrams
            && self.datagrams < MESSAGE_DATAGRAMS
            && self.bytes + bytes <= MESSAGE_BYTES
    }

    /// Writes its datagrams as messages of one and says how many they are.
    fn split(&self, singles: &mut [Self]) -> usize {
        let starts = (0..self.datagrams).map(|index| index * self.datagram_bytes);
        starts.zip(singles).fold(0, |count, (start, single)| {
            let bytes = self.datagram_bytes.min(self.bytes.saturating_sub(start));
            *single = Self { to: self.to, start: self.start + start, bytes, datagram_bytes: bytes, datagrams: 1 };
            count + 1
        })
    }

    fn count(&self) -> u64 {
        u64::try_from(self.datagrams).unwrap_or(u64::MAX)
    }
}

impl SegmentControl {
    fn new(datagram_bytes: usize) -> Self {
        Self {
            length: std::mem::offset_of!(Self, bytes) + size_of::<u16>(),
            level: libc::SOL_UDP,
            kind: libc::UDP_SEGMENT,
            // A message is below 64 KiB, so its datagrams are.
            bytes: u16::try_from(datagram_bytes).unwrap_or(u16::MAX),
        }
    }
}

impl Sent {
    /// Counts everything that is left: the kernel had no room in all the time a send waits, and will not have it sooner
    /// for the next.
    fn give_up(&mut self, messages: &[Grouped]) -> &'static [Grouped] {
        self.refused += messages.iter().map(Grouped::count).sum::<u64>();
        &[]
    }

    fn count(&mut self, refused: &[Grouped], error: &io::Error) {
        let datagrams = refused.iter().map(Grouped::count).sum::<u64>();
        if error.raw_os_error() == Some(libc::EMSGSIZE) {
            self.too_large += datagrams;
        } else {
            self.refused += datagrams;
        }
    }
}
