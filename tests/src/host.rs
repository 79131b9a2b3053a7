//! One host: how to run something on it.
//!
//! Knows its namespaces and addresses. Does not know what runs there.

use std::{
    net::{Ipv4Addr, Ipv6Addr},
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, Result};

use crate::{
    command::{Finished, run},
    process::Process,
    wait::until,
};

/// A handle to a host; clones are the same host.
#[derive(Debug, Clone)]
pub struct Host {
    place: Arc<Place>,
}

#[derive(Debug)]
struct Place {
    stage: PathBuf,
    name: String,
    number: u8,
    holder: u32,
}

impl Host {
    pub(crate) fn new(stage: &Path, name: &str, number: u8, holder: u32) -> Self {
        Self { place: Arc::new(Place { stage: stage.to_path_buf(), name: name.to_owned(), number, holder }) }
    }

    /// Its host name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.place.name
    }

    /// Its IPv4 address on the underlay.
    #[must_use]
    pub fn underlay(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 99, 0, self.place.number)
    }

    /// Its IPv6 address on the underlay.
    #[must_use]
    pub fn underlay6(&self) -> Ipv6Addr {
        Ipv6Addr::new(0xfd99, 0, 0, 0, 0, 0, 0, u16::from(self.place.number))
    }

    /// A directory of its own which exists on the machine too, under the same path.
    #[must_use]
    pub fn home(&self) -> PathBuf {
        self.place.stage.join(&self.place.name)
    }

    /// The directory all hosts of the stage share.
    #[must_use]
    pub fn stage(&self) -> &Path {
        &self.place.stage
    }

    /// The host's root directory as the machine sees it: a way to its sockets and files without entering it.
    #[must_use]
    pub fn root(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root", self.place.holder))
    }

    /// The machine's process id of the host's holder: what `nsenter` is pointed at.
    pub(crate) fn holder(&self) -> u32 {
        self.place.holder
    }

    /// Runs a command to its end.
    pub fn run(&self, words: &[&str]) -> Result<Finished> {
        self.run_with(words, b"")
    }

    /// Runs a command to its end with `input` on its stdin.
    pub fn run_with(&self, words: &[&str], input: &[u8]) -> Result<Finished> {
        self.run_env(&[], words, input)
    }

    /// Runs a command to its end, with more environment. Bounded in time.
    pub fn run_env(&self, environment: &[(&str, &str)], words: &[&str], input: &[u8]) -> Result<Finished> {
        let mut command = self.enter();
        command.envs(environment.iter().copied());
        command.args(["timeout", "--signal=KILL", COMMAND_SECONDS]).args(words);
        let mut finished = run(command, input)?;
        finished.line = format!("{}$ {}", self.name(), words.join(" "));
        Ok(finished)
    }

    /// Starts a command that goes on in the background; its output is the log `name` of this host.
    pub fn spawn(&self, name: &str, words: &[&str]) -> Result<Process> {
        self.spawn_env(name, &[], words)
    }

    /// Starts a command in the background, with more environment.
    pub fn spawn_env(&self, name: &str, environment: &[(&str, &str)], words: &[&str]) -> Result<Process> {
        Process::start(self, name, environment, words)
    }

    /// Mounts a file of another host's, which may be a namespace, under the same path here.
    pub(crate) fn borrow_file(&self, owner: &Self, path: &str) -> Result<()> {
        // The file is opened where the machine sees both hosts, and mounted where only this one is seen.
        let inner = self.enter();
        let mut command = Command::new("sh");
        command.args(["-c", "exec \"$@\" 9<\"$0\""]).arg(format!("/proc/{}/root{path}", owner.holder()));
        command.arg(inner.get_program()).args(inner.get_args());
        command.args([
            "sh",
            "-c",
            "mkdir -p \"${0%/*}\" && touch \"$0\" && mount --no-canonicalize --bind /proc/self/fd/9 \"$0\"",
            path,
        ]);
        run(command, b"")?.ok()?;
        Ok(())
    }

    /// True while the host has a network interface of that name.
    pub fn has_link(&self, name: &str) -> Result<bool> {
        Ok(self.run(&["ip", "link", "show", name])?.is_ok())
    }

    /// The host's ends of container interfaces that exist at the moment.
    pub fn container_links(&self) -> Result<Vec<String>> {
        let links = self.run(&["ip", "-json", "link", "show", "type", "veth"])?.json()?;
        let names = links.as_array().into_iter().flatten().filter_map(|link| link["ifname"].as_str());
        Ok(names.filter(|name| *name != "eth0").map(str::to_owned).collect())
    }

    /// Waits until the port of its one container is down.
    pub fn until_fenced(&self, limit: Duration) -> Result<()> {
        until(&format!("the port on {} is fenced", self.name()), limit, || {
            let port = self.container_links()?.pop().context("no port")?;
            Ok(self.run(&["ip", "link", "show", &port])?.ok()?.contains("state DOWN").then_some(()))
        })
    }

    /// The command that opens a shell on the host, for a person.
    #[must_use]
    pub fn entrance(&self) -> String {
        let pid = self.place.holder;
        format!("nsenter -t {pid} -n -m -u --pid=/proc/{pid}/ns/pid_for_children bash")
    }

    /// A command prefix that enters the host: all its namespaces, the workspace's binaries first on the path.
    pub(crate) fn enter(&self) -> Command {
        let pid = self.place.holder;
        let mut command = Command::new("nsenter");
        command.args(["-t", &pid.to_string(), "-n", "-m", "-u"]);
        // The holder itself stays outside of the process namespace it made for its child.
        command.arg(format!("--pid=/proc/{pid}/ns/pid_for_children"));
        command.env("PATH", self.path());
        command
    }

    /// The `PATH` of what runs on the host.
    pub(crate) fn path(&self) -> String {
        format!("{}:{PATH}", self.binaries())
    }

    fn binaries(&self) -> String {
        let own = std::env::var_os("RADDLE_BIN_DIR").map(PathBuf::from);
        let beside = || crate::stage::binary("raddle").ok().and_then(|path| path.parent().map(Path::to_path_buf));
        own.or_else(beside).map_or_else(String::new, |path| path.display().to_string())
    }
}

/// Longer than anything the tests run to its end; a hung command fails its test instead of the whole run.
const COMMAND_SECONDS: &str = "60";
/// Where Debian puts what the stage uses.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
