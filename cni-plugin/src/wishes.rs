//! What the user wants of an attachment: addresses, MAC, workload.
//!
//! Owns where each wish may stand and which place wins: `runtimeConfig`, in it the annotations of the pod last, then
//! `args.cni`, then `CNI_ARGS`. A wish that is overruled is not even looked at.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde_json::Value;

use crate::arguments::Arguments;
use crate::config::{Config, entry, wrong_type};
use crate::fault::{Code, Fault};

/// The wishes of one ADD.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Wishes {
    pub(crate) address: Option<Ipv4Addr>,
    pub(crate) address6: Option<Ipv6Addr>,
    pub(crate) mac: Option<[u8; 6]>,
    /// The name that stays when the container is recreated elsewhere.
    pub(crate) workload: Option<String>,
    /// Whether a container that still has the workload's address is cut off.
    pub(crate) take_over: bool,
}

impl Wishes {
    /// Gathers them from everywhere.
    pub(crate) fn gather(config: &Config, arguments: &Arguments) -> Result<Self, Fault> {
        let runtime = config.key("runtimeConfig");
        let conventional = config.key("args").and_then(|args| args.get("cni"));
        let mut wishes = Self::default();
        wishes.want_addresses(runtime, conventional, arguments)?;
        wishes.mac = mac(runtime, conventional, arguments)?;
        wishes.workload = workload(runtime, conventional, arguments)?;
        wishes.take_over = match (take_over(runtime, conventional)?, arguments.take_over) {
            (Some(said), _) | (None, Some(said)) => said,
            (None, None) => config.flag("takeOver", false)?,
        };
        Ok(wishes)
    }

    /// Another plugin has decided: nothing else counts.
    pub(crate) fn decide(&mut self, addresses: &[IpAddr]) -> Result<(), Fault> {
        (self.address, self.address6) = (None, None);
        addresses.iter().try_for_each(|address| self.want_address(*address, Code::Config, "ipam"))
    }

    fn want_addresses(
        &mut self,
        runtime: Option<&Value>,
        conventional: Option<&Value>,
        arguments: &Arguments,
    ) -> Result<(), Fault> {
        let annotated = annotation(runtime, "raddle.ip")?;
        let mut written = addresses(runtime, "runtimeConfig.ips")?;
        let mut place = "runtimeConfig.ips";
        if let (true, Some(text)) = (written.is_empty(), annotated) {
            place = "the annotation raddle.ip";
            written = text.split(',').map(|part| annotated_address(part, text)).collect::<Result<_, _>>()?;
        }
        if written.is_empty() {
            place = "args.cni.ips";
            written = addresses(conventional, place)?;
        }
        written.iter().try_for_each(|address| self.want_address(*address, Code::Config, place))?;
        match &arguments.ip {
            Some(text) if written.is_empty() => {
                let address = parse_address(text)
                    .ok_or_else(|| Fault::new(Code::Environment, format!("CNI_ARGS: IP={text} is not an address")))?;
                self.want_address(address, Code::Environment, "CNI_ARGS: IP")
            }
            Some(_) | None => Ok(()),
        }
    }

    /// One of each family: an attachment is one slot.
    fn want_address(&mut self, address: IpAddr, code: Code, place: &str) -> Result<(), Fault> {
        let second = match address {
            IpAddr::V4(address) => self.address.replace(address).is_some_and(|first| first != address),
            IpAddr::V6(address) => self.address6.replace(address).is_some_and(|first| first != address),
        };
        if second {
            return Err(Fault::new(code, format!("{place}: {address} is the second address of its family"))
                .with_details("an interface has one IPv4 and one IPv6 address"));
        }
        Ok(())
    }
}

fn addresses(place: Option<&Value>, name: &str) -> Result<Vec<IpAddr>, Fault> {
    let Some(value) = entry(place, "ips") else {
        return Ok(Vec::new());
    };
    let list = value.as_array().ok_or_else(|| wrong_type(name, "a list", value))?;
    let parse = |value: &Value| {
        let address = value.as_str().and_then(parse_address);
        address.ok_or_else(|| Fault::new(Code::Config, format!("{name}: {} is not an address", cut(value))))
    };
    list.iter().map(parse).collect()
}

/// An address, with or without the length of its network's prefix, which the network knows better.
pub(crate) fn parse_address(text: &str) -> Option<IpAddr> {
    let Some((address, length)) = text.split_once('/') else {
        return text.parse().ok();
    };
    let address: IpAddr = address.parse().ok()?;
    let longest = if address.is_ipv4() { 32 } else { 128 };
    length.parse().ok().filter(|length: &u8| *length <= longest).map(|_| address)
}

fn mac(runtime: Option<&Value>, conventional: Option<&Value>, arguments: &Arguments) -> Result<Option<[u8; 6]>, Fault> {
    let written = |place, name| match entry(place, "mac").filter(|value| value.as_str() != Some("")) {
        Some(value) => value.as_str().map(Some).ok_or_else(|| wrong_type(name, "text", value)),
        None => Ok(None),
    };
    if let Some(text) = written(runtime, "runtimeConfig.mac")? {
        return wanted_mac(text, "runtimeConfig.mac").map(Some);
    }
    if let Some(text) = annotation(runtime, "raddle.mac")? {
        return wanted_mac(text, "the annotation raddle.mac").map(Some);
    }
    if let Some(text) = written(conventional, "args.cni.mac")? {
        return wanted_mac(text, "args.cni.mac").map(Some);
    }
    arguments.mac.as_deref().map(|text| wanted_mac(text, "CNI_ARGS: MAC")).transpose()
}

