//! A Raddle router on a host, driven by the documented commands only.
//!
//! Knows the operator's verbs and their JSON. Knows nothing of what is behind them.

use std::time::Duration;

use anyhow::{Result, bail};
use serde_json::Value;

use crate::{command::Finished, host::Host, process::Process, wait::until};

/// How a host becomes a member of the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JoinBy {
    /// A token from the first router.
    Token,
    /// The same password file on every host.
    Password,
}

/// One router: the process, the way it was started, and its host.
#[derive(Debug)]
pub struct Router {
    host: Host,
    environment: Vec<(String, String)>,
    flags: Vec<String>,
    process: Process,
}

impl Router {
    /// Starts `raddle router` with more words (peers, flags) and waits until it answers `raddle status`.
    pub fn start(host: &Host, words: &[&str]) -> Result<Self> {
        Self::start_under(host, &[], words)
    }

    /// The same, with more environment.
    pub fn start_under(host: &Host, environment: &[(&str, &str)], words: &[&str]) -> Result<Self> {
        let mut router = Self::launch_under(host, environment, words)?;
        router.until_ready()?;
        Ok(router)
    }

    /// The same, without waiting: for many that start at once.
    pub fn launch(host: &Host, words: &[&str]) -> Result<Self> {
        Self::launch_under(host, &[], words)
    }

    fn launch_under(host: &Host, environment: &[(&str, &str)], words: &[&str]) -> Result<Self> {
        let environment: Vec<_> =
            environment.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        let flags: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
        let process = launch(host, &environment, &flags)?;
        Ok(Self { host: host.clone(), environment, flags, process })
    }

    /// Starts it again the way it was started, without waiting.
    pub fn launch_again(&mut self) -> Result<()> {
        self.process = launch(&self.host, &self.environment, &self.flags)?;
        Ok(())
    }

    /// Kills it with SIGKILL: no farewell, no flush.
    pub fn kill(&mut self) -> Result<()> {
        self.process.kill()
    }

    /// Ends it as its service manager does, and waits until it has.
    pub fn stop(&mut self) -> Result<()> {
        self.process.signal("TERM")?;
        self.process.wait(READY)?;
        Ok(())
    }

    /// Starts it again the way it was started, and waits until it answers.
    pub fn start_again(&mut self) -> Result<()> {
        self.launch_again()?;
        self.until_ready()
    }

    /// Waits until it answers `raddle status`.
    pub fn until_ready(&mut self) -> Result<()> {
        until(&format!("the router on {} answers", self.host.name()), READY, || {
            if !self.process.is_running()? {
                bail!("it ended: {}", self.process.output()?);
            }
            self.status().map(Some)
        })?;
        Ok(())
    }

    /// The host it runs on.
    #[must_use]
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// The process itself.
    #[must_use]
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// The process, to be looked at.
    pub fn process_mut(&mut self) -> &mut Process {
        &mut self.process
    }

    /// The process, to be let go.
    #[must_use]
    pub fn into_process(self) -> Process {
        self.process
    }

    /// Everything it has logged since it was started last.
    pub fn log(&self) -> Result<String> {
        self.process.output()
    }

    /// Waits until one line of its log holds all these words, in any case.
    pub fn until_logs(&self, words: &[&str]) -> Result<()> {
        until(&format!("{} logs {words:?}", self.host.name()), LOGS, || {
            let log = self.log()?.to_lowercase();
            let holds = |line: &str| words.iter().all(|word| line.contains(word));
            if log.lines().any(holds) { Ok(Some(())) } else { bail!("{log}") }
        })
    }

    /// Runs `raddle` with these words on its host.
    pub fn raddle(&self, words: &[&str]) -> Result<Finished> {
        self.host.raddle(words)
    }

    /// `raddle status --output json`.
    pub fn status(&self) -> Result<Value> {
        self.raddle(&["status", "--output", "json"])?.json()
    }

    /// `raddle peers --output json`: the list.
    pub fn peers(&self) -> Result<Vec<Value>> {
        self.list("peers", "peers")
    }

    /// `raddle ps --output json`: the list.
    pub fn containers(&self) -> Result<Vec<Value>> {
        self.list("ps", "containers")
    }

    /// `raddle leases --output json`: the list.
    pub fn leases(&self) -> Result<Vec<Value>> {
        self.list("leases", "leases")
    }

    fn list(&self, verb: &str, field: &str) -> Result<Vec<Value>> {
        let answer = self.raddle(&[verb, "--output", "json"])?.json()?;
        match answer.get(field).and_then(Value::as_array) {
            Some(list) => Ok(list.clone()),
            None => bail!("`raddle {verb}` printed no list {field:?}: {answer}"),
        }
    }

    /// Waits until it has this many connected peers.
    pub fn until_connected(&self, peers: u64) -> Result<()> {
        until(&format!("{} has {peers} peers", self.host.name()), MESH, || {
            let status = self.status()?;
            let connected = status.pointer("/peers/connected").and_then(Value::as_u64);
            if connected == Some(peers) { Ok(Some(())) } else { bail!("{status}") }
        })
    }

    /// Creates a join token with more words (`--ttl`, `--uses`).
    pub fn token(&self, words: &[&str]) -> Result<String> {
        let words: Vec<_> = ["token", "create"].iter().chain(words).copied().collect();
        self.raddle(&words)?.ok()
    }
}

impl Host {
    /// Runs `raddle` with these words.
    pub fn raddle(&self, words: &[&str]) -> Result<Finished> {
        let words: Vec<_> = std::iter::once("raddle").chain(words.iter().copied()).collect();
        self.run(&words)
    }
}

fn launch(host: &Host, environment: &[(String, String)], flags: &[String]) -> Result<Process> {
    let environment: Vec<_> = environment.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let words: Vec<_> = ["raddle", "router"].into_iter().chain(flags.iter().map(String::as_str)).collect();
    host.spawn_env("router", &environment, &words)
}

/// A start takes well under a second; the rest is for a machine that compiles beside it.
const READY: Duration = Duration::from_secs(20);
/// Reconnects back off to a few seconds at most; a cluster of a few hosts stands long before this.
const MESH: Duration = Duration::from_secs(40);
/// A refusal is logged when it happens.
const LOGS: Duration = Duration::from_secs(10);
