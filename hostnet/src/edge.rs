//! The container's edge: what may come out of a port of the bridge, and under which address it goes beyond the host.
//!
//! Owns the host's nftables tables of one bridge: static rules, and sets that say what each port may send. Decides nothing
//! about who has which address. Containers of one host reach each other through the bridge alone, so it is the kernel that
//! has to look.
//!
//! ```text
//!   attach ─ set_ports ─▶ sets: (port, MAC), (port, MAC, address) …     one message, no process
//!   start, flushed ─ load ─▶ nft -f -: rules and sets in one transaction
//! ```
//!
//! A port without a lease stays in the set of ports as long as its interface exists: whatever it sends is dropped.

mod nft;
mod nftables;
mod rules;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::veth;
use nftables::{Change, Family, Nftables, Verb};

pub use nft::NftError;

/// A port and what may come out of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuardedPort {
    /// The host's end of the pair; it need not exist yet.
    pub interface: String,
    /// The container's MAC.
    pub mac: [u8; 6],
    /// The container's addresses. The link-local one that belongs to the MAC comes by itself.
    pub addresses: Vec<IpAddr>,
    /// Under whose address it is seen beyond the host.
    pub outside: Outside,
}

/// Under whose address a container is seen by those who are not of its network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outside {
    /// Its own: whoever is to answer has to have a route to it.
    AsItself,
    /// The host's, of the interface by which a packet leaves it.
    AsTheHost,
}

/// What a call had to tell the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// Nothing: it was not asked, and whether it would have listened is not known.
    Nothing,
    /// Other ports, which it took.
    Ports,
}

/// What a look at the kernel's tables has shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checked {
    /// All was there.
    Whole,
    /// Something was missing, and is there again.
    Restored,
}

/// Frames dropped since the tables were made: by port, by reason.
pub type PortDrops = BTreeMap<String, BTreeMap<&'static str, u64>>;

/// The edge of one bridge.
#[derive(Debug)]
pub struct Edge {
    bridge: String,
    table: String,
    underlay_port: u16,
    ports: BTreeMap<String, GuardedPort>,
    /// Ports without a lease whose interfaces may still exist.
    left: BTreeSet<String>,
    loaded: Option<Loaded>,
}

/// What was made of the tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Loaded {
    extent: Extent,
    rules: Rules,
}

/// How much of the tables there is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Extent {
    /// What containers may send.
    Guard,
    /// And who is seen under the host's address.
    GuardAndMasquerade,
}

/// How many rules were made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Rules {
    bridge: usize,
    inet: usize,
}

impl Edge {
    /// An edge that the kernel knows nothing of until [`Self::load`].
    ///
    /// `underlay_port` is what no container reaches on the host, under any of the host's addresses.
    #[must_use]
    pub fn new(bridge: &str, underlay_port: u16) -> Self {
        let (ports, left) = (BTreeMap::new(), BTreeSet::new());
        Self { bridge: bridge.to_owned(), table: rules::table(bridge), underlay_port, ports, left, loaded: None }
    }

    /// Makes the tables, or makes them anew, in one transaction. Takes a few milliseconds, some ten more where there were tables.
    ///
    /// # Errors
    /// [`EdgeError`]; the kernel's tables are what they were, unless it is [`EdgeError::Unmasqueraded`].
    pub fn load(&mut self) -> Result<(), EdgeError> {
        let wanted = self.wanted_extent();
        match self.make(wanted) {
            Err(EdgeError::Unguarded { why }) if wanted == Extent::GuardAndMasquerade => {
                // A kernel that translates no addresses can still look at what is sent.
                let is_guarded = Nftables::open().is_ok_and(|mut nftables| self.is_whole(&mut nftables));
                if !is_guarded {
                    self.make(Extent::Guard)?;
                }
                Err(EdgeError::Unmasqueraded { why })
            }
            made => made,
        }
    }

    fn make(&mut self, extent: Extent) -> Result<(), EdgeError> {
        let former = Family::OURS.into_iter().filter(|family| self.may_have_table(*family));
        let text = rules::text(former, &self.bridge, self.underlay_port, extent, self.ports.values());
        nft::run(&text).map_err(|why| EdgeError::Unguarded { why })?;
        self.loaded = None;
        // Without its elements a port would be open: the sets of the text have those with a lease only.
        let left = self.left.iter().map(|name| name_key(name).to_vec()).collect();
        let mut nftables = Nftables::open().map_err(EdgeError::Kernel)?;
        let ports = Change { verb: Verb::Add, family: Family::Bridge, set: PORTS, keys: left };
        nftables.change(&self.table, &[ports]).map_err(EdgeError::Kernel)?;
        self.loaded = Some(Loaded { extent, rules: self.count(&mut nftables).map_err(EdgeError::Kernel)? });
        Ok(())
    }

