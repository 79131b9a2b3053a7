//! What goes to stdout: one JSON document, in the shape of the version that was asked for.
//!
//! Owns the shapes (CNI 1.1, section 5). Decides nothing.

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::attach::{Address, Outcome};
use crate::config::WantedRoute;
use crate::fault::Fault;
use crate::request::Add;
use crate::version::Version;
use crate::wishes::mac_text;

/// The answer to an ADD.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Added {
    cni_version: &'static str,
    interfaces: Vec<Value>,
    ips: Vec<Value>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    routes: Vec<Value>,
    dns: Value,
}

impl Added {
    /// The result of this plugin behind what the plugins before it have said.
    pub(crate) fn of(version: Version, add: &Add, outcome: &Outcome) -> Self {
        let earlier = |key| {
            let list = add.previous.as_ref().and_then(|previous| previous.get(key)).and_then(Value::as_array);
            list.cloned().unwrap_or_default()
        };
        let mut interfaces = earlier("interfaces");
        // Of the three that follow the container's is the last.
        let index = interfaces.len() + 2;
        interfaces.extend(own_interfaces(version, add, outcome));
        let mut ips = earlier("ips");
        ips.extend(own_ips(version, outcome, index));
        let mut routes = earlier("routes");
        let own = outcome.attached.routes.iter().map(|route| match route.gateway {
            Some(gateway) => json!({"dst": route.destination.to_string(), "gw": gateway.to_string()}),
            None => json!({"dst": route.destination.to_string()}),
        });
        routes.extend(own);
        let earlier_dns = add.previous.as_ref().and_then(|previous| previous.get("dns")).filter(|dns| dns.is_object());
        let own_dns = Some(&add.settings.dns).filter(|dns| dns.as_object().is_some_and(|dns| !dns.is_empty()));
        let dns = own_dns.or(earlier_dns).cloned().unwrap_or_else(|| Value::Object(Map::new()));
        Self { cni_version: version.as_str(), interfaces, ips, routes, dns }
    }

    pub(crate) fn document(&self) -> Value {
        serde_json::to_value(self).unwrap_or_default()
    }
}

/// Bridge, host's end, container's end, in this order: a firewall plugin looks for the bridge first.
fn own_interfaces(version: Version, add: &Add, outcome: &Outcome) -> [Value; 3] {
    let attached = &outcome.attached;
    let interface = |name: &str, mac: Option<[u8; 6]>, mtu_bytes: u32| {
        let mut interface = Map::new();
        interface.insert("name".to_owned(), name.into());
        if let Some(mac) = mac {
            interface.insert("mac".to_owned(), mac_text(mac).into());
        }
        if version.tells_mtu() {
            interface.insert("mtu".to_owned(), mtu_bytes.into());
        }
        interface
    };
    let mut inside = interface(&add.target.ifname, Some(outcome.mac), outcome.mtu_bytes);
    inside.insert("sandbox".to_owned(), add.netns.clone().into());
    [
        interface(&attached.bridge.name, attached.bridge.mac, attached.bridge.mtu_bytes).into(),
        interface(&attached.host.name, attached.host.mac, attached.host.mtu_bytes).into(),
        inside.into(),
    ]
}

fn own_ips(version: Version, outcome: &Outcome, index: usize) -> impl Iterator<Item = Value> {
    ips(version, &outcome.addresses).map(move |mut ip| {
        ip.insert("interface".to_owned(), index.into());
        ip.into()
    })
}

fn ips(version: Version, addresses: &[Address]) -> impl Iterator<Item = Map<String, Value>> {
    addresses.iter().map(move |address| {
        let mut ip = Map::new();
        ip.insert("address".to_owned(), address.prefix.to_string().into());
        ip.insert("gateway".to_owned(), address.gateway.to_string().into());
        if version.numbers_ips() {
            let family = if address.prefix.address.is_ipv4() { "4" } else { "6" };
            ip.insert("version".to_owned(), family.into());
        }
        ip
    })
}

/// The answer to an ADD as an IPAM plugin: addresses, and no interface.
pub(crate) fn allocated(version: Version, add: &Add, addresses: &[Address]) -> Value {
    let ips: Vec<Value> = ips(version, addresses).map(Value::from).collect();
    let route = |route: &WantedRoute| match route.gateway {
        Some(gateway) => json!({"dst": route.destination.to_string(), "gw": gateway.to_string()}),
        None => json!({"dst": route.destination.to_string()}),
    };
    let routes: Vec<Value> = add.settings.routes.iter().map(route).collect();
    json!({"cniVersion": version.as_str(), "ips": ips, "routes": routes, "dns": add.settings.dns})
}

/// The answer to VERSION.
pub(crate) fn versions(asked: &str) -> Value {
    json!({"cniVersion": asked, "supportedVersions": Version::ALL.map(Version::as_str)})
}

/// The answer to a call that failed.
pub(crate) fn fault(version: Version, fault: &Fault) -> Value {
    let mut document = json!({"cniVersion": version.as_str(), "code": fault.number(), "msg": fault.message});
    if let (Some(details), Some(document)) = (&fault.details, document.as_object_mut()) {
        document.insert("details".to_owned(), details.clone().into());
    }
    document
}

#[cfg(test)]
mod tests;
