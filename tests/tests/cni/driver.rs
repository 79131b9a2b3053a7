//! Runs the plugin as a runtime does: a clean environment, a configuration on stdin, one document on stdout.
//!
//! Knows the specification's words. Decides nothing about what is right.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tests::{Finished, Host};

/// The network of every test here.
pub(crate) fn conf(version: &str) -> Value {
    json!({"cniVersion": version, "name": "mesh", "type": "raddle-cni"})
}

/// A configuration with more in it, or with other values.
pub(crate) fn with(mut configuration: Value, more: &Value) -> Value {
    for (name, value) in more.as_object().into_iter().flatten() {
        configuration[name] = value.clone();
    }
    configuration
}

/// One container of a host: a namespace and an id.
#[derive(Debug, Clone)]
pub(crate) struct Sandbox {
    pub(crate) host: Host,
    pub(crate) id: String,
    pub(crate) netns: String,
}

impl Sandbox {
    pub(crate) fn new(host: &Host, id: &str) -> Result<Self> {
        let sandbox = Self::absent(host, id);
        host.run(&["ip", "netns", "add", id])?.ok()?;
        Ok(sandbox)
    }

    /// One whose namespace does not exist.
    pub(crate) fn absent(host: &Host, id: &str) -> Self {
        Self { host: host.clone(), id: id.to_owned(), netns: format!("/run/netns/{id}") }
    }

    /// A verb; `environment` is laid over what a runtime sets, and an empty value is as good as none.
    pub(crate) fn call(&self, verb: &str, environment: &[(&str, &str)], configuration: &Value) -> Result<Finished> {
        self.call_raw(verb, environment, configuration.to_string().as_bytes())
    }

    pub(crate) fn call_raw(&self, verb: &str, environment: &[(&str, &str)], stdin: &[u8]) -> Result<Finished> {
        self.call_plugin(PLUGIN, verb, environment, stdin)
    }

    /// A verb of another plugin.
    pub(crate) fn call_plugin(
        &self,
        program: &str,
        verb: &str,
        environment: &[(&str, &str)],
        stdin: &[u8],
    ) -> Result<Finished> {
        let usual = [
            ("CNI_COMMAND", verb),
            ("CNI_CONTAINERID", &self.id),
            ("CNI_NETNS", &self.netns),
            ("CNI_IFNAME", "eth0"),
            ("CNI_PATH", "/opt/cni/bin:/usr/lib/cni"),
        ];
        let whole: Vec<_> = usual.iter().chain(environment).copied().collect();
        self.host.run_env(&whole, &[program], stdin)
    }

    /// ADD with these settings, which has to work.
    pub(crate) fn add(&self, configuration: &Value) -> Result<Value> {
        self.call("ADD", &[], configuration)?.json()
    }

    /// A verb that prints nothing and works.
    pub(crate) fn quietly(&self, verb: &str, environment: &[(&str, &str)], configuration: &Value) -> Result<()> {
        let said = self.call(verb, environment, configuration)?.ok()?;
        ensure!(said.trim().is_empty(), "{verb} printed {said:?}");
        Ok(())
    }

    pub(crate) fn del(&self, configuration: &Value) -> Result<()> {
        self.quietly("DEL", &[], configuration)
    }

    /// A command in the container.
    pub(crate) fn run(&self, words: &[&str]) -> Result<Finished> {
        self.host.run(&[&["ip", "netns", "exec", &self.id], words].concat())
    }

    pub(crate) fn reaches(&self, address: &str) -> Result<bool> {
        Ok(self.run(&["ping", "-n", "-c", "1", "-W", "1", address])?.is_ok())
    }
}

/// What a plugin said that refused: the code, and message and details as one text.
pub(crate) fn fault(finished: &Finished) -> Result<(u64, String)> {
    ensure!(!finished.is_ok(), "expected an error: {finished}");
    let document: Value = serde_json::from_str(&finished.stdout).with_context(|| format!("no document: {finished}"))?;
    ensure!(document["cniVersion"].is_string(), "no cniVersion in {document}");
    let code = document["code"].as_u64().with_context(|| format!("no code in {document}"))?;
    let text = |key: &str| document[key].as_str().unwrap_or_default().to_owned();
    Ok((code, format!("{}: {}", text("msg"), text("details"))))
}

/// The code has to be this one, and the message has to hold all of these.
pub(crate) fn refuses(finished: &Finished, code: u64, words: &[&str]) -> Result<()> {
    let (found, message) = fault(finished)?;
    ensure!(found == code, "code {found} instead of {code}: {message}");
    for word in words {
        ensure!(message.contains(word), "{message:?} does not say {word:?}");
    }
    Ok(())
}

/// Everything on a host that an attachment changes.
pub(crate) fn state(host: &Host) -> Result<String> {
    let mut links = host.container_links()?;
    links.sort();
    let listed = host.raddle(&["leases", "--output", "json"])?.json()?;
    let leases = listed["leases"].as_array().into_iter().flatten();
    let mut leases: Vec<_> = leases.map(|lease| format!("{} {}", lease["container_id"], lease["ifname"])).collect();
    leases.sort();
    let rules = host.run(&["nft", "list", "set", "bridge", "raddle-raddle0", "addresses4"])?.ok()?;
    Ok(format!("{links:?}\n{leases:?}\n{rules}"))
}

/// Where the stage has the plugin.
pub(crate) const PLUGIN: &str = "/opt/cni/bin/raddle-cni";
