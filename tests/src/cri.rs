//! containerd as Kubernetes uses it: pods over its CRI socket, which the kubelet's place is taken at.
//!
//! Knows the few messages of `runtime.v1` that pods need. Knows no plugin: the conflist is the caller's.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result};
use prost::Message;
use serde_json::Value;

use crate::{
    command::Finished, grpc, host::Host, newer::newer_engines, podman::POD_IMAGE, process::Process, wait::until,
};

/// Which containerd.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Generation {
    /// The system's, 1.6: CNI up to 1.0.0.
    Installed,
    /// The one of `scripts/newer-engines`, 2.1: CNI 1.1.0, asks plugins for their STATUS.
    Newer,
}

/// A containerd that runs pods.
#[derive(Debug)]
pub struct Cri {
    host: Host,
    generation: Generation,
    socket: PathBuf,
    cgroup: String,
    daemon: Process,
}

impl Cri {
    /// Starts it with this conflist, and loads `archive`, the image all pods run.
    pub fn on(host: &Host, generation: Generation, archive: &Path, conflist: &Value) -> Result<Self> {
        let home = host.home().join("cri");
        fs::create_dir_all(&home)?;
        let socket = home.join("socket");
        fs::write(home.join("config.toml"), configuration(generation, &home, &socket))?;
        // containerd looks for all plugins in one place, the loopback's among them.
        host.run(&["sh", "-c", "ln -s /usr/lib/cni/* /opt/cni/bin"])?.ok()?;
        host.run_with(&["tee", "/etc/cni/net.d/10-raddle.conflist"], conflist.to_string().as_bytes())?.ok()?;
        let stage = host.stage().file_name().context("a stage without a name")?.to_string_lossy();
        let daemon = launch(host, generation)?;
        let mut cri = Self { host: host.clone(), generation, socket, cgroup: format!("/{stage}"), daemon };
        cri.until_ready()?;
        let (socket, archive) = (cri.socket.display().to_string(), archive.display().to_string());
        host.run(&["ctr", "--address", &socket, "--namespace", "k8s.io", "image", "import", &archive])?.ok()?;
        Ok(cri)
    }

    /// Kills the daemon and starts it again; its pods run on meanwhile.
    pub fn restart(&mut self) -> Result<()> {
        self.daemon.kill()?;
        self.daemon = launch(&self.host, self.generation)?;
        self.until_ready()
    }

    fn until_ready(&mut self) -> Result<()> {
        until("containerd answers", START, || self.network().map(|_ready_or_not| Some(())))
    }

