//! ADD: a lease from the router, a cable into the container, a result.
//!
//! Owns the order of the steps and their undoing. What is cheap to check is checked before anything is taken.

use std::net::IpAddr;

use control_api::{Lease, LeaseRequest, OwnerKind};
use hostnet::link::Prefix;
use hostnet::netns::Netns;
use hostnet::veth::{self, Attach, Attached, Hairpin, Route};

use crate::config::SMALLEST_IPV6_MTU;
use crate::delegate::Delegate;
use crate::fault::{Code, Fault};
use crate::request::{Add, Target};
use crate::router::{self, Unanswered};
use crate::wishes::{mac_text, parse_mac};
use crate::{detach, note};

/// What the container has got.
#[derive(Debug, Clone)]
pub(crate) struct Outcome {
    pub(crate) attached: Attached,
    pub(crate) mac: [u8; 6],
    pub(crate) mtu_bytes: u32,
    pub(crate) addresses: Vec<Address>,
}

/// An address of the container and the gateway of its family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) prefix: Prefix,
    pub(crate) gateway: IpAddr,
}

/// Carries out an ADD. On an error nothing is left. What a delegate decides becomes part of what is asked for.
pub(crate) fn attach(add: &mut Add, delegate: Option<&Delegate>) -> Result<Outcome, Fault> {
    let netns = Netns::open(&add.netns)?;
    ensure_free(&add.target, &netns)?;
    for key in &add.unknown_keys {
        note(&format!("the key {key:?} of network {:?} is not known", add.target.cni_network));
    }
    let Some(delegate) = delegate else { return attach_leased(add, &netns) };
    let decided = delegate.add()?;
    add.take_over(decided).and_then(|()| attach_leased(add, &netns)).inspect_err(|fault| {
        if fault.code != Code::Duplicate {
            delegate.take_back();
        }
    })
}

fn attach_leased(add: &Add, netns: &Netns) -> Result<Outcome, Fault> {
    let lease = lease(add)?;
    plug(add, &lease, netns).inspect_err(|fault| {
        // What is there already has this lease.
        if fault.code != Code::Duplicate {
            give_back(&add.target);
        }
    })
}

/// Undoes an ADD whose result nobody took.
pub(crate) fn undo(target: &Target) {
    if let Err(fault) = detach::detach(target) {
        note(&format!("what was attached could not be removed: {}", fault.message));
    }
}

/// A second ADD of the same attachment is the runtime's mistake; answering it would hide which of the two is in use.
fn ensure_free(target: &Target, netns: &Netns) -> Result<(), Fault> {
    let interface = target.host_interface();
    if let Some(owner) = veth::owner_of(&interface)? {
        return Err(duplicate(target, &interface, &owner));
    }
    if veth::exists(netns, &target.ifname)? {
        let (ifname, path) = (&target.ifname, netns.path().display());
        return Err(Fault::new(Code::InterfaceExists, format!("an interface {ifname} already exists in {path}")));
    }
    Ok(())
}

fn duplicate(target: &Target, interface: &str, owner: &str) -> Fault {
    let Target { container_id, ifname, cni_network, .. } = target;
    let message = format!("{ifname} of container {container_id} is already attached to network {cni_network}");
    Fault::new(Code::Duplicate, message)
        .with_details(format!("the host has {interface} of {owner:?}; DEL the attachment first"))
}

/// Carries out an ADD as an IPAM plugin: an address, and nothing else.
pub(crate) fn allocate(add: &Add) -> Result<Vec<Address>, Fault> {
    lease(add).map(|lease| addresses(&lease))
}

fn lease(add: &Add) -> Result<Lease, Fault> {
    let target = &add.target;
    let request = LeaseRequest {
        network: target.place.network.clone(),
        cni_network: target.cni_network.clone(),
        container_id: target.container_id.clone(),
        ifname: target.ifname.clone(),
        // The router stands somewhere else.
        netns: Some(
            std::path::absolute(&add.netns).map_or_else(|_| add.netns.clone(), |path| path.display().to_string()),
        ),
        workload: add.wishes.workload.clone(),
        sticky: add.wishes.workload.is_some(),
        address: add.wishes.address,
        address6: add.wishes.address6,
        mac: add.wishes.mac.map(mac_text),
        hold_s: add.settings.hold_s,
        take_over: add.wishes.take_over,
        host_interface: target.host_interface(),
        masquerade: add.settings.masquerade,
        owner_kind: OwnerKind::Cni,
    };
    let answer = router::call_until_answered(&target.place, router::ADD_WITHIN, |client| client.lease(request.clone()));
    answer.map_err(|Unanswered { wrong, is_doubtful }| {
        if is_doubtful {
            // Nobody will use it. The router reads the spool before its next lease.
            let _ = router::spool_release(target);
        }
        Fault::from(wrong).outside_status()
    })
}

