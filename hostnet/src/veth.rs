//! A container's cable: a veth pair between its namespace and the bridge.
//!
//! Owns both ends from their creation to their end, and the port of the bridge. Knows nothing of leases or of who asks.
//!
//! ```text
//!   container  ifname ══════════ host interface ── bridge
//!              MAC, MTU            static FDB entry for the container's MAC
//!              addresses, routes   learning off, unknown unicast not flooded here, hairpin as wanted
//! ```
//!
//! The pair is born complete: names, MACs, MTU, namespaces and bridge are in the one request that makes it, so nobody
//! ever sees an interface that is not yet what it will be, and nothing has to be moved between namespaces.

mod inside;
mod observe;
mod port;

use std::io;
use std::net::IpAddr;
use std::os::fd::AsRawFd;
use std::path::PathBuf;

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{InfoBridgePort, InfoData, InfoVeth, LinkMessage};
use rtnetlink::{LinkBridgePort, LinkMessageBuilder, LinkUnspec, LinkVeth};

use crate::link::{Link, LinkKind, Prefix};
use crate::netlink::{Intent, Netlink, NetlinkError};
use crate::netns::{EnterNetnsError, Netns};
use crate::sysctl::{self, Family};

pub use observe::{Observed, observe};
pub use port::{fence, open};

/// What to attach.
#[derive(Debug, Clone, Copy)]
pub struct Attach<'a> {
    /// The bridge, which exists.
    pub bridge: &'a str,
    /// The name of the host's end, which does not exist.
    pub host_interface: &'a str,
    /// Who the host's end belongs to; noted on it.
    pub owner: &'a str,
    /// Where the container lives.
    pub netns: &'a Netns,
    /// The name of the container's end, which does not exist there.
    pub ifname: &'a str,
    /// The MAC of the container's end.
    pub mac: [u8; 6],
    /// What fits in one packet, of both ends.
    pub mtu_bytes: u32,
    /// Whether the port sends a frame back to where it came from.
    pub hairpin: Hairpin,
    /// The container's addresses.
    pub addresses: &'a [Prefix],
    /// The container's routes; those to the networks of its addresses come by themselves.
    pub routes: &'a [Route],
}

/// A route of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    /// Where to.
    pub destination: Prefix,
    /// Through whom; none: the destination is on the segment itself.
    pub gateway: Option<IpAddr>,
}

/// What is there after [`attach`].
#[derive(Debug, Clone)]
pub struct Attached {
    /// The bridge.
    pub bridge: Link,
    /// The host's end.
    pub host: Link,
    /// The routes that were added: all that were wanted but those whose destination the container had a route to.
    pub routes: Vec<Route>,
}

/// Whether frames pass through a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Port {
    /// They do.
    Open,
    /// They do not, in either direction; the container sees a cable that is pulled.
    Fenced,
}

/// Whether a port sends a frame back to where it came from. Without it a container does not reach itself through an address
/// of its service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hairpin {
    /// It does.
    On,
    /// It does not.
    Off,
}

/// Whether a namespace already has an interface of that name.
///
/// # Errors
/// [`EnterNetnsError`], also when the namespace cannot be asked.
pub fn exists(netns: &Netns, ifname: &str) -> Result<bool, EnterNetnsError> {
    let found = netns.run(|| Netlink::open()?.link(ifname))?;
    match found {
        Ok(link) => Ok(link.is_some()),
        Err(source) => Err(EnterNetnsError { path: netns.path().to_owned(), source }),
    }
}

/// Who a host's end belongs to, if there is an interface of that name; empty if nobody noted it.
///
/// # Errors
/// [`NetlinkError`].
pub fn owner_of(host_interface: &str) -> Result<Option<String>, NetlinkError> {
    let found = Netlink::open().and_then(|mut netlink| netlink.link(host_interface));
    let found = found.map_err(NetlinkError::at("find the host's end"))?;
    Ok(found.map(|message| Link::of(&message).alias.unwrap_or_default()))
}

/// Makes the pair and sets up both ends. When it returns, the port forwards, no address is tentative and the addresses
/// have been announced once.
///
/// # Errors
/// [`AttachError`]; whatever was made is undone.
pub fn attach(wanted: &Attach<'_>) -> Result<Attached, AttachError> {
    let mut netlink = Netlink::open().map_err(NetlinkError::at("open a netlink socket"))?;
    let bridge = find_bridge(&mut netlink, wanted.bridge)?;
    create(&mut netlink, wanted, bridge.index)?;
    let mut pair = Pair { netlink, name: wanted.host_interface, keep: false };
    let host = pair.host()?;
    set_up_port(&mut pair.netlink, wanted, &host)?;
    let inside = wanted.netns.run(|| inside::set_up(wanted, || pair.wait_until_it_forwards()))?;
    let routes = inside?;
    let host = pair.host()?;
    pair.keep = true;
    Ok(Attached { bridge, host, routes })
}

