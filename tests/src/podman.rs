//! Podman with its CNI backend on one host, with storage of its own.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use serde_json::json;

use crate::{
    cni::{NETWORK, Plugin, conflist},
    command::Finished,
    host::Host,
    image::{IMAGE, Image},
    newer::newer_engines,
};

/// Podman on a host, with the stage's image loaded and the CNI network configured.
#[derive(Debug, Clone)]
pub struct Podman {
    host: Host,
    environment: Vec<(String, String)>,
    cgroup: String,
}

impl Podman {
    /// Configures it as an operator would, and imports the image.
    pub fn on(host: &Host, image: &Image, plugin: Plugin) -> Result<Self> {
        let home = host.home().join("podman");
        fs::create_dir_all(&home)?;
        let place = home.display();
        let containers = home.join("containers.conf");
        fs::write(
            &containers,
            format!(
                r#"[network]
network_backend = "cni"
cni_plugin_dirs = ["/opt/cni/bin", "/usr/lib/cni"]
network_config_dir = "/etc/cni/net.d"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
tmp_dir = "{place}/tmp"
[containers]
default_sysctls = []
default_ulimits = ["nofile=1024:4096", "nproc=4096:4096"]
"#
            ),
        )?;
        let storage = home.join("storage.conf");
        fs::write(
            &storage,
            format!("[storage]\ndriver = \"overlay\"\ngraphroot = \"{place}/root\"\nrunroot = \"{place}/run\"\n"),
        )?;
        let environment = vec![
            // Its runtime looks for CRIU there.
            (String::from("PATH"), format!("{}:{}", newer_engines().join("criu").display(), host.path())),
            (String::from("CONTAINERS_CONF"), containers.display().to_string()),
            (String::from("CONTAINERS_STORAGE_CONF"), storage.display().to_string()),
        ];
        // Below the stage's own cgroup, so that what an engine leaves there is found by the janitor.
        let stage = host.stage().file_name().context("a stage without a name")?.to_string_lossy();
        let podman = Self { host: host.clone(), environment, cgroup: format!("/{stage}") };
        host.run_with(&["tee", "/etc/cni/net.d/10-raddle.conflist"], conflist(plugin).as_bytes())?.ok()?;
        let rootfs = image.rootfs().display().to_string();
        podman.run(&["import", "-c", "ENV PATH=/bin", "-c", "CMD [\"/bin/sh\"]", &rootfs, IMAGE])?.ok()?;
        Ok(podman)
    }

    /// Runs `podman` with these words.
    pub fn run(&self, words: &[&str]) -> Result<Finished> {
        let words: Vec<_> = ["podman"].iter().chain(words).copied().collect();
        self.host.run_env(&self.borrowed(), &words, b"")
    }

    /// Starts a detached container on the network: `options` for podman, then the command in it.
    pub fn start(&self, name: &str, options: &[&str], command: &[&str]) -> Result<Finished> {
        self.start_on(NETWORK, name, options, command)
    }

    /// As [`Self::start`], on a network as `podman run --network` has it, with what is wanted of it.
    pub fn start_on(&self, network: &str, name: &str, options: &[&str], command: &[&str]) -> Result<Finished> {
        let parent = format!("--cgroup-parent={}", self.cgroup);
        let mut words = vec!["run", "--pull=never", "--detach", "--name", name, "--network", network, &parent];
        words.extend_from_slice(options);
        words.push(IMAGE);
        words.extend_from_slice(command);
        self.run(&words)
    }

    /// Removes a container at once, running or not.
    pub fn remove(&self, name: &str) -> Result<()> {
        self.run(&["rm", "--force", "--time", "0", name])?.ok()?;
        Ok(())
    }

    /// Why no running container can be taken to another host from here; `None` if it can.
    ///
    /// One line: what CRIU says about the kernel, or that there is none.
    pub fn why_not_live(&self) -> Result<Option<String>> {
        let criu = newer_engines().join("criu/criu");
        if !criu.exists() {
            return Ok(Some(format!("no {} (scripts/setup unpacks it)", criu.display())));
        }
        let check = self.host.run(&[&criu.display().to_string(), "check"])?;
        let said = check.stderr.lines().find(|line| line.starts_with("Error")).unwrap_or("it does not say why");
        Ok((!check.is_ok()).then(|| format!("`criu check`: {said}")))
    }

    /// Ends a container and writes what it was to a file: its processes, their memory, their TCP connections.
    pub fn checkpoint(&self, name: &str, archive: &Path) -> Result<()> {
        self.checkpoint_with(&[], name, archive)
    }

    /// As [`Self::checkpoint`], and lets the container run on.
    pub fn checkpoint_running(&self, name: &str, archive: &Path) -> Result<()> {
        self.checkpoint_with(&["--leave-running"], name, archive)
    }

    fn checkpoint_with(&self, options: &[&str], name: &str, archive: &Path) -> Result<()> {
        let archive = archive.display().to_string();
        let words = ["container", "checkpoint", "--tcp-established", "--export", &archive];
        let words: Vec<_> = words.iter().chain(options).chain(&[name]).copied().collect();
        self.run(&words)?.ok()?;
        Ok(())
    }

    /// Goes on with a container of another host's [`Self::checkpoint`], where it was.
    pub fn restore(&self, archive: &Path) -> Result<Finished> {
        self.run(&["container", "restore", "--tcp-established", "--import", &archive.display().to_string()])
    }

    /// Address and MAC of a container, as podman tells them.
    pub fn address(&self, name: &str) -> Result<(String, String)> {
        let inspected = self.run(&["inspect", name])?.json()?;
        let network = inspected.pointer(&format!("/0/NetworkSettings/Networks/{NETWORK}"));
        let field = |field: &str| network.and_then(|network| network[field].as_str()).map(str::to_owned);
        let address = field("IPAddress").with_context(|| format!("no address of {name}"))?;
        Ok((address, field("MacAddress").with_context(|| format!("no MAC of {name}"))?))
    }

    /// What a container has printed.
    pub fn logs(&self, name: &str) -> Result<String> {
        self.run(&["logs", name])?.ok()
    }

    /// Saves the stage's image for an engine that has no `import` of its own.
    pub fn archive(&self) -> Result<PathBuf> {
        let archive = self.host.home().join("image.tar");
        self.run(&["save", "--output", &archive.display().to_string(), IMAGE])?.ok()?;
        Ok(archive)
    }

    /// Saves an image whose containers run `command` unasked: what pods are made of.
    pub fn pod_archive(&self, image: &Image, command: &[&str]) -> Result<PathBuf> {
        let archive = self.host.home().join("pod.tar");
        let (rootfs, command) = (image.rootfs().display().to_string(), format!("CMD {}", json!(command)));
        self.run(&["import", "-c", "ENV PATH=/bin", "-c", &command, &rootfs, POD_IMAGE])?.ok()?;
        self.run(&["save", "--output", &archive.display().to_string(), POD_IMAGE])?.ok()?;
        Ok(archive)
    }

    /// The environment podman needs, for who wants to look around by hand.
    #[must_use]
    pub fn environment(&self) -> Vec<String> {
        self.environment.iter().map(|(name, value)| format!("{name}={value}")).collect()
    }

    fn borrowed(&self) -> Vec<(&str, &str)> {
        self.environment.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
    }
}

/// The image of [`Podman::pod_archive`].
pub(crate) const POD_IMAGE: &str = "localhost/pod:latest";
