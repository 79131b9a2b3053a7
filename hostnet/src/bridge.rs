//! The host's bridge: made once by the router, the gateway of every container here.
//!
//! Owns how the bridge and the tap's port forward. Knows nothing of containers, their ports or where frames go behind the
//! tap.
//!
//! ```text
//!   container ─ veth ┐                        learning   floods unknown unicast to it
//!   container ─ veth ┼─ bridge ─ tap ─ router      off   tap: yes
//!      gateway address ┘                           off   containers: no
//! ```
//!
//! Nothing is learned. What lives here has a static entry on its port; everything else goes to the tap, where the ledger
//! decides. So a container that has moved away is behind the tap from the moment its port is gone, and no frame of its
//! former life can bring a stale entry back.

use std::net::IpAddr;

use futures_util::TryStreamExt;
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressScope};
use netlink_packet_route::link::{BridgeStpState, LinkAttribute, LinkMessage};
use rtnetlink::packet_core::{NLM_F_ACK, NLM_F_REQUEST};
use rtnetlink::{Handle, LinkBridge, LinkBridgePort, LinkMessageBuilder, LinkUnspec};

use crate::link::{Link, LinkKind, LinkState, Prefix, prefix_of};
use crate::netlink::{Netlink, NetlinkError, io_error, with_handle};
use crate::sysctl::{self, Family, Written};

/// A bridge as it is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bridge {
    /// Its name.
    pub name: String,
    /// The gateway's MAC, the same on every host.
    pub mac: [u8; 6],
    /// What containers may send in one packet.
    pub mtu_bytes: u32,
    /// The gateway's addresses and any other of this host. All others are taken away, link-local ones excepted.
    pub addresses: Vec<Prefix>,
}

/// Makes the bridge, or makes what is there equal to what is wanted; repeated, nothing changes.
///
/// # Errors
/// [`EnsureBridgeError`]. A bridge that was made is left: the next call goes on from there.
pub fn ensure(bridge: &Bridge) -> Result<u32, EnsureBridgeError> {
    with_handle(async |handle| {
        let index = make(&handle, bridge).await?;
        set_sysctls(bridge)?;
        set_addresses(&handle, index, &bridge.addresses).await?;
        let up = LinkUnspec::new_with_index(index).up().build();
        handle.link().set(up).execute().await.map_err(NetlinkError::of("switch the bridge on"))?;
        Ok(index)
    })
}

/// Makes an interface, the router's tap, the bridge's port to everywhere else, and switches it on.
///
/// # Errors
/// [`EnsureBridgeError`].
pub fn enslave_tap(bridge: &str, tap: &str, mtu_bytes: u32) -> Result<(), EnsureBridgeError> {
    with_handle(async |handle| {
        let controller = existing(&handle, bridge).await?;
        let port = existing(&handle, tap).await?.index;
        // Nobody on this host speaks through the tap itself.
        write_sysctl(Family::V6, tap, "disable_ipv6", "1")?;
        let joined = LinkUnspec::new_with_index(port)
            .mtu(mtu_bytes)
            .append_extra_attribute(LinkAttribute::GsoMaxSegs(SEGMENTS_MAX))
            .controller(controller.index)
            .up()
            .build();
        handle.link().set(joined).execute().await.map_err(NetlinkError::of("make the tap a port of the bridge"))?;
        let manners = LinkBridgePort::new(port)
            .learning(false)
            .flood(true)
            .mcast_flood(true)
            .bcast_flood(true)
            .hairpin(false)
            .build();
        handle.link().set_port(manners).execute().await.map_err(NetlinkError::of("set up the tap's bridge port"))?;
        Ok(())
    })
}

/// Into how many segments a frame that the tap hands over uncut may have to be cut: what makes more, the kernel cuts on the way to
/// the tap, where its queue is the limit. Twice as many as a stream's, whose smallest segments have 536 bytes (RFC 9293 §3.7.1).
const SEGMENTS_MAX: u32 = 256;

