//! The network configuration that comes on stdin.
//!
//! Owns its keys, their types and their defaults. Knows nothing of what is done with them.
//!
//! | key | value | default |
//! |---|---|---|
//! | `network` | the raddle network | `raddle` |
//! | `controlSocket` | where the router listens | `$RADDLE_CONTROL_SOCKET`, `/run/raddle/control.sock` |
//! | `dataDir` | the router's data directory, for the spool | `$RADDLE_DATA_DIR`, `/var/lib/raddle` |
//! | `hold` | seconds an address is held after DEL, or `"forever"` | the router's |
//! | `takeOver` | whether a container that still has the workload's address is cut off | `false` |
//! | `mtu` | smaller than what the overlay can carry | the overlay's |
//! | `isDefaultGateway` | whether the container's default routes lead to the gateway | as `isGateway` |
//! | `isGateway` | the same, as other plugins call what it rests on | `true` |
//! | `ipMasq` | whether what leaves the network leaves under the host's address | `false` |
//! | `hairpinMode` | whether its port sends frames back where they came from | `true` |
//! | `routes` | `[{"dst": PREFIX, "gw": ADDRESS}]`, through the gateway where there is no `gw` | none |
//! | `dns` | as in the specification, handed on | none |
//! | `ipam` | another plugin that decides addresses, or what another plugin asks of us | the router decides |

use std::net::IpAddr;
use std::path::PathBuf;

use hostnet::link::Prefix;
use serde_json::{Map, Value};

use crate::environment::{Lookup, is_identifier};
use crate::fault::{Code, Fault};
use crate::note;
use crate::version::Version;

/// A configuration whose version and name are known to be good; the rest is read as a verb needs it.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    pub(crate) version: Version,
    pub(crate) name: String,
    pub(crate) role: Role,
    keys: Map<String, Value>,
}

/// As what we are called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// The plugin that makes the interface.
    Main,
    /// The source of addresses of another plugin: `ipam.type` names us, and `type` does not.
    Ipam,
}

/// Where the router is, and where what it misses is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) network: String,
    pub(crate) control_socket: PathBuf,
    pub(crate) spool: PathBuf,
}

/// What a container gets beside its address.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Settings {
    pub(crate) hold_s: Option<u64>,
    pub(crate) mtu_bytes: Option<u32>,
    pub(crate) default_gateway: bool,
    /// Whether others see it under the host's address.
    pub(crate) masquerade: bool,
    /// Whether it reaches itself through an address that leads back to it.
    pub(crate) hairpin: bool,
    pub(crate) routes: Vec<WantedRoute>,
    pub(crate) dns: Value,
}

/// A route; without a gateway it goes through the network's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WantedRoute {
    pub(crate) destination: Prefix,
    pub(crate) gateway: Option<IpAddr>,
}

impl WantedRoute {
    /// Whether it is to that destination, however the bits behind the prefix are written.
    pub(crate) fn leads_to(&self, destination: Prefix) -> bool {
        self.destination.length == destination.length && self.destination.contains(destination.address)
    }
}

impl Config {
    /// Decodes, then checks the name, then the version: the order in which others do it.
    pub(crate) fn parse(stdin: &[u8]) -> Result<Self, Fault> {
        let keys: Map<String, Value> = serde_json::from_slice(stdin).map_err(|wrong| {
            Fault::new(Code::Decode, "the network configuration on stdin is not a JSON object")
                .with_details(wrong.to_string())
        })?;
        let name = text(&keys, "name")?.ok_or_else(|| Fault::new(Code::Config, "missing network name"))?;
        if !is_identifier(name) {
            return Err(Fault::new(Code::Config, format!("invalid network name {name:?}"))
                .with_details("it begins with a letter or digit; letters, digits, '_', '.' and '-' follow"));
        }
        // What says nothing is 0.1.0 by the specification.
        let version = Version::parse(text(&keys, "cniVersion")?.unwrap_or("0.1.0"))?;
        let name = name.to_owned();
        match role(&keys) {
            Role::Main => Ok(Self { version, name, role: Role::Main, keys }),
            Role::Ipam => Ok(Self { version, name, role: Role::Ipam, keys: ipam_keys(keys) }),
        }
    }

    /// A value of the configuration, unless it is missing or null.
    pub(crate) fn key(&self, key: &str) -> Option<&Value> {
        self.keys.get(key).filter(|value| !value.is_null())
    }

    /// Where the router is.
    pub(crate) fn place(&self, lookup: Lookup<'_>) -> Result<Place, Fault> {
        self.place_unless(lookup, Err)
    }

    /// The same, with the default in the place of what cannot be read.
    pub(crate) fn place_or_defaults(&self, lookup: Lookup<'_>) -> Result<Place, Fault> {
        self.place_unless(lookup, |fault| {
            note(&fault.message);
            Ok(())
        })
    }

