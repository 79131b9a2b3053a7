//! The rules of the edge, as `nft` reads them.
//!
//! Owns the text: one table of the family `bridge` for what comes out of a container's port, one of the family `inet` for
//! what reaches the host itself or goes beyond it. Knows nothing of netlink.
//!
//! ```text
//!   port ─▶ prerouting ─ a port of ours? ─▶ edge: to a group? which protocol? ─┬▶ IPv4 ──┐
//!                                                                              ├▶ ARP ───┼▶ accept
//!                      a frame that fails is counted for its port and dropped  └▶ IPv6 ──┘
//! ```

use std::fmt::Write as _;
use std::net::IpAddr;

use super::nftables::Family;
use super::{Extent, GuardedPort, Set, ipv4_of, ipv6_of};

/// The table's name, in both families: one for each bridge, so that several routers share a host.
pub(super) fn table(bridge: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' };
    format!("raddle-{}", bridge.chars().map(plain).collect::<String>())
}

/// One transaction: both tables, with what these ports may send; anew in the families that have one.
pub(super) fn text<'a>(
    former: impl Iterator<Item = Family>,
    bridge: &str,
    underlay_port: u16,
    extent: Extent,
    ports: impl Iterator<Item = &'a GuardedPort> + Clone,
) -> String {
    let table = table(bridge);
    let mut text = String::new();
    // Not where there is none: a transaction that deletes is over for `nft` only when all readers of the rules have let go.
    for family in former.map(Family::name) {
        let _ = writeln!(text, "table {family} {table} {{}}\ndelete table {family} {table}");
    }
    let _ = writeln!(text, "table bridge {table} {{");
    sets(&mut text, Family::Bridge, &ports);
    for reason in REASONS {
        // As many as there are interfaces on any host.
        let _ = writeln!(text, "set {reason} {{ type ifname; size 65535; flags dynamic; }}");
        let _ = writeln!(text, "chain drop-{reason} {{ update @{reason} {{ iifname counter }} drop\n}}");
    }
    let _ = writeln!(text, "set {GROUPS} {{ type ifname; size 65535; flags dynamic,timeout; timeout 1m; }}");
    text.push_str(CHAINS);
    text.push_str("}\n");
    let _ = writeln!(text, "table inet {table} {{\n{}", beyond(bridge, underlay_port));
    if extent == Extent::GuardAndMasquerade {
        sets(&mut text, Family::Inet, &ports);
        text.push_str(&masquerade(bridge));
    }
    text.push_str("}\n");
    text
}

fn sets<'a>(text: &mut String, family: Family, ports: &(impl Iterator<Item = &'a GuardedPort> + Clone)) {
    for set in Set::ALL.into_iter().filter(|set| set.family() == family) {
        let _ = writeln!(text, "set {} {{ {};", set.name(), set.type_text());
        let elements: Vec<_> = ports.clone().flat_map(|port| elements(set, port)).collect();
        if !elements.is_empty() {
            let _ = writeln!(text, "elements = {{ {} }}", elements.join(",\n"));
        }
        text.push_str("}\n");
    }
}

/// No container reaches a router's port, of this host or through it of another. What leaves by another interface than the
/// bridge leaves the network; where bridged packets pass these hooks too (`br_netfilter`), they leave by the bridge.
fn beyond(bridge: &str, underlay_port: u16) -> String {
    let mut text = String::new();
    for (hook, out) in [("input", String::new()), ("forward", format!("oifname != \"{bridge}\" "))] {
        let _ = writeln!(
            text,
            "chain {hook} {{ type filter hook {hook} priority -300; policy accept;\n\
             iifname \"{bridge}\" {out}meta l4proto {{ tcp, udp }} th dport {underlay_port} counter drop\n}}"
        );
    }
    text
}

/// Only where a port wants it: whoever asks for address translation has the kernel track every connection, and with
/// `br_netfilter` those within the bridge too. For the first port that does, the tables are made anew.
fn masquerade(bridge: &str) -> String {
    format!(
        "chain postrouting {{ type nat hook postrouting priority 100; policy accept;\n\
         oifname != \"{bridge}\" ip saddr @{} masquerade\n\
         oifname != \"{bridge}\" ip6 saddr @{} masquerade\n}}\n",
        Set::Masqueraded4.name(),
        Set::Masqueraded6.name(),
    )
}