/// Takes the pair away, if it is the owner's. What is not there is gone already.
///
/// # Errors
/// [`DetachError`]; nothing has changed.
pub fn detach(host_interface: &str, owner: &str) -> Result<(), DetachError> {
    let mut netlink = Netlink::open().map_err(NetlinkError::at("open a netlink socket"))?;
    let found = netlink.link(host_interface).map_err(NetlinkError::at("find the interface"))?;
    let Some(link) = found.as_ref().map(Link::of) else {
        return Ok(());
    };
    ensure_owner(&link, owner)?;
    match netlink
        .request(RouteNetlinkMessage::DelLink(LinkUnspec::new_with_index(link.index).build()), Intent::Existing)
    {
        Ok(()) => Ok(()),
        // The container's namespace went at this moment, and its end took ours along.
        Err(source) if source.raw_os_error() == Some(libc::ENODEV) => Ok(()),
        Err(source) => Err(NetlinkError { step: "remove the interface", source }.into()),
    }
}

/// A pair that is taken away again unless somebody says `keep`.
struct Pair<'a> {
    netlink: Netlink,
    name: &'a str,
    keep: bool,
}

impl Pair<'_> {
    fn message(&mut self) -> Result<LinkMessage, AttachError> {
        let found = self.netlink.link(self.name).map_err(NetlinkError::at("find the host's end"))?;
        found.ok_or_else(|| AttachError::Vanished { interface: self.name.to_owned() })
    }

    fn host(&mut self) -> Result<Link, AttachError> {
        self.message().map(|message| Link::of(&message))
    }

    /// A port forwards a moment after both ends are up: the kernel passes the carrier on by its own thread.
    fn wait_until_it_forwards(&mut self) -> Result<(), AttachError> {
        for _ in 0..FORWARDS_WITHIN_MS * 2 {
            if observe::forwards(&self.message()?) {
                return Ok(());
            }
            std::thread::sleep(std::time::Duration::from_micros(500));
        }
        Err(AttachError::Blocked { interface: self.name.to_owned() })
    }
}

impl Drop for Pair<'_> {
    fn drop(&mut self) {
        if self.keep {
            return;
        }
        let message = RouteNetlinkMessage::DelLink(LinkUnspec::new_with_name(self.name).build());
        if let Err(source) = self.netlink.request(message, Intent::Existing) {
            tracing::warn!(interface = self.name, %source, "an unfinished interface could not be removed");
        }
    }
}

/// Far more than the kernel's thread needs on a loaded machine, far less than a runtime waits.
const FORWARDS_WITHIN_MS: u32 = 2000;

fn find_bridge(netlink: &mut Netlink, name: &str) -> Result<Link, AttachError> {
    let found = netlink.link(name).map_err(NetlinkError::at("find the bridge"))?;
    match found.as_ref().map(Link::of) {
        Some(link) if link.kind == LinkKind::Bridge => Ok(link),
        _ => Err(AttachError::NoBridge { bridge: name.to_owned() }),
    }
}

/// The one request that makes the pair.
fn create(netlink: &mut Netlink, wanted: &Attach<'_>, bridge: u32) -> Result<(), AttachError> {
    let inside = LinkUnspec::new_with_name(wanted.ifname)
        .address(wanted.mac.to_vec())
        .mtu(wanted.mtu_bytes)
        .setns_by_fd(wanted.netns.file().as_raw_fd())
        .build();
    let message = LinkMessageBuilder::<LinkVeth>::new(wanted.host_interface, wanted.ifname)
        .set_info_data(InfoData::Veth(InfoVeth::Peer(inside)))
        .address(host_mac(wanted.mac).to_vec())
        .mtu(wanted.mtu_bytes)
        .controller(bridge)
        .build();
    match netlink.request(RouteNetlinkMessage::NewLink(message), Intent::Create) {
        Ok(()) => Ok(()),
        Err(source) if source.raw_os_error() == Some(libc::EEXIST) => Err(name_clash(netlink, wanted)),
        Err(source) => Err(NetlinkError { step: "create the veth pair", source }.into()),
    }
}

/// The kernel does not say which of the two names is taken.
fn name_clash(netlink: &mut Netlink, wanted: &Attach<'_>) -> AttachError {
    match netlink.link(wanted.host_interface) {
        Ok(Some(message)) => AttachError::HostInterfaceExists {
            interface: wanted.host_interface.to_owned(),
            owner: Link::of(&message).alias.unwrap_or_default(),
        },
        _ => AttachError::InterfaceExists { ifname: wanted.ifname.to_owned(), netns: wanted.netns.path().to_owned() },
    }
}