    /// Whether it holds the network for ready, and its reason if not.
    pub fn network(&self) -> Result<Result<(), String>> {
        let answer: StatusResponse = self.call("Status", &StatusRequest {})?;
        let conditions = answer.status.unwrap_or_default().conditions;
        let network =
            conditions.into_iter().find(|condition| condition.r#type == "NetworkReady").context("no NetworkReady")?;
        Ok(if network.status { Ok(()) } else { Err(format!("{}: {}", network.reason, network.message)) })
    }

    /// Runs a pod.
    pub fn run(&self, pod: &Pod<'_>) -> Result<Sandbox> {
        let request = RunPodSandboxRequest { config: Some(self.config(pod)) };
        let answer: SandboxId = self.call("RunPodSandbox", &request)?;
        self.sandbox(&answer.pod_sandbox_id)
    }

    /// Runs a container of the image that all pods run, with other words, in a pod that runs.
    pub fn run_in(&self, sandbox: &Sandbox, pod: &Pod<'_>, words: &[&str]) -> Result<()> {
        let config = ContainerConfig {
            metadata: Some(ContainerMetadata { name: "main".to_owned() }),
            image: Some(ImageSpec { image: POD_IMAGE.to_owned() }),
            command: words.iter().map(|&word| word.to_owned()).collect(),
        };
        let request = CreateContainerRequest {
            pod_sandbox_id: sandbox.id.clone(),
            config: Some(config),
            sandbox_config: Some(self.config(pod)),
        };
        let container: ContainerId = self.call("CreateContainer", &request)?;
        let _: Empty = self.call("StartContainer", &container)?;
        Ok(())
    }

    fn config(&self, pod: &Pod<'_>) -> PodSandboxConfig {
        let map =
            |pairs: &[(&str, &str)]| pairs.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect();
        PodSandboxConfig {
            metadata: Some(PodSandboxMetadata {
                name: pod.name.to_owned(),
                uid: format!("uid-{}", pod.name),
                namespace: pod.namespace.to_owned(),
            }),
            hostname: pod.name.to_owned(),
            log_directory: self.host.home().join("cri").display().to_string(),
            dns_config: Some(DnsConfig {
                servers: vec!["10.0.0.10".to_owned()],
                searches: vec!["svc.local".to_owned()],
            }),
            port_mappings: pod
                .ports
                .iter()
                .map(|&(host_port, container_port)| PortMapping { container_port, host_port })
                .collect(),
            annotations: map(pod.annotations),
            linux: Some(LinuxPodSandboxConfig { cgroup_parent: self.cgroup.clone() }),
        }
    }

    /// What it says about a pod.
    pub fn sandbox(&self, id: &str) -> Result<Sandbox> {
        let request = PodSandboxStatusRequest { pod_sandbox_id: id.to_owned(), verbose: true };
        let answer: PodSandboxStatusResponse = self.call("PodSandboxStatus", &request)?;
        let status = answer.status.context("no status")?;
        let info: Value = serde_json::from_str(answer.info.get("info").context("no information")?)?;
        let namespaces =
            info.pointer("/runtimeSpec/linux/namespaces").and_then(Value::as_array).context("no namespaces")?;
        let network =
            namespaces.iter().find(|namespace| namespace["type"] == "network").context("no network namespace")?;
        Ok(Sandbox {
            host: self.host.clone(),
            id: status.id,
            address: status.network.unwrap_or_default().ip,
            netns: network["path"].as_str().context("no path of the network namespace")?.to_owned(),
        })
    }

    /// Stops and removes a pod, as the kubelet does.
    pub fn remove(&self, sandbox: &Sandbox) -> Result<()> {
        let id = || SandboxId { pod_sandbox_id: sandbox.id.clone() };
        let _: Empty = self.call("StopPodSandbox", &id())?;
        let _: Empty = self.call("RemovePodSandbox", &id())?;
        Ok(())
    }

    fn call<Answer: Message + Default>(&self, method: &str, request: &impl Message) -> Result<Answer> {
        grpc::call(&self.socket, &format!("/runtime.v1.RuntimeService/{method}"), request)
    }
}

/// A pod that is wanted.
#[derive(Debug, Clone, Copy, Default)]
pub struct Pod<'a> {
    /// Its namespace in Kubernetes.
    pub namespace: &'a str,
    /// Its name.
    pub name: &'a str,
    /// Host ports and the ports of the pod behind them.
    pub ports: &'a [(i32, i32)],
    /// Its annotations.
    pub annotations: &'a [(&'a str, &'a str)],
}

/// A pod that runs.
#[derive(Debug, Clone)]
pub struct Sandbox {
    host: Host,
    /// Its id.
    pub id: String,
    /// Its address, as containerd tells it.
    pub address: String,
    netns: String,
}

impl Sandbox {
    /// Runs a command of the host in the pod's network.
    pub fn run(&self, words: &[&str]) -> Result<Finished> {
        let netns = format!("--net={}", self.netns);
        let words: Vec<_> = ["nsenter", &netns].into_iter().chain(words.iter().copied()).collect();
        self.host.run(&words)
    }

    /// Its MAC, as the kernel has it.
    pub fn mac(&self) -> Result<String> {
        let links = self.run(&["ip", "-json", "link", "show", "eth0"])?.json()?;
        Ok(links.pointer("/0/address").and_then(Value::as_str).context("no MAC")?.to_owned())
    }
}

fn launch(host: &Host, generation: Generation) -> Result<Process> {
    let configuration = host.home().join("cri/config.toml").display().to_string();
    let path = match generation {
        Generation::Installed => host.path(),
        Generation::Newer => format!("{}:{}", newer_engines().join("containerd").display(), host.path()),
    };
    host.spawn_env("cri", &[("PATH", &path)], &["containerd", "--config", &configuration])
}

fn configuration(generation: Generation, home: &Path, socket: &Path) -> String {
    let (version, rest) = match generation {
        Generation::Installed => (
            2,
            format!(
                r#"[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{POD_IMAGE}"
restrict_oom_score_adj = true
disable_apparmor = true
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "/opt/cni/bin"
conf_dir = "/etc/cni/net.d"
"#
            ),
        ),
        Generation::Newer => (
            3,
            format!(
                r#"[plugins."io.containerd.cri.v1.images".pinned_images]
sandbox = "{POD_IMAGE}"
[plugins."io.containerd.cri.v1.runtime"]
restrict_oom_score_adj = true
disable_apparmor = true
[plugins."io.containerd.cri.v1.runtime".cni]
bin_dirs = ["{}", "/opt/cni/bin"]
conf_dir = "/etc/cni/net.d"
"#,
                newer_engines().join("cni").display()
            ),
        ),
    };
    let (home, socket) = (home.display(), socket.display());
    format!("version = {version}\nroot = \"{home}/root\"\nstate = \"/run/cri\"\n[grpc]\naddress = \"{socket}\"\n{rest}")
}