    /// Says what the ports are from now on. Takes well under a millisecond, unless the tables have to be made again.
    ///
    /// # Errors
    /// [`EdgeError`]; what is wanted is remembered for [`Self::check`].
    pub fn set_ports(&mut self, wanted: impl IntoIterator<Item = GuardedPort>) -> Result<Told, EdgeError> {
        let wanted = wanted.into_iter().filter(|port| is_plain(&port.interface));
        let wanted: BTreeMap<_, _> = wanted.map(|port| (port.interface.clone(), port)).collect();
        if wanted == self.ports {
            return Ok(Told::Nothing);
        }
        let gone: Vec<_> =
            self.ports.values().filter(|port| wanted.get(&port.interface) != Some(port)).cloned().collect();
        let new: Vec<_> =
            wanted.values().filter(|port| self.ports.get(&port.interface) != Some(port)).cloned().collect();
        self.left.extend(gone.iter().map(|port| port.interface.clone()));
        self.left.retain(|name| !wanted.contains_key(name));
        self.ports = wanted;
        let Some(Loaded { extent, .. }) = self.loaded else {
            return Err(EdgeError::NotLoaded);
        };
        let removed = gone.iter().flat_map(|port| changes(Verb::Remove, port)).filter(|change| change.set != PORTS);
        let all = removed.chain(new.iter().flat_map(|port| changes(Verb::Add, port)));
        let all: Vec<_> = all.filter(|change| extent.has(change.family)).collect();
        match Nftables::open().and_then(|mut nftables| nftables.change(&self.table, &all)) {
            Ok(()) if extent.holds(self.wanted_extent()) => Ok(Told::Ports),
            // Nobody was masqueraded yet; or somebody has flushed something, and all of it is made again.
            Ok(()) | Err(_) => self.load().map(|()| Told::Ports),
        }
    }

    /// Looks whether the kernel has what it should have, and repairs it. Forgets ports whose interfaces are gone.
    ///
    /// # Errors
    /// [`EdgeError`].
    pub fn check(&mut self) -> Result<Checked, EdgeError> {
        let mut nftables = Nftables::open().map_err(EdgeError::Kernel)?;
        if !self.is_whole(&mut nftables) {
            // Where nothing can be loaded for long, ports come and go all the while.
            self.left.retain(|name| !is_gone(name));
            self.load()?;
            return Ok(Checked::Restored);
        }
        self.forget(&mut nftables).map_err(EdgeError::Kernel)?;
        if self.loaded.is_some_and(|loaded| loaded.extent.holds(self.wanted_extent())) {
            return Ok(Checked::Whole);
        }
        self.load().map(|()| Checked::Restored)
    }

    /// What was dropped, for every port that dropped anything.
    ///
    /// # Errors
    /// [`EdgeError`].
    pub fn drops(&self) -> Result<PortDrops, EdgeError> {
        let mut drops = PortDrops::new();
        if self.loaded.is_none() {
            return Ok(drops);
        }
        let mut nftables = Nftables::open().map_err(EdgeError::Kernel)?;
        for reason in rules::REASONS {
            for element in nftables.elements(Family::Bridge, &self.table, reason).map_err(EdgeError::Kernel)? {
                drops.entry(name_of(&element.key)).or_default().insert(reason, element.packets);
            }
        }
        Ok(drops)
    }

    /// Whether the host drops what containers say to each other: bridged frames pass its rules for what is forwarded, these drop
    /// what no rule accepts, and no rule knows the bridge, a port of it, a container's address, or the first one of a pool. Rules
    /// of `iptables-legacy` are not seen.
    ///
    /// # Errors
    /// [`EdgeError`].
    pub fn is_cut_by_host(&self, pools: &[Ipv4Addr]) -> Result<bool, EdgeError> {
        // Absent where `br_netfilter` is not loaded.
        if fs::read_to_string(BRIDGED_PASS_IPTABLES).is_ok_and(|value| value.trim() == "1") {
            return self.is_dropped_by_policy(pools).map_err(EdgeError::Kernel);
        }
        Ok(false)
    }

