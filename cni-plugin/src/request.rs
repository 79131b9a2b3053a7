//! One call of the plugin, typed: from here on nothing is looked up in an environment or in JSON.
//!
//! Owns the order in which a call is checked, so that a runtime gets the error that other plugins would give it:
//! variables (4), stdin (5), JSON (6), name (7), version (1), verb of that version (1), and then what the verb needs.

use std::io::Read;

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::arguments::Arguments;
use crate::config::{Config, Place, Role, Settings, wrong_type};
use crate::delegate::{Decided, Delegate};
use crate::environment::{Environment, Lookup, Verb};
use crate::fault::{Code, Fault};
use crate::version::Version;
use crate::wishes::Wishes;

/// A request, and the version to answer it in.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Call {
    pub(crate) version: Version,
    pub(crate) request: Request,
    /// Who decides addresses, if it is not the router.
    pub(crate) delegate: Option<Delegate>,
}

/// What is asked.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Request {
    /// Nothing: a person has started the program.
    Banner,
    /// Which versions there are. The version to answer in may be one we do not speak.
    Version(String),
    Add(Box<Add>),
    /// ADD as an IPAM plugin.
    Allocate(Box<Add>),
    Del(Target),
    Check(Box<Check>),
    /// CHECK as an IPAM plugin.
    Verify(Target),
    Gc(Gc),
    Status(Status),
}

/// One interface of one container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) place: Place,
    pub(crate) cni_network: String,
    pub(crate) container_id: String,
    pub(crate) ifname: String,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Add {
    pub(crate) target: Target,
    pub(crate) netns: String,
    pub(crate) wishes: Wishes,
    pub(crate) settings: Settings,
    /// The result of the plugins before us in the chain.
    pub(crate) previous: Option<Value>,
    /// Keys that are perhaps misspelt.
    pub(crate) unknown_keys: Vec<String>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Check {
    pub(crate) target: Target,
    pub(crate) netns: String,
    /// The result of the whole chain's ADD.
    pub(crate) previous: Value,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Gc {
    pub(crate) place: Place,
    pub(crate) cni_network: String,
    /// Container id and interface name of what the runtime still has; none if it did not say.
    pub(crate) valid: Option<Vec<(String, String)>>,
}

/// Whether such an ADD would work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Status {
    pub(crate) place: Place,
    pub(crate) masquerade: bool,
}

/// A call that is refused, and the version to say so in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) version: Version,
    pub(crate) fault: Fault,
}

impl Call {
    /// Reads a whole call.
    pub(crate) fn parse(lookup: Lookup<'_>, stdin: impl Read) -> Result<Self, Refused> {
        let refused = |fault| Refused { version: Version::NEWEST, fault };
        let newest = |request| Self { version: Version::NEWEST, request, delegate: None };
        let Some(verb) = Verb::of(lookup).map_err(refused)? else {
            return Ok(newest(Request::Banner));
        };
        if verb == Verb::Version {
            return Ok(newest(Request::Version(asked_version(&read(stdin).unwrap_or_default()))));
        }
        let environment = Environment::of(verb, lookup).map_err(refused)?;
        let stdin = read(stdin).map_err(refused)?;
        let config = Config::parse(&stdin).map_err(refused)?;
        let version = config.version;
        let call = verb_of_version(verb, version).and_then(|()| {
            let request = Request::of(verb, &environment, &config, lookup)?;
            Ok(Self { version, request, delegate: delegate(verb, &config, &stdin, lookup)? })
        });
        call.map_err(|fault| Refused { version, fault })
    }
}