    fn place_unless(&self, lookup: Lookup<'_>, judge: impl Fn(Fault) -> Result<(), Fault>) -> Result<Place, Fault> {
        let path = |key: &str, variable: &str, default: &str| {
            self.path(key, lookup, variable, default).or_else(|fault| judge(fault).map(|()| default.into()))
        };
        let network = text(&self.keys, "network").or_else(|fault| judge(fault).map(|()| None))?;
        Ok(Place {
            network: network.unwrap_or(control_api::DEFAULT_NETWORK).to_owned(),
            control_socket: path("controlSocket", "RADDLE_CONTROL_SOCKET", control_api::DEFAULT_SOCKET)?,
            spool: path("dataDir", "RADDLE_DATA_DIR", control_api::DEFAULT_DATA_DIR)?.join(control_api::spool::FOLDER),
        })
    }

    /// What the container gets.
    pub(crate) fn settings(&self) -> Result<Settings, Fault> {
        for key in ["runtimeConfig", "ipam"] {
            if let Some(wrong) = self.key(key).filter(|value| !value.is_object()) {
                return Err(wrong_type(key, "an object", wrong));
            }
        }
        self.delegate_name()?;
        Ok(Settings {
            hold_s: self.hold()?,
            mtu_bytes: self.mtu()?,
            // Without a gateway of its own other plugins give no default route either; one that is asked for outweighs it.
            default_gateway: self.flag("isDefaultGateway", self.flag("isGateway", true)?)?,
            masquerade: self.flag("ipMasq", false)?,
            hairpin: self.flag("hairpinMode", true)?,
            routes: self.routes()?,
            dns: self.dns()?,
        })
    }

    /// Keys that neither the specification nor we know: somebody else's, or misspelt.
    pub(crate) fn unknown_keys(&self) -> Vec<&str> {
        let known = |key: &str| KNOWN.contains(&key) || key.starts_with("cni.dev/");
        // Other sources of addresses have keys that mean nothing here: ranges, a gateway.
        let keys = self.keys.keys().filter(|_| self.role == Role::Main);
        keys.map(String::as_str).filter(|key| !known(key)).collect()
    }

    fn path(&self, key: &str, lookup: Lookup<'_>, variable: &str, default: &str) -> Result<PathBuf, Fault> {
        let given = text(&self.keys, key)?.filter(|path| !path.is_empty()).map(PathBuf::from);
        let inherited = || lookup(variable).filter(|path| !path.is_empty()).map(PathBuf::from);
        let path = given.or_else(inherited).unwrap_or_else(|| default.into());
        if path.is_absolute() {
            return Ok(path);
        }
        Err(Fault::new(Code::Config, format!("{key} {path:?} is not an absolute path")))
    }

    fn hold(&self) -> Result<Option<u64>, Fault> {
        match self.key("hold") {
            None => Ok(None),
            Some(Value::String(word)) if word == "forever" => Ok(Some(u64::MAX)),
            Some(value) => match value.as_u64() {
                Some(seconds) => Ok(Some(seconds)),
                None => Err(wrong_type("hold", "a number of seconds or \"forever\"", value)),
            },
        }
    }

    fn mtu(&self) -> Result<Option<u32>, Fault> {
        let Some(value) = self.key("mtu") else {
            return Ok(None);
        };
        let number = value.as_u64().ok_or_else(|| wrong_type("mtu", "a number of bytes", value))?;
        match u32::try_from(number) {
            // By convention 0 leaves the choice to the plugin.
            Ok(0) => Ok(None),
            Ok(mtu_bytes) if (SMALLEST_MTU..=LARGEST_MTU).contains(&mtu_bytes) => Ok(Some(mtu_bytes)),
            _ => Err(Fault::new(Code::Config, format!("mtu {number} is not between {SMALLEST_MTU} and {LARGEST_MTU}"))),
        }
    }

    pub(crate) fn flag(&self, key: &str, default: bool) -> Result<bool, Fault> {
        match self.key(key) {
            None => Ok(default),
            Some(value) => value.as_bool().ok_or_else(|| {
                Fault::new(Code::Unsupported, format!("{key}: {value} is not supported, only true and false"))
            }),
        }
    }

    fn routes(&self) -> Result<Vec<WantedRoute>, Fault> {
        let Some(value) = self.key("routes") else {
            return Ok(Vec::new());
        };
        let list = value.as_array().ok_or_else(|| wrong_type("routes", "a list", value))?;
        list.iter().map(wanted_route).collect()
    }

    /// The runtime's word counts before the configuration's.
    fn dns(&self) -> Result<Value, Fault> {
        let asked = runtime_dns(self.key("runtimeConfig"))?;
        match self.key("dns").filter(|_| asked.is_empty()) {
            None if !asked.is_empty() => Ok(asked.into()),
            None => Ok(Value::Object(Map::new())),
            Some(value) if value.is_object() => Ok(value.clone()),
            Some(value) => Err(wrong_type("dns", "an object", value)),
        }
    }