fn plug(add: &Add, lease: &Lease, netns: &Netns) -> Result<Outcome, Fault> {
    let mac = parse_mac(&lease.mac)
        .ok_or_else(|| Fault::new(Code::DataPath, format!("the router gave the MAC {:?}", lease.mac)))?;
    let addresses = addresses(lease);
    let mtu_bytes = mtu(add, lease, &addresses)?;
    let routes = routes(add, &addresses)?;
    let prefixes: Vec<_> = addresses.iter().map(|address| address.prefix).collect();
    let attached = veth::attach(&Attach {
        bridge: &lease.bridge,
        host_interface: &add.target.host_interface(),
        owner: &add.target.owner(),
        netns,
        ifname: &add.target.ifname,
        mac,
        mtu_bytes,
        hairpin: if add.settings.hairpin { Hairpin::On } else { Hairpin::Off },
        addresses: &prefixes,
        routes: &routes,
    })?;
    Ok(Outcome { attached, mac, mtu_bytes, addresses })
}

fn addresses(lease: &Lease) -> Vec<Address> {
    let prefix = Prefix { address: lease.address.address.into(), length: lease.address.prefix };
    let mut addresses = vec![Address { prefix, gateway: lease.gateway.into() }];
    if let (Some(address), Some(gateway)) = (lease.address6, lease.gateway6) {
        let prefix = Prefix { address: address.address.into(), length: address.prefix };
        addresses.push(Address { prefix, gateway: gateway.into() });
    }
    addresses
}

/// What was asked for, but never more than the overlay carries: what does not fit would only be cut in pieces.
fn mtu(add: &Add, lease: &Lease, addresses: &[Address]) -> Result<u32, Fault> {
    let Some(wanted) = add.settings.mtu_bytes else {
        return Ok(lease.mtu_bytes);
    };
    if wanted > lease.mtu_bytes {
        note(&format!("mtu {wanted} does not fit the overlay, {} is used", lease.mtu_bytes));
    }
    let has_ipv6 = addresses.iter().any(|address| address.prefix.address.is_ipv6());
    if has_ipv6 && wanted < SMALLEST_IPV6_MTU {
        return Err(Fault::new(Code::Config, format!("mtu {wanted} is too small for IPv6, which the network has"))
            .with_details(format!("IPv6 needs {SMALLEST_IPV6_MTU} bytes")));
    }
    Ok(wanted.min(lease.mtu_bytes))
}

fn routes(add: &Add, addresses: &[Address]) -> Result<Vec<Route>, Fault> {
    let mut routes = Vec::new();
    if add.settings.default_gateway {
        let defaults = addresses.iter().map(|address| Route {
            destination: if address.gateway.is_ipv4() { Prefix::ALL_V4 } else { Prefix::ALL_V6 },
            gateway: Some(address.gateway),
        });
        let wanted = &add.settings.routes;
        let is_wanted_elsewhere =
            |own: &Route| wanted.iter().any(|wanted| wanted.gateway.is_some() && wanted.leads_to(own.destination));
        routes.extend(defaults.filter(|own| !is_wanted_elsewhere(own)));
    }
    for wanted in &add.settings.routes {
        let family = |address: &&Address| address.gateway.is_ipv4() == wanted.destination.address.is_ipv4();
        let own = addresses.iter().find(family).map(|address| address.gateway);
        let gateway = wanted.gateway.or(own).ok_or_else(|| {
            Fault::new(Code::Config, format!("routes: the network has no gateway for {}", wanted.destination))
        })?;
        match routes.iter().find(|route| wanted.leads_to(route.destination)).and_then(|route| route.gateway) {
            None => routes.push(Route { destination: wanted.destination, gateway: Some(gateway) }),
            Some(other) if other == gateway => {}
            // The kernel takes the first, and the second would go without a word.
            Some(other) => {
                let destination = wanted.destination;
                let message = format!("routes: {destination} cannot lead to {other} and to {gateway}");
                return Err(Fault::new(Code::Config, message));
            }
        }
    }
    Ok(routes)
}

/// Gives back a lease that nobody will use.
pub(crate) fn give_back(target: &Target) {
    if let Err(fault) = router::release(target) {
        note(&format!("the lease could not be given back: {}", fault.message));
    }
}

#[cfg(test)]
mod tests;