impl Request {
    fn of(verb: Verb, environment: &Environment, config: &Config, lookup: Lookup<'_>) -> Result<Self, Fault> {
        // The configuration may have changed since ADD: what of it cannot be read keeps no container from going.
        let place = if verb == Verb::Del { config.place_or_defaults(lookup)? } else { config.place(lookup)? };
        match verb {
            Verb::Version => Ok(Self::Version(config.version.as_str().to_owned())),
            Verb::Add => {
                let add = add(environment, config, place).map(Box::new)?;
                Ok(if config.role == Role::Ipam { Self::Allocate(add) } else { Self::Add(add) })
            }
            Verb::Del => Ok(Self::Del(target(environment, config, place))),
            Verb::Check if config.role == Role::Ipam => Ok(Self::Verify(target(environment, config, place))),
            Verb::Check => check(environment, config, place).map(|check| Self::Check(Box::new(check))),
            Verb::Gc => gc(config, place).map(Self::Gc),
            Verb::Status => Ok(Self::Status(Status { masquerade: config.settings()?.masquerade, place })),
        }
    }
}

impl Add {
    /// What another plugin has decided stands in place of what the runtime wished.
    pub(crate) fn take_over(&mut self, decided: Decided) -> Result<(), Fault> {
        self.wishes.decide(&decided.addresses)?;
        self.settings.routes.extend(decided.routes);
        if let Some(dns) = decided.dns.filter(|_| self.settings.dns.as_object().is_none_or(Map::is_empty)) {
            self.settings.dns = dns;
        }
        Ok(())
    }
}

impl Target {
    /// The host's end: `rd` and 12 digits of a hash, so that names never clash however alike the ids are.
    pub(crate) fn host_interface(&self) -> String {
        let mut hash = Sha256::new();
        for part in [&self.cni_network, &self.container_id, &self.ifname] {
            hash.update(part.as_bytes());
            // None of them contains it, so no two triples are the same text.
            hash.update([0]);
        }
        let digits = hash.finalize().iter().take(6).map(|byte| format!("{byte:02x}")).collect::<String>();
        format!("rd{digits}")
    }

    /// What is noted on the host's end.
    pub(crate) fn owner(&self) -> String {
        format!("raddle-cni {} {} {}", self.cni_network, self.container_id, self.ifname)
    }

    /// As the router calls it.
    pub(crate) fn attachment(&self) -> control_api::Attachment {
        control_api::Attachment {
            network: self.place.network.clone(),
            container_id: self.container_id.clone(),
            ifname: self.ifname.clone(),
            cni_network: self.cni_network.clone(),
            owner_kind: control_api::OwnerKind::Cni,
        }
    }
}

/// Whoever is to be asked as well. DEL goes on without one that is gone.
fn delegate(verb: Verb, config: &Config, stdin: &[u8], lookup: Lookup<'_>) -> Result<Option<Delegate>, Fault> {
    let found =
        config.delegate_name().and_then(|name| name.map(|name| Delegate::find(name, stdin, lookup)).transpose());
    if verb == Verb::Del { Ok(found.ok().flatten()) } else { found }
}

fn target(environment: &Environment, config: &Config, place: Place) -> Target {
    Target {
        place,
        cni_network: config.name.clone(),
        container_id: environment.container_id.clone().unwrap_or_default(),
        ifname: environment.ifname.clone().unwrap_or_default(),
    }
}

fn add(environment: &Environment, config: &Config, place: Place) -> Result<Add, Fault> {
    let settings = config.settings()?;
    let arguments = Arguments::parse(environment.args.as_deref())?;
    let mut wishes = Wishes::gather(config, &arguments)?;
    if config.role == Role::Ipam {
        // The interface is the other plugin's, and so is its MAC.
        wishes.mac = None;
    }
    let previous = config.key("prevResult").cloned();
    previous.iter().try_for_each(ensure_result)?;
    Ok(Add {
        target: target(environment, config, place),
        netns: environment.netns.clone().unwrap_or_default(),
        wishes,
        settings,
        previous,
        unknown_keys: config.unknown_keys().into_iter().map(str::to_owned).collect(),
    })
}