#[derive(Clone, PartialEq, Message)]
struct RunPodSandboxRequest {
    #[prost(message, optional, tag = "1")]
    config: Option<PodSandboxConfig>,
}

#[derive(Clone, PartialEq, Message)]
struct PodSandboxConfig {
    #[prost(message, optional, tag = "1")]
    metadata: Option<PodSandboxMetadata>,
    #[prost(string, tag = "2")]
    hostname: String,
    #[prost(string, tag = "3")]
    log_directory: String,
    #[prost(message, optional, tag = "4")]
    dns_config: Option<DnsConfig>,
    #[prost(message, repeated, tag = "5")]
    port_mappings: Vec<PortMapping>,
    #[prost(btree_map = "string, string", tag = "7")]
    annotations: BTreeMap<String, String>,
    #[prost(message, optional, tag = "8")]
    linux: Option<LinuxPodSandboxConfig>,
}

#[derive(Clone, PartialEq, Message)]
struct PodSandboxMetadata {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    uid: String,
    #[prost(string, tag = "3")]
    namespace: String,
}

#[derive(Clone, PartialEq, Message)]
struct DnsConfig {
    #[prost(string, repeated, tag = "1")]
    servers: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    searches: Vec<String>,
}

/// TCP, on every address of the host.
#[derive(Clone, PartialEq, Message)]
struct PortMapping {
    #[prost(int32, tag = "2")]
    container_port: i32,
    #[prost(int32, tag = "3")]
    host_port: i32,
}

#[derive(Clone, PartialEq, Message)]
struct LinuxPodSandboxConfig {
    #[prost(string, tag = "1")]
    cgroup_parent: String,
}

#[derive(Clone, PartialEq, Message)]
struct CreateContainerRequest {
    #[prost(string, tag = "1")]
    pod_sandbox_id: String,
    #[prost(message, optional, tag = "2")]
    config: Option<ContainerConfig>,
    #[prost(message, optional, tag = "3")]
    sandbox_config: Option<PodSandboxConfig>,
}

#[derive(Clone, PartialEq, Message)]
struct ContainerConfig {
    #[prost(message, optional, tag = "1")]
    metadata: Option<ContainerMetadata>,
    #[prost(message, optional, tag = "2")]
    image: Option<ImageSpec>,
    #[prost(string, repeated, tag = "3")]
    command: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
struct ContainerMetadata {
    #[prost(string, tag = "1")]
    name: String,
}

#[derive(Clone, PartialEq, Message)]
struct ImageSpec {
    #[prost(string, tag = "1")]
    image: String,
}

/// Also the request of Start.
#[derive(Clone, PartialEq, Message)]
struct ContainerId {
    #[prost(string, tag = "1")]
    container_id: String,
}

/// Also the request of Stop and Remove.
#[derive(Clone, PartialEq, Message)]
struct SandboxId {
    #[prost(string, tag = "1")]
    pod_sandbox_id: String,
}

#[derive(Clone, PartialEq, Message)]
struct Empty {}

#[derive(Clone, PartialEq, Message)]
struct PodSandboxStatusRequest {
    #[prost(string, tag = "1")]
    pod_sandbox_id: String,
    #[prost(bool, tag = "2")]
    verbose: bool,
}

#[derive(Clone, PartialEq, Message)]
struct PodSandboxStatusResponse {
    #[prost(message, optional, tag = "1")]
    status: Option<PodSandboxStatus>,
    #[prost(btree_map = "string, string", tag = "2")]
    info: BTreeMap<String, String>,
}

#[derive(Clone, PartialEq, Message)]
struct PodSandboxStatus {
    #[prost(string, tag = "1")]
    id: String,
    #[prost(message, optional, tag = "5")]
    network: Option<PodSandboxNetworkStatus>,
}

#[derive(Clone, PartialEq, Message)]
struct PodSandboxNetworkStatus {
    #[prost(string, tag = "1")]
    ip: String,
}

#[derive(Clone, PartialEq, Message)]
struct StatusRequest {}

#[derive(Clone, PartialEq, Message)]
struct StatusResponse {
    #[prost(message, optional, tag = "1")]
    status: Option<RuntimeStatus>,
}

#[derive(Clone, PartialEq, Message)]
struct RuntimeStatus {
    #[prost(message, repeated, tag = "1")]
    conditions: Vec<RuntimeCondition>,
}

#[derive(Clone, PartialEq, Message)]
struct RuntimeCondition {
    #[prost(string, tag = "1")]
    r#type: String,
    #[prost(bool, tag = "2")]
    status: bool,
    #[prost(string, tag = "3")]
    reason: String,
    #[prost(string, tag = "4")]
    message: String,
}

/// Measured half a second on an idle machine.
const START: Duration = Duration::from_secs(20);