    fn is_dropped_by_policy(&self, pools: &[Ipv4Addr]) -> io::Result<bool> {
        let mut nftables = Nftables::open()?;
        let own = self.ports.values().flat_map(|port| ipv4_of(&port.addresses));
        let addresses = own.chain(pools.iter().copied()).map(|address| address.octets().to_vec());
        let names = self.ports.keys().chain([&self.bridge]).map(|name| name.as_bytes().to_vec());
        let known: BTreeSet<_> = addresses.chain(names).collect();
        for family in Family::WITH_IPV4 {
            for table in nftables.tables_that_drop_forwarded(family)? {
                if !nftables.has_rule_with(family, &table, &known)? {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// False only where the kernel says so.
    fn may_have_table(&self, family: Family) -> bool {
        Nftables::open().and_then(|mut nftables| nftables.has_table(family, &self.table)).unwrap_or(true)
    }

    fn count(&self, nftables: &mut Nftables) -> io::Result<Rules> {
        let mut count = |family| nftables.count_rules(family, &self.table);
        Ok(Rules { bridge: count(Family::Bridge)?, inet: count(Family::Inet)? })
    }

    /// Whether the kernel has all that was made.
    fn is_whole(&self, nftables: &mut Nftables) -> bool {
        let Some(Loaded { extent, rules }) = self.loaded else {
            return false;
        };
        let has_its_rules = self.count(nftables).is_ok_and(|there| there == rules);
        let has_its_elements = |set: Set| {
            let there = nftables.elements(set.family(), &self.table, set.name()).unwrap_or_default();
            let there: BTreeSet<_> = there.into_iter().map(|element| element.key).collect();
            let left = self.left.iter().filter(|_| set == Set::Ports).map(|name| name_key(name).to_vec());
            let wanted: BTreeSet<_> = self.ports.values().flat_map(|port| keys(set, port)).chain(left).collect();
            there == wanted
        };
        has_its_rules && Set::ALL.into_iter().filter(|set| extent.has(set.family())).all(has_its_elements)
    }

    fn wanted_extent(&self) -> Extent {
        let is_masqueraded = self.ports.values().any(|port| !port.masqueraded().is_empty());
        if is_masqueraded { Extent::GuardAndMasquerade } else { Extent::Guard }
    }

    fn forget(&mut self, nftables: &mut Nftables) -> io::Result<()> {
        let gone: BTreeSet<String> = self.left.iter().filter(|name| is_gone(name)).cloned().collect();
        let keys = gone.iter().map(|name| name_key(name).to_vec()).collect();
        let remove = |set, keys| Change { verb: Verb::Remove, family: Family::Bridge, set, keys };
        nftables.change(&self.table, &[remove(PORTS, keys)])?;
        self.left.retain(|name| !gone.contains(name));
        for set in rules::REASONS.into_iter().chain([rules::GROUPS]) {
            let there = nftables.elements(Family::Bridge, &self.table, set)?.into_iter().map(|element| element.key);
            let keys = there.filter(|key| !self.is_known(&name_of(key))).collect();
            nftables.change(&self.table, &[remove(set, keys)])?;
        }
        Ok(())
    }

    fn is_known(&self, name: &str) -> bool {
        self.ports.contains_key(name) || self.left.contains(name)
    }
}

impl Extent {
    /// Whether sets of that family are part of it.
    fn has(self, family: Family) -> bool {
        family == Family::Bridge || self == Self::GuardAndMasquerade
    }

    /// Whether all of the other is part of it.
    fn holds(self, other: Self) -> bool {
        self == other || self == Self::GuardAndMasquerade
    }
}

impl GuardedPort {
    /// Its IPv6 addresses, with the one that the kernel makes from the MAC (RFC 4291, appendix A).
    fn ipv6(&self) -> impl Iterator<Item = Ipv6Addr> {
        let [a, b, c, d, e, f] = self.mac;
        let own = Ipv6Addr::from([0xfe, 0x80, 0, 0, 0, 0, 0, 0, a ^ 2, b, c, 0xff, 0xfe, d, e, f]);
        std::iter::once(own).chain(ipv6_of(&self.addresses))
    }

    /// What is replaced by the host's own addresses beyond the host.
    fn masqueraded(&self) -> &[IpAddr] {
        match self.outside {
            Outside::AsTheHost => &self.addresses,
            Outside::AsItself => &[],
        }
    }
}

fn ipv4_of(addresses: &[IpAddr]) -> impl Iterator<Item = Ipv4Addr> {
    addresses.iter().filter_map(|address| match address {
        IpAddr::V4(address) => Some(*address),
        IpAddr::V6(_) => None,
    })
}

fn ipv6_of(addresses: &[IpAddr]) -> impl Iterator<Item = Ipv6Addr> {
    addresses.iter().filter_map(|address| match address {
        IpAddr::V6(address) => Some(*address),
        IpAddr::V4(_) => None,
    })
}

/// The sets that say what a port may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Set {
    /// Every port that is looked at.
    Ports,
    /// The MAC of each.
    Macs,
    /// Its IPv4 addresses, with the MAC.
    Addresses4,
    /// Its IPv6 addresses, with the MAC.
    Addresses6,
    /// What it may speak of in neighbour discovery.
    Targets6,
    /// The IPv4 addresses that nobody sees beyond the host.
    Masqueraded4,
    /// The same of IPv6.
    Masqueraded6,
}

impl Set {
    const ALL: [Self; 7] = [
        Self::Ports,
        Self::Macs,
        Self::Addresses4,
        Self::Addresses6,
        Self::Targets6,
        Self::Masqueraded4,
        Self::Masqueraded6,
    ];

    /// Frames are judged in one table, packets that leave the host in the other.
    fn family(self) -> Family {
        match self {
            Self::Ports | Self::Macs | Self::Addresses4 | Self::Addresses6 | Self::Targets6 => Family::Bridge,
            Self::Masqueraded4 | Self::Masqueraded6 => Family::Inet,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Ports => PORTS,
            Self::Macs => "macs",
            Self::Addresses4 => "addresses4",
            Self::Addresses6 => "addresses6",
            Self::Targets6 => "targets6",
            Self::Masqueraded4 => "masqueraded4",
            Self::Masqueraded6 => "masqueraded6",
        }
    }

    fn type_text(self) -> &'static str {
        match self {
            Self::Ports => "type ifname",
            Self::Macs => "type ifname . ether_addr",
            Self::Addresses4 => "type ifname . ether_addr . ipv4_addr",
            Self::Addresses6 => "type ifname . ether_addr . ipv6_addr",
            Self::Targets6 => "typeof iifname . @th,64,128",
            Self::Masqueraded4 => "type ipv4_addr",
            Self::Masqueraded6 => "type ipv6_addr",
        }
    }
}

const PORTS: &str = "ports";
/// Whether bridged IPv4 passes the hooks of `iptables`, in the network namespace of the thread that asks.
const BRIDGED_PASS_IPTABLES: &str = "/proc/sys/net/bridge/bridge-nf-call-iptables";

fn changes(verb: Verb, port: &GuardedPort) -> impl Iterator<Item = Change<'static>> {
    Set::ALL.into_iter().map(move |set| Change { verb, family: set.family(), set: set.name(), keys: keys(set, port) })
}

/// The elements of a port as the kernel lays them out: each part begins at a multiple of four bytes.
fn keys(set: Set, port: &GuardedPort) -> Vec<Vec<u8>> {
    let name = name_key(&port.interface);
    let mac = [port.mac.as_slice(), &[0, 0]].concat();
    let key = |parts: &[&[u8]]| [&[name.as_slice()], parts].concat().concat();
    match set {
        Set::Ports => vec![name.to_vec()],
        Set::Macs => vec![key(&[&mac])],
        Set::Addresses4 => ipv4_of(&port.addresses).map(|address| key(&[&mac, &address.octets()])).collect(),
        Set::Addresses6 => port.ipv6().map(|address| key(&[&mac, &address.octets()])).collect(),
        Set::Targets6 => port.ipv6().map(|address| key(&[&address.octets()])).collect(),
        Set::Masqueraded4 => ipv4_of(port.masqueraded()).map(|address| address.octets().to_vec()).collect(),
        Set::Masqueraded6 => ipv6_of(port.masqueraded()).map(|address| address.octets().to_vec()).collect(),
    }
}

/// IFNAMSIZ: an interface's name, filled up with zeros.
fn name_key(name: &str) -> [u8; 16] {
    let mut key = [0; 16];
    key.iter_mut().zip(name.bytes()).for_each(|(to, byte)| *to = byte);
    key
}

fn name_of(key: &[u8]) -> String {
    let name: Vec<u8> = key.iter().copied().take(16).take_while(|byte| *byte != 0).collect();
    String::from_utf8_lossy(&name).into_owned()
}

/// Only where the kernel says so.
fn is_gone(interface: &str) -> bool {
    matches!(veth::owner_of(interface), Ok(None))
}

/// Names of ours always are; others would mean something else to `nft`.
fn is_plain(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    (1..=15).contains(&name.len()) && name.bytes().all(plain)
}

/// Why the edge does not look, or does not do all that it is to.
#[derive(Debug, thiserror::Error)]
pub enum EdgeError {
    /// No rules could be loaded.
    #[error("containers can send with others' addresses: {why}")]
    Unguarded {
        /// Why.
        why: NftError,
    },
    /// Containers are looked at, but the rules that masquerade could not be loaded.
    #[error("containers with \"ipMasq\" have no way out: {why}")]
    Unmasqueraded {
        /// Why.
        why: NftError,
    },
    /// The rules have never been loaded.
    #[error("containers can send with others' addresses: the rules are not loaded")]
    NotLoaded,
    /// The kernel refused something else.
    #[error("the kernel's nftables did not answer as expected")]
    Kernel(#[source] io::Error),
}

#[cfg(test)]
mod tests;
