//! One underlay with its hosts, and the certainty that nothing of it outlives its owner.
//!
//! Owns the stage's directory and its janitor: a process of its own that holds the other end of a pipe and takes everything
//! down once the owner is gone, by drop, panic, abort, Ctrl-C or SIGKILL alike. There is no second way to clean up.

use std::{
    fs,
    io::Write as _,
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};

use crate::{command::run, host::Host, wait::until};

/// What the hosts stand on.
#[derive(Debug, Clone, Copy)]
pub struct Underlay {
    /// How many hosts: `host1`, `host2`, …
    pub hosts: u8,
    /// The MTU of every cable.
    pub mtu_bytes: u16,
}

/// A set of hosts on one bridge. Dropping it, or dying with it, removes all of it.
#[derive(Debug)]
pub struct Stage {
    directory: PathBuf,
    hosts: Vec<Host>,
    switch: Host,
    holders: Vec<Child>,
    janitor: Child,
}

impl Stage {
    /// Builds the hosts, gives them addresses on the underlay, and shows that they reach one another.
    pub fn build(underlay: Underlay) -> Result<Self> {
        ensure_root()?;
        let directory = tempfile::Builder::new().prefix("raddle-stage-").rand_bytes(8).tempdir()?.keep();
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o755))?;
        for (name, text) in [("down", DOWN), ("host.sh", HOST), ("janitor.sh", JANITOR)] {
            fs::write(directory.join(name), text)?;
        }
        fs::set_permissions(directory.join("down"), fs::Permissions::from_mode(0o755))?;
        let janitor = Command::new("bash")
            .arg(directory.join("janitor.sh"))
            .arg(&directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()?;
        let (switch, holder) = raise(&directory, "switch", 0)?;
        let mut stage = Self { directory, hosts: Vec::new(), switch, holders: vec![holder], janitor };
        stage.switch.run(&["ip", "link", "add", BRIDGE, "type", "bridge"])?.ok()?;
        stage.switch.run(&["ip", "link", "set", BRIDGE, "mtu", &underlay.mtu_bytes.to_string(), "up"])?.ok()?;
        for number in 1..=underlay.hosts {
            stage.add_host(number, underlay.mtu_bytes)?;
        }
        Ok(stage)
    }

    fn add_host(&mut self, number: u8, mtu_bytes: u16) -> Result<()> {
        let name = format!("host{number}");
        let (host, holder) = raise(&self.directory, &name, number)?;
        self.holders.push(holder);
        let (mtu, pid) = (mtu_bytes.to_string(), host.holder().to_string());
        // Only the network namespace of the switch is entered: the holder's process id is the machine's.
        let mut plug = Command::new("nsenter");
        plug.args([
            "-t",
            &self.switch.holder().to_string(),
            "-n",
            "ip",
            "link",
            "add",
            &name,
            "mtu",
            &mtu,
            "type",
            "veth",
        ]);
        plug.args(["peer", "name", "eth0", "mtu", &mtu, "netns", &pid]);
        run(plug, b"")?.ok()?;
        self.switch.run(&["ip", "link", "set", &name, "master", BRIDGE, "up"])?.ok()?;
        host.run(&["ip", "link", "set", "eth0", "up"])?.ok()?;
        host.run(&["ip", "address", "add", &format!("{}/24", host.underlay()), "dev", "eth0"])?.ok()?;
        host.run(&["ip", "address", "add", &format!("{}/64", host.underlay6()), "dev", "eth0", "nodad"])?.ok()?;
        self.hosts.push(host);
        Ok(())
    }

    /// The hosts, in order.
    #[must_use]
    pub fn hosts(&self) -> &[Host] {
        &self.hosts
    }

    /// The host with this number, counted from 1 as in its name.
    pub fn host(&self, number: usize) -> Result<&Host> {
        number
            .checked_sub(1)
            .and_then(|at| self.hosts.get(at))
            .with_context(|| format!("no host{number} on this stage"))
    }

    /// The namespace of the underlay bridge: where a capture sees every frame that passes between hosts.
    #[must_use]
    pub fn switch(&self) -> &Host {
        &self.switch
    }

    /// The directory all hosts see under the same path.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Cuts the underlay between two hosts, silently and both ways, as a broken switch would.
    pub fn cut(&self, one: &Host, other: &Host) -> Result<()> {
        let (one, other) = (one.name(), other.name());
        let rules = format!(
            "table bridge stage {{ chain forward {{ type filter hook forward priority 0; \
             iifname {one} oifname {other} drop; iifname {other} oifname {one} drop; }}; }}"
        );
        self.switch.run_with(&["nft", "-f", "-"], rules.as_bytes())?.ok()?;
        Ok(())
    }

    /// Cuts the underlay from one host to another, silently and that way only.
    pub fn deafen(&self, from: &Host, to: &Host) -> Result<()> {
        let (from, to) = (from.name(), to.name());
        let rules = format!(
            "table bridge stage {{ chain forward {{ type filter hook forward priority 0; iifname {from} oifname {to} drop; }}; }}"
        );
        self.switch.run_with(&["nft", "-f", "-"], rules.as_bytes())?.ok()?;
        Ok(())
    }

    /// Loses a third of what goes from one host to another, at random and that way only.
    pub fn thin(&self, from: &Host, to: &Host) -> Result<()> {
        let (from, to) = (from.name(), to.name());
        let rules = format!(
            "table bridge stage {{ chain forward {{ type filter hook forward priority 0; \
             iifname {from} oifname {to} numgen random mod 3 == 0 drop; }}; }}"
        );
        self.switch.run_with(&["nft", "-f", "-"], rules.as_bytes())?.ok()?;
        Ok(())
    }

    /// Cuts the underlay between two groups of hosts, silently and both ways. Inside each of them nothing changes.
    pub fn part(&self, left: &[Host], right: &[Host]) -> Result<()> {
        let names = |hosts: &[Host]| hosts.iter().map(Host::name).collect::<Vec<_>>().join(", ");
        let (left, right) = (names(left), names(right));
        let rules = format!(
            "table bridge stage {{ chain forward {{ type filter hook forward priority 0; \
             iifname {{ {left} }} oifname {{ {right} }} drop; iifname {{ {right} }} oifname {{ {left} }} drop; }}; }}"
        );
        self.switch.run_with(&["nft", "-f", "-"], rules.as_bytes())?.ok()?;
        Ok(())
    }

    /// Mends every cut.
    pub fn mend(&self) -> Result<()> {
        self.switch.run(&["nft", "delete", "table", "bridge", "stage"])?.ok()?;
        Ok(())
    }

    /// Leaves everything up and returns the command that takes it down.
    pub fn keep(mut self) -> Result<PathBuf> {
        if let Some(mut pipe) = self.janitor.stdin.take() {
            pipe.write_all(b"keep\n")?;
        }
        Ok(self.directory.join("down"))
    }

    /// Prints the end of every log: what a failed test needs to be understood.
    fn tell(&self) {
        let mut out = std::io::stderr().lock();
        for log in logs(&self.directory) {
            let text = fs::read_to_string(&log).unwrap_or_default();
            let lines: Vec<_> = text.lines().collect();
            let tail = lines.iter().skip(lines.len().saturating_sub(TAIL_LINES));
            let _ = writeln!(out, "\n--- {}", log.display());
            for line in tail {
                let _ = writeln!(out, "{line}");
            }
        }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if std::thread::panicking() || std::env::var_os("RADDLE_STAGE_LOGS").is_some() {
            self.tell();
        }
        drop(self.janitor.stdin.take());
        // A kept stage has told its janitor so; either way the janitor ends by itself.
        let _ = until("the janitor", TAKE_DOWN, || Ok(self.janitor.try_wait()?));
        for holder in &mut self.holders {
            let _ = holder.try_wait();
        }
    }
}

