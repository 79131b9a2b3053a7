//! The underlay's sockets: one port, one socket for control and one for each data queue.
//!
//! Owns how they are bound, how the kernel shares datagrams out between them, and batches in both directions. Knows
//! nothing of what a datagram holds but its first two bytes.
//!
//! ```text
//!   port 6783 ─▶ reuseport group ─▶ byte 0 is 4 or 6 (data)? ── no ──▶ socket 0: control
//!                 (classic BPF)                    └─ yes ─▶ socket 1 + byte 1 (queue) mod data queues
//! ```

mod address;
mod receive;
mod send;
mod steer;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::num::NonZeroU8;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

pub use receive::{Message, ReceiveBatch};
pub use send::{SendBatch, Sent};

/// The sockets of one port.
#[derive(Debug)]
pub struct UdpGroup {
    /// One for each data queue.
    pub data: Vec<UdpQueue>,
    /// Everything that is not data comes here. Does not block.
    pub control: UdpSocket,
    /// Where the group listens: the address asked for, or the one it fell back to, with the port it got.
    pub local: SocketAddr,
}

/// The socket of one data queue. Receiving never blocks; sending waits a little for a full send buffer.
#[derive(Debug)]
pub struct UdpQueue {
    socket: UdpSocket,
    segmentation: send::Segmentation,
}

/// A few super-frames in flight on each of some tens of flows. Linux doubles the number for its bookkeeping.
const BUFFER_BYTES: usize = 4 << 20;

/// Longer than a busy interface needs for a queue of its own, shorter than a retransmission timer.
const SEND_PATIENCE: Duration = Duration::from_millis(10);

/// Binds the group. `[::]` means IPv4 too, and falls back to `0.0.0.0` where the kernel has no IPv6.
///
/// # Errors
/// [`BindError`]; no socket is left.
pub fn bind_group(listen: SocketAddr, data_queues: NonZeroU8) -> Result<UdpGroup, BindError> {
    match bind_address(listen, data_queues) {
        Err(BindError::NoFamily { .. }) if listen.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED) => {
            bind_address(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), listen.port()), data_queues)
        }
        bound => bound,
    }
}

fn bind_address(listen: SocketAddr, data_queues: NonZeroU8) -> Result<UdpGroup, BindError> {
    // The first is bound alone, so that a port in another process's hands is an error; then it opens the port to its
    // siblings. The order of binding is the order in which the steering program counts.
    let control = bind_one(listen, Sharing::Alone)?;
    let option = |source| BindError::Option { listen, source };
    let local = control.local_addr().map_err(option)?;
    sys::set(control.as_fd(), libc::SOL_SOCKET, libc::SO_REUSEPORT, 1).map_err(option)?;
    let mut data = Vec::new();
    for _ in 0..data_queues.get() {
        let socket = bind_one(local, Sharing::Group)?;
        configure(&socket).map_err(option)?;
        data.push(UdpQueue::from(socket));
    }
    sys::steer(control.as_fd(), &steer::program(data_queues)).map_err(option)?;
    control.set_nonblocking(true).map_err(option)?;
    Ok(UdpGroup { data, control, local })
}

/// Whether a socket shares its port.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sharing {
    Alone,
    Group,
}

fn bind_one(listen: SocketAddr, sharing: Sharing) -> Result<UdpSocket, BindError> {
    let socket = open(listen, sharing).map_err(|source| match source.raw_os_error() {
        Some(libc::EAFNOSUPPORT) => BindError::NoFamily { listen },
        _ => BindError::Option { listen, source },
    })?;
    sys::bind(socket.as_fd(), &address::Name::from(listen)).map_err(|source| match source.raw_os_error() {
        Some(libc::EADDRINUSE) => BindError::InUse { listen },
        Some(libc::EADDRNOTAVAIL) if listen.ip().is_unspecified() => BindError::NoFamily { listen },
        Some(libc::EADDRNOTAVAIL) => BindError::NotOurs { listen },
        _ => BindError::Option { listen, source },
    })?;
    Ok(socket.into())
}

