//! The tap device between the bridge and the data threads: opened by ourselves, owned, read and written through `tun`.
//!
//! Owns the device's options and the virtio header in front of each frame. Knows nothing of what the frames say.
//!
//! `tun` opens a device with one queue and no offloads, so the queues are opened here and handed to it as descriptors.
//! The kernel reads a frame's layout from the virtio header (virtio 1.2 §5.1.6) and so passes on TCP and UDP frames of up
//! to 64 KiB before it cuts them, and checksums before it computes them.
//!
//! ```text
//!   0      flags: 1 a checksum is to be completed
//!   1      what to cut: 0 nothing, 1 TCP over IPv4, 4 TCP over IPv6, 5 UDP; 0x80 the window was reduced
//!   2..4   length of the headers
//!   4..6   bytes of payload in each segment
//!   6..8   where the checksum begins
//!   8..10  where it goes, counted from there
//! ```

use std::io::{self, IoSlice, Read, Write};
use std::num::NonZeroU8;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, OwnedFd, RawFd};

/// Bytes of the virtio header in front of each frame that is read or written.
pub const VIRTIO_BYTES: usize = 10;

/// Bytes of the largest frame with its virtio header: an IP packet of 64 KiB behind an Ethernet header.
pub const MAX_READ_BYTES: usize = VIRTIO_BYTES + 14 + 65_536;

/// One queue of a tap device. Never blocks.
pub struct TapQueue {
    device: tun::Device,
    fd: RawFd,
    offloads: Offloads,
}

/// A tap device as it was opened.
pub struct Tap {
    /// Its queues. The device disappears with the last one.
    pub queues: Vec<TapQueue>,
}

/// What a device's kernel side leaves uncut and unsummed, and takes so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offloads {
    /// Checksums, TCP and UDP super-frames.
    TcpAndUdp,
    /// Checksums and TCP super-frames: kernels before 6.2.
    Tcp,
    /// Nothing.
    None,
}

/// What a virtio header says about its frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Virtio {
    /// The checksum that is still to be completed.
    pub checksum: Option<PartialChecksum>,
    /// How the frame is to be cut.
    pub cut: Option<Cut>,
}

/// A transport checksum of which only the pseudo-header is summed up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartialChecksum {
    /// Where in the frame summing begins.
    pub start: u16,
    /// Where the checksum goes, counted from `start`.
    pub offset: u16,
}

/// How a super-frame is to be cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// What it holds.
    pub kind: CutKind,
    /// Bytes of payload in each segment but the last.
    pub segment_bytes: u16,
    /// Bytes in front of the payload: a hint for the kernel's buffers.
    pub header_bytes: u16,
    /// TCP's congestion-window-reduced flag is set, for the first segment only.
    pub reduces_window: bool,
}

/// What a super-frame holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CutKind {
    /// TCP over IPv4.
    Tcp4,
    /// TCP over IPv6.
    Tcp6,
    /// UDP over either.
    Udp,
}

/// What to do with a device that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Existing {
    Refuse,
    Join,
}

/// Makes the device `name` and opens so many queues of it.
///
/// # Errors
/// [`OpenTapError`]; queues opened before are closed again.
pub fn open(name: &str, queues: NonZeroU8) -> Result<Tap, OpenTapError> {
    // The first makes the device and must not find one: two routers on one device would share its frames out.
    let existing = std::iter::once(Existing::Refuse).chain(std::iter::repeat(Existing::Join));
    let queues = existing
        .take(usize::from(queues.get()))
        .map(|existing| open_queue(name, existing))
        .collect::<Result<_, _>>()?;
    Ok(Tap { queues })
}

fn open_queue(name: &str, existing: Existing) -> Result<TapQueue, OpenTapError> {
    let request = sys::request(name, existing);
    let mut request = request.ok_or_else(|| OpenTapError::Name { name: name.chars().take(80).collect() })?;
    let fd: OwnedFd = std::fs::File::options()
        .read(true)
        .write(true)
        .open("/dev/net/tun")
        .map_err(|source| OpenTapError::Driver { source })?
        .into();
    sys::set_interface(fd.as_fd(), &mut request).map_err(|source| match source.raw_os_error() {
        Some(libc::EBUSY | libc::EINVAL) => OpenTapError::Taken { name: name.to_owned() },
        _ => OpenTapError::Create { name: name.to_owned(), source },
    })?;
    let layout = |source| OpenTapError::Layout { name: name.to_owned(), source };
    sys::set_header_bytes(fd.as_fd(), VIRTIO_BYTES).map_err(layout)?;
    let offloads = [Offloads::TcpAndUdp, Offloads::Tcp]
        .into_iter()
        .find(|offloads| sys::set_offloads(fd.as_fd(), offloads.mask()).is_ok())
        .unwrap_or(Offloads::None);
    if offloads == Offloads::None {
        sys::set_offloads(fd.as_fd(), 0).map_err(layout)?;
    }
    TapQueue::own(name, fd, offloads)
}