/// Changes what fits in one packet of the bridge and the tap.
///
/// Containers keep what they were given: the far ends of their ports cannot follow, and a port smaller than the end behind
/// it swallows frames without a word. So the tap never becomes smaller than the largest port either: what is too large for
/// the underlay travels in pieces.
///
/// # Errors
/// [`EnsureBridgeError`]; the tap may already have the new size.
pub fn set_mtu(bridge: &str, mtu_bytes: u32) -> Result<(), EnsureBridgeError> {
    with_handle(async |handle| {
        let links: Vec<_> =
            handle.link().get().execute().try_collect().await.map_err(NetlinkError::of("list interfaces"))?;
        let links: Vec<_> = links.iter().map(Link::of).collect();
        let missing = || EnsureBridgeError::Missing { interface: bridge.to_owned() };
        let controller = links.iter().find(|link| link.name == bridge).ok_or_else(missing)?;
        for (link, mtu_bytes) in sizes(&links, controller, mtu_bytes) {
            let resized = LinkUnspec::new_with_index(link.index).mtu(mtu_bytes).build();
            handle.link().set(resized).execute().await.map_err(NetlinkError::of("set an interface's MTU"))?;
        }
        Ok(())
    })
}

/// Whether [`set_mtu`] would change anything about these interfaces. A port that came with a larger MTU than the tap has
/// wants it to: what is too large for the tap, the bridge drops and counts nowhere.
#[must_use]
pub fn wants_mtu(links: &[Link], bridge: &str, mtu_bytes: u32) -> bool {
    let controller = links.iter().find(|link| link.name == bridge);
    let mut wanted = controller.into_iter().flat_map(|controller| sizes(links, controller, mtu_bytes));
    wanted.any(|(link, mtu_bytes)| link.mtu_bytes != mtu_bytes)
}

/// What is to fit in one packet of the bridge and of what leads to everywhere else.
fn sizes<'a>(links: &'a [Link], controller: &'a Link, mtu_bytes: u32) -> Vec<(&'a Link, u32)> {
    let ports = links.iter().filter(|link| link.controller == Some(controller.index));
    let (containers, taps): (Vec<_>, Vec<_>) = ports.partition(|port| port.kind == LinkKind::Veth);
    let largest = containers.iter().map(|port| port.mtu_bytes).fold(mtu_bytes, u32::max);
    taps.into_iter().map(|tap| (tap, largest)).chain([(controller, mtu_bytes)]).collect()
}

/// Looks whether frames can pass between the bridge and the tap. Changes nothing.
///
/// # Errors
/// [`BrokenBridgeError`] names what is not as [`ensure`] and [`enslave_tap`] left it.
pub fn ensure_whole(bridge: &str, tap: &str) -> Result<(), BrokenBridgeError> {
    let mut netlink = Netlink::open().map_err(NetlinkError::at("open a netlink socket"))?;
    let mut link_of = |name: &str| {
        let found = netlink.link(name).map_err(NetlinkError::at("find the interface"))?;
        let link =
            found.as_ref().map(Link::of).ok_or_else(|| BrokenBridgeError::Missing { interface: name.to_owned() })?;
        match link.state {
            LinkState::Down => Err(BrokenBridgeError::Down { interface: name.to_owned() }),
            LinkState::NoCarrier | LinkState::Up => Ok(link),
        }
    };
    let (controller, port) = (link_of(bridge)?, link_of(tap)?);
    if port.controller == Some(controller.index) {
        return Ok(());
    }
    Err(BrokenBridgeError::Apart { bridge: bridge.to_owned(), tap: tap.to_owned() })
}

/// Takes the bridge away; one that is not there is gone already.
///
/// # Errors
/// [`EnsureBridgeError`].
pub fn remove(name: &str) -> Result<(), EnsureBridgeError> {
    with_handle(async |handle| match existing(&handle, name).await {
        Ok(link) => {
            ensure_bridge(&link)?;
            handle.link().del(link.index).execute().await.map_err(NetlinkError::of("remove the bridge"))?;
            Ok(())
        }
        Err(EnsureBridgeError::Missing { .. }) => Ok(()),
        Err(wrong) => Err(wrong),
    })
}

