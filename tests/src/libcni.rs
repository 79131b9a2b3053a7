//! Plugins called through libcni, the library of the engines, with a cache as they keep it.

use std::fs;

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::{
    cni::{Answer, Attachment},
    host::Host,
    newer::newer_engines,
};

/// One conflist on one host, with the cache of one runtime.
#[derive(Debug)]
pub struct Libcni {
    host: Host,
    conflist: String,
    cache: String,
}

impl Libcni {
    /// Writes the conflist; `runtime` names the cache.
    pub fn on(host: &Host, runtime: &str, conflist: &Value) -> Result<Self> {
        let home = host.home().join("libcni");
        fs::create_dir_all(&home)?;
        let (file, cache) = (home.join(format!("{runtime}.conflist")), home.join(runtime));
        fs::write(&file, conflist.to_string())?;
        Ok(Self { host: host.clone(), conflist: file.display().to_string(), cache: cache.display().to_string() })
    }

    /// Asks every plugin of the chain whether it is there and speaks the version.
    pub fn validate(&self) -> Result<Answer> {
        self.call(&["validate"], "", &Value::Null)
    }

    /// STATUS.
    pub fn status(&self) -> Result<Answer> {
        self.call(&["status"], "", &Value::Null)
    }

    /// GC: what is not named (`CONTAINER/IFNAME`) has gone.
    pub fn gc(&self, stay: &[&str]) -> Result<Answer> {
        let words: Vec<_> = ["gc"].iter().chain(stay).copied().collect();
        self.call(&words, "", &Value::Null)
    }

    /// What the cache knows of a container.
    pub fn attachments(&self, container: &str) -> Result<Value> {
        self.call(&["attachments", container], "", &Value::Null)?.done()
    }

    /// `add`, `check` or `del` of `eth0`, with capabilities by their name.
    pub fn verb(&self, verb: &str, about: Attachment<'_>, capabilities: &Value) -> Result<Answer> {
        self.call(&[verb, about.container, about.netns, "eth0"], about.arguments, capabilities)
    }

    fn call(&self, words: &[&str], arguments: &str, capabilities: &Value) -> Result<Answer> {
        let driver = newer_engines().join("libcni/driver").display().to_string();
        let path = format!("{}:/opt/cni/bin", newer_engines().join("cni").display());
        let capabilities = if capabilities.is_null() { String::new() } else { capabilities.to_string() };
        let environment = [("CNI_PATH", path.as_str()), ("CNI_ARGS", arguments), ("CAPABILITIES", &capabilities)];
        let line: Vec<_> = [driver.as_str(), &self.conflist, &self.cache].iter().chain(words).copied().collect();
        let finished = self.host.run_env(&environment, &line, b"")?;
        Answer::parse(&finished).with_context(|| format!("libcni {words:?}"))
    }
}