impl Offloads {
    fn mask(self) -> libc::c_uint {
        let tcp = libc::TUN_F_CSUM | libc::TUN_F_TSO4 | libc::TUN_F_TSO6 | libc::TUN_F_TSO_ECN;
        match self {
            Self::TcpAndUdp => tcp | libc::TUN_F_USO4 | libc::TUN_F_USO6,
            Self::Tcp => tcp,
            Self::None => 0,
        }
    }
}

impl TapQueue {
    /// Takes over a descriptor that gives and takes whole frames behind virtio headers: a queue that was opened elsewhere.
    ///
    /// # Errors
    /// [`OpenTapError`]; the descriptor is closed.
    pub fn own(name: &str, fd: OwnedFd, offloads: Offloads) -> Result<Self, OpenTapError> {
        let fd = fd.into_raw_fd();
        let mut configuration = tun::Configuration::default();
        configuration.tun_name(name).layer(tun::Layer::L2).raw_fd(fd).close_fd_on_drop(true);
        let device =
            tun::Device::new(&configuration).map_err(|source| OpenTapError::Own { name: name.to_owned(), source })?;
        device.set_nonblock().map_err(|source| OpenTapError::Layout { name: name.to_owned(), source })?;
        Ok(Self { device, fd, offloads })
    }

    /// What the kernel gives and takes uncut.
    #[must_use]
    pub fn offloads(&self) -> Offloads {
        self.offloads
    }

    /// Reads one frame behind its virtio header. `None` when there is none.
    ///
    /// # Errors
    /// What the kernel says; the device is gone or the buffer is unmapped.
    pub fn receive(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        would_block(self.device.read(buffer))
    }

    /// Writes one frame behind its virtio header. `None` when the device has no room.
    ///
    /// # Errors
    /// What the kernel says of the frame: `InvalidInput` when the header does not fit it.
    pub fn send(&mut self, frame: &[u8]) -> io::Result<Option<usize>> {
        would_block(self.device.write(frame))
    }

    /// Writes one frame from several places: the virtio header is at the front of the first.
    ///
    /// # Errors
    /// As [`TapQueue::send`].
    pub fn send_vectored(&mut self, parts: &[IoSlice<'_>]) -> io::Result<Option<usize>> {
        // `tun` writes only the first part: it leaves `write_vectored` at the standard library's default.
        would_block(sys::writev(self.as_fd(), parts))
    }
}

fn would_block(result: io::Result<usize>) -> io::Result<Option<usize>> {
    match result {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}

impl AsFd for TapQueue {
    fn as_fd(&self) -> BorrowedFd<'_> {
        sys::borrow(self)
    }
}

impl Virtio {
    /// Reads a header from the front of what [`TapQueue::receive`] gave. `None` when it is too short, or asks for a cut
    /// that was never offered.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let &[flags, kind, a, b, c, d, e, f, g, h] = bytes.first_chunk::<VIRTIO_BYTES>()?;
        let number = |bytes| u16::from_ne_bytes(bytes);
        let kind_of_cut = match kind & !GSO_ECN {
            GSO_NONE => None,
            GSO_TCP4 => Some(CutKind::Tcp4),
            GSO_TCP6 => Some(CutKind::Tcp6),
            GSO_UDP => Some(CutKind::Udp),
            _ => return None,
        };
        let cut = kind_of_cut.map(|kind_of_cut| Cut {
            kind: kind_of_cut,
            segment_bytes: number([c, d]),
            header_bytes: number([a, b]),
            reduces_window: kind & GSO_ECN != 0,
        });
        let checksum =
            (flags & NEEDS_CHECKSUM != 0).then(|| PartialChecksum { start: number([e, f]), offset: number([g, h]) });
        Some(Self { checksum, cut })
    }

    /// The header's bytes.
    #[must_use]
    pub fn emit(&self) -> [u8; VIRTIO_BYTES] {
        let mut bytes = [0; VIRTIO_BYTES];
        if let Some(checksum) = self.checksum {
            bytes[0] = NEEDS_CHECKSUM;
            bytes[6..8].copy_from_slice(&checksum.start.to_ne_bytes());
            bytes[8..10].copy_from_slice(&checksum.offset.to_ne_bytes());
        }
        if let Some(cut) = self.cut {
            let kind = match cut.kind {
                CutKind::Tcp4 => GSO_TCP4,
                CutKind::Tcp6 => GSO_TCP6,
                CutKind::Udp => GSO_UDP,
            };
            bytes[1] = if cut.reduces_window { kind | GSO_ECN } else { kind };
            bytes[2..4].copy_from_slice(&cut.header_bytes.to_ne_bytes());
            bytes[4..6].copy_from_slice(&cut.segment_bytes.to_ne_bytes());
        }
        bytes
    }
}