fn wanted_mac(text: &str, place: &str) -> Result<[u8; 6], Fault> {
    let bad = |why: &str| Fault::new(Code::Config, format!("{place}: {text:?} {why}"));
    let mac = parse_mac(text).ok_or_else(|| bad("is not six bytes like 02:00:00:00:00:05"))?;
    if mac[0] & 1 == 1 || mac == [0; 6] {
        let details = "that of one interface has an even first byte, and is not 00:00:00:00:00:00";
        return Err(bad("cannot be the address of one interface").with_details(details));
    }
    Ok(mac)
}

/// Six bytes in hexadecimal digits with colons between them.
pub(crate) fn parse_mac(text: &str) -> Option<[u8; 6]> {
    let mut mac = [0; 6];
    let mut parts = text.split(':');
    for byte in &mut mac {
        let digits = |part: &&str| part.len() == 2 && part.bytes().all(|digit| digit.is_ascii_hexdigit());
        *byte = u8::from_str_radix(parts.next().filter(digits)?, 16).ok()?;
    }
    parts.next().is_none().then_some(mac)
}

/// Written as [`parse_mac`] reads it.
pub(crate) fn mac_text(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

fn workload(
    runtime: Option<&Value>,
    conventional: Option<&Value>,
    arguments: &Arguments,
) -> Result<Option<String>, Fault> {
    if let Some(workload) = annotation(runtime, "raddle.workload")? {
        return good_workload(workload.to_owned(), Code::Config, "the annotation raddle.workload").map(Some);
    }
    let label = labelled(conventional, "raddle.workload")?;
    let (workload, code, place) = match (label, &arguments.workload, arguments.pod()) {
        (Some(label), _, _) => (label, Code::Config, "args.cni.labels: raddle.workload"),
        (None, Some(workload), _) => (workload.clone(), Code::Environment, "CNI_ARGS: RADDLE_WORKLOAD"),
        (None, None, Some(pod)) => (pod, Code::Environment, "CNI_ARGS: K8S_POD_NAME"),
        (None, None, None) => return Ok(None),
    };
    good_workload(workload, code, place).map(Some)
}

fn good_workload(workload: String, code: Code, place: &str) -> Result<String, Fault> {
    let good = (1..=LONGEST_WORKLOAD).contains(&workload.len()) && !workload.chars().any(char::is_control);
    if good {
        return Ok(workload);
    }
    Err(Fault::new(code, format!("{place} must have 1 to {LONGEST_WORKLOAD} bytes, none of them a control character")))
}

fn take_over(runtime: Option<&Value>, conventional: Option<&Value>) -> Result<Option<bool>, Fault> {
    let (text, place) = match annotation(runtime, "raddle.take-over")? {
        Some(text) => (Some(text.to_owned()), "the annotation"),
        None => (labelled(conventional, "raddle.take-over")?, "args.cni.labels:"),
    };
    match text.as_deref() {
        None => Ok(None),
        Some("true") => Ok(Some(true)),
        Some("false") => Ok(Some(false)),
        Some(_) => Err(Fault::new(Code::Config, format!("{place} raddle.take-over is neither true nor false"))),
    }
}

/// `args.cni.labels` is a list of `{"key": …, "value": …}`.
fn labelled(conventional: Option<&Value>, key: &str) -> Result<Option<String>, Fault> {
    let Some(value) = entry(conventional, "labels") else {
        return Ok(None);
    };
    let labels = value.as_array().ok_or_else(|| wrong_type("args.cni.labels", "a list", value))?;
    let ours = labels.iter().find(|label| label.get("key").and_then(Value::as_str) == Some(key));
    match ours.map(|label| label.get("value").and_then(Value::as_str)) {
        None => Ok(None),
        Some(Some(value)) => Ok(Some(value.to_owned())),
        Some(None) => Err(Fault::new(Code::Config, format!("args.cni.labels: {key} has no value that is text"))),
    }
}

/// What a pod's annotation says, where the runtime hands annotations over.
fn annotation<'a>(runtime: Option<&'a Value>, name: &str) -> Result<Option<&'a str>, Fault> {
    let Some(value) = entry(runtime, "io.kubernetes.cri.pod-annotations").and_then(|all| all.get(name)) else {
        return Ok(None);
    };
    let text = value.as_str().ok_or_else(|| wrong_type(&format!("the annotation {name}"), "text", value))?;
    Ok(Some(text.trim()).filter(|text| !text.is_empty()))
}

fn annotated_address(part: &str, text: &str) -> Result<IpAddr, Fault> {
    let bad = || Fault::new(Code::Config, format!("the annotation raddle.ip: {text:?} is not an address"));
    parse_address(part.trim()).ok_or_else(bad)
}

fn cut(value: &Value) -> String {
    value.to_string().chars().take(80).collect()
}

/// A Kubernetes namespace and pod name at their longest are 63 + 1 + 253 bytes.
const LONGEST_WORKLOAD: usize = 320;

#[cfg(test)]
mod tests;