fn open(listen: SocketAddr, sharing: Sharing) -> io::Result<OwnedFd> {
    let socket = sys::socket(if listen.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 })?;
    if sharing == Sharing::Group {
        sys::set(socket.as_fd(), libc::SOL_SOCKET, libc::SO_REUSEPORT, 1)?;
    }
    if listen.is_ipv6() {
        sys::set(socket.as_fd(), libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, 0)?;
        sys::set(socket.as_fd(), libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, libc::IPV6_PMTUDISC_PROBE)?;
    }
    // Never fragmented and never believed what an ICMP message says of the path: its size is probed end to end.
    sys::set(socket.as_fd(), libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_PROBE)?;
    Ok(socket)
}

fn configure(socket: &UdpSocket) -> io::Result<()> {
    let bytes = libc::c_int::try_from(BUFFER_BYTES).unwrap_or(libc::c_int::MAX);
    for (force, polite) in [(libc::SO_RCVBUFFORCE, libc::SO_RCVBUF), (libc::SO_SNDBUFFORCE, libc::SO_SNDBUF)] {
        // Without the right to exceed the system's limit, the limit it is.
        sys::set(socket.as_fd(), libc::SOL_SOCKET, force, bytes)
            .or_else(|_| sys::set(socket.as_fd(), libc::SOL_SOCKET, polite, bytes))?;
    }
    // Kernels before 5.0 do not have it: every datagram then comes alone.
    let _ = sys::set(socket.as_fd(), libc::SOL_UDP, libc::UDP_GRO, 1);
    socket.set_write_timeout(Some(SEND_PATIENCE))
}

impl UdpQueue {
    /// Receives what is there, up to the batch's room, and says whether anything was.
    ///
    /// # Errors
    /// What the kernel says. Nothing was received.
    pub fn receive(&self, batch: &mut ReceiveBatch) -> io::Result<Received> {
        batch.receive(self.socket.as_fd())
    }

    /// Receives one message if one is there: cheaper than [`UdpQueue::receive`] for one, dearer for many.
    ///
    /// # Errors
    /// As [`UdpQueue::receive`].
    pub fn receive_one(&self, batch: &mut ReceiveBatch) -> io::Result<Received> {
        batch.receive_one(self.socket.as_fd())
    }

    /// Sends the batch and empties it, whatever happens.
    pub fn send(&mut self, batch: &mut SendBatch) -> Sent {
        batch.send(self.socket.as_fd(), &mut self.segmentation)
    }
}

impl From<UdpSocket> for UdpQueue {
    /// A queue over a socket that was bound elsewhere, with the options it has.
    fn from(socket: UdpSocket) -> Self {
        Self { socket, segmentation: send::Segmentation::default() }
    }
}

impl AsFd for UdpQueue {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Whether a batch holds anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Received {
    /// Nothing was there.
    Nothing,
    /// Some, and nothing is left.
    Some,
    /// A full batch: more may be there.
    Full,
}

/// Why a group could not be bound. No socket is left.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another process has the port.
    #[error("UDP {listen} is in use by another process: stop it, or choose another port with --listen")]
    InUse {
        /// The address.
        listen: SocketAddr,
    },
    /// The kernel speaks no IPv6 (or no IPv4).
    #[error("UDP {listen}: this host has no such address family")]
    NoFamily {
        /// The address.
        listen: SocketAddr,
    },
    /// No interface has the address.
    #[error("UDP {listen}: no interface of this host has that address")]
    NotOurs {
        /// The address.
        listen: SocketAddr,
    },
    /// The kernel refuses something every kernel since 4.5 has.
    #[error("UDP {listen} cannot be set up")]
    Option {
        /// The address.
        listen: SocketAddr,
        /// What the kernel says.
        source: io::Error,
    },
}

/// One function per system call: no logic, no loops, no other caller than the modules above.
#[expect(unsafe_code, reason = "system calls")]
mod sys {
    use std::os::fd::{AsRawFd, FromRawFd};

    use super::address::Name;
    use super::receive::Slot;
    use super::send::Outgoing;
    use super::{BorrowedFd, OwnedFd, io};

