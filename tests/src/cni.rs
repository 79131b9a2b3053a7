//! The CNI plugin driven as a runtime drives it, and containers that are bare network namespaces.
//!
//! Decides environment and stdin of each verb. Any plugin can stand in, so that the stage itself can be tested without Raddle.

use std::net::Ipv4Addr;

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use crate::{command::Finished, host::Host, process::Process};

/// Which plugin a network uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plugin {
    /// Ours.
    Raddle,
    /// Debian's `bridge` with `host-local`: the yardstick, and the stand-in where the stage itself is tested.
    Bridge,
}

impl Plugin {
    /// The configuration of its network, as a runtime hands it over.
    #[must_use]
    pub fn configuration(self) -> Value {
        match self {
            Self::Raddle => json!({"cniVersion": "1.0.0", "name": NETWORK, "type": "raddle-cni"}),
            Self::Bridge => json!({
                "cniVersion": "1.0.0", "name": NETWORK, "type": "bridge", "bridge": "cni0", "isGateway": true, "mtu": 1400,
                "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.88.0.0/16"}]], "routes": [{"dst": "0.0.0.0/0"}]},
            }),
        }
    }

    pub(crate) fn path(self) -> &'static str {
        match self {
            Self::Raddle => "/opt/cni/bin/raddle-cni",
            Self::Bridge => "/usr/lib/cni/bridge",
        }
    }
}

/// The conflist an operator puts into `/etc/cni/net.d`.
#[must_use]
pub fn conflist(plugin: Plugin) -> String {
    let mut entry = plugin.configuration();
    let version = entry["cniVersion"].take();
    if let Some(fields) = entry.as_object_mut() {
        fields.retain(|name, _| name != "cniVersion" && name != "name");
    }
    json!({"cniVersion": version, "name": NETWORK, "plugins": [entry]}).to_string()
}

/// What a plugin answered.
#[derive(Debug, Clone)]
pub enum Answer {
    /// Status 0, and what it printed (nothing for DEL).
    Done(Value),
    /// A CNI error: its code and message.
    Failed {
        /// The CNI code.
        code: u64,
        /// Message and details in one string.
        message: String,
    },
}

impl Answer {
    /// Reads what a plugin, or the library that called it, has printed.
    pub(crate) fn parse(finished: &Finished) -> Result<Self> {
        if finished.is_ok() {
            let text = if finished.stdout.trim().is_empty() { "null" } else { &finished.stdout };
            return Ok(Self::Done(serde_json::from_str(text).with_context(|| format!("it printed {text}"))?));
        }
        let error: Value =
            serde_json::from_str(&finished.stdout).with_context(|| format!("no CNI error: {finished}"))?;
        let code = error["code"].as_u64().with_context(|| format!("no code in {error}"))?;
        let message =
            [&error["msg"], &error["details"]].iter().filter_map(|part| part.as_str()).collect::<Vec<_>>().join(": ");
        Ok(Self::Failed { code, message })
    }

    /// The result, or the plugin's error.
    pub fn done(self) -> Result<Value> {
        match self {
            Self::Done(value) => Ok(value),
            Self::Failed { code, message } => bail!("CNI code {code}: {message}"),
        }
    }

    /// Code and message of an answer that was expected to be an error.
    pub fn failed(self) -> Result<(u64, String)> {
        match self {
            Self::Failed { code, message } => Ok((code, message)),
            Self::Done(value) => bail!("expected a CNI error, got {value}"),
        }
    }
}

/// Who a verb is about.
#[derive(Debug, Clone, Copy)]
pub struct Attachment<'a> {
    /// `CNI_CONTAINERID`.
    pub container: &'a str,
    /// `CNI_NETNS`; empty as some runtimes leave it at DEL.
    pub netns: &'a str,
    /// `CNI_ARGS`.
    pub arguments: &'a str,
}

impl Host {
    /// Runs one verb of a plugin. `more` is laid over the network's configuration (`prevResult`, another `cniVersion`).
    pub fn cni(&self, plugin: Plugin, verb: &str, about: Attachment<'_>, more: &Value) -> Result<Answer> {
        let mut configuration = plugin.configuration();
        for (name, value) in more.as_object().into_iter().flatten() {
            configuration[name] = value.clone();
        }
        let finished =
            self.run_env(&environment(verb, about), &[plugin.path()], configuration.to_string().as_bytes())?;
        Answer::parse(&finished).with_context(|| verb.to_owned())
    }