    /// The plugin that decides addresses in our place. Nothing: the router does.
    pub(crate) fn delegate_name(&self) -> Result<Option<&str>, Fault> {
        let Some(kind) = self.key("ipam").and_then(|ipam| ipam.get("type")).filter(|kind| !kind.is_null()) else {
            return Ok(None);
        };
        match kind.as_str() {
            Some("") => Ok(None),
            Some(kind) if OWN_NAMES.contains(&kind) => Ok(None),
            Some(kind) if is_identifier(kind) => Ok(Some(kind)),
            Some(kind) => Err(Fault::new(Code::Config, format!("ipam.type {kind:?} is not the name of a plugin"))),
            None => Err(Fault::new(Code::Unsupported, format!("ipam.type: {kind} is not supported, only a name"))),
        }
    }
}

fn role(keys: &Map<String, Value>) -> Role {
    let is_own = |kind: Option<&Value>| kind.and_then(Value::as_str).map(|kind| OWN_NAMES.contains(&kind));
    let ipam = keys.get("ipam").and_then(|ipam| ipam.get("type"));
    match (is_own(ipam), is_own(keys.get("type"))) {
        (Some(true), Some(false)) => Role::Ipam,
        _ => Role::Main,
    }
}

/// What the runtime says, and the section that is about us; the rest is the other plugin's.
fn ipam_keys(mut keys: Map<String, Value>) -> Map<String, Value> {
    let section = keys.remove("ipam").and_then(|section| section.as_object().cloned()).unwrap_or_default();
    keys.retain(|key, _| {
        ["prevResult", "runtimeConfig", "args"].contains(&key.as_str()) || key.starts_with("cni.dev/")
    });
    keys.extend(section);
    keys
}

/// What a configuration or a result says of one route.
pub(crate) fn wanted_route(value: &Value) -> Result<WantedRoute, Fault> {
    let bad = |what: &str| Fault::new(Code::Config, format!("routes: {what} in {value}"));
    let destination = value.get("dst").and_then(Value::as_str).ok_or_else(|| bad("no dst"))?;
    let destination: Prefix = destination.parse().map_err(|_| bad("dst is not a prefix"))?;
    let gateway = match value.get("gw").filter(|gateway| !gateway.is_null()) {
        None => None,
        Some(gateway) => {
            let gateway: Option<IpAddr> = gateway.as_str().and_then(|gateway| gateway.parse().ok());
            Some(gateway.ok_or_else(|| bad("gw is not an address"))?)
        }
    };
    if gateway.is_some_and(|gateway| gateway.is_ipv4() != destination.address.is_ipv4()) {
        return Err(bad("dst and gw are of different families"));
    }
    Ok(WantedRoute { destination, gateway })
}

/// The capability `dns` has other names for what a result says.
fn runtime_dns(runtime: Option<&Value>) -> Result<Map<String, Value>, Fault> {
    let asked = entry(runtime, "dns");
    if let Some(wrong) = asked.filter(|asked| !asked.is_object()) {
        return Err(wrong_type("runtimeConfig.dns", "an object", wrong));
    }
    let mut dns = Map::new();
    for (theirs, ours) in [("servers", "nameservers"), ("searches", "search"), ("options", "options")] {
        let Some(value) = entry(asked, theirs) else { continue };
        let texts = value.as_array().filter(|list| list.iter().all(Value::is_string));
        let texts =
            texts.ok_or_else(|| wrong_type(&format!("runtimeConfig.dns.{theirs}"), "a list of texts", value))?;
        if !texts.is_empty() {
            dns.insert(ours.to_owned(), value.clone());
        }
    }
    Ok(dns)
}

/// A value by its key. Runtimes written in Go do not care for the case of keys, so neither can we.
pub(crate) fn entry<'a>(place: Option<&'a Value>, key: &str) -> Option<&'a Value> {
    let keys = place?.as_object()?;
    let alike = || keys.iter().find(|(theirs, _)| theirs.eq_ignore_ascii_case(key)).map(|(_, value)| value);
    keys.get(key).or_else(alike).filter(|value| !value.is_null())
}

fn text<'a>(keys: &'a Map<String, Value>, key: &str) -> Result<Option<&'a str>, Fault> {
    match keys.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(value) => Err(wrong_type(key, "text", value)),
    }
}

/// The value is shown cut: it can be as long as the configuration.
pub(crate) fn wrong_type(key: &str, expected: &str, found: &Value) -> Fault {
    let found: String = found.to_string().chars().take(80).collect();
    Fault::new(Code::Decode, format!("{key}: {found} is not {expected}"))
}

/// As configurations call this plugin.
const OWN_NAMES: [&str; 2] = ["raddle-cni", "raddle"];

/// RFC 791: what every link carries.
const SMALLEST_MTU: u32 = 68;

/// The longest IP packet.
const LARGEST_MTU: u32 = 65535;

/// RFC 8200 §5: below it there is no IPv6.
pub(crate) const SMALLEST_IPV6_MTU: u32 = 1280;

const KNOWN: [&str; 21] = [
    "cniVersion",
    "cniVersions",
    "name",
    "type",
    "prevResult",
    "runtimeConfig",
    "args",
    "capabilities",
    "ipMasq",
    "ipam",
    "dns",
    "network",
    "controlSocket",
    "dataDir",
    "hold",
    "takeOver",
    "mtu",
    "isDefaultGateway",
    "isGateway",
    "hairpinMode",
    "routes",
];

#[cfg(test)]
mod tests;