/// The host end's own MAC, which no frame ever carries: the container's with another first byte, one of the highest there are
/// for locally administered addresses, so that no bridge would choose it for its own.
fn host_mac([a, b, c, d, e, f]: [u8; 6]) -> [u8; 6] {
    [if a == 0xfe { 0xfa } else { 0xfe }, b, c, d, e, f]
}

/// Marks the host's end, sets its manners as a port, and switches it on.
fn set_up_port(netlink: &mut Netlink, wanted: &Attach<'_>, host: &Link) -> Result<(), AttachError> {
    // The host speaks through the bridge, never through a port.
    sysctl::write(Family::V6, wanted.host_interface, "disable_ipv6", "1")
        .map_err(|source| AttachError::Sysctl { interface: wanted.host_interface.to_owned(), source })?;
    let manners = LinkBridgePort::new(host.index)
        .alias(alias(wanted.owner))
        .learning(false)
        .flood(false)
        .mcast_flood(true)
        .bcast_flood(true)
        // On, it keeps announcements that come from the tap away from this port, and neighbours stay with what they had.
        .append_info_data(InfoBridgePort::NeighSupress(false))
        .hairpin(wanted.hairpin == Hairpin::On)
        .up()
        .build();
    netlink
        .request(RouteNetlinkMessage::NewLink(manners), Intent::Existing)
        .map_err(NetlinkError::at("set up the bridge port"))?;
    netlink
        .request(RouteNetlinkMessage::NewNeighbour(port::forwarding_entry(host.index, wanted.mac)), Intent::Replace)
        .map_err(NetlinkError::at("add the bridge's forwarding entry"))?;
    Ok(())
}

/// What is noted on an interface: the owner, as far as the kernel has room for it.
fn alias(owner: &str) -> &str {
    // IFALIASZ is 256 with the zero at the end, and the kernel counts one that comes in a message a second time.
    owner.get(..owner.floor_char_boundary(254)).unwrap_or_default()
}

fn ensure_owner(link: &Link, owner: &str) -> Result<(), DetachError> {
    // Without a note: whoever made it died between two requests. The name has the owner's hash, that is enough.
    let noted = link.alias.as_deref().unwrap_or_default();
    if link.kind == LinkKind::Veth && (noted.is_empty() || noted == alias(owner)) {
        return Ok(());
    }
    Err(DetachError::Foreign { interface: link.name.clone(), owner: noted.to_owned() })
}

/// Why nothing was attached. Whatever was made has been undone.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// The bridge is not there, or is none.
    #[error("there is no bridge {bridge}")]
    NoBridge {
        /// Its name.
        bridge: String,
    },
    /// The container already has an interface of that name.
    #[error("an interface {ifname} already exists in {}", netns.display())]
    InterfaceExists {
        /// The name.
        ifname: String,
        /// The namespace.
        netns: PathBuf,
    },
    /// The host already has an interface of that name.
    #[error("the host already has an interface {interface} of {owner:?}")]
    HostInterfaceExists {
        /// The name.
        interface: String,
        /// What is noted on it.
        owner: String,
    },
    /// An IPv6 address was given, but the kernel has IPv6 switched off.
    #[error("{address} cannot be given: IPv6 is switched off")]
    NoIpv6 {
        /// The address.
        address: IpAddr,
    },
    /// The port of the bridge did not begin to forward.
    #[error("the port {interface} does not forward: is the bridge down?")]
    Blocked {
        /// The host's end.
        interface: String,
    },
    /// Somebody removed it while it was being set up.
    #[error("the interface {interface} is gone again")]
    Vanished {
        /// Its name.
        interface: String,
    },
    /// An address was refused.
    #[error("the container cannot have the address {address}")]
    Address {
        /// The address.
        address: Prefix,
        /// What the kernel said.
        source: io::Error,
    },
    /// A route was refused.
    #[error("the container cannot have a route to {destination}")]
    Route {
        /// Where to.
        destination: Prefix,
        /// What the kernel said.
        source: io::Error,
    },
    /// A setting was refused.
    #[error("the settings of {interface} cannot be written")]
    Sysctl {
        /// The interface.
        interface: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// The namespace cannot be entered.
    #[error(transparent)]
    Enter(#[from] EnterNetnsError),
    /// The kernel refused something else.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
}

/// Why an interface was left as it is.
#[derive(Debug, thiserror::Error)]
pub enum DetachError {
    /// It is somebody else's.
    #[error("{interface} belongs to {owner:?}")]
    Foreign {
        /// Its name.
        interface: String,
        /// What is noted on it.
        owner: String,
    },
    /// The kernel refused.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
}

#[cfg(test)]
mod tests;