    /// Runs one verb and returns how many microseconds it took, the entering of the host not counted.
    pub fn time_cni(&self, plugin: Plugin, verb: &str, about: Attachment<'_>) -> Result<String> {
        let probe = crate::stage::binary("probe")?.display().to_string();
        let input = plugin.configuration().to_string();
        self.run_env(&environment(verb, about), &[&probe, "time", plugin.path()], input.as_bytes())?.ok()
    }
}

fn environment<'a>(verb: &'a str, about: Attachment<'a>) -> [(&'a str, &'a str); 6] {
    [
        ("CNI_COMMAND", verb),
        ("CNI_CONTAINERID", about.container),
        ("CNI_NETNS", about.netns),
        ("CNI_IFNAME", "eth0"),
        ("CNI_PATH", "/opt/cni/bin:/usr/lib/cni"),
        ("CNI_ARGS", about.arguments),
    ]
}

/// A container without a process: a network namespace that a plugin has attached.
#[derive(Debug, Clone)]
pub struct Container {
    host: Host,
    plugin: Plugin,
    id: String,
    arguments: String,
    result: Value,
}

impl Container {
    /// Makes a namespace and attaches it. With a workload it is the container of that name, wherever it runs.
    pub fn start(host: &Host, id: &str, workload: Option<&str>) -> Result<Self> {
        match Self::try_start(host, Plugin::Raddle, id, workload)? {
            Ok(container) => Ok(container),
            Err(answer) => bail!("ADD of {id} on {}: {answer:?}", host.name()),
        }
    }

    /// As [`Self::start`], with any plugin and with the plugin's refusal as a value; after it the namespace is gone again.
    pub fn try_start(host: &Host, plugin: Plugin, id: &str, workload: Option<&str>) -> Result<Result<Self, Answer>> {
        let arguments = workload.map_or_else(String::new, |name| format!("IgnoreUnknown=1;RADDLE_WORKLOAD={name}"));
        Self::try_start_with(host, plugin, id, arguments)
    }

    /// As [`Self::try_start`], with an address that it must be.
    pub fn try_start_at(host: &Host, id: &str, workload: &str, address: &str) -> Result<Result<Self, Answer>> {
        Self::try_start_asking(host, id, workload, &format!("IP={address}"))
    }

    /// As [`Self::try_start`], with more of `CNI_ARGS`.
    pub fn try_start_asking(host: &Host, id: &str, workload: &str, wishes: &str) -> Result<Result<Self, Answer>> {
        Self::prepare(host, id, workload, wishes)?.attach()
    }

    fn try_start_with(host: &Host, plugin: Plugin, id: &str, arguments: String) -> Result<Result<Self, Answer>> {
        Self::prepare_with(host, plugin, id, arguments)?.attach()
    }

    /// Makes a namespace for a workload's container, with more of `CNI_ARGS`, for [`Self::attach`].
    pub fn prepare(host: &Host, id: &str, workload: &str, wishes: &str) -> Result<Self> {
        let workload = format!("RADDLE_WORKLOAD={workload}");
        let words = ["IgnoreUnknown=1", &workload, wishes].into_iter().filter(|word| !word.is_empty());
        let arguments = words.collect::<Vec<_>>().join(";");
        Self::prepare_with(host, Plugin::Raddle, id, arguments)
    }

    fn prepare_with(host: &Host, plugin: Plugin, id: &str, arguments: String) -> Result<Self> {
        host.run(&["ip", "netns", "add", id])?.ok()?;
        host.run(&["ip", "netns", "exec", id, "ip", "link", "set", "lo", "up"])?.ok()?;
        Ok(Self { host: host.clone(), plugin, id: id.to_owned(), arguments, result: Value::Null })
    }

    /// ADD alone. After a refusal the namespace is gone again.
    pub fn attach(self) -> Result<Result<Self, Answer>> {
        match self.verb("ADD", &json!({}))? {
            Answer::Done(result) => Ok(Ok(Self { result, ..self })),
            refusal @ Answer::Failed { .. } => {
                self.host.run(&["ip", "netns", "delete", &self.id])?.ok()?;
                Ok(Err(refusal))
            }
        }
    }