const NEEDS_CHECKSUM: u8 = 1;
const GSO_NONE: u8 = 0;
const GSO_TCP4: u8 = 1;
const GSO_TCP6: u8 = 4;
const GSO_UDP: u8 = 5;
const GSO_ECN: u8 = 0x80;

/// Why a tap device could not be opened. Nothing of it is left.
#[derive(Debug, thiserror::Error)]
pub enum OpenTapError {
    /// Not a name an interface may have.
    #[error("{name:?} is not an interface name: 1 to 15 bytes without '/' and blanks")]
    Name {
        /// The name, cut to 80 characters.
        name: String,
    },
    /// The tun driver does not answer.
    #[error("/dev/net/tun cannot be opened: the tun driver is missing, or this process may not administer the network")]
    Driver {
        /// What the kernel says.
        source: io::Error,
    },
    /// An interface of that name is there: another router's tap, or something else.
    #[error(
        "an interface named {name} exists already: stop the router it belongs to, or remove it with `ip link delete {name}`"
    )]
    Taken {
        /// The interface.
        name: String,
    },
    /// The kernel refuses to make it.
    #[error("tap device {name} cannot be made")]
    Create {
        /// The interface.
        name: String,
        /// What the kernel says.
        source: io::Error,
    },
    /// The kernel refuses an option every kernel since 4.8 has.
    #[error("tap device {name} refuses its options")]
    Layout {
        /// The interface.
        name: String,
        /// What the kernel says.
        source: io::Error,
    },
    /// The queue's descriptor is refused.
    #[error("tap device {name} cannot be taken over")]
    Own {
        /// The interface.
        name: String,
        /// What `tun` says.
        source: tun::Error,
    },
}

/// One function per system call: no logic, no loops, no other caller than the module above.
#[expect(unsafe_code, reason = "system calls")]
mod sys {
    use super::{AsRawFd, BorrowedFd, Existing, IoSlice, TapQueue, io};

    /// A request that names an interface and how its queues are to be opened. `None` for a name that does not fit.
    pub(super) fn request(name: &str, existing: Existing) -> Option<libc::ifreq> {
        let forbidden = |byte: u8| byte == b'/' || byte == 0 || byte.is_ascii_whitespace();
        if name.is_empty() || name.len() >= libc::IFNAMSIZ || name.bytes().any(forbidden) {
            return None;
        }
        // SAFETY: `ifreq` is plain data for which zero bytes are a value.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
            *to = libc::c_char::from_ne_bytes([from]);
        }
        let exclusive = if existing == Existing::Refuse { libc::IFF_TUN_EXCL } else { 0 };
        let flags = libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR | libc::IFF_MULTI_QUEUE | exclusive;
        let [low, high] = u16::try_from(flags).unwrap_or_default().to_ne_bytes();
        request.ifr_ifru.ifru_flags = libc::c_short::from_ne_bytes([low, high]);
        Some(request)
    }

    pub(super) fn set_interface(device: BorrowedFd<'_>, request: &mut libc::ifreq) -> io::Result<()> {
        // SAFETY: `device` is open for the call, and `request` is the `ifreq` that TUNSETIFF reads and writes.
        check(unsafe { libc::ioctl(device.as_raw_fd(), libc::TUNSETIFF, std::ptr::from_mut(request)) })
    }

    pub(super) fn set_header_bytes(device: BorrowedFd<'_>, bytes: usize) -> io::Result<()> {
        let bytes = libc::c_int::try_from(bytes).unwrap_or(libc::c_int::MAX);
        // SAFETY: `device` is open for the call, and TUNSETVNETHDRSZ reads one `int`.
        check(unsafe { libc::ioctl(device.as_raw_fd(), libc::TUNSETVNETHDRSZ, std::ptr::from_ref(&bytes)) })
    }

    pub(super) fn set_offloads(device: BorrowedFd<'_>, mask: libc::c_uint) -> io::Result<()> {
        // SAFETY: `device` is open for the call, and TUNSETOFFLOAD takes its argument by value.
        check(unsafe { libc::ioctl(device.as_raw_fd(), libc::TUNSETOFFLOAD, libc::c_ulong::from(mask)) })
    }

    pub(super) fn writev(device: BorrowedFd<'_>, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        let count = libc::c_int::try_from(parts.len()).unwrap_or(libc::c_int::MAX);
        // SAFETY: `device` is open for the call, and `IoSlice` has the layout of `iovec` and borrows what it points to.
        let written = unsafe { libc::writev(device.as_raw_fd(), parts.as_ptr().cast(), count) };
        usize::try_from(written).map_err(|_| io::Error::last_os_error())
    }

    pub(super) fn borrow(queue: &TapQueue) -> BorrowedFd<'_> {
        // SAFETY: the descriptor is owned by the queue's device, which lives as long as the borrow.
        unsafe { BorrowedFd::borrow_raw(queue.fd) }
    }

    fn check(rc: libc::c_int) -> io::Result<()> {
        if rc == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests;