fn elements(set: Set, port: &GuardedPort) -> Vec<String> {
    let name = &port.interface;
    let mac = port.mac.map(|byte| format!("{byte:02x}")).join(":");
    let addresses = port.addresses.iter();
    match set {
        Set::Ports => vec![format!("\"{name}\"")],
        Set::Macs => vec![format!("\"{name}\" . {mac}")],
        Set::Addresses4 => addresses
            .filter(|address| address.is_ipv4())
            .map(|address| format!("\"{name}\" . {mac} . {address}"))
            .collect(),
        Set::Addresses6 => port.ipv6().map(|address| format!("\"{name}\" . {mac} . {}", IpAddr::V6(address))).collect(),
        Set::Targets6 => port.ipv6().map(|address| format!("\"{name}\" . {:#034x}", address.to_bits())).collect(),
        Set::Masqueraded4 => ipv4_of(port.masqueraded()).map(|address| address.to_string()).collect(),
        Set::Masqueraded6 => ipv6_of(port.masqueraded()).map(|address| address.to_string()).collect(),
    }
}

/// Why a frame is dropped here, by the words the router uses for its own drops: each is a set with a counter for each port.
pub(super) const REASONS: [&str; 9] = [
    "vlan-tag",
    "link-control",
    "source-mac",
    "source-address",
    "router-discovery",
    "dhcp-server",
    "protocol",
    "malformed",
    "broadcast-rate",
];

/// Which ports have sent to groups, and how fast.
pub(super) const GROUPS: &str = "groups";

/// Before anybody else's rules: nobody shall see a frame that its port may not send. Reserved group addresses do not pass
/// `prerouting` unless the bridge forwards them, so `input` looks for them again.
///
/// The order is that of what containers send most: for its addresses, a TCP segment takes one look into a set.
///
/// What goes to a group reaches everybody, so each port has a rate for it: requests of a hundred neighbours at once pass, a loop
/// or a flood does not use up what the host replicates for all of them.
///
/// Fragments of further headers could end before it shows what they carry (RFC 7112), so the transport header has to follow: its
/// first eight bytes, with the type in them, are then in every first fragment. Later ones are worth nothing without it.
///
/// A neighbour advertisement is judged by the address it is about, and so is the question whether an address is taken;
/// both are at the same place (RFC 4861 §4.3, §4.4). An ARP probe (RFC 5227) has no sender's address.
const CHAINS: &str = "
chain group {
    ether daddr & ff:ff:ff:ff:ff:f0 == 01:80:c2:00:00:00 goto drop-link-control
    iifname . ether saddr != @macs goto drop-source-mac
    update @groups { iifname limit rate over 500/second burst 1000 packets } goto drop-broadcast-rate
}
chain wrong-source {
    iifname . ether saddr != @macs goto drop-source-mac
    goto drop-source-address
}
chain neighbour {
    iifname . @th,64,128 @targets6 accept
    goto drop-source-address
}
chain from-ipv4 {
    iifname . ether saddr . ip saddr != @addresses4 goto wrong-source
    meta l4proto tcp accept
    udp sport 67 goto drop-dhcp-server
    icmp type { redirect, router-advertisement } goto drop-router-discovery
    accept
}
chain from-arp {
    iifname . ether saddr != @macs goto drop-source-mac
    arp htype != 1 goto drop-malformed
    arp ptype != ip goto drop-malformed
    arp hlen != 6 goto drop-malformed
    arp plen != 4 goto drop-malformed
    iifname . arp saddr ether . arp saddr ip @addresses4 accept
    arp saddr ip 0.0.0.0 iifname . arp saddr ether @macs accept
    goto drop-source-address
}
chain without-address {
    iifname . ether saddr != @macs goto drop-source-mac
    icmpv6 type nd-neighbor-solicit goto neighbour
    icmpv6 type { mld-listener-report, mld-listener-done, mld2-listener-report } accept
    goto drop-source-address
}
chain from-ipv6 {
    frag nexthdr { 0, 43, 44, 60, 135, 139, 140 } goto drop-malformed
    icmpv6 type { nd-router-advert, nd-redirect } goto drop-router-discovery
    ip6 saddr :: goto without-address
    iifname . ether saddr . ip6 saddr != @addresses6 goto wrong-source
    meta l4proto tcp accept
    icmpv6 type nd-neighbor-advert goto neighbour
    udp sport 547 goto drop-dhcp-server
    accept
}
chain other {
    iifname . ether saddr != @macs goto drop-source-mac
    goto drop-protocol
}
chain edge {
    ether daddr & 01:00:00:00:00:00 == 01:00:00:00:00:00 jump group
    ether type vmap { ip : goto from-ipv4, ip6 : goto from-ipv6, arp : goto from-arp, 8021q : goto drop-vlan-tag, 8021ad : goto drop-vlan-tag, 0x9100 : goto drop-vlan-tag }
    goto other
}
chain prerouting {
    type filter hook prerouting priority -400; policy accept;
    iifname @ports goto edge
}
chain input {
    type filter hook input priority -400; policy accept;
    ether daddr & ff:ff:ff:ff:ff:f0 == 01:80:c2:00:00:00 iifname @ports goto drop-link-control
}
";