async fn make(handle: &Handle, bridge: &Bridge) -> Result<u32, EnsureBridgeError> {
    let index = match existing(handle, &bridge.name).await {
        Ok(link) => {
            ensure_bridge(&link)?;
            let settings = settings(bridge).index(link.index).build();
            // RTM_SETLINK does not reach a bridge's own settings; RTM_NEWLINK on an existing one does.
            let request = handle.link().add(settings).set_flags(NLM_F_REQUEST | NLM_F_ACK);
            request.execute().await.map_err(NetlinkError::of("set up the bridge"))?;
            link.index
        }
        Err(EnsureBridgeError::Missing { .. }) => {
            let request = handle.link().add(settings(bridge).build());
            request.execute().await.map_err(NetlinkError::of("create the bridge"))?;
            existing(handle, &bridge.name).await?.index
        }
        Err(wrong) => return Err(wrong),
    };
    // Never at its birth: `br_netfilter`, which puts fragments together and cuts them again, hears of the bridge's MTU when it
    // changes, and until then takes it for 1500: larger IPv4 fragments would be lost.
    let resized = LinkUnspec::new_with_index(index).mtu(bridge.mtu_bytes).build();
    handle.link().set(resized).execute().await.map_err(NetlinkError::of("set the bridge's MTU"))?;
    Ok(index)
}

fn settings(bridge: &Bridge) -> LinkMessageBuilder<LinkBridge> {
    LinkMessageBuilder::<LinkBridge>::new(&bridge.name)
        .address(bridge.mac.to_vec())
        .stp_state(BridgeStpState::Disabled)
        // A new port forwards at once: there is no spanning tree to wait for.
        .forward_delay(0)
        // With snooping on, groups without a listener here would never reach the tap, and so no other host.
        .mcast_snooping(false)
        // Left alone, LLDP goes to the host's own listeners before any rule has seen it. Like this it comes to the edge, which
        // drops it, and what the edge does not look at ends at the switch.
        .group_fwd_mask(FORWARD_LLDP)
}

/// IEEE 802.1AB: the group 01:80:c2:00:00:0e.
const FORWARD_LLDP: u16 = 1 << 0x0e;

fn ensure_bridge(link: &Link) -> Result<(), EnsureBridgeError> {
    if link.kind == LinkKind::Bridge {
        return Ok(());
    }
    Err(EnsureBridgeError::NotABridge { interface: link.name.clone(), kind: link.kind.clone() })
}

/// Settings of the host's own end. Written before it is switched on, so that no address ever has to prove itself.
fn set_sysctls(bridge: &Bridge) -> Result<(), EnsureBridgeError> {
    let name = &bridge.name;
    let settings = [
        // Every host has the gateway's address: looking for duplicates would find them all.
        (Family::V6, "accept_dad", "0"),
        (Family::V6, "dad_transmits", "0"),
        // No container decides where the host routes to.
        (Family::V6, "accept_ra", "0"),
        (Family::V6, "accept_redirects", "0"),
        (Family::V4, "accept_redirects", "0"),
        // Only for the addresses of the bridge itself, and only from them: the underlay's are none of the containers' business.
        (Family::V4, "arp_ignore", "1"),
        (Family::V4, "arp_announce", "2"),
    ];
    settings.into_iter().try_for_each(|(family, key, value)| write_sysctl(family, name, key, value).map(|_| ()))?;
    let Some(address) = bridge.addresses.iter().map(|prefix| prefix.address).find(IpAddr::is_ipv6) else {
        return Ok(());
    };
    // A host may have it off for all interfaces that come; this one is ours to decide.
    match write_sysctl(Family::V6, name, "disable_ipv6", "0")? {
        Written::Done => Ok(()),
        Written::Absent => Err(EnsureBridgeError::NoIpv6 { address }),
    }
}

fn write_sysctl(family: Family, interface: &str, key: &'static str, value: &str) -> Result<Written, EnsureBridgeError> {
    let wrong = |source| EnsureBridgeError::Sysctl { interface: interface.to_owned(), key, source };
    sysctl::write(family, interface, key, value).map_err(wrong)
}