    /// Starts another container of this one's workload, which takes the address although this one still runs.
    pub fn taken_over_on(&self, host: &Host, id: &str) -> Result<Self> {
        host.run(&["ip", "netns", "add", id])?.ok()?;
        let arguments = format!("{};RADDLE_TAKE_OVER=1", self.arguments);
        let new = Self { host: host.clone(), id: id.to_owned(), arguments, ..self.clone() };
        let result = new.verb("ADD", &json!({}))?.done()?;
        Ok(Self { result, ..new })
    }

    /// Makes this container's namespace visible on another host, under the same path.
    pub fn lend_to(&self, host: &Host) -> Result<()> {
        host.borrow_file(&self.host, &self.netns())
    }

    /// Attaches this container, which [`Self::lend_to`] has shown to the other host, there.
    pub fn attach_on(&self, host: &Host) -> Result<Self> {
        let there = Self { host: host.clone(), ..self.clone() };
        let result = there.verb("ADD", &json!({}))?.done()?;
        Ok(Self { result, ..there })
    }

    /// Runs a verb about this container.
    pub fn verb(&self, verb: &str, more: &Value) -> Result<Answer> {
        let netns = self.netns();
        let about = Attachment { container: &self.id, netns: &netns, arguments: &self.arguments };
        self.host.cni(self.plugin, verb, about, more)
    }

    /// DEL, then the namespace goes, as when a container is removed.
    pub fn stop(&self) -> Result<()> {
        self.delete()?;
        self.host.run(&["ip", "netns", "delete", &self.id])?.ok()?;
        Ok(())
    }

    /// DEL alone, with the result of ADD as a runtime keeps it.
    pub fn delete(&self) -> Result<()> {
        self.verb("DEL", &json!({"prevResult": self.result}))?.done()?;
        Ok(())
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The host it runs on.
    #[must_use]
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// What ADD printed.
    #[must_use]
    pub fn result(&self) -> &Value {
        &self.result
    }

    /// The path of its namespace.
    #[must_use]
    pub fn netns(&self) -> String {
        format!("/run/netns/{}", self.id)
    }

    /// Its address, as the kernel has it.
    pub fn address(&self) -> Result<Ipv4Addr> {
        let links = self.run(&["ip", "-json", "-4", "address", "show", "eth0"])?.json()?;
        let local = links.pointer("/0/addr_info/0/local").and_then(Value::as_str);
        Ok(local.with_context(|| format!("no address: {links}"))?.parse()?)
    }

    /// Its MAC, as the kernel has it.
    pub fn mac(&self) -> Result<String> {
        let link = self.link()?;
        Ok(link["address"].as_str().context("no MAC")?.to_owned())
    }

    /// Its MTU, as the kernel has it.
    pub fn mtu_bytes(&self) -> Result<u64> {
        self.link()?["mtu"].as_u64().context("no MTU")
    }

    fn link(&self) -> Result<Value> {
        let links = self.run(&["ip", "-json", "link", "show", "eth0"])?.json()?;
        links.get(0).cloned().context("no eth0")
    }

    /// Runs a command in it.
    pub fn run(&self, words: &[&str]) -> Result<Finished> {
        let netns = format!("--net={}", self.netns());
        let words: Vec<_> = ["nsenter", &netns].into_iter().chain(words.iter().copied()).collect();
        self.host.run(&words)
    }

    /// Starts a command in it, in the background.
    pub fn spawn(&self, name: &str, words: &[&str]) -> Result<Process> {
        let netns = format!("--net={}", self.netns());
        let words: Vec<_> = ["nsenter", &netns].into_iter().chain(words.iter().copied()).collect();
        self.host.spawn(name, &words)
    }

    /// Pings until one answer has come. The first packets of a path may go while its session is still being made.
    pub fn until_reaches(&self, to: Ipv4Addr) -> Result<()> {
        let to = to.to_string();
        crate::until(&format!("{} reaches {to}", self.id), REACH, || {
            Ok(self.run(&["ping", "-c", "1", "-W", "1", &to])?.is_ok().then_some(()))
        })
    }
}

/// The CNI network's name.
pub const NETWORK: &str = "raddle";
/// A handshake and a ledger exchange, with retries after loss.
const REACH: std::time::Duration = std::time::Duration::from_secs(15);