    /// Messages in one call, in either direction. `UIO_MAXIOV` would allow 1024, the stack and the cache do not.
    pub(super) const MESSAGES: usize = 64;

    pub(super) fn socket(domain: libc::c_int) -> io::Result<OwnedFd> {
        // SAFETY: `socket` takes no pointer.
        let fd = unsafe { libc::socket(domain, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
        if fd == -1 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor is new and nobody else has it.
        Ok(unsafe { OwnedFd::from_raw_fd(fd) })
    }

    pub(super) fn bind(socket: BorrowedFd<'_>, name: &Name) -> io::Result<()> {
        // SAFETY: `socket` is open for the call, which reads the name's bytes, a socket address of the length it says.
        check(unsafe { libc::bind(socket.as_raw_fd(), name.as_ptr(), name.length()) })
    }

    pub(super) fn set(
        socket: BorrowedFd<'_>,
        level: libc::c_int,
        option: libc::c_int,
        value: libc::c_int,
    ) -> io::Result<()> {
        let value = std::ptr::from_ref(&value).cast();
        // SAFETY: `socket` is open for the call, which reads the one `int` that lives on this stack.
        check(unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, value, length_of::<libc::c_int>()) })
    }

    pub(super) fn steer(socket: BorrowedFd<'_>, program: &[libc::sock_filter]) -> io::Result<()> {
        let program = libc::sock_fprog {
            len: libc::c_ushort::try_from(program.len()).unwrap_or(libc::c_ushort::MAX),
            // The kernel copies the program and writes nothing.
            filter: program.as_ptr().cast_mut(),
        };
        let (level, option, value) =
            (libc::SOL_SOCKET, libc::SO_ATTACH_REUSEPORT_CBPF, std::ptr::from_ref(&program).cast());
        // SAFETY: `socket` is open for the call, which reads `program` and the instructions it points to.
        check(unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, value, length_of::<libc::sock_fprog>()) })
    }

    /// Receives into as many slots as `buffer` has chunks of `slot_bytes`, at most [`MESSAGES`].
    pub(super) fn recvmmsg(
        socket: BorrowedFd<'_>,
        slots: &mut [Slot],
        buffer: &mut [u8],
        slot_bytes: usize,
    ) -> io::Result<usize> {
        let mut parts: [libc::iovec; MESSAGES] = zeroed();
        let mut headers: [libc::mmsghdr; MESSAGES] = zeroed();
        let mut count = 0;
        for (((header, part), slot), room) in
            headers.iter_mut().zip(&mut parts).zip(slots.iter_mut()).zip(buffer.chunks_exact_mut(slot_bytes))
        {
            *part = libc::iovec { iov_base: room.as_mut_ptr().cast(), iov_len: room.len() };
            header.msg_hdr.msg_iov = part;
            header.msg_hdr.msg_iovlen = 1;
            header.msg_hdr.msg_name = slot.name.as_mut_ptr().cast();
            header.msg_hdr.msg_namelen = Name::ROOM;
            header.msg_hdr.msg_control = slot.control.0.as_mut_ptr().cast();
            header.msg_hdr.msg_controllen = slot.control.0.len();
            count += 1;
        }
        // SAFETY: `socket` is open for the call, and the first `count` headers point to parts, names, control bytes and
        // rooms that are borrowed exclusively until it returns, with their lengths.
        let rc = unsafe {
            libc::recvmmsg(socket.as_raw_fd(), headers.as_mut_ptr(), count, libc::MSG_DONTWAIT, std::ptr::null_mut())
        };
        let received = usize::try_from(rc).map_err(|_| io::Error::last_os_error())?;
        for (header, slot) in headers.iter().zip(slots.iter_mut()).take(received) {
            slot.bytes = usize::try_from(header.msg_len).unwrap_or_default();
            slot.control_bytes = header.msg_hdr.msg_controllen;
        }
        Ok(received)
    }

    /// Receives one message into `room`.
    pub(super) fn recvmsg(socket: BorrowedFd<'_>, slot: &mut Slot, room: &mut [u8]) -> io::Result<()> {
        let mut part = libc::iovec { iov_base: room.as_mut_ptr().cast(), iov_len: room.len() };
        let [mut header]: [libc::msghdr; 1] = zeroed();
        header.msg_iov = &raw mut part;
        header.msg_iovlen = 1;
        header.msg_name = slot.name.as_mut_ptr().cast();
        header.msg_namelen = Name::ROOM;
        header.msg_control = slot.control.0.as_mut_ptr().cast();
        header.msg_controllen = slot.control.0.len();
        // SAFETY: `socket` is open for the call, and the header points to a part, a name, control bytes and a room that are
        // borrowed exclusively until it returns, with their lengths.
        let rc = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut header, libc::MSG_DONTWAIT) };
        slot.bytes = usize::try_from(rc).map_err(|_| io::Error::last_os_error())?;
        slot.control_bytes = header.msg_controllen;
        Ok(())
    }

    /// Sends one message.
    pub(super) fn sendmsg(socket: BorrowedFd<'_>, message: &Outgoing<'_>) -> io::Result<()> {
        // The kernel reads all of these and writes none.
        let mut part = libc::iovec { iov_base: message.bytes.as_ptr().cast_mut().cast(), iov_len: message.bytes.len() };
        let [mut header]: [libc::msghdr; 1] = zeroed();
        header.msg_iov = &raw mut part;
        header.msg_iovlen = 1;
        header.msg_name = message.name.as_ptr().cast_mut().cast();
        header.msg_namelen = message.name.length();
        if let Some(control) = &message.control {
            header.msg_control = std::ptr::from_ref(control).cast_mut().cast();
            header.msg_controllen = size_of_val(control);
        }
        // SAFETY: `socket` is open for the call, and the header points to a part, a name, control bytes and bytes that are
        // borrowed until it returns, with their lengths.
        let rc = unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const header, 0) };
        if rc == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Sends the messages, at most [`MESSAGES`]; says how many the kernel took.
    pub(super) fn sendmmsg(socket: BorrowedFd<'_>, messages: &[Outgoing<'_>]) -> io::Result<usize> {
        let mut parts: [libc::iovec; MESSAGES] = zeroed();
        let mut headers: [libc::mmsghdr; MESSAGES] = zeroed();
        let mut count = 0;
        for ((header, part), message) in headers.iter_mut().zip(&mut parts).zip(messages) {
            // The kernel reads all of these and writes none.
            *part = libc::iovec { iov_base: message.bytes.as_ptr().cast_mut().cast(), iov_len: message.bytes.len() };
            header.msg_hdr.msg_iov = part;
            header.msg_hdr.msg_iovlen = 1;
            header.msg_hdr.msg_name = message.name.as_ptr().cast_mut().cast();
            header.msg_hdr.msg_namelen = message.name.length();
            if let Some(control) = &message.control {
                header.msg_hdr.msg_control = std::ptr::from_ref(control).cast_mut().cast();
                header.msg_hdr.msg_controllen = size_of_val(control);
            }
            count += 1;
        }
        // SAFETY: `socket` is open for the call, and the first `count` headers point to parts, names, control bytes and
        // bytes that are borrowed until it returns, with their lengths.
        let rc = unsafe { libc::sendmmsg(socket.as_raw_fd(), headers.as_mut_ptr(), count, 0) };
        usize::try_from(rc).map_err(|_| io::Error::last_os_error())
    }

    /// Zero bytes for the kernel's plain structures.
    fn zeroed<T: Copy, const N: usize>() -> [T; N]
    where
        [T; N]: Plain,
    {
        // SAFETY: `Plain` is implemented here only, for structures of integers and raw pointers: zero is a value.
        unsafe { std::mem::zeroed() }
    }

    /// Types for which zero bytes are a value.
    trait Plain {}
    impl<const N: usize> Plain for [libc::iovec; N] {}
    impl<const N: usize> Plain for [libc::mmsghdr; N] {}
    impl<const N: usize> Plain for [libc::msghdr; N] {}

    fn length_of<T>() -> libc::socklen_t {
        libc::socklen_t::try_from(size_of::<T>()).unwrap_or_default()
    }

    fn check(rc: libc::c_int) -> io::Result<()> {
        if rc == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests;