/// What goes into our result, and so has to be one.
fn ensure_result(previous: &Value) -> Result<(), Fault> {
    let keys = previous.as_object().ok_or_else(|| wrong_type("prevResult", "an object", previous))?;
    for key in ["interfaces", "ips", "routes"] {
        if let Some(wrong) = keys.get(key).filter(|value| !value.is_array() && !value.is_null()) {
            return Err(wrong_type(&format!("prevResult.{key}"), "a list", wrong));
        }
    }
    match keys.get("dns").filter(|dns| !dns.is_object() && !dns.is_null()) {
        Some(wrong) => Err(wrong_type("prevResult.dns", "an object", wrong)),
        None => Ok(()),
    }
}

fn check(environment: &Environment, config: &Config, place: Place) -> Result<Check, Fault> {
    let missing = || Fault::new(Code::Config, "prevResult is missing: there is nothing to check against");
    let previous = config.key("prevResult").cloned().ok_or_else(missing)?;
    if !previous.is_object() {
        return Err(wrong_type("prevResult", "an object", &previous));
    }
    let netns = environment.netns.clone().unwrap_or_default();
    Ok(Check { target: target(environment, config, place), netns, previous })
}

fn gc(config: &Config, place: Place) -> Result<Gc, Fault> {
    // The specification's tag and its library differ in the name; newer libraries send both.
    let keys = ["cni.dev/valid-attachments", "cni.dev/attachments"];
    let found = keys.into_iter().find_map(|key| config.key(key).map(|value| (key, value)));
    let valid = found.map(|(key, value)| valid_attachments(key, value)).transpose()?;
    Ok(Gc { place, cni_network: config.name.clone(), valid })
}

/// Strict: what is not understood here would be taken for gone.
fn valid_attachments(key: &str, value: &Value) -> Result<Vec<(String, String)>, Fault> {
    let list = value.as_array().ok_or_else(|| wrong_type(key, "a list", value))?;
    let parse = |item: &Value| {
        let text = |name| item.get(name).and_then(Value::as_str).map(str::to_owned);
        text("containerID").zip(text("ifname")).ok_or_else(|| wrong_type(key, "a containerID and an ifname", item))
    };
    list.iter().map(parse).collect()
}

fn verb_of_version(verb: Verb, version: Version) -> Result<(), Fault> {
    let (name, since) = match verb {
        Verb::Check => ("CHECK", Version::V0_4_0),
        Verb::Gc => ("GC", Version::V1_1_0),
        Verb::Status => ("STATUS", Version::V1_1_0),
        Verb::Add | Verb::Del | Verb::Version => return Ok(()),
    };
    if version >= since {
        return Ok(());
    }
    Err(Fault::new(Code::Version, format!("the configuration's version does not have {name}")).with_details(format!(
        "the configuration's cniVersion is {}, {name} came with {}; this plugin speaks {}",
        version.as_str(),
        since.as_str(),
        Version::ALL.map(Version::as_str).join(", ")
    )))
}

/// The version the caller wrote, whatever else there is on stdin.
fn asked_version(stdin: &[u8]) -> String {
    let value: Option<Value> = serde_json::from_slice(stdin).ok();
    let asked = value.as_ref().and_then(|value| value.get("cniVersion")).and_then(Value::as_str);
    asked.filter(|asked| !asked.is_empty()).unwrap_or(Version::NEWEST.as_str()).to_owned()
}

fn read(stdin: impl Read) -> Result<Vec<u8>, Fault> {
    let mut bytes = Vec::new();
    let read = stdin.take(LONGEST_CONFIG + 1).read_to_end(&mut bytes);
    read.map_err(|wrong| Fault::new(Code::InputOutput, "stdin cannot be read").with_details(wrong.to_string()))?;
    if bytes.len() as u64 > LONGEST_CONFIG {
        return Err(Fault::new(
            Code::Decode,
            format!("the network configuration is longer than {LONGEST_CONFIG} bytes"),
        ));
    }
    Ok(bytes)
}

/// A hundred times what any runtime sends.
const LONGEST_CONFIG: u64 = 64 << 20;

#[cfg(test)]
mod tests;
