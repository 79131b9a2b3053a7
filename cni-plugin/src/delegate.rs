//! Another plugin that decides the addresses (`ipam.type`), called as the specification wants it (CNI 1.1, section 4).
//!
//! Owns how it is found, started and heard. Knows nothing of leases: what it decides is asked of the router like any wish.

use std::io::{self, Write as _};
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::config::{WantedRoute, wanted_route};
use crate::environment::Lookup;
use crate::fault::{Code, Fault};
use crate::note;
use crate::wishes::parse_address;

/// The plugin, and what it gets to read: all that we got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Delegate {
    name: String,
    program: PathBuf,
    stdin: Vec<u8>,
}

/// What it has decided.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Decided {
    pub(crate) addresses: Vec<IpAddr>,
    pub(crate) routes: Vec<WantedRoute>,
    pub(crate) dns: Option<Value>,
}

impl Delegate {
    /// The first program of that name in `CNI_PATH`.
    pub(crate) fn find(name: &str, stdin: &[u8], lookup: Lookup<'_>) -> Result<Self, Fault> {
        let folders = lookup("CNI_PATH").unwrap_or_default();
        let program = std::env::split_paths(&folders).map(|folder| folder.join(name)).find(|program| program.is_file());
        let missing = || {
            Fault::new(Code::Config, format!("ipam.type: there is no plugin {name:?} in CNI_PATH")).with_details(
                format!("CNI_PATH is {folders:?}; without an ipam section raddle assigns addresses itself"),
            )
        };
        Ok(Self { name: name.to_owned(), program: program.ok_or_else(missing)?, stdin: stdin.to_owned() })
    }

    /// Has it decide. What it took for a decision that is of no use it gives back.
    pub(crate) fn add(&self) -> Result<Decided, Fault> {
        self.run("ADD").and_then(|result| decided(&self.name, &result)).inspect_err(|_| self.undo())
    }

    /// Passes a verb on that prints nothing.
    pub(crate) fn call(&self, verb: &str) -> Result<(), Fault> {
        self.run(verb).map(|_| ())
    }

    /// Has it give back what it gave. That it could not is nothing a runtime can help with.
    pub(crate) fn undo(&self) {
        if let Err(fault) = self.call("DEL") {
            note(&format!("the IPAM plugin {} does not give back what it gave: {}", self.name, fault.message));
        }
    }

    fn run(&self, verb: &str) -> Result<Value, Fault> {
        let output = self.spawn(verb).map_err(|wrong| {
            Fault::new(Code::InputOutput, format!("the IPAM plugin {} cannot be run", self.name))
                .with_details(wrong.to_string())
        })?;
        // DEL and its like say nothing.
        let document: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        if output.status.success() { Ok(document) } else { Err(self.refusal(&document, &output)) }
    }

    /// In our environment, with another verb; its stderr is ours.
    fn spawn(&self, verb: &str) -> io::Result<Output> {
        let mut command = Command::new(&self.program);
        command.env("CNI_COMMAND", verb).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut child = command.spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            // One that ends before it has read everything has its reasons, and tells them.
            let _ = stdin.write_all(&self.stdin);
        }
        child.wait_with_output()
    }

    /// Its own error, under its own code.
    fn refusal(&self, document: &Value, output: &Output) -> Fault {
        let text = |key: &str| document.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
        let said = text("msg").map_or_else(|| output.status.to_string(), str::to_owned);
        let code = document.get("code").and_then(Value::as_u64).and_then(|code| u32::try_from(code).ok());
        let fault = Fault::new(Code::Config, format!("the IPAM plugin {}: {said}", self.name));
        let fault = Fault { foreign: code.filter(|code| *code > 0), ..fault };
        match text("details") {
            Some(details) => fault.with_details(details),
            None => fault,
        }
    }
}

/// What a plugin's answer says it has decided.
fn decided(name: &str, result: &Value) -> Result<Decided, Fault> {
    let wrong = |what: String| Fault::new(Code::Config, format!("the IPAM plugin {name} {what}"));
    let list = |key: &str| result.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let address = |ip: &Value| {
        let text = ip.get("address").and_then(Value::as_str);
        text.and_then(parse_address).ok_or_else(|| wrong(format!("gives {ip} for an address")))
    };
    let addresses = list("ips").iter().map(address).collect::<Result<Vec<_>, _>>()?;
    if addresses.is_empty() {
        return Err(wrong("gives no address".to_owned()));
    }
    let routes = list("routes").iter().map(wanted_route).collect::<Result<Vec<_>, _>>()?;
    let dns = result.get("dns").filter(|dns| dns.as_object().is_some_and(|dns| !dns.is_empty()));
    Ok(Decided { addresses, routes, dns: dns.cloned() })
}

/// Reads another plugin's result as if it had decided the addresses.
pub(crate) fn read(result: &Value) -> Result<(), Fault> {
    decided("any", result).map(|_| ())
}

#[cfg(test)]
mod tests;