/// Starts the first process of a host and waits until its namespaces are complete.
fn raise(stage: &Path, name: &str, number: u8) -> Result<(Host, Child)> {
    let home = stage.join(name);
    fs::create_dir_all(home.join("opt/upper/cni/bin"))?;
    fs::create_dir_all(home.join("log"))?;
    for plugin in ["raddle-cni"] {
        if let Ok(path) = binary(plugin) {
            std::os::unix::fs::symlink(path, home.join("opt/upper/cni/bin").join(plugin))?;
        }
    }
    let log = fs::File::create(home.join("log/host"))?;
    let mut holder = Command::new("unshare")
        .args([
            "--net",
            "--mount",
            "--uts",
            "--pid",
            "--fork",
            "--mount-proc",
            "--kill-child",
            "--propagation",
            "private",
        ])
        .arg("bash")
        .arg(stage.join("host.sh"))
        .arg(stage)
        .arg(name)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .process_group(0)
        .spawn()?;
    fs::write(home.join("holder"), holder.id().to_string())?;
    until(&format!("{name} comes up"), RAISE, || {
        if let Some(status) = holder.try_wait()? {
            bail!("it ended with {status}: {}", fs::read_to_string(home.join("log/host"))?);
        }
        Ok(home.join("ready").exists().then_some(()))
    })?;
    Ok((Host::new(stage, name, number, holder.id()), holder))
}

/// Finds a binary of the workspace: in `RADDLE_BIN_DIR`, or beside the running test or tool.
pub fn binary(name: &str) -> Result<PathBuf> {
    let directory = match std::env::var_os("RADDLE_BIN_DIR") {
        Some(directory) => PathBuf::from(directory),
        None => {
            let own = std::env::current_exe()?;
            let beside = own.parent().context("no directory of my own")?;
            if beside.ends_with("deps") {
                beside.parent().unwrap_or(beside).to_path_buf()
            } else {
                beside.to_path_buf()
            }
        }
    };
    let path = directory.join(name);
    ensure!(path.exists(), "{} is not built: `cargo build --workspace --bins` makes it", path.display());
    Ok(path)
}

fn ensure_root() -> Result<()> {
    let mut id = Command::new("id");
    id.arg("-u");
    let user = run(id, b"")?.ok()?;
    ensure!(user == "0", "a stage needs root: it makes namespaces, bridges and mounts (running as user {user})");
    Ok(())
}

fn logs(stage: &Path) -> Vec<PathBuf> {
    let read = |path: &Path| -> Vec<PathBuf> {
        fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
    };
    let mut all: Vec<_> = read(stage).iter().flat_map(|host| read(&host.join("log"))).collect();
    all.sort();
    all
}

const HOST: &str = include_str!("stage/host.sh");
const DOWN: &str = include_str!("stage/down");
const JANITOR: &str = include_str!("stage/janitor.sh");

/// The bridge all cables end on.
const BRIDGE: &str = "underlay";
/// Namespaces take milliseconds; a machine that compiles beside it may take a hundred times as long.
const RAISE: Duration = Duration::from_secs(10);
/// The janitor waits up to ten seconds each for processes and cgroups.
const TAKE_DOWN: Duration = Duration::from_secs(25);
/// Enough of a log to see the cause, little enough to read.
const TAIL_LINES: usize = 60;