async fn set_addresses(handle: &Handle, index: u32, wanted: &[Prefix]) -> Result<(), EnsureBridgeError> {
    let request = handle.address().get().set_link_index_filter(index);
    let there: Vec<_> =
        request.execute().try_collect().await.map_err(NetlinkError::of("list the bridge's addresses"))?;
    for message in there {
        let stale = message.header.scope == AddressScope::Universe
            && prefix_of(&message).is_none_or(|prefix| !wanted.contains(&prefix));
        if stale {
            handle
                .address()
                .del(message)
                .execute()
                .await
                .map_err(NetlinkError::of("remove an address of the bridge"))?;
        }
    }
    for prefix in wanted {
        add_address(handle, index, *prefix).await?;
    }
    Ok(())
}

async fn add_address(handle: &Handle, index: u32, prefix: Prefix) -> Result<(), EnsureBridgeError> {
    let mut request = handle.address().add(index, prefix.address, prefix.length);
    if prefix.address.is_ipv6() {
        request.message_mut().attributes.push(AddressAttribute::Flags(AddressFlags::Nodad));
    }
    match request.execute().await.map_err(io_error) {
        Ok(()) => Ok(()),
        Err(source) if source.raw_os_error() == Some(libc::EEXIST) => Ok(()),
        Err(source) => Err(EnsureBridgeError::Address { address: prefix.address, source }),
    }
}

async fn existing(handle: &Handle, name: &str) -> Result<Link, EnsureBridgeError> {
    let found: Result<Option<LinkMessage>, _> =
        handle.link().get().match_name(name.to_owned()).execute().try_next().await;
    match found.map_err(io_error) {
        Ok(Some(message)) => Ok(Link::of(&message)),
        Ok(None) => Err(EnsureBridgeError::Missing { interface: name.to_owned() }),
        Err(source) if source.raw_os_error() == Some(libc::ENODEV) => {
            Err(EnsureBridgeError::Missing { interface: name.to_owned() })
        }
        Err(source) => Err(NetlinkError { step: "find the interface", source }.into()),
    }
}

/// Why no frame passes between containers and the router.
#[derive(Debug, thiserror::Error)]
pub enum BrokenBridgeError {
    /// Somebody has removed it.
    #[error("the interface {interface} is gone")]
    Missing {
        /// Its name.
        interface: String,
    },
    /// Somebody has switched it off.
    #[error("the interface {interface} is switched off")]
    Down {
        /// Its name.
        interface: String,
    },
    /// Somebody has taken one out of the other.
    #[error("{tap} is not a port of {bridge}")]
    Apart {
        /// The bridge.
        bridge: String,
        /// The tap.
        tap: String,
    },
    /// The kernel would not say.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
}

/// Why the bridge is not as it is wanted. What was done up to there stays.
#[derive(Debug, thiserror::Error)]
pub enum EnsureBridgeError {
    /// The name is taken by something that is not ours to change.
    #[error("{interface} exists and is not a bridge ({kind:?}); remove it or choose another name with --bridge")]
    NotABridge {
        /// The name.
        interface: String,
        /// What it is.
        kind: LinkKind,
    },
    /// There is no interface of that name.
    #[error("there is no interface {interface}")]
    Missing {
        /// The name.
        interface: String,
    },
    /// An address was refused.
    #[error("the bridge cannot have the address {address}")]
    Address {
        /// The address.
        address: IpAddr,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// The network has IPv6, the host has not.
    #[error(
        "the bridge cannot have the address {address}: this host's kernel has IPv6 switched off; boot without \
         ipv6.disable=1, or make the cluster without --pool6"
    )]
    NoIpv6 {
        /// The address.
        address: IpAddr,
    },
    /// A setting was refused.
    #[error("{key} of {interface} cannot be set")]
    Sysctl {
        /// The interface.
        interface: String,
        /// The setting.
        key: &'static str,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// The kernel refused something else.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
}
