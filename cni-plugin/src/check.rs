//! CHECK: is everything as ADD left it?
//!
//! Owns the comparison of the chain's result, the lease, and what is really there. Changes nothing.

use std::net::IpAddr;

use control_api::{ClientError, ErrorKind, Lease};
use hostnet::link::{Link, Prefix};
use hostnet::netns::Netns;
use hostnet::veth::{self, Observed, Port, Route};
use serde_json::Value;

use crate::fault::{Code, Fault};
use crate::request::{Check, Target};
use crate::router;
use crate::wishes::{mac_text, parse_mac};

/// What the chain's result says of the container's interface.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Promised {
    mac: Option<[u8; 6]>,
    mtu_bytes: Option<u64>,
    /// Of the host's end.
    host_mtu_bytes: Option<u64>,
    addresses: Vec<Prefix>,
    routes: Vec<(Prefix, Option<IpAddr>)>,
}

/// Carries out a CHECK.
pub(crate) fn check(check: &Check) -> Result<(), Fault> {
    let target = &check.target;
    let promised = Promised::of(&check.previous, target)?;
    let netns = Netns::open(&check.netns)?;
    let lease = router::call(&target.place, router::ADD_WITHIN, |client| client.check(target.attachment()));
    let lease = lease.map_err(|wrong| lease_fault(target, wrong))?;
    let observed = veth::observe(&netns, &target.ifname, &target.host_interface(), &lease.bridge)?;
    let mut missing = inside(target, &promised, &lease, &observed);
    missing.extend(outside(target, &promised, &lease, &observed));
    if missing.is_empty() {
        return Ok(());
    }
    Err(Fault::new(Code::Changed, missing.join("; ")))
}

/// Reads what a CHECK would compare.
pub(crate) fn read(check: &Check) -> Result<(), Fault> {
    Promised::of(&check.previous, &check.target).map(|_| ())
}

/// As an IPAM plugin: is the address still the attachment's?
pub(crate) fn verify(target: &Target) -> Result<(), Fault> {
    let lease = router::call(&target.place, router::ADD_WITHIN, |client| client.check(target.attachment()));
    lease.map(|_| ()).map_err(|wrong| lease_fault(target, wrong))
}

impl Promised {
    fn of(result: &Value, target: &Target) -> Result<Self, Fault> {
        let ifname = &target.ifname;
        let interfaces = list(result, "interfaces");
        let named = |interface: &Value, name: &str| interface.get("name").and_then(Value::as_str) == Some(name);
        let is_ours = |interface: &&Value| {
            named(interface, ifname)
                && interface.get("sandbox").and_then(Value::as_str).is_some_and(|sandbox| !sandbox.is_empty())
        };
        let Some(position) = interfaces.iter().position(|interface| is_ours(&interface)) else {
            return Err(Fault::new(Code::Config, format!("prevResult has no interface {ifname} in a sandbox")));
        };
        let ours = interfaces.get(position);
        let host = interfaces.iter().find(|interface| named(interface, &target.host_interface()));
        let mtu = |interface: Option<&Value>| {
            interface.and_then(|interface| interface.get("mtu")).and_then(Value::as_u64).filter(|mtu| *mtu > 0)
        };
        let text = |key| ours.and_then(|ours| ours.get(key)).and_then(Value::as_str);
        Ok(Self {
            mac: text("mac").and_then(|mac| parse_mac(&mac.to_ascii_lowercase())),
            mtu_bytes: mtu(ours),
            host_mtu_bytes: mtu(host),
            addresses: list(result, "ips").iter().filter_map(|ip| address_at(ip, position)).collect(),
            routes: list(result, "routes").iter().filter_map(route).collect(),
        })
    }
}

/// What is wrong with the container's end.
fn inside(target: &Target, promised: &Promised, lease: &Lease, observed: &Observed) -> Vec<String> {
    let Some(container) = &observed.container else {
        return vec![format!("the interface {} is missing in the container", target.ifname)];
    };
    let mut missing = mac(container, promised, lease);
    missing.extend(other_mtu(container, promised.mtu_bytes));
    let leased = Prefix { address: lease.address.address.into(), length: lease.address.prefix };
    let leased6 = lease.address6.map(|six| Prefix { address: six.address.into(), length: six.prefix });
    let mut addresses: Vec<_> = [Some(leased), leased6].into_iter().flatten().collect();
    addresses
        .extend(promised.addresses.iter().filter(|address| !addresses.contains(address)).copied().collect::<Vec<_>>());
    for address in addresses.iter().filter(|address| !container.addresses.contains(address)) {
        missing.push(format!("the address {address} of {} is missing", target.ifname));
    }
    for (destination, gateway) in promised.routes.iter().filter(|route| !is_there(route, &observed.routes)) {
        let through = gateway.map(|gateway| format!(" through {gateway}")).unwrap_or_default();
        missing.push(format!("the route to {destination}{through} is missing"));
    }
    missing
}

