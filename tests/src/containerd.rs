//! containerd on one host, and `ctr run --cni`, its own client that executes the plugins itself.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context as _, Result};

use crate::{
    cni::{Plugin, conflist},
    command::Finished,
    host::Host,
    image::IMAGE,
    process::Process,
    wait::until,
};

/// A containerd with the stage's image loaded and the CNI network configured.
#[derive(Debug)]
pub struct Containerd {
    host: Host,
    namespace: String,
    _daemon: Process,
}

impl Containerd {
    /// Starts it and loads `archive`, an image as `podman save` writes it.
    pub fn on(host: &Host, archive: &Path, plugin: Plugin) -> Result<Self> {
        let home = host.home().join("containerd");
        fs::create_dir_all(&home)?;
        let configuration = home.join("config.toml");
        fs::write(
            &configuration,
            format!(
                "version = 2\nroot = \"{}/root\"\nstate = \"/run/containerd\"\n\
                 disabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n\
                 [grpc]\naddress = \"/run/containerd/containerd.sock\"\n",
                home.display()
            ),
        )?;
        let daemon = host.spawn("containerd", &["containerd", "--config", &configuration.display().to_string()])?;
        host.run_with(&["tee", "/etc/cni/net.d/10-raddle.conflist"], conflist(plugin).as_bytes())?.ok()?;
        until("containerd answers", START, || Ok(host.run(&["ctr", "version"])?.is_ok().then_some(())))?;
        // The namespace is also the cgroup its containers are in: the stage's own, which the janitor clears.
        let namespace = host.stage().file_name().context("a stage without a name")?.to_string_lossy().into_owned();
        let containerd = Self { host: host.clone(), namespace, _daemon: daemon };
        containerd.ctr(&["image", "import", &archive.display().to_string()])?.ok()?;
        Ok(containerd)
    }

    /// Runs `ctr` with these words.
    pub fn ctr(&self, words: &[&str]) -> Result<Finished> {
        let words: Vec<_> = ["ctr", "--namespace", &self.namespace].into_iter().chain(words.iter().copied()).collect();
        self.host.run_env(&[("CNI_PATH", CNI_PATH)], &words, b"")
    }

    /// Runs a command in a container of its own to its end: ADD before, DEL after.
    pub fn once(&self, name: &str, command: &[&str]) -> Result<Finished> {
        let words: Vec<_> = ["run", "--rm", "--cni", IMAGE, name].into_iter().chain(command.iter().copied()).collect();
        self.ctr(&words)
    }

    /// Starts a container that stays, in the foreground of a background process: only so does `ctr` call DEL at its end.
    pub fn start(&self, name: &str, command: &[&str]) -> Result<Process> {
        let mut words = vec!["ctr", "--namespace", &self.namespace, "run", "--rm", "--cni", IMAGE, name];
        words.extend_from_slice(command);
        self.host.spawn_env(name, &[("CNI_PATH", CNI_PATH)], &words)
    }

    /// Ends a container by SIGKILL to its process.
    pub fn kill(&self, name: &str) -> Result<()> {
        self.ctr(&["task", "kill", "--signal", "SIGKILL", name])?.ok()?;
        Ok(())
    }
}

const CNI_PATH: &str = "/opt/cni/bin:/usr/lib/cni";
/// Measured 0.13 s on an idle machine.
const START: Duration = Duration::from_secs(15);
