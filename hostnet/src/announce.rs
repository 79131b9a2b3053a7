//! Tells the neighbours on a segment where an address lives: gratuitous ARP and unsolicited neighbour advertisements.
//!
//! Owns the two frames and sends each once. When and how often is the caller's.
//!
//! The frames leave by the bridge, which floods them to its ports and the tap: that needs neither the container nor its
//! namespace. (The very first announcement of an attachment comes from the container's own interface, see [`crate::veth`].)

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::OwnedFd;

use crate::netlink::{Netlink, NetlinkError};

/// When to announce after a move, counted from its commit: at once, again for who was just starting, and a last time
/// for who lost the first two.
pub const ANNOUNCE_AT_MS: [u64; 3] = [0, 100, 500];

/// Sends announcements. Kept for as long as there may be something to announce: closing its socket takes the kernel some
/// milliseconds, opening and sending take none.
#[derive(Debug)]
pub struct Announcer {
    socket: OwnedFd,
    index: u32,
    interface: String,
}

impl Announcer {
    /// For announcements through `interface` of the calling thread's network namespace.
    ///
    /// # Errors
    /// [`AnnounceError`].
    pub fn open(interface: &str) -> Result<Self, AnnounceError> {
        let missing = || AnnounceError::Missing { interface: interface.to_owned() };
        let link = Netlink::open().and_then(|mut netlink| netlink.link(interface));
        let index = link.map_err(NetlinkError::at("find the interface"))?.ok_or_else(missing)?.header.index;
        let socket = sys::packet_socket().map_err(NetlinkError::at("open a packet socket"))?;
        Ok(Self { socket, index, interface: interface.to_owned() })
    }

    /// Announces every address once, as if `mac` had sent it.
    ///
    /// # Errors
    /// [`AnnounceError`]; the addresses before the one that failed have been announced.
    pub fn announce(&self, mac: [u8; 6], addresses: &[IpAddr]) -> Result<(), AnnounceError> {
        for address in addresses {
            let frame = match address {
                IpAddr::V4(address) => gratuitous_arp(mac, *address),
                IpAddr::V6(address) => unsolicited_advertisement(mac, *address),
            };
            let unsent = |source| AnnounceError::Unsent { interface: self.interface.clone(), source };
            sys::send(&self.socket, self.index, &frame).map_err(unsent)?;
        }
        Ok(())
    }
}

/// An ARP announcement (RFC 5227 §2.3): a request whose sender and target are the same.
fn gratuitous_arp(mac: [u8; 6], address: Ipv4Addr) -> Vec<u8> {
    let mut frame = Vec::with_capacity(60);
    frame.extend([0xff; 6]);
    frame.extend(mac);
    frame.extend([0x08, 0x06]);
    // Ethernet, IPv4, six and four bytes of address, request.
    frame.extend([0, 1, 0x08, 0, 6, 4, 0, 1]);
    frame.extend(mac);
    frame.extend(address.octets());
    frame.extend([0; 6]);
    frame.extend(address.octets());
    // IEEE 802.3: no frame is shorter than 60 bytes.
    frame.resize(60, 0);
    frame
}

/// A neighbour advertisement to all nodes that overrides what they have (RFC 4861 §7.2.6).
fn unsolicited_advertisement(mac: [u8; 6], address: Ipv6Addr) -> Vec<u8> {
    let mut message = vec![136, 0, 0, 0, 0x20, 0, 0, 0];
    message.extend(address.octets());
    // Option 2, target link-layer address, one unit of eight bytes.
    message.extend([2, 1]);
    message.extend(mac);
    let checksum = checksum6(address, ALL_NODES, &message);
    if let Some(field) = message.get_mut(2..4) {
        field.copy_from_slice(&checksum.to_be_bytes());
    }

    let mut frame = vec![0x33, 0x33, 0, 0, 0, 1];
    frame.extend(mac);
    frame.extend([0x86, 0xdd]);
    // Version 6, ICMPv6. A hop limit of 255 shows that no router has passed it on (RFC 4861 §7.1.2).
    frame.extend([0x60, 0, 0, 0, 0, ADVERTISEMENT_BYTES, 58, 255]);
    frame.extend(address.octets());
    frame.extend(ALL_NODES.octets());
    frame.extend(message);
    frame
}

/// The checksum of an ICMPv6 message (RFC 8200 §8.1) of even length.
fn checksum6(source: Ipv6Addr, destination: Ipv6Addr, message: &[u8]) -> u16 {
    let addresses = source.segments().into_iter().chain(destination.segments()).map(u32::from);
    let pairs = message.chunks(2).map(|pair| pair.iter().fold(0, |word, byte| word << 8 | u32::from(*byte)));
    let sum: u32 = addresses.chain(pairs).chain([u32::from(ADVERTISEMENT_BYTES), 58]).sum();
    let folded = (sum >> 16) + (sum & 0xffff);
    !(((folded >> 16) + folded) as u16)
}

/// ff02::1.
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// ICMPv6 header, target and one option.
const ADVERTISEMENT_BYTES: u8 = 8 + 16 + 8;

/// Why an address was not announced. Its neighbours go on with what they have until it times out.
#[derive(Debug, thiserror::Error)]
pub enum AnnounceError {
    /// There is no interface of that name.
    #[error("there is no interface {interface}")]
    Missing {
        /// The name.
        interface: String,
    },
    /// The kernel refused a frame.
    #[error("nothing can be announced through {interface}")]
    Unsent {
        /// The interface.
        interface: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// The kernel refused something else.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
}

/// One function per system call: no logic, no other caller than the module above.
#[expect(unsafe_code, reason = "system calls")]
mod sys {
    use std::io;
    use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

    /// A packet socket that only sends: protocol 0 receives nothing.
    pub(super) fn packet_socket() -> io::Result<OwnedFd> {
        // SAFETY: `socket` takes no pointer.
        let fd = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
        if fd == -1 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor is new and nobody else's.
        Ok(unsafe { OwnedFd::from_raw_fd(fd) })
    }

    pub(super) fn send(socket: &OwnedFd, index: u32, frame: &[u8]) -> io::Result<()> {
        let to = libc::sockaddr_ll {
            sll_family: libc::AF_PACKET as u16,
            sll_protocol: 0,
            sll_ifindex: index as i32,
            sll_hatype: 0,
            sll_pkttype: 0,
            sll_halen: 6,
            sll_addr: [0; 8],
        };
        // SAFETY: `frame` and `to` are readable for the lengths given with them, and `socket` is open for the call.
        let sent = unsafe {
            libc::sendto(
                socket.as_raw_fd(),
                frame.as_ptr().cast(),
                frame.len(),
                0,
                (&raw const to).cast(),
                size_of::<libc::sockaddr_ll>() as libc::socklen_t,
            )
        };
        if sent == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests;