/// Only the lease's MAC works: neither one that a later plugin has set, nor one that was changed by hand.
fn mac(container: &Link, promised: &Promised, lease: &Lease) -> Vec<String> {
    let leased = parse_mac(&lease.mac);
    let shown = |mac: Option<[u8; 6]>| mac.map_or_else(|| "none".to_owned(), mac_text);
    let mut missing = Vec::new();
    if container.mac != leased {
        let wrong = format!("the MAC of {} is {}, not {}", container.name, shown(container.mac), lease.mac);
        missing
            .push(format!("{wrong}: every host knows the one of its lease; ask for another by the \"mac\" capability"));
    } else if promised.mac.is_some() && promised.mac != leased {
        let wrong = format!("prevResult has the MAC {} instead of {}", shown(promised.mac), lease.mac);
        missing
            .push(format!("{wrong}: every host knows the one of its lease; ask for another by the \"mac\" capability"));
    }
    missing
}

/// What is wrong on the host.
fn outside(target: &Target, promised: &Promised, lease: &Lease, observed: &Observed) -> Vec<String> {
    let interface = target.host_interface();
    let (Some(host), Some(bridge)) = (&observed.host, &observed.bridge) else {
        let missing = if observed.host.is_none() { &interface } else { &lease.bridge };
        return vec![format!("the interface {missing} is missing on the host")];
    };
    if host.controller != Some(bridge.index) {
        return vec![format!("{interface} is not a port of the bridge {}", lease.bridge)];
    }
    let mut missing = Vec::new();
    if observed.port == Port::Fenced {
        missing.push(format!("the port {interface} lets nothing pass"));
    }
    missing.extend(other_mtu(host, promised.host_mtu_bytes));
    if parse_mac(&lease.mac).is_some_and(|mac| !observed.macs.contains(&mac)) {
        missing.push(format!("the bridge {} has no forwarding entry for {} at {interface}", bridge.name, lease.mac));
    }
    let gateways = [Some(lease.gateway.into()), lease.gateway6.map(IpAddr::from)];
    let has = |gateway: IpAddr| bridge.addresses.iter().any(|prefix| prefix.address == gateway);
    let lost = gateways.into_iter().flatten().filter(|gateway| !has(*gateway));
    missing.extend(lost.map(|gateway| format!("the bridge {} has lost the gateway's address {gateway}", bridge.name)));
    missing
}

fn other_mtu(link: &Link, promised: Option<u64>) -> Option<String> {
    let promised = promised.filter(|mtu| *mtu != u64::from(link.mtu_bytes))?;
    Some(format!("the MTU of {} is {}, not {promised}", link.name, link.mtu_bytes))
}

fn is_there((destination, gateway): &(Prefix, Option<IpAddr>), routes: &[Route]) -> bool {
    // A route without a gateway in a result may have got one by the plugin that made it.
    let fits = |route: &&Route| route.destination == *destination && (gateway.is_none() || route.gateway == *gateway);
    routes.iter().any(|route| fits(&route))
}

fn lease_fault(target: &Target, wrong: ClientError) -> Fault {
    match wrong {
        ClientError::Refused(refusal) if refusal.code == ErrorKind::Unknown => Fault {
            code: Code::Changed,
            message: format!("{} of container {} has no lease", target.ifname, target.container_id),
            details: Some(refusal.message),
            foreign: None,
        },
        ClientError::Refused(_)
        | ClientError::Unreachable { .. }
        | ClientError::TimedOut { .. }
        | ClientError::RequestTooLong { .. }
        | ClientError::Protocol { .. } => Fault::from(wrong).outside_status(),
    }
}

fn list<'a>(result: &'a Value, key: &str) -> &'a [Value] {
    result.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// An address that the result gives to our interface, or to none in particular.
fn address_at(ip: &Value, position: usize) -> Option<Prefix> {
    let interface = ip.get("interface").and_then(Value::as_u64);
    let ours = interface.is_none_or(|index| usize::try_from(index) == Ok(position));
    ip.get("address").and_then(Value::as_str).filter(|_| ours)?.parse().ok()
}

fn route(route: &Value) -> Option<(Prefix, Option<IpAddr>)> {
    let text = |key| route.get(key).and_then(Value::as_str);
    Some((text("dst")?.parse().ok()?, text("gw").and_then(|gateway| gateway.parse().ok())))
}

#[cfg(test)]
mod tests;
