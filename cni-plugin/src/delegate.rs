//! Another plugin that decides the addresses (`ipam.type`), called as the specification wants it (CNI 1.1, section 4).
//!
//! Owns how it is found, started and heard. Knows nothing of leases: what it decides is asked of the router like any wish.

use std::io::{self, Read as _, Write as _};
use std::net::IpAddr;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

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
        // An empty entry would be wherever the runtime happens to stand.
        let named = std::env::split_paths(&folders).filter(|folder| !folder.as_os_str().is_empty());
        let program = named.map(|folder| folder.join(name)).find(|program| program.is_file());
        let missing = || {
            Fault::new(Code::Config, format!("ipam.type: there is no plugin {name:?} in CNI_PATH")).with_details(
                format!("CNI_PATH is {folders:?}; without an ipam section raddle assigns addresses itself"),
            )
        };
        Ok(Self { name: name.to_owned(), program: program.ok_or_else(missing)?, stdin: stdin.to_owned() })
    }

    /// Has it decide. What it took for a decision that is of no use it gives back.
    pub(crate) fn add(&self) -> Result<Decided, Fault> {
        let answer = self.run("ADD", ADD_WITHIN);
        answer.and_then(|result| decided(&self.name, &result)).inspect_err(|_| self.undo(UNDO_WITHIN))
    }

    /// Passes a verb on that prints nothing.
    pub(crate) fn call(&self, verb: &str) -> Result<(), Fault> {
        self.run(verb, if verb == "STATUS" { STATUS_WITHIN } else { VERB_WITHIN }).map(|_| ())
    }

    /// Has it give back what it gave to an attachment that goes.
    pub(crate) fn give_back(&self) {
        self.undo(VERB_WITHIN);
    }

    /// Has it give back what it gave for an ADD that fails.
    pub(crate) fn take_back(&self) {
        self.undo(UNDO_WITHIN);
    }

    /// That it could not is nothing a runtime can help with.
    fn undo(&self, within: Duration) {
        if let Err(fault) = self.run("DEL", within) {
            note(&format!("the IPAM plugin {} does not give back what it gave: {}", self.name, fault.message));
        }
    }

    fn run(&self, verb: &str, within: Duration) -> Result<Value, Fault> {
        let cannot_run = |wrong: io::Error| {
            Fault::new(Code::InputOutput, format!("the IPAM plugin {} cannot be run", self.name))
                .with_details(wrong.to_string())
        };
        let child = self.spawn(verb).map_err(cannot_run)?;
        let group = child.id();
        let (tell, hear) = mpsc::channel();
        // Whatever it does with its pipes, nobody but this thread waits for it.
        let hearing = thread::Builder::new().spawn(move || tell.send(hear_out(child)));
        if let Err(wrong) = hearing {
            let _ = hostnet::process::kill_group(group);
            return Err(cannot_run(wrong));
        }
        let Ok(answer) = hear.recv_timeout(within) else {
            let _ = hostnet::process::kill_group(group);
            return Err(self.hangs(verb, within));
        };
        let (status, said) = answer.map_err(cannot_run)?;
        // DEL and its like say nothing.
        let document: Value = serde_json::from_slice(&said).unwrap_or_default();
        if status.success() { Ok(document) } else { Err(self.refusal(&document, status)) }
    }

    /// In our environment, with another verb; its stderr is ours. It leads a process group: one that hangs is stopped with all
    /// that it has started.
    fn spawn(&self, verb: &str) -> io::Result<Child> {
        let mut command = Command::new(&self.program);
        command.env("CNI_COMMAND", verb).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut child = command.process_group(0).spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            let configuration = self.stdin.clone();
            // One that ends before it has read everything has its reasons, and tells them.
            let telling = thread::Builder::new().spawn(move || stdin.write_all(&configuration));
            if let Err(wrong) = telling {
                let _ = hostnet::process::kill_group(child.id());
                return Err(wrong);
            }
        }
        Ok(child)
    }

    fn hangs(&self, verb: &str, within: Duration) -> Fault {
        let code = if verb == "STATUS" { Code::NotAvailable } else { Code::TryAgain };
        let name = &self.name;
        Fault::new(code, format!("the IPAM plugin {name} gave no answer to {verb} within {within:?} and was stopped"))
            .with_details(format!(
                "find out what {} waits for; without an ipam section raddle assigns addresses itself",
                self.program.display()
            ))
    }

    /// Its own error, under its own code.
    fn refusal(&self, document: &Value, status: ExitStatus) -> Fault {
        let text = |key: &str| document.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
        let said = text("msg").map_or_else(|| status.to_string(), str::to_owned);
        let code = document.get("code").and_then(Value::as_u64).and_then(|code| u32::try_from(code).ok());
        let fault = Fault::new(Code::Config, format!("the IPAM plugin {}: {said}", self.name));
        let fault = Fault { foreign: code.filter(|code| *code > 0), ..fault };
        match text("details") {
            Some(details) => fault.with_details(details),
            None => fault,
        }
    }
}

/// What it prints until it ends.
fn hear_out(mut child: Child) -> io::Result<(ExitStatus, Vec<u8>)> {
    let mut said = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        stdout.take(LONGEST_ANSWER).read_to_end(&mut said)?;
    }
    Ok((child.wait()?, said))
}

/// With what follows an ADD that fails, less than the ten seconds within which an ADD ends.
const ADD_WITHIN: Duration = Duration::from_secs(7);

/// To give back what a failed ADD took.
const UNDO_WITHIN: Duration = Duration::from_millis(2500);

/// No runtime waits for these with a container of its own; many at once wait for one another.
const VERB_WITHIN: Duration = Duration::from_secs(10);

/// A STATUS is to be quick.
const STATUS_WITHIN: Duration = Duration::from_secs(1);

/// Far more than addresses, routes and DNS take.
const LONGEST_ANSWER: u64 = 16 << 20;

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
